"""The nodes and edges of a graph by number, since lists of numbers are quick to go through."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import cached_property
from itertools import compress
from typing import Any

from microgradx.engine import Edge, Value, cut_off, order, positions, with_cut_off
from microgradx.explain.extended import Extended
from microgradx.explain.paths import summed


class Graph:
    """All that an output was computed from, by number.

    nodes, index: in the order of the sweep, what lies behind a detach at the end; and where each
            stands among them
    swept:  how many of them there are before what lies behind a detach
    tails, heads, partials: of every edge its two ends and its partial; those of node j, in the
            order of its operands, are first[j] up to first[j + 1]
    """

    def __init__(self, output: Value, nodes: list[Value] | None = None) -> None:
        nodes = order(output) if nodes is None else nodes
        self.swept = len(nodes)
        self.nodes = with_cut_off(output, nodes)
        self.index = {node: i for i, node in enumerate(self.nodes)}
        self.tails: list[int] = []
        self.heads: list[int] = []
        self.partials: list[float] = []
        self.first = [0]
        self._latest: tuple[int, Sequence[int]] = -1, ()
        index_of = self.index.__getitem__
        for j, node in enumerate(self.nodes):
            if node.rule:
                inputs = node.inputs
                self.tails += map(index_of, inputs)
                self.heads += [j] * len(inputs)
                self.partials += node.partials
            self.first.append(len(self.tails))

    def edge(self, e: int) -> Edge:
        """Edge e as the rest of the house knows it."""
        j = self.heads[e]
        if self._latest[0] != j:
            self._latest = j, positions(self.nodes[j])  # its neighbours are often asked for next
        position = self._latest[1][e - self.first[j]]
        return Edge(self.nodes[self.tails[e]], self.nodes[j], position, self.partials[e])

    @cached_property
    def readers_of_leaves(self) -> list[tuple[int, int]]:
        """The two ends of every edge that begins at a leaf, the reader first."""
        leaf = [node.rule is None for node in self.nodes]
        return [*compress(zip(self.heads, self.tails), map(leaf.__getitem__, self.tails))]

    def reached(self) -> set[Value]:
        """The nodes with a path to the output on which no partial is 0, as `layers.reached` has."""
        alive = bytearray(len(self.nodes))
        alive[0] = 1
        for j, i, partial in zip(self.heads, self.tails, self.partials):
            if partial and alive[j]:
                alive[i] = 1
        return {*compress(self.nodes, alive)}

    @cached_property
    def depths(self) -> list[int]:
        """How many edges the longest path from the output to each node has."""
        depths = [0] * len(self.nodes)
        for j, i in zip(self.heads, self.tails):
            if depths[i] <= depths[j] and j < i:  # a detached node may read what was passed before
                depths[i] = depths[j] + 1
        return depths

    def adjoints(self, at: Collection[int]) -> list[Any]:
        """∂output/∂node; beyond the limits of floats where those of `at` are."""
        m = self.first[self.swept]
        edges = self.heads[:m], self.tails[:m], self.partials[:m]
        sums = summed(*edges, self.swept, 0, 1.0)
        if all(sums[j] and math.isfinite(sums[j]) for j in at):
            return sums
        return summed(*edges, self.swept, 0, Extended(1.0, 0))


def cuts(node: Value) -> bool:
    """Whether a node may read what no gradient goes to."""
    return node.rule is not None and node.rule.silent != () and cut_off(node) != []
