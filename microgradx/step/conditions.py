"""The sweep, one node at a time: what a visit does, and when to pause there.

`for visit in loss.backward_steps()` is the sweep as a loop of your own;
`loss.backward(pause=stops)` opens the debugger where a gradient stops.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, NamedTuple

from microgradx._base.arguments import number

Condition = Callable[["Visit"], bool]


class Visit(NamedTuple):
    """What the sweep did at one node; a place in the tuples for each edge, in argument order.

    node, adjoint: the node, and ∂output/∂node, which is final now
    inputs:        the nodes it was computed from
    partials:      ∂node/∂input
    contributions: partial · adjoint, what each edge added to its input's grad
    before, after: the input's grad before that and after it
    """

    node: Any
    adjoint: float
    inputs: tuple[Any, ...]
    partials: tuple[float, ...]
    contributions: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


def visit(node: Any) -> Visit:
    """Add the node's contributions to the grads of its inputs; its own grad is final."""
    adjoint = node.grad
    contributions, before, after = [], [], []
    for input, partial in zip(node.inputs, node.partials):
        contribution = partial * adjoint
        before.append(input.grad)
        input.grad += contribution  # the chain rule
        after.append(input.grad)
        contributions.append(contribution)
    return Visit(
        node,
        adjoint,
        node.inputs,
        node.partials,
        tuple(contributions),
        tuple(before),
        tuple(after),
    )


def paused(
    node: Any,
    adjoint: float,
    inputs: tuple[Any, ...],
    partials: tuple[float, ...],
    contributions: tuple[float, ...],
    before: tuple[float, ...],
    after: tuple[float, ...],
) -> None:
    """Stop in the debugger; the names here are those of the visit."""
    breakpoint()  # `a` shows the visit, `c` goes on to the next stop
    return  # `a` shows the visit, `c` goes on to the next stop


# --- when to pause --------------------------------------------------------------------------------


def stops(visit: Visit) -> bool:
    """Whether a gradient stops here: an adjoint that is not 0 meets a local derivative of 0."""
    return visit.adjoint != 0 and 0.0 in visit.partials


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
