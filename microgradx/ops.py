"""Every op of the table as a function: `tanh(x)`, `maximum(x, 0.0)`, `dot(weights, xs, bias)`.

Operands are Values or numbers, and lists of them where the row says so. An op that is entered later
is found here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from microgradx.engine import Value, dots, functions, list_of_operands

__all__ = ["dots", "mean", *functions]

if TYPE_CHECKING:  # the ops that other rooms call; all others are found by name as well
    dot: Callable[..., Value]
    sum: Callable[..., Value]
    logsumexp: Callable[..., Value]
    where: Callable[..., Value]


def mean(xs: Iterable[Any]) -> Value:
    """Σ xs / len(xs); no xs at all is a ValueError.

    >>> mean([Value(1.0), 2.0])
    Value(data=1.5, grad=0, op=div)
    """
    xs = list_of_operands(xs)
    return functions["sum"](xs) / len(xs)


def __getattr__(name: str) -> Any:
    if name not in functions:
        raise AttributeError(f"there is no op {name!r}; there are {', '.join(functions)}")
    return functions[name]


def __dir__() -> list[str]:
    return ["dots", "mean", *functions]
