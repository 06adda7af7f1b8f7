"""What is asked about: a net, the rows of a data set, and the loss of a row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from microgradx import ops
from microgradx._base.arguments import flat, nested, shape, whole
from microgradx._base.text import clean, count, kind_of
from microgradx.diagnosis.box import reach
from microgradx.engine import Value
from microgradx.interop.usage import in_use, module_of
from microgradx.nn.losses import BY_CLASS, LOSSES, Loss, loss_of
from microgradx.nn.module import Module
from microgradx.replay.batch import Array, pair, samples

WORDS = {
    "mse": "mean squared error", "hinge": "hinge loss", "cross_entropy": "cross-entropy",
    "binary_cross_entropy": "binary cross-entropy",
}  # fmt: skip
SAME = 1e-9  # probabilities of a row add up to 1 within it


class Task(NamedTuple):
    """A net, the rows that are looked at, and what the loss of a row is.

    model:   a Module
    X:       (n, …), finite
    targets: (n, …), as the loss takes them; None where there is none
    y:       as it was given, for the rows that are looked at
    total:   how many rows there were
    loss:    of (prediction, target)
    name:    its key in WORDS, or ""
    words:   its name in a sentence
    source:  what y was taken for: "10 classes, so cross-entropy"
    columns: the names of the inputs, where X is a data frame
    guess:   the least mean loss that outputs of one constant reach; None where it isn't known
    """

    model: Module
    X: Array
    targets: Array | None
    y: Array | None
    total: int
    loss: Loss
    name: str
    words: str
    source: str
    guess: float | None
    columns: tuple[str, ...] = ()

    def of_row(self, prediction: Any, target: Any) -> Value:
        """The loss of a row."""
        found: Any = self.loss.function(prediction, target)
        if not isinstance(found, Value):
            raise TypeError(f"a loss returns one Value, got {kind_of(found)}")
        return found


def task_of(model: Any, X: Any, y: Any, loss: Any, rows: Any) -> Task:
    """The task; errors name what is wrong and what to do, and nothing has changed by then."""
    most = whole("rows", rows)
    columns = tuple(str(name) for name in getattr(X, "columns", ()))
    X, y = _array("X", X), None if y is None else _labels(model, y)
    if y is None:
        X = samples("X", X)
        if loss is not None:
            raise TypeError(f"the loss {loss!r:.40} takes targets; pass y")
    else:
        X, y = pair("X", X, "y", y)
    total = len(X)
    chosen = np.arange(total) if total <= most else np.arange(most) * total // most
    X, y = X[chosen], None if y is None else y[chosen]
    model = module_of(model, X)
    with in_use(model):
        prediction = nested(_called(model, X[0]))
    form = shape(prediction)
    if form is None:
        raise ValueError("the net returns a ragged or empty list; a net returns Values")
    if y is None:
        return Task(
            model, X, None, None, total, Loss(_mean_output), "", "the mean of the outputs",
            "no targets, so the gradient is that of the mean of the outputs", None, columns,
        )  # fmt: skip
    task = _with_targets(model, X, y, total, loss, prediction, form)
    return task._replace(columns=columns)


def _with_targets(
    model: Module, X: Array, y: Array, total: int, loss: Any, prediction: Any, form: Any
) -> Task:
    if not form and y.shape[1:] == (1,):
        y = y[:, 0]
    name, source = "", ""
    if loss is None:
        name, source, chosen = _guessed(y, form, prediction)
    else:
        chosen = _chosen(loss)
        name = next((n for n, known in LOSSES.items() if known is chosen), "")
        name = name or "binary_cross_entropy" * (chosen.function is of_probability)
    words = WORDS.get(name) or getattr(chosen.function, "__name__", "the loss").replace("_", " ")
    targets = chosen.targets("y", y, form[0] if form else 1)
    task = Task(
        model, X, targets, y, total, chosen, name, clean(words), source or clean(words), None
    )
    return task._replace(guess=_guess(name, targets))


def _called(model: Module, x: Array) -> Any:
    try:
        return model(x.tolist())
    except (TypeError, ValueError) as error:
        raise type(error)(f"the net refuses a row of X, of the shape {x.shape}: {error}") from error


# --- the data ------------------------------------------------------------------------------------


def _array(name: str, x: Any) -> Any:
    """Data as it may come: a tensor is taken to the CPU."""
    if isinstance(x, str):
        raise TypeError(f"{name} is the str {x[:40]!r}; load it, and pass the array")
    for method in ("detach", "cpu"):
        if callable(found := getattr(x, method, None)):
            x = found()
    if hasattr(x, "to_numpy"):  # of a data frame
        x = x.to_numpy()
    elif hasattr(x, "__array__"):
        x = np.asarray(x)
    return x


def _labels(model: Any, y: Any) -> Any:
    """Targets; the names of classes as their numbers, where the net knows its classes."""
    y = _array("y", y)
    classes = getattr(model, "classes_", None)
    if classes is None:
        array = np.asarray(y) if isinstance(y, (list, tuple)) else y
        kind = getattr(getattr(array, "dtype", None), "kind", "")
        if kind == "O":  # as a data frame has words
            kind = "U" * all(isinstance(x, str) for x in np.ravel(array)[:1000])
        if kind and kind in "US":
            if hasattr(model, "fit") and hasattr(model, "get_params"):
                raise ValueError(
                    f"this {clean(type(model).__name__)} is not fitted yet; call fit(X, y) first"
                )
            raise TypeError(
                "y holds names; pass the classes as numbers: np.unique(y, return_inverse=True)[1]"
            )
        return y
    y, classes = np.asarray(y), np.asarray(classes)
    if y.ndim != 1 or y.dtype.kind in "fc" and classes.dtype.kind not in "iuf":
        return y
    place = np.searchsorted(classes, y).clip(0, len(classes) - 1)
    if (classes[place] != y).any():
        strange = y[classes[place] != y][:1].tolist()[0]
        raise ValueError(f"y has {strange!r}, which is no class of the net")
    return place


# --- the loss ------------------------------------------------------------------------------------


def _mean_output(prediction: Any, target: Any = None) -> Value:
    return ops.mean([*flat(nested(prediction))])


def of_probability(prediction: Any, target: Any) -> Value:
    """-t ln p - (1 - t) ln(1 - p), the mean over the outputs."""
    pairs = zip(flat(nested(prediction)), flat(nested(target)))
    return ops.mean([-t * p.log() + (t - 1.0) * (1.0 - p).log() for p, t in pairs])


def of_probabilities(prediction: Any, target: Any) -> Value:
    """-ln p of the class, for the probabilities p of a row."""
    return -ops.dot([*flat(nested(target))], [*flat(nested(prediction))]).log()


def _chosen(loss: Any) -> Loss:
    """A loss by its name or as a function; PyTorch's by the names of theirs."""
    if type(loss).__module__.startswith("torch.") or _comes_from_torch(loss):
        theirs = getattr(loss, "__name__", type(loss).__name__)
        if theirs not in TORCH:
            known = ", ".join(TORCH)
            raise ValueError(
                f"the loss {clean(theirs)} is not known; of PyTorch's there are {known}"
            )
        _refuse_settings(theirs, loss)
        found = TORCH[theirs]
        return found if isinstance(found, Loss) else LOSSES[found]
    return loss_of(loss)


def _refuse_settings(name: str, loss: Any) -> None:
    """A ValueError for a loss of PyTorch that weighs, sums or smooths, as ours doesn't."""
    usual = {"reduction": "mean", "label_smoothing": 0.0, "ignore_index": -100}
    for setting in ("reduction", "weight", "pos_weight", "label_smoothing", "ignore_index"):
        held = getattr(loss, setting, None)
        if held is not None and held != usual.get(setting):
            shown = "…" if hasattr(held, "shape") else repr(held)
            raise ValueError(
                f"{name}({setting}={shown}) isn't known here; pass a function of a prediction and "
                "a target of one row that returns a Value"
            )


def _comes_from_torch(loss: Any) -> bool:
    return str(getattr(loss, "__module__", "")).startswith("torch.")


def _guessed(y: Array, form: tuple[int, ...], prediction: Any) -> tuple[str, str, Loss]:
    """The loss that targets like these are for: its name, why, and itself."""
    kinds, width = {*np.unique(y[:10_000]).tolist()}, form[0] if form else 1
    wholes = bool((y == np.floor(y)).all())
    one_each = y.shape[1:] == form
    if y.ndim == 1 and len(form) == 1 and width > 1 and wholes and 0 <= y.min() <= y.max() < width:
        return _of_classes(count(width, "class", "classes"), prediction)
    if one_each and kinds <= {0.0, 1.0} and not (len(form) and (y.sum(axis=-1) == 1).all()):
        probable = all(map(_is_probability, flat(prediction)))
        if probable:
            words = "probabilities of 0 and 1, so binary cross-entropy"
            return "binary_cross_entropy", words, Loss(of_probability, metrics=_SIDES)
        return "binary_cross_entropy", "0 and 1, so binary cross-entropy", LOSSES[
            "binary_cross_entropy"
        ]  # fmt: skip
    if one_each and len(form) == 1 and (y >= 0).all() and np.allclose(y.sum(axis=-1), 1.0):
        return _of_classes(f"{count(width, 'probability', 'probabilities')} a row", prediction)
    if one_each and kinds == {-1.0, 1.0} and not any(
        reach(x)[1] < np.inf for x in flat(prediction)
    ):  # fmt: skip
        return "hinge", "-1 and 1, so hinge loss", LOSSES["hinge"]
    if one_each:
        return "mse", "so mean squared error", LOSSES["mse"]
    raise ValueError(
        f"a row of y has the shape {y.shape[1:]}, the net's output {form}; for classes y is "
        f"(n,) of whole numbers below {width}, else it has the shape of the outputs"
    )


def _of_classes(words: str, prediction: Any) -> tuple[str, str, Loss]:
    numbers = [x.data for x in flat(prediction)]
    if min(numbers) >= 0.0 and abs(sum(numbers) - 1.0) < SAME:
        loss = Loss(of_probabilities, LOSSES["cross_entropy"].targets, BY_CLASS)
        return "cross_entropy", f"{words}, so cross-entropy of probabilities", loss
    return "cross_entropy", f"{words}, so cross-entropy", LOSSES["cross_entropy"]


def _is_probability(x: Value) -> bool:
    """Whether an output is a sigmoid's, or another's that lies between 0 and 1 always."""
    return reach(x) == (0.0, 1.0)


def _by_half(predictions: Array, targets: Array) -> float:
    return float(((predictions > 0.5) == (targets > 0.5)).mean())


_SIDES = {"accuracy": _by_half}
# PyTorch's losses by the names of their classes and functions.
TORCH: dict[str, str | Loss] = {
    "CrossEntropyLoss": "cross_entropy", "cross_entropy": "cross_entropy",
    "MSELoss": "mse", "mse_loss": "mse",
    "BCEWithLogitsLoss": "binary_cross_entropy",
    "binary_cross_entropy_with_logits": "binary_cross_entropy",
    "BCELoss": Loss(of_probability, metrics=_SIDES),
    "binary_cross_entropy": Loss(of_probability, metrics=_SIDES),
}  # fmt: skip


def _guess(name: str, targets: Array) -> float | None:
    """The mean loss of the best constant: the entropy, the variance, twice the rarer sign."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if name == "cross_entropy":
            return _entropy(targets.mean(axis=0))
        if name == "binary_cross_entropy":
            p = targets.mean(axis=0)
            return float(np.mean([_entropy(np.array([q, 1.0 - q])) for q in np.ravel(p)]))
        if name == "mse":
            return float(targets.var(axis=0).mean())
        if name == "hinge":
            p = (targets > 0).mean(axis=0)
            return float(np.mean(2.0 * np.minimum(p, 1.0 - p)))
    return None


def _entropy(p: Array) -> float:
    return float(-np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0).sum())
