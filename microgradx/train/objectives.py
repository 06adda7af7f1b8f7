"""The losses of `fit` by name: the targets that each takes, and what is counted beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from microgradx.engine import Value
from microgradx.nn import losses

if TYPE_CHECKING:
    from microgradx.replay.batch import Array

Metric = Callable[["Array", "Array"], float]  # of predictions and targets


class Objective(NamedTuple):
    """A loss of (prediction, target), what its targets must be, and what is counted beside it."""

    function: Callable[[Any, Any], Value]
    targets: Callable[[str, Array, int], Array] = lambda name, y, outputs: y
    metrics: Mapping[str, Metric] = {}


def _signs(name: str, y: Array, outputs: int) -> Array:
    wrong = (y != -1.0) & (y != 1.0)
    _refuse(name, wrong, y, "hinge takes targets -1 and 1; for 0 and 1: 2y - 1")
    return y


def _probabilities(name: str, y: Array, outputs: int) -> Array:
    wrong = (y < 0.0) | (y > 1.0)
    _refuse(name, wrong, y, "a probability lies in [0, 1]; for -1 and 1: (y + 1) / 2")
    return y


def _one_hot(name: str, y: Array, outputs: int) -> Array:
    """Classes as rows of probabilities; rows as they are."""
    if y.ndim > 1:
        return _probabilities(name, y, outputs)
    if outputs == 1:
        raise ValueError("cross_entropy of one output is 0; use binary_cross_entropy, or more")
    wrong = (y % 1 != 0) | (y < 0) | (y >= outputs)
    _refuse(name, wrong, y, f"a class is a whole number from 0 to {outputs - 1}")
    rows: Array = (y[:, None] == range(outputs)).astype(float)
    return rows


def _refuse(name: str, wrong: Array, y: Array, rule: str) -> None:
    if wrong.any():
        place = [int(index[0]) for index in wrong.nonzero()]
        raise ValueError(f"{name}{place} is {y[tuple(place)]:g}, but {rule}")


def accuracy_by_sign(predictions: Array, targets: Array) -> float:
    """The share of scores on the side of 0 that their target, ±1, or 0 and 1, is on."""
    return float(((predictions > 0.0) == (targets > 0.5)).mean())


def accuracy_by_class(predictions: Array, targets: Array) -> float:
    """The share of rows whose largest score is that of the most probable class."""
    return float((predictions.argmax(1) == targets.argmax(1)).mean())


OBJECTIVES = {
    "mse": Objective(losses.mse_loss),
    "hinge": Objective(losses.hinge_loss, _signs, {"accuracy": accuracy_by_sign}),
    "binary_cross_entropy": Objective(
        losses.binary_cross_entropy_with_logits, _probabilities, {"accuracy": accuracy_by_sign}
    ),
    "cross_entropy": Objective(losses.cross_entropy, _one_hot, {"accuracy": accuracy_by_class}),
}


def objective(choice: Any) -> Objective:
    """The objective of a name, or of a callable; another name is a ValueError."""
    for known in OBJECTIVES.values():
        if choice is known.function:
            return known
    if callable(choice):
        return Objective(choice)
    if isinstance(choice, str) and choice in OBJECTIVES:
        return OBJECTIVES[choice]
    kind = ValueError if isinstance(choice, str) else TypeError
    raise kind(f"loss {choice!r} is not known; use {', '.join(OBJECTIVES)}, or a callable")
