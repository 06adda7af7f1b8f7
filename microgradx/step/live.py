"""The graph as the page's script computes it anew when a reader changes a leaf."""

from __future__ import annotations

import math
from graphlib import TopologicalSorter
from typing import Any

from microgradx._base import floats
from microgradx._base.arguments import flat
from microgradx._base.text import name_of, names_parameter
from microgradx.engine import Value, data_of, with_cut_off
from microgradx.step.javascript import Library, Unsayable
from microgradx.step.moments import Timeline

LIMIT = 10_000  # operands of all nodes; there are no more nodes than that, and one


class Live:
    """The data that a page's script computes with.

    index:   each node by its number, first those of the sweep, in its order
    library: the ops in JavaScript
    graph:   the data of the script, None where no leaf can be changed
    reason:  why not, as the rest of a sentence; else ""
    """

    def __init__(self, output: Value, timeline: Timeline) -> None:
        self.nodes = with_cut_off(output)
        self.index = {node: i for i, node in enumerate(self.nodes)}
        self.library, self.reason = Library(), ""
        self.graph: dict[str, Any] | None = None
        try:
            self.graph = self._graph(len(timeline.nodes))
        except Unsayable as error:
            self.library, self.reason = Library(), str(error)

    def _graph(self, swept: int) -> dict[str, Any]:
        operands = sum(
            len(x) if isinstance(x, tuple) else 1 for node in self.nodes for x in node.operands
        )
        if operands > LIMIT:
            raise Unsayable(f"its graph has {operands:,} operands, more than {LIMIT:,}")
        leaves = [i for i, node in enumerate(self.nodes[:swept]) if node.rule is None]
        parameters = [i for i in leaves if names_parameter(self.nodes[i].label)]
        return {
            "nodes": [*map(self._node, self.nodes)],
            "order": self._order(),
            "swept": swept,
            "names": [None if _is_numbered(node) else name_of(node) for node in self.nodes],
            "ops": [rule.name for rule, _ in self.library.functions],
            "selects": [k for k, (row, _) in enumerate(self.library.functions) if row.selects],
            "parameters": parameters or leaves,
            "stale": any(map(_is_stale, self.nodes)),
        }

    def _node(self, node: Value) -> Any:
        """A leaf's number; of another its op, number and operands, each an index or [a number]."""
        rule, data = node.rule, number(node.data)
        if rule is None:
            return data
        width = next((len(x) for x in node.operands if isinstance(x, tuple)), 0)
        try:
            op = self.library.number(rule, width)
        except Unsayable as error:
            raise Unsayable(f"the op {rule.name!r} {error}") from None
        known = [x if isinstance(x, Value) and x in self.index else data_of(x)
                 for x in flat(node.operands)]  # fmt: skip
        return [op, data, *(self.index[x] if isinstance(x, Value) else [number(x)] for x in known)]

    def _order(self) -> list[int]:
        """The nodes that an op made, each after all that it is made of."""
        graph = {node: [x for x in flat(node.operands) if isinstance(x, Value)]
                 for node in self.nodes}  # fmt: skip
        made = TopologicalSorter(graph).static_order()
        return [self.index[node] for node in made if node.rule and node in self.index]


def number(x: float) -> float | str:
    """A number for JSON, which has no inf and no nan."""
    return x if math.isfinite(x) else str(x)


def _is_numbered(node: Value) -> bool:
    """Whether a node is called by its number: `tanh(0.5)`, `the leaf 2`."""
    return not node.label and name_of(node).endswith((f"({node.data:.3g})", f" {node.data:.3g}"))


def _is_stale(node: Value) -> bool:
    """Whether a node is no longer what its op makes of its operands, as one was assigned to."""
    if node.rule is None:
        return False
    operands = [[*map(data_of, x)] if isinstance(x, tuple) else data_of(x) for x in node.operands]
    data = node.rule.function(floats, *operands)[0]
    return bool(data != node.data and data == data)
