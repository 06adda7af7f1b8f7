"""The table of verdicts on a gradient: nine rows, of which the first that holds is the verdict.

A row asks one question of a `Case` and is answered with `Evidence`, or None if it does not hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import compress
from math import isfinite, log10
from typing import TYPE_CHECKING, NamedTuple

from microgradx._base.text import clean, clip, count, few, fixed, made_at, name_of, repeated
from microgradx.engine import Edge, Value, cut_off, with_cut_off
from microgradx.explain.case import Case
from microgradx.explain.causes import (
    MANY,
    between_samples,
    cause_of_zero,
    grouped,
    in_samples,
    is_before_norm,
    is_near_optimum,
    kind_of_edge,
    meet_near_zero,
    opposition,
    origins,
    provenance,
    ranked,
    why_they_oppose,
    zero_in_samples,
)
from microgradx.explain.extended import show
from microgradx.explain.tangents import EXACT

if TYPE_CHECKING:
    from fractions import Fraction

NAMED = 0.1  # of what is missing, or too much: the least that a kind of factor is named for

SMALL_BECAUSE = {
    "sigmoid ceiling": "sigmoid chain", "inputs": "small inputs",
    "activations": "small activations", "constants": "small constants", "loss": "loss scale",
}  # fmt: skip
LARGE_BECAUSE = {"loss": "loss scale"}
FEW = "few samples"  # beside the output layer, which has the loss's scale too
ELSEWHERE = "Step size, data and minima are not judged here: look there if it does not learn"
CEILING = log10(0.25)  # decades: those of one sigmoid


class Evidence(NamedTuple):
    """The facts that speak for a verdict, as in `Explanation`."""

    causes: list[str] = []
    where: list[Edge] = []
    culprits: list[Edge] = []
    because: list[str] = []
    exact: Fraction | None = None


class Verdict:
    """A row of the table; a mistake in it is an error here.

    name:    the verdict, in a word or two
    meaning: in a sentence
    holds:   the question: a case -> the evidence for this verdict, None if it does not hold
    when:    the same as a quick yes or no; None: by the evidence alone
    begins:  the start of the sentence that names the edges in `where`; "" if none does
    repairs: "up" or "down", the way in which a repair must move the gradient; "" if none helps
    """

    def __init__(
        self,
        name: str,
        meaning: str,
        holds: Callable[[Case], Evidence | None],
        *,
        when: Callable[[Case], bool] | None = None,
        begins: str = "",
        repairs: str = "",
    ) -> None:
        for what, text in (("name", name), ("meaning", meaning)):
            if not (isinstance(text, str) and text):
                raise TypeError(f"the {what} of the verdict {name!r} is a text, got {text!r}")
        if not callable(holds):
            raise TypeError(f"the verdict {name!r} needs a function of a case, got {holds!r}")
        if not isinstance(begins, str):
            raise TypeError(f"begins is a text, or empty, in {name!r}, got {begins!r}")
        if repairs not in ("", "up", "down"):
            raise ValueError(f"repairs is 'up', 'down' or '' in {name!r}, got {repairs!r}")
        self.name, self.meaning, self.holds, self.when = name, meaning, holds, when
        self.begins, self.repairs = begins, repairs


def table(*rows: Verdict) -> dict[str, Verdict]:
    """The rows by name, in the order in which they are asked; a name that is taken is an error."""
    by_name: dict[str, Verdict] = {}
    for row in rows:
        if row.name in by_name:
            raise ValueError(f"there is a verdict {row.name!r} already; give it another name")
        by_name[row.name] = row
    return by_name


def judge(case: Case) -> tuple[Verdict, Evidence]:
    """The first verdict that holds, with its evidence."""
    rows = (row for row in TABLE.values() if row.when is None or row.when(case))
    answers = ((row, row.holds(case)) for row in rows)
    return next((row, evidence) for row, evidence in answers if evidence is not None)


def verdict_of(case: Case) -> Verdict:
    """The first verdict that holds; evidence is looked for only where a row has no other way."""
    rows = TABLE.values()
    return next(x for x in rows if (x.when(case) if x.when else x.holds(case) is not None))


# --- the questions, in the order of the table ----------------------------------------------------


def _not_finite(case: Case) -> Evidence:
    flow, paths = case.reached, case.paths
    leads = {case.node}
    leads.update(x for x in reversed(paths.nodes) if not leads.isdisjoint(x.inputs))
    nodes, g = paths.nodes, [*paths.g]
    if paths.counted is not None:  # what lies behind the operand that a `where` leaves is unseen
        seen = {0, *compress(paths.tails, paths.counted)}
        nodes, g = [nodes[i] for i in sorted(seen)], [g[i] for i in sorted(seen)]
    places = origins(nodes, g, leads)
    keyed = [((kind_of_edge(x.edges[0], paths) if x.edges else None, x.cause), x) for x in places]
    because = grouped(
        keyed,
        lambda origin: [origin.sentence],
        lambda alike: (
            in_samples([x.edges[0].node for x in alike if x.edges], paths)
            if all(x.edges for x in alike)
            else ""
        ),
    )
    if not isfinite(flow.g) and isfinite(flow.wide.mantissa):
        because.insert(0, f"As a float it is {flow.g}; the product itself is {show(flow.wide)}")
    return Evidence(
        causes=ranked([origin.cause for origin in places]),
        where=list(dict.fromkeys(e for origin in places for e in origin.edges)),
        because=because,
    )


def _disconnected(case: Case) -> Evidence:
    node, output, nodes = case.node, case.output, case.paths.nodes
    if output in set(with_cut_off(node)):
        return Evidence(
            because=[
                f"It is the other way round: {name_of(node)} was computed from {name_of(output)}",
                f"For ∂{name_of(node)}/∂{name_of(output)}, pass the two in the other order",
            ]
        )
    leaves = [x for x in nodes if not x.rule]
    named, _ = few([clip(clean(x.label), 32) for x in leaves if x.label], 3)
    among = f", {', '.join(named)} among them" if named else ""
    among = f": {', '.join(named)}" if named and len(named) == len(leaves) else among
    number = count(len(leaves), "leaf", "leaves") if leaves else "no leaf"
    source = f"It was computed from {number}{among}"
    remedy = (
        "To connect the two, compute with this Value itself, as x.tanh() does: math.tanh(x), "
        "float(x) and x.data are bare numbers, and a bare number has no gradient"
    )
    if node.label and any(x.label == node.label for x in nodes):
        remedy = f"Another Value is labelled {node.label}, which may be the one to ask about"
    because = [
        f"{name_of(output)} was not computed from it",
        source if output.rule else "It is a leaf: it was computed from nothing",
        remedy,
    ]
    return Evidence(because=because)


def _detached(case: Case) -> Evidence:
    readers: dict[Value, list[Value]] = {}
    for x in with_cut_off(case.output):
        for source in dict.fromkeys((*x.inputs, *cut_off(x))):
            readers.setdefault(source, []).append(x)
    leads = {case.node: None}
    for source in (queue := [case.node]):  # which grows meanwhile
        fresh = [x for x in readers.get(source, []) if x not in leads]
        leads.update(dict.fromkeys(fresh))
        queue += fresh
    cuts = [(source, x) for x in leads for source in cut_off(x) if source in leads]
    ways = list(dict.fromkeys([_way(x) for _, x in cuts]))
    because = [f"Every path to the output runs through {' or '.join(ways)}"]
    places = Counter(f"{name_of(source)} and {name_of(x)}{made_at(x)}" for source, x in cuts)
    because += [repeated(f"It is cut off between {place}", n) for place, n in places.items()]
    whole = [way[2:] for way in ways if way.endswith("()")]
    if whole:
        because.append(
            f"To let the gradient through, use the Value itself where its {whole[0]} is used"
        )
    if any(x.rule and x.rule.selects for _, x in cuts):
        because.append(
            "A condition only chooses, and has no gradient: a blend of the two has one, such as "
            "s * x + (1 - s) * y with s = condition.sigmoid()"
        )
    return Evidence(because=because)


def _way(x: Value) -> str:
    """A node that lets no gradient through to an operand, as the end of a sentence."""
    assert x.rule is not None
    if x.rule.silent == x.rule.operands:
        return f"a {x.op}()"
    return f"the {' or '.join(x.rule.silent)} of a {x.op}"


def _stopped(case: Case) -> Evidence:
    """R = 0: the cut is where the first zero of every path lies."""
    paths = case.paths
    cut = case.tangents.cut()
    culprits = [e for e in cut if paths.squares[paths.index[e.node]]]
    blamed, because = culprits, []
    if not blamed:
        gates = [e for e in paths.strongest(case.node) if not paths.partials[e]]
        blamed = [paths.edge(e) for e in gates[:MANY]]
        because = [
            f"{len(gates)} gates stand in series on the path with the fewest: opening one of them "
            "is not enough"
        ]
    why = {edge: cause_of_zero(edge, paths) for edge in dict.fromkeys(cut + blamed)}
    alone, every = ranked([why[edge] for edge in culprits]), ranked([why[e] for e in cut])
    causes = list(dict.fromkeys(alone + every))
    keyed = [((kind_of_edge(edge, paths), why[edge]), edge) for edge in blamed]
    because += grouped(
        keyed,
        lambda edge: provenance(edge, paths),
        lambda alike: zero_in_samples(alike[0], paths),
    )
    if "flat loss" in causes:
        because.append("A flat loss is benign: what lies behind it has nothing left to learn there")
    return Evidence(causes, cut, culprits, because)


def _underflowed(case: Case) -> Evidence:
    because = [f"As a float it is 0; it is really {show(case.reached.wide)}"]
    return _blame(case, because, SMALL_BECAUSE, -1.0)


def _cancelled(case: Case) -> Evidence | None:
    flow, paths, tangents = case.reached, case.paths, case.tangents
    where, share = tangents.opposed()
    if not where:
        return None  # a single path, which nothing opposes
    rounded = flow.decades <= case.rounding
    shifts = tangents.first_edges()
    if rounded and is_before_norm(shifts, paths):
        where, share = shifts, 1.0
    between = between_samples(where, paths)
    because = [
        f"With signs by chance its paths would add up to {show(flow.norm)}; they oppose each "
        f"other, and {show(flow.wide)} is left"
        + (", which is within rounding of 0" if rounded and flow.wide else "")
    ]
    if share < 0.9:
        most = name_of(where[0].input)
        because.append(f"Of what cancels, {share:.0%} does so at {most}, more than anywhere else")
    cause, sentence = why_they_oppose(where, case.tangents)
    because += [sentence] if sentence else []
    sizes = [(edge.partial * paths.wide(paths.index[edge.node])).decades for edge in where]
    if where is not shifts or max(sizes) > case.rounding:  # else each is 0, but for rounding
        because.append(opposition(where, paths))
    exact = tangents.exact() if rounded and len(tangents.edges) <= EXACT else None
    if exact is not None:
        size = "0" if not exact else f"{float(exact):.3g}"
        because.append(f"Without any rounding they add up to {size}")
    causes = ["opposing samples" if between else "opposing paths", *([cause] if cause else [])]
    if all(edge.node in paths.loss for edge in where) and meet_near_zero(where, paths):
        causes.append("loss near its optimum")
    if case.beyond < -case.limits.small:
        causes += _named(case, SMALL_BECAUSE, -1.0)
    return Evidence(causes, where, because=because, exact=exact)


def _small(case: Case) -> Evidence:
    return _blame(case, [_compared(case)], SMALL_BECAUSE, -1.0)


def _large(case: Case) -> Evidence:
    return _blame(case, [_compared(case)], LARGE_BECAUSE, 1.0)


def _healthy(case: Case) -> Evidence:
    limits, budget, because = case.limits, case.reached.budget, [_compared(case)]
    loss = budget.get("loss", 0.0)
    if case.node is case.output:
        return Evidence(because=because)
    if loss < -limits.small:
        near = is_near_optimum(case.tangents.shares, case.paths)
        state = "near its optimum" if near else "on a small scale"
        because.append(f"The loss is {state}: it alone brings {loss:+.1f} decades")
    if loss > limits.large:
        because.append(f"The loss is on a large scale: it alone brings {loss:+.1f} decades")
    return Evidence(because=[*because, ELSEWHERE])


TABLE = table(
    Verdict(
        "not finite",
        "Something on the way to it is inf or nan, and spoils all that it is part of",
        _not_finite,
        when=lambda case: case.flow is not None and not case.finite,
        begins="It begins at",
    ),
    Verdict(
        "disconnected",
        "Changing it can't change the output",
        _disconnected,
        when=lambda case: case.flow is None and case.node not in case.paths.with_cut_off,
    ),
    Verdict(
        "detached",
        "Changing it changes the output, but no gradient is let through",
        _detached,
        when=lambda case: case.flow is None,
    ),
    Verdict(
        "stopped",
        "Every path to the output holds a factor 0, so nothing gets through",
        _stopped,
        when=lambda case: not case.reached.norm.mantissa,
        begins="It stops at",
        repairs="up",
    ),
    Verdict(
        "underflowed",
        "No factor is 0, but their product is too small for a float",
        _underflowed,
        when=lambda case: not case.reached.g and bool(case.reached.wide.mantissa),
        repairs="up",
    ),
    Verdict(
        "cancelled",
        "Gradient arrives along several paths, and their contributions cancel",
        _cancelled,
        when=lambda case: case.reached.opposes >= case.limits.cancels,
    ),
    Verdict(
        "small",
        "It gets through, but the product of its factors is small",
        _small,
        when=lambda case: case.beyond < -case.limits.small,
        repairs="up",
    ),
    Verdict(
        "large",
        "Its factors, or its many paths, multiply up",
        _large,
        when=lambda case: case.beyond > case.limits.large,
        repairs="down",
    ),
    Verdict(
        "healthy",
        "Neither stopped nor spoilt, neither small nor large",
        _healthy,
        when=lambda case: True,
    ),
)


# --- the words of the evidence -------------------------------------------------------------------


def _compared(case: Case) -> str:
    """Its path norm, in which the luck of signs has no part, beside the reference."""
    norm = case.reached.norm
    beyond = norm.decades - case.reference.decades
    decades = fixed(abs(beyond), 1)
    size = f"{decades} decades {'below' if beyond < 0 else 'above'} {case.reference}"
    if decades == "0.0":
        size = f"as large as {case.reference}"
    if abs(norm.decades - case.reached.decades) < 0.05:
        return f"It is {size}"
    return f"With signs by chance its paths would add up to {show(norm)}, {size}"


def _named(case: Case, names: dict[str, str], sign: float) -> list[str]:
    """The kinds of factor that hold a tenth of what is missing or too much, largest first."""
    budget = _shortfall(case)
    least = NAMED * abs(case.beyond)
    terms = sorted(budget.items(), key=lambda term: -sign * term[1])
    kinds = [kind for kind, x in terms if sign * x >= least] or [kind for kind, _ in terms[:1]]
    causes = [_cause(case, kind, names) for kind in kinds if _is_to_blame(case, kind, sign, least)]
    return causes or [_cause(case, kind, names) for kind in kinds[:1]]


def _cause(case: Case, kind: str, names: dict[str, str]) -> str:
    if kind == "sigmoid ceiling" and case.reached.budget[kind] > 1.5 * CEILING:
        return "sigmoid"
    if kind == "loss" and names is SMALL_BECAUSE:
        if is_near_optimum(case.tangents.shares, case.paths):
            return "loss near its optimum"
        if case.reference.whose and max(case.paths.samples) > 0:
            return FEW
    return names.get(kind, kind)


def _is_to_blame(case: Case, kind: str, sign: float, least: float) -> bool:
    """Whether weights are small, or large, beside 1/√fan-in too."""
    if kind != "weight scale":
        return True
    return sign * (case.reached.budget[kind] + case.fans) >= least


def _shortfall(case: Case) -> dict[str, float]:
    """The terms of R, without what the reference has from the loss too."""
    signs = ("opposition", "agreement")
    budget = {kind: x for kind, x in case.reached.budget.items() if kind not in signs}
    if "loss" in budget:
        budget["loss"] -= case.reference.loss
    return budget


def _blame(case: Case, because: list[str], names: dict[str, str], sign: float) -> Evidence:
    """Name the kinds of factor, and the edges, that made the gradient small (-1) or large (1)."""
    # of the loss the reference has as much
    budget = _shortfall(case)
    held = sign * budget.get("loss", 0.0) < NAMED * abs(case.beyond)
    culprits, effective = case.tangents.culprits(sign, bool(case.paths.loss) and held)
    if not culprits and effective >= 3:
        because.append(f"No single factor is to blame: it is shared by about {effective:.0f}")
    if not culprits:
        because += _by_layer(case, sign)
    return Evidence(_named(case, names, sign), culprits=culprits, because=because)


def _by_layer(case: Case, sign: float) -> list[str]:
    """The layer that brings at least half of what is missing or too much, where one does."""
    if not case.paths.output_layer:
        return []
    brings = {layer: x for layer, x in case.tangents.by_layer.items() if layer}
    worst = max(brings, key=lambda layer: sign * brings[layer], default="")
    if len(brings) < 2 or sign * brings[worst] < 0.5 * abs(case.beyond):
        return []
    return [f"Most of it is the doing of {worst}: {brings[worst]:+.1f} decades"]
