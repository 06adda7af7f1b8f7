"""The cost of predictions: predictions first, then targets; one of each, or lists of them.

Targets may be Values too, as they are while a loss is recorded: then the formula is the general
one, whatever their numbers are.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from microgradx._base.arguments import chosen, flat, nested, number, shape, show_shape
from microgradx._base.text import kind_of
from microgradx.engine import Value
from microgradx.ops import dot, logsumexp, mean, pick, sum

if TYPE_CHECKING:
    from microgradx.replay.batch import Array

Metric = Callable[["Array", "Array"], float]  # of predictions and targets


def mse_loss(predictions: Any, targets: Any) -> Value:
    """The mean of (prediction - target)².

    Here and below: predictions of another shape than targets, or none, are a ValueError, and
    predictions that are not Values a TypeError.
    """
    return _mean_of(_squared_error, predictions, targets)


def hinge_loss(predictions: Any, targets: Any) -> Value:
    """The mean of relu(1 - target · score) (Cortes and Vapnik 1995).

    A target that is a number other than ±1 is a ValueError.
    """
    return _mean_of(_hinge, predictions, targets)


def binary_cross_entropy_with_logits(predictions: Any, targets: Any) -> Value:
    """The mean of -t ln σ(z) - (1 - t) ln(1 - σ(z)), for targets t.

    As softplus(±z), which neither overflows nor cancels. A target that is a number outside [0, 1]
    is a ValueError.
    """
    return _mean_of(_binary_cross_entropy, predictions, targets)


def cross_entropy(predictions: Any, targets: Any) -> Value:
    """The mean of logsumexp(logits - logits[class]): one list of logits or many, and as many ints.

    Targets of the logits' own shape are the probabilities of the classes, one-hot rows for
    example: Σ t · logsumexp(d) - Σ t · d, for d = logits - logits[0]. An offset that all logits
    share costs no digit. A loss near 0 has all its digits for a class; for probabilities, and
    replayed, it is right to rounding beside 1 and the d.
    A class that is not there is an IndexError, or nan where it is a Value; one that is not whole is
    a TypeError, a probability that is a number outside [0, 1] a ValueError.
    """
    logits, wanted = nested(predictions), nested(targets)
    _check_values(logits)
    form = shape(logits)
    if form is None or len(form) not in (1, 2) or shape(wanted) not in (form, form[:-1]):
        raise ValueError(
            "cross_entropy expected logits of shape (classes,) and one class, or (n, classes) and "
            "n classes, or probabilities of the logits' shape; "
            f"got {show_shape(logits)} and {show_shape(wanted)}"
        )
    surprise = _expected_surprise if shape(wanted) == form else _surprise
    if len(form) == 1:
        return surprise(logits, wanted)
    return mean([surprise(row, target) for row, target in zip(logits, wanted)])


def _squared_error(prediction: Value, target: Any) -> Value:
    loss: Value = (prediction - target) ** 2
    return loss


def _hinge(score: Value, target: Any) -> Value:
    return (1.0 + -SIGNS.checked(target) * score).relu()


def _binary_cross_entropy(z: Value, target: Any) -> Value:
    t = PROBABILITIES.checked(target)
    if t == 1.0:  # never of a Value: == asks whether it is the same object
        return (-z).softplus()
    if t == 0.0:
        return z.softplus()
    return t * (-z).softplus() + (1.0 - t) * z.softplus()


def _surprise(logits: list[Value], target: Any) -> Value:
    """-ln softmax(logits)[target]"""
    if isinstance(target, Value):
        minus = -pick(logits, target)
        return logsumexp([z + minus for z in logits])
    try:
        k = int(target) if target % 1 == 0 else operator.index(target)
    except TypeError:
        raise TypeError(f"a class is a whole number, got {target!r}") from None
    if not 0 <= k < len(logits):
        raise IndexError(f"class {k} of {len(logits)}; they are counted from 0")
    return logsumexp(_less(logits, k))


def _expected_surprise(logits: list[Value], targets: list[Any]) -> Value:
    """-Σ tᵢ ln softmax(logits)ᵢ"""
    ts = [CLASS_PROBABILITIES.checked(t) for t in targets]
    total = sum(ts)
    above = _less(logits, 0)
    wanted = [(t, z) for t, z in zip(ts, above) if isinstance(t, Value) or t]  # 0 · inf is nan
    aim = dot(*zip(*wanted)) if wanted else 0.0
    return logsumexp(above) * (total if total.inputs else total.data) - aim


def _less(logits: list[Value], k: int) -> list[Any]:
    """The logits less logit k, which have no common offset that could cost digits."""
    minus = -logits[k]
    alone = len(logits) == 1  # a graph has to lead back to it
    return [0.0 if j == k and not alone else z + minus for j, z in enumerate(logits)]


def _mean_of(loss: Callable[[Value, Any], Value], predictions: Any, targets: Any) -> Value:
    """The mean of `loss` over every prediction and its target; of a single one, its loss."""
    predictions, targets = nested(predictions), nested(targets)
    _check_values(predictions)
    if shape(predictions) is None or shape(predictions) != shape(targets):
        raise ValueError(
            "predictions and targets must agree in shape, "
            f"got {show_shape(predictions)} and {show_shape(targets)}"
        )
    if isinstance(predictions, Value):
        return loss(predictions, targets)
    return mean([loss(p, t) for p, t in zip(flat(predictions), flat(targets))])


def _check_values(predictions: Any) -> None:
    for prediction in flat(predictions):
        if not isinstance(prediction, Value):
            raise TypeError(
                f"predictions are Values, as a model returns them; got {kind_of(prediction)}"
            )


# --- what the targets may be ---------------------------------------------------------------------


class Targets(NamedTuple):
    """The numbers that may be targets, and the words for a number that may not."""

    allow: Callable[[Any], Any]  # of a number, or of every one in an array
    rule: str
    remedy: str = ""

    def checked(self, target: Any) -> Value | float:
        """A number as a float; a Value as it is, whatever its number."""
        if isinstance(target, Value):
            return target
        x = number(target)
        if not self.allow(x):
            raise ValueError(f"{self.rule}, got {target!r}{self.remedy}")
        return x

    def of_array(self, name: str, y: Array, outputs: int) -> Array:
        """The array y; a ValueError names the place of a number that may not be there."""
        wrong = ~self.allow(y)
        if wrong.any():
            place = [int(index[0]) for index in wrong.nonzero()]
            raise ValueError(f"{name}{place} is {y[tuple(place)]:g}, but {self.rule}{self.remedy}")
        return y


def _is_probability(t: Any) -> Any:
    return (t >= 0.0) & (t <= 1.0)


SIGNS = Targets(
    lambda t: (t == -1.0) | (t == 1.0), "hinge takes targets -1 and 1", "; for 0 and 1: 2y - 1"
)
PROBABILITIES = Targets(
    _is_probability, "a probability lies in [0, 1]", "; for -1 and 1: (y + 1) / 2"
)
CLASS_PROBABILITIES = Targets(_is_probability, "a probability of cross-entropy lies in [0, 1]")


# --- the losses of `fit` by name -----------------------------------------------------------------


class Loss(NamedTuple):
    """A loss of (prediction, target), with its targets as an array of floats, and its metrics."""

    function: Callable[[Any, Any], Value]
    targets: Callable[[str, Array, int], Array] = lambda name, y, outputs: y
    metrics: Mapping[str, Metric] = {}


def _one_hot(name: str, y: Array, outputs: int) -> Array:
    """Classes as rows of probabilities; rows as they are."""
    if y.ndim > 1:
        return CLASS_PROBABILITIES.of_array(name, y, outputs)
    if outputs == 1:
        raise ValueError("cross_entropy of one output is 0; use binary_cross_entropy, or more")
    classes = Targets(
        lambda y: (y % 1 == 0) & (y >= 0) & (y < outputs),
        f"a class is a whole number from 0 to {outputs - 1}",
    )
    rows: Array = classes.of_array(name, y, outputs)[:, None] == range(outputs)
    return rows.astype(float)


def accuracy_by_sign(predictions: Array, targets: Array) -> float:
    """The share of scores on the side of 0 that their target, ±1, or 0 and 1, is on."""
    return float(((predictions > 0.0) == (targets > 0.5)).mean())


def accuracy_by_class(predictions: Array, targets: Array) -> float:
    """The share of rows whose largest score is that of the most probable class."""
    return float((predictions.argmax(1) == targets.argmax(1)).mean())


BY_SIGN, BY_CLASS = {"accuracy": accuracy_by_sign}, {"accuracy": accuracy_by_class}
LossName = Literal["mse", "hinge", "binary_cross_entropy", "cross_entropy"]
LOSSES = {
    "mse": Loss(mse_loss),
    "hinge": Loss(hinge_loss, SIGNS.of_array, BY_SIGN),
    "binary_cross_entropy": Loss(binary_cross_entropy_with_logits, PROBABILITIES.of_array, BY_SIGN),
    "cross_entropy": Loss(cross_entropy, _one_hot, BY_CLASS),
}


def loss_of(choice: Any) -> Loss:
    """The loss of a name or a callable; another name is a ValueError."""
    loss = chosen("loss", choice, LOSSES)
    if isinstance(loss, Loss):
        return loss
    return next((known for known in LOSSES.values() if known.function is loss), Loss(loss))
