"""tanh is centred on zero, and deep layers learn faster than with sigmoid.

Is it the centre that makes it faster? tanh is a sigmoid made twice as high, four times as steep,
and centred. Four nets start from the same weights: with each of the two, with a sigmoid less 1/2,
which is centred but not steep, and with tanh + 1, which is steep but not centred. The centre makes
the gradient level, so that all layers learn at once; the steepness is what keeps it up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import microgradx as mx
from demos.plumbing import BLUE, GREEN, INK, ORANGE, Board, iris

HIDDEN, ENOUGH, MOST = 5, 0.1, 5000
NETS: dict[str, tuple[Any, str, str, Any]] = {  # the activation, its line, its label's places
    "sigmoid": (lambda z: z.sigmoid(), ORANGE, "o-", ((2.2, 0.64), (3.3, -2.85), (80, 1.14))),
    "tanh": (lambda z: z.tanh(), BLUE, "s-", ((4.5, 0.09), (1, -1.28), (3.5, 0.35))),
    "sigmoid - 1/2": (lambda z: z.sigmoid() - 0.5, GREEN, "^:",
                      ((1, 0.07), (4.3, -3.55), (90, 0.96))),
    "tanh + 1": (lambda z: z.tanh() + 1.0, INK, "d:", ((2.2, 1.34), (2.05, -0.94), (40, 1.4))),
}


def run(board: Board) -> str:
    _, flowers, species = iris()
    X = np.array(flowers)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    starts, means, decades, losses = [], {}, {}, {}
    for name, (activation, *_) in NETS.items():
        model = mx.nn.MLP(4, [8] * HIDDEN + [3], activation=activation, init="glorot", seed=0)
        starts.append(model.state_dict())
        outputs = [X]
        for layer in model.layers[:-1]:
            outputs.append(layer.predict(outputs[-1]))
        means[name] = [output.mean() for output in outputs[1:]]
        history = mx.fit(model, X, species, loss="cross_entropy", epochs=MOST, batch_size=None,
                         optimizer=mx.optim.SGD(model.parameters(), lr=0.2),
                         on_epoch=lambda epoch: epoch.loss < ENOUGH)
        losses[name], first = history.loss, history[0].gradients  # log10 of their rms
        decades[name] = [first[f"layers.{i}.weight"] for i in range(HIDDEN + 1)]
        sizes, rates = np.abs(means[name]), decades[name]
        board.say(f"{name:13}  |mean output| {min(sizes):.2f} to {max(sizes):.2f}, "
                  f"gradient 10^{min(rates):.1f} to 10^{max(rates):.1f}")
    board.check("all four start from the same weights", all(s == starts[0] for s in starts))
    slopes = *mx.Value(0.0).sigmoid().partials, *mx.Value(0.0).tanh().partials
    board.check(f"at 0, where they are steepest, σ' is {slopes[0]:g} and tanh' {slopes[1]:g}",
                slopes == (0.25, 1.0))
    board.check("in every layer the mean is near 0.5 with sigmoid, near 0 with tanh",
                np.allclose(means["sigmoid"], 0.5, atol=0.2)
                and np.allclose(means["tanh"], 0.0, atol=0.1))
    spread = [max(found) - min(found) for found in decades.values()]
    board.check(f"between layers the gradient differs by {spread[0]:.1f} decades with sigmoid, "
                f"{spread[1]:.1f} with tanh", spread[0] > spread[1] + 1.5)
    board.check("it is more level in both of the centred nets than in the others",
                max(spread[1], spread[2]) < min(spread[0], spread[3]))
    slow, fast, centred, steep = map(len, losses.values())
    board.check(f"loss below {ENOUGH}: tanh needs {fast} epochs, sigmoid {slow}", fast < slow / 10)
    board.check(f"centred but not steep, it needs {centred}; steep but not centred, {steep}",
                fast < steep < slow / 5 and centred > slow / 3)

    def paint(*panels: Any) -> None:
        for name, (_, colour, line, places) in NETS.items():
            epochs = range(1, len(losses[name]) + 1)
            panels[0].plot(range(1, HIDDEN + 1), means[name], line, color=colour)
            panels[1].plot(range(1, HIDDEN + 2), decades[name], line, color=colour)
            panels[2].plot(epochs, losses[name], line[1:], color=colour)
            for panel, place in zip(panels, places):
                panel.text(*place, name, color=colour)
        panels[0].set(title="mean output at the start", xlabel="hidden layer", xticks=range(1, 6))
        panels[1].set(title="log10 of the gradient at the start", xlabel="layer")
        panels[2].set(title="loss", xlabel="epoch", xscale="log", xlim=(1, MOST), ylim=0)

    board.plot("tanh_beside_sigmoid", paint, "A centred output makes a level gradient, a steep one "
               "a large gradient: tanh has both.", panels=3)
    return f"loss below {ENOUGH} after {fast} epochs with tanh, {slow} with sigmoid"
