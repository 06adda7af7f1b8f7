"""The sentences of an explanation: the verdict, the place, the budget and the strongest path."""

from __future__ import annotations

import textwrap
from collections import Counter
from itertools import islice
from math import isfinite

from microgradx._base.text import clip, count, few, fixed, listed, made_at, name_of, repeated
from microgradx.engine import Edge, Value
from microgradx.explain.case import Case
from microgradx.explain.causes import groups, kind_of_edge
from microgradx.explain.extended import Extended, show, signed
from microgradx.explain.paths import LN10, NodeFlow, Paths
from microgradx.explain.tangents import Repair
from microgradx.explain.verdicts import Evidence, Verdict

WIDTH = 100  # columns


def wrapped(sentence: str) -> str:
    """A sentence in as many lines as it needs."""
    return textwrap.fill(
        sentence, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def sentences(
    case: Case, verdict: Verdict, evidence: Evidence, origins: list[str], best: Repair | None
) -> list[str]:
    """An explanation, sentence by sentence.

    origins: the sentences on activations that are saturated or off
    best:    the repair to propose
    """
    causes, because = evidence.causes, evidence.because
    of = f"∂{clip(name_of(case.output), 32)}/∂{clip(name_of(case.node), 32)}"
    named = "".join(f"{', ' if i else ' – '}{cause}" for i, cause in enumerate(causes[:4]))
    size = "0" if case.flow is None else _size(case.flow, evidence)
    shown, rest = few(because, 4)
    shown = [*shown, f"… and {rest:,} more like it"] if rest else shown
    lines = [f"{of} = {size}: {verdict.name}{named}", verdict.meaning, *shown]
    lines += _places(case.paths, verdict, evidence) + origins
    if best:
        lines.append(_proposal(best))
    if case.flow is not None:
        lines += _budget(case.flow) + _paths(case.paths, case.node, case.flow)
    return [f"{line}." for line in lines]


def _size(flow: NodeFlow, evidence: Evidence) -> str:
    """The gradient, and in decades where it has any."""
    if evidence.exact is not None:
        return show(Extended(float(evidence.exact), 0))
    wide = flow.wide if isfinite(flow.g) or isfinite(flow.wide.mantissa) else Extended(flow.g, 0)
    power = fixed(flow.decades, 2) if flow.budget else ""
    return show(wide) + (f" (10^{power})" if power not in ("", "0.00") else "")


def _places(paths: Paths, verdict: Verdict, evidence: Evidence) -> list[str]:
    """Where it stops, or what it is mostly due to."""
    where, culprits = evidence.where, evidence.culprits
    if culprits and not where:
        return [f"At least half of it is due to {_listed(culprits, paths)}"]
    if culprits and len(culprits) < len(where):
        edges = count(len(where), "edge")
        return [f"{verdict.begins} {edges}; these alone are to blame: {_listed(culprits, paths)}"]
    return [f"{verdict.begins} {_listed(where, paths)}"] if where and verdict.begins else []


def _proposal(repair: Repair) -> str:
    edge, rule = repair.edge, repair.edge.node.rule
    gate = rule is not None and rule.kind == "gate"
    return (
        f"With ×1 instead of ×{_between(repair.ends)} from {name_of(edge.input)} to "
        f"{name_of(edge.node)}{_times(repair.times)} it would be {show(repair.wide)}, all other "
        "factors held" + (", to first order: compare() shows what is true" if gate else "")
    )


def _between(ends: tuple[float, ...]) -> str:
    """Factors, once where they are about the same."""
    return " … ".join(dict.fromkeys(f"{x + 0.0:.3g}" for x in ends))


def _times(n: int) -> str:
    """In how many samples the same edge is meant."""
    return f" in {count(n, 'sample')}" if n > 1 else ""


def _budget(flow: NodeFlow) -> list[str]:
    """The decades by kind of factor, largest first."""
    if not flow.budget:
        return []
    terms = sorted(flow.budget.items(), key=lambda term: -abs(term[1]))
    shown = ", ".join(f"{signed(x)} {kind}" for kind, x in terms if signed(x))
    return [f"Decades: {fixed(flow.decades, 2)} = {shown or '0: every factor is 1'}"]


def _paths(paths: Paths, node: Value, flow: NodeFlow) -> list[str]:
    """The strongest path's first and last factors, and how many paths there are beside it."""
    numbers = paths.strongest(node)
    if not numbers:
        return ["It is the output itself: no edge lies between", "By definition it is 1"]
    ends = numbers if len(numbers) <= 8 else [*numbers[:4], *numbers[-3:]]
    edges = map(paths.edge, ends)
    steps = [f"×{edge.partial + 0.0:.3g}→ {clip(name_of(edge.node), 24)}" for edge in edges]
    if len(ends) < len(numbers):
        steps.insert(4, f"… {len(numbers) - 7:,} more …")
    kind = "Strongest path" if flow.norm.mantissa else "Path"
    lines = [f"{kind}: {clip(name_of(node), 32)} {' '.join(steps)}"]
    if not flow.norm.mantissa:
        return [*lines, f"It holds {count(flow.gates, 'zero factor')}; no path holds fewer"]
    if not isfinite(flow.entropy):
        return lines
    if flow.entropy < 0.005:
        return [*lines, "It carries all there is"]
    decades = flow.entropy / LN10
    many = f"{10**decades:.3g}" if decades < 300 else f"10^{decades:.0f}"
    return [*lines, f"About {many} paths share the work{_bottlenecks(paths, node)}"]


def _bottlenecks(paths: Paths, node: Value) -> str:
    """The nearest nodes that every path goes through, where there are several paths."""
    names = [clip(name_of(x), 32) for x in islice(paths.choke_points(node), 5)]
    shown, rest = few(names, 3)
    return f"; all go through {', '.join(shown)}{' and more' if rest else ''}" if names else ""


def _listed(edges: list[Edge], paths: Paths) -> str:
    """The first edges of a list, by name, and where they were made if that was recorded.

    Edges that are called the same, and the same edge in several samples, count as one.
    """
    times: Counter[str] = Counter()
    for first, *others in groups([((kind_of_edge(e, paths), made_at(e.node)), e) for e in edges]):
        ends = clip(name_of(first.input), 32), clip(name_of(first.node), 32)
        times[f" ×{first.partial + 0.0:.3g}→ ".join(ends) + made_at(first.node)] += 1 + len(others)
    return listed([repeated(text, n) for text, n in times.items()], 3)
