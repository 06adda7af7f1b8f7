"""The words of other libraries, each with what to write here in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, wraps
from typing import Any, TypeVar, cast

Init = TypeVar("Init", bound=Callable[..., None])

VALUE = {  # what is asked of a Value, x
    "_prev": "x.inputs", "_op": "x.op", "_backward": "x.partials, its local derivatives",
    "children": "x.inputs", "parents": "x.inputs", "grad_fn": "x.rule",
    "item": "x.data, or float(x)", "numpy": "x.data", "value": "x.data", "val": "x.data",
    "gradient": "x.grad", "name": "x.label", "ln": "x.log()", "square": "x ** 2",
    "softmax": "mx.nn.cross_entropy, which takes logits, or x.exp() / mx.sum(exps)",
    "zero_grad": "x.grad = 0.0, or model.zero_grad() for all of a model",
    "requires_grad": "x as it is: every Value gets its gradient, but for x.detach()",
    **{name: f"mx.{name}, which takes a list" for name in ("sum", "mean", "dot", "logsumexp")},
}  # fmt: skip
NEURON = {"w": "weight", "b": "bias", "nonlin": "activation"}
NN = {  # what is asked of the room of nets
    "Linear": "nn.Layer(nin, nout, activation=None)",
    "Sequential": "nn.MLP, or an nn.Module of your own",
    **dict.fromkeys(("ReLU", "Tanh", "Sigmoid"), 'activation="relu" and the like, or x.relu()'),
    "Parameter": "a Value: a leaf that a Module holds is a parameter",
    "MSELoss": "nn.mse_loss(predictions, targets)",
    "CrossEntropyLoss": "nn.cross_entropy(logits, classes)",
    "BCEWithLogitsLoss": "nn.binary_cross_entropy_with_logits(scores, targets)",
    "BatchNorm1d": "nn.BatchNorm",
}  # fmt: skip
FRONT = {  # what is asked of microgradx itself
    **dict.fromkeys(("Tensor", "tensor", "Variable"), "mx.Value, one number"),
    "no_grad": "x.detach(), or x.data for the number alone",
    "grad": "y.backward(), then x.grad",
}
NUMPY = {  # what is asked of NumPy with a Value, x
    "add": "x + y", "subtract": "x - y", "multiply": "x * y", "divide": "x / y",
    "power": "x ** y", "negative": "-x", "absolute": "abs(x)", "square": "x ** 2",
    "reciprocal": "1 / x", "log1p": "(1 + x).log()", "expm1": "x.exp() - 1",
}  # fmt: skip
NO_OP = "x.data, the number alone, or enter an op of your own"
REFLECTED = {  # the method that NumPy's ufunc for `number ∘ x` stands for
    "add": "__radd__", "subtract": "__rsub__", "multiply": "__rmul__", "power": "__rpow__",
    "divide": "__rtruediv__", "true_divide": "__rtruediv__",
    "less": "__gt__", "less_equal": "__ge__", "greater": "__lt__", "greater_equal": "__le__",
    "equal": "__eq__", "not_equal": "__ne__",
}  # fmt: skip


def missing(
    owner: str, name: str, words: Mapping[str, str], obj: Any, otherwise: str = ""
) -> AttributeError:
    """An AttributeError that says what to use for a word of another library.

    obj: what was asked, so that a traceback proposes the name of its that is nearest
    """
    hint = f"; use {words[name]}" if name in words else otherwise
    return AttributeError(f"{owner} has no {name!r}{hint}", name=name, obj=obj)


class Word(cached_property[Any]):
    """An attribute that a class has not: asking for it is an AttributeError with what to use.

    A `__getattr__` would answer as well, and make every read of any attribute slower. As a kind of
    property, and private, it stays out of a reference that is made by pdoc.
    """

    def __init__(self, owner: str, name: str, words: Mapping[str, str]) -> None:
        def asked(x: Any) -> Any:
            """@private"""
            raise missing(owner, name, words, x)

        super().__init__(asked)

    def __get__(self, x: Any, kind: Any = None) -> Any:
        return self.func(kind if x is None else x)


def answer_for(kind: type, owner: str, words: Mapping[str, str]) -> None:
    """Let a class answer words of other libraries, called `owner` in the message."""
    for name in words:
        setattr(kind, name, Word(owner, name, words))


def refusing(**words: str) -> Callable[[Init], Init]:
    """For an `__init__`: another library's keyword is a TypeError that says what to pass."""

    def decorated(init: Init) -> Init:
        @wraps(init)
        def checked(self: Any, *args: Any, **named: Any) -> None:
            for name in named:
                if name in words:
                    raise TypeError(f"{type(self).__name__} takes no {name}; {words[name]}")
            init(self, *args, **named)

        return cast(Init, checked)

    return decorated
