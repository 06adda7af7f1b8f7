"""An autodiff engine on a scalar graph that shows exactly why a gradient is what it is."""

from __future__ import annotations

from typing import Any

from microgradx import nn, optim, step
from microgradx.engine import Value, functions, record_lines
from microgradx.explain import Flow, check_gradients, compare, why
from microgradx.ops import mean
from microgradx.pictures import draw, draw_dot

__version__ = "0.2.0.dev0"
"""The version of the package, as its metadata has it."""

__all__ = [
    "Value", *functions, "mean", "nn", "optim", "step", "bounds", "page", "check_gradients",
    "draw", "draw_dot", "Flow", "why", "compare", "record_lines", "record", "lift", "fit",
    "__version__",
]  # fmt: skip

_LATE = {  # the room that has it
    "record": "replay", "lift": "replay", "fit": "train", "page": "step",
    "bounds": "explain.bounds",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Ops, and what is loaded when asked for, since importing microgradx must stay quick."""
    if name in functions:
        return functions[name]
    if name not in _LATE:
        raise AttributeError(f"microgradx has no {name!r}; it offers {', '.join(__all__)}")
    import importlib

    room = importlib.import_module(f"microgradx.{_LATE[name]}")
    return getattr(room, name, room)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *functions})
