"""An autodiff engine on a scalar graph that shows exactly why a gradient is what it is."""

from __future__ import annotations

from types import ModuleType

from microgradx import nn, optim, step
from microgradx.check import check_gradients
from microgradx.draw import draw, draw_dot
from microgradx.engine import Value, maximum, minimum, record_lines
from microgradx.flow import Flow, why
from microgradx.rows import dot, logsumexp, mean, sum
from microgradx.whatif import compare

__all__ = [
    "Value", "dot", "sum", "mean", "logsumexp", "maximum", "minimum",
    "nn", "optim", "step", "bounds", "page", "check_gradients", "draw", "draw_dot", "Flow", "why",
    "compare", "record_lines",
]  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    """`bounds` and `page` are loaded when asked for: importing microgradx must stay quick."""
    if name not in ("bounds", "page"):
        raise AttributeError(f"microgradx has no {name!r}; it offers {', '.join(__all__)}")
    import importlib

    return importlib.import_module(f"microgradx.{name}")
