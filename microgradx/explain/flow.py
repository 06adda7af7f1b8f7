"""Why a gradient is what it is: the verdict, the place, and the factors that make the number.

`Flow(output)` knows, of every node, what its gradient is the sum and the product of; `why` puts
that into words for one node. Nothing here trusts `.grad`: it is worked out anew, and compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

from microgradx._base.arguments import number
from microgradx._base.text import name_of
from microgradx.engine import Edge, Value
from microgradx.explain.explanation import Explanation
from microgradx.explain.paths import NodeFlow, Paths
from microgradx.explain.verdicts import Limits


class Flow:
    """The flow of the gradient of `output` to every node behind it, in one pass over the graph.

    `flow[node]` is a `NodeFlow`, `node in flow` whether there is one, `flow.why(node)` an
    `Explanation`. The grads that backward() has left are not used and not changed.

    parameters: the leaves whose factors are weights; None: those with a parameter's label, such
                as `layers.0.weight[2,1]`, `w1` or `b`
    cancels:    κ from which a gradient counts as cancelled
    reference:  the decades to compare with; None: those of the gradients at the layer closest to
                the output (their median; added up over the samples that a node leads to), 0 where
                no node is labelled as part of a layer
    small, large: how many decades below and above it a gradient counts as small, as large

    A TypeError if `output` is no Value; `flow[node]` of another graph's node is a KeyError.
    """

    def __init__(
        self,
        output: Value,
        parameters: Iterable[Value] | None = None,
        *,
        cancels: float = Limits().cancels,
        reference: float | None = None,
        small: float = Limits().small,
        large: float = Limits().large,
    ) -> None:
        if not isinstance(output, Value):
            raise TypeError(f"Flow takes the Value at the end of a graph, got {output!r:.60}")
        if isinstance(parameters, Value):
            raise TypeError("parameters takes a list of Values, such as model.parameters()")
        for name, x in (("small", small), ("large", large), ("cancels", cancels)):
            if not x >= (1 if name == "cancels" else 0):
                raise ValueError(f"{name} is a number, 0 or more (cancels: 1 or more), got {x!r}")
        if reference is not None and not isfinite(number(reference)):
            raise ValueError(f"reference is a number of decades, got {reference!r}")
        self.output = output
        self.paths = Paths(output, parameters)
        self.limits = Limits(reference, small, large, cancels)

    def __contains__(self, node: Value) -> bool:
        return node in self.paths.index

    def __len__(self) -> int:
        return len(self.paths.nodes)

    def __getitem__(self, node: Value) -> NodeFlow:
        if node not in self:
            raise KeyError(f"{node!r} is not in the graph of {name_of(self.output)}")
        return self.paths.flow(node)

    def why(self, node: Value) -> Explanation:
        """Why ∂output/∂node is what it is."""
        return why(node, self)

    def path(self, node: Value) -> list[Edge]:
        """The strongest path from `node` to the output, edge by edge."""
        return [self.paths.edge(e) for e in self.paths.strongest(node)]


def why(node: Value, output: Value | Flow) -> Explanation:
    """Why ∂output/∂node is what it is: `print(why(w, loss))`.

    output: the end of the graph, or its `Flow` when there is more than one question to ask
    A node that is not in the graph is "disconnected" (or "detached"); what is no Value, a list of
    Values among them, is a TypeError.

    >>> x = Value(-2.0, "x")
    >>> y = x.relu() * 3.0
    >>> y.backward()
    >>> why(x, y).verdict, why(x, y).causes
    ('stopped', ['relu off'])
    """
    if not isinstance(node, Value):
        hint = "; ask for one Value at a time" if isinstance(node, (list, tuple)) else ""
        raise TypeError(f"why takes a Value, got a {type(node).__name__}{hint}")
    flow = output if isinstance(output, Flow) else Flow(output)
    return Explanation(flow.paths, flow.limits, node)
