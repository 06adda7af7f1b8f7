"""Nests of lists, such as matrices: their elements and their shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def nested(x: Any) -> Any:
    """x with every array, tensor, tuple and range in it as a list."""
    if hasattr(x, "tolist"):
        x = x.tolist()
    if isinstance(x, str) or not hasattr(x, "__iter__"):
        return x
    return [nested(part) for part in x]


def flat(nest: Any) -> Iterator[Any]:
    """The elements of a nest of lists and tuples, in order; of what is no nest, itself."""
    if isinstance(nest, (list, tuple)):
        for part in nest:
            yield from flat(part)
    else:
        yield nest


def shape(nest: Any) -> tuple[int, ...] | None:
    """The shape of a nest of lists, () for what is no list; None if it is ragged or empty."""
    if not isinstance(nest, (list, tuple)):
        return ()
    shapes = {shape(part) for part in nest}
    inner = shapes.pop() if len(shapes) == 1 else None
    return None if inner is None else (len(nest), *inner)


def show_shape(nest: Any) -> str:
    """The shape for a message."""
    found = shape(nest)
    return "an empty or ragged list" if found is None else str(found)
