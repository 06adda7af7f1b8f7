"""After some steps most sigmoids saturate, and learning crawls.

Why does a loss fall fast, and then hardly at all? Eight sigmoids learn the iris data twice, in
millimetres and in centimetres, with one start and one step size. Large inputs make large steps,
which throw the sigmoids out to where they are flat. In centimetres the net starts later, but its
sigmoids stay where they are steep, and the loss goes far below.
"""

from typing import Any

import numpy as np

import microgradx as mx
from demos.plumbing import BLUE, GREY, INK, ORANGE, Board, iris

NEURONS, STEPS, FLOWER = 8, 1000, 118
FLAT = 0.25 / 10  # saturated: for half of the flowers σ' is below a tenth of its ceiling


def train(X: Any, species: list[int]) -> tuple[mx.nn.MLP, Any, Any]:
    """A net; before each step the median of σ' over the flowers, of each neuron; the losses."""
    model = mx.nn.MLP(
        4,
        [NEURONS, 3],
        activation="sigmoid",
        seed=0,
        init=lambda nin, nout, rng: rng.gauss(0.0, 0.01),
    )

    def slopes() -> Any:
        first = model.layers[0].state_dict()
        e = np.exp(-abs(X @ np.transpose(first["weight"]) + first["bias"]))
        return np.median(e / (1 + e) ** 2, axis=0)  # σ'(z); y (1 - y) would have false zeros

    found, sgd = [slopes()], mx.optim.SGD(model.parameters(), lr=0.25)
    history = mx.fit(
        model,
        X,
        species,
        loss="cross_entropy",
        epochs=STEPS,
        batch_size=None,
        optimizer=sgd,
        on_epoch=lambda epoch: found.append(slopes()),
    )
    return model, np.array(found[:-1]), np.array(history.loss)


def run(board: Board) -> str:
    _, cm, species = map(np.array, iris())
    model, slopes, losses = train(10 * cm, species)
    _, slopes_cm, losses_cm = train(cm, species)
    flat, flat_cm = (slopes < FLAT).sum(axis=1), (slopes_cm < FLAT).sum(axis=1)
    fell = (slopes < FLAT).argmax(axis=0) + 1  # at which step, each neuron
    board.check(
        f"all start steep, and fall at steps {', '.join(map(str, fell))}; from step 100 on "
        f"at least {flat[100:].min()} of {NEURONS} are flat",
        slopes[0].min() > 0.1 and flat[100:].min() > NEURONS / 2,
    )
    early, late, low = map(np.median, (losses[100:200], losses[-100:], losses_cm[-100:]))
    board.check(
        f"the loss falls by {losses[0] - early:.2f} in 150 steps, by {early - late:.2f} in "
        "800 more (medians of 100)",
        early - late < (losses[0] - early) / 4,
    )
    board.check(
        f"{late:.3f} is bad: to know setosa, and toss a coin between the other two, is "
        "2/3 ln 2 = 0.462",
        abs(late - 2 / 3 * np.log(2)) < 0.05,
    )
    board.check(
        f"in centimetres {flat_cm.max()} of {NEURONS} go flat, and the loss goes down to {low:.3f}",
        flat_cm.max() < NEURONS / 2 and low < late / 3,
    )
    flattest = int(slopes[-1].argmin())
    model.zero_grad()
    error = mx.nn.cross_entropy(model(10 * cm[FLOWER]), species[FLOWER])
    error.label = "loss"
    error.backward()
    why = mx.why(model.layers[0].neurons[flattest].weight[2], error)
    board.say(f"why does neuron {flattest} learn so little from iris {FLOWER}?", *why.sentences)
    board.check(
        "that is small, and saturation costs it most",
        (why.verdict, why.causes[0]) == ("small", "saturation"),
    )

    def paint(left: Any, right: Any) -> None:
        steps, rows, decades = range(1, STEPS + 1), range(NEURONS), np.log10(slopes.T)
        image = left.pcolormesh(steps, rows, decades, cmap="cividis", vmin=-6, rasterized=True)
        left.figure.colorbar(image, ax=left, label="log10 of the median σ'")
        left.scatter(fell, rows, s=70, marker="D", color="white", edgecolors=INK)
        left.set(title="neurons go flat (mark: σ' below 0.025)", ylabel="neuron")
        right.plot(steps, losses, color=ORANGE, label="in millimetres")
        right.plot(steps, losses_cm, color=BLUE, linestyle="--", label="in centimetres")
        right.axvline(np.median(fell), color=GREY, linewidth=1, label="half have gone flat")
        right.legend(loc="lower left")
        right.set(title="and the loss stops halfway", ylabel="mean loss", ylim=0)
        for panel in (left, right):
            panel.set(xscale="log", xlabel="step", xlim=(1, STEPS))

    board.plot(
        "saturation",
        paint,
        "In millimetres the neurons go flat, from the ceiling 0.25 to nothing; the loss follows.",
        2,
    )
    return (
        f"in mm {flat[-1]} of {NEURONS} go flat, and the loss ends at {late:.2f}; "
        f"in cm {flat_cm[-1]}, at {low:.2f}"
    )
