"""The verdict on one gradient: the first in the table that holds, with the place and the causes.

Every function of TABLE looks at a `Case` and returns a `Finding`, or None if it does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from microgradx.causes import (
    carried,
    cause_of_zero,
    made_at,
    name_of,
    origins,
    provenance,
    show,
)
from microgradx.engine import Edge, Value, cut_off, with_cut_off
from microgradx.forward import Forward
from microgradx.nodeflow import NodeFlow
from microgradx.paths import Paths

if TYPE_CHECKING:
    from fractions import Fraction

NAMED = 0.3  # decades from which a kind of factor is named as a cause
EXACT = 2000  # edges up to which a cancelled gradient is also summed in fractions

SMALL_BECAUSE = {
    "sigmoid ceiling": "sigmoid chain", "weights": "small weights", "inputs": "small inputs",
    "activations": "small activations", "constants": "small constants",
    "loss": "loss near its optimum",
}  # fmt: skip
LARGE_BECAUSE = {"weights": "weight product", "loss": "loss scale"}


class Limits(NamedTuple):
    """From where on a gradient is small, large or cancelled.

    reference: the decades to compare with
    small, large: how many decades below and above it
    cancels:   the κ
    """

    reference: float = 0.0
    small: float = 3.0
    large: float = 2.0
    cancels: float = 1000.0


class Finding:
    """A verdict and what speaks for it.

    repairable: the numbers of the edges to try a factor of 1 on, None for all that lead on
    """

    def __init__(
        self,
        verdict: str,
        causes: list[str] | None = None,
        where: list[Edge] | None = None,
        culprits: list[Edge] | None = None,
        because: list[str] | None = None,
        exact: Fraction | None = None,
        repairable: list[int] | None = None,
    ) -> None:
        self.verdict = verdict
        self.causes = causes or []
        self.where = where or []
        self.culprits = culprits or []
        self.because = because or []
        self.exact = exact
        self.repairable = repairable


class Case:
    """A node of a graph, its row in the table, and what leads on from it once that is asked."""

    def __init__(self, paths: Paths, limits: Limits, node: Value, row: NodeFlow) -> None:
        self.paths = paths
        self.limits = limits
        self.node = node
        self.row = row

    @cached_property
    def forward(self) -> Forward:
        """The sums from the node towards the output."""
        return Forward(self.paths, self.node)


def unconnected(node: Value, paths: Paths) -> Finding:
    """The verdict on a node from which no path leads to the output, or only through a detach."""
    output, reached = paths.nodes[0], with_cut_off(paths.nodes[0])
    if node not in set(reached):
        leaves = [x for x in paths.nodes if not x.rule]
        names = [x.label for x in leaves if x.label][:3]
        among = f", {', '.join(names)} among them" if names else ""
        twin = node.label and any(x.label == node.label for x in paths.nodes)
        because = [
            f"{name_of(output)} was not computed from it",
            f"It was computed from {len(leaves):,} leaves{among}" if output.rule else
            f"{name_of(output)} is a leaf: it was computed from nothing",
            f"There is another Value labelled {node.label} among them: is that the one?" if twin
            else "To connect the two, compute with this Value itself, not with its .data",
        ]  # fmt: skip
        return Finding("disconnected", because=because)
    leads = {node}
    cuts = []
    for x in reversed(reached):
        cuts += [(source, x) for source in cut_off(x) if source in leads]
        if not leads.isdisjoint(x.inputs):
            leads.add(x)
    because = ["Every path to the output runs through a detach()"]
    because += [f"It is cut off between {name_of(a)} and {name_of(b)}{made_at(b)}" for a, b in cuts]
    because.append("To let the gradient through, use the Value itself where its detach() is used")
    return Finding("detached", because=because)


def verdict_on(case: Case) -> Finding:
    """The first verdict that holds."""
    found = (verdict(case) for verdict in TABLE)
    return next(finding for finding in found if finding)


def _not_finite(case: Case) -> Finding | None:
    row, paths = case.row, case.paths
    if isfinite(row.g) and isfinite(row.wide.mantissa):
        return None
    leads = {case.node}
    leads.update(x for x in reversed(paths.nodes) if not leads.isdisjoint(x.inputs))
    found = origins(paths.nodes, paths.g, leads)
    return Finding(
        "not finite",
        causes=_ranked([origin.cause for origin in found]),
        where=list(dict.fromkeys(e for origin in found for e in origin.edges)),
        because=[origin.sentence for origin in found],
        repairable=[],
    )


def _stopped(case: Case) -> Finding | None:
    """A = 0: the cut is where the first zero of every path lies."""
    if case.row.mass.mantissa:
        return None
    paths = case.paths
    cut = [e for e in case.forward.edges if paths.partials[e] == 0]
    where = [paths.edge(e) for e in cut]
    culprits = [e for e in where if paths.mass(paths.index[e.node]).mantissa]
    blamed, because = culprits, []
    if not blamed:
        blamed = [paths.edge(e) for e in paths.strongest(case.node) if not paths.partials[e]]
        because = [
            f"{len(blamed)} gates stand in series on the path with the fewest: opening one of them "
            "is not enough"
        ]
    causes = _ranked([cause_of_zero(edge, paths) for edge in where])
    because += dict.fromkeys(step for edge in blamed for step in provenance(edge, paths))
    if "local underflow" in causes:
        size = carried(paths, case.node)
        if size.mantissa:
            because.append(f"With the logarithms of such slopes carried along it is {show(size)}")
    return Finding("stopped", causes, where, culprits, because, repairable=cut)


def _underflowed(case: Case) -> Finding | None:
    row = case.row
    if row.g != 0 or not row.wide.mantissa:
        return None
    said = [f"As a float it is 0; it is really {show(row.wide)}"]
    return _blame("underflowed", case, said, shrinking=True)


def _cancelled(case: Case) -> Finding | None:
    row, paths = case.row, case.paths
    rounded = row.kappa * paths.rounds[paths.index[case.node]] * 2.0**-53 >= 1  # |g| ≤ γA
    if row.wide.mantissa and row.kappa < case.limits.cancels and not rounded:
        return None
    forward = case.forward
    where = [paths.edge(e) for e in forward.opposed()]
    readers = [edge.node.label for edge in where]
    between = all(readers) and len(set(readers)) < len(readers)
    because = [
        f"The paths weigh {show(row.mass)} together and cancel to {show(row.wide)}"
        + (", which is within rounding of 0" if rounded else "")
    ]
    if between:
        because.append("The samples pull against each other, as they do at an optimum")
    exact = forward.exact() if rounded and len(forward.edges) <= EXACT else None
    if exact is not None:
        size = "0" if not exact else f"{float(exact):.3g}"
        because.append(f"Without any rounding they add up to {size}")
    cause = "opposing samples" if between else "opposing paths"
    return Finding("cancelled", [cause], where, because=because, exact=exact)


def _sized(case: Case) -> Finding:
    """Small or large beside the reference, and named by what made it so; else healthy."""
    limits = case.limits
    beside = case.row.decades - limits.reference
    if -limits.small <= beside <= limits.large:
        return Finding("healthy")
    whose = "the output layer's" if limits.reference else "1"
    said = [f"It is {abs(beside):.1f} decades {'below' if beside < 0 else 'above'} {whose}"]
    return _blame("small" if beside < 0 else "large", case, said, shrinking=beside < 0)


def _blame(verdict: str, case: Case, because: list[str], shrinking: bool) -> Finding:
    """Name the kinds of factor, and the edges, that made the gradient small or large."""
    sign = -1.0 if shrinking else 1.0
    terms = sorted(case.row.budget.items(), key=lambda term: -sign * term[1])
    names = SMALL_BECAUSE if shrinking else LARGE_BECAUSE
    named = [term for term in terms if sign * term[1] > NAMED] or terms[:1]
    blamed = [(sign * credit, e) for credit, e in case.forward.credits() if sign * credit > 0]
    total = math.fsum([credit for credit, _ in blamed])
    culprits = []
    if terms[0][0] not in ("fan-out", "cancellation"):  # which are no edge's doing
        halves = sorted((x for x in blamed if x[0] >= total / 2), reverse=True)
        culprits = [case.paths.edge(e) for _, e in halves]
    effective = total**2 / math.fsum([x * x for x, _ in blamed]) if blamed else 0.0
    if not culprits and effective >= 3:
        because.append(f"No single factor is to blame: it is a chain of about {effective:.0f}")
    causes = [names.get(kind, kind) for kind, _ in named]
    return Finding(verdict, causes, culprits=culprits, because=because)


TABLE: list[Callable[[Case], Finding | None]] = [
    _not_finite, _stopped, _underflowed, _cancelled, _sized,
]  # fmt: skip


def _ranked(causes: list[str]) -> list[str]:
    """Each cause once, the most frequent first."""
    return sorted(dict.fromkeys(causes), key=lambda cause: -causes.count(cause))
