"""What the demos share: two data sets, and the board on which a demo says, proves and draws."""

from __future__ import annotations

import csv
import io
import math
import random
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microgradx import page
from microgradx.engine import Value
from microgradx.render import BUNDLED, Picture, RendererNotFound, find_renderer, write_whole

SPECIES = ("setosa", "versicolor", "virginica")
BLUE, ORANGE, GREEN, INK, GREY = "#0072b2", "#c04e00", "#007a5a", "#1a1a1a", "#8a8a8a"

STYLE: dict[Any, Any] = {  # of the plots; the colours are told apart by colour-blind readers too
    "font.size": 11, "axes.titlesize": 11, "axes.titlelocation": "left", "lines.linewidth": 2,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
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


class Board:
    """What a demo says, proves and draws, in order; `index.html` shows it once more.

    out:   the folder for its pictures and pages
    loud:  whether to print it as well
    items: what there is on it: (kind, text, file), the kinds being "words", "claim", "picture",
           "page" and "missing"; a file is "" unless there is one
    """

    def __init__(self, out: Path, loud: bool = True) -> None:
        self.out, self.loud = out, loud
        self.items: list[tuple[str, str, str]] = []

    def say(self, text: object = "") -> None:
        """Words and numbers, of one line or many."""
        self._add("words", str(text), "", str(text))

    def check(self, claim: str, holds: bool) -> None:
        """Say that a claim holds; stop the demo if it doesn't."""
        if not holds:
            raise AssertionError(f"this demo's claim does not hold: {claim}")
        self._add("claim", claim, "", f"holds: {claim}")

    def draw(self, name: str, picture: Picture, caption: str) -> None:
        """A graph, as SVG and PNG, through the bundled renderer where there is one."""
        picture.renderer = _bundled()
        for suffix in (".png", ".svg"):
            picture.render(self.out / f"{name}{suffix}")
        self._wrote("picture", caption, f"{name}.svg")

    def page(self, name: str, output: Value, caption: str, **options: Any) -> None:
        """A page that steps through a computation; the options are those of `page.page`."""
        page.save(output, self.out / f"{name}.html", renderer=_bundled(), **options)
        self._wrote("page", caption, f"{name}.html")

    def plot(
        self, name: str, paint: Callable[..., Any], caption: str, panels: int = 1, height: float = 4
    ) -> None:
        """Curves, as SVG and PNG, where matplotlib is: `paint` gets the axes of each panel."""
        try:
            from matplotlib import rc_context
            from matplotlib.figure import Figure
        except ImportError:
            return self.lack(f"no plot {name}, which takes matplotlib", "plot")
        with rc_context(STYLE):
            figure = Figure(figsize=(2 + 4 * panels, height), layout="constrained")
            paint(*figure.subplots(1, panels, squeeze=False)[0])
            for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
                file = io.BytesIO()
                figure.savefig(file, format=suffix[1:], dpi=120, metadata=metadata)
                write_whole(self.out / f"{name}{suffix}", file.getvalue())
        self._wrote("picture", caption, f"{name}.svg")

    def lack(self, what: str, extra: str) -> None:
        """Say what is missing here, and which extra of the package brings it."""
        text = f"{what}: pip install 'microgradx[{extra}]'"
        self._add("missing", text, "", text)

    def _wrote(self, kind: str, caption: str, file: str) -> None:
        self._add(kind, caption, file, f"wrote {self.out / file}")

    def _add(self, kind: str, text: str, file: str, said: str) -> None:
        self.items.append((kind, text, file))
        if self.loud:
            print(textwrap.indent(said, "  "))


def _bundled() -> str | None:
    """The bundled renderer, so that pictures are the same everywhere; None where there is none."""
    try:
        return find_renderer(BUNDLED)
    except RendererNotFound:
        return None
