"""Backprop a move at a time: conditions to pause at, a walk in the terminal, a page."""

from importlib import import_module
from typing import TYPE_CHECKING

from microgradx.engine import Visit
from microgradx.step.conditions import at, below, not_finite, stops

__all__ = ["Stepper", "Visit", "at", "below", "not_finite", "page", "stops"]


_LATE = {"page": "html", "Stepper": "walk"}  # the file that has it


if TYPE_CHECKING:
    from microgradx.step.html import page
    from microgradx.step.walk import Stepper
else:

    def __getattr__(name):
        """These two are loaded when asked for, since importing microgradx must stay quick."""
        if name not in _LATE:
            raise AttributeError(f"microgradx.step has no {name!r}; it offers {', '.join(__all__)}")
        return getattr(import_module(f"microgradx.step.{_LATE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
