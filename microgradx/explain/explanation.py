"""The explanation of one gradient: facts that know how to say themselves."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from functools import cached_property
from math import isfinite
from typing import Any, ClassVar

from microgradx._base.text import clip, count, made_at, name_of
from microgradx.engine import Edge, Value
from microgradx.explain.connection import unconnected
from microgradx.explain.extended import Extended, show, times
from microgradx.explain.paths import NodeFlow, Paths
from microgradx.explain.staleness import NOT_RUN, staleness
from microgradx.explain.tangents import Repair, Tangents
from microgradx.explain.verdicts import Case, Finding, Limits, verdict_on

LN10 = math.log(10.0)
WIDTH = 100  # columns

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
    "stopped": "It stops at", "not finite": "It begins at",
}  # fmt: skip


class Explanation:
    """Why one gradient is what it is; print it.

    node, output: of what by what
    paths, tangents: the sums over all paths from every node, and from this one onwards
    flow:      the node's row, a `NodeFlow`; None where no path leads from it to the output
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

    compare: whether to look at the node's .grad, which may be stale, as well
    """

    picture: ClassVar[Callable[[Explanation], Any] | None] = None  # how `draw` shows one

    def __init__(self, paths: Paths, limits: Limits, node: Value, compare: bool = True) -> None:
        self.node, self.output, self.paths = node, paths.nodes[0], paths
        self.flow: NodeFlow | None = paths.flow(node) if node in paths.index else None
        self._case = Case(paths, limits, node, self.flow) if self.flow else None
        if self._case:
            found = verdict_on(self._case)
        else:
            verdict, because = unconnected(node, self.output, paths.nodes)
            found = Finding(verdict, because=because)
        self.verdict = found.verdict
        self.causes = found.causes
        self.where = found.where
        self.culprits = found.culprits
        self.because = found.because
        self.exact = found.exact
        self._repairable = found.repairable
        if self.flow is not None and compare:
            self._compare_grad(self.flow)

    @property
    def tangents(self) -> Tangents | None:
        """The sums from the node onwards; None where no path leads to the output."""
        return self._case.tangents if self._case else None

    @property
    def budget(self) -> dict[str, float]:
        """Decades by kind of factor, with fan-out and cancellation; they add up to log₁₀|g|."""
        return self.flow.budget if self.flow else {}

    # What may be long is worked out when it is asked for.

    @cached_property
    def path(self) -> list[tuple[Edge, Extended]]:
        """The strongest path, as (edge, product so far from the output)."""
        found: list[tuple[Edge, Extended]] = []
        so_far = Extended(1.0, 0)
        numbers = self.paths.strongest(self.node) if self.flow else []
        for edge in map(self.paths.edge, reversed(numbers)):
            so_far = times(edge.partial, *so_far)
            found.append((edge, so_far))
        return found

    @cached_property
    def choke_points(self) -> list[Value]:
        """The nodes that every path goes through, nearest first."""
        paths, found = self.paths, []
        up = paths.choke_point[paths.index[self.node]] if self.flow else -1
        while up > 0:
            found.append(paths.nodes[up])
            up = paths.choke_point[up]
        return found

    @cached_property
    def repairs(self) -> list[Repair]:
        """Edges by the gradient there would be if their local derivative were 1.

        The largest comes first; of one that is too large, that which is nearest to the reference.
        """
        case = self._case
        if not case:
            return []
        edges = case.tangents.edges if self._repairable is None else self._repairable
        found = sorted(case.tangents.repairs(edges), key=lambda pair: self._rank(case, pair[0]))
        return [Repair(case.paths.edge(e), wide) for wide, e in found]

    def _rank(self, case: Case, wide: Extended) -> float:
        """The less, the better a gradient is as that of a repair."""
        if "large" in self._words():
            return abs(wide.decades - case.reference.decades)
        return -wide.decades

    def _words(self) -> set[str]:
        """The verdict there would be without a stale grad is among the causes."""
        return {self.verdict, *self.causes}

    def _compare_grad(self, row: NodeFlow) -> None:
        """Whether the node's .grad is what backward() would give it, which goes before all else."""
        seed = self.output.grad if self.output.rule else 1.0
        swept = any(x.grad for x in self.paths.nodes if x.rule or x is self.output)
        found = staleness(self.node.grad, row, seed) if swept else NOT_RUN
        if found:
            otherwise = [self.verdict] if self.verdict != "healthy" else []
            self.verdict, cause, said = found
            self.because.insert(0, said)
            self.causes = [cause, *otherwise, *self.causes]

    # --- in words -------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<why {name_of(self.node)}: {self.verdict}>"

    def __str__(self) -> str:
        wrap = textwrap.TextWrapper(
            WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
        return "\n".join(map(wrap.fill, self.sentences))

    @property
    def sentences(self) -> list[str]:
        """What print shows, before it is wrapped into lines."""
        of = f"∂{clip(name_of(self.output), 32)}/∂{clip(name_of(self.node), 32)}"
        causes = "".join(f"{', ' if i else ' – '}{x}" for i, x in enumerate(self.causes[:4]))
        size = "0" if self.flow is None else self._size(self.flow)
        lines = [f"{of} = {size}: {self.verdict}{causes}", MEANING[self.verdict], *self.because[:4]]
        if len(self.because) > 4:
            lines.append(f"… and {len(self.because) - 4} more such lines")
        lines += self._place_lines() + self._path_lines()
        return [f"{line}." for line in lines]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What a notebook shows: the words, and the picture where it can be drawn."""
        picture = type(self).picture
        shown = picture(self)._repr_mimebundle_() if picture else {}
        return {**shown, "text/plain": str(self)}

    def _size(self, row: NodeFlow) -> str:
        """The gradient, and in decades where it has any."""
        if self.exact is not None:
            return show(Extended(float(self.exact), 0))
        number = row.wide if isfinite(row.g) or isfinite(row.wide.mantissa) else Extended(row.g, 0)
        return show(number) + (f" (10^{row.decades:.2f})" if row.budget else "")

    def _place_lines(self) -> list[str]:
        """Where it stops, or what it is mostly due to, and what would repair it."""
        lines = []
        if self.where and "cancelled" not in self._words():
            what = next((v for v in PLACES if v in (self.verdict, *self.causes)), "stopped")
            lines.append(f"{PLACES[what]} {_listed(self.where)}")
        if self.culprits and not self.where:
            lines.append(f"Half of it or more is due to {_listed(self.culprits)}")
        elif self.culprits and len(self.culprits) < len(self.where):
            lines.append(f"These alone are to blame: {_listed(self.culprits)}")
        repair = self._best()
        if repair:
            edge, wide = repair
            gate = edge.node.rule is not None and edge.node.rule.kind == "gate"
            lines.append(
                f"With ×1 instead of ×{edge.partial:.3g} from {name_of(edge.input)} to "
                f"{name_of(edge.node)} it would be {show(wide)}, all other factors held"
                + (", to first order: compare() shows what is true" if gate else "")
            )
        return lines

    def _best(self) -> Repair | None:
        """The repair of a weak factor of a small gradient, of a strong one of a large, that helps.

        It helps if it moves the gradient by half a decade the right way.
        """
        case, sick = self._case, {"stopped", "underflowed", "small", "large"} & self._words()
        if not sick or not case:
            return None
        large, partials = "large" in sick, case.paths.partials
        edges = case.tangents.edges if self._repairable is None else self._repairable
        weak = [e for e in edges if (abs(partials[e]) > 1) == large]
        found = case.tangents.repairs(case.paths.before_the_loss(weak) or weak)
        if not found:
            return None
        wide, e = min(found, key=lambda pair: self._rank(case, pair[0]))
        moved = (wide.decades - case.row.decades) * (-1 if large else 1)
        return Repair(case.paths.edge(e), wide) if wide.mantissa and moved > 0.5 else None

    def _path_lines(self) -> list[str]:
        """The budget, the strongest path and the bottlenecks."""
        lines = []
        if self.flow is not None and self.budget:
            terms = sorted(self.budget.items(), key=lambda term: -abs(term[1]))
            shown = ", ".join(f"{x:+.2f} {kind}" for kind, x in terms if abs(x) >= 0.005)
            lines.append(f"Decades: {self.flow.decades:.2f} = {shown or '0: every factor is 1'}")
        if self.node is self.output:
            lines += ["It is the output itself: no edge lies between", "By definition it is 1"]
        steps = self._steps()
        if steps:
            kind = "Strongest path" if self.flow and self.flow.mass.mantissa else "Path"
            lines.append(f"{kind}: {clip(name_of(self.node), 32)} {' '.join(steps)}")
        if self.flow is not None and steps:
            lines += self._count(self.flow)
        return lines

    def _count(self, row: NodeFlow) -> list[str]:
        """How many paths there are to speak of, or how many gates on that with the fewest."""
        if not row.mass.mantissa:
            return [f"It holds {count(row.gates, 'zero factor')}; no path holds fewer"]
        if not isfinite(row.entropy):
            return []
        decades = row.entropy / LN10
        many = f"{10**decades:.3g}" if decades < 300 else f"10^{decades:.0f}"
        if row.entropy < 0.005:
            return ["It carries all there is"]
        return [f"About {many} paths share the work{self._bottlenecks()}"]

    def _steps(self) -> list[str]:
        """The strongest path's first and last factors, in words."""
        if not self._case:
            return []
        paths = self._case.paths
        numbers = paths.strongest(self.node)
        ends = numbers if len(numbers) <= 8 else [*numbers[:4], *numbers[-3:]]
        edges = map(paths.edge, ends)
        steps = [f"×{edge.partial:.3g}→ {clip(name_of(edge.node), 24)}" for edge in edges]
        if len(ends) < len(numbers):
            steps.insert(4, f"… {len(numbers) - 7:,} more …")
        return steps

    def _bottlenecks(self) -> str:
        """The nearest nodes that every path goes through, where there are several paths."""
        if not self._case:
            return ""
        paths = self._case.paths
        found: list[str] = []
        up = paths.choke_point[paths.index[self.node]]
        while up > 0 and len(found) < 4:
            found.append(clip(name_of(paths.nodes[up]), 32))
            up = paths.choke_point[up]
        more = " and more" if len(found) > 3 else ""
        return f"; all go through {', '.join(found[:3])}{more}" if found else ""


def _listed(edges: list[Edge]) -> str:
    """The first edges of a list, by name, and where they were made if that was recorded.

    Edges that are called the same, as those of several samples are, count as one.
    """
    groups: dict[str, int] = {}
    for e in edges:
        text = f"{clip(name_of(e.input), 32)} ×{e.partial:.3g}→ {clip(name_of(e.node), 32)}"
        groups[text + made_at(e.node)] = groups.get(text + made_at(e.node), 0) + 1
    shown = [
        text + (f" and {n - 1} more so" if n > 1 else "") for text, n in list(groups.items())[:3]
    ]
    more = f" and {len(groups) - 3} more" if len(groups) > 3 else ""
    return ", ".join(shown) + more
