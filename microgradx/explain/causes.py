"""Causes in words: why a factor is 0, where a nan begins, which branches oppose each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from microgradx import rules
from microgradx._base import floats
from microgradx._base.arguments import flat
from microgradx._base.text import (
    clip,
    count,
    few,
    known_as,
    listed,
    made_at,
    name_of,
    place,
    repeated,
    short,
)
from microgradx.engine import Edge, Value, cut_off, data_of, taken
from microgradx.explain.extended import Extended, show
from microgradx.explain.factors import partner
from microgradx.explain.paths import Paths
from microgradx.explain.samples import samples_of, statistic_of

if TYPE_CHECKING:
    from microgradx.explain.tangents import Tangents

SMALL_RESIDUAL = 0.1  # a factor of a loss that may be one
NARROW = 2.0  # the sum of 1/width from which paths oppose each other more than by chance
OPPOSED = 30.0  # R / |g| from which a gradient is opposed by more than some bad luck
ROUNDED = 1e-12  # of the size of numbers, a spread that is no more than rounding
MANY = 100  # places, or kinds of places, up to which each is explained
T = TypeVar("T")


class Origin(NamedTuple):
    """A place where something not finite begins: what, on which edges, and in a sentence."""

    cause: str
    edges: list[Edge]
    sentence: str


def cause_of_zero(edge: Edge, paths: Paths) -> str:
    """Why the local derivative of this edge is 0, in the words of a verdict's causes."""
    node, rule = edge.node, edge.node.rule
    assert rule is not None and edge.partial == 0
    if node in paths.loss:
        return "flat loss"
    if rule.shut_below is not None:
        return "kink" if edge.input.data == rule.shut_below else f"{rule.name} off"
    if rule.selects:
        return "not taken"
    if rule.kind == "product":
        return f"zero {NOUNS[paths.kind(edge)]}"
    return "local underflow" if _underflows(edge) else "flat op"


NOUNS = {
    "weights": "weight", "inputs": "input", "activations": "activation", "constants": "constant",
}  # fmt: skip


def _underflows(edge: Edge) -> bool:
    """Whether the derivative is only too small for a float, and not really 0."""
    rule, operands = edge.node.rule, edge.node.operands
    if rule is None or rule.kind not in ("saturating", "singular"):
        return False
    numbers = [[*map(data_of, x)] if isinstance(x, tuple) else data_of(x) for x in operands]
    return all(map(isfinite, flat(numbers))) and not (rule.flat and rule.flat(*numbers))


def provenance(edge: Edge, paths: Paths) -> list[str]:
    """Where the zero comes from that makes this edge's factor 0: a sentence a step, cause last."""
    rule: Any = edge.node.rule
    if rule.kind != "product":
        return [_shut(edge)]
    steps: list[str] = []
    node = partner(edge.node, edge.position)
    while isinstance(node, Value) and node.rule is not None:
        if node.rule.selects:
            steps.append(f"{name_of(node)} is 0 because it takes a 0{_condition(node)}")
            node = _chosen(node)
            continue
        read, rule = node.inputs or cut_off(node), node.rule
        source = read[0] if read else None
        if rule.shut_below is not None and source is not None:
            state = "at its kink" if source.data == rule.shut_below else "off"
            return [
                *steps,
                f"{name_of(node)} is 0 because its {rule.name} is {state}: " + equals(source),
            ]
        factor = _zero_factor(node)
        if factor is None and source is not None and len(read) == 1 and not source.data:
            steps.append(f"{name_of(node)} is 0 because {name_of(source)} is")
            node = source
            continue
        if factor is None:
            return [*steps, f"{name_of(node)} is 0, as {node.op} made it"]
        steps.append(f"{name_of(node)} is 0 because a factor of it is")
        node = factor
    if isinstance(node, Value):
        return [*steps, f"The {NOUNS[paths.what(node)]} {name_of(node)} is 0"]
    noun = "input" if paths.kind(edge) == "inputs" else "number"
    return [*steps, f"The {noun} 0 is a factor of {name_of(edge.node)}"]


def _zero_factor(node: Value) -> Any:
    """A factor that makes the product 0, where one does."""
    if node.rule is None or node.rule.kind != "product":
        return None
    pairs = [(x, partner(node, i)) for i, x in enumerate(flat(node.operands))]
    if any(data_of(x) and (y is None or data_of(y)) for x, y in pairs):
        return None  # its terms cancel
    return next((x for x, _ in pairs if not data_of(x)), None)


def _chosen(node: Value) -> Any:
    """The operand that a `where` takes."""
    assert node.rule is not None
    numbers = map(data_of, node.operands)
    partials = node.rule.function(floats, *numbers)[1:]
    return next((x for x, d in zip(node.operands, partials) if d), None)


def _condition(node: Value) -> str:
    """The numbers by which a `where` has chosen, as the rest of a sentence."""
    assert node.rule is not None
    named = zip(node.rule.operands, node.operands)
    facts = [
        f"{name} {name_of(x)} = {x.data:.3g}" if isinstance(x, Value) else f"{name} {x:.3g}"
        for name, x in named
        if name in node.rule.silent
    ]
    return f", by its {', '.join(facts)}" if facts else ""


def _shut(edge: Edge) -> str:
    z, node, rule = edge.input, edge.node, edge.node.rule
    assert rule is not None
    if rule.selects:
        return f"{name_of(node)} takes its other operand, not {name_of(z)}{_condition(node)}"
    end = rule.shut_below
    if end is None and _underflows(edge):
        return f"The slope of {name_of(node)} at {z.data:.3g} is too small for a float"
    if end is None:
        return f"{name_of(node)} does not change with {equals(z)}"
    if z.data == end:
        return (
            f"{name_of(z)} = {end:g} is the kink of {rule.name}, where the slope 0 is a convention"
        )
    return f"{name_of(node)} lets nothing through: {equals(z)} < {end:g}"


def equals(node: Value) -> str:
    """A node and its number, which one without a name has in its name."""
    name = clip(name_of(node), 32)
    return f"{name} = {short(node.data)}" if known_as(node) else name


def origins(nodes: list[Value], g: list[float], leads: set[Value]) -> list[Origin]:
    """Every place where something not finite begins, not what it then spoils.

    A value that is not finite, made of inputs that are; a local derivative that is not, although
    value and inputs are; a contribution that overflows; a 0 that meets an infinity.

    g:     the gradients of `nodes`
    leads: the nodes whose gradients count
    """
    places: list[Origin] = []
    for node in reversed(nodes):
        if not all(isfinite(x.data) for x in node.inputs):
            continue
        if not isfinite(node.data):
            text = f"{name_of(node)} is {node.data}: {_made(node)}"
            places.append(Origin("value not finite", list(node.edges), text))
            continue
        for edge in node.edges:
            if not isfinite(edge.partial) and edge.input in leads:
                text = f"{_ratio(edge)} is {edge.partial} at {edge.input.data:.3g}"
                places.append(Origin("derivative not finite", [edge], text))
    return places + _spoilt_sums(nodes, g, leads)


def _made(node: Value) -> str:
    """How a value came to be: op and operands; of many, those that are not finite."""
    if not node.rule:
        return "a leaf"
    data = [data_of(x) for x in flat(node.operands)]
    if len(data) > 4:
        odd = [f"operand {i} is {x}" for i, x in enumerate(data) if not isfinite(x)][:2]
        return f"{node.op} of {len(data)}" + "".join(f", {each}" for each in odd)
    return f"{node.op}({', '.join(f'{x:.3g}' for x in data)})"


def _spoilt_sums(nodes: list[Value], g: list[float], leads: set[Value]) -> list[Origin]:
    """Where finite factors and adjoints make a gradient that is not, and where 0 meets inf."""
    places: list[Origin] = []
    out: dict[Value, list[Edge]] = {}
    spoilt: set[Value] = set()
    for node, adjoint in zip(nodes, g):
        if node in out and not isfinite(adjoint) and node not in spoilt:
            text = f"The contributions to {name_of(node)} are finite, and their sum is {adjoint}"
            places.append(Origin("overflow", out[node], text))
        for edge, d in zip(node.edges, taken(node)):
            if edge.input not in leads or d is None:
                continue
            out.setdefault(edge.input, []).append(edge)
            part = edge.partial * adjoint
            if isfinite(part):
                continue
            spoilt.add(edge.input)
            meeting = f"{_ratio(edge)} = {edge.partial:.3g} meets the adjoint {adjoint:.3g}"
            if isfinite(edge.partial) and isfinite(adjoint):
                places.append(Origin("overflow", [edge], f"{meeting}: too large for a float"))
            elif isnan(part) and not isnan(edge.partial) and not isnan(adjoint):
                places.append(Origin("0 × inf", [edge], f"{meeting}: 0 × inf is nan"))
    return places


def _ratio(edge: Edge) -> str:
    return f"∂{name_of(edge.node)}/∂{name_of(edge.input)}"


# --- many of a kind -------------------------------------------------------------------------------


def kind_of_edge(edge: Edge, paths: Paths) -> object:
    """What an edge shares with the same one in other samples: labels, else how it is computed."""
    labels = (edge.input.label, edge.node.label)
    return labels if all(labels) else paths.same(paths.number(edge))


def groups(keyed: Iterable[tuple[object, T]]) -> list[list[T]]:
    """The items of each key."""
    by_key: dict[object, list[T]] = {}
    for key, item in keyed:
        by_key.setdefault(key, []).append(item)
    return list(by_key.values())


def grouped(
    keyed: Iterable[tuple[object, T]],
    words: Callable[[T], list[str]],
    samples: Callable[[list[T]], str],
) -> list[str]:
    """The sentences on the first of each key, and in which samples there are more of it.

    samples: the words for the samples of several items, "" where they are not of samples
    """
    steps: dict[str, None] = {}
    for first, *others in groups(keyed)[:MANY]:
        *before, last = words(first)
        if where := samples([first, *others]):
            last += f", {where}"
        elif len(others) == 1:
            second = words(others[0])[-1]
            last = repeated(last, 2) if second == last else f"{last}; {second}"
        elif others:
            last += f", and {len(others):,} more like it"
        steps.update(dict.fromkeys([*before, last]))
    return list(steps)


def in_samples(nodes: Iterable[Value], paths: Paths) -> str:
    """In which samples some nodes are: "in all 300 samples", "in samples 0, 1, 4 … (26 of 30)".

    "" where there is but one, and where a node belongs to none.
    """
    found = {paths.samples[paths.index[node]] for node in nodes}
    n = max(paths.samples) + 1
    if n < 2 or min(found) < 0:
        return ""
    if len(found) == n:
        return f"in all {n:,} samples" if n > 2 else "in both samples"
    first = sorted(found)
    shown, rest = few(first, 3)
    named = ", ".join(map(str, shown)) + (" …" if rest else "")
    return f"in sample{'s' if len(first) > 1 else ''} {named} ({len(first):,} of {n:,})"


def zero_in_samples(edge: Edge, paths: Paths) -> str:
    """In which samples the same edge is 0 for the same cause, on the way of a gradient or not."""
    if not paths.several:
        return ""
    why = cause_of_zero(edge, paths)
    zeros = map(paths.edge, paths.zeros[paths.same(paths.number(edge))])
    alike = [x for x in zeros if cause_of_zero(x, paths) == why]
    return in_samples([x.node for x in alike], paths)


def ranked(causes: list[str]) -> list[str]:
    """Each cause once, the most frequent first."""
    return sorted(dict.fromkeys(causes), key=lambda cause: -causes.count(cause))


def opposition(edges: list[Edge], paths: Paths) -> str:
    """The contributions of the branches; those of samples by their numbers, the largest first."""
    if between_samples(edges, paths):
        return _opposing_samples(edges, paths)
    pairs = [(edge, edge.partial * paths.wide(paths.index[edge.node])) for edge in edges]
    keyed = [((kind_of_edge(x[0], paths), x[1].mantissa > 0), x) for x in pairs]
    parts = []
    for alike in groups(keyed):
        edge, sizes = alike[0][0], Counter(show(brings) for _, brings in alike)
        shown, rest = few([repeated(size, n) for size, n in sizes.items()], 1)
        each = " and ".join([*shown, *([f"{rest:,} more"] if rest else [])])
        parts.append(f"{name_of(edge.node)}{made_at(edge.node)} brings {each}")
    return f"Opposing each other: {listed(parts, 4)}"


def _opposing_samples(edges: list[Edge], paths: Paths) -> str:
    """Samples with what they bring, of either sign the two that bring most."""
    brings: dict[int, Extended] = {}
    for edge in edges:
        i = paths.index[edge.node]
        part = edge.partial * paths.wide(i)
        brings[paths.samples[i]] = brings.get(paths.samples[i], Extended(0.0, 0)) + part
    ordered = sorted(brings.items(), key=lambda item: -item[1].decades)
    up = [item for item in ordered if item[1].mantissa > 0]
    down = [item for item in ordered if item[1].mantissa < 0]
    most = 2 if len(up[2:]) + len(down[2:]) > 1 else 3  # one more is named, not counted
    named = [f"sample {k} brings {show(x)}" for k, x in [*up[:most], *down[:most]]]
    rest = len(up[most:]) + len(down[most:])
    more = f", and {count(rest, 'other sample')} as much or less" if rest else ""
    return f"Opposing each other: {', '.join(named)}{more}"


def between_samples(edges: list[Edge], paths: Paths) -> bool:
    """Whether opposing branches are those of samples: each leads into another one."""
    samples = [paths.samples[paths.index[edge.node]] for edge in edges]
    return min(samples) >= 0 and len({*samples}) > 1


def why_they_oppose(edges: list[Edge], tangents: Tangents) -> tuple[str, str]:
    """The cause of opposing branches, "" for none but themselves, and the sentence on it."""
    paths = tangents.paths
    norms = _norms_on_the_way(tangents)
    if name := _equal_before(norms, paths):
        sentence = "which makes 0 of each, whatever they are"
        return "equal samples", f"All samples are equal where {name} reads them, {sentence}"
    if name := _of_two(norms, paths):
        sentence = "and makes -1 and 1 of them, whatever they are"
        return "norm of two", f"{name} normalises no more than two numbers, {sentence}"
    between = between_samples(edges, paths)
    if is_before_norm(edges, paths):
        lost = "a shift before it is lost" if between else "much of what is before it cancels"
        return "before a norm", f"A norm removes the mean of what it reads, so that {lost}"
    if not between:
        softmax = _saturated_softmax(edges)
        return ("saturated softmax", softmax) if softmax else ("", _narrow(tangents))
    outputs = {node.data for node in samples_of(paths.nodes)}
    if len(outputs) == 1:
        sentence = "All outputs are equal, so that the samples pull them all ways: the net sees no "
        return "equal outputs", sentence + "difference between them yet"
    if not others_cancel(tangents):
        return "", "Most other gradients do not cancel: by chance, some always do"
    return "", "The samples pull against each other, as they do where a loss is least"


def others_cancel(tangents: Tangents) -> bool:
    """Whether at least half of the leaves that several samples read are opposed, as this one is."""
    paths = tangents.paths
    leaves = (i for i, node in enumerate(paths.nodes) if not node.rule and paths.samples[i] < 0)
    found = [(paths.norm(i), paths.wide(i)) for i in leaves if paths.squares[i]]
    opposed = [not wide or abs(norm / wide) > OPPOSED for norm, wide in found]
    return 2 * sum(opposed) >= len(opposed)


def _narrow(tangents: Tangents) -> str:
    """A sentence on deep and narrow nets, where that is one."""
    paths = tangents.paths
    names = {paths.nodes[paths.heads[e]].label for e in tangents.edges}
    widths = Counter(layer for layer, neuron in {*map(place, names)} if neuron)
    crowded = sum(1 / n for n in widths.values() if n > 1)  # an output alone is no product
    if crowded < NARROW:
        return ""
    return (
        f"It passes {len(widths)} layers, whose 1/width add up to {crowded:.1f}: in nets so deep "
        "and narrow paths oppose each other more than by chance (Hanin 2018)"
    )


def _saturated_softmax(edges: list[Edge]) -> str:
    """A sentence on an e^z that is divided by a sum that it is nearly all of, where one is."""
    for edge in edges:
        is_part = edge.input.rule is rules.exp and edge.node.rule is rules.div
        if is_part and edge.position == 0 and abs(edge.node.data - 1) < 0.01:
            one = name_of(edge.input)
            return (
                f"{one} is nearly all of what it is divided by, so that their quotient is 1, "
                f"however large {one} is: this softmax is saturated"
            )
    return ""


class Norm(NamedTuple):
    """A norm in one feature, or in one sample: its name, its variance, and what that is of."""

    name: str
    var: Value
    centred: list[Value]


def _norms_on_the_way(tangents: Tangents) -> list[Norm]:
    """In the order of the computation."""
    paths, found = tangents.paths, list[Norm]()
    variances = _statistics("var", paths)
    on_the_way = {paths.nodes[paths.heads[e]] for e in tangents.edges} if variances else set()
    for var in reversed(variances):
        centred = [x for square in var.inputs for x in dict.fromkeys(square.inputs)]
        if not on_the_way.isdisjoint(centred):
            name = (place(var.label)[0] or var.label).removesuffix("var").removesuffix(".")
            found.append(Norm(name or "the norm", var, centred))
    return found


def _equal_before(norms: list[Norm], paths: Paths) -> str:
    """The name of the first norm that all samples are equal before, "" if there is none.

    It normalises each feature over samples, and none of these has any variance but rounding's.
    """
    flat: dict[str, bool] = {}
    for name, var, centred in norms:
        samples = {paths.samples[paths.index[x]] for x in centred}
        if len(samples) > 1 and min(samples) >= 0:
            size = max((abs(x.data) for each in centred for x in each.inputs), default=0.0)
            flat[name] = flat.get(name, True) and var.data <= (ROUNDED * size) ** 2
    return next((name for name in flat if flat[name]), "")


def _of_two(norms: list[Norm], paths: Paths) -> str:
    """The name of the first norm of two numbers, of a variance beside which its eps is nothing."""
    for name, var, centred in norms:
        above = paths.heads[paths.strongest_edge[paths.index[var]]]  # var + eps
        if len(centred) == 2 and paths.nodes[above].data < 1.01 * var.data:
            return name
    return ""


def is_before_norm(edges: list[Edge], paths: Paths) -> bool:
    """Whether the results of edges are what a norm takes the mean of."""
    reads = {edge.node for edge in edges}
    for node in _statistics("mean", paths):
        sums = [x for x in node.inputs if not reads.isdisjoint(x.inputs)]
        if sums or not reads.isdisjoint(node.inputs):
            return True
    return False


def _statistics(name: str, paths: Paths) -> list[Value]:
    """The nodes that are this statistic of a norm."""
    return [x for x in paths.nodes if name in x.label and statistic_of(x.label) == name]


def meet_near_zero(edges: list[Edge], paths: Paths) -> bool:
    """Whether the node where branches meet is about 0, as a residual or a loss at its least is."""
    meeting = paths.choke_point[paths.index[edges[0].input]]
    return meeting >= 0 and bool(abs(paths.nodes[meeting].data) < SMALL_RESIDUAL)


def is_near_optimum(edges: dict[int, float], paths: Paths) -> bool:
    """Whether it is small residuals that make a loss's factors small, over most of the paths.

    Then a factor is about as small as what its op reads, or makes.

    edges: their shares, by number
    """
    held = 0.0
    for e, share in edges.items():
        edge = paths.edge(e) if share else None
        if edge is None or edge.node not in paths.loss or abs(edge.partial) > SMALL_RESIDUAL:
            continue
        rule = edge.node.rule
        if rule and rule.kind != "linear" and (rule.kind != "product" or len(edge.node.inputs) > 1):
            d = abs(edge.partial)
            near = (0.1 * d <= abs(x.data) <= 10 * d for x in (edge.input, edge.node))
            held += share * any(near)
    return held > 0.5
