"""What a single factor is, in words: why it is 0, where a nan came from, what a node is called."""

from __future__ import annotations

from math import isfinite, isnan

from microgradx.engine import Edge, Value
from microgradx.paths import partner
from microgradx.places import names_parameter


def name_of(node: Value) -> str:
    """What to call a node in a sentence: its label, else its op and its number."""
    if node.label:
        return node.label
    return f"{node.op}({node.data:.3g})" if node.rule else f"the leaf {node.data:.3g}"


def cause_of_zero(edge: Edge, loss: set[Value]) -> str:
    """Why the local derivative of this edge is 0, in the words of a verdict's causes."""
    node, rule = edge.node, edge.node.rule
    assert rule is not None and edge.partial == 0
    if node in loss:
        return "flat loss"
    if rule.shut_below is not None:
        return f"{rule.name} off" if edge.input.data < rule.shut_below else "kink"
    if rule.kind == "product":
        factor = partner(node.arguments, edge.position)
        if not isinstance(factor, Value):
            return "zero constant"
        if factor.rule is not None:
            return "zero activation"
        return "zero weight" if names_parameter(factor.label) else "zero input"
    return "local underflow" if rule.kind == "saturating" else "flat op"


def provenance(edge: Edge) -> list[str]:
    """Where the zero comes from that makes this edge's factor 0: a sentence a step, cause last."""
    rule = edge.node.rule
    assert rule is not None
    if rule.kind != "product":
        return [_shut(edge)]
    steps: list[str] = []
    node = partner(edge.node.arguments, edge.position)
    while isinstance(node, Value) and node.rule is not None:
        zero = [each for each in node.edges if each.partial == 0 and each.node is node]
        source = node.inputs[0] if node.inputs else None
        if node.rule.shut_below is not None and source is not None:
            steps.append(
                f"{name_of(node)} is 0 because its {node.rule.name} is off: "
                f"{name_of(source)} = {source.data:.3g}"
            )
            return steps
        if node.rule.kind != "product" or not zero:
            steps.append(f"{name_of(node)} is 0 by {node.rule.name}")
            return steps
        factors = [x for x, _ in node.arguments if (x.data if isinstance(x, Value) else x) == 0]
        steps.append(f"{name_of(node)} is 0 because a factor of it is")
        node = factors[0] if factors else None
    if isinstance(node, Value):
        kind = "weight" if names_parameter(node.label) else "input"
        steps.append(f"the {kind} {name_of(node)} is 0")
    return steps


def _shut(edge: Edge) -> str:
    z, rule = edge.input, edge.node.rule
    assert rule is not None
    if rule.shut_below is None:
        return f"{rule.name} is flat at {name_of(z)} = {z.data:.3g}"
    sign = "<" if z.data < rule.shut_below else "="
    return f"{rule.name} lets nothing through at {name_of(z)} = {z.data:.3g} {sign} 0"


def origins(nodes: list[Value]) -> list[str]:
    """Every place where something not finite begins, not what it then spoils.

    A value that is not finite made of values that are; a leaf that is not finite; a local
    derivative that is not finite although value and inputs are.
    """
    found: list[str] = []
    for node in reversed(nodes):
        numbers = [x.data if isinstance(x, Value) else x for x, _ in node.arguments]
        if not isfinite(node.data):
            if all(map(isfinite, numbers)):
                operands = ", ".join(f"{x:.3g}" for x in numbers)
                made = f"{node.op}({operands})" if node.rule else "a leaf"
                found.append(f"{name_of(node)} is {node.data}: {made}")
        elif all(map(isfinite, numbers)):
            found += [
                f"∂{name_of(node)}/∂{name_of(edge.input)} is {edge.partial} at "
                f"{name_of(edge.input)} = {edge.input.data:.3g}"
                for edge in node.edges
                if not isfinite(edge.partial)
            ]
    return found


def indefinite(nodes: list[Value], g: dict[Value, float]) -> list[str]:
    """The edges where a 0 meets an infinity, which makes a nan of two numbers that are none."""
    return [
        f"∂{name_of(edge.node)}/∂{name_of(edge.input)} = {edge.partial:.3g} meets the adjoint "
        f"{g[edge.node]:.3g}: 0 × inf is nan"
        for node in nodes
        for edge in node.edges
        if isnan(edge.partial * g[edge.node])
        and not isnan(edge.partial)
        and not isnan(g[edge.node])
    ]
