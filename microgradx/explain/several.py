"""Why the gradients of a layer, of a model or of a list are what they are: one table by layer."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from math import fsum, sqrt
from typing import Any

from microgradx._base.text import clean, clip, count, element, fixed, name_of, place
from microgradx.engine import Value, with_cut_off
from microgradx.explain.case import Case, Limits
from microgradx.explain.extended import signed
from microgradx.explain.paths import Paths
from microgradx.explain.report import wrapped
from microgradx.explain.verdicts import ELSEWHERE, TABLE, verdict_of

WORST = 3  # gradients that are explained by name
KINDS = 4  # of factor in the table, those that bring most
CHANCE = 0.8  # / x: the part of all gradients of which R / |g| is x or more, if signs are chance


class Several:
    """Why several gradients are what they are; print it.

    nodes, output: of ∂output/∂node, each
    verdicts: by verdict, in the order of their table, the nodes of which it holds
    layers:   by layer, its nodes; "" for those that no layer's label names
    worst:    the `Explanation` of the three worst: by verdict, then by how small or large R is

    explain: from a node to its `Explanation`
    """

    def __init__(
        self,
        paths: Paths,
        limits: Limits,
        nodes: Sequence[Value],
        explain: Callable[[Value], Any],
    ) -> None:
        self.paths, self.limits, self.nodes = paths, limits, [*dict.fromkeys(nodes)]
        self._explain = explain
        self.output = paths.nodes[0]
        self._cases = {node: Case(paths, limits, node) for node in self.nodes}
        self._verdict = {node: verdict_of(case).name for node, case in self._cases.items()}
        found = Counter(self._verdict.values())
        self.verdicts = {
            name: [x for x in self.nodes if self._verdict[x] == name]
            for name in TABLE
            if found[name]
        }
        self.layers: dict[str, list[Value]] = {}
        for node in self.nodes:
            self.layers.setdefault(place(node.label)[0], []).append(node)

    def budget(self, layer: str) -> dict[str, float]:
        """The mean decades by kind of factor, over the layer's gradients between 0 and inf.

        They add up to the mean of log₁₀|g|; {} where there is none. A KeyError for another layer.
        """
        if layer not in self.layers:
            raise KeyError(f"no layer {layer!r}; there are {', '.join(map(repr, self.layers))}")
        flows = [self._cases[node].flow for node in self.layers[layer]]
        budgets = [flow.budget for flow in flows if flow and flow.budget]
        kinds = dict.fromkeys(kind for each in budgets for kind in each)
        return {k: fsum(each.get(k, 0.0) for each in budgets) / len(budgets) for k in kinds}

    @cached_property
    def worst(self) -> list[Any]:
        """The explanations of the three worst: one of each verdict first, then of each neuron."""
        order, well = [*TABLE], ["healthy"]
        if self._chance:  # those are no worse than others
            well.append("cancelled")
            order.remove("cancelled")
            order.append("cancelled")

        def badness(node: Value) -> tuple[int, float]:
            case = self._cases[node]
            away = abs(case.beyond) if case.flow and case.reached.norm else 0.0
            return order.index(self._verdict[node]), -away

        ranked = sorted(self.nodes, key=badness)
        of_verdicts, of_neurons = dict[str, Value](), dict[object, Value]()
        for node in ranked:
            if self._verdict[node] not in well:
                of_verdicts.setdefault(self._verdict[node], node)
            of_neurons.setdefault(_neuron(node), node)
        worst = [*dict.fromkeys([*of_verdicts.values(), *of_neurons.values(), *ranked])][:WORST]
        return [*map(self._explain, sorted(worst, key=badness))]

    @property
    def _chance(self) -> bool:
        """Whether some are cancelled, and no more, and no further, than may be so by chance."""
        cancelled = [
            self._cases[node].reached.opposes for node in self.verdicts.get("cancelled", ())
        ]
        tries = CHANCE * len(self.nodes)
        expected = tries / self.limits.cancels
        few = 0 < len(cancelled) <= expected + 3 * sqrt(expected)
        return few and max(cancelled) <= 50 * tries

    @property
    def _notes(self) -> list[str]:
        """What the counts do not say by themselves."""
        notes = []
        if self._chance:
            n = len(self.verdicts["cancelled"])
            notes.append(f"That {n} {'is' if n == 1 else 'are'} cancelled is about chance.")
        if {*self.verdicts} <= {"healthy", *(["cancelled"] if self._chance else [])}:
            notes += [f"{TABLE['healthy'].meaning}.", f"{ELSEWHERE}."]
        return notes

    def __repr__(self) -> str:
        return f"<why {count(len(self.nodes), 'gradient')}: {self._counted(self.nodes)}>"

    def __str__(self) -> str:
        of = clip(name_of(self.output), 32)
        head = f"{count(len(self.nodes), 'gradient')} of {of}: {self._counted(self.nodes)}."
        worst = [wrapped(self._first(it)) for it in self.worst]
        before = ["The worst:"] if len(self.nodes) > 1 else []
        notes = [*self._notes, *self._table(), *map(wrapped, self._strangers())]
        return "\n".join([wrapped(head), *notes, *before, *worst])

    def _first(self, it: Any) -> str:
        """The first sentence of an explanation, with the sample that the node is of, if any."""
        sentence, paths = clean(it.sentences[0]), self.paths
        k = paths.samples[paths.index[it.node]] if it.flow else -1
        return f"{sentence[:-1]}, in sample {k}." if k >= 0 and paths.several else sentence

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The face in a notebook: the words as they are printed."""
        return {"text/html": f"<pre>{html.escape(str(self))}</pre>", "text/plain": str(self)}

    def _counted(self, nodes: Sequence[Value]) -> str:
        """How many there are of each verdict."""
        found = Counter(self._verdict[node] for node in nodes)
        return ", ".join(f"{found[name]:,} {name}" for name in TABLE if found[name])

    def _strangers(self) -> list[str]:
        """A sentence on those that are not in the graph, if any are not."""
        lost = self.verdicts.get("disconnected", [])
        if not lost:
            return []
        labels = {x.label for x in self.paths.nodes if x.label}
        verb, them = ("is", "it") if len(lost) == 1 else ("are", "them")
        if any(x.label in labels for x in lost):
            end = ", where others have these labels: pass the model that it was computed with"
        elif self.output in with_cut_off(lost[0]):
            end = ", but computed from it: pass the two in the other order"
        else:
            end = f": the output does not depend on {them}"
        of = clean(clip(name_of(self.output), 32))
        return [f"{len(lost):,} of {len(self.nodes):,} {verb} not in the graph of {of}{end}."]

    def _table(self) -> list[str]:
        """By layer the mean decades of its gradients, the kinds that bring most, and verdicts."""
        budgets = {layer: self.budget(layer) for layer in self.layers}
        sums: Counter[str] = Counter()
        for budget in budgets.values():
            sums.update({kind: abs(x) for kind, x in budget.items()})
        kinds = [kind for kind, size in sums.most_common(KINDS) if size >= 0.005]
        rows = [["", "gradients", "log₁₀|g|", *kinds, "verdicts"]]
        for layer, nodes in self.layers.items():
            budget = budgets[layer]
            total = fixed(fsum(budget.values()), 2) if budget else ""
            terms = [signed(budget.get(kind, 0.0)) for kind in kinds]
            name = clean(clip(layer or "no layer", 32))
            rows.append([name, f"{len(nodes):,}", total, *terms, self._counted(nodes)])
        widths = [max(map(len, column)) for column in zip(*rows)]
        return [
            "  ".join([
                row[0].ljust(widths[0]), *map(str.rjust, row[1:-1], widths[1:-1]), row[-1]
            ]).rstrip()
            for row in rows
        ]  # fmt: skip


def _neuron(parameter: Value) -> object:
    """What the parameters of one neuron share: their layer, and their first index."""
    (layer, _), (_, index) = place(parameter.label), element(parameter.label)
    return (layer, index[0]) if index else parameter
