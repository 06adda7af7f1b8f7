"""What the rules look at, what they find, and the words that they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from microgradx._base.text import clean, count, element, few, fixed, listed, short
from microgradx.diagnosis.box import Box
from microgradx.diagnosis.ledger import Ledger, Part, Price
from microgradx.diagnosis.scales import Tensor, tensors_of
from microgradx.diagnosis.steps import Steps
from microgradx.diagnosis.survey import Survey
from microgradx.diagnosis.task import Task
from microgradx.diagnosis.units import Verdicts
from microgradx.engine import Value
from microgradx.explain.samples import role_of
from microgradx.replay.units import Key, products
from microgradx.train.watch import Watch

BEFORE = 1.001  # times the dearest costs what stands before it
SIXTEEN, FOUR = 16.0, 4.0  # decades that a stop counts as, and one that can be revived
CEILING = math.log10(0.25)
TENTH, HALF = 0.1, 0.5  # of what is missing
SCALE = 10.0  # times its usual size, or a part of it, where a tensor is large, or small
TOLD = 3  # units of which it is told when they died
NUMBERED = 12  # units whose numbers a sentence lists


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    verdict: its name in the table of this file
    where:   a layer, a tensor, "X", "y", "outputs"
    neurons: units of a layer by number; () where it is not about units
    decades: what it costs where it costs most; inf for a stop, nan where it isn't a gradient's
    rows:    the share of the rows where it is so
    because: why, and what follows, in sentences; a line each
    cost:    by which findings are ranked
    row:     a row that shows it, by its place in X, and
    node:    the label of a parameter whose gradient shows it, "" where there is none
    """

    verdict: str
    where: str
    neurons: tuple[int, ...] = ()
    decades: float = math.nan
    rows: float = 1.0
    because: str = ""
    cost: float = 0.0
    row: int = 0
    node: str = ""
    of: int = field(default=0, repr=False)  # how many units the layer has

    def __str__(self) -> str:
        units = f", {len(self.neurons)} of {count(self.of, 'neuron')}" if self.neurons else ""
        return f"{self.verdict}: {self.where}{units}\n{self.because}"


class Facts:
    """All that the rules look at."""

    def __init__(
        self,
        survey: Survey,
        verdicts: Verdicts,
        ledger: Ledger,
        box: Box,
        steps: Steps | None,
        watch: Watch | None = None,
    ) -> None:
        self.survey, self.verdicts, self.ledger, self.box = survey, verdicts, ledger, box
        self.steps, self.watch = steps, watch
        self.task: Task = survey.task
        self.guilty: set[str] = set()  # tensors that a saturation has been blamed on
        self.causes: dict[str, float] = {}  # by tensor, what the units cost that it closes
        self.told: set[Part] = set()  # parts of the budget that a finding is about
        self.unreachable = False  # whether targets lie where the outputs can't
        self.dearest = 0.0  # the largest cost of the findings so far
        self.flat = False  # whether a finding says why outputs are all alike

    @cached_property
    def leaves(self) -> set[Value]:
        """The parameters."""
        return {*self.survey.replay.parameters}

    @cached_property
    def tensors(self) -> list[Tensor]:
        return tensors_of(self.survey)

    @cached_property
    def by_layer(self) -> dict[str, list[int]]:
        """The units of each layer, by their places."""
        found: dict[str, list[int]] = {}
        for u, (layer, _) in enumerate(self.survey.units.keys):
            found.setdefault(layer, []).append(u)
        return found

    @cached_property
    def columns(self) -> Any:
        """(n, columns): the inputs, each row flat."""
        return self.task.X.reshape(len(self.task.X), -1)

    @cached_property
    def read(self) -> Any:
        """(n, columns): the numbers that weights are multiplied with and no parameter is behind.

        They are the inputs, or what the net makes of them first, as a scaler does.
        """
        survey = self.survey
        behind = {*self.leaves}
        for node in survey.replay.nodes:
            if any(x in behind for x in node.inputs):
                behind.add(node)
        fixed = [x for t in self.tensors for x in t.reads if x not in behind]
        nodes = [*dict.fromkeys(fixed)]
        if not nodes or {*nodes} == {*survey.inputs}:
            return self.columns if nodes or not self.tensors else self.columns[:, :0]
        return survey.values_of(nodes).T

    def column(self, k: int) -> str:
        """A column of what weights read, by its name where the data have some."""
        names = self.task.columns
        if len(names) == self.read.shape[1]:
            return f"Column {clean(names[k])}"
        return f"Column {k}"

    def keys(self, units: Sequence[int]) -> list[Key]:
        """Their layers and numbers."""
        return [self.survey.units.keys[u] for u in units]

    def swollen_by(self, tensor: Tensor) -> Tensor | None:
        """The nearest tensor before it that is too large, past none that ends what is large."""
        before = self.read_by(tensor)
        while before is not None and before.grows:
            if before.ratio >= SCALE:
                return before
            before = self.read_by(before)
        return None

    def blame(self, tensor: str, cost: float) -> None:
        """Deaths or saturations that cost as much come from a tensor, "" for none."""
        if tensor:
            self.causes[tensor] = max(cost, self.causes.get(tensor, 0.0))

    def shown_in(self, layers: Sequence[str]) -> dict[str, Any]:
        """The row and the parameter that show what comes to some layers: of a unit that is on there
        the weight of its largest input."""
        units, dead = self.survey.units, self.verdicts.dead
        on = [u for layer in layers for u in self.by_layer.get(layer, ()) if not dead[u]]
        if not on:
            return {"node": parameter_in(self, layers)}
        z = units.nodes[min(on, key=lambda u: units.off[u] / units.seen[u])][0].inputs[0]
        row = int(self.survey.values_of([z])[0].argmax())
        weights, xs = next(products(z), ([], []))
        pairs = [(w, x) for w, x in zip(weights, xs) if isinstance(x, Value) and w.label]
        if not pairs:
            return {"row": row, "node": parameter_in(self, layers)}
        sizes = np.abs(self.survey.values_of([x for _, x in pairs])[:, row])
        return {"row": row, "node": pairs[int(sizes.argmax())][0].label}

    def cost_of(self, tensor: Tensor, cost: float) -> float:
        """What a tensor that is off costs: more than what comes from it."""
        return max(cost, BEFORE * self.causes.get(tensor.name, 0.0))

    def share(self, parameters: int) -> float:
        return parameters / max(self.ledger.total, 1)

    def tensor_of(self, layer: str) -> Tensor | None:
        return next((t for t in self.tensors if t.layer == layer), None)

    @cached_property
    def layer_of(self) -> dict[Value, str]:
        """The layers of the nodes that tensors may read."""
        units = zip(self.survey.units.keys, self.survey.units.nodes)
        zs = {z: role_of(z.label).path for z in self.survey.zs}
        return zs | {x: layer for (layer, _), nodes in units for x in nodes}

    def read_by(self, tensor: Tensor) -> Tensor | None:
        """The tensor of the layer that this one reads, None where there isn't one alone."""
        layers = {self.layer_of.get(x) for x in tensor.reads}
        layer = layers.pop() if len(layers) == 1 else None
        return self.tensor_of(layer) if layer and layer != tensor.layer else None

    def starved_by(self, dead: Sequence[int]) -> int:
        """How many parameters have no gradient as these units are off: their own, and those out."""
        nodes = {x: u for u in dead for x in self.survey.units.nodes[u][:1]}
        out = sum(
            sum(x in nodes for x in node.inputs) for node in self.survey.replay.nodes
            if nodes and node.rule is not None and node.rule.kind == "product"
        )  # fmt: skip
        return out + sum(len(self.parameters_of(u)) for u in dead)

    def is_empty(self, u: int) -> bool:
        """Whether a unit is off as all that it reads is weighed by 0: the weights are at fault."""
        tensor = self.tensor_of(self.survey.units.keys[u][0])
        if tensor is not None and tensor.size == 0:
            return True
        return self.survey.units.most[u] == 0 and not any(p.data for p in self.parameters_of(u))

    def _biases_of(self, u: int) -> list[Value]:
        tensor = self.tensor_of(self.survey.units.keys[u][0])
        return self.parameters_of(u)[tensor.fan_in :] if tensor else []

    def bias_of(self, u: int) -> float:
        """0 where a unit has none."""
        return sum((p.data for p in self._biases_of(u)), 0.0)

    def name_of_bias(self, u: int) -> str:
        return element(self._biases_of(u)[0].label)[0]

    def parameters_of(self, u: int) -> list[Value]:
        """Those that a unit's z is a product of, and its bias."""
        z = self.survey.units.nodes[u][0].inputs[0]
        return [p for p in z.inputs if p in self.leaves]


Rule = Callable[[Facts], Iterator[Finding]]
RULES: list[Rule] = []


def some_parameter(facts: Facts) -> str:
    return next((p.label for p in facts.survey.replay.parameters if p.label), "")


def parameter_in(facts: Facts, layers: Sequence[str]) -> str:
    return facts.survey.first_of(layers) or some_parameter(facts)


def last_parameter(facts: Facts) -> str:
    return next((p.label for p in reversed(facts.survey.replay.parameters) if p.label), "")


def numbers_of(keys: Sequence[Key]) -> tuple[int, ...]:
    """The units' numbers in their layer."""
    return tuple(int(k) if k.isdigit() else i for i, (_, k) in enumerate(keys))


def numbered(keys: Sequence[Key]) -> str:
    shown = [k for _, k in keys[:NUMBERED]]
    rest = len(keys) - len(shown)
    return " ".join(shown) + (f" and {rest} more" if rest else "")


def since(facts: Facts, layer: str, numbers: Sequence[int], verdict: str) -> Iterator[str]:
    """When some units became what they are, and by what; of many, those of the latest steps."""
    events = facts.watch.events if facts.watch else []
    latest = {event.neuron: event for event in events if event.layer == layer}
    found = [e for e in latest.values() if e.neuron in numbers and e.verdict == verdict]
    found.sort(key=lambda event: -event.step)
    shown, rest = few(found, TOLD)
    for event in shown:
        yield f"{event.neuron} {event.became} {event.when}: {event.why}."
    if rest:
        yield f"{count(rest, 'other')} {found[-1].became} before, the first {found[-1].when}."


def few_layers(paths: Sequence[str]) -> str:
    return listed([*paths], 3)


def how_many(x: float) -> str:
    """`3.5`, `43`, `1,583`"""
    return short(x, 2) if x < 10 else f"{x:,.0f}" if x < 1e6 else short(x)


def beside(size: float, usual: float) -> str:
    """`21.6, not 0.50`"""
    return f"{short(size, 3)}, not {short(usual, 2)}"


def from_to(low: float, high: float) -> str:
    if high == math.inf:
        return f"{short(low)} or more"
    return f"{short(high)} or less" if low == -math.inf else f"{short(low)} to {short(high)}"


def price_words(price: Price) -> Iterator[str]:
    """What it costs, and where it costs less."""
    if not price.lines or abs(price.worst) < 0.05:
        return
    verb = "costs" if price.worst < 0 else "adds"
    others = {path: x for path, x in price.lines.items() if path != price.where}
    least = min(others, key=lambda path: abs(others[path]), default="")
    worst = f"{fixed(abs(price.worst), 1)} decades"
    if not others:
        yield f"It {verb} {worst} at {price.where}."
    elif abs(others[least]) < abs(price.worst) / 3:
        yield (
            f"It {verb} {worst} at {price.where}, and only {fixed(abs(others[least]), 1)} at "
            f"{least}: paths lead round it."
        )
    else:
        yield f"It {verb} up to {worst} in the layers before it, most at {price.where}."


def reads_inputs(facts: Facts, u: int) -> bool:
    z = facts.survey.units.nodes[u][0].inputs[0]
    return bool({*facts.survey.inputs} & {*z.inputs})


def fits_well(facts: Facts) -> bool:
    guess = facts.task.guess
    return guess is not None and float(facts.survey.losses.mean()) < 0.5 * guess
