"""The other half of every path: sums from one node towards the output, edge by edge.

With ∂a/∂u summed forwards and ∂L/∂b summed backwards, what any single edge (a → b) contributes to
∂L/∂u, and what would become of it with another factor there, is one multiplication.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import compress
from math import fsum
from operator import itemgetter, mul
from typing import TYPE_CHECKING, Any, NamedTuple

from microgradx._base.text import place
from microgradx.engine import Edge, Value
from microgradx.explain.extended import Extended, extended
from microgradx.explain.paths import Paths, summed
from microgradx.explain.samples import statistic_of

if TYPE_CHECKING:
    from fractions import Fraction


EXACT = 2000  # edges up to which sums that have lost digits are done again, or in fractions
LOST = 1e-2  # of a sum that has lost two digits, the part that is left
NOTHING = Extended(0.0, 0)
NO_CREDIT = 1e-13  # decades: less is rounding


class Repair(NamedTuple):
    """The gradient that there would be if one local derivative were 1, all others as they are.

    times: how many edges were repaired, if the same one is in several samples
    ends:  then the local derivatives of least and of largest size; else the one
    """

    edge: Edge
    wide: Extended
    times: int = 1
    ends: tuple[float, ...] = ()

    @property
    def gradient(self) -> float:
        """As a float, which may underflow."""
        return float(self.wide)


class Tangents:
    """The sums from one node u to all that it leads to; edges go by their numbers in `paths`.

    edges: all that lead on from u, up to where nothing gets through, from u to the output
    g, norm: of u, as extended numbers
    to(i), norm_to(i): ∂a/∂u for the node a of that index, and the root of the sum of squares
    """

    def __init__(self, paths: Paths, node: Value) -> None:
        self.paths = paths
        self._start = paths.index[node]
        self.g, self.norm = paths.wide(self._start), paths.norm(self._start)
        self._before = slice(paths.first[self._start] - 1, None, -1) if self._start else slice(0)
        self._on = self._leading_on()
        edges: Any = [[*self._along(of)] for of in (paths.tails, paths.heads, paths.partials)]
        self._tails, self._heads, self._partials = edges
        self.edges = [*self._along(range(len(paths.tails)))]
        live = edges if all(self._partials) else [[*compress(of, self._partials)] for of in edges]
        _, self._to = paths.sums_from(self._start, *live)
        self._squares = paths.squares_from(self._start, *live)

    def _leading_on(self) -> bytearray:
        """Of the edges before the node, those nearer to it first, whether they lead on from it."""
        paths, before = self.paths, self._before
        ends = zip(paths.tails[before], paths.heads[before], paths.partials[before])
        on, reached = bytearray(paths.first[self._start]), bytearray(len(paths.nodes))
        reached[self._start] = True
        for k, (i, j, d) in enumerate(ends):
            if reached[i]:
                on[k] = True
                if d:
                    reached[j] = True
        if paths.counted is not None and self.norm:
            on = bytearray(x and y for x, y in zip(on, paths.counted[before]))
        return on

    def _along(self, of: Sequence[Any]) -> Iterator[Any]:
        """Of something that every edge has, that of `edges`."""
        return compress(of[self._before], self._on)

    def first_edges(self) -> list[Edge]:
        """Those out of the node itself."""
        return [self.paths.edge(e) for e in self.edges if self.paths.tails[e] == self._start]

    def leads_to(self, i: int) -> bool:
        """Whether a path without a factor 0 leads to the node with index i."""
        return bool(self._squares[i])

    def to(self, i: int) -> Extended:
        """∂a/∂u for the node a with index i."""
        return extended(self._to[i])

    def through(self, e: int) -> Extended:
        """The part of the gradient whose paths go along an edge."""
        paths = self.paths
        return extended(self._to[paths.tails[e]] * paths.partials[e] * paths.wides[paths.heads[e]])

    def norm_to(self, i: int) -> Extended:
        """The root of the sum of the squares of the same paths."""
        return extended(self._squares[i]).root()

    # --- of one edge ----------------------------------------------------------------------------

    @cached_property
    def shares(self) -> dict[int, float]:
        """φ = S²_a d² R²_b / R²_u of every edge: the share of the paths from u along it."""
        return dict(zip(self.edges, self._phis))

    @cached_property
    def _phis(self) -> list[float]:
        to, squares, whole = self._squares, self.paths.squares, self.paths.squares[self._start]
        edges = zip(self._tails, self._heads, self._partials)
        phis = [to[i] * d * (d * squares[j]) / whole for i, j, d in edges]
        return phis if isinstance(whole, float) and isinstance(to, array) else [*map(float, phis)]

    def repaired(self, e: int) -> Extended:
        """∂output/∂u if this edge's local derivative were 1 and every other as it is."""
        paths = self.paths
        d, way = paths.partials[e], self._to[paths.tails[e]] * paths.wides[paths.heads[e]]
        if e in self._bridges:
            return extended(way)  # every path goes through it
        opened, moved = paths.wides[self._start] + (1.0 - d) * way, d * way
        if moved and abs(opened / moved) < LOST and len(self.edges) <= EXACT:
            return self._swept_with_one_at(e)  # what is taken away leaves too few digits
        return extended(opened)

    @cached_property
    def _bridges(self) -> set[int]:
        """The edges that every path goes through: the only ones out of a choke point."""
        paths = self.paths
        chokes, up = {self._start}, paths.choke_point[self._start]
        while up >= 0:
            chokes.add(up)
            up = paths.choke_point[up]
        several = Counter(paths.tails[e] for e in self.edges)
        tails = ((e, paths.tails[e]) for e in self.edges)
        return {e for e, i in tails if i in chokes and several[i] == 1}

    def _swept_with_one_at(self, replaced: int) -> Extended:
        """The gradient with a local derivative of 1 on one edge, summed anew."""
        factors = [1.0 if e == replaced else self.paths.partials[e] for e in self.edges]
        whole: Extended = self._sum_of(factors, Extended(1.0, 0))
        return whole

    def exact(self) -> Fraction:
        """The gradient as the sum over paths is, without any rounding."""
        from fractions import Fraction  # seldom needed, and slow to load

        factors = [Fraction(self.paths.partials[e]) for e in self.edges]
        whole: Fraction = self._sum_of(factors, Fraction(1))
        return whole

    def _sum_of(self, factors: list[Any], one: Any) -> Any:
        """The gradient with such factors on the edges, in the numbers that `one` is of."""
        tails, heads = self.paths.tails, self.paths.heads
        ends = [tails[e] for e in self.edges], [heads[e] for e in self.edges]
        return summed(*ends, factors, self._start + 1, self._start, one)[0]

    def mean(self, of: Sequence[float]) -> float:
        """The mean, over the paths, of the sum of a number that every edge has."""
        return fsum(map(mul, self._phis, self._along(of)))

    # --- of all ---------------------------------------------------------------------------------

    def credits(self) -> Iterator[tuple[float, int]]:
        """Of every edge what it brings to log₁₀ R, with the edge.

        It is φ · log₁₀(R_a / R_b): its factor, and its share of half the fan-out, so that the
        credits of a path add up. Of an edge into one of several samples the part between these is
        left out, as it is the loss's.
        """
        brings = self._along(self.paths.brings)
        return zip(map(mul, self._phis, brings), self.edges)

    @cached_property
    def by_layer(self) -> dict[str, float]:
        """The decades of log₁₀ R by layer: the credits of the edges that lead to its labels.

        "" has those of edges that lead to no layer, such as the loss's.
        """
        labels = [x.label for x in self.paths.nodes]
        by_label: dict[str, float] = {}
        for (credit, _), j in zip(self.credits(), self._heads):
            by_label[labels[j]] = by_label.get(labels[j], 0.0) + credit
        brings: dict[str, float] = {}
        for label, credit in by_label.items():
            layer = place(label)[0].removesuffix(f".{statistic_of(label)}")
            brings[layer] = brings.get(layer, 0.0) + credit
        return brings

    def cut(self) -> list[Edge]:
        """The zero edges at which paths from the node end."""
        return [self.paths.edge(e) for e in self.edges if not self.paths.partials[e]]

    def culprits(self, sign: float, skip_loss: bool) -> tuple[list[Edge], float]:
        """The edges that hold half of the credits of this sign, and how many edges share those.

        The same edge in several samples is one.

        skip_loss: whether edges of the loss do not count
        """
        paths = self.paths
        if sign < 0:
            credits = [(-credit, e) for credit, e in self.credits() if credit < -NO_CREDIT]
        else:
            credits = [each for each in self.credits() if each[0] > NO_CREDIT]
        if skip_loss:
            credits = [x for x in credits if paths.nodes[paths.heads[x[1]]] not in paths.loss]
        sums: list[tuple[float, Any]] = credits
        if paths.several:  # the same edge in several samples is one
            together: dict[object, float] = {}
            for credit, e in credits:
                key = paths.names[e]
                together[key] = together.get(key, 0.0) + credit
            sums = [(credit, key) for key, credit in together.items()]
        total = fsum([credit for credit, _ in sums])
        halves = [each for each in sums if each[0] >= total / 2]
        effective = total * total / fsum([x * x for x, _ in sums]) if sums else 0.0
        edges = [key for _, key in sorted(halves, key=itemgetter(0), reverse=True)]
        if paths.several and edges:
            credits.sort(reverse=True)
            edges = [e for key in edges for _, e in credits if paths.names[e] == key]
        return [*map(paths.edge, edges)], effective

    def repairs(self) -> list[tuple[int, Extended]]:
        """The edges with a factor other than ±1, or of the cut where there is one, repaired."""
        partials = self.paths.partials
        edges = [e for e in self.edges if self.norm or not partials[e]]
        return [(e, self.repaired(e)) for e in edges if abs(partials[e]) != 1]

    def moves(self) -> list[tuple[int, Any]]:
        """Of the same edges, by how much that would move the gradient: (1 - d) ∂a/∂u g_b."""
        to, wides, stopped = self._to, self.paths.wides, not self.norm
        edges = zip(self.edges, self._tails, self._heads, self._partials)
        return [
            (e, (1.0 - d) * (to[i] * wides[j]))
            for e, i, j, d in edges
            if abs(d) != 1 and not (stopped and d)
        ]

    def opposed(self) -> tuple[list[Edge], float]:
        """The edges out of the node where paths oppose each other most, and how much is there.

        The largest contribution comes first. At v, S²_v (Σ (d g_b)² - g²_v) is what opposes; over
        all v that adds up to R²_u - g²_u, where what agrees counts below 0.
        """
        paths = self.paths
        branches: dict[int, list[tuple[Extended, int]]] = {}
        several = Counter(paths.tails[e] for e in self.edges)
        for e in self.edges:
            if several[paths.tails[e]] == 1:
                continue  # nothing there to oppose
            part = paths.partials[e] * paths.wide(paths.heads[e])
            if part:
                branches.setdefault(paths.tails[e], []).append((part, e))
        lost = {i: self._opposing(i, [x for x, _ in parts]) for i, parts in branches.items()}
        if not lost:
            return [], 0.0
        worst = max(lost, key=lambda i: lost[i].decades)
        whole = sum(lost.values(), NOTHING)
        edges = sorted(branches[worst], key=lambda branch: -branch[0].decades)
        return [paths.edge(e) for _, e in edges], lost[worst] / whole if whole else 1.0

    def _opposing(self, i: int, parts: list[Extended]) -> Extended:
        total = sum(parts, NOTHING)
        lost = sum([part * part for part in parts], NOTHING) + -1.0 * (total * total)
        return extended(self._squares[i]) * lost if lost.mantissa > 0 else NOTHING
