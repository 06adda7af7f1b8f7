"""The verdict on one gradient: the first in the table that holds, with the place and the causes.

Every function of TABLE looks at a `Case` and returns a `Finding`, or None if it does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from microgradx._base.text import made_at, name_of
from microgradx.engine import Edge, Value
from microgradx.explain.causes import carried, cause_of_zero, origins, provenance
from microgradx.explain.extended import Extended, show, times
from microgradx.explain.paths import NodeFlow, Paths
from microgradx.explain.reference import Reference, reference
from microgradx.explain.tangents import EXACT, Tangents

if TYPE_CHECKING:
    from fractions import Fraction

MANY = 100  # places, or kinds of places, up to which each is explained
NAMED = 0.3  # decades from which a kind of factor is named as a cause

SMALL_BECAUSE = {
    "sigmoid ceiling": "sigmoid chain", "weights": "small weights", "inputs": "small inputs",
    "activations": "small activations", "constants": "small constants",
    "loss": "loss near its optimum",
}  # fmt: skip
LARGE_BECAUSE = {"weights": "weight product", "loss": "loss scale"}


T = TypeVar("T")


class Limits(NamedTuple):
    """From where on a gradient is small, large or cancelled.

    reference: the decades to compare with; None: those of the output layer
    small, large: how many decades below and above it
    cancels:   the κ
    """

    reference: float | None = None
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
        self.index = paths.index[node]

    @cached_property
    def tangents(self) -> Tangents:
        """The sums from the node towards the output."""
        return Tangents(self.paths, self.node)

    @cached_property
    def reference(self) -> Reference:
        """What to compare the gradient with."""
        if self.limits.reference is not None:
            return Reference(self.limits.reference)
        return reference(self.paths, self.index, lambda: self.tangents)


def verdict_on(case: Case) -> Finding:
    """The first verdict that holds."""
    found = (verdict(case) for verdict in TABLE)
    return next(finding for finding in found if finding)


def _not_finite(case: Case) -> Finding | None:
    row, paths = case.row, case.paths
    if isfinite(row.g) and isfinite(row.wide.mantissa) and isfinite(paths.nodes[0].data):
        return None
    leads = {case.node}
    leads.update(x for x in reversed(paths.nodes) if not leads.isdisjoint(x.inputs))
    found = origins(paths.nodes, paths.g, leads)
    origins_by = [((_labels(x.edges[0]) if x.edges else None, x.cause), x) for x in found]
    because = _told(origins_by, lambda origin: [origin.sentence])
    if not isfinite(row.g) and isfinite(row.wide.mantissa):
        because.insert(0, f"As a float it is {row.g}; the product itself is {show(row.wide)}")
    return Finding(
        "not finite",
        causes=_ranked([origin.cause for origin in found]),
        where=list(dict.fromkeys(e for origin in found for e in origin.edges)),
        because=because,
        repairable=[],
    )


def _stopped(case: Case) -> Finding | None:
    """A = 0: the cut is where the first zero of every path lies."""
    if case.row.mass.mantissa:
        return None
    paths = case.paths
    cut = [e for e in case.tangents.edges if paths.partials[e] == 0]
    where = [paths.edge(e) for e in cut]
    culprits = [e for e in where if paths.mass(paths.index[e.node]).mantissa]
    blamed, because = culprits, []
    if not blamed:
        gates = [e for e in paths.strongest(case.node) if not paths.partials[e]]
        blamed = [paths.edge(e) for e in gates[:MANY]]
        because = [
            f"{len(gates)} gates stand in series on the path with the fewest: opening one of them "
            "is not enough"
        ]
    why = {edge: cause_of_zero(edge, paths) for edge in dict.fromkeys(where + blamed)}
    alone, every = _ranked([why[edge] for edge in culprits]), _ranked([why[e] for e in where])
    causes = list(dict.fromkeys(alone + every))
    keyed = [((_labels(edge), why[edge]), edge) for edge in blamed]
    because += _told(keyed, lambda edge: provenance(edge, paths))
    if "flat loss" in causes:
        because.append("A flat loss is benign: what lies behind it has nothing left to learn there")
    if "local underflow" in causes:
        size = carried(paths, case.node)
        if size and size.mantissa:
            because.append(f"With the logarithms of such slopes carried along it is {show(size)}")
    return Finding("stopped", causes, where, culprits, because, repairable=cut)


def _labels(edge: Edge) -> object:
    """What the edges of one kind in several samples have in common; else the edge itself."""
    labels = (edge.input.label, edge.node.label)
    return labels if all(labels) else edge


def _told(keyed: Iterable[tuple[object, T]], say: Callable[[T], list[str]]) -> list[str]:
    """What there is to say of the first of each key, and how many more there are of it."""
    groups: dict[object, list[T]] = {}
    for key, item in keyed:
        groups.setdefault(key, []).append(item)
    steps: dict[str, None] = {}
    for first, *others in list(groups.values())[:MANY]:
        *before, last = say(first)
        more = f", and {len(others)} more like it" if others else ""
        steps.update(dict.fromkeys([*before, last + more]))
    return list(steps)


def _underflowed(case: Case) -> Finding | None:
    row = case.row
    if row.g != 0 or not row.wide.mantissa:
        return None
    said = [f"As a float it is 0; it is really {show(row.wide)}"]
    return _blame("underflowed", case, said, shrinking=True)


def _cancelled(case: Case) -> Finding | None:
    row, paths = case.row, case.paths
    rounded = row.kappa * paths.roundings[paths.index[case.node]] * 2.0**-53 >= 1  # |g| ≤ γA
    if row.wide.mantissa and row.kappa < case.limits.cancels and not rounded:
        return None
    tangents = case.tangents
    numbers, share = tangents.opposed()
    where = [paths.edge(e) for e in numbers]
    between = _between_samples(where, paths)
    because = [
        f"The paths weigh {show(row.mass)} together and cancel to {show(row.wide)}"
        + (", which is within rounding of 0" if rounded else "")
    ]
    if share < 0.9:
        most = name_of(where[0].input)
        because.append(f"Of what cancels, {share:.0%} does so at {most}, more than anywhere else")
    if between:
        because.append("The samples pull against each other, as they do at an optimum")
    because.append(_opposition(where, paths))
    exact = tangents.exact() if rounded and len(tangents.edges) <= EXACT else None
    if exact is not None:
        size = "0" if not exact else f"{float(exact):.3g}"
        because.append(f"Without any rounding they add up to {size}")
    causes = ["opposing samples" if between else "opposing paths"]
    if paths.loss and all(edge.node in paths.loss for edge in where):
        causes.append("loss near its optimum")
    if row.budget and row.mass.decades - case.reference.decades < -case.limits.small:
        small = _named(case, SMALL_BECAUSE, -1.0)
        causes += [cause for cause in small if cause != "cancellation"]
    return Finding("cancelled", causes, where, because=because, exact=exact)


def _opposition(edges: list[Edge], paths: Paths) -> str:
    """What the branches bring, those of one kind and sign in several samples together."""
    groups: dict[object, list[tuple[Edge, Extended]]] = {}
    for edge in edges:
        brings = times(edge.partial, *paths.wide(paths.index[edge.node]))
        groups.setdefault((_labels(edge), brings.mantissa > 0), []).append((edge, brings))
    parts = []
    for (edge, brings), *others in groups.values():
        more = f" and {len(others)} more so" if others else ""
        parts.append(f"{name_of(edge.node)}{made_at(edge.node)} brings {show(brings)}{more}")
    more = f", and {len(parts) - 4} others" if len(parts) > 4 else ""
    return f"Opposing each other: {', '.join(parts[:4])}{more}"


def _between_samples(edges: list[Edge], paths: Paths) -> bool:
    """Whether opposing branches are those of samples: alike, and meeting in one sum of them all."""
    meeting = paths.nodes[max(paths.choke_point[paths.index[edges[0].input]], 0)]
    labels = [edge.node.label for edge in edges]
    alike = len(set(labels)) < len(labels) if all(labels) else not any(labels)
    rule = meeting.rule
    return alike and rule is not None and bool(rule.rows) and rule.kind == "linear"


def _sized(case: Case) -> Finding:
    """Small or large beside the reference, and named by what made it so; else healthy."""
    limits, budget = case.limits, case.row.budget
    beside = case.row.decades - case.reference.decades
    way = "below" if beside < 0 else "above"
    said = [f"It is {abs(beside):.1f} decades {way} {case.reference}"]
    if case.node is case.paths.nodes[0]:
        return Finding("healthy", because=said)
    if not -limits.small <= beside <= limits.large:
        return _blame("small" if beside < 0 else "large", case, said, shrinking=beside < 0)
    loss = budget.get("loss", 0.0)
    if loss + budget.get("fan-out", 0.0) < -limits.small:
        said.append(f"The loss is near its optimum: it alone brings {loss:+.1f} decades")
    if loss > limits.large:
        said.append(f"The loss is on a large scale: it alone brings {loss:+.1f} decades")
    return Finding("healthy", because=said)


def _named(case: Case, names: dict[str, str], sign: float) -> list[str]:
    """The kinds of factor that made it so, largest first."""
    terms = sorted(_beside(case).items(), key=lambda term: -sign * term[1])
    named = [kind for kind, x in terms if sign * x > NAMED] or [kind for kind, _ in terms[:1]]
    return [names.get(kind, kind) for kind in named]


def _beside(case: Case) -> dict[str, float]:
    """The budget without what the reference has from the loss too.

    The 1/n of a mean is made up for by its n paths, which are fan-out: that is taken off a small
    loss term first.
    """
    budget = dict(case.row.budget)
    if "loss" in budget:
        budget["loss"] -= case.reference.loss
        if budget["loss"] < 0:
            budget["loss"] = min(0.0, budget["loss"] + budget.get("fan-out", 0.0))
    return budget


def _blame(verdict: str, case: Case, because: list[str], shrinking: bool) -> Finding:
    """Name the kinds of factor, and the edges, that made the gradient small or large."""
    sign, paths, budget = (-1.0 if shrinking else 1.0), case.paths, _beside(case)
    causes = _named(case, SMALL_BECAUSE if shrinking else LARGE_BECAUSE, sign)
    found = case.tangents.credits()
    credits = [(abs(credit), e) for credit, e in found if (credit < 0) == shrinking]
    if paths.loss and sign * budget.get("loss", 0.0) < NAMED:  # the reference has as much of it
        before = set(paths.before_the_loss(e for _, e in credits))
        credits = [(credit, e) for credit, e in credits if e in before]
    total = math.fsum([credit for credit, _ in credits])
    most = max(budget, key=lambda kind: sign * budget[kind], default="")
    culprits = []
    if most not in ("fan-out", "cancellation"):  # which are no edge's doing
        halves = sorted((x for x in credits if x[0] >= total / 2), reverse=True)
        culprits = [paths.edge(e) for _, e in halves]
        effective = total**2 / math.fsum([x * x for x, _ in credits]) if credits else 0.0
        if not culprits and effective >= 3:
            because.append(f"No single factor is to blame: it is shared by about {effective:.0f}")
    return Finding(verdict, causes, culprits=culprits, because=because)


TABLE: list[Callable[[Case], Finding | None]] = [
    _not_finite, _stopped, _underflowed, _cancelled, _sized,
]  # fmt: skip


def _ranked(causes: list[str]) -> list[str]:
    """Each cause once, the most frequent first."""
    return sorted(dict.fromkeys(causes), key=lambda cause: -causes.count(cause))
