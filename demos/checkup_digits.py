"""After the claims: somebody else's net has stopped learning; one call says why, and what helps.

Whose? A classifier of scikit-learn's, 64-64-64-10, that was trained on its digits at a step size of
1. The check-up adopts it, walks through all 1,797 digits, names each dead ReLU and what that costs,
and trains copies of the net with a remedy each, beside the net as it is.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import microgradx as mx
from demos.plumbing import Board

STEP, EPOCHS = 1.0, 10


def run(board: Board) -> str:
    try:
        from sklearn.datasets import load_digits
        from sklearn.neural_network import MLPClassifier
    except ImportError:
        board.lack("left out, as the net and the digits are scikit-learn's", "demos")
        return "left out: it needs scikit-learn"
    images, classes = load_digits(return_X_y=True)
    images = images / 16.0
    net = MLPClassifier((64, 64), solver="sgd", learning_rate_init=STEP, momentum=0.0, alpha=0.0,
                        batch_size=64, max_iter=10, random_state=0)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says itself that it has not converged
        net.fit(images, classes)
    read = net.score(images, classes)
    board.say(f"After 10 epochs at a step size of {STEP:g} it reads {read:.0%} of the digits.")

    c = mx.checkup(net, images, classes)
    board.say(str(c))
    dead = [finding for finding in c.findings if finding.verdict == "dead"]
    named = {(f.where, k) for f in dead for k in f.neurons}
    off = {(f"layers.{layer}", k) for layer, k in always_off(net, images)}
    board.check(
        f"the {len(named)} ReLUs that it names are those that NumPy finds off on every digit",
        named == off and len(named) > 20,
    )
    why = c.why(dead[0])
    why.output.backward()
    board.draw(
        "checkup_digits", mx.draw(why.output, explain=why),
        "The digit that comes nearest to switching one of them on: the gradient stops there.",
    )  # fmt: skip

    trials = c.try_remedies(
        epochs=EPOCHS, optimizer=lambda parameters: mx.optim.SGD(parameters, lr=STEP)
    )
    board.say(str(trials))
    as_it_is, best = trials[0], trials.best
    assert best is not None and best.after is not None and as_it_is.after is not None
    accuracy = best.after.accuracy or 0.0
    board.check(
        f"with {best.name} it reads {accuracy:.0%}, and {as_it_is.after.accuracy:.0%} as it is",
        accuracy > 0.9 > 0.6 > (as_it_is.after.accuracy or 0.0),
    )
    return f"{len(named)} of 128 ReLUs were dead; {best.name} mends it"


def always_off(net: Any, images: Any) -> list[tuple[int, int]]:
    """The layer and the number of each ReLU that is off on all images, by scikit-learn's arrays."""
    found, h = [], images
    for layer, (w, b) in enumerate(zip(net.coefs_[:-1], net.intercepts_[:-1])):
        z = h @ w + b
        found += [(layer, int(k)) for k in np.flatnonzero((z <= 0).all(axis=0))]
        h = np.maximum(z, 0.0)
    return found
