"""The other half of every path: sums from one node towards the output, edge by edge.

With ∂a/∂u summed forwards and ∂L/∂b summed backwards, what any single edge (a → b) contributes to
∂L/∂u, and what would become of it with another factor there, is one multiplication.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from math import fsum, ldexp, log10
from typing import TYPE_CHECKING, NamedTuple

from microgradx.engine import Edge, Value
from microgradx.explain.extended import LARGE, SMALL, Extended, plus, product, quotient, times
from microgradx.explain.paths import Paths

if TYPE_CHECKING:
    from fractions import Fraction


EXACT = 2000  # edges up to which sums that have lost digits are done again, or in fractions
LOST = 2.0  # digits
NOTHING = Extended(0.0, 0)


class Repair(NamedTuple):
    """The gradient that there would be if one local derivative were 1, all others as they are."""

    edge: Edge
    wide: Extended

    @property
    def gradient(self) -> float:
        """As a float, which may underflow."""
        return float(self.wide)


class Tangents:
    """The sums from one node u to all that it leads to; edges go by their numbers in `paths`.

    edges: all that lead on from u, up to where nothing gets through, from u to the output
    g, mass: of u, as extended numbers
    to(i), size(i): ∂a/∂u for the node a of that index, and the same sum of sizes. An edge's share
           of the paths through it is φ = size(a) |d| A_b / A_u
    """

    def __init__(self, paths: Paths, node: Value) -> None:
        self.paths = paths
        start = self._start = paths.index[node]
        self.g, self.mass = paths.wide(start), paths.mass(start)
        self.edges: list[int] = []
        self._to, self._to_e = [0.0] * (start + 1), [0] * (start + 1)  # as m · 2^e
        self._size, self._size_e = [0.0] * (start + 1), [0] * (start + 1)
        self._to[start] = self._size[start] = 1.0
        self._sum_from(start)

    def _sum_from(self, start: int) -> None:
        """Sum what comes to each node from its inputs, inputs first. Nothing runs more often."""
        paths, edges = self.paths, self.edges
        size, size_e, to, to_e = self._size, self._size_e, self._to, self._to_e
        tails, partials, first = paths.tails, paths.partials, paths.first
        for j in range(start - 1, -1, -1):
            for e in range(first[j], first[j + 1]):
                i = tails[e]
                if i > start or not size[i]:
                    continue
                edges.append(e)
                d = partials[e]
                if not d:
                    continue
                if not size[j]:  # the first to arrive, and often the only one
                    size_e[j], to_e[j] = size_e[i], to_e[i]
                moved, part = abs(size[i] * d), to[i] * d
                alike = size_e[i] == size_e[j] and to_e[i] == to_e[j]
                if alike and SMALL < moved < LARGE and SMALL < abs(part):
                    size[j] += moved
                    to[j] += part
                else:
                    size[j], size_e[j] = plus(self.size(j), times(abs(d), size[i], size_e[i]))
                    to[j], to_e[j] = plus(self.to(j), times(d, to[i], to_e[i]))

    def to(self, i: int) -> Extended:
        """∂a/∂u for the node a with index i."""
        return Extended(self._to[i], self._to_e[i])

    def size(self, i: int) -> Extended:
        """The same with the sizes of all paths."""
        return Extended(self._size[i], self._size_e[i])

    # --- of one edge ----------------------------------------------------------------------------

    def share(self, e: int) -> float:
        """φ: how much of the path mass from u goes along this edge, from 0 to 1."""
        paths = self.paths
        i, j = paths.tails[e], paths.heads[e]
        (whole, whole_e), exponent = self.mass, paths.mass_e[j]
        m = abs(paths.partials[e]) * paths.mass_m[j]
        if not SMALL < m < LARGE:
            m, exponent = times(abs(paths.partials[e]), *paths.mass(j))
        return ldexp(self._size[i] * m / whole, self._size_e[i] + exponent - whole_e)

    def repaired(self, e: int) -> Extended:
        """∂output/∂u if this edge's local derivative were 1 and every other as it is."""
        paths = self.paths
        d, way = paths.partials[e], product(self.to(paths.tails[e]), paths.wide(paths.heads[e]))
        if e in self._bridges:
            return way  # every path goes through it
        opened, moved = plus(self.g, times(1.0 - d, *way)), times(d, *way)
        lost = moved.decades - opened.decades  # digits that the sum has lost to what it takes away
        if lost > LOST and len(self.edges) <= EXACT:
            return self._swept_with_one_at(e)
        return opened

    @cached_property
    def _bridges(self) -> set[int]:
        """The edges that every path goes through: the only ones out of a choke point."""
        paths = self.paths
        chokes, up = {self._start}, paths.choke_point[self._start]
        while up >= 0:
            chokes.add(up)
            up = paths.choke_point[up]
        out: dict[int, list[int]] = {}
        for e in self.edges:
            if paths.tails[e] in chokes:
                out.setdefault(paths.tails[e], []).append(e)
        return {edges[0] for edges in out.values() if len(edges) == 1}

    def _swept_with_one_at(self, replaced: int) -> Extended:
        """The gradient with a local derivative of 1 on one edge, summed anew."""
        paths = self.paths
        to = {paths.tails[self.edges[0]]: Extended(1.0, 0)}
        for e in self.edges:
            i, j = paths.tails[e], paths.heads[e]
            d = 1.0 if e == replaced else paths.partials[e]
            part = times(d, *to.get(i, NOTHING))
            to[j] = plus(to[j], part) if j in to else part
        return to.get(0, NOTHING)

    # --- of all ---------------------------------------------------------------------------------

    def credits(self) -> list[tuple[float, int]]:
        """φ · log₁₀|d| of every edge whose factor is neither 0 nor ±1, with the edge."""
        paths, size, size_e, credits = self.paths, self._size, self._size_e, []
        tails, heads, partials = paths.tails, paths.heads, paths.partials
        mass_m, mass_e = paths.mass_m, paths.mass_e
        whole, whole_e = self.mass
        for e in self.edges:
            d = abs(partials[e])
            if d and d != 1.0:
                i, j = tails[e], heads[e]
                m = d * mass_m[j]
                if SMALL < m < LARGE:  # twin of share
                    share = ldexp(size[i] * m / whole, size_e[i] + mass_e[j] - whole_e)
                else:
                    share = self.share(e)
                credits.append((share * log10(d), e))
        return credits

    def cut(self) -> list[Edge]:
        """The zero edges at which paths from the node end."""
        return [self.paths.edge(e) for e in self.edges if not self.paths.partials[e]]

    def culprits(self, sign: float, skip_loss: bool) -> tuple[list[Edge], float]:
        """The edges that hold half of the credits of this sign, and how many edges share those.

        skip_loss: whether edges of the loss do not count
        """
        credits = [(abs(credit), e) for credit, e in self.credits() if (credit < 0) == (sign < 0)]
        if skip_loss:
            before = set(self.paths.before_the_loss(e for _, e in credits))
            credits = [(credit, e) for credit, e in credits if e in before]
        total = fsum([credit for credit, _ in credits])
        halves = sorted((x for x in credits if x[0] >= total / 2), reverse=True)
        effective = total**2 / fsum([x * x for x, _ in credits]) if credits else 0.0
        return [self.paths.edge(e) for _, e in halves], effective

    def repairs(self) -> list[Repair]:
        """The repairs of all edges with a factor other than ±1; of the cut, where there is one."""
        edge, partials = self.paths.edge, self.paths.partials
        edges = [e for e in self.edges if self.mass.mantissa or not partials[e]]
        return [Repair(edge(e), self.repaired(e)) for e in edges if abs(partials[e]) != 1]

    def opposed(self) -> tuple[list[Edge], float]:
        """The edges out of the node where most of the path mass cancels, and how much of it does.

        The largest contribution comes first. At v, size(v) (Σ |d g_b| - |g_v|) cancels; over all
        v that adds up to A_u - |g_u|.
        """
        paths = self.paths
        branches: dict[int, list[tuple[Extended, int]]] = {}
        several = Counter(paths.tails[e] for e in self.edges)
        for e in self.edges:
            if several[paths.tails[e]] == 1:
                continue  # nothing there to cancel with
            part = times(paths.partials[e], *paths.wide(paths.heads[e]))
            if part.mantissa:
                branches.setdefault(paths.tails[e], []).append((part, e))
        lost = {i: self._cancelled(i, parts) for i, parts in branches.items()}
        worst = max(lost, key=lambda i: lost[i].decades)
        whole = NOTHING
        for each in lost.values():
            whole = plus(whole, each)
        share = float(quotient(lost[worst], whole)) if whole.mantissa else 1.0
        edges = sorted(branches[worst], key=lambda branch: -branch[0].decades)
        return [paths.edge(e) for _, e in edges], share

    def _cancelled(self, i: int, parts: list[tuple[Extended, int]]) -> Extended:
        whole = left = NOTHING
        for (m, exponent), _ in parts:
            whole, left = plus(whole, Extended(abs(m), exponent)), plus(left, Extended(m, exponent))
        lost = plus(whole, Extended(-abs(left.mantissa), left.exponent))
        return product(self.size(i), lost) if lost.mantissa > 0 else NOTHING

    def exact(self) -> Fraction:
        """The gradient as the sum over paths is, without any rounding."""
        from fractions import Fraction  # seldom needed, and slow to load

        paths = self.paths
        to = {paths.heads[e]: Fraction(0) for e in self.edges}
        to[paths.tails[self.edges[0]]] = Fraction(1)
        for e in self.edges:
            to[paths.heads[e]] += to[paths.tails[e]] * Fraction(paths.partials[e])
        return to.get(0, Fraction(0))
