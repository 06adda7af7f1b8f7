"""Why a gradient is what it is: the verdict, the place, and the factors that make the number.

`Flow(output)` knows, of every node, what its gradient is the sum and the product of; `why` puts
that into words for one node. Nothing here trusts `.grad`: it is worked out anew, and compared.
"""

from __future__ import annotations

from functools import cached_property
from math import isfinite
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

from microgradx._base.arguments import number
from microgradx._base.files import as_html, write_whole
from microgradx._base.text import clean, name_of
from microgradx.engine import Edge, Value
from microgradx.explain.asked import Values, check_belong, end_of_graph, leaves_in, values_in
from microgradx.explain.case import Case, Limits
from microgradx.explain.causes import groups
from microgradx.explain.extended import Extended, extended
from microgradx.explain.paths import NodeFlow, Paths
from microgradx.explain.provenance import Unit, units_of
from microgradx.explain.report import sentences, wrapped
from microgradx.explain.several import Several
from microgradx.explain.tangents import LOST, Repair
from microgradx.explain.verdicts import judge

if TYPE_CHECKING:
    from pathlib import Path


class Explanation(Case):
    """Why one gradient is what it is; print it.

    node, output: of ∂output/∂node
    paths, tangents: the sums over all paths from every node, and from this one onwards, which are
               a KeyError where no path leads to the output
    flow:      the flow through the node, a `NodeFlow`; None where no path leads to the output
    verdict:   the name of the first row that holds in the table of `verdicts`
    causes:    of the verdict, largest first
    where:     the edges where the gradient stops, cancels or ceases to be finite
    culprits:  the edges that alone are to blame: to open one is to bring the gradient back, or it
               holds half of what made it small or large. None where gates stand in series
    because:   how it came about, in sentences
    exact:     a cancelled gradient, summed without rounding, where the graph is small
    budget:    decades by kind, adding up to log₁₀|g|
    path:      the strongest path, as (edge, product so far from the output)
    choke_points: the nodes that every path goes through, nearest first
    origins:   the activations on its way that are saturated or off, each with what its z is made
               of, a `Unit`: those that stop it, the one that saturates most, or in most samples
    repairs:   edges by the gradient there would be if their local derivative were 1
    remark:    why the node's .grad is not this gradient (`cause`, `sentence`); None if it is
    """

    def __init__(self, paths: Paths, limits: Limits, node: Value) -> None:
        super().__init__(paths, limits, node)
        self._row, self._evidence = judge(self)
        self.verdict = self._row.name
        self.causes, self.where, self.culprits, self.because, self.exact = self._evidence

    @property
    def budget(self) -> dict[str, float]:
        """Decades by kind of factor, and opposition or agreement; they add up to log₁₀|g|."""
        return self.flow.budget if self.flow else {}

    # The following may be long, and are worked out when asked for.

    @cached_property
    def path(self) -> list[tuple[Edge, Extended]]:
        """The strongest path, as (edge, product so far from the output)."""
        steps: list[tuple[Edge, Extended]] = []
        so_far = Extended(1.0, 0)
        numbers = self.paths.strongest(self.node) if self.flow else []
        for edge in map(self.paths.edge, reversed(numbers)):
            so_far = edge.partial * so_far
            steps.append((edge, so_far))
        return steps

    @cached_property
    def choke_points(self) -> list[Value]:
        """The nodes that every path goes through, nearest first."""
        return list(self.paths.choke_points(self.node)) if self.flow else []

    @cached_property
    def origins(self) -> list[Unit]:
        """The activations on its way that are saturated or off, and what their z is made of."""
        return units_of(self, self.culprits, self.where, "saturation" in self.causes)

    @cached_property
    def repairs(self) -> list[Repair]:
        """Edges by the gradient there would be if their local derivative were 1.

        The largest comes first; of one that is too large, that which is nearest to the reference.
        """
        if self.flow is None or not self.finite:
            return []
        repairs = sorted(self.tangents.repairs(), key=lambda repair: self._rank(repair[1]))
        return [Repair(self.paths.edge(e), wide) for e, wide in repairs]

    def _rank(self, wide: Extended) -> float:
        """Less for the better of two repaired gradients."""
        return abs(wide.decades - self.reference.decades) if self._is_large else -wide.decades

    @property
    def _is_large(self) -> bool:
        return self._row.repairs == "down"

    def _best(self) -> Repair | None:
        """The best repair of a factor that is too weak, or too strong, before the loss if any is.

        The same edge in several samples is repaired in all of them. None if the gradient does not
        move by half a decade the right way.
        """
        paths, loss, down = self.paths, self.paths.loss, self._is_large
        if not self._row.repairs or self.flow is None or not self.finite:
            return None
        partials, heads, nodes = paths.partials, paths.heads, paths.nodes
        moves = [each for each in self.tangents.moves() if (abs(partials[each[0]]) > 1) == down]
        before = [each for each in moves if nodes[heads[each[0]]] not in loss]
        together = self._together_in_samples(before or moves)
        if not together:
            return None
        g = paths.wides[paths.index[self.node]]

        def opened(edges: list[int], moved: Any) -> Extended:
            found = extended(g + moved)
            is_lost = moved and abs(found / moved) < LOST
            return self.tangents.repaired(edges[0]) if is_lost and len(edges) == 1 else found

        edges, moved = min(together, key=lambda each: self._rank(opened(*each)))
        wide = self.tangents.repaired(edges[0]) if len(edges) == 1 else opened(edges, moved)
        far = wide.decades - self.reached.decades if wide else 0.0
        better = (-far if down else far) > 0.5 and isfinite(wide.mantissa)
        ordered = sorted([partials[e] for e in edges], key=abs)
        ends = tuple(dict.fromkeys((ordered[0], ordered[-1])))
        return Repair(paths.edge(edges[0]), wide, len(edges), ends) if better else None

    def _together_in_samples(self, moves: list[tuple[int, Any]]) -> list[tuple[list[int], Any]]:
        """Edges and their moves; of the same edge once in each of several samples, all of them.

        No path holds two of these. It may where the edge is twice in a sample, as in a recurrent
        net, where each is repaired by itself.
        """
        paths = self.paths
        if not paths.several:
            return [([e], move) for e, move in moves]
        found: list[tuple[list[int], Any]] = []
        for alike in groups((paths.same(each[0]), each) for each in moves):
            edges, apart = [e for e, _ in alike], [move for _, move in alike]
            if len({paths.samples[paths.heads[e]] for e in edges}) == len(edges):
                found.append((edges, sum(apart[1:], apart[0])))
            else:
                found += [([e], move) for e, move in alike]
        return found

    # --- shown ----------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<why {name_of(self.node)}: {self.verdict}>"

    def __str__(self) -> str:
        remark = [clean(f"{self.remark.sentence}.")] if self.remark else []
        return "\n".join(map(wrapped, [*self.sentences, *remark]))

    @property
    def sentences(self) -> list[str]:
        """The explanation, before it is wrapped into lines, and without the remark on .grad."""
        origins = [sentence for unit in self.origins for sentence in unit.sentences]
        found = sentences(self, self._row, self._evidence, origins, self._best())
        return [*map(clean, found)]

    def picture(self) -> Any:
        """The graph with this gradient explained in it, a `Picture`."""
        from microgradx.pictures import draw  # what shows may look upwards, when it is asked to

        return draw(self.output, explain=self)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write a page of the words and the picture, whole or not at all; returns its Path.

        A path without a suffix gets .html; another suffix is a ValueError. Without a renderer the
        page has the words alone.
        """
        path = as_html(path, "an explanation")
        write_whole(path, self.picture().page(str(self)).encode())
        return path

    def show(self) -> Path:
        """Open the words and the picture in the browser; returns the file that it shows."""
        path: Path = self.picture().show(str(self))
        return path

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The face in a notebook: the words, and below them the picture where it can be drawn."""
        return {"text/html": self.picture().html(str(self)), "text/plain": str(self)}


class Flow:
    """The flow of the gradient of `output` to every node behind it, in one pass over the graph.

    `flow[node]` is a `NodeFlow`, `node in flow` whether there is one, `flow.why(node)` an
    `Explanation`. The grads that backward() has left are not used and not changed.

    parameters: the leaves whose factors are weights; None: those with a parameter's label, such
                as `layers.0.weight[2,1]`, `w1` or `b`; without one, those that several samples read
    cancels:    R/|g| from which a gradient counts as cancelled
    reference:  the decades to compare R with; None: those of R at the layer closest to the output
                (their median; samples that a node leads to put together by their squares), 0 where
                no node is labelled as part of a layer
    small, large: how many decades below and above it a gradient counts as small, as large

    A TypeError if `output` is no Value, a ValueError if the parameters are another model's;
    `flow[node]` of another graph's node is a KeyError.
    """

    def __init__(
        self,
        output: Value,
        parameters: Values | None = None,
        *,
        cancels: float = Limits().cancels,
        reference: float | None = None,
        small: float = Limits().small,
        large: float = Limits().large,
    ) -> None:
        self.output = end_of_graph("a Flow is of", output)
        asked = None if parameters is None else leaves_in(parameters)
        for name, x in (("small", small), ("large", large), ("cancels", cancels)):
            if not x >= (1 if name == "cancels" else 0):
                raise ValueError(f"{name} is a number, 0 or more (cancels: 1 or more), got {x!r}")
        if reference is not None and not isfinite(number(reference)):
            raise ValueError(f"reference is a number of decades, got {reference!r}")
        self.paths = Paths(output, asked)
        check_belong(asked or [], self.paths.index)
        self.limits = Limits(reference, small, large, cancels)

    def __contains__(self, node: Value) -> bool:
        return isinstance(node, Value) and node in self.paths.index

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
        self[node]  # of another graph's it is a KeyError
        return [self.paths.edge(e) for e in self.paths.strongest(node)]


@overload
def why(node: Value, output: Value | Flow, parameters: Values | None = None) -> Explanation: ...


@overload
def why(node: Values, output: Value | Flow, parameters: Values | None = None) -> Several: ...


def why(
    node: Value | Values, output: Value | Flow, parameters: Values | None = None
) -> Explanation | Several:
    """Why ∂output/∂node is what it is: `print(why(w, loss))`.

    node:   a Value; or a layer, a model, a list or a dict of Values, for a table by layer, see
            `Several`
    output: the end of the graph, or its `Flow` when there is more than one question to ask
    parameters: the leaves whose factors are weights, as `Flow` takes them

    A node that is not in the graph is "disconnected" (or "detached"). What is no Value is a
    TypeError, as are parameters beside a Flow, which has its own; nothing to explain, or parameters
    of another model, is a ValueError.

    >>> x = Value(-2.0, "x")
    >>> y = x.relu() * 3.0
    >>> y.backward()
    >>> why(x, y).verdict, why(x, y).causes
    ('stopped', ['relu off'])
    """
    nodes = values_in("why", node)
    if not nodes:
        raise ValueError(f"why has nothing to explain: there is no Value in {node!r:.60}")
    if isinstance(output, Flow) and parameters is not None:
        raise TypeError(
            "a Flow knows its parameters already: give them to Flow(output, parameters)"
        )
    if isinstance(output, Flow):
        flow = output
    else:
        flow = Flow(end_of_graph("why explains gradients of", output, node), parameters)
    if isinstance(node, Value):
        return Explanation(flow.paths, flow.limits, node)
    return Several(flow.paths, flow.limits, nodes, flow.why)
