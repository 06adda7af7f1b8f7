"""Shared by the demos: two data sets, and the board on which a demo writes, proves and draws."""

from __future__ import annotations

import csv
import io
import math
import random
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from microgradx import page
from microgradx._base.files import write_whole
from microgradx.engine import Value
from microgradx.pictures.render import BUNDLED, Picture, RendererNotFound, find_renderer

SPECIES = ("setosa", "versicolor", "virginica")
BLUE, ORANGE, GREEN, INK, GREY = "#0072b2", "#c04e00", "#007a5a", "#1a1a1a", "#8a8a8a"

STYLE: dict[Any, Any] = {  # of the plots; the colours are told apart by colour-blind readers too
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "lines.linewidth": 2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "microgradx",
}


def iris() -> tuple[list[str], list[list[float]], list[int]]:
    """The names of the four features, 150 flowers in cm, and each flower's species (0, 1, 2)."""
    with open(Path(__file__).with_name("iris.csv"), encoding="utf-8") as file:
        names, *flowers = csv.reader(line for line in file if not line.startswith("#"))
    features = [[float(x) for x in flower[:4]] for flower in flowers]
    return names[:4], features, [SPECIES.index(flower[4]) for flower in flowers]


def moons(n: int = 100, noise: float = 0.1, seed: int = 1) -> tuple[list[list[float]], list[int]]:
    """n points on two interleaving half circles, and which circle (-1 or +1) each is on."""
    rng = random.Random(seed)
    points, sides = [], []
    for i in range(n):
        side = 1 if i % 2 else -1
        angle = math.pi * (i // 2) / (n // 2 - 1)
        x, y = math.cos(angle), math.sin(angle)
        centre = (x, y) if side < 0 else (1 - x, 0.5 - y)
        points.append([c + rng.gauss(0, noise) for c in centre])
        sides.append(side)
    return points, sides


class ClaimFails(AssertionError):
    """A claim of a demo does not hold."""


class Item(NamedTuple):
    """Something on a board: "words", a "claim", a "picture", a "page", or something "missing".

    A claim that does not hold is missing too.

    file: of a picture or a page, in the board's folder
    alt:  a picture in words, for those who can't see it
    """

    kind: str
    text: str
    file: str = ""
    alt: str = ""


class Board:
    """The words, claims and pictures of a demo, in order; `index.html` shows them once more.

    out:   the folder for its pictures and pages
    loud:  whether to print it as well
    long:  whether a demo may take minutes, where it can look closer
    """

    def __init__(self, out: Path, loud: bool = True, long: bool = False) -> None:
        self.out, self.loud, self.long = out, loud, long
        self.items: list[Item] = []

    def say(self, *lines: str) -> None:
        """Words and numbers."""
        self._add(Item("words", "\n".join(lines)), *lines)

    def check(self, claim: str, holds: bool) -> None:
        """Say that a claim holds; ClaimFails, which ends the demo, if it doesn't."""
        if not holds:
            raise ClaimFails(claim)
        self._add(Item("claim", claim), f"holds: {claim}")

    def draw(self, name: str, picture: Picture, caption: str) -> None:
        """A graph, as SVG and PNG, through the bundled renderer where there is one."""
        picture.renderer = _bundled()
        for suffix in (".png", ".svg"):
            picture.render(self.out / f"{name}{suffix}")
        self._wrote(Item("picture", caption, f"{name}.svg", picture.summary))

    def page(self, name: str, output: Value, caption: str, **options: Any) -> None:
        """A page that steps through a computation; the options are those of `page`."""
        page(output, renderer=_bundled(), **options).save(self.out / f"{name}.html")
        self._wrote(Item("page", caption, f"{name}.html"))

    def plot(
        self, name: str, paint: Callable[..., Any], caption: str, panels: int = 1, height: float = 4
    ) -> None:
        """Curves, as SVG and PNG, where matplotlib is: `paint` gets the axes of each panel."""
        try:
            from matplotlib import rc_context
            from matplotlib.figure import Figure
        except ImportError:
            return self.lack(f"no plot {name}", "plot")
        with rc_context(STYLE):
            figure = Figure(figsize=(2 + 4 * panels, height), layout="constrained")
            paint(*figure.subplots(1, panels, squeeze=False)[0])
            for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
                file = io.BytesIO()
                figure.savefig(file, format=suffix[1:], dpi=120, metadata=metadata)
                write_whole(self.out / f"{name}{suffix}", file.getvalue())
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        self._wrote(Item("picture", caption, f"{name}.svg", "; ".join(filter(None, titles))))

    def lack(self, what: str, extra: str) -> None:
        """Say what is missing here, and which extra of the package brings it."""
        text = f"{what}: pip install '.[{extra}]'"
        self._add(Item("missing", text), text)

    def _wrote(self, item: Item) -> None:
        self._add(item, f"wrote {self.out / item.file}")

    def _add(self, item: Item, *lines: str) -> None:
        self.items.append(item)
        if self.loud:
            show(*lines, indent="  ")


def show(*lines: str, indent: str = "") -> None:
    """Print lines; on a terminal, wrapped to its width."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6
    wrapper = textwrap.TextWrapper(
        columns - 1,
        initial_indent=indent,
        break_long_words=False,
        subsequent_indent=3 * indent,
        break_on_hyphens=False,
    )
    for line in "\n".join(lines).split("\n"):
        print(wrapper.fill(line) if line else "")


def _bundled() -> str | None:
    """The bundled renderer, so that pictures are the same everywhere; None where there is none."""
    try:
        return find_renderer(BUNDLED)
    except RendererNotFound:
        return None
