"""Why a gradient is what it is: the verdict, the place, and the factors that make the number.

`Flow(output)` knows, of every node, what its gradient is the sum and the product of; `why` puts
that into words for one node. Nothing here trusts `.grad`: it is worked out anew, and compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from math import inf, isfinite
from typing import NamedTuple

from microgradx.causes import cause_of_zero, indefinite, name_of, origins, provenance
from microgradx.engine import Edge, Value, with_cut_off
from microgradx.paths import Paths, Wide, plus, product, quotient, times
from microgradx.places import place

LN10 = math.log(10.0)
CANCELS = 1000.0  # κ from which a gradient counts as cancelled
SMALL, LARGE = 3.0, 2.0  # decades below and above the output layer's gradients
STALE = 1e-9  # relative difference from which .grad is not the gradient

SMALL_BECAUSE = {
    "sigmoid ceiling": "sigmoid chain", "weights": "small weights", "inputs": "small inputs",
    "activations": "small activations", "constants": "small constants",
    "loss": "loss near its optimum",
}  # fmt: skip
LARGE_BECAUSE = {"weights": "weight product", "loss": "loss scale"}


class NodeFlow(NamedTuple):
    """What flows through one node, all of it about ∂output/∂node.

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
    wide: Wide
    mass: Wide
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


class Repair(NamedTuple):
    """What the gradient would be if one local derivative were 1 and all others as they are."""

    edge: Edge
    gradient: float


class Flow:
    """The flow of the gradient of `output` to every node behind it, in one pass over the graph.

    `flow[node]` is a `NodeFlow`, `node in flow` whether there is one, `flow.why(node)` an
    `Explanation`. The grads that backward() has left are not used and not changed.

    parameters: the leaves whose factors are weights; None: those with a parameter's label, such
                as `layers.0.weight[2,1]`, `w1` or `b`

    A TypeError if `output` is no Value; `flow[node]` of another graph's node is a KeyError.
    """

    def __init__(self, output: Value, parameters: Iterable[Value] | None = None) -> None:
        if not isinstance(output, Value):
            raise TypeError(f"Flow takes the Value at the end of a graph, got {output!r:.60}")
        self.output = output
        self.paths = Paths(output, parameters)
        self.reference = self._reference()

    def __contains__(self, node: Value) -> bool:
        return node in self.paths.index

    def __len__(self) -> int:
        return len(self.paths.nodes)

    def __getitem__(self, node: Value) -> NodeFlow:
        if node not in self:
            raise KeyError(f"{node!r} is not in the graph of {name_of(self.output)}")
        paths, i = self.paths, self.paths.index[node]
        wide, mass, up = paths.wide(i), paths.mass(i), paths.up[i]
        whole = wide.mantissa != 0 and isfinite(wide.mantissa) and isfinite(mass.mantissa)
        return NodeFlow(
            g=paths.g[i],
            wide=wide,
            mass=mass,
            kappa=max(1.0, float(quotient(mass, wide))) if whole else inf,
            entropy=paths.entropy[i],
            budget=self._budget(i) if whole else {},
            gates=paths.gates[i],
            strongest=paths.via(i),
            choke_point=None if up < 0 else paths.nodes[up],
            error=paths.rounds[i] * 2.0**-53 * float(mass),
        )

    def why(self, node: Value) -> Explanation:
        """Why ∂output/∂node is what it is."""
        return why(node, self)

    def path(self, node: Value) -> list[Edge]:
        """The strongest path from `node` to the output, edge by edge."""
        found: list[Edge] = []
        edge = self.paths.via(self.paths.index[node])
        while edge is not None:
            found.append(edge)
            edge = self.paths.via(self.paths.index[edge.node])
        return found

    def _budget(self, i: int) -> dict[str, float]:
        paths = self.paths
        terms = {kind: x / LN10 for kind, x in paths.budget[i].items()}
        if paths.entropy[i]:
            terms["fan-out"] = paths.entropy[i] / LN10
        lost = paths.wide(i).decades - paths.mass(i).decades
        if lost < 0:
            terms["cancellation"] = lost
        return terms

    def _reference(self) -> float:
        """The median decades of the gradients at the layer closest to the output, else 0."""
        nodes = self.paths.nodes
        last = next((place(x.label)[0] for x in nodes if x.rule and place(x.label)[0]), "")
        decades = sorted(
            self.paths.wide(i).decades
            for i, x in enumerate(nodes)
            if last and x.rule and place(x.label)[0] == last and self.paths.wide(i).mantissa
        )
        return decades[len(decades) // 2] if decades else 0.0


class Forward:
    """The other half of every path: sums from one node u towards the output.

    to(a) is ∂a/∂u, and size(a) the same sum of sizes; an edge's share of the paths through it is
    φ = size(a) |d| A_b / A_u.
    """

    def __init__(self, paths: Paths, node: Value) -> None:
        self.paths = paths
        i = paths.index[node]
        self.g, self.mass = paths.wide(i), paths.mass(i)
        self.edges: list[Edge] = []  # all that lead on from u, up to where nothing gets through
        self.to: dict[Value, Wide] = {node: Wide(1.0, 0)}
        self.size: dict[Value, Wide] = {node: Wide(1.0, 0)}
        zero = Wide(0.0, 0)
        for consumer in reversed(paths.nodes[:i]):
            for edge in consumer.edges:
                if edge.input in self.size:
                    self.edges.append(edge)
                    if edge.partial:
                        to, size = self.to[edge.input], self.size[edge.input]
                        moved = times(edge.partial, *to)
                        self.to[consumer] = plus(self.to.get(consumer, zero), moved)
                        moved = times(abs(edge.partial), *size)
                        self.size[consumer] = plus(self.size.get(consumer, zero), moved)

    def share(self, edge: Edge) -> float:
        """φ: how much of the path mass from u goes along this edge, from 0 to 1."""
        size, end = self.size[edge.input], self.paths.mass(self.paths.index[edge.node])
        part = times(abs(edge.partial), *product(size, end))
        return float(quotient(part, self.mass))

    def repaired(self, edge: Edge) -> float:
        """∂output/∂u if this edge's local derivative were 1 and every other as it is."""
        end = self.paths.wide(self.paths.index[edge.node])
        added = times(1.0 - edge.partial, *product(self.to[edge.input], end))
        return float(plus(self.g, added))


class Explanation:
    """Why one gradient is what it is; print it.

    node, output: of what by what
    flow:      the node's `NodeFlow`, None where no path leads from it to the output
    verdict:   in a word or two: "not run", "stale", "not finite", "disconnected", "detached",
               "stopped", "underflowed", "cancelled", "small", "large" or "healthy"
    causes:    what it is due to, largest first
    where:     the edges where the gradient stops, or is lost
    culprits:  the edges that alone are to blame: to open one is to bring the gradient back, or it
               holds half of the attenuation
    budget:    decades by kind, adding up to log₁₀|g|
    path:      the strongest path, as (edge, product so far from the output)
    choke_points: the nodes that every path goes through, nearest first
    repairs:   edges by the gradient there would be if their local derivative were 1
    because:   how the zero came about, or what is not finite, in sentences
    """

    def __init__(self, flow: Flow, node: Value) -> None:
        self.node, self.output = node, flow.output
        self.flow: NodeFlow | None = flow[node] if node in flow else None
        self.verdict = ""
        self.causes: list[str] = []
        self.where: list[Edge] = []
        self.culprits: list[Edge] = []
        self.path: list[tuple[Edge, Wide]] = []
        self.choke_points: list[Value] = []
        self.repairs: list[Repair] = []
        self.because: list[str] = []
        self.reference = flow.reference
        if self.flow is None:
            self._unconnected()
            return
        self._trace(flow)
        for check in (self._not_finite, self._stopped, self._lost, self._cancelled, self._sized):
            if check(flow):
                break
        self._compare_grad(flow)

    @property
    def budget(self) -> dict[str, float]:
        """Decades by kind of factor, with fan-out and cancellation; they add up to log₁₀|g|."""
        return self.flow.budget if self.flow else {}

    # --- verdicts, the first that holds ---------------------------------------------------------

    def _unconnected(self) -> None:
        behind = self.node in set(with_cut_off(self.output))
        self.verdict = "detached" if behind else "disconnected"
        self.causes = [self.verdict]
        if behind:
            self.because = ["every path to the output runs through a detach()"]
        else:
            self.because = [f"{name_of(self.output)} was not computed from it"]

    def _trace(self, flow: Flow) -> None:
        """The strongest path with its running product, the choke points, and the repairs."""
        edges = flow.path(self.node)
        so_far = Wide(1.0, 0)
        for edge in reversed(edges):
            so_far = times(edge.partial, *so_far)
            self.path.append((edge, so_far))
        paths = flow.paths
        up = paths.up[paths.index[self.node]]
        while up > 0:
            self.choke_points.append(paths.nodes[up])
            up = paths.up[up]
        self._forward = Forward(paths, self.node)

    def _not_finite(self, flow: Flow) -> bool:
        assert self.flow is not None
        if isfinite(self.flow.g) and isfinite(self.flow.wide.mantissa):
            return False
        self.verdict = "not finite"
        nodes = flow.paths.nodes
        g = dict(zip(nodes, flow.paths.g))
        self.because = origins(nodes) + indefinite(nodes, g)
        if isfinite(self.flow.wide.mantissa):
            self.because.append(
                f"every factor is finite, their product is 10^{self.flow.decades:.1f}: too large "
                "for a float"
            )
            self.causes = ["overflow"]
        else:
            self.causes = self.because[:]
        return True

    def _stopped(self, flow: Flow) -> bool:
        """A = 0: the cut is where the first zero of every path lies."""
        assert self.flow is not None
        if self.flow.mass.mantissa:
            return False
        self.verdict = "stopped"
        paths = flow.paths
        self.where = [edge for edge in self._forward.edges if edge.partial == 0]
        self.culprits = [e for e in self.where if paths.mass(paths.index[e.node]).mantissa]
        blamed = self.culprits or [edge for edge, _ in self.path if edge.partial == 0]
        if not self.culprits:
            self.culprits = blamed
            self.because.append(f"{len(blamed)} gates stand in series on the path with the fewest")
        self.causes = _ranked([cause_of_zero(edge, paths.loss) for edge in self.where])
        self.because += list(dict.fromkeys(step for e in blamed for step in provenance(e)))
        self.repairs = [Repair(edge, self._forward.repaired(edge)) for edge in self.where]
        self.repairs.sort(key=lambda repair: -abs(repair.gradient))
        return True

    def _lost(self, flow: Flow) -> bool:
        assert self.flow is not None
        if self.flow.g != 0 or not self.flow.wide.mantissa:
            return False
        self.verdict = "underflowed"
        self._blame(flow, shrinking=True)
        self.because = [f"as a float it is 0; it is really 10^{self.flow.decades:.1f}"]
        return True

    def _cancelled(self, flow: Flow) -> bool:
        assert self.flow is not None
        within = abs(float(self.flow.wide)) <= self.flow.error
        if self.flow.wide.mantissa and self.flow.kappa < CANCELS and not within:
            return False
        self.verdict = "cancelled"
        self.causes = ["opposing paths"]
        signed = [
            (self._forward.share(edge), edge)
            for edge in self._forward.edges
            if edge.input is self.node and edge.partial
        ]
        self.where = [edge for _, edge in sorted(signed, key=lambda pair: -pair[0])]
        self.because = [
            f"the paths add up to {float(self.flow.mass):.3g} in size and cancel to "
            f"{self.flow.g:.3g}"
        ]
        if within:
            self.because.append(f"less than rounding may have put it off, {self.flow.error:.1g}")
        return True

    def _sized(self, flow: Flow) -> bool:
        """Small or large beside the output layer's gradients, and named by what made it so."""
        assert self.flow is not None
        beside = self.flow.decades - self.reference
        if -SMALL <= beside <= LARGE:
            self.verdict = "healthy"
            self._rank_repairs(largest_first=True)
        else:
            self.verdict = "small" if beside < 0 else "large"
            self._blame(flow, shrinking=beside < 0)
        return True

    def _blame(self, flow: Flow, shrinking: bool) -> None:
        """Name the kinds of factor, and the edges, that made the gradient small or large."""
        assert self.flow is not None
        sign = -1.0 if shrinking else 1.0
        terms = sorted(self.flow.budget.items(), key=lambda term: -sign * term[1])
        names = SMALL_BECAUSE if shrinking else LARGE_BECAUSE
        self.causes = [names.get(kind, kind) for kind, x in terms if sign * x > 0.3]
        credits = [
            (sign * self._forward.share(edge) * math.log10(abs(edge.partial)), edge)
            for edge in self._forward.edges
            if edge.partial
        ]
        blamed = sorted((x for x in credits if x[0] > 0), key=lambda credit: -credit[0])
        total = sum(x for x, _ in blamed)
        self.culprits = [edge for x, edge in blamed if x >= total / 2]
        effective = total**2 / sum(x * x for x, _ in blamed) if blamed else 0.0
        if not self.culprits and effective >= 3:
            self.because.append(
                f"no single factor is to blame: it is a chain of about {effective:.0f}"
            )
        self._rank_repairs(largest_first=shrinking)

    def _rank_repairs(self, largest_first: bool) -> None:
        repairs = [Repair(edge, self._forward.repaired(edge)) for edge in self._forward.edges]
        repairs = [repair for repair in repairs if repair.edge.partial != 1]
        repairs.sort(key=lambda repair: abs(repair.gradient), reverse=largest_first)
        self.repairs = repairs

    def _compare_grad(self, flow: Flow) -> None:
        """Whether the node's .grad is what backward() would give it, which goes before all else."""
        assert self.flow is not None
        grad, g = self.node.grad, self.flow.g
        seed = flow.output.grad if flow.output.rule else 1.0
        if not any(node.grad for node in flow.paths.nodes if node.rule or node is flow.output):
            self.causes = [self.verdict, *self.causes] if self.verdict != "healthy" else self.causes
            self.verdict = "not run"
            self.because.insert(0, "there was no backward() yet; this is what it would find")
            return
        expected = g * seed
        if not isfinite(grad) or not isfinite(expected):
            same = grad == expected or (grad != grad and expected != expected)
        else:
            same = abs(grad - expected) <= STALE * abs(expected) + self.flow.error * abs(seed)
        if same:
            return
        times_over = grad / expected if expected else inf
        self.causes = [self.verdict, *self.causes] if self.verdict != "healthy" else self.causes
        self.verdict = "stale"
        k = round(times_over) if isfinite(times_over) else 0
        if k >= 2 and abs(times_over - k) <= STALE * k:
            self.because.insert(
                0,
                f".grad is {grad:.3g}, {k} times the gradient: zero_grad() was forgotten "
                f"{k - 1} time{'s' if k > 2 else ''}",
            )
        else:
            self.because.insert(
                0, f".grad is {grad:.3g} and not this gradient: other sweeps are in it"
            )

    # --- in words -------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<why {name_of(self.node)}: {self.verdict}>"

    def __str__(self) -> str:
        of = f"∂{name_of(self.output)}/∂{name_of(self.node)}"
        causes = f": {', '.join(self.causes[:4])}" if self.causes else ""
        if self.flow is None:
            return "\n".join([f"{of} is 0, {self.verdict}.", *map(_sentence, self.because)])
        lines = [f"{of} = {self.flow.g:.3g}, {self.verdict}{causes}."]
        lines += [_sentence(each) for each in self.because[:4]]
        lines += self._place_lines() + self._budget_lines() + self._path_lines()
        return "\n".join(lines)

    def _place_lines(self) -> list[str]:
        lines = []
        if self.verdict == "stopped" or "stopped" in self.causes:
            places = [f"{name_of(e.input)} → {name_of(e.node)} (×0)" for e in self.where]
            more = f" and {len(places) - 3} more" if len(places) > 3 else ""
            lines.append(f"It stops at {', '.join(places[:3])}{more}.")
        elif self.culprits:
            factors = [f"×{e.partial:.3g} into {name_of(e.node)}" for e in self.culprits]
            lines.append(f"Most of it is due to {', '.join(factors)}.")
        if self.repairs and self.verdict != "healthy":
            best = self.repairs[0]
            lines.append(
                f"With ×1 instead of ×{best.edge.partial:.3g} into {name_of(best.edge.node)} it "
                f"would be {best.gradient:.3g}, to first order."
            )
        return lines

    def _budget_lines(self) -> list[str]:
        assert self.flow is not None
        if not self.budget:
            return []
        terms = sorted(self.budget.items(), key=lambda term: -abs(term[1]))
        shown = ", ".join(f"{kind} {x:+.2f}" for kind, x in terms if abs(x) >= 0.005)
        return [f"In decades: {self.flow.decades:.2f} = {shown or '0'}."]

    def _path_lines(self) -> list[str]:
        if not self.path:
            return []
        steps = [f"×{edge.partial:.3g} {name_of(edge.input)}" for edge, _ in self.path]
        if len(steps) > 8:
            steps = [*steps[:4], f"… {len(steps) - 7} more …", *steps[-3:]]
        return [f"Strongest path: {name_of(self.output)} {' '.join(steps)}."]


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
    return Explanation(flow, node)


def _ranked(causes: list[str]) -> list[str]:
    """Each cause once, the most frequent first."""
    return sorted(dict.fromkeys(causes), key=lambda cause: -causes.count(cause))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
