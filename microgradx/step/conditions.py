"""Conditions on a visit of the sweep, at which to pause.

`for visit in loss.backward_steps()` is the sweep as a loop of your own;
`loss.backward(pause=stops)` opens the debugger where a gradient stops.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

from microgradx._base.arguments import number
from microgradx.engine import Visit
from microgradx.explain.paths import is_stop

Condition = Callable[[Visit], bool]


# --- when to pause --------------------------------------------------------------------------------


def stops(visit: Visit) -> bool:
    """Whether a gradient stops here: a finite adjoint, not 0, meets a local derivative of 0."""
    return any(is_stop(partial, visit.adjoint) for partial in visit.partials)


def not_finite(visit: Visit) -> bool:
    """Whether the adjoint or a contribution is inf or nan."""
    return not all(map(isfinite, (visit.adjoint, *visit.contributions)))


def below(size: float) -> Condition:
    """Whether |adjoint| is below `size`; 0 is below any."""
    size = number(size)

    def is_below(visit: Visit) -> bool:
        return abs(visit.adjoint) < size

    return is_below


def at(node: Any) -> Condition:
    """Whether it is this very node's turn; a TypeError if it is no node."""
    if not hasattr(node, "grad"):
        raise TypeError(f"at takes a node, got {node!r:.60}")

    def is_here(visit: Visit) -> bool:
        return visit.node is node

    return is_here
