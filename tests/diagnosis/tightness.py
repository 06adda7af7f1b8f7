"""How much is proved of five trained nets, by plain intervals, lines and pieces.

`python -m tests.diagnosis.tightness` prints the table. `… tightness FOLDER` writes the nets there,
for `tests/bench/auto_lirpa.py`, whose counts stand in the settings below.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

import microgradx as mx
from microgradx import nn
from microgradx.diagnosis.proof import OFF, ON
from microgradx.train import fit


class Around(nn.Module):
    """h + f(h) twice, between two layers."""

    def __init__(self, width, size, out, seed):
        seeds = range(seed, seed + 4)
        self.layers = [
            nn.Layer(width, size, "relu", seed=seeds[0]),
            nn.Layer(size, size, "relu", seed=seeds[1]),
            nn.Layer(size, size, "relu", seed=seeds[2]),
            nn.Layer(size, out, "linear", seed=seeds[3]),
        ]

    def __call__(self, x):
        h = self.layers[0](x)
        for layer in self.layers[1:-1]:
            h = [a + b for a, b in zip(h, layer(h))]
        return self.layers[-1](h)


class Counts(NamedTuple):
    """How many gates are off, and on, for every input in the box."""

    off: int
    on: int


class Setting(NamedTuple):
    """A trained net and a box around one of its rows.

    sizes:  of a chain of layers, or with `around` of one with two skips
    ibp:    what auto_LiRPA 0.3 proves by intervals
    crown:  and by lines
    """

    sizes: tuple[int, ...]
    radius: float
    ibp: Counts
    crown: Counts
    around: bool = False

    @property
    def name(self):
        shape = "-".join(map(str, self.sizes))
        return f"{shape}{', two skips' if self.around else ''}, a row ± {self.radius:g}"


SETTINGS = (
    Setting((4, 16, 16, 16, 3), 0.3, Counts(12, 7), Counts(17, 17)),
    Setting((64, 64, 64, 10), 0.1, Counts(3, 16), Counts(10, 30)),
    Setting((64, 64, 64, 10), 0.02, Counts(28, 52), Counts(35, 69)),
    Setting((64, 32, 32, 32, 32, 10), 0.02, Counts(17, 34), Counts(39, 75)),
    Setting((16, 24, 24, 24, 5), 0.05, Counts(24, 21), Counts(37, 25), around=True),
)


def trained(setting):
    """A net that tells classes apart, rows about as many prototypes, and one of these rows."""
    width, *hidden, out = setting.sizes
    rng = np.random.default_rng(setting.sizes)
    kinds = rng.uniform(0, 1, (out, width))
    y = rng.integers(out, size=300)
    X = kinds[y] + rng.normal(scale=0.15, size=(300, width))
    if setting.around:
        model = Around(width, hidden[0], out, seed=3)
    else:
        model = nn.MLP(width, [*hidden, out], "relu", init="he", seed=3)
    fit(model, X, y, loss="cross_entropy", epochs=20, batch_size=30,
        optimizer=mx.optim.SGD(model.parameters(), 0.1), seed=0)  # fmt: skip
    return model, X[0]


def matrices(model):
    return [
        (np.array([[w.data for w in n.weight] for n in layer.neurons]),
         np.array([n.bias.data for n in layer.neurons]))
        for layer in model.layers
    ]  # fmt: skip


def by_intervals(model, row, setting):
    """Each layer's z by the centre and the radius of what it reads; of the gates, and |∂| last."""
    low, high = row - setting.radius, row + setting.radius
    slopes, found = [], []
    for k, (W, b) in enumerate(layers := matrices(model)):
        c, r = W @ (low + high) / 2 + b, np.abs(W) @ (high - low) / 2
        zl, zh = c - r, c + r
        if k == len(layers) - 1:
            break
        found.append((zl, zh))
        slopes.append((zl > 0, zh > 0))
        hl, hh = np.maximum(zl, 0), np.maximum(zh, 0)
        low, high = (low + hl, high + hh) if setting.around and k else (hl, hh)
    zl, zh = (np.concatenate(ends) for ends in zip(*found))
    J = layers[-1][0], layers[-1][0]
    for (on, maybe), (W, _) in zip(reversed(slopes), reversed(layers[:-1])):
        through = [(np.minimum(x, 0) * m, np.maximum(x, 0) * m) for x, m in zip(J, (maybe, maybe))]
        gl = np.where(on, J[0], through[0][0])
        gh = np.where(on, J[1], through[1][1])
        c, r = (gl + gh) / 2 @ W, (gh - gl) / 2 @ np.abs(W)
        skip = setting.around and W.shape[0] == W.shape[1]
        J = (c - r + J[0], c + r + J[1]) if skip else (c - r, c + r)
    return Counts(int((zh <= 0).sum()), int((zl > 0).sum())), max(np.abs(x).max() for x in J)


def by_proof(model, row, setting, boxes):
    proof = mx.prove(model, row, setting.radius, boxes=boxes)
    return Counts(proof.verdicts.count(OFF), proof.verdicts.count(ON)), proof.gradient.max()


def by_samples(model, row, setting):
    """Of 20,000 points, half of them corners: what is off, and on, at all of them."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (20_000, len(row)))
    points[::2] = np.sign(points[::2])
    h, off, on, slopes = row + setting.radius * points, 0, 0, []
    *hidden, (last, _) = matrices(model)
    for k, (W, b) in enumerate(hidden):
        z = h @ W.T + b
        off, on = off + (z <= 0).all(axis=0).sum(), on + (z > 0).all(axis=0).sum()
        slopes.append((z > 0).astype(float))
        h = np.maximum(z, 0) + (h if setting.around and k else 0)
    J = np.broadcast_to(last, (2_000, *last.shape))
    for s, (W, _) in zip(reversed(slopes), reversed(hidden)):
        through = (J * s[:2_000, None]) @ W
        J = through + J if setting.around and W.shape[0] == W.shape[1] else through
    return Counts(int(off), int(on)), float(np.abs(J).max())


def main(folder=None):
    ways = {
        "seen": by_samples,
        "intervals": by_intervals,
        "lines": lambda *net: by_proof(*net, boxes=1),
        "200 boxes": lambda *net: by_proof(*net, boxes=200),
    }
    print(f"| net, box | gates | {' | '.join(ways)} |\n{'| --- ' * (2 + len(ways))}|")
    for k, setting in enumerate(SETTINGS):
        model, row = trained(setting)
        gates = sum(setting.sizes[1:-1])
        if folder:
            parts = {f"{name}{i}": x for i, layer in enumerate(matrices(model))
                     for name, x in zip("Wb", layer)}  # fmt: skip
            np.savez(Path(folder) / f"{k}.npz", row=row, radius=setting.radius,
                     around=setting.around, **parts)  # fmt: skip
            continue
        told = [way(model, row, setting) for way in ways.values()]
        cells = [f"{off} · {on}, {slope:.3g}" for (off, on), slope in told]
        print(f"| {setting.name} | {gates} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
