"""tanh is centred on zero, and deep layers learn faster than with sigmoid.

Is it the centre that makes them faster? tanh is a sigmoid made twice as high, four times as steep,
and centred. Four nets start from the same weights and take steps of the same size: with each of
the two, with a sigmoid less 1/2, which is centred but not steep, and with tanh + 1, which is steep
but not centred. Most of it is the steepness; the centre makes the gradient level between layers.
"""

from typing import Any

import numpy as np

import microgradx as mx
from demos.plumbing import BLUE, GREEN, INK, ORANGE, Board, iris

HIDDEN, ENOUGH, MOST = 5, 0.1, 5000
NETS = {  # the activation, its colour and line
    "sigmoid": (lambda z: z.sigmoid(), ORANGE, "o-"),
    "tanh": (lambda z: z.tanh(), BLUE, "s-"),
    "sigmoid - 1/2": (lambda z: z.sigmoid() - 0.5, GREEN, "^:"),
    "tanh + 1": (lambda z: z.tanh() + 1.0, INK, "d:"),
}


def run(board: Board) -> str:
    _, flowers, species = iris()
    X = (np.array(flowers) - np.mean(flowers, axis=0)) / np.std(flowers, axis=0)
    starts, means, decades, losses = [], {}, {}, {}
    for name, (activation, *_) in NETS.items():
        model = mx.nn.MLP(4, [8] * HIDDEN + [3], activation=activation, init="glorot", seed=0)
        starts.append(model.state_dict())
        means[name], outputs = [], X
        for layer in model.layers[:-1]:
            outputs = layer.predict(outputs)
            means[name].append(outputs.mean())
        sgd = mx.optim.SGD(model.parameters(), lr=0.2)
        history = mx.fit(
            model,
            X,
            species,
            loss="cross_entropy",
            epochs=MOST,
            batch_size=None,
            optimizer=sgd,
            on_epoch=lambda epoch: epoch.loss < ENOUGH,
        )
        losses[name], first = history.loss, history[0].gradients  # log10 of their rms
        decades[name] = [first[f"layers.{i}.weight"] for i in range(HIDDEN + 1)]
        board.say(
            f"{name:13}  mean output {min(means[name]):5.2f} to {max(means[name]):5.2f}, "
            f"gradient 10^{min(decades[name]):.1f} to 10^{max(decades[name]):.1f}"
        )
    board.check("all four start from the same weights", all(s == starts[0] for s in starts))
    [sigmoid], [tanh] = mx.Value(0.0).sigmoid().partials, mx.Value(0.0).tanh().partials
    board.check(
        f"at 0, where they are steepest, σ' is {sigmoid:g} and tanh' {tanh:g}",
        (sigmoid, tanh) == (0.25, 1.0),
    )
    board.check(
        "in every layer the mean is near 0.5 with sigmoid, near 0 with tanh",
        np.allclose(means["sigmoid"], 0.5, atol=0.2) and np.allclose(means["tanh"], 0.0, atol=0.1),
    )
    spread = {name: max(found) - min(found) for name, found in decades.items()}
    board.check(
        f"between layers the gradient differs by {spread['sigmoid']:.1f} decades with "
        f"sigmoid, {spread['tanh']:.1f} with tanh",
        spread["sigmoid"] > spread["tanh"] + 1.5,
    )
    board.check(
        "it is more level in both of the centred nets than in the others",
        max(spread["tanh"], spread["sigmoid - 1/2"]) < min(spread["sigmoid"], spread["tanh + 1"]),
    )
    slow, fast, centred, steep = map(len, losses.values())
    board.check(f"loss below {ENOUGH}: tanh needs {fast} epochs, sigmoid {slow}", fast < slow / 10)
    board.check(
        f"centred but not steep, it needs {centred}; steep but not centred, {steep}",
        fast < steep < slow / 5 and centred > slow / 3,
    )

    def paint(*panels: Any) -> None:
        for name, (_, colour, line) in NETS.items():
            epochs = range(1, len(losses[name]) + 1)
            panels[0].plot(range(1, HIDDEN + 1), means[name], line, color=colour)
            panels[1].plot(range(1, HIDDEN + 2), decades[name], line, color=colour, label=name)
            panels[2].semilogx(epochs, losses[name], line[1:], color=colour)
        panels[0].set(title="mean output at the start", xlabel="hidden layer", xticks=range(1, 6))
        panels[1].legend(loc=(0.58, 0.2))
        panels[1].set(title="log10 of the gradient at the start", xlabel="layer")
        panels[2].set(title="loss", xlabel="epoch", xlim=(1, MOST), ylim=0)

    board.plot(
        "tanh_beside_sigmoid",
        paint,
        "Solid: sigmoid and tanh. Dotted: only centred, only steep.",
        panels=3,
    )
    return (
        f"loss below {ENOUGH} after {fast} epochs with tanh, {slow} with sigmoid; only centred "
        f"{centred}, only steep {steep}"
    )
