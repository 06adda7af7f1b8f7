"""A function of one sample as a Module: its parameters are the leaves that it always reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microgradx._base.arguments import flat, nested
from microgradx._base.text import kind_of
from microgradx.engine import Value, order
from microgradx.interop.adopted import Adopted, adopted, rows_of_example
from microgradx.interop.tensors import array_of
from microgradx.nn.module import label_parts


def adopt(fn: Callable[[Any], Any], example: Any) -> Adopted:
    """`fn` of one sample, Values to Values; without an example, a TypeError asks for one.

    Its parameters keep their labels as names, and one without a label is `leaf0` and so on. Leaves
    that each call makes anew are none, and no leaf at all is a ValueError.
    """
    name = getattr(fn, "__name__", type(fn).__name__)
    rows = rows_of_example(example, None, f"the function {name}")
    calls = [_leaves(fn, row) for row in (rows[0], rows[-1])]
    parameters = [x for x in calls[0] if x in set(calls[1])]
    if not parameters:
        raise ValueError(f"{name} reads no leaf that was there before; it has no parameters")
    model = adopted("Function", _Function(fn), rows.shape[1:], name)
    held: Any = model._parts()
    for k, x in enumerate(parameters):
        label = x.label or f"leaf{k}"
        while label in held:
            label += "_"
        held[label] = x
    label_parts(model, "")
    model.__dict__["agreement"] = "is the function itself"
    return model


def _leaves(fn: Callable[[Any], Any], row: Any) -> list[Value]:
    """The leaves that the outputs of one row lead back to, but for those of the row."""
    values = [Value(x) for x in row.ravel().tolist()]
    sample = array_of(values).reshape(row.shape).tolist() if row.ndim else values[0]
    outputs = [*flat(nested(fn(sample)))]
    if not all(isinstance(y, Value) for y in outputs):
        other = next(y for y in outputs if not isinstance(y, Value))
        raise TypeError(f"the function returned {kind_of(other)}; return a Value or Values")
    return [x for x in reversed(order(*outputs)) if not x.rule and x not in {*values}]


class _Function:
    """How it is run: as it is."""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        self.fn = fn

    def run(self, x: Any) -> Any:
        return array_of(self.fn(x.tolist()))
