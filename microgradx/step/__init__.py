"""Backprop a move at a time: conditions to pause at, a walk in the terminal, a page."""

from typing import Any

from microgradx.engine import Visit
from microgradx.step.conditions import at, below, not_finite, stops

__all__ = ["Stepper", "Visit", "at", "below", "not_finite", "page", "stops"]


def __getattr__(name: str) -> Any:
    """These two are loaded when asked for, since they load the pictures."""
    if name == "page":
        from microgradx.step.html import page

        return page
    if name == "Stepper":
        from microgradx.step.walk import Stepper

        return Stepper
    raise AttributeError(f"microgradx.step has no {name!r}; it offers {', '.join(__all__)}")
