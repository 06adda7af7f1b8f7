"""Why a gradient is what it is: the verdict, the place, and the factors that make the number.

`Flow(output)` knows, of every node, what its gradient is the sum and the product of; `why` puts
that into words for one node. Nothing here trusts `.grad`: it is worked out anew, and compared.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from math import inf, isfinite
from typing import TYPE_CHECKING, NamedTuple

from microgradx.causes import cause_of_zero, name_of, origins, provenance, show
from microgradx.engine import Edge, Value, with_cut_off
from microgradx.paths import Forward, Paths, Repair, Wide, quotient, times
from microgradx.places import place

if TYPE_CHECKING:
    from fractions import Fraction

LN10 = math.log(10.0)
CANCELS = 1000.0  # κ from which a gradient counts as cancelled
SMALL, LARGE = 3.0, 2.0  # decades below and above the output layer's gradients
STALE = 1e-9  # relative difference from which .grad is not the gradient
NAMED = 0.3  # decades from which a kind of factor is named as a cause
EXACT = 2000  # edges up to which a cancelled gradient is also summed in fractions
WIDTH = 100  # columns

SMALL_BECAUSE = {
    "sigmoid ceiling": "sigmoid chain", "weights": "small weights", "inputs": "small inputs",
    "activations": "small activations", "constants": "small constants",
    "loss": "loss near its optimum",
}  # fmt: skip
LARGE_BECAUSE = {"weights": "weight product", "loss": "loss scale"}

MEANING = {
    "not run": "There is no .grad to explain yet, so this is what backward() would find",
    "stale": "What is in .grad is not this gradient",
    "not finite": "Something on the way to it is inf or nan, and spoils all that it is part of",
    "disconnected": "Changing it can't change the output",
    "detached": "Changing it changes the output, but no gradient is let through",
    "stopped": "Every path to the output holds a factor 0, so nothing gets through",
    "underflowed": "No factor is 0, but their product is too small for a float",
    "cancelled": "Gradient arrives along several paths, and what they bring cancels",
    "small": "It gets through, but its factors multiply to little",
    "large": "Its factors, or the number of its paths, multiply to much",
    "healthy": "It is neither stopped nor spoilt, nor unusually small or large",
}
PLACES = {
    "stopped": "It stops at", "cancelled": "What opposes each other:", "not finite": "It begins at",
}  # fmt: skip


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


class Flow:
    """The flow of the gradient of `output` to every node behind it, in one pass over the graph.

    `flow[node]` is a `NodeFlow`, `node in flow` whether there is one, `flow.why(node)` an
    `Explanation`. The grads that backward() has left are not used and not changed.

    parameters: the leaves whose factors are weights; None: those with a parameter's label, such
                as `layers.0.weight[2,1]`, `w1` or `b`
    cancels:    κ from which a gradient counts as cancelled
    reference:  the decades to compare with; None: those of the gradients at the layer closest to
                the output (their median), 0 where no node is labelled as part of a layer
    small, large: how many decades below and above it a gradient counts as small, as large

    A TypeError if `output` is no Value; `flow[node]` of another graph's node is a KeyError.
    """

    def __init__(
        self,
        output: Value,
        parameters: Iterable[Value] | None = None,
        *,
        cancels: float = CANCELS,
        reference: float | None = None,
        small: float = SMALL,
        large: float = LARGE,
    ) -> None:
        if not isinstance(output, Value):
            raise TypeError(f"Flow takes the Value at the end of a graph, got {output!r:.60}")
        self.output = output
        self.paths = Paths(output, parameters)
        self.cancels, self.small, self.large = cancels, small, large
        self.reference = self._output_layer() if reference is None else reference

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

    def _output_layer(self) -> float:
        """The median decades of the gradients at the layer closest to the output, else 0."""
        nodes = self.paths.nodes
        last = next((place(x.label)[0] for x in nodes if x.rule and place(x.label)[0]), "")
        decades = sorted(
            self.paths.wide(i).decades
            for i, x in enumerate(nodes)
            if last and x.rule and place(x.label)[0] == last and self.paths.wide(i).mantissa
        )
        return decades[len(decades) // 2] if decades else 0.0


class Explanation:
    """Why one gradient is what it is; print it.

    node, output: of what by what
    flow:      the node's `NodeFlow`, None where no path leads from it to the output
    verdict:   in a word or two: "not run", "stale", "not finite", "disconnected", "detached",
               "stopped", "underflowed", "cancelled", "small", "large" or "healthy"
    causes:    what it is due to, largest first; after "not run" and "stale", the verdict there
               would be otherwise is among them
    where:     the edges where the gradient stops, cancels or ceases to be finite
    culprits:  the edges that alone are to blame: to open one is to bring the gradient back, or it
               holds half of what made it small or large. None where gates stand in series
    budget:    decades by kind, adding up to log₁₀|g|
    path:      the strongest path, as (edge, product so far from the output)
    choke_points: the nodes that every path goes through, nearest first
    repairs:   edges by the gradient there would be if their local derivative were 1
    because:   how it came about, in sentences
    exact:     a cancelled gradient, summed without rounding, where the graph is small
    """

    def __init__(self, flow: Flow, node: Value) -> None:
        self.node, self.output = node, flow.output
        self.flow: NodeFlow | None = flow[node] if node in flow else None
        self.verdict = "healthy"
        self.causes: list[str] = []
        self.where: list[Edge] = []
        self.culprits: list[Edge] = []
        self.because: list[str] = []
        self.exact: Fraction | None = None
        self._repairs: Callable[[], list[Repair]] | None = None
        self._flow = flow
        if self.flow is None:
            self._unconnected()
            return
        forward = Forward(flow.paths, node)
        for verdict in (_not_finite, _stopped, _underflowed, _cancelled, _sized):
            if verdict(self, self.flow, flow, forward):
                break
        self._compare_grad(flow, self.flow)

    @property
    def budget(self) -> dict[str, float]:
        """Decades by kind of factor, with fan-out and cancellation; they add up to log₁₀|g|."""
        return self.flow.budget if self.flow else {}

    def _unconnected(self) -> None:
        behind = self.node in set(with_cut_off(self.output))
        self.verdict = "detached" if behind else "disconnected"
        if behind:
            self.because = ["Every path to the output runs through a detach()"]
        else:
            self.because = [f"{name_of(self.output)} was not computed from it"]

    # What may be long is worked out when it is asked for.

    @cached_property
    def path(self) -> list[tuple[Edge, Wide]]:
        """The strongest path, as (edge, product so far from the output)."""
        found: list[tuple[Edge, Wide]] = []
        so_far = Wide(1.0, 0)
        for edge in reversed(self._flow.path(self.node)) if self.flow else []:
            so_far = times(edge.partial, *so_far)
            found.append((edge, so_far))
        return found

    @cached_property
    def choke_points(self) -> list[Value]:
        """The nodes that every path goes through, nearest first."""
        paths, found = self._flow.paths, []
        up = paths.up[paths.index[self.node]] if self.flow else -1
        while up > 0:
            found.append(paths.nodes[up])
            up = paths.up[up]
        return found

    @cached_property
    def repairs(self) -> list[Repair]:
        """Edges by the gradient there would be if their local derivative were 1."""
        return self._repairs() if self._repairs else []

    def _compare_grad(self, flow: Flow, row: NodeFlow) -> None:
        """Whether the node's .grad is what backward() would give it, which goes before all else."""
        grad, otherwise = self.node.grad, self.verdict
        seed = flow.output.grad if flow.output.rule else 1.0
        expected = row.g * seed
        if not any(x.grad for x in flow.paths.nodes if x.rule or x is flow.output):
            self.verdict, cause = "not run", "no backward()"
            said = "There was no backward(), or every grad was zeroed since"
        elif _same(grad, expected, row.error * abs(seed)):
            return
        else:
            self.verdict = "stale"
            k = _multiple(grad, expected)
            if k:
                cause = f"{k} × the gradient"
                times_over = "once" if k == 2 else f"{k - 1} times"
                said = f".grad is {grad:.3g}, {k} × this: zero_grad() was forgotten {times_over}"
            elif not grad:
                cause, said = "zeroed", ".grad is 0: it was zeroed after the last backward()"
            else:
                cause, said = "not this gradient", f".grad is {grad:.3g}: other sweeps are in it"
        self.because.insert(0, said)
        self.causes = [cause, *([otherwise] if otherwise != "healthy" else []), *self.causes]

    # --- in words -------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<why {name_of(self.node)}: {self.verdict}>"

    def __str__(self) -> str:
        of = f"∂{name_of(self.output)}/∂{name_of(self.node)}"
        causes = "".join(f"{', ' if i else ' – '}{x}" for i, x in enumerate(self.causes[:4]))
        size = "0" if self.flow is None else self._size(self.flow)
        lines = [f"{of} = {size}: {self.verdict}{causes}", MEANING[self.verdict], *self.because[:4]]
        if len(self.because) > 4:
            lines.append(f"… and {len(self.because) - 4} more such lines")
        lines += self._place_lines() + self._path_lines()
        wrap = textwrap.TextWrapper(
            WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
        return "\n".join(wrap.fill(f"{line}.") for line in lines)

    def _size(self, row: NodeFlow) -> str:
        """The gradient, and in decades where it has any."""
        number = row.wide if isfinite(row.g) or isfinite(row.wide.mantissa) else Wide(row.g, 0)
        return show(number) + (f" (10^{row.decades:.2f})" if row.budget else "")

    def _place_lines(self) -> list[str]:
        """Where it stops, or what it is mostly due to, and what would repair it."""
        lines = []
        if self.where:
            what = next((v for v in PLACES if v in (self.verdict, *self.causes)), "stopped")
            lines.append(f"{PLACES[what]} {_listed(self.where)}")
        if self.culprits and not self.where:
            lines.append(f"Half of it or more is due to {_listed(self.culprits)}")
        elif self.culprits and len(self.culprits) < len(self.where):
            lines.append(f"These alone are to blame: {_listed(self.culprits)}")
        if self.repairs and self._helps(self.repairs[0]):
            edge, wide = self.repairs[0]
            lines.append(
                f"With ×1 instead of ×{edge.partial:.3g} from {name_of(edge.input)} to "
                f"{name_of(edge.node)} it would be {show(wide)}, all other factors held"
            )
        return lines

    def _helps(self, repair: Repair) -> bool:
        """Whether the repair moves a sick gradient by half a decade, the right way."""
        sick = {"stopped", "underflowed", "cancelled", "small", "large"} & {
            self.verdict, *self.causes
        }  # fmt: skip
        if not sick or self.flow is None or not repair.wide.mantissa:
            return False
        moved = repair.wide.decades - self.flow.decades
        return moved < -0.5 if "large" in sick else moved > 0.5

    def _path_lines(self) -> list[str]:
        """The budget, the strongest path and the bottlenecks."""
        lines = []
        if self.flow is not None and self.budget:
            terms = sorted(self.budget.items(), key=lambda term: -abs(term[1]))
            shown = " ".join(f"{x:+.2f} {kind}," for kind, x in terms if abs(x) >= 0.005)
            lines.append(f"Decades: {self.flow.decades:.2f} = {shown[:-1] or '0'}")
        steps = [f"×{edge.partial:.3g}→ {name_of(edge.node)}" for edge, _ in reversed(self.path)]
        if len(steps) > 8:
            steps = [*steps[:4], f"… {len(steps) - 7} more …", *steps[-3:]]
        if steps:
            kind = "Strongest path" if self.flow and self.flow.mass.mantissa else "Path"
            lines.append(f"{kind}: {name_of(self.node)} {' '.join(steps)}")
        if self.flow is not None and self.flow.entropy and self.choke_points:
            names = [name_of(node) for node in self.choke_points]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            lines.append(f"Every path goes through {', '.join(names[:3])}{more}")
        return lines


# --- verdicts, the first that holds; each says whether it does, and fills in the facts ----------


def _not_finite(why: Explanation, row: NodeFlow, flow: Flow, forward: Forward) -> bool:
    if isfinite(row.g) and isfinite(row.wide.mantissa):
        return False
    why.verdict = "not finite"
    nodes = flow.paths.nodes
    leads = {why.node}
    leads.update(x for x in reversed(nodes) if not leads.isdisjoint(x.inputs))
    found = origins(nodes, flow.paths.g, leads)
    why.causes = _ranked([origin.cause for origin in found])
    why.where = list(dict.fromkeys(edge for origin in found for edge in origin.edges))
    why.because = [origin.sentence for origin in found]
    return True


def _stopped(why: Explanation, row: NodeFlow, flow: Flow, forward: Forward) -> bool:
    """A = 0: the cut is where the first zero of every path lies."""
    if row.mass.mantissa:
        return False
    why.verdict = "stopped"
    paths = flow.paths
    why.where = [edge for edge in forward.edges if edge.partial == 0]
    why.culprits = [e for e in why.where if paths.mass(paths.index[e.node]).mantissa]
    blamed = why.culprits
    if not blamed:
        blamed = [edge for edge, _ in reversed(why.path) if edge.partial == 0]
        why.because = [
            f"{len(blamed)} gates stand in series on the path with the fewest: opening one of them "
            "is not enough"
        ]
    why.causes = _ranked([cause_of_zero(edge, paths) for edge in why.where])
    why.because += dict.fromkeys(step for edge in blamed for step in provenance(edge, paths))
    why._repairs = partial(forward.repairs, why.where)
    return True


def _underflowed(why: Explanation, row: NodeFlow, flow: Flow, forward: Forward) -> bool:
    if row.g != 0 or not row.wide.mantissa:
        return False
    why.verdict = "underflowed"
    why.because = [f"As a float it is 0; it is really {show(row.wide)}"]
    _blame(why, row, forward, shrinking=True)
    return True


def _cancelled(why: Explanation, row: NodeFlow, flow: Flow, forward: Forward) -> bool:
    rounded = row.kappa * forward.rounds * 2.0**-53 >= 1  # |g| ≤ γA
    if row.wide.mantissa and row.kappa < flow.cancels and not rounded:
        return False
    why.verdict = "cancelled"
    why.where = forward.opposed()
    readers = [edge.node.label for edge in why.where]
    between = all(readers) and len(set(readers)) < len(readers)
    why.causes = ["opposing samples" if between else "opposing paths"]
    why.because = [
        f"The paths weigh {show(row.mass)} together and cancel to {show(row.wide)}"
        + (", which is within rounding of 0" if rounded else "")
    ]
    if between:
        why.because.append("The samples pull against each other, as they do at an optimum")
    if rounded and len(forward.edges) <= EXACT:
        why.exact = forward.exact()
        size = "0" if not why.exact else f"{float(why.exact):.3g}"
        why.because.append(f"Without any rounding they add up to {size}")
    why._repairs = partial(forward.repairs, forward.edges)
    return True


def _sized(why: Explanation, row: NodeFlow, flow: Flow, forward: Forward) -> bool:
    """Small or large beside the output layer's gradients, and named by what made it so."""
    beside = row.decades - flow.reference
    if -flow.small <= beside <= flow.large:
        why._repairs = partial(forward.repairs, forward.edges)
        return True
    why.verdict = "small" if beside < 0 else "large"
    whose = "the output layer's" if flow.reference else "1"
    why.because = [f"It is {abs(beside):.1f} decades {'below' if beside < 0 else 'above'} {whose}"]
    _blame(why, row, forward, shrinking=beside < 0)
    return True


def _blame(why: Explanation, row: NodeFlow, forward: Forward, shrinking: bool) -> None:
    """Name the kinds of factor, and the edges, that made the gradient small or large."""
    sign = -1.0 if shrinking else 1.0
    terms = sorted(row.budget.items(), key=lambda term: -sign * term[1])
    names = SMALL_BECAUSE if shrinking else LARGE_BECAUSE
    named = [term for term in terms if sign * term[1] > NAMED] or terms[:1]
    why.causes = [names.get(kind, kind) for kind, _ in named]
    credits = [
        (sign * forward.share(edge) * math.log10(abs(edge.partial)), edge)
        for edge in forward.edges
        if edge.partial
    ]
    blamed = sorted((x for x in credits if x[0] > 0), key=lambda credit: -credit[0])
    total = sum(x for x, _ in blamed)
    if terms[0][0] not in ("fan-out", "cancellation"):  # which are no edge's doing
        why.culprits = [edge for x, edge in blamed if x >= total / 2]
    effective = total**2 / sum(x * x for x, _ in blamed) if blamed else 0.0
    if not why.culprits and effective >= 3:
        why.because.append(
            f"No single factor is to blame: it is a chain of about {effective:.0f}"
        )
    why._repairs = partial(forward.repairs, forward.edges, largest_first=shrinking)


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


def _same(grad: float, expected: float, error: float) -> bool:
    """Whether a grad is what it should be, but for rounding."""
    if isfinite(grad) and isfinite(expected):
        return abs(grad - expected) <= STALE * abs(expected) + error
    return grad == expected or (grad != grad and expected != expected)


def _multiple(grad: float, expected: float) -> int:
    """How many times too often the gradient is in .grad; 0 if it is no whole number."""
    ratio = grad / expected if expected and isfinite(grad) and isfinite(expected) else 0.0
    k = round(ratio) if isfinite(ratio) else 0
    return k if k >= 2 and abs(ratio - k) <= STALE * k else 0


def _listed(edges: list[Edge]) -> str:
    """The first edges of a list, by name."""
    shown = [f"{name_of(e.input)} ×{e.partial:.3g}→ {name_of(e.node)}" for e in edges[:3]]
    more = f" and {len(edges) - 3} more" if len(edges) > 3 else ""
    return ", ".join(shown) + more
