"""How deep may a net be, and how large its weights? A study of gradients before any training.

Will a net of 17 layers learn at all? Where it starts, its gradient falls or grows layer by layer:
its square χ times, says mean field theory, with χ = σw² E[φ′(z)²] and weights of the variance
σw² / width. Only near one gain is χ about 1. Each cell of the map is a net of its depth, recorded
once; then only weights are drawn, and a hundred draws take less time than the recording.
"""

import math
import time
from functools import lru_cache
from typing import Any

import numpy as np

import microgradx as mx
from demos.plumbing import INK, Board
from microgradx.replay import Replay
from microgradx.rules import TABLE

CRITICAL = {"relu": 2.0, "tanh": 1.0, "sigmoid": 103.0}  # σw² where χ is 1 far from the inputs
CLOSE = {"relu": 0.05, "tanh": 0.06, "sigmoid": 0.06}  # decades a layer
WIDTH, DRAWS, SHALLOW, LOST = 24, 100, 2, 3  # LOST: the decades at which a net is taken for lost
OCTAVES = [0.25, 0.5, 1, 2, 4]
DEPTHS, GAINS = range(2, 18, 3), 2.0 ** np.arange(-2, 2.1, 0.5)
MORE_DEPTHS, MORE_GAINS = range(2, 41, 2), 2.0 ** np.arange(-2, 2.1, 0.25)
# A normal z in even steps. Gauss and Hermite's 200 nodes are too few where a sigmoid is a step.
Z = np.arange(-8.995, 9.0, 0.01)  # none lies on a kink at 0
SHARES = np.exp(-(Z**2) / 2) / np.exp(-(Z**2) / 2).sum()


@lru_cache
def recorded(activation: str, depth: int) -> tuple[Replay, Any, Any, Any]:
    """A net's replay; where it keeps the weights, and the biases of the first and last layer."""
    model = mx.nn.MLP(WIDTH, [WIDTH] * depth + [1], activation)
    replay = mx.record(lambda x: model(x), [0.5] * WIDTH)
    place = {p: i for i, p in enumerate(replay.parameters)}
    biases = [[place[neuron.bias] for neuron in layer.neurons] for layer in model.layers]
    weights = np.setdiff1d(np.arange(len(place)), np.concatenate(biases))
    return replay, weights, biases[0], biases[-2]


def cell(activation: str, depth: int, gain: float) -> dict[str, float]:
    """Decades of the rms gradient at the first hidden layer's z beside the last one's.

    gain: σw² beside the critical one
    """
    replay, weights, first, last = recorded(activation, depth)
    dice = np.random.default_rng([depth, round(1000 * gain)])
    spread, squares = math.sqrt(gain * CRITICAL[activation] / WIDTH), np.zeros(2)
    for _ in range(DRAWS):
        replay.data[weights] = spread * dice.normal(size=len(weights))
        replay.load(dice.normal(size=(1, WIDTH)))
        replay.run()
        by_bias = replay.gradient  # of one row: ∂loss/∂bias is ∂loss/∂z
        squares += (by_bias[first] ** 2).mean(), (by_bias[last] ** 2).mean()
    return {"decades": math.log10(squares[0] / squares[1]) / 2}


def mean_field(activation: str, depth: int, gain: float) -> list[float]:
    """The same for depths from 1 to `depth`, by theory (Poole 2016, Schoenholz 2017)."""
    variance, decades = gain * CRITICAL[activation], [0.0]
    q = variance  # of z, as the inputs are normal
    for _ in range(depth - 1):
        y, slope = TABLE[activation].function(np, math.sqrt(q) * Z)[:2]
        decades.append(decades[-1] + math.log10(variance * float(SHARES @ slope**2)) / 2)
        q = variance * float(SHARES @ y**2)
    return decades


def run(board: Board) -> str:
    depths, gains = (MORE_DEPTHS, MORE_GAINS) if board.long else (DEPTHS, GAINS)
    start = time.perf_counter()
    recorded("relu", depths[-1])
    middle = time.perf_counter()
    cell("relu", depths[-1], 1.0)
    board.say(
        f"a net of {depths[-1]} layers: recorded in {middle - start:.2f} s, then {DRAWS} draws "
        f"in {time.perf_counter() - middle:.2f} s"
    )
    found = mx.study(cell, activation=[*CRITICAL], depth=depths, gain=gains)
    cells = len(found["error"])
    board.check(f"all of {cells} cells are there", not found.missing and not any(found["error"]))
    for name, bound in CLOSE.items():
        before, last = mean_field(name, 400, 1.0)[-2:]
        board.check(
            f"{name}: at σw² = {CRITICAL[name]:g} theory hands a gradient on as it is, χ = "
            f"{10 ** (2 * (last - before)):.3f}",
            abs(last - before) < 0.002,
        )
        off = [
            (row["decades"] - mean_field(name, row["depth"], row["gain"])[-1]) / (row["depth"] - 1)
            for row in found.rows if row["activation"] == name and row["depth"] > SHALLOW
        ]  # fmt: skip
        board.check(
            f"{name}: {np.sqrt(np.mean(np.square(off))):.3f} decades a layer from mean field, "
            f"at most {max(map(abs, off)):.3f}",
            max(map(abs, off)) < bound,
        )

    def paint(*panels: Any) -> None:
        fine, layers = np.geomspace(gains[0] / 2, gains[-1] * 2, 65), range(2, depths[-1] + 3)
        for axes, (name, critical) in zip(panels, CRITICAL.items()):
            found.picture("depth", "gain", "decades", only={"activation": name}, axes=axes)
            [mesh] = axes.collections
            mesh.set_clim(-5, 5)
            edges = axes.get_xlim(), axes.get_ylim()
            theory = np.array([mean_field(name, layers[-1], gain)[1:] for gain in fine])
            lines = axes.contour(
                layers, fine, theory, (-LOST, 0, LOST), colors=INK, linestyles=("--", ":", "-")
            )
            axes.clabel(lines, fmt={-LOST: f"−{LOST}", 0: "0", LOST: f"+{LOST}"}, fontsize=13)
            axes.set_title(f"{name}: gain 1 is σw² = {critical:g}")
            axes.set(xlim=edges[0], ylim=edges[1], ylabel="", yticks=OCTAVES, yticklabels=OCTAVES)
            if axes is not panels[-1]:
                mesh.colorbar.remove()
        panels[0].set_ylabel("gain: σw² beside the critical one")

    board.plot(
        "depth_and_gain",
        paint,
        "Red: the gradient of the first layer has grown, blue: it has vanished, by decades. The "
        f"lines are theory's: {LOST} decades lost, none, and {LOST} too many.",
        3,
    )
    deepest = {
        row["gain"]: row["decades"] for row in found.rows
        if row["activation"] == "relu" and row["depth"] == depths[-1]
    }  # fmt: skip
    return (
        f"ReLU, {depths[-1]} layers: {deepest[0.25]:+.1f} decades at a quarter of He's σw², "
        f"{deepest[1.0]:+.1f} at He's, {deepest[4.0]:+.1f} at four times"
    )
