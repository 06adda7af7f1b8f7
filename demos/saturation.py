"""After some steps most sigmoids saturate, and learning crawls.

Why does a loss fall fast, and then hardly at all? Eight sigmoids learn the iris data twice, in
millimetres and in centimetres, with one start and one step size. Large inputs make large steps:
these throw the sigmoids out to where they are flat, and a neuron that wakes is thrown out again.
In centimetres the net starts later, but stays where they are steep, and goes far below.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import microgradx as mx
from demos.plumbing import BLUE, GREY, INK, ORANGE, Board, iris

NEURONS, STEPS, FLOWER = 8, 1000, 118
FLAT = 0.25 / 10  # saturated: for half of the flowers σ' is below a tenth of its ceiling


def train(X: Any, species: list[int]) -> tuple[mx.nn.MLP, Any, Any]:
    """A net; before each step the median of σ' over the flowers, of each neuron; the losses."""
    model = mx.nn.MLP(4, [NEURONS, 3], activation="sigmoid", seed=0,
                      init=lambda nin, nout, rng: rng.gauss(0.0, 0.01))

    def slopes() -> Any:
        first = model.layers[0].state_dict()
        e = np.exp(-abs(X @ np.transpose(first["weight"]) + first["bias"]))
        return np.median(e / (1 + e) ** 2, axis=0)  # σ'(z); y (1 - y) would have false zeros

    found, sgd = [slopes()], mx.optim.SGD(model.parameters(), lr=0.25)
    history = mx.fit(model, X, species, loss="cross_entropy", epochs=STEPS, batch_size=None,
                     optimizer=sgd, on_epoch=lambda epoch: found.append(slopes()))
    return model, np.array(found[:-1]), np.array(history.loss)


def run(board: Board) -> str:
    _, cm, species = iris()
    X = 10 * np.array(cm)
    (model, slopes, loss), (_, slopes_cm, loss_cm) = train(X, species), train(X / 10, species)
    flat, flat_cm = ((each < FLAT).sum(axis=1) for each in (slopes, slopes_cm))
    half, fell = int((flat > NEURONS / 2).argmax()) + 1, (slopes < FLAT).argmax(axis=0) + 1
    board.check(f"all start steep, fall at steps {', '.join(map(str, fell))}; from step 100 on at "
                f"least {flat[100:].min()} are flat", 1 < min(fell) and max(fell) < 100 and
                flat[100:].min() > NEURONS / 2)
    (early, late), (_, low) = (np.median([x[100:200], x[-100:]], axis=1) for x in (loss, loss_cm))
    board.check(f"the loss falls by {loss[0] - early:.2f} in 150 steps, by {early - late:.2f} in "
                "800 more", early - late < (loss[0] - early) / 4)
    board.check(f"a loss of {late:.3f} is bad: to know setosa, and toss a coin between the other "
                "two, is 2/3 ln 2 = 0.462", late > 0.4)
    board.check(f"in centimetres {flat_cm.max()} of {NEURONS} go flat, and the loss goes down to "
                f"{low:.3f}", flat_cm.max() < NEURONS / 2 and low < late / 3)

    model.zero_grad()
    error = mx.nn.cross_entropy(model(X[FLOWER]), species[FLOWER])
    error.label = "loss"
    error.backward()
    why = mx.why(model.layers[0].neurons[0].weight[2], error)
    board.say(f"why does neuron 0 learn next to nothing from iris {FLOWER}?\n{why}")
    board.check("saturation costs it most", why.budget["saturation"] == min(why.budget.values()))

    def paint(left: Any, right: Any) -> None:
        steps, rows, decades = range(1, STEPS + 1), range(NEURONS), np.log10(slopes.T)
        image = left.pcolormesh(steps, rows, decades, cmap="cividis", vmin=-6, rasterized=True)
        left.figure.colorbar(image, ax=left, label="log10 of the median σ' (ceiling: -0.6)")
        left.scatter(fell, rows, s=70, marker="D", color="white", edgecolors=INK)
        axis: dict[str, Any] = {"xscale": "log", "xlabel": "step", "xlim": (1, STEPS)}
        left.set(title="neurons go flat (mark: σ' below 0.025)", ylabel="neuron", **axis)
        right.plot(steps, loss, ORANGE)
        right.plot(steps, loss_cm, BLUE, linestyle="--")
        right.text(STEPS, 0.52, "in millimetres", color=ORANGE, ha="right")
        right.text(260, 0.17, "in centimetres", color=BLUE, ha="right")
        right.axvline(half, color=GREY, linewidth=1)
        right.text(half, 0.02, f" step {half}: more than\n half are flat", color=INK)
        right.set(title="and the loss stops halfway", ylabel="mean loss", ylim=0, **axis)

    board.plot("saturation", paint, "In millimetres the neurons go flat, the loss after them.", 2)
    return f"{flat[-1]} of {NEURONS} saturated: loss {late:.2f}; in cm {flat_cm[-1]}: {low:.2f}"
