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
from microgradx.markup import count
from microgradx.nodeflow import NodeFlow
from microgradx.paths import Paths
from microgradx.places import place
from microgradx.wide import Wide, plus

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
    def forward(self) -> Forward:
        """The sums from the node towards the output."""
        return Forward(self.paths, self.node)


    @cached_property
    def reference(self) -> float:
        """The decades to compare with.

        By default those of the gradients at the layer closest to the output (their median); where
        it was computed for several samples, of those that the node leads to, added up, because a
        weight's gradient adds up the samples too. 0 where no node is labelled as part of a layer.
        """
        if self.limits.reference is not None:
            return self.limits.reference
        paths, layer = self.paths, output_layer(self.paths.nodes)
        sums: dict[str, Wide] = {}
        labels = {paths.nodes[i].label for i in layer}
        led_to = layer
        if len(labels) < len(layer):
            led_to = [i for i in layer if i < self.index and self.forward.size(i).mantissa] or layer
        for i in led_to:
            label = paths.nodes[i].label if led_to is not layer else str(i)
            m, e = paths.wide(i)
            sums[label] = plus(sums.get(label, Wide(0.0, 0)), Wide(abs(m), e))
        decades = sorted(total.decades for total in sums.values() if total.mantissa)
        return decades[len(decades) // 2] if decades else 0.0


def output_layer(nodes: list[Value]) -> list[int]:
    """Which of `nodes`, in the order of the sweep, are the layer closest to the output."""
    places = [(i, place(x.label)[0]) for i, x in enumerate(nodes) if x.rule and x.label]
    last = next((layer for _, layer in places if layer), "")
    return [i for i, layer in places if layer == last] if last else []


def unconnected(node: Value, paths: Paths) -> Finding:
    """The verdict on a node from which no path leads to the output, or only through a detach."""
    output, reached = paths.nodes[0], with_cut_off(paths.nodes[0])
    if node not in set(reached):
        leaves = [x for x in paths.nodes if not x.rule]
        names = [x.label for x in leaves if x.label][:3]
        among = f", {', '.join(names)} among them" if names else ""
        twin = node.label and any(x.label == node.label for x in paths.nodes)
        number = count(len(leaves), "leaf", "leaves") if leaves else "no leaf"
        because = [
            f"{name_of(output)} was not computed from it",
            f"It was computed from {number}{among}" if output.rule
            else "It is a leaf: it was computed from nothing",
            f"Another Value is labelled {node.label}, which may be the one to ask about" if twin
            else "To connect the two, compute with this Value itself, not with its .data",
        ]  # fmt: skip
        return Finding("disconnected", because=because)
    leads = {node}
    cuts = []
    for x in _inputs_first(output):
        sources = [source for source in cut_off(x) if source in leads]
        cuts += [(source, x) for source in sources]
        if sources or not leads.isdisjoint(x.inputs):
            leads.add(x)
    because = ["Every path to the output runs through a detach()"]
    because += [f"It is cut off between {name_of(a)} and {name_of(b)}{made_at(b)}" for a, b in cuts]
    because.append("To let the gradient through, use the Value itself where its detach() is used")
    return Finding("detached", because=because)


def _inputs_first(output: Value) -> list[Value]:
    """All that the output was computed from, detached or not, inputs before consumers."""
    nodes = with_cut_off(output)
    left = {node: len({*node.inputs, *cut_off(node)}) for node in nodes}
    readers: dict[Value, list[Value]] = {}
    for node in nodes:
        for source in {*node.inputs, *cut_off(node)}:
            readers.setdefault(source, []).append(node)
    ready = [node for node in nodes if not left[node]]
    for node in ready:  # which grows meanwhile
        for reader in readers.get(node, []):
            left[reader] -= 1
            if not left[reader]:
                ready.append(reader)
    return ready


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
    alone = _ranked([cause_of_zero(edge, paths) for edge in culprits])
    causes = [*alone, *_ranked([cause_of_zero(edge, paths) for edge in where])]
    causes = list(dict.fromkeys(causes))
    because += _grouped(blamed, paths)
    if "flat loss" in causes:
        because.append("A flat loss is benign: what lies behind it has nothing left to learn there")
    if "local underflow" in causes:
        size = carried(paths, case.node)
        if size and size.mantissa:
            because.append(f"With the logarithms of such slopes carried along it is {show(size)}")
    return Finding("stopped", causes, where, culprits, because, repairable=cut)


def _grouped(edges: list[Edge], paths: Paths) -> list[str]:
    """Where each zero comes from; samples of the same labels, and of one cause, in one sentence."""
    groups: dict[object, list[Edge]] = {}
    for edge in edges:
        labels = (edge.input.label, edge.node.label)
        key = (labels, cause_of_zero(edge, paths)) if all(labels) else edge
        groups.setdefault(key, []).append(edge)
    steps: dict[str, None] = {}
    for group in groups.values():
        said = provenance(group[0], paths)
        if len(group) > 1:
            said[-1] += f", and {len(group) - 1} more like it"
        steps.update(dict.fromkeys(said))
    return list(steps)


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
    numbers, share = forward.opposed()
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
    exact = forward.exact() if rounded and len(forward.edges) <= EXACT else None
    if exact is not None:
        size = "0" if not exact else f"{float(exact):.3g}"
        because.append(f"Without any rounding they add up to {size}")
    causes = ["opposing samples" if between else "opposing paths"]
    if paths.loss and all(edge.node in paths.loss for edge in where):
        causes.append("loss near its optimum")
    if row.budget and row.mass.decades - case.reference < -case.limits.small:
        small = _named(row.budget, SMALL_BECAUSE, -1.0)
        causes += [cause for cause in small if cause != "cancellation"]
    return Finding("cancelled", causes, where, because=because, exact=exact)


def _between_samples(edges: list[Edge], paths: Paths) -> bool:
    """Whether opposing branches are those of samples: alike, and meeting in one sum of them all."""
    meeting = paths.nodes[max(paths.up[paths.index[edges[0].input]], 0)]
    labels = [edge.node.label for edge in edges]
    alike = len(set(labels)) < len(labels) if all(labels) else not any(labels)
    rule = meeting.rule
    return alike and rule is not None and bool(rule.rows) and rule.kind == "linear"


def _sized(case: Case) -> Finding:
    """Small or large beside the reference, and named by what made it so; else healthy."""
    limits = case.limits
    beside = case.row.decades - case.reference
    whose = "the output layer's" if limits.reference is None and case.reference else "1"
    if limits.reference:
        whose = f"10^{limits.reference:g}"
    said = [f"It is {abs(beside):.1f} decades {'below' if beside < 0 else 'above'} {whose}"]
    if -limits.small <= beside <= limits.large:
        loss = case.row.budget.get("loss", 0.0)
        if loss < -limits.small:
            said.append(f"The loss is near its optimum: it alone brings {loss:+.1f} decades")
        if loss > limits.large:
            said.append(f"The loss is on a large scale: it alone brings {loss:+.1f} decades")
        return Finding("healthy", because=said)
    return _blame("small" if beside < 0 else "large", case, said, shrinking=beside < 0)


def _named(budget: dict[str, float], names: dict[str, str], sign: float) -> list[str]:
    """The kinds of factor that made it so, largest first."""
    terms = sorted(budget.items(), key=lambda term: -sign * term[1])
    named = [kind for kind, x in terms if sign * x > NAMED] or [kind for kind, _ in terms[:1]]
    return [names.get(kind, kind) for kind in named]


def _blame(verdict: str, case: Case, because: list[str], shrinking: bool) -> Finding:
    """Name the kinds of factor, and the edges, that made the gradient small or large."""
    sign = -1.0 if shrinking else 1.0
    budget = case.row.budget
    causes = _named(budget, SMALL_BECAUSE if shrinking else LARGE_BECAUSE, sign)
    blamed = [(sign * credit, e) for credit, e in case.forward.credits() if sign * credit > 0]
    total = math.fsum([credit for credit, _ in blamed])
    culprits = []
    most = max(budget, key=lambda kind: sign * budget[kind], default="")
    if most not in ("fan-out", "cancellation"):  # which are no edge's doing
        halves = sorted((x for x in blamed if x[0] >= total / 2), reverse=True)
        culprits = [case.paths.edge(e) for _, e in halves]
        effective = total**2 / math.fsum([x * x for x, _ in blamed]) if blamed else 0.0
        if not culprits and effective >= 3:
            because.append(f"No single factor is to blame: it is shared by about {effective:.0f}")
    return Finding(verdict, causes, culprits=culprits, because=because)


TABLE: list[Callable[[Case], Finding | None]] = [
    _not_finite, _stopped, _underflowed, _cancelled, _sized,
]  # fmt: skip


def _ranked(causes: list[str]) -> list[str]:
    """Each cause once, the most frequent first."""
    return sorted(dict.fromkeys(causes), key=lambda cause: -causes.count(cause))
