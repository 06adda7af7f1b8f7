"""Every op of the table as a function: `tanh(x)`, `maximum(x, 0.0)`, `dot(weights, xs, bias)`.

Operands are Values or numbers, and lists of them where the row says so. An op that is entered later
is found here too.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import nan
from typing import TYPE_CHECKING, Any

from microgradx._base.arguments import number
from microgradx.engine import Value, functions, list_of_operands
from microgradx.engine import dots as dots

if TYPE_CHECKING:  # every row of the table is a function; tests/test_types.py compares the two

    def add(x: Any, y: Any) -> Value: ...
    def mul(x: Any, y: Any) -> Value: ...
    def neg(x: Any) -> Value: ...
    def div(x: Any, y: Any) -> Value: ...
    def pow(x: Any, y: Any) -> Value: ...
    def abs(x: Any) -> Value: ...
    def sqrt(x: Any) -> Value: ...
    def exp(x: Any) -> Value: ...
    def log(x: Any) -> Value: ...
    def sin(x: Any) -> Value: ...
    def cos(x: Any) -> Value: ...
    def relu(x: Any) -> Value: ...
    def leaky_relu(x: Any, slope: Any = 0.01) -> Value: ...
    def elu(x: Any, alpha: Any = 1.0) -> Value: ...
    def sigmoid(x: Any) -> Value: ...
    def tanh(x: Any) -> Value: ...
    def softplus(x: Any) -> Value: ...
    def gelu(x: Any) -> Value: ...
    def maximum(x: Any, y: Any) -> Value: ...
    def minimum(x: Any, y: Any) -> Value: ...
    def where(condition: Any, x: Any, y: Any) -> Value: ...
    def clamp(x: Any, low: Any, high: Any) -> Value: ...
    def dot(weights: Iterable[Any], xs: Iterable[Any], bias: Any = 0.0) -> Value: ...
    def sum(xs: Iterable[Any]) -> Value: ...
    def logsumexp(xs: Iterable[Any]) -> Value: ...
    def detach(x: Any) -> Value: ...
    def equal(x: Any, y: Any) -> Value: ...

else:
    __all__ = ["dots", "mean", "pick", "silu", *functions]

    def __getattr__(name):
        if name not in functions:
            raise AttributeError(f"there is no op {name!r}; there are {', '.join(functions)}")
        return functions[name]


def mean(xs: Iterable[Any]) -> Value:
    """Σ xs / len(xs); no xs at all is a ValueError.

    >>> mean([Value(1.0), 2.0])
    Value(data=1.5, grad=0, op=div)
    """
    xs = list_of_operands(xs)
    return functions["sum"](xs) / len(xs)


def pick(xs: Iterable[Any], index: Any) -> Value:
    """xs[index], counted from 0: for a loss whose target is a class, also while it is recorded.

    Where the index is a Value, every x is there and `where` selects; it is nan if there is none of
    this number. A number that is none of theirs is an IndexError, a fraction a TypeError.

    >>> pick([Value(1.0), Value(3.0)], 1), pick([Value(1.0), Value(3.0)], Value(1.0))
    (Value(data=3, grad=0), Value(data=3, grad=0, op=where))
    """
    xs = list_of_operands(xs)
    if isinstance(index, Value):
        y: Any = nan
        for i, x in reversed([*enumerate(xs)]):
            y = functions["where"](functions["equal"](index, float(i)), x, y)
        return _value(y)
    k = number(index)
    if k % 1:
        raise TypeError(f"an index is a whole number, got {index!r}")
    if not 0 <= k < len(xs):
        raise IndexError(f"index {index!r} of {len(xs)}; they are counted from 0")
    return _value(xs[int(k)])


def silu(x: Any) -> Value:
    """x · sigmoid(x)

    >>> silu(2.0).data == Value(2.0).silu().data
    True
    """
    y: Value = x * functions["sigmoid"](x)
    return y


def _value(x: Any) -> Value:
    return x if isinstance(x, Value) else Value(x)


def __dir__() -> list[str]:
    return ["dots", "mean", "pick", "silu", *functions]
