"""On a plane, ReLUs bend lines into any shape.

What do ReLUs add, when a neuron without one can only cut the plane along a straight line? Each is
off on one side of a fold and on at the other. Between the folds the net is w·x + b, and so its
boundary is straight; at a fold it bends, until it runs between two moons or around a species.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import microgradx as mx
from demos.plumbing import BLUE, GREY, INK, ORANGE, Board, iris, moons

SIDE, FEW, SEED = 400, 4, 0  # a grid of 400 × 400; a region is at least 4 of its points
TINTS = np.array([[255, 249, 230], [207, 220, 236], [251, 239, 247], [208, 228, 210]]) / 255


def learnt(widths: list[int], x: Any, inside: Any) -> tuple[mx.nn.MLP, float]:
    """A net whose output is positive where it says `inside`, and how often it is right."""
    net = mx.nn.MLP(2, widths, seed=SEED)
    adam = mx.optim.Adam(net.parameters(), lr=0.02)
    mx.fit(net, x, inside, loss="binary_cross_entropy", optimizer=adam, epochs=200, batch_size=None)
    return net, float(np.mean((net.predict(x) > 0) == inside))


def folds(net: mx.nn.MLP, x: Any) -> Any:
    """What each of 8 + 8 ReLUs reads: positive on one side of its fold, negative on the other."""
    w, b, v, c, *_ = (np.transpose(tensor) for tensor in net.state_dict().values())
    return np.hstack([first := x @ w + b, np.maximum(first, 0) @ v + c])


def surprise(net: mx.nn.MLP, x: Any, outputs: Any) -> float:
    """How far the outputs are from what the value and the gradient at one point foretell."""
    p = [mx.Value(number) for number in x[len(x) // 2]]
    y = net(p)
    y.backward()
    return float(np.abs(y.data + (x - [v.data for v in p]) @ [v.grad for v in p] - outputs).max())


def bend(board: Board, points: Any, kinds: Any, words: dict[int, Any], **labels: str) -> Any:
    """Tell kind 1 from others, and look at the whole plane: what was found, and what paints it."""
    points, inside, name = np.array(points)[:, -2:], np.equal(kinds, 1), words[1][0]
    low, mean, high = (f(points, axis=0) for f in (np.min, np.mean, np.max))
    (net, right), (_, alone) = (learnt(n, points - mean, inside) for n in ([8, 8, 1], [1]))
    xs, ys = np.linspace(low - 0.3, high + 0.3, SIDE).T
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2) - mean
    y, reads = net.predict(grid), folds(net, grid)
    first, both = ((reads[:, :n] > 0) @ 2 ** np.arange(n) for n in (8, 16))  # which are on
    regions = [r for i in np.unique(both) if len(r := np.flatnonzero(both == i)) >= FEW]
    cuts, pieces = len(np.unique(first)), sum(y[r].min() < 0 < y[r].max() for r in regions)
    off = max(surprise(net, grid[r], y[r]) for r in regions)
    board.check(f"{name}: {right:.1%} right, one neuron {alone:.1%}", right > 0.95 > alone)
    board.check(f"8 ReLUs make {cuts} regions, at most 37 (Zaslavsky 1975)", cuts <= 1 + 8 + 28)
    board.check(f"8 more: {len(regions)} regions, the net affine in each to {off:.0e}", off < 1e-12)

    def paint(ax: Any) -> None:
        tints = TINTS[(reads > 0).sum(axis=1) % 4].reshape(SIDE, SIDE, 3)  # one more across a fold
        ax.imshow(tints, extent=(*xs[[0, -1]], *ys[[0, -1]]), origin="lower", aspect="auto")
        seen = [(z, GREY, 0.6) for z in reads.T if z.min() < 0 < z.max()]
        for z, colour, width in [*seen, (y, INK, 3)]:
            ax.contour(xs, ys, z.reshape(SIDE, SIDE), [0], colors=colour, linewidths=width)
        for (kind, (word, *at)), colour, marker in zip(words.items(), (ORANGE, BLUE, BLUE), "os^"):
            ax.plot(*points[np.equal(kinds, kind)].T, marker, color=colour, mec="white")
            ax.text(*at, word, color=colour, weight="bold")
        ax.set(title=f"{len(regions)} regions; a boundary of {pieces} straight pieces", **labels)

    return f"{name} {right:.0%} (one neuron {alone:.0%})", paint


def run(board: Board) -> str:
    moon, a = bend(board, *moons(), {1: ("lower moon", 0.5, -0.8), -1: ("upper moon", -0.5, 1.25)})
    flower, b = bend(board, *iris()[1:], {1: ("versicolor", 2.6, 1.55), 0: ("setosa", 1, 0.75),
        2: ("virginica", 5, 2.6)}, xlabel="petal length, cm", ylabel="petal width, cm")
    board.plot("bent_lines", lambda left, right: (a(left), b(right)), "From one tint to the next, "
               "one ReLU goes on or off, and the boundary, bold, bends.", 2, 5)
    return f"told apart: {moon}; {flower}"
