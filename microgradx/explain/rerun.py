"""A graph run again on other leaves: on floats, on intervals, on arrays of many points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from graphlib import TopologicalSorter
from typing import Any

from microgradx._base import floats
from microgradx._base.arguments import flat
from microgradx.engine import Value, cut_off, with_cut_off
from microgradx.rules import Rule

Partials = dict[Value, list[Any]]  # of each node, in the order of its inputs


def run_on(xp: Any, rule: Rule, operands: list[Any]) -> list[Any]:
    """An op's value, and then its partials in the order of its operands, one by one."""
    value, *partials = rule.function(xp, *operands)
    return [value, *(rule.one_by_one(partials) if rule.lists else partials)]


def run_on_floats(rule: Rule, operands: list[Any]) -> list[Any]:
    """An op's value and its partials, one by one, where the operands are numbers."""
    return run_on(floats, rule, operands)


def each(f: Callable[[Any], Any], operands: Iterable[Any]) -> list[Any]:
    """f of every operand, and of every member of those that are lists or tuples."""
    return [[*map(f, xs)] if isinstance(xs, (list, tuple)) else f(xs) for xs in operands]


def history(output: Value) -> list[Value]:
    """Every node that `output` was computed from, after all it read, also behind a detach."""
    nodes = with_cut_off(output)
    if not any(map(cut_off, nodes)):
        return nodes[::-1]
    read = {node: [x for x in flat(node.operands) if isinstance(x, Value)] for node in nodes}
    return list(TopologicalSorter(read).static_order())


def forward(
    nodes: Iterable[Value], leaves: Mapping[Value, Any], run: Callable[[Rule, list[Any]], list[Any]]
) -> tuple[dict[Value, Any], Partials]:
    """Run the rules again on other leaves: the value and the partials of each node."""
    values, partials = {**leaves}, Partials()
    for node in nodes:
        if node.rule is None:
            partials[node] = []
            continue
        operands = node.operands
        now = each(lambda x: values[x] if isinstance(x, Value) else x, operands)
        values[node], *found = run(node.rule, now)
        read = node.rule.one_by_one(operands) if node.rule.lists else operands
        partials[node] = [d for x, d in zip(read, found) if isinstance(x, Value) and d is not None]
    return values, partials
