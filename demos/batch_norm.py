"""ReLU's output is unbounded and its mean is not zero; batch normalisation repairs that.

What does the next layer get to read? Of z ~ N(0, 1), a ReLU makes numbers with mean 1/√(2π). Each
layer hands its shift and its size on to the next: after eight layers the numbers may be anywhere.
Normalised over a batch, z has mean 0 and variance 1: its ReLU no longer drifts. And as
z averages to 0, it is above 0 for some flower, if they differ: no shift can kill the ReLU behind.
"""

import math
import random
from statistics import NormalDist, fmean, pvariance
from typing import Any

import microgradx as mx
from demos.plumbing import BLUE, INK, ORANGE, Board, iris

WIDTH, DEPTH = 24, 8
MEAN, VARIANCE = 1 / math.sqrt(2 * math.pi), 0.5 - 0.5 / math.pi  # of max(0, z), z ~ N(0, 1)
INITS = {"U(-1, 1)": "uniform", "He": "he", "LeCun": "lecun"}


def layers(init: str, normalised: bool, shift: float = 0.0) -> Any:
    """By layer: mean and variance of its ReLUs over the flowers, and how many are dead."""
    _, rows, _ = iris()
    rng, found = random.Random(0), []
    for _ in range(DEPTH):
        layer = mx.nn.Layer(len(rows[0]), WIDTH, activation=None, init=init, seed=rng)
        zs = [[z + shift for z in layer(row)] for row in rows]
        if normalised:
            zs = mx.nn.BatchNorm(WIDTH, affine=False)(zs)
        rows = [[z.relu().data for z in row] for row in zs]
        neurons = list(zip(*rows))
        found.append(
            (
                fmean(map(fmean, neurons)),
                fmean(map(pvariance, neurons)),
                sum(not any(neuron) for neuron in neurons),
            )
        )
    return [list(each) for each in zip(*found)]


def run(board: Board) -> str:
    zs = [NormalDist().inv_cdf((i + 0.5) / 100_000) for i in range(100_000)]
    mean = fmean(max(0.0, z) for z in zs)
    board.check(f"of z ~ N(0, 1), ReLU's mean is {mean:.4f}, not 0", abs(mean - MEAN) < 1e-5)
    plain, normed = (
        {name: layers(init, each) for name, init in INITS.items()} for each in (False, True)
    )
    for kind, found in ("plain", plain), ("normalised", normed):
        for name, (means, _, dead) in found.items():
            board.say(
                f"{kind:10} {name:8}  mean by layer {' '.join(f'{x:6.3g}' for x in means)}   "
                f"dead {sum(dead)} of {DEPTH * WIDTH}"
            )
    grown, shrunk = plain["U(-1, 1)"][0], plain["LeCun"][0]
    board.check(
        f"without it the mean goes from {grown[0]:.1f} to {grown[-1]:.0f}, or with LeCun's "
        f"weights from {shrunk[0]:.1f} to {shrunk[-1]:.1f}",
        grown[-1] > 50 * grown[0] and shrunk[-1] < shrunk[0] / 3,
    )
    kept, sizes = ([x for found in normed.values() for x in found[i]] for i in (0, 1))
    board.check(
        f"with it, it is {min(kept):.2f} to {max(kept):.2f} in each layer of each net, and "
        f"the variance {min(sizes):.2f} to {max(sizes):.2f}; of N(0, 1) {VARIANCE:.2f}",
        max(abs(x - MEAN) for x in kept) < 0.05 and max(abs(x - VARIANCE) for x in sizes) < 0.1,
    )
    down, up = (sum(layers("he", each, shift=-1000.0)[2]) for each in (False, True))
    board.check(
        f"shift every z by -1000: {down} ReLUs are dead, or normalised {up}",
        down == DEPTH * WIDTH and up == 0,
    )

    def paint(*panels: Any) -> None:
        for panel, i, what, expected in zip(panels, (0, 1), ("mean", "variance"), (MEAN, VARIANCE)):
            for found, look, colour in (plain, "--o", ORANGE), (normed, "-o", BLUE):
                for name, lines in found.items():
                    panel.semilogy(range(1, DEPTH + 1), lines[i], look, color=colour)
                    if found is plain:
                        panel.text(DEPTH + 0.2, lines[i][-1], name, color=colour, va="center")
            panel.axhline(expected, color=INK, lw=1, ls=":")
            panel.set(xlabel="layer", title=f"{what} of ReLU's output (dotted: {expected:.3f})")
        panels[0].text(1, 0.25, "all three, normalised", color=BLUE)

    board.plot(
        "batch_norm",
        paint,
        "Dashed: three ways to draw the weights. Solid: the same nets "
        "normalised. He's and LeCun's weights differ by a factor only, and it is gone.",
        2,
    )
    return (
        f"mean of ReLU(N(0, 1)): {mean:.4f}; in layer 8: {shrunk[-1]:.2f} to {grown[-1]:.0f}, "
        f"normalised {min(kept):.2f} to {max(kept):.2f}"
    )
