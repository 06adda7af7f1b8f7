"""Sums over all paths from every node to the output, in one pass and without underflow.

A path from a node to the output is worth the product of its local derivatives d. The sum of these
products is the gradient, g = Σ Π d; the sum of their sizes is the path mass, A = Σ Π |d|. The
weights of the paths in that mass, π = Π |d| / A, are a probability distribution, which has an
entropy and over which each kind of factor has a mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from math import inf, isfinite, log
from typing import Any, NamedTuple

from microgradx._base.text import names_parameter, place
from microgradx.engine import Edge, Value, order, positions
from microgradx.explain.extended import LARGE, SMALL, Extended, plus, quotient, times

# The kinds of factor, to be blamed or thanked.
KINDS = (
    "weights", "inputs", "activations", "constants", "sigmoid ceiling", "saturation", "gates",
    "singular op", "loss",
)  # fmt: skip
OTHER_FACTORS = {
    "saturating": "saturation", "gate": "gates", "singular": "singular op", "linear": "constants",
}  # fmt: skip
LN2, LN10 = log(2.0), log(10.0)

Budget = dict[str, float]  # ln by kind of factor
Factor = tuple[str, float]  # its kind, and the ln of its ceiling where that is below 1, else 0
PLAIN: dict[str, Factor] = {kind: (kind, 0.0) for kind in KINDS}
WEIGHT, INPUT, NUMBER = PLAIN["weights"], PLAIN["inputs"], PLAIN["constants"]


class NodeFlow(NamedTuple):
    """The flow through one node, all of it about ∂output/∂node.

    g:        the gradient, summed in the order of the sweep
    wide:     the same, which neither underflows nor overflows
    mass:     A, the sum of the sizes of all paths; 0 if every path holds a zero factor
    kappa:    A / |g|, how much the paths cancel; 1 if all agree, inf if nothing is left
    entropy:  H in nats; e^H is how many paths share the work
    budget:   decades by kind of factor, and "fan-out" and "cancellation": together they are
              log₁₀|g|. Empty where g is 0 or not finite
    gates:    how many zero factors there are on the path with the fewest
    strongest: the node's edge on its strongest path, None for the output
    choke_point: the nearest node that every path goes through, None for the output
    error:    how far rounding at most has put g off, γA
    """

    g: float
    wide: Extended
    mass: Extended
    kappa: float
    entropy: float
    budget: dict[str, float]
    gates: int
    strongest: Edge | None
    choke_point: Value | None
    error: float

    @property
    def decades(self) -> float:
        """log₁₀|g|, also where g underflows as a float."""
        return self.wide.decades


class Paths:
    """The path sums of every node behind `output`; node i of `nodes` has index i everywhere.

    nodes, index: the nodes in the order of the sweep, and where each stands in it
    tails, heads, partials: of every edge its two ends and its d; those of node j, in the order of
             its arguments, are first[j] up to first[j + 1]. edge(e) is edge e as an `Edge`
    g:       the gradient as the sweep's float;  wide(i), wide_m and wide_e: as m · 2^e
    mass(i), mass_m and mass_e: A as m · 2^e
    entropy: H in nats;  budget: the mean ln|d| by kind of factor, where there is any
    gates:   how many zero factors there are on the path with the fewest
    strongest_edge: the node's edge on its strongest path; in a dead end, on that with the fewest
             gates; -1 for the output
    choke_point: the nearest node that every path goes through (immediate post-dominator), -1 for
             none
    roundings: how many roundings at most have gone into g

    parameters: the leaves whose factors are weights; None: those that are labelled as such
    """

    def __init__(self, output: Value, parameters: Iterable[Value] | None = None) -> None:
        self.nodes = order(output)
        self.index = {node: i for i, node in enumerate(self.nodes)}
        self.parameters = None if parameters is None else set(parameters)
        self.loss = loss_part(self.nodes)
        n = len(self.nodes)
        self._latest: tuple[int, Sequence[int]] = -1, ()
        self.tails: list[int] = []
        self.heads: list[int] = []
        self.partials: list[float] = []
        self.first = [0] * (n + 1)
        self.g = [0.0] * n
        self.wide_m, self.wide_e = [0.0] * n, [0] * n  # g, and below A, as m · 2^e
        self.mass_m, self.mass_e = [0.0] * n, [0] * n
        self.entropy = [0.0] * n
        self.budget: list[Budget] = [{} for _ in range(n)]
        self._mixed = bytearray(n)  # where entropy and budget are sums still, not means
        self.gates = [n + 1] * n
        self.strongest_edge = [-1] * n
        self.choke_point = [-1] * n
        self.roundings = [0] * n
        self._strength = [-inf] * n  # ln of the strongest path
        self._depth, self._skip = [0] * n, [0] * n
        self._whats = [PLAIN[self.what(x)] for x in self.nodes] + [NUMBER]
        self.g[0] = self.wide_m[0] = self.mass_m[0] = 1.0
        self.gates[0], self._strength[0] = 0, 0.0
        for j, node in enumerate(self.nodes):
            if j:
                self._settle(j)
            self._hand_on(j, node)
            self.first[j + 1] = len(self.tails)

    def wide(self, i: int) -> Extended:
        """The gradient of node i, which neither underflows nor overflows."""
        return Extended(self.wide_m[i], self.wide_e[i])

    def mass(self, i: int) -> Extended:
        """The path mass of node i."""
        return Extended(self.mass_m[i], self.mass_e[i])

    def edge(self, e: int) -> Edge:
        """Edge e as the rest of the house knows it."""
        j = self.heads[e]
        if self._latest[0] != j:
            self._latest = j, positions(self.nodes[j])  # its neighbours are often asked for next
        position = self._latest[1][e - self.first[j]]
        return Edge(self.nodes[self.tails[e]], self.nodes[j], position, self.partials[e])

    def flow(self, node: Value) -> NodeFlow:
        """All that flows through a node behind the output."""
        i = self.index[node]
        wide, mass = self.wide(i), self.mass(i)
        choke_point, strongest_edge = self.choke_point[i], self.strongest_edge[i]
        whole = wide.mantissa != 0 and isfinite(wide.mantissa) and isfinite(mass.mantissa)
        return NodeFlow(
            g=self.g[i],
            wide=wide,
            mass=mass,
            kappa=max(1.0, float(quotient(mass, wide))) if whole else inf,
            entropy=self.entropy[i],
            budget=self._decades(i) if whole else {},
            gates=self.gates[i],
            strongest=None if strongest_edge < 0 else self.edge(strongest_edge),
            choke_point=None if choke_point < 0 else self.nodes[choke_point],
            error=self.roundings[i] * 2.0**-53 * float(mass),
        )

    def _decades(self, i: int) -> dict[str, float]:
        """The decades of g by kind of factor, with fan-out and cancellation."""
        terms = {kind: x / LN10 for kind, x in self.budget[i].items()}
        if self.entropy[i]:
            terms["fan-out"] = self.entropy[i] / LN10
        lost = self.wide(i).decades - self.mass(i).decades
        if lost < 0:
            terms["cancellation"] = lost
        return terms

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

    def before_the_loss(self, edges: Iterable[int]) -> list[int]:
        """Those of these edges that lie before the loss."""
        return [e for e in edges if self.nodes[self.heads[e]] not in self.loss]

    def kind(self, edge: Edge) -> str:
        """The kind of an edge's factor, one with a ceiling apart."""
        return self._factor(edge)[0]

    def factors(self, edge: Edge) -> Budget:
        """The parts of an edge's factor: ln by kind, adding up to ln|d|; d is not 0."""
        factor = self._factor(edge)
        ln = log(abs(edge.partial))
        return _with({}, factor, ln) if ln else {}

    # --- the pass -----------------------------------------------------------------------------

    def _settle(self, j: int) -> None:
        """All consumers of node j have been passed: its sums become means."""
        m = self.mass_m[j]
        if self._mixed[j]:
            # Σ p (H - ln p) with p = share / m, kept as Σ share · (H - ln share)
            self.entropy[j] = self.entropy[j] / m + log(m)
            self.budget[j] = {kind: x / m for kind, x in self.budget[j].items()}
            if self.entropy[j] < 1e-13:
                self.entropy[j] = 0.0  # one path, but for rounding
        size = abs(self.wide_m[j])
        if not (SMALL < m < LARGE and (size > SMALL or not size)):
            self._rescale(j)
        choke_point = self.choke_point[j]
        depth, skip = self._depth, self._skip
        depth[j] = depth[choke_point] + 1
        over = skip[choke_point]  # a far ancestor of each finds any in log n (Myers 1983)
        even = depth[choke_point] - depth[over] == depth[over] - depth[skip[over]]
        skip[j] = skip[over] if even else choke_point

    def _rescale(self, j: int) -> None:
        """Bring the mantissas back to between 1/2 and 1."""
        for mantissas, exponents in ((self.wide_m, self.wide_e), (self.mass_m, self.mass_e)):
            if mantissas[j] and math.isfinite(mantissas[j]):
                mantissas[j], shift = math.frexp(mantissas[j])
                exponents[j] += shift

    def _hand_on(self, j: int, node: Value) -> None:
        """Add what goes through node j to the sums of its inputs. Nothing runs more often."""
        inputs = node.inputs
        if not inputs:
            return
        index, heads, tails, partials = self.index, self.heads, self.tails, self.partials
        choke_point, strongest_edge = self.choke_point, self.strongest_edge
        gates, roundings, strength = self.gates, self.roundings, self._strength
        g, wide_m, wide_e, mass_m, mass_e = (
            self.g, self.wide_m, self.wide_e, self.mass_m, self.mass_e
        )  # fmt: skip
        adjoint, adjoint_m, adjoint_e = g[j], wide_m[j], wide_e[j]
        mass, exponent = mass_m[j], mass_e[j]
        above = (j, choke_point[j], choke_point[choke_point[j]]) if j else (0,)
        so_far, open_gates, rounded = strength[j], gates[j], roundings[j] + 1
        for u, d, factor in zip(inputs, node.partials, self._factors(node, len(inputs))):
            i, e = index[u], len(tails)
            tails.append(i)
            heads.append(j)
            partials.append(d)
            g[i] += d * adjoint
            part = d * adjoint_m
            closed = open_gates if d else open_gates + 1
            first = choke_point[i] < 0  # the first edge out of u, and often the only one
            if first:
                choke_point[i] = j
                strongest_edge[i] = e
                roundings[i] = rounded
                gates[i] = closed
                wide_m[i], wide_e[i] = part, adjoint_e
                if not SMALL < abs(part) < LARGE:
                    wide_m[i], wide_e[i] = times(d, adjoint_m, adjoint_e)
            else:
                if choke_point[i] not in above:  # which all paths of both go through
                    choke_point[i] = self._common(choke_point[i], j)
                roundings[i] = rounded if rounded > roundings[i] else roundings[i] + 1
                if closed < gates[i]:
                    gates[i] = closed
                    if strength[i] == -inf:
                        strongest_edge[i] = e
                if adjoint_e == wide_e[i] and SMALL < abs(part) < LARGE:
                    wide_m[i] += part
                elif d and adjoint_m:
                    wide_m[i], wide_e[i] = plus(self.wide(i), times(d, adjoint_m, adjoint_e))
            if not (d and mass):
                continue
            size = abs(d)
            ln = log(size) if size != 1.0 else 0.0
            if so_far + ln > strength[i]:
                strength[i] = so_far + ln
                strongest_edge[i] = e
            if mass_m[i]:
                self._mix(i, j, size, factor, ln)
                continue
            share = mass_m[i] = size * mass
            mass_e[i] = exponent
            if not SMALL < share < LARGE:
                mass_m[i], mass_e[i] = times(size, mass, exponent)
            self.entropy[i] = self.entropy[j]
            self.budget[i] = _with(self.budget[j], factor, ln) if ln else self.budget[j]

    def _mix(self, i: int, j: int, size: float, factor: Factor, ln: float) -> None:
        """Add the paths through one more edge, of this size, to the mass, entropy and budget."""
        m, e, mass = size * self.mass_m[j], self.mass_e[j], self.mass_m[i]
        if not SMALL < m < LARGE:
            m, e = times(size, self.mass_m[j], e)
        budget = self.budget[i]
        if not self._mixed[i]:
            self._mixed[i] = 1
            self.entropy[i] = mass * (self.entropy[i] - log(mass))
            self.budget[i] = budget = {kind: mass * x for kind, x in budget.items()}
        if e > self.mass_e[i]:
            higher = e - self.mass_e[i]
            shrink = math.ldexp(1.0, -higher)
            self.entropy[i] = shrink * (self.entropy[i] + higher * LN2 * mass)
            self.budget[i] = budget = {kind: shrink * x for kind, x in budget.items()}
            self.mass_m[i] *= shrink
            self.mass_e[i] = e
        elif e < self.mass_e[i]:
            m = math.ldexp(m, e - self.mass_e[i])
            if not m:
                return  # beside the others it is nothing
        self.mass_m[i] += m
        self.entropy[i] += m * (self.entropy[j] - log(m))
        for kind, x in self.budget[j].items():
            budget[kind] = budget.get(kind, 0.0) + m * x
        if ln:
            for kind, x in _parts(factor, ln):
                budget[kind] = budget.get(kind, 0.0) + m * x

    def _common(self, a: int, b: int) -> int:
        """The nearest node that every path from either goes through."""
        choke_point, depth, skip = self.choke_point, self._depth, self._skip
        low, high = depth[a], depth[b]
        while low > high:
            over = skip[a]
            a = over if depth[over] >= high else choke_point[a]
            low = depth[a]
        while high > low:
            over = skip[b]
            b = over if depth[over] >= low else choke_point[b]
            high = depth[b]
        while a != b:
            if choke_point[a] == choke_point[b]:
                return choke_point[a]
            a, b = (skip[a], skip[b]) if skip[a] != skip[b] else (choke_point[a], choke_point[b])
        return a

    # --- kinds of factor ------------------------------------------------------------------------

    def _factor(self, edge: Edge) -> Factor:
        edges = edge.node.edges
        return self._factors(edge.node, len(edges))[edges.index(edge)]

    def _factors(self, node: Value, count: int) -> list[Factor]:
        """For each of the node's inputs, so many, what kind of factor its partial is."""
        rule: Any = node.rule
        if node in self.loss:
            return [PLAIN["loss"]] * count
        if rule.kind != "product":
            peak = rule.kind == "saturating" and rule.ceiling < 1.0
            factor = ("saturation", log(rule.ceiling)) if peak else PLAIN[OTHER_FACTORS[rule.kind]]
            return [factor] * count
        get, whats = self.index.get, self._whats
        first, second, *rest = node.operands
        if not rule.lists:
            if count == 2 and not rest:
                return [whats[get(second, -1)], whats[get(first, -1)]]
            first, second = (first,), (second,)
        one = [whats[get(x, -1)] for x in first]
        other = [whats[get(x, -1)] for x in second]
        of, factors = one + other, other + one  # each is multiplied with its partner
        if NUMBER in factors:  # which is an input, if it is a weight's
            pairs = zip(of, factors)
            factors = [INPUT if y is NUMBER and x is WEIGHT else y for x, y in pairs]
        factors += [NUMBER] * len(rest)
        if len(factors) == count:
            return factors
        flat = (*first, *second, *rest)
        return [factor for x, factor in zip(flat, factors) if isinstance(x, Value)]

    def what(self, factor: Any) -> str:
        """The kind of the other operand of a product."""
        if not isinstance(factor, Value):
            return "constants"
        if factor.rule is not None:
            return "activations"
        if self.parameters is None:
            return "weights" if names_parameter(factor.label) else "inputs"
        return "weights" if factor in self.parameters else "inputs"


def partner(node: Value, position: int) -> Any:
    """The operand that this one is multiplied with: of the first operand, it is in the second."""
    first, second = node.operands[:2]
    if not isinstance(first, tuple):
        return (second, first)[position]
    both = (*second, *first)
    return both[position] if position < len(both) else None


def loss_part(nodes: list[Value]) -> set[Value]:
    """The nodes between the output and the layers: those that no layer comes after.

    None where no node is labelled as part of a layer.
    """
    placed = {node for node in nodes if node.rule is not None and place(node.label)[0]}
    if not placed or nodes[0] in placed:
        return set()
    behind: set[Value] = set()
    for node in nodes:
        if node in placed or node in behind:
            behind.update(node.inputs)
    return {x for x in nodes if x.rule is not None and x not in placed and x not in behind}


def _parts(factor: Factor, ln: float) -> list[tuple[str, float]]:
    """ln|d| by kind: what lies in the ceiling, and what lies below it."""
    kind, peak = factor
    return [("sigmoid ceiling", peak), (kind, ln - peak)] if peak else [(kind, ln)]


def _with(budget: Budget, factor: Factor, ln: float) -> Budget:
    """The budget of the paths that go through one more factor."""
    return {**budget, **{kind: budget.get(kind, 0.0) + x for kind, x in _parts(factor, ln)}}
