"""What a single factor is, in words: why it is 0, where a nan came from."""

from __future__ import annotations

from math import inf, isfinite, isnan
from typing import Any, NamedTuple

from microgradx._base.text import name_of
from microgradx.engine import Edge, Value
from microgradx.explain.extended import Extended, plus, product
from microgradx.explain.paths import Paths, partner


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
    if rule.kind == "product":
        return f"zero {NOUNS[paths.kind(edge)]}"
    return "local underflow" if _smooth_there(edge, paths) else "flat op"


NOUNS = {
    "weights": "weight", "inputs": "input", "activations": "activation", "constants": "constant",
}  # fmt: skip


def _smooth_there(edge: Edge, paths: Paths) -> bool:
    """Whether the derivative is only too small for a float, and not really 0."""
    from decimal import Underflow  # seldom needed, and slow to load

    try:
        size = abs(true_partial(edge, paths).mantissa)
    except Underflow:
        return True
    return 0 < size < inf


def true_partial(edge: Edge, paths: Paths) -> Extended:
    """The local derivative of an edge without underflow; decimal.Underflow if it is too small."""
    from microgradx.explain.deep import partials  # seldom needed, and slow to load

    node, rule = edge.node, edge.node.rule
    assert rule is not None
    if node not in paths.true:
        data = [_data(x) for x, _ in node.arguments]
        width = (len(data) // rule.rows) if rule.rows else 0
        rows = [data[i * width : (i + 1) * width] for i in range(rule.rows)]
        paths.true[node] = partials(rule, [*rows, *data[rule.rows * width :]])
    return paths.true[node][edge.position]


def carried(paths: Paths, node: Value) -> Extended | None:
    """∂output/∂node with the true local derivative on every edge where it underflows as a float.

    None where one of them is too small to be told.
    """
    from decimal import Underflow

    try:
        return _carried(paths, node)
    except Underflow:
        return None


def _carried(paths: Paths, node: Value) -> Extended:
    sums, leads = {paths.nodes[0]: Extended(1.0, 0)}, {node}
    leads.update(x for x in reversed(paths.nodes) if not leads.isdisjoint(x.inputs))
    for consumer in paths.nodes:
        for edge in consumer.edges if consumer in sums and consumer in leads else ():
            d = Extended(edge.partial, 0)
            if not edge.partial and cause_of_zero(edge, paths) == "local underflow":
                d = true_partial(edge, paths)
            part = product(d, sums[consumer])
            sums[edge.input] = plus(sums[edge.input], part) if edge.input in sums else part
    return sums[node]


def provenance(edge: Edge, paths: Paths) -> list[str]:
    """Where the zero comes from that makes this edge's factor 0: a sentence a step, cause last."""
    rule: Any = edge.node.rule
    if rule.kind != "product":
        return [_shut(edge, paths)]
    steps: list[str] = []
    node = partner(edge.node.arguments, edge.position)
    while isinstance(node, Value) and node.rule is not None:
        source = node.inputs[0] if node.inputs else None
        if node.rule.shut_below is not None and source is not None:
            state = "at its kink" if source.data == node.rule.shut_below else "off"
            return [
                *steps,
                f"{name_of(node)} is 0 because its {node.rule.name} is {state}: "
                f"{name_of(source)} = {source.data:.3g}",
            ]
        factor = _zero_factor(node)
        if factor is None and source is not None and len(node.inputs) == 1 and not source.data:
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
    pairs = [(x, partner(node.arguments, i)) for i, (x, _) in enumerate(node.arguments)]
    if node.rule is None or node.rule.kind != "product":
        return None
    if any(_data(x) and (y is None or _data(y)) for x, y in pairs):
        return None  # its terms cancel
    return next((x for x, _ in pairs if not _data(x)), None)


def _data(x: Any) -> float:
    data: float = x.data if isinstance(x, Value) else x
    return data


def _shut(edge: Edge, paths: Paths) -> str:
    z, node, rule = edge.input, edge.node, edge.node.rule
    assert rule is not None
    end = rule.shut_below
    if end is None and _smooth_there(edge, paths):
        return f"The slope of {name_of(node)} at {z.data:.3g} is too small for a float"
    if end is None:
        return f"{name_of(node)} does not change with {name_of(z)} = {z.data:.3g}"
    if z.data == end:
        return (
            f"{name_of(z)} = {end:g} is the kink of {rule.name}, where the slope 0 is a convention"
        )
    return f"{name_of(node)} lets nothing through: {name_of(z)} = {z.data:.3g} < {end:g}"


def origins(nodes: list[Value], g: list[float], leads: set[Value]) -> list[Origin]:
    """Every place where something not finite begins, not what it then spoils.

    A value that is not finite, made of inputs that are; a local derivative that is not, although
    value and inputs are; a contribution that overflows; a 0 that meets an infinity.

    g:     the gradients of `nodes`
    leads: the nodes whose gradients count
    """
    found: list[Origin] = []
    for node in reversed(nodes):
        if not all(isfinite(x.data) for x in node.inputs):
            continue
        if not isfinite(node.data):
            text = f"{name_of(node)} is {node.data}: {_made(node)}"
            found.append(Origin("value not finite", list(node.edges), text))
            continue
        for edge in node.edges:
            if not isfinite(edge.partial) and edge.input in leads:
                text = f"{_ratio(edge)} is {edge.partial} at {edge.input.data:.3g}"
                found.append(Origin("derivative not finite", [edge], text))
    return found + _spoilt_sums(nodes, g, leads)


def _made(node: Value) -> str:
    """How a value came to be: op and operands; of many, those that are not finite."""
    if not node.rule:
        return "a leaf"
    data = [_data(x) for x, _ in node.arguments]
    if len(data) > 4:
        odd = [f"operand {i} is {x}" for i, x in enumerate(data) if not isfinite(x)][:2]
        return f"{node.op} of {len(data)}" + "".join(f", {each}" for each in odd)
    return f"{node.op}({', '.join(f'{x:.3g}' for x in data)})"


def _spoilt_sums(nodes: list[Value], g: list[float], leads: set[Value]) -> list[Origin]:
    """Where finite factors and adjoints make a gradient that is not, and where 0 meets inf."""
    found: list[Origin] = []
    out: dict[Value, list[Edge]] = {}
    spoilt: set[Value] = set()
    for node, adjoint in zip(nodes, g):
        if node in out and not isfinite(adjoint) and node not in spoilt:
            text = f"The contributions to {name_of(node)} are finite, and their sum is {adjoint}"
            found.append(Origin("overflow", out[node], text))
        for edge in node.edges:
            if edge.input not in leads:
                continue
            out.setdefault(edge.input, []).append(edge)
            part = edge.partial * adjoint
            if isfinite(part):
                continue
            spoilt.add(edge.input)
            meeting = f"{_ratio(edge)} = {edge.partial:.3g} meets the adjoint {adjoint:.3g}"
            if isfinite(edge.partial) and isfinite(adjoint):
                found.append(Origin("overflow", [edge], f"{meeting}: too large for a float"))
            elif isnan(part) and not isnan(edge.partial) and not isnan(adjoint):
                found.append(Origin("0 × inf", [edge], f"{meeting}: 0 × inf is nan"))
    return found


def _ratio(edge: Edge) -> str:
    return f"∂{name_of(edge.node)}/∂{name_of(edge.input)}"
