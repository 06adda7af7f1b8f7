"""A net as it is used: a Module, adopted if it is another's, and in `eval()`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import numpy as np

from microgradx._base.arguments import flat
from microgradx._base.attributes import put
from microgradx.engine import Value
from microgradx.interop import adopt
from microgradx.interop.adopted import Adopted
from microgradx.nn.module import Module
from microgradx.replay.batch import Array


def module_of(model: Any, X: Array) -> Module:
    """A Module as it is, else the adopted net; its example are rows of X."""
    if isinstance(model, Module):
        return model
    rows = X[:8]
    whole_numbers = (rows == np.floor(rows)).all() and (X == np.floor(X)).all()
    try:
        return adopt(model, rows)
    except (TypeError, ValueError, IndexError):
        if not whole_numbers:
            raise
    return adopt(model, rows.astype(np.int64))  # of an embedding


@contextmanager
def in_use(model: Module) -> Iterator[None]:
    """The model as in `eval()`; afterwards each part has the mode that it had."""
    parts = [] if isinstance(model, Adopted) else [p for p in modules_of(model) if p.training]
    try:
        put("training", parts, repeat(False))
        yield
    finally:
        put("training", parts, repeat(True))


def modules_of(model: Module) -> Iterator[Module]:
    """A module and all its parts."""
    stack: list[Any] = [model]
    seen: set[int] = set()
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, Module):
            yield x
            stack.extend(x._parts().values())
        elif isinstance(x, (list, tuple)) and not isinstance(next(flat(x), None), Value):
            stack.extend(x)
        elif isinstance(x, dict):
            stack.extend(x.values())
