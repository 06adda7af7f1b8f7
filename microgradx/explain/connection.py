"""Why nothing leads from a node to the output: it was not computed from it, or was detached."""

from __future__ import annotations

from microgradx._base.text import count, made_at, name_of
from microgradx.engine import Value, cut_off, with_cut_off


def unconnected(node: Value, output: Value, nodes: list[Value]) -> tuple[str, list[str]]:
    """The verdict on a node that is not among `nodes`, those behind the output, and why."""
    if node not in set(with_cut_off(output)):
        return "disconnected", _disconnected(node, output, nodes)
    leads = {node}
    cuts: list[tuple[Value, Value]] = []
    for x in _inputs_first(output):
        sources = [source for source in cut_off(x) if source in leads]
        cuts += [(source, x) for source in sources]
        if sources or not leads.isdisjoint(x.inputs):
            leads.add(x)
    because = ["Every path to the output runs through a detach()"]
    because += [f"It is cut off between {name_of(a)} and {name_of(b)}{made_at(b)}" for a, b in cuts]
    because.append("To let the gradient through, use the Value itself where its detach() is used")
    return "detached", because


def _disconnected(node: Value, output: Value, nodes: list[Value]) -> list[str]:
    leaves = [x for x in nodes if not x.rule]
    names = [x.label for x in leaves if x.label][:3]
    among = f", {', '.join(names)} among them" if names else ""
    number = count(len(leaves), "leaf", "leaves") if leaves else "no leaf"
    source = f"It was computed from {number}{among}"
    remedy = "To connect the two, compute with this Value itself, not with its .data"
    if node.label and any(x.label == node.label for x in nodes):
        remedy = f"Another Value is labelled {node.label}, which may be the one to ask about"
    return [
        f"{name_of(output)} was not computed from it",
        source if output.rule else "It is a leaf: it was computed from nothing",
        remedy,
    ]


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
