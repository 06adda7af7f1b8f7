"""Sums over all paths from every node to the output, one function a sum and without underflow.

A path from a node to the output is worth the product of its local derivatives d. The sum of these
products is the gradient, g = Σ Π d. The root of the sum of their squares is the path norm,
R = √(Σ Π d²) (Neyshabur, Salakhutdinov and Srebro 2015): the size that g would have if signs were
a matter of chance. The weights of the paths in its square, q = Π d² / R², are a probability
distribution, which has an entropy and over which each kind of factor has a mean.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import compress, islice
from math import inf, isfinite, log, log10
from operator import itemgetter
from typing import Any

from microgradx.engine import Edge, Value, positions, taken, with_cut_off
from microgradx.explain.extended import LARGE, SMALL, Extended, extended
from microgradx.explain.factors import (
    FANS,
    KINDS,
    SHOWN,
    Factors,
    is_activation,
    layers,
    shut_from,
)
from microgradx.explain.samples import computed_alike

LN10 = log(10.0)
SQUARE, SQUARE_SUM = (1e-70, 1e70), (1e-140, 1e140)  # of d, and of sums of d²: floats do there
ONE_PATH = 1e-13  # nats, or decades: less is rounding


class NodeFlow:
    """The flow through one node, all of it about ∂output/∂node, worked out when it is asked for.

    g:        the gradient, summed in the order of the sweep
    wide:     the same, which neither underflows nor overflows
    norm:     R, the path norm; 0 if every path holds a zero factor
    opposes:  R / |g|: about 1 where paths meet by chance, less where they agree, inf if nothing
              is left
    mass:     A, the sum of the sizes of all paths, for the bound of rounding
    entropy:  H in nats; e^H is how many paths share the work
    budget:   decades by kind of factor, each with the fan-out into its like, and "opposition", or
              "agreement": together they are log₁₀|g|. Empty where g is 0 or not finite
    gates:    how many zero factors there are on the path with the fewest
    strongest: the node's edge on its strongest path, None for the output
    choke_point: the nearest node that every path goes through, None for the output
    error:    how far rounding at most has put g off, γA
    """

    def __init__(self, paths: Paths, i: int) -> None:
        self._paths, self._i = paths, i
        self.g: float = paths.g[i]
        self.wide: Extended = paths.wide(i)
        self.norm: Extended = paths.norm(i)
        self.gates = paths.gates[i]

    @property
    def decades(self) -> float:
        """log₁₀|g|, also where g underflows as a float."""
        return self.wide.decades

    @property
    def _whole(self) -> bool:
        """Whether g is neither 0 nor spoilt."""
        wide = self.wide
        return bool(wide) and isfinite(wide.mantissa) and isfinite(self.norm.mantissa)

    @cached_property
    def opposes(self) -> float:
        return abs(self.norm / self.wide) if self._whole else inf

    @property
    def mass(self) -> Extended:
        return self._paths.mass(self._i)

    @property
    def entropy(self) -> float:
        return self._paths.entropy(self._i)

    @cached_property
    def budget(self) -> dict[str, float]:
        if not self._whole:
            return {}
        kinds = self._paths.budget(self._i).items()
        terms = {SHOWN.get(kind, kind): x / LN10 for kind, x in kinds}
        left = self.wide.decades - self.norm.decades
        if abs(left) > ONE_PATH:
            terms["opposition" if left < 0 else "agreement"] = left
        return terms

    @property
    def strongest(self) -> Edge | None:
        e = self._paths.strongest_edge[self._i]
        return None if e < 0 else self._paths.edge(e)

    @property
    def choke_point(self) -> Value | None:
        i = self._paths.choke_point[self._i]
        return None if i < 0 else self._paths.nodes[i]

    @property
    def error(self) -> float:
        return self._paths.roundings[self._i] * 2.0**-53 * float(self.mass)


class Paths(Factors):
    """The path sums of every node behind `output`; node i of `nodes` has index i everywhere.

    nodes, index, tails, heads, first, samples, parameters: as in `Factors`; edge(e) is edge e as an
             `Edge`
    counted: of every edge, whether anything goes along it: nothing does where a `where` takes its
             other operand. None where all count
    partials: of every edge its d; logarithms: ln|d|, 0 where d is 0
    g:       the gradient as the sweep's float
    wides, squares: g and R², which neither underflow nor overflow: floats, or `Extended` numbers
             where those would not do. wide(i) and norm(i), which is R, are `Extended` in any case
    references: the yardsticks for small and large that have been asked for, by sample
    gates:   how many zero factors there are on the path with the fewest
    strongest_edge: the node's edge on its strongest path; in a dead end, on that with the fewest
             gates; -1 for the output
    """

    def __init__(self, output: Value, parameters: Iterable[Value] | None = None) -> None:
        super().__init__(output, parameters)
        self.references: dict[int, Any] = {}
        self._latest: tuple[int, Sequence[int]] = -1, ()
        self.partials: list[float] = [d for node in self.nodes for d in node.partials]
        self.counted = self._counted()
        sizes: Sequence[float] = array("d", map(abs, self.partials))
        self.logarithms = array("d", (log(size) if size else 0.0 for size in sizes))
        self._moderate = _in_range(sizes, SMALL, LARGE)
        self._square = _in_range(sizes, *SQUARE)
        edges: list[Any] = [self.heads, self.tails, self.partials, sizes]
        if self.counted is not None:
            edges = [[*compress(of, self.counted)] for of in edges]
        heads, tails, partials, sizes = edges
        self.g, self.wides = self.sums_from(0, heads, tails, partials)
        if not all(sizes):
            live = ([*compress(of, sizes)] for of in (heads, tails, sizes))
            heads, tails, sizes = live
        self.squares = self.squares_from(0, heads, tails, sizes)
        self._live = heads, tails, sizes
        self.gates, self.strongest_edge = self._strongest()

    def wide(self, i: int) -> Extended:
        """The gradient of node i, which neither underflows nor overflows."""
        return extended(self.wides[i])

    def norm(self, i: int) -> Extended:
        """R, the path norm of node i."""
        return extended(self.squares[i]).root()

    def mass(self, i: int) -> Extended:
        """A, the path mass of node i."""
        return extended(self.masses[i])

    @cached_property
    def masses(self) -> Sequence[Any]:
        """A of each node, the sum of the sizes of its paths: floats or `Extended`."""
        return self.sums_from(0, *self._live)[1]

    def edge(self, e: int) -> Edge:
        """Edge e as the rest of the house knows it."""
        j = self.heads[e]
        position = self._positions(j)[e - self.first[j]]
        return Edge(self.nodes[self.tails[e]], self.nodes[j], position, self.partials[e])

    def number(self, edge: Edge) -> int:
        """The number of an edge: `edge` backwards."""
        j = self.index[edge.node]
        return self.first[j] + bisect_left(self._positions(j), edge.position)

    def _positions(self, j: int) -> Sequence[int]:
        """Those of the edges into node j, in order."""
        if self._latest[0] != j:
            self._latest = j, positions(self.nodes[j])  # its neighbours are often asked for next
        return self._latest[1]

    def flow(self, node: Value) -> NodeFlow:
        """All that flows through a node behind the output."""
        return NodeFlow(self, self.index[node])

    def entropy(self, i: int) -> float:
        """H in nats, of the paths from node i; 0 of one path, but for rounding."""
        entropy = self.entropies[i]
        return 0.0 if entropy < ONE_PATH else entropy

    def strongest(self, node: Value) -> list[int]:
        """The strongest path from a node to the output, edge by edge."""
        edges = []
        e = self.strongest_edge[self.index[node]]
        while e >= 0:
            edges.append(e)
            e = self.strongest_edge[self.heads[e]]
        return edges

    def choke_points(self, node: Value) -> Iterator[Value]:
        """The nodes before the output that every path from this one goes through, nearest first."""
        i = self.choke_point[self.index[node]]
        while i > 0:
            yield self.nodes[i]
            i = self.choke_point[i]

    def _counted(self) -> bytearray | None:
        """Of every edge, whether it counts: not what a `where` leaves, nor what lies behind that.

        None where all do.
        """
        if not any(rule.selects for rule in {x.rule for x in self.nodes} if rule):
            return None
        counted, reached = bytearray(len(self.tails)), bytearray(len(self.nodes))
        reached[0] = True
        for j, node in enumerate(self.nodes):
            for e, d in enumerate(taken(node) if reached[j] else (), self.first[j]):
                if d is not None:
                    counted[e] = reached[self.tails[e]] = True
        return counted

    # --- one function a sum: from each node, in order, to its inputs ------------------------------

    def sums_from(
        self, start: int, sources: Sequence[int], targets: Sequence[int], factors: Sequence[float]
    ) -> tuple[Sequence[float], Sequence[Any]]:
        """Σ Π d over all paths of such edges from `start` to each node: floats, and without limits.

        The second list is the first where no factor and no sum comes near the ends of the floats,
        else it is of `Extended` numbers.
        """
        edges, n = (sources, targets, factors), len(self.nodes)
        floats = array("d", summed(*edges, n, start, 1.0))
        if self._moderate and _in_range(floats, SMALL, LARGE):
            return floats, floats
        return floats, summed(*edges, n, start, Extended(1.0, 0))

    def squares_from(
        self, start: int, sources: Sequence[int], targets: Sequence[int], factors: Sequence[float]
    ) -> Sequence[Any]:
        """Σ Π d² over all paths of such edges from `start` to each node: floats, or `Extended`."""
        edges, n = (sources, targets, factors), len(self.nodes)
        if self._square:
            floats = array("d", summed_squares(*edges, n, start, 1.0))
            if _in_range(floats, *SQUARE_SUM):
                return floats
        return summed_squares(*edges, n, start, Extended(1.0, 0))

    def _strongest(self) -> tuple[Sequence[int], Sequence[int]]:
        """`gates` and `strongest_edge`: the fewest zero factors, then the largest Π|d|."""
        n = len(self.nodes)
        gates, strongest = array("i", [n]) * n, array("i", [-1]) * n
        gates[0], strength = 0, array("d", [-inf]) * n
        strength[0] = 0.0  # ln of the strongest path, -inf where each holds a 0
        edges = zip(self.tails, self.heads, self.partials, self.logarithms)
        for e, (i, j, d, ln) in enumerate(edges):
            closed = gates[j] if d else gates[j] + 1
            so_far = strength[j] + ln if d else -inf
            if so_far > strength[i] or closed < gates[i]:
                gates[i], strongest[i], strength[i] = closed, e, so_far
        return gates, strongest

    @cached_property
    def roundings(self) -> list[int]:
        """How many roundings at most have gone into g."""
        roundings = [0] * len(self.nodes)
        for i, j in zip(self.tails, self.heads):
            so_far, more = roundings[i], roundings[j]
            roundings[i] = (so_far if so_far > more else more) + 1
        return roundings

    @cached_property
    def shares(self) -> list[float]:
        """q = d² R²_v / R²_u of every edge u → v: the share of the paths from u along it."""
        squares, edges = self.squares, zip(self.tails, self.heads, self.partials)
        return [
            float(squares[j] * d * d / squares[i]) if d and squares[j] else 0.0 for i, j, d in edges
        ]

    @cached_property
    def spreads(self) -> Sequence[float]:
        """ln q of every edge; 0 where q is."""
        return array("d", (log(q) if q else 0.0 for q in self.shares))

    @cached_property
    def entropies(self) -> Sequence[float]:
        """H of each node: Σ q (H_v - ln q) over the edges out of it."""
        entropies = [0.0] * len(self.nodes)
        for i, j, q, spread in zip(self.tails, self.heads, self.shares, self.spreads):
            if q:
                entropies[i] += q * (entropies[j] - spread)
        return entropies

    def budget(self, i: int) -> dict[str, float]:
        """What every kind of factor brings to ln R of node i, where it brings any."""
        return {kind: terms[i] for kind, terms in self.budgets.items() if terms[i]}

    @cached_property
    def budgets(self) -> dict[str, Sequence[float]]:
        """For each kind of factor, what it brings to ln R of every node.

        That is the mean ln|d| over a node's paths, and with each edge, as what it leads into is
        what the paths spread over, its share of half their entropy, -½ q ln q; of an edge into one
        of several samples, the part that lies between these is the loss's.
        """
        n = len(self.nodes)
        budgets: dict[str, list[float]] = defaultdict(lambda: [0.0] * n)
        edges = zip(self.tails, self.shares, self.logarithms, self.spreads, self.aparts)
        for j, node in enumerate(self.nodes):
            own = [*islice(edges, self.first[j + 1] - self.first[j])]
            if not self.squares[j] or not own:
                continue
            for terms in budgets.values():
                if behind := terms[j]:
                    for i, q, _, _, _ in own if isfinite(behind) else filter(itemgetter(1), own):
                        terms[i] += q * behind
            ceiling = self.ceiling(node)
            for kind, (i, q, ln, spread, apart) in zip(self.kinds(node), own):
                if apart:
                    budgets["loss"][i] -= 0.5 * q * apart
                if spread != apart:
                    budgets[FANS.get(kind, kind)][i] -= 0.5 * q * (spread - apart)
                if ln and q:
                    budgets[kind][i] += q * (ln - ceiling)
                    if ceiling:
                        budgets["sigmoid ceiling"][i] += q * ceiling
        return {kind: array("d", budgets[kind]) for kind in KINDS if any(budgets[kind])}

    @cached_property
    def with_cut_off(self) -> set[Value]:
        """The nodes, and what lies behind a detach."""
        return {*with_cut_off(self.nodes[0], self.nodes)}

    @cached_property
    def output_layer(self) -> dict[int, None]:
        """The nodes of the layer closest to the output, in the order of the sweep."""
        by_node = layers(self.nodes)
        last = next(filter(None, by_node), "")
        return dict.fromkeys(i for i, layer in enumerate(by_node) if layer and layer == last)

    @cached_property
    def alike(self) -> Sequence[int]:
        """By node a number that those share which several samples compute alike."""
        return computed_alike(self.nodes, self.samples, self.tails, self.first)

    @cached_property
    def names(self) -> list[object]:
        """Of every edge in a sample, the labels of its ends if both have one; else its number."""
        labels, samples = [x.label for x in self.nodes], self.samples
        return [
            (labels[i], labels[j]) if labels[i] and labels[j] and samples[j] >= 0 else e
            for e, (i, j) in enumerate(zip(self.tails, self.heads))
        ]

    def same(self, e: int) -> object:
        """What an edge shares with the same one in other samples: labels, else how it is computed.

        Outside of the samples, that is its number.
        """
        name, j = self.names[e], self.heads[e]
        if name != e or self.samples[j] < 0:
            return name
        return self.alike[self.tails[e]], self.alike[j], e - self.first[j]

    @cached_property
    def zeros(self) -> dict[object, list[int]]:
        """The edges with a factor 0, by what each shares with the same one in other samples."""
        found: dict[object, list[int]] = {}
        for e, d in enumerate(self.partials):
            if not d:
                found.setdefault(self.same(e), []).append(e)
        return found

    @cached_property
    def activations(self) -> list[tuple[list[int], list[int]]]:
        """Of each activation before the loss its edges z → y in all samples, and those that shut.

        They do where the slope is 0, or next to nothing, and no other way from z carries more.
        """
        found: dict[object, tuple[list[int], list[int]]] = {}
        for j, node in enumerate(self.nodes):
            if is_activation(node) and node not in self.loss:
                e = self.first[j]
                every, shut = found.setdefault(self.same(e), ([], []))
                every.append(e)
                around = self.shares[e] < 0.5 if self.shares[e] else self.squares[self.tails[e]]
                if abs(self.partials[e]) < shut_from(node.rule) and not around:
                    shut.append(e)
        by_sample = self._sample_of
        return [
            (sorted(every, key=by_sample), sorted(x, key=by_sample)) for every, x in found.values()
        ]

    def _sample_of(self, e: int) -> int:
        return self.samples[self.heads[e]]

    @cached_property
    def aparts(self) -> Sequence[float]:
        """Of every edge from a leaf into one of several samples, ln of the share of that sample.

        0 for every other edge.
        """
        n, samples, aparts = len(self.nodes), self.samples, array("d", self.spreads)
        several = [k < 0 and not node.rule for node, k in zip(self.nodes, samples)]
        places = [  # of a leaf in a sample: -1 for those edges that are none of these
            samples[j] * n + i if several[i] and samples[j] >= 0 else -1
            for i, j in zip(self.tails, self.heads)
        ]
        used = [*compress(places, self.shares)]
        if len(set(used)) - (-1 in used) < len(used) - used.count(-1):
            together = dict.fromkeys(places, 0.0)  # a leaf is read several times in a sample
            for place, q in zip(places, self.shares):
                together[place] += q
            both = zip(places, self.shares)
            aparts = array("d", (log(together[place]) if q else 0.0 for place, q in both))
        for e, place in enumerate(places):
            if place < 0:
                aparts[e] = 0.0
        return aparts

    @cached_property
    def fans(self) -> Sequence[float]:
        """Of every edge along a weight of a layer, ½ log₁₀(fan-in / fan-out); of others 0.

        The fan-out of a node is that in one sample.
        """
        along = [
            (e, len(node.operands[0]), (self.tails[e], self.samples[j]))
            for j, node in enumerate(self.nodes)
            if node.rule and node.rule.lists and node.rule.kind == "product"
            for e, kind in enumerate(self.kinds(node), self.first[j])
            if kind == "weights"
        ]
        fan_out, fans = Counter([source for *_, source in along]), array("d", [0.0])
        fans *= len(self.tails)
        for e, fan_in, source in along:
            fans[e] = 0.5 * log10(fan_in / fan_out[source])
        return fans

    @cached_property
    def brings(self) -> Sequence[float]:
        """What every edge brings to log₁₀ R of its tail, along itself; 0 where it has no share.

        That is its factor, and half of its spread but for what lies between samples.
        """
        edges = zip(self.shares, self.logarithms, self.spreads, self.aparts)
        return array("d", ((ln - 0.5 * (s - a)) / LN10 if q else 0.0 for q, ln, s, a in edges))

    @cached_property
    def choke_point(self) -> list[int]:
        """The nearest node that every path goes through (immediate post-dominator); -1 for none."""
        n = len(self.nodes)
        choke_point, depth, skip = [-1] * n, [0] * n, [0] * n
        for j in range(n):
            if j:
                up = choke_point[j]
                depth[j], over = depth[up] + 1, skip[up]
                # a far ancestor of each finds any in log n (Myers 1983)
                even = depth[up] - depth[over] == depth[over] - depth[skip[over]]
                skip[j] = skip[over] if even else up
            above = (j, choke_point[j], choke_point[choke_point[j]]) if j else (0,)
            for i in self.tails[self.first[j] : self.first[j + 1]]:
                if choke_point[i] < 0:
                    choke_point[i] = j
                elif choke_point[i] not in above:  # which all paths of both go through
                    choke_point[i] = _common(choke_point[i], j, choke_point, depth, skip)
        return choke_point


def is_stop(partial: float, adjoint: Any) -> bool:
    """Whether a gradient stops at an edge: something arrives, and the partial makes 0 of it.

    adjoint: at the edge's result, a float; or an `Extended`, which does not underflow

    An adjoint of 0 is nothing that could stop. Nor does one of inf or nan: its product with 0 is
    nan, which goes on, and `why` calls it not finite.
    """
    return partial == 0 and bool(adjoint) and not partial * adjoint


def _common(a: int, b: int, choke_point: list[int], depth: list[int], skip: list[int]) -> int:
    """The nearest node that every path from either goes through."""
    if depth[a] < depth[b]:
        a, b = b, a
    while depth[a] > depth[b]:
        a = skip[a] if depth[skip[a]] >= depth[b] else choke_point[a]
    while a != b:
        if choke_point[a] == choke_point[b]:
            return choke_point[a]
        a, b = (skip[a], skip[b]) if skip[a] != skip[b] else (choke_point[a], choke_point[b])
    return a


def summed(
    sources: Iterable[int], targets: Iterable[int], factors: Iterable[Any], n: int, start: int,
    one: Any,
) -> list[Any]:  # fmt: skip
    """Σ Π d over all paths from `start` to each of n nodes, in the numbers that `one` is of."""
    sums = [0 * one] * n
    sums[start] = one
    for u, v, d in zip(sources, targets, factors):
        sums[v] += sums[u] * d
    return sums


def summed_squares(
    sources: Iterable[int], targets: Iterable[int], factors: Iterable[Any], n: int, start: int,
    one: Any,
) -> list[Any]:  # fmt: skip
    """Σ Π d² likewise: d is multiplied in twice, as d · d alone may underflow."""
    sums = [0 * one] * n
    sums[start] = one
    for u, v, d in zip(sources, targets, factors):
        sums[v] += sums[u] * d * d
    return sums


def _in_range(numbers: Iterable[float], least: float, most: float) -> bool:
    """Whether the sizes of all but the zeros are between these."""
    sizes = [*filter(None, map(abs, numbers))]
    return not sizes or (least < min(sizes) and max(sizes) < most)
