"""The findings: what is wrong with a net over its data, one rule a verdict, ranked by price.

A finding costs decades of the gradient times the share of the parameters that pay them. A stop
counts as SIXTEEN of them, the digits that a float has, and as FOUR where it can be revived; so does
what no gradient can mend. A loss that is worse than a guess counts as one at most: as a rule it
follows from something else.

The thresholds, which were fixed before the planted nets of the tests were made:

    dead                  a unit's slope is 0 in every row
    saturated             a unit's slope in the median row is below 1 % of its activation's largest
    small, large weights  a tensor is 10 times off its initialiser's scale, and that costs a decade
    zero weights          each weight of a tensor is 0
    sigmoid chain         two or more layers' ceilings of ¼ hold a tenth of what is missing where R
                          is 2 decades below that at the outputs
    vanishing, exploding  R is 3 decades below, or 2 above, and the findings above hold less than
                          half of that
    copies                units of a layer have equal weights in, and equal weights out
    inputs out of scale   a column's root mean square is above 30; or each column's is below 1/30
    inputs far from 0     a column's mean is above 3, and 10 times its spread
    targets out of reach  a target lies outside what the output's activation can give
    bounded logits        cross-entropy of outputs that are probabilities, or squashed
    constant outputs      an output's spread is below 1e-6 of its size, and no finding says why
    worse than a guess    the loss is 2 times that of a constant guess, of squares 10 times
    linear net            two layers without an activation between them; or no activation at all,
                          where the best linear fit leaves 90 % of the targets' variance
    large step            a step by the optimiser's raises the loss, turns a unit off in every row,
                          or saturates one
    small step            the loss falls along it to 100 times as far
    unused parameters     no path leads from them to the loss
    not finite            a loss or a gradient is nan or infinite in some row
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from microgradx._base import floats
from microgradx._base.text import count, element, fixed, listed, short
from microgradx.diagnosis.box import AFFINE, Box, dependence
from microgradx.diagnosis.ledger import Ledger, Part, Price, name_of_part
from microgradx.diagnosis.scales import Tensor, tensors_of
from microgradx.diagnosis.steps import Steps
from microgradx.diagnosis.survey import Survey
from microgradx.diagnosis.task import Task
from microgradx.diagnosis.units import Verdicts
from microgradx.engine import Value

SIXTEEN, FOUR = 16.0, 4.0  # decades that a stop counts as
SCALE, DECADE = 10.0, 1.0  # how far a tensor is off, and what that costs at least
APART = 1.5  # how far tensors are off that are named together
CAUSE = 3.0  # times its usual size a tensor is named as the cause of a saturation
CEILING = math.log10(0.25)
CHAIN, SMALL, LARGE = -2.0, -3.0, 2.0  # decades beside R at the outputs
WIDE, FAR, OFF_CENTRE = 30.0, 3.0, 10.0  # of inputs
STILL = 1e-6  # of an output's size
SHORT = 100.0  # times a step's length
TENTH, HALF = 0.1, 0.5  # of what is missing
ENTROPY, SQUARES = 2.0, 10.0  # times the loss of a guess
UNEXPLAINED = 0.9  # of the targets' variance
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
        self, survey: Survey, verdicts: Verdicts, ledger: Ledger, box: Box, steps: Steps | None
    ) -> None:
        self.survey, self.verdicts, self.ledger, self.box = survey, verdicts, ledger, box
        self.steps = steps
        self.task: Task = survey.task
        self.guilty: set[str] = set()  # tensors that a saturation has been blamed on
        self.told: set[Part] = set()  # parts of the budget that a finding is about
        self.unreachable = False  # whether targets lie where the outputs can't
        self.flat = False  # whether a finding says why outputs are all alike

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
        behind = {*survey.replay.parameters}
        for node in survey.replay.nodes:
            if any(x in behind for x in node.inputs):
                behind.add(node)
        fixed = [x for t in self.tensors for x in t.reads if x not in behind]
        nodes = [*dict.fromkeys(fixed)]
        if not nodes or {*nodes} == {*survey.inputs}:
            return self.columns if nodes or not self.tensors else self.columns[:, :0]
        return survey.values_of(nodes).T

    def numbers(self, units: Sequence[int]) -> tuple[int, ...]:
        """Their numbers in the layer."""
        return tuple(int(k) if k.isdigit() else i for i, (_, k) in
                     enumerate(self.survey.units.keys[u] for u in units))  # fmt: skip

    def share(self, parameters: int) -> float:
        return parameters / max(self.ledger.total, 1)

    def tensor_of(self, layer: str) -> Tensor | None:
        return next((t for t in self.tensors if t.layer == layer), None)

    def starved_by(self, dead: Sequence[int]) -> int:
        """How many parameters have no gradient as these units are off: their own, and those out."""
        nodes = {x: u for u in dead for x in self.survey.units.nodes[u][:1]}
        out = sum(
            sum(x in nodes for x in node.inputs) for node in self.survey.replay.nodes
            if nodes and node.rule is not None and node.rule.kind == "product"
        )  # fmt: skip
        return out + sum(len(self.parameters_of(u)) for u in dead)

    def parameters_of(self, u: int) -> list[Value]:
        """Those that a unit's z is a product of, and its bias."""
        z = self.survey.units.nodes[u][0].inputs[0]
        leaves = {*self.survey.replay.parameters}
        return [p for p in z.inputs if p in leaves]


Rule = Callable[[Facts], Iterator[Finding]]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    """Enter a rule; each looks at what those before it have found."""
    RULES.append(function)
    return function


def findings_of(facts: Facts) -> list[Finding]:
    """All findings, the dearest first."""
    found: list[Finding] = []
    for each in RULES:
        found += each(facts)
    return sorted(found, key=lambda finding: -finding.cost)


# --- what is not a number ------------------------------------------------------------------------


@rule
def not_finite(facts: Facts) -> Iterator[Finding]:
    wrong = np.flatnonzero(~facts.survey.finite)
    if wrong.size:
        n, total = wrong.size, len(facts.survey.finite)
        loss = facts.survey.losses[wrong[0]]
        yield Finding(
            "not finite", "loss" if not math.isfinite(loss) else "gradient", rows=n / total,
            because=f"In {count(n, 'row')} of {total:,}, such as row {wrong[0]}, "
            + (f"the loss is {loss:g}." if not math.isfinite(loss) else "a gradient is not finite.")
            + " Ask c.why(finding) where that begins.",
            cost=2 * SIXTEEN * n / total, row=int(wrong[0]), node=_some_parameter(facts),
        )  # fmt: skip


def _some_parameter(facts: Facts) -> str:
    return next((p.label for p in facts.survey.replay.parameters if p.label), "")


# --- units ---------------------------------------------------------------------------------------


@rule
def dead(facts: Facts) -> Iterator[Finding]:
    verdicts = facts.verdicts
    for layer, members in facts.by_layer.items():
        gone = [u for u in members if verdicts.dead[u]]
        if not gone:
            continue
        locked = [u for u in gone if verdicts.locked[u]]
        lost = facts.starved_by(locked)
        if len(gone) == len(members):
            facts.flat = True
            lost = max(lost, int((facts.survey.moved == 0).sum()))
        cost = SIXTEEN * lost + FOUR * facts.starved_by([u for u in gone if u not in locked])
        node = facts.parameters_of(gone[0])
        yield Finding(
            "dead", layer, facts.numbers(gone), math.inf, 1.0,
            "\n".join(_deaths(facts, layer, gone)), cost / max(facts.ledger.total, 1),
            _nearest_row(facts, gone), node[-1].label if node else "", len(members),
        )  # fmt: skip


def _nearest_row(facts: Facts, gone: Sequence[int]) -> int:
    """The row in which the one that misses least is nearest to being on."""
    units, margins = facts.survey.units, facts.verdicts.margins
    u = min(gone, key=lambda u: margins[u] if margins[u] == margins[u] else math.inf)
    z = facts.survey.values_of([units.nodes[u][0].inputs[0]])[0]
    return int(z.argmax())


def _deaths(facts: Facts, layer: str, gone: Sequence[int]) -> Iterator[str]:
    verdicts, keys = facts.verdicts, facts.survey.units.keys
    kinds: dict[str, list[int]] = {}
    for u in gone:
        proof = verdicts.proofs.get(u)
        kinds.setdefault(proof.verdict if proof else "flat", []).append(u)
    rows = count(len(facts.survey.losses), "row")
    if proved := kinds.pop("proved", []):
        yield f"Proved, for every input {facts.box.words}: {_units(keys, proved)}."
    if refuted := kinds.pop("refuted", []):
        yield f"Off on all {rows}, by at least {_margins(facts, refuted)}."
    if unknown := kinds.pop("unknown", []):
        only = "" if not (proved or refuted) else " (not proved: not in the first layer)"
        yield f"Off on all {rows}{only}, by at least {_margins(facts, unknown)}."
    if flat := kinds.pop("flat", []):
        yield f"Flat on all {rows}: {_units(keys, flat)}."
    yield from _locks(facts, layer, gone)


def _units(keys: Sequence[tuple[str, str]], gone: Sequence[int]) -> str:
    shown = [keys[u][1] for u in gone[:NUMBERED]]
    rest = len(gone) - len(shown)
    return " ".join(shown) + (f" and {rest} more" if rest else "")


def _margins(facts: Facts, gone: Sequence[int]) -> str:
    """`0.014 (33), 0.02 (5 28 44 57)`, those of one margin together."""
    groups: dict[str, list[str]] = {}
    margins = facts.verdicts.margins
    for u in sorted(gone, key=lambda u: (float(short(float(margins[u]), 2)), u))[:NUMBERED]:
        groups.setdefault(short(float(margins[u]), 2), []).append(facts.survey.units.keys[u][1])
    rest = len(gone) - NUMBERED
    return ", ".join(f"{margin} ({' '.join(ks)})" for margin, ks in groups.items()) + (
        f" and {rest} more" if rest > 0 else ""
    )


def _locks(facts: Facts, layer: str, gone: Sequence[int]) -> Iterator[str]:
    locked = [u for u in gone if facts.verdicts.locked[u]]
    free = [u for u in gone if not facts.verdicts.locked[u]]
    if locked:
        names = {_row_of(p.label, len(locked) > 1): None
                 for u in locked for p in facts.parameters_of(u)}  # fmt: skip
        all_ = {1: "It is", 2: "Both are"}.get(len(gone), f"All {len(gone)} are") if not free else (
            f"{count(len(locked), 'neuron')} of these {'is' if len(locked) == 1 else 'are'}"
        )  # fmt: skip
        whose = " of theirs" if names and len(locked) > 1 else ""
        to = f"{' or '.join([*names][:2])}{whose}" if names else "what lies behind"
        yield f"{all_} locked: no gradient reaches {to}."
    if free:
        through = {name: None for u in free for name in facts.verdicts.through[u]}
        who = "It can" if len(gone) == 1 else "They can" if not locked else (
            f"{count(len(free), 'other')} can"
        )  # fmt: skip
        yield f"{who} be revived through {listed([*through], 2)}."


def _row_of(label: str, whole: bool) -> str:
    """The tensor that a parameter is of, or the part of it that is one unit's."""
    tensor, place = element(label)
    return tensor if whole or not place else f"{tensor}[{place[0]}]"


@rule
def saturated(facts: Facts) -> Iterator[Finding]:
    verdicts, units, last = facts.verdicts, facts.survey.units, {*facts.survey.outputs}
    for layer, members in facts.by_layer.items():
        shut = [u for u in members if verdicts.saturated[u]]
        if last & {x for u in shut for x in units.nodes[u]} and _fits_well(facts):
            continue  # as the outputs of a net that is right are
        if not shut:
            continue
        price = facts.ledger.price(("saturation", layer))
        facts.told.add(("saturation", layer))
        facts.flat = facts.flat or len(shut) == len(members)
        own = facts.ledger.owners.get(layer, 0) * len(shut) / len(members)
        cost = max(price.cost, -CEILING * facts.share(round(own)))
        rows = float(units.saturated[shut].sum() / units.seen[shut].sum())
        z = facts.survey.values_of([units.nodes[shut[0]][0].inputs[0]])[0]
        row = int(np.argsort(np.abs(z))[len(z) // 2])
        node = facts.parameters_of(shut[0])
        op = units.ops[shut[0]]
        each = "every slope" if len(shut) == len(members) else (
            "its slope" if len(shut) == 1 else "each of their slopes"
        )  # fmt: skip
        largest = {"sigmoid": "the sigmoid's 0.25", "tanh": "tanh's 1"}.get(op, "the largest")
        words = [
            f"In the median row {each} is below 1 % of {largest}, because "
            f"{_why_saturated(facts, layer, shut)}.", *_price_words(price, layer),
        ]  # fmt: skip
        yield Finding(
            "saturated", layer, facts.numbers(shut), abs(price.worst), rows, "\n".join(words), cost,
            row, node[-1].label if node else "", len(members),
        )  # fmt: skip


def _fits_well(facts: Facts) -> bool:
    guess = facts.task.guess
    return guess is not None and float(facts.survey.losses.mean()) < 0.5 * guess


def _why_saturated(facts: Facts, layer: str, shut: Sequence[int]) -> str:
    """The weights, the inputs or the bias, whichever is out of proportion; else the range of z."""
    units, tensor = facts.survey.units, facts.tensor_of(layer)
    if tensor is not None:
        rows = [tensor.rows[k] for k in (units.keys[u][1] for u in shut) if k in tensor.rows]
        size = math.sqrt(np.mean([p.data**2 for row in rows for p in row])) if rows else 0.0
        if size > CAUSE * tensor.usual:
            facts.guilty.add(tensor.name)
            times = _times(size / tensor.usual)
            part = "" if len(shut) == len(tensor.rows) else " their part of" if len(
                shut) > 1 else " its row of"  # fmt: skip
            return (
                f"{part}{' ' * bool(part)}{tensor.name} is {times} times {tensor.whose} "
                f"({_two(size, tensor.usual)})"
            ).strip()
        means = abs(units.mean[shut])
        z = facts.survey.values_of([units.nodes[shut[0]][0].inputs[0]])[0]
        if _reads_inputs(facts, shut[0]) and np.abs(facts.columns).max() > FAR:
            low, high = facts.columns.min(), facts.columns.max()
            return f"the inputs lie in {short(low)} … {short(high)}: z goes to {short(_far(z))}"
        bias = [p for u in shut for p in facts.parameters_of(u)[tensor.fan_in :]]
        if bias and means.size and np.median([abs(p.data) for p in bias]) > 0.5 * abs(_far(z)):
            typical = float(np.median([p.data for p in bias]))
            return f"{element(bias[0].label)[0]} is {short(typical)} there"
    low, high = units.least[shut].min(), units.most[shut].max()
    return f"z lies in {short(low)} … {short(high)}"


def _far(z: Any) -> float:
    return float(z[np.abs(z).argmax()])


def _reads_inputs(facts: Facts, u: int) -> bool:
    z = facts.survey.units.nodes[u][0].inputs[0]
    return bool({*facts.survey.inputs} & {*z.inputs})


def _times(x: float) -> str:
    """`3.5`, `43`, `1,583`"""
    return short(x, 2) if x < 10 else f"{x:,.0f}" if x < 1e6 else short(x)


def _two(size: float, usual: float) -> str:
    """`21.6, not 0.50`"""
    return f"{short(size, 3)}, not {short(usual, 2)}"


def _price_words(price: Price, layer: str = "") -> Iterator[str]:
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


# --- weights -------------------------------------------------------------------------------------


@rule
def zero_weights(facts: Facts) -> Iterator[Finding]:
    for tensor in facts.tensors:
        if tensor.size == 0.0:
            behind = _behind(facts, tensor.layer)
            facts.guilty.add(tensor.name)
            facts.flat = True
            lost = sum(facts.ledger.owners.get(path, 0) for path in behind)
            stop = f" No gradient gets to {_layers(behind)}." if behind else ""
            yield Finding(
                "zero weights", tensor.name, decades=math.inf,
                because=f"Each of its weights is 0; {tensor.whose} would be "
                f"{short(tensor.usual, 2)}.{stop}",
                cost=SIXTEEN * facts.share(max(lost, 1)), node=_parameter_in(facts, behind),
            )  # fmt: skip


def _behind(facts: Facts, layer: str) -> list[str]:
    """The layers with parameters from which R never gets past this one."""
    lines = facts.ledger.lines
    return [p for p, line in lines.items() if line.parameters and p != layer and not line.reached]


def _layers(paths: Sequence[str]) -> str:
    return listed([*paths], 3)


def _parameter_in(facts: Facts, layers: Sequence[str]) -> str:
    for p in facts.survey.replay.parameters:
        if element(p.label)[0].rpartition(".")[0] in layers:
            return str(p.label)
    return _some_parameter(facts)


@rule
def scaled_weights(facts: Facts) -> Iterator[Finding]:
    for tensor in facts.tensors:
        ratio = tensor.ratio
        if not ratio or 1 / SCALE < ratio < SCALE or tensor.name in facts.guilty:
            continue
        price = facts.ledger.price(("weights", tensor.layer))
        first = not price.lines
        facts.flat = facts.flat or ratio < 1
        decades = math.log10(ratio) if first else price.worst
        if abs(decades) < DECADE or (decades < 0) != (ratio < 1):
            continue
        facts.told.add(("weights", tensor.layer))
        times = f"{_times(ratio)} times" if ratio > 1 else f"1/{1 / ratio:,.0f} of"
        cost = abs(decades) * facts.share(_next_parameters(facts, tensor)) if first else price.cost
        words = f"It is {times} {tensor.whose} ({_two(tensor.size, tensor.usual)})."
        if first:
            size = "smaller" if ratio < 1 else "larger"
            more = f"What it gives on is {fixed(abs(decades), 1)} decades {size} for it."
        else:
            more = " ".join(_price_words(price))
        kind = "small weights" if ratio < 1 else "large weights"
        yield Finding(
            kind, tensor.name, decades=abs(decades), because=f"{words}\n{more}", cost=cost,
            node=_parameter_in(facts, [price.where or tensor.layer]),
        )  # fmt: skip


def _next_parameters(facts: Facts, tensor: Tensor) -> int:
    """Of the layer that comes after, whose gradients are as small as what it reads."""
    lines = [*facts.ledger.lines]
    after = lines[lines.index(tensor.layer) + 1 :] if tensor.layer in lines else []
    found = [facts.ledger.owners.get(path, 0) for path in after]
    return next((n for n in found if n), facts.ledger.owners.get(tensor.layer, 0))


@rule
def copies(facts: Facts) -> Iterator[Finding]:
    units, outputs = facts.survey.units, {*facts.survey.outputs}
    for layer, members in facts.by_layer.items():
        groups: dict[tuple[float, ...], list[int]] = {}
        for u in members:
            weights = facts.parameters_of(u)
            hidden = not outputs & {*units.nodes[u]}
            if hidden and weights and not facts.verdicts.dead[u]:
                groups.setdefault(tuple(p.data for p in weights), []).append(u)
        same = [u for group in groups.values() if len(group) > 1 for u in _with_equal_ends(
            facts, group)]  # fmt: skip
        if same:
            own = sum(len(facts.parameters_of(u)) for u in same)
            yield Finding(
                "copies", layer, facts.numbers(same), because=
                f"{_units(units.keys, same)} have equal weights in and equal weights out: their "
                "gradients are equal, and they stay equal whatever is trained.",
                cost=SIXTEEN * facts.share(own), node=facts.parameters_of(same[0])[0].label,
                of=len(members),
            )  # fmt: skip


def _with_equal_ends(facts: Facts, group: Sequence[int]) -> list[int]:
    """Those of a group whose outputs are multiplied with equal weights."""
    nodes = {facts.survey.units.nodes[u][0]: u for u in group}
    out: dict[int, list[float]] = {u: [] for u in group}
    for node in facts.survey.replay.nodes:
        if node.rule is not None and node.rule.lists and node.rule.kind == "product":
            weights, xs = node.operands[:2]
            for w, x in zip(weights, xs):
                if x in nodes:
                    out[nodes[x]].append(w.data if isinstance(w, Value) else w)
    times = Counter(map(tuple, out.values()))
    return [u for u in group if times[tuple(out[u])] > 1]


# --- gradients by layer --------------------------------------------------------------------------


@rule
def sigmoid_chain(facts: Facts) -> Iterator[Finding]:
    parts = facts.ledger.parts("sigmoid ceiling")
    if len(parts) < 2:
        return
    price = facts.ledger.price(*parts)
    line = facts.ledger.lines.get(price.where)
    if line is None or price.worst > 1.9 * CEILING:
        return
    if facts.ledger.short(line) > CHAIN or price.worst > TENTH * facts.ledger.short(line):
        return
    facts.told.update(parts)
    layers = sum(part in line.parts for part in parts)
    yield Finding(
        "sigmoid chain", price.where, decades=-price.worst, cost=price.cost,
        because=f"A sigmoid's slope is at most ¼, and {layers} of them lie in a row before the "
        f"loss: {layers} × 0.6 decades. That costs {fixed(-price.worst, 1)} decades at "
        f"{price.where}; tanh's slope goes to 1.", node=_parameter_in(facts, [price.where]),
    )  # fmt: skip


@rule
def vanishing(facts: Facts) -> Iterator[Finding]:
    """What is small or large for none of the reasons above: its largest terms are named."""
    lines = [line for line in facts.ledger.lines.values() if line.parameters and line.reached]
    for name, worst in (("vanishing", min), ("exploding", max)):
        line = worst(lines, key=facts.ledger.short, default=None)
        far = facts.ledger.short(line) if line else 0.0
        if line is None or (far > SMALL if name == "vanishing" else far < LARGE):
            continue
        terms = {part: x for part, x in line.parts.items() if part[0] != "loss" and x * far > 0}
        if sum(x for part, x in terms.items() if part in facts.told) / far > HALF:
            continue
        size = "below" if far < 0 else "above"
        yield Finding(
            name, line.layer, decades=abs(far),
            cost=sum(abs(facts.ledger.short(x)) * facts.share(x.parameters) for x in lines),
            because=f"Gradients are {fixed(abs(far), 1)} decades {size} those at the outputs.\n"
            + _terms(facts, terms, far), node=_parameter_in(facts, [line.layer]),
        )  # fmt: skip


def _terms(facts: Facts, terms: dict[Part, float], far: float) -> str:
    """The largest terms; weights of several layers together, beside an initialiser's."""
    weights = {layer: x for (kind, layer), x in terms.items() if kind == "weights"}
    beside = [
        t for t in facts.tensors if t.layer in weights and (t.ratio > 1) == (far > 0)
        and not 1 / APART < t.ratio < APART
    ]  # fmt: skip
    whole = sum(weights[t.layer] for t in beside)
    if len(beside) > 1 and whole / far > HALF:
        ratios = sorted(t.ratio for t in beside)
        low, high = (short(x, 2) for x in (ratios[0], ratios[-1]))
        to = low if low == high else f"{low} to {high}"
        return (
            f"The weights of {count(len(beside), 'layer')} are {to} times {beside[0].whose}: "
            f"together they make {fixed(abs(whole), 1)} decades of it."
        )
    ranked = sorted(terms.items(), key=lambda term: -abs(term[1]))
    named = [f"{name_of_part(p)} {fixed(x, 1)}" for p, x in ranked if x / far > TENTH]
    return f"The largest parts: {listed(named or [name_of_part(p) for p, _ in ranked[:1]], 4)}."


# --- the data ------------------------------------------------------------------------------------


@rule
def inputs(facts: Facts) -> Iterator[Finding]:
    x = facts.read
    if not x.shape[1]:
        return
    mean, spread = x.mean(axis=0), x.std(axis=0)
    size = np.hypot(mean, spread)
    first = next((n for path, n in facts.ledger.owners.items() if n), 0)
    away = (np.abs(mean) > np.maximum(FAR, OFF_CENTRE * spread)) & (spread > 0)
    if away.any():
        k = int(np.where(away, np.abs(mean), 0).argmax())
        yield _of_inputs(
            facts, "inputs far from 0", away, np.log10(np.abs(mean[k]) / spread[k]),
            f"Column {k} lies in {short(x[:, k].min())} … {short(x[:, k].max())}: its mean is "
            f"{_times(abs(mean[k]) / spread[k])} times its spread. Subtract the mean of each "
            "column, and divide by its spread.", first,
        )  # fmt: skip
    large = (size > WIDE) & ~away
    if large.any():
        k = int(np.where(large, size, 0).argmax())
        yield _of_inputs(
            facts, "inputs out of scale", large, np.log10(size[k]),
            f"Column {k} lies in {short(x[:, k].min())} … {short(x[:, k].max())}; an initialiser "
            "reckons with a root mean square of 1. Divide each column by its spread.", first,
        )  # fmt: skip
    elif size.max() and size.max() < 1 / WIDE:
        yield _of_inputs(
            facts, "inputs out of scale", size > 0, -np.log10(size.max()),
            f"All lie in {short(x.min())} … {short(x.max())}; an initialiser reckons with a root "
            "mean square of 1. Divide each column by its spread.", first,
        )  # fmt: skip


def _of_inputs(
    facts: Facts, verdict: str, which: Any, decades: Any, because: str, first: int
) -> Finding:
    """It comes before the saturation that follows from it."""
    shut = [
        facts.ledger.price(("saturation", layer)).cost
        for layer, members in facts.by_layer.items()
        if _reads_inputs(facts, members[0]) and facts.verdicts.saturated[members].any()
    ]
    cost = max([float(decades) * facts.share(first), *[1.001 * x + 0.001 for x in shut]])
    n = int(which.sum())
    of = f"{n} of {count(len(which), 'column')}" if len(which) > 1 else "one column"
    return Finding(
        verdict, f"X, {of}", decades=float(decades), because=because, cost=cost,
        node=_some_parameter(facts),
    )  # fmt: skip


@rule
def targets_out_of_reach(facts: Facts) -> Iterator[Finding]:
    task, outputs = facts.task, facts.survey.outputs
    if task.name != "mse" or task.targets is None:
        return
    targets = task.targets.reshape(len(task.targets), -1)
    if targets.shape[1] != len(outputs):
        return
    for k, y in enumerate(outputs):
        low, high = reach(y)
        out = (targets[:, k] < low) | (targets[:, k] > high)
        if out.any():
            facts.unreachable = True
            name = "the output" if len(outputs) == 1 else f"output {k}"
            yield Finding(
                "targets out of reach", "y" if len(outputs) == 1 else f"y[{k}]",
                rows=float(out.mean()),
                because=f"Targets lie in {short(targets[:, k].min())} … "
                f"{short(targets[:, k].max())}, and {name} is a {y.op}, which gives "
                f"{_range(low, high)}: {count(int(out.sum()), 'row')} of {len(out):,} can't be "
                "reached. Leave the last activation out, or scale the targets.",
                cost=SIXTEEN * float(out.mean()), row=int(out.argmax()),
                node=_last_parameter(facts),
            )  # fmt: skip


def reach(y: Value) -> tuple[float, float]:
    """The least and the largest that the op of one operand that made y can give."""
    rule = y.rule
    if rule is None or rule.bounds is None or rule.lists or len(y.inputs) != 1 or rule.kind == (
        "linear"
    ):  # fmt: skip
        return -math.inf, math.inf
    points = () if isinstance(rule.bounds, str) else rule.bounds
    ends = [rule.function(floats, x)[0] for x in (-math.inf, *points, math.inf)]
    known = [x for x in ends if x == x]
    return min(known), max(known)


def _range(low: float, high: float) -> str:
    if high == math.inf:
        return f"{short(low)} or more"
    return f"{short(high)} or less" if low == -math.inf else f"{short(low)} to {short(high)}"


def _last_parameter(facts: Facts) -> str:
    return next((p.label for p in reversed(facts.survey.replay.parameters) if p.label), "")


@rule
def bounded_logits(facts: Facts) -> Iterator[Finding]:
    task, outputs = facts.task, facts.survey.outputs
    if task.loss.function.__name__ not in ("cross_entropy", "binary_cross_entropy_with_logits"):
        return
    results, k = facts.survey.results, len(outputs)
    ends = [reach(y) for y in outputs]
    low, high = min(a for a, _ in ends), max(b for _, b in ends)
    name = f"a {outputs[0].op}'s"
    sums = results.sum(axis=0)
    if k > 1 and results.min() >= 0 and np.abs(sums - 1).max() < 1e-9:
        low, high, name = 0.0, 1.0, "probabilities already: a softmax's"
    if not math.isfinite(high - low) and not (low == 0.0 and outputs[0].op == "relu"):
        return
    if k == 1:
        floor = math.log1p(math.exp(-max(high, -low))) if math.isfinite(high - low) else 0.0
    else:
        floor = math.log1p((k - 1) * math.exp(low - high))
    least = f" The loss can't fall below {short(floor, 3)}." if floor > 1e-3 else (
        " What is below 0 is cut off, and with it its gradient."
    )  # fmt: skip
    yield Finding(
        "bounded logits", "outputs", because=f"{task.words.capitalize()} takes logits, any "
        f"numbers, but the outputs are {name}, {_range(low, high)}.{least} Leave the last "
        "activation out.", cost=SIXTEEN, node=_last_parameter(facts),
    )  # fmt: skip


@rule
def worse_than_a_guess(facts: Facts) -> Iterator[Finding]:
    guess, loss = facts.task.guess, float(facts.survey.losses.mean())
    if not guess or not math.isfinite(loss) or facts.unreachable:
        return
    if loss > guess * (SQUARES if facts.task.name == "mse" else ENTROPY):
        results = facts.survey.results
        lie = f"The outputs lie in {short(results.min())} … {short(results.max())}"
        y = facts.task.targets
        also = ""
        if facts.task.name == "mse" and y is not None:
            also = f", the targets in {short(y.min())} … {short(y.max())}"
        yield Finding(
            "worse than a guess", "loss", decades=math.log10(loss / guess),
            because=f"The loss is {short(loss)}, and {short(guess)} if the outputs were the best "
            f"constants.\n{lie}{also}.", cost=min(math.log10(loss / guess), 1.0),
            row=int(facts.survey.losses.argmax()), node=_last_parameter(facts),
        )  # fmt: skip


@rule
def linear_net(facts: Facts) -> Iterator[Finding]:
    survey, task = facts.survey, facts.task
    kinds = dependence(survey.replay.nodes, survey.inputs)
    if any(kinds.get(y, AFFINE) != AFFINE for y in survey.outputs):
        return
    layers = [*dict.fromkeys(t.layer for t in facts.tensors)]
    if len(layers) > 1:
        yield Finding(
            "linear net", _layers(layers), because="There is no activation between these layers: "
            "together they are one, and no line is bent. Put one after each but the last.",
            cost=SIXTEEN, node=_some_parameter(facts),
        )  # fmt: skip
        return
    left = _unexplained(task, facts.columns)
    if left > UNEXPLAINED:
        yield Finding(
            "linear net", "outputs", because="The net is linear in its inputs, and the best linear "
            f"fit leaves {100 * left:.0f} % of the targets' variance. Put a hidden layer with an "
            "activation before it.", cost=SIXTEEN, node=_some_parameter(facts),
        )  # fmt: skip


def _unexplained(task: Task, x: Any) -> float:
    """The share of the targets' variance that least squares leaves."""
    if task.targets is None or len(x) <= x.shape[1] + 1:
        return 0.0
    y = task.targets.reshape(len(x), -1)
    y = y - y.mean(axis=0)
    if not y.any():
        return 0.0
    a = np.column_stack([x - x.mean(axis=0), np.ones(len(x))])
    residual = y - a.dot(np.linalg.lstsq(a, y, rcond=None)[0])
    return float((residual**2).sum() / (y**2).sum())


@rule
def constant_outputs(facts: Facts) -> Iterator[Finding]:
    if facts.flat or len(facts.task.X) < 2:
        return
    results = facts.survey.results
    spread, size = results.std(axis=1), np.abs(results).max(axis=1)
    if (
        not (facts.columns.std(axis=0) > 0).any()
        or (spread > STILL * np.maximum(size, STILL)).any()
    ):
        return
    shown = listed([short(float(x)) for x in results.mean(axis=1)], 4)
    yield Finding(
        "constant outputs", "outputs", because=f"Every row gives the same, {shown}: the net does "
        "not tell its inputs apart.", cost=SIXTEEN, node=_some_parameter(facts),
    )  # fmt: skip


@rule
def unused_parameters(facts: Facts) -> Iterator[Finding]:
    used = {*facts.survey.replay.parameters}
    idle = [p for p in facts.task.model.parameters() if p not in used]
    if idle:
        names = [*dict.fromkeys(element(p.label)[0] or "a leaf" for p in idle)]
        yield Finding(
            "unused parameters", listed(names, 3), decades=math.inf,
            because=f"{count(len(idle), 'parameter')} of the net: no path leads from there to the "
            "loss, so none of them is ever trained.",
            cost=SIXTEEN * len(idle) / (len(idle) + facts.ledger.total),
        )  # fmt: skip


@rule
def large_step(facts: Facts) -> Iterator[Finding]:
    steps = facts.steps
    if steps is None or not math.isfinite(steps.before.loss):
        return
    before, after, off, shut = steps.before, steps.after, steps.turned_off, steps.shut
    rises = not after.loss <= before.loss
    if not (rises or off or shut):
        return
    does = [f"raises the loss from {short(before.loss)} to {short(after.loss)}"] * rises
    does += [f"turns {count(len(off), 'neuron')} off in every row"] if off else []
    does += [f"saturates {count(len(shut), 'neuron')} in half of the rows"] if shut else []
    begins = min(steps.rises if rises else math.inf, steps.dies if off else math.inf,
                 steps.saturates if shut else math.inf)  # fmt: skip
    tensor, ratio = _moved_most(steps)
    yield Finding(
        "large step", steps.words, rows=1.0,
        because=f"A step {' and '.join(does)}. That begins at {short(begins, 2)} times its size.\n"
        f"It moves {tensor} by {short(10.0**ratio, 2)} of its own size; about 0.001 is usual.",
        cost=SIXTEEN * (1.0 if rises else facts.share(facts.starved_by(off)) or 0.1),
        node=_some_parameter(facts),
    )  # fmt: skip


@rule
def small_step(facts: Facts) -> Iterator[Finding]:
    steps = facts.steps
    if steps is None or steps.best < SHORT or not math.isfinite(steps.before.loss):
        return
    tensor, ratio = _moved_most(steps)
    yield Finding(
        "small step", steps.words, decades=math.log10(steps.best),
        because=f"It moves no tensor by more than {short(10.0**ratio, 2)} of its own size "
        f"({tensor}), and the loss falls along it to {steps.best:,.0f} times as far: from "
        f"{short(steps.before.loss)} to {short(steps.after.loss)} in one step, to "
        f"{short(steps.least)} there.", cost=math.log10(steps.best), node=_some_parameter(facts),
    )  # fmt: skip


def _moved_most(steps: Steps) -> tuple[str, float]:
    """The tensor that moves most beside its own size, and log₁₀ of that."""
    known = [
        (ratio, name) for name, ratio in zip(steps.table["tensor"], steps.table["log10 of it"])
        if ratio == ratio
    ]  # fmt: skip
    ratio, name = max(known, default=(-math.inf, "nothing"))
    return name, ratio
