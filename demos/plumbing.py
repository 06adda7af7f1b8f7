"""What the demos share: two data sets, a progress line, and where pictures go."""

from __future__ import annotations

import csv
import math
import random
import sys
from pathlib import Path
from typing import Any

from microgradx import page
from microgradx.engine import Value
from microgradx.render import BUNDLED, Picture, RendererNotFound, find_renderer

SPECIES = ("setosa", "versicolor", "virginica")


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


def progress(text: str, last: bool = False) -> None:
    """Overwrite the progress line on a terminal; elsewhere print only the last."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="\n" if last else "", flush=True)
    elif last:
        print(text)


def save(picture: Picture, out: Path, name: str) -> None:
    """Write a picture as SVG and PNG, through the bundled renderer where there is one."""
    try:
        picture.renderer = find_renderer(BUNDLED)
    except RendererNotFound:
        picture.renderer = None
    for suffix in (".svg", ".png"):
        path = picture.render(out / f"{name}{suffix}")
        print(f"  wrote {path}")


def save_page(output: Value, out: Path, name: str, **options: Any) -> None:
    """Write the page of a computation, laid out by the bundled renderer where there is one."""
    try:
        options["renderer"] = find_renderer(BUNDLED)
    except RendererNotFound:
        pass
    print(f"  wrote {page.save(output, out / f'{name}.html', **options)}")


def check(claim: str, holds: bool) -> None:
    """Say that a claim holds; stop the demo if it doesn't."""
    if not holds:
        raise AssertionError(f"this demo's claim does not hold: {claim}")
    print(f"  holds: {claim}")
