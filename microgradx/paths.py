"""Sums over all paths from every node to the output, in one pass and without underflow.

A path from a node to the output is worth the product of its local derivatives d. The sum of these
products is the gradient, g = Σ Π d; the sum of their sizes is the path mass, A = Σ Π |d|. What a
path weighs in that mass, π = Π |d| / A, makes the paths a probability distribution, which has an
entropy and over which each kind of factor has a mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from math import inf, log
from typing import TYPE_CHECKING, Any, NamedTuple

from microgradx.engine import Edge, Value, order
from microgradx.places import names_parameter, place

if TYPE_CHECKING:
    from fractions import Fraction

# What a factor is, and so what there is to blame or to thank.
KINDS = (
    "weights", "inputs", "activations", "constants", "sigmoid ceiling", "saturation", "gates",
    "singular op", "loss",
)  # fmt: skip
OTHER_FACTORS = {
    "saturating": "saturation", "gate": "gates", "singular": "singular op", "linear": "constants",
}  # fmt: skip
LN2, LOG2 = math.log(2.0), math.log10(2.0)
SMALL, LARGE = 1e-200, 1e200  # mantissas stay between, so that products of two are safe

Factors = list[tuple[str, float]]  # of an edge: kind and ln, adding up to ln|d|


class Wide(NamedTuple):
    """mantissa · 2^exponent, a number that neither underflows nor overflows."""

    mantissa: float
    exponent: int

    @property
    def decades(self) -> float:
        """log₁₀ of its size; -inf for 0."""
        m = abs(self.mantissa)
        return math.log10(m) + self.exponent * LOG2 if m else -math.inf

    def __float__(self) -> float:
        try:
            return math.ldexp(self.mantissa, self.exponent)
        except OverflowError:
            return math.copysign(math.inf, self.mantissa)


def times(x: float, m: float, e: int) -> Wide:
    """x · (m · 2^e)"""
    product = x * m
    if SMALL < abs(product) < LARGE or not (x and m):
        return Wide(product, e)
    fraction, shift = math.frexp(x)
    return Wide(fraction * m, e + shift)


def plus(a: Wide, b: Wide) -> Wide:
    """a + b, at the larger exponent of the two."""
    if not a.mantissa or not b.mantissa:
        return b if not a.mantissa else a
    low, high = (a, b) if a.exponent <= b.exponent else (b, a)
    shifted = math.ldexp(low.mantissa, low.exponent - high.exponent)
    return Wide(high.mantissa + shifted, high.exponent)


def product(a: Wide, b: Wide) -> Wide:
    """a · b"""
    m, e = times(a.mantissa, *b)
    return Wide(m, e + a.exponent)


def quotient(a: Wide, b: Wide) -> Wide:
    """|a| / |b|, b not 0"""
    (m, e), (n, f) = math.frexp(a.mantissa), math.frexp(b.mantissa)
    return Wide(abs(m / n), e + a.exponent - f - b.exponent)


class Paths:
    """The path sums of every node behind `output`; node i of `nodes` has index i everywhere.

    nodes, index: the nodes in the order of the sweep, and where each stands in it
    g:       the gradient as the sweep's float;  wide(i): as mantissa and exponent
    mass(i): A;  entropy: H in nats;  budget: the mean ln|d| by kind of factor, where there is any
    gates:   how many zero factors there are on the path with the fewest
    via(i):  the node's edge on its strongest path; in a dead end, on that with the fewest gates
    up:      the nearest node that every path goes through (immediate post-dominator), -1 for none
    rounds:  how many roundings at most have gone into g

    parameters: the leaves whose factors are weights; None: those that are labelled as such
    """

    def __init__(self, output: Value, parameters: Iterable[Value] | None = None) -> None:
        self.nodes = order(output)
        self.index = {node: i for i, node in enumerate(self.nodes)}
        self.parameters = None if parameters is None else set(parameters)
        self.loss = loss_part(self.nodes)
        n = len(self.nodes)
        self.g = [0.0] * n
        self._gm, self._ge = [0.0] * n, [0] * n  # g, and below A, as m · 2^e
        self._am, self._ae = [0.0] * n, [0] * n
        self.entropy = [0.0] * n
        self.budget: list[dict[str, float]] = [{} for _ in range(n)]
        self.gates = [n + 1] * n
        self._via: list[tuple[int, int] | None] = [None] * n  # consumer and position
        self.up = [-1] * n
        self.rounds = [0] * n
        self._strength = [-inf] * n  # ln of the strongest path
        self._depth, self._skip = [0] * n, [0] * n
        self.g[0] = self._gm[0] = self._am[0] = 1.0
        self.gates[0], self._strength[0] = 0, 0.0
        for j, node in enumerate(self.nodes):
            if j:
                self._settle(j)
            self._hand_on(j, node)

    def wide(self, i: int) -> Wide:
        """The gradient of node i, which neither underflows nor overflows."""
        return Wide(self._gm[i], self._ge[i])

    def mass(self, i: int) -> Wide:
        """The path mass of node i."""
        return Wide(self._am[i], self._ae[i])

    def via(self, i: int) -> Edge | None:
        """The first edge of the strongest path of node i; None for the output."""
        via = self._via[i]
        if via is None:
            return None
        j, position = via
        partial = self.nodes[j].arguments[position][1]
        assert partial is not None
        return Edge(self.nodes[i], self.nodes[j], position, partial)

    def share(self, edge: Edge) -> float:
        """p = |d| A(node) / A(input): what of the input's path mass goes along this edge."""
        i, j = self.index[edge.input], self.index[edge.node]
        m, e = times(abs(edge.partial), self._am[j], self._ae[j])
        return float(Wide(m / self._am[i], e - self._ae[i]))

    def factors(self, edge: Edge) -> Factors:
        """What an edge's factor is made of, by kind; its partial is not 0."""
        log = math.log(abs(edge.partial))
        return self._factors(edge.node, edge.position, log, edge.node.arguments)

    # --- the pass -----------------------------------------------------------------------------

    def _settle(self, j: int) -> None:
        """All consumers of node j have been passed: its sums become means."""
        m = self._am[j]
        if m and m != 1.0:
            # Σ p (H - ln p) with p = share / m, kept as Σ share · (H - ln share)
            self.entropy[j] = self.entropy[j] / m + log(m)
            self.budget[j] = {kind: x / m for kind, x in self.budget[j].items()}
        if not SMALL < m < LARGE:
            self._rescale(j)
        if self.entropy[j] < 1e-13:
            self.entropy[j] = 0.0  # one path, but for rounding
        up = self.up[j]
        depth, skip = self._depth, self._skip
        depth[j] = depth[up] + 1
        over = skip[up]  # one far ancestor of each, so that any is found in log n (Myers 1983)
        even = depth[up] - depth[over] == depth[over] - depth[skip[over]]
        skip[j] = skip[over] if even else up

    def _rescale(self, j: int) -> None:
        """Bring the mantissas back to between 1/2 and 1; the gradient's is never the larger."""
        for mantissas, exponents in ((self._gm, self._ge), (self._am, self._ae)):
            if mantissas[j] and math.isfinite(mantissas[j]):
                mantissas[j], shift = math.frexp(mantissas[j])
                exponents[j] += shift

    def _hand_on(self, j: int, node: Value) -> None:
        """Add what goes through node j to the sums of its inputs."""
        arguments = node.arguments
        g, gm, ge, mass = self.g[j], self._gm[j], self._ge[j], self._am[j]
        gates, rounds, strength = self.gates, self.rounds[j] + 1, self._strength
        for position, (u, d) in enumerate(arguments):
            if d is None:
                continue
            i = self.index[u]
            self.g[i] += d * g
            product = d * gm
            if ge == self._ge[i] and SMALL < abs(product) < LARGE:
                self._gm[i] += product
            else:
                total = plus(self.wide(i), times(d, gm, ge))
                self._gm[i], self._ge[i] = total
            self.rounds[i] = rounds if rounds > self.rounds[i] else self.rounds[i] + 1
            self.up[i] = j if self.up[i] < 0 else self._common(self.up[i], j)
            closed = gates[j] + (d == 0)
            if closed < gates[i]:
                gates[i] = closed
                if strength[i] == -inf:
                    self._via[i] = (j, position)
            if d and mass:
                size = abs(d)
                ln = log(size)
                if ln + strength[j] > strength[i]:
                    strength[i] = ln + strength[j]
                    self._via[i] = (j, position)
                factors = self._factors(node, position, ln, arguments) if ln else []
                self._mix(i, j, size, factors)

    def _mix(self, i: int, j: int, size: float, factors: Factors) -> None:
        """Add the paths through one edge, of this size, to the mass, entropy and budget of i."""
        m, e = size * self._am[j], self._ae[j]
        if not SMALL < m < LARGE:
            m, e = times(size, self._am[j], e)
        budget = self.budget[i]
        if e != self._ae[i]:
            if not self._am[i]:
                self._ae[i] = e
            elif e > self._ae[i]:
                up = e - self._ae[i]
                shrink = math.ldexp(1.0, -up)
                self.entropy[i] = shrink * (self.entropy[i] + up * LN2 * self._am[i])
                self.budget[i] = budget = {kind: shrink * x for kind, x in budget.items()}
                self._am[i] *= shrink
                self._ae[i] = e
            else:
                m = math.ldexp(m, e - self._ae[i])
                if not m:
                    return  # beside the others it is nothing
        self._am[i] += m
        self.entropy[i] += m * (self.entropy[j] - log(m))
        for kind, x in self.budget[j].items():
            budget[kind] = budget.get(kind, 0.0) + m * x
        for kind, x in factors:
            budget[kind] = budget.get(kind, 0.0) + m * x

    def _common(self, a: int, b: int) -> int:
        """The nearest node that every path from either goes through."""
        up, depth, skip = self.up, self._depth, self._skip
        if depth[a] < depth[b]:
            a, b = b, a
        while depth[a] > depth[b]:
            a = skip[a] if depth[skip[a]] >= depth[b] else up[a]
        while a != b:
            a, b = (skip[a], skip[b]) if skip[a] != skip[b] else (up[a], up[b])
        return a

    def _factors(self, node: Value, position: int, ln: float, arguments: Any) -> Factors:
        rule: Any = node.rule
        if not ln:
            return []
        if node in self.loss:
            return [("loss", ln)]
        if rule.kind == "product":
            return [(self.what(partner(arguments, position)), ln)]
        if rule.kind == "saturating" and rule.ceiling < 1.0:
            peak = log(rule.ceiling)
            return [("sigmoid ceiling", peak), ("saturation", ln - peak)]
        return [(OTHER_FACTORS[rule.kind], ln)]

    def what(self, factor: Any) -> str:
        """What the other operand of a product is."""
        if not isinstance(factor, Value):
            return "constants"
        if factor.rule is not None:
            return "activations"
        if self.parameters is None:
            return "weights" if names_parameter(factor.label) else "inputs"
        return "weights" if factor in self.parameters else "inputs"


class Repair(NamedTuple):
    """What the gradient would be if one local derivative were 1 and all others as they are."""

    edge: Edge
    wide: Wide

    @property
    def gradient(self) -> float:
        """As a float, which may underflow."""
        return float(self.wide)


class Forward:
    """The other half of every path: sums from one node u towards the output.

    to(a) is ∂a/∂u, and size(a) the same sum of sizes; an edge's share of the paths through it is
    φ = size(a) |d| A_b / A_u.
    """

    def __init__(self, paths: Paths, node: Value) -> None:
        self.paths = paths
        i = paths.index[node]
        self.g, self.mass, self.rounds = paths.wide(i), paths.mass(i), paths.rounds[i]
        self.edges: list[Edge] = []  # all that lead on from u, up to where nothing gets through
        self.to: dict[Value, Wide] = {node: Wide(1.0, 0)}
        self.size: dict[Value, Wide] = {node: Wide(1.0, 0)}
        for consumer in reversed(paths.nodes[:i]):
            if self.size.keys().isdisjoint(consumer.inputs):
                continue
            for edge in consumer.edges:
                if edge.input in self.size:
                    self.edges.append(edge)
                    if edge.partial:
                        self._add(self.to, edge.partial, edge.input, consumer)
                        self._add(self.size, abs(edge.partial), edge.input, consumer)

    def _add(self, sums: dict[Value, Wide], d: float, node: Value, consumer: Value) -> None:
        """sums[consumer] += d · sums[node]"""
        moved = times(d, *sums[node])
        sums[consumer] = plus(sums[consumer], moved) if consumer in sums else moved

    def share(self, edge: Edge) -> float:
        """φ: how much of the path mass from u goes along this edge, from 0 to 1."""
        size, end = self.size[edge.input], self.paths.mass(self.paths.index[edge.node])
        part = times(abs(edge.partial), *product(size, end))
        return float(quotient(part, self.mass))

    def repaired(self, edge: Edge) -> Wide:
        """∂output/∂u if this edge's local derivative were 1 and every other as it is."""
        end = self.paths.wide(self.paths.index[edge.node])
        return plus(self.g, times(1.0 - edge.partial, *product(self.to[edge.input], end)))

    def repairs(self, edges: Iterable[Edge], largest_first: bool = True) -> list[Repair]:
        """Every edge whose factor is not 1, with the gradient that 1 would give; ranked."""
        found = [Repair(edge, self.repaired(edge)) for edge in edges if edge.partial != 1]
        return sorted(found, key=lambda repair: repair.wide.decades, reverse=largest_first)

    def opposed(self) -> list[Edge]:
        """The edges out of the node where most of the path mass cancels, largest first.

        What cancels at v is size(v) (Σ |d g_b| - |g_v|); over all v that adds up to A_u - |g_u|.
        """
        branches: dict[Value, list[tuple[Wide, Edge]]] = {}
        for edge in self.edges:
            part = times(edge.partial, *self.paths.wide(self.paths.index[edge.node]))
            if part.mantissa:
                branches.setdefault(edge.input, []).append((part, edge))

        def cancelled(node: Value) -> float:
            zero = Wide(0.0, 0)
            whole, left = zero, zero
            for (m, e), _ in branches[node]:
                whole, left = plus(whole, Wide(abs(m), e)), plus(left, Wide(m, e))
            lost = plus(whole, Wide(-abs(left.mantissa), left.exponent))
            return product(self.size[node], lost).decades if lost.mantissa > 0 else -inf

        worst = max(branches, key=cancelled)
        return [e for _, e in sorted(branches[worst], key=lambda pair: -pair[0].decades)]

    def exact(self) -> Fraction:
        """The gradient as the sum over paths is, without any rounding."""
        from fractions import Fraction  # seldom needed, and slow to load

        to = {edge.node: Fraction(0) for edge in self.edges}
        to[self.edges[0].input] = Fraction(1)
        for edge in self.edges:
            to[edge.node] += to[edge.input] * Fraction(edge.partial)
        return to.get(self.paths.nodes[0], Fraction(0))


def partner(arguments: Any, position: int) -> Any:
    """The operand that this one is multiplied with: of the first half, that in the second."""
    half = len(arguments) // 2
    return arguments[(position + half) % (2 * half)][0] if position < 2 * half else None


def loss_part(nodes: list[Value]) -> set[Value]:
    """The nodes between the output and the layers: those that no layer comes after.

    None where no node is labelled as part of a layer.
    """
    placed = {node for node in nodes if node.rule is not None and place(node.label)[0]}
    if not placed or nodes[0] in placed:
        return set()
    part = {nodes[0]}
    for node in nodes:
        if node in part:
            part.update(x for x in node.inputs if x.rule is not None and x not in placed)
    return part
