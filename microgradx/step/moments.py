"""The whole computation in moments: every value forwards, then every edge's multiplication.

The sweep is run anew, beside the graph: nothing here reads or changes a `.grad`.
"""

from __future__ import annotations

from typing import NamedTuple

from microgradx.engine import NOTHING, Edge, Value, order, sweep, taken
from microgradx.explain.paths import is_stop


class Moment(NamedTuple):
    """One moment of the computation.

    node: whose value appears, or whose adjoint is handed on
    edge: along which; None where a value appears, and where the sweep starts
    adjoint, contribution: ∂output/∂node, and partial × adjoint
    before, after: the grad of edge.input; at the start, that of the output
    """

    node: Value
    edge: Edge | None = None
    adjoint: float = 0.0
    contribution: float = 0.0
    before: float = 0.0
    after: float = 0.0

    @property
    def subject(self) -> Value:
        """The node whose value appears, or whose grad grows."""
        return self.edge.input if self.edge else self.node

    @property
    def stops(self) -> bool:
        """Whether the gradient stops at this edge."""
        return self.edge is not None and is_stop(self.edge.partial, self.adjoint)


class Timeline:
    """The moments of `output`, in order.

    nodes:   in the order of the sweep
    moments: first one for each node's value, inputs before what is made of them; at `turn` the
             sweep starts with the output's grad, 1; then one for each edge
    born, along: the moment at which each node's value appears, and that of each edge
    grads:   ∂output/∂node, bit for bit as backward() makes them
    growth:  for each node, the moments at which its grad grows, from the last of which it is final
    """

    def __init__(self, output: Value) -> None:
        self.nodes = order(output)
        self.moments = [Moment(node) for node in reversed(self.nodes)]
        self.born = {moment.node: i for i, moment in enumerate(self.moments)}
        self.turn = len(self.moments)
        self.moments.append(Moment(output, after=1.0))
        self.grads = {**dict.fromkeys(self.nodes, 0.0), output: 1.0}
        self.growth: dict[Value, list[int]] = {node: [] for node in self.nodes}
        self.growth[output].append(self.turn)
        self.along: dict[Edge, int] = {}
        moments, grads, growth, along = self.moments, self.grads, self.growth, self.along
        for node, adjoint in sweep(output):
            for edge, d in zip(node.edges, taken(node)):
                none, x, k = d is None or adjoint is NOTHING, edge.input, len(moments)
                contribution, before = 0.0 if none else edge.partial * adjoint, grads[x]
                after = grads[x] = before + contribution
                moments.append(Moment(node, edge, adjoint, contribution, before, after))
                growth[x].append(k)
                along[edge] = k

    def final(self, node: Value) -> int:
        """The moment from which a node's grad is final."""
        return self.growth[node][-1]

    def stops(self, edge: Edge) -> bool:
        """Whether the gradient stops at this edge, to which it may never come."""
        return edge in self.along and self.moments[self.along[edge]].stops

    def next_stop(self, start: int) -> int | None:
        """The first moment after `start` at which the gradient stops; None if there is none."""
        later = range(start + 1, len(self.moments))
        return next((i for i in later if self.moments[i].stops), None)
