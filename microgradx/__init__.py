"""An autodiff engine on a scalar graph that shows exactly why a gradient is what it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from microgradx import nn, optim, step
from microgradx._base import hints
from microgradx.engine import Value, functions, record_lines
from microgradx.explain import Flow, check_gradients, compare, why
from microgradx.ops import mean, pick, silu

__version__ = "0.2.0.dev0"
"""The version of the package, as its metadata has it."""

__all__ = [
    "Value", *functions, "mean", "pick", "silu", "nn", "optim", "step", "bounds", "page",
    "check_gradients",
    "draw", "draw_dot", "Flow", "why", "compare", "record_lines", "record", "lift", "fit",
    "adopt", "checkup", "study", "prove", "Watch", "__version__",
]  # fmt: skip

_LATE = {  # the room that has it
    "record": "replay", "lift": "replay", "fit": "train", "Watch": "train", "page": "step",
    "adopt": "interop", "checkup": "diagnosis", "study": "diagnosis",
    "prove": "diagnosis",
    "draw": "pictures", "draw_dot": "pictures", "bounds": "explain.bounds",
}  # fmt: skip


if TYPE_CHECKING:  # a checker knows the names one by one, so that it refuses any other
    from microgradx.diagnosis import checkup as checkup
    from microgradx.diagnosis import prove as prove
    from microgradx.diagnosis import study as study
    from microgradx.explain import bounds as bounds
    from microgradx.interop import adopt as adopt
    from microgradx.ops import *  # noqa: F403
    from microgradx.pictures import draw as draw
    from microgradx.pictures import draw_dot as draw_dot
    from microgradx.replay import lift as lift
    from microgradx.replay import record as record
    from microgradx.step import page as page
    from microgradx.train import Watch as Watch
    from microgradx.train import fit as fit

else:

    def __getattr__(name):
        """Ops, and what is loaded when asked for, since importing microgradx must stay quick."""
        if name in functions:
            return functions[name]
        if name not in _LATE:
            raise _missing(name)
        import importlib

        room = importlib.import_module(f"microgradx.{_LATE[name]}")
        return getattr(room, name, room)


def _missing(name: str) -> AttributeError:
    """The error for a name that is not offered here; it may be one of a room's."""
    rooms = {"nn": nn, "optim": optim, "step": step}
    found = [(name, f"mx.{room}.{name}") for room, module in rooms.items() if name in dir(module)]
    offers = f"; it offers {', '.join(__all__)}"
    words = {**hints.FRONT, **dict(found)}
    return hints.missing("microgradx", name, words, sys.modules[__name__], offers)


def __dir__() -> list[str]:
    return sorted({*__all__, *functions})
