"""On a plane, ReLUs bend lines into any shape.

What do ReLUs add, when a neuron alone can only cut the plane along a straight line? Each is off on
one side of a fold and on at the other. Between the folds the net is w·x + b, and its boundary is
straight; at a fold it bends, until it runs between two moons or around a species.
"""

from typing import Any

import numpy as np

import microgradx as mx
from demos.plumbing import BLUE, INK, ORANGE, Board, iris, moons


def train(widths: list[int], x: Any, inside: Any) -> tuple[mx.nn.MLP, float]:
    """A net that is positive at the points inside, negative at the others; how often it is."""
    net = mx.nn.MLP(2, widths, seed=0)
    adam = mx.optim.Adam(net.parameters(), lr=0.02)
    mx.fit(net, x, inside, loss="binary_cross_entropy", optimizer=adam, epochs=200, batch_size=None)
    return net, float(np.mean((net.predict(x) > 0) == inside))


def explore(board: Board, name: str, others: str, points: Any, inside: Any) -> tuple[str, Any]:
    """Let a net tell the points inside from the others; its result, and a painter of it."""
    centre = points.mean(axis=0)
    _, alone = train([1], points - centre, inside)
    net, right = train([8, 8, 1], points - centre, inside)
    board.check(f"{name}: {right:.1%} right, one neuron {alone:.1%}", right > 0.95 > alone)

    xs, ys = np.linspace(points.min(axis=0) - 0.3, points.max(axis=0) + 0.3, 400).T
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2) - centre  # 400 × 400 points
    first = net.layers[0].predict(grid)
    on = np.hstack([first, net.layers[1].predict(first)]) > 0  # a region: where the same are on
    cuts = len(np.unique(on[:, :8], axis=0))
    board.check(f"8 ReLUs make {cuts} regions, at most 37 (Zaslavsky 1975)", 9 <= cuts <= 37)

    patterns, region = np.unique(on, axis=0, return_inverse=True)
    outputs, errors, directions = net.predict(grid), [], []
    for i in range(len(patterns)):
        x, y = grid[region.ravel() == i], outputs[region.ravel() == i]
        p, q = mx.Value(x[0, 0]), mx.Value(x[0, 1])  # one point of the region
        net([p, q]).backward()
        errors.append(abs(y[0] + (x - x[0]) @ [p.grad, q.grad] - y).max())
        if y.min() < 0 < y.max():  # the boundary crosses the region, square to the gradient
            directions.append(round(np.arctan2(q.grad, p.grad), 6))
    board.check(
        f"8 more make at least {len(patterns)}; in each, value and gradient at one point "
        f"foretell the net at all others, to {max(errors):.0e}",
        max(errors) < 1e-12,
    )
    board.check(
        f"the boundary crosses {len(directions)} of them, each in another direction",
        len(set(directions)) == len(directions) > 1,
    )

    def paint(ax: Any) -> None:
        tints = on.sum(axis=1).reshape(400, 400) % 4  # another one across every fold
        ax.pcolormesh(xs, ys, tints, cmap="Pastel2", vmax=7, alpha=0.7, rasterized=True)
        ax.contour(xs, ys, outputs.reshape(400, 400), [0], colors=INK, linewidths=3)
        ax.plot(*points[inside].T, "o", color=ORANGE, mec="white", label=name)
        ax.plot(*points[~inside].T, "s", color=BLUE, mec="white", label=others)
        ax.set(title=f"{len(patterns)} regions; a boundary of {len(directions)} straight pieces")
        ax.legend(loc="upper left")

    return f"{name} {right:.0%} (one neuron {alone:.0%})", paint


def run(board: Board) -> str:
    points, sides = map(np.array, moons())
    _, flowers, species = map(np.array, iris())
    moon, moon_plane = explore(board, "lower moon", "upper moon", points, sides == 1)
    petals, petal_plane = explore(board, "versicolor", "others", flowers[:, 2:], species == 1)

    def paint(left: Any, right: Any) -> None:
        moon_plane(left)
        petal_plane(right)
        right.set(xlabel="petal length, cm", ylabel="petal width, cm")

    board.plot(
        "bent_lines",
        paint,
        "At the edge of a tint, one ReLU goes on or off, and the boundary, bold, bends.",
        panels=2,
        height=5,
    )
    return f"told apart: {moon}; {petals}"
