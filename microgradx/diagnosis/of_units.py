"""The rules of units: what is dead, saturated, a copy, or not a number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgradx._base.text import count, element, listed, short, span
from microgradx.diagnosis.facts import (
    CEILING,
    FOUR,
    SCALE,
    SIXTEEN,
    Facts,
    Finding,
    beside,
    fits_well,
    how_many,
    numbered,
    numbers_of,
    price_words,
    reads_inputs,
    since,
    some_parameter,
)
from microgradx.engine import Value
from microgradx.explain.factors import factor_pairs, is_open
from microgradx.explain.samples import role_of
from microgradx.replay.units import Key

CAUSE = 3.0  # times its usual size a tensor is named as the cause of a saturation
FAR = 3.0  # of inputs that are named as one
NUMBERED = 12


def not_finite(facts: Facts) -> Iterator[Finding]:
    wrong = np.flatnonzero(~facts.survey.finite)
    if wrong.size:
        n, total = wrong.size, len(facts.survey.finite)
        loss = facts.survey.losses[wrong[0]]
        where = "loss" if not math.isfinite(loss) else "gradient"
        what = f"the loss is {loss:g}" if where == "loss" else "a gradient is not finite"
        begins = [p.label for p in facts.survey.replay.parameters if not math.isfinite(p.data)]
        since = f"So are parameters: {listed(begins, 3)}." if begins else (
            "c.why(finding) tells where that begins."
        )  # fmt: skip
        yield Finding(
            "not finite", where, rows=n / total, because=f"In {count(n, 'row')} of {total:,}, such "
            f"as row {wrong[0]}, {what}.\n{since}", cost=10 * SIXTEEN, row=int(wrong[0]),
            node=some_parameter(facts),
        )  # fmt: skip


def dead(facts: Facts) -> Iterator[Finding]:
    verdicts = facts.verdicts
    for layer, members in facts.by_layer.items():
        gone = [u for u in members if verdicts.dead[u] and not facts.is_empty(u)]
        if not gone:
            continue
        locked = [u for u in gone if verdicts.locked[u]]
        lost = facts.starved_by(locked)
        if len(gone) == len(members):
            facts.flat = True
            lost = max(lost, int((~facts.survey.moved).sum()))
        cost = SIXTEEN * lost + FOUR * facts.starved_by([u for u in gone if u not in locked])
        nearest = _nearest(facts, gone)
        node = facts.parameters_of(nearest)
        cost /= max(facts.ledger.total, 1)
        facts.blame(_off_by(facts, layer, gone), cost)
        yield Finding(
            "dead", layer, numbers_of(facts.keys(gone)), math.inf, 1.0,
            "\n".join(_deaths(facts, layer, gone)), cost,
            _best_row(facts, nearest), node[-1].label if node else "", len(members),
        )  # fmt: skip


def _nearest(facts: Facts, gone: Sequence[int]) -> int:
    """The unit that misses least."""
    margins = facts.verdicts.margins
    return min(gone, key=lambda u: margins[u] if margins[u] == margins[u] else math.inf)


def _off_by(facts: Facts, layer: str, units: Sequence[int]) -> str:
    """The tensor without whose scale most of these units would be on in some row, "" for none.

    It is so small that z hardly varies, and at its usual scale would go through 0; or so large that
    z's own bias no longer counts.
    """
    known, tensor = facts.survey.units, facts.tensor_of(layer)
    least, most = known.least[[*units]], known.most[[*units]]
    while tensor is not None and 1 / SCALE < tensor.ratio < SCALE:
        tensor = facts.read_by(tensor)
    if tensor is None:
        return ""
    if tensor.ratio < 1:
        reach = (most - least) / 2
        on = (np.abs(most + least) / 2 * tensor.ratio < reach) if tensor.size else reach == 0
    else:
        biases = np.array([facts.bias_of(u) for u in units])
        on = (most - biases) / tensor.ratio + biases > 0
    return tensor.name if np.median(on) > 0 else ""


def _best_row(facts: Facts, u: int) -> int:
    """The row in which a unit is nearest to being on."""
    return int(_z_of(facts, u).argmax())


def _deaths(facts: Facts, layer: str, gone: Sequence[int]) -> Iterator[str]:
    verdicts = facts.verdicts
    kinds: dict[str, list[int]] = {}
    for u in gone:
        proof = verdicts.proofs.get(u)
        kinds.setdefault(proof.verdict if proof else "flat", []).append(u)
    rows = count(len(facts.survey.losses), "row")
    if proved := kinds.pop("proved", []):
        yield f"Proved, for every input {facts.box.words}: {numbered(facts.keys(proved))}."
    if refuted := kinds.pop("refuted", []):
        yield f"Off on all {rows}, by at least {_margins(facts, refuted)}."
    if unknown := kinds.pop("unknown", []):
        only = "" if not (proved or refuted) else " (not proved)"
        yield f"Off on all {rows}{only}, by at least {_margins(facts, unknown)}."
    if flat := kinds.pop("flat", []):
        yield f"Flat on all {rows}: {numbered(facts.keys(flat))}."
    yield from since(facts, layer, numbers_of(facts.keys(gone)), "dead")
    yield from _locks(facts, layer, gone)


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
        once = ", once others have moved" if facts.verdicts.late.issuperset(free) else ""
        yield f"{who} be revived through {listed([*through], 2)}{once}."


def _row_of(label: str, whole: bool) -> str:
    """The tensor that a parameter is of, or the part of it that is one unit's."""
    tensor, place = element(label)
    return tensor if whole or not place else f"{tensor}[{place[0]}]"


def saturated(facts: Facts) -> Iterator[Finding]:
    outputs = {*facts.survey.outputs}
    for layer, members in facts.by_layer.items():
        shut = [u for u in members if facts.verdicts.saturated[u]]
        last = any(x in outputs for u in shut for x in facts.survey.units.nodes[u])
        if shut and not (last and fits_well(facts)):  # as the outputs of a net that is right are
            yield _saturation(facts, layer, shut, len(members))


def _saturation(facts: Facts, layer: str, shut: Sequence[int], size: int) -> Finding:
    units, price = facts.survey.units, facts.ledger.price(("saturation", layer))
    facts.told.add(("saturation", layer))
    facts.flat = facts.flat or len(shut) == size
    each = "every slope" if len(shut) == size else (
        "its slope" if len(shut) == 1 else "each of their slopes"
    )  # fmt: skip
    rule = units.nodes[shut[0]][0].rule
    largest = "the largest"
    if rule is not None and math.isfinite(rule.ceiling):
        largest = f"{rule.name}'s largest, {short(rule.ceiling)}"
    because, guilty, cause = _why_saturated(facts, layer, shut)
    rows = "In every row" if is_open(units.nodes[shut[0]][0]) else "In the median row"
    words = [f"{rows} {each} is below 1 % of {largest}, because {because}."]
    own = facts.ledger.owners.get(layer, 0) * len(shut) / size
    costs = [price.cost, -CEILING * facts.share(round(own))]
    if guilty:  # what its weights make of gradients besides is told here, too
        facts.guilty.add(guilty)
        facts.told.add(("weights", layer))
        costs.append(facts.ledger.price(("weights", layer)).cost)
    facts.blame(cause, max(costs))
    numbers = numbers_of(facts.keys(shut))
    node, z = facts.parameters_of(shut[0]), _z_of(facts, shut[0])
    return Finding(
        "saturated", layer, numbers, abs(price.worst),
        float(units.saturated[shut].sum() / units.seen[shut].sum()),
        "\n".join([*words, *since(facts, layer, numbers, "saturated"), *price_words(price)]),
        max(costs),
        int(np.argsort(np.abs(z))[len(z) // 2]), node[-1].label if node else "", size,
    )  # fmt: skip


def _z_of(facts: Facts, u: int) -> Any:
    """A unit's z by row, at its first position."""
    return facts.survey.values_of([facts.survey.units.nodes[u][0].inputs[0]])[0]


def _why_saturated(facts: Facts, layer: str, shut: Sequence[int]) -> tuple[str, str, str]:
    """The weights, the bias, what it reads or the inputs, whichever is out of proportion; else
    the range of z.

    In words; its own tensor of weights, if that is to blame, and else one before it; or "".
    """
    units, tensor = facts.survey.units, facts.tensor_of(layer)
    if tensor is not None:
        rows = [tensor.rows[k] for k in (units.keys[u][1] for u in shut) if k in tensor.rows]
        size = math.sqrt(np.mean([p.data**2 for row in rows for p in row])) if rows else 0.0
        if size > CAUSE * tensor.usual:
            parts = {len(tensor.rows): "", 1: "its row of "}
            whose = f"{parts.get(len(shut), 'their part of ')}{tensor.name} is "
            times = f"{how_many(size / tensor.usual)} times {tensor.whose}"
            return f"{whose}{times} ({beside(size, tensor.usual)})", tensor.name, ""
        z = _z_of(facts, shut[0])
        biases = [facts.bias_of(u) for u in shut]
        if np.median(np.abs(biases)) > 0.5 * np.median(np.abs(z)):
            ends = [*dict.fromkeys(short(x) for x in (min(biases), max(biases)))]
            lies = "is" if len(ends) == 1 else "lies in"
            words = f"{facts.name_of_bias(shut[0])} {lies} {' … '.join(ends)} there"
            return words, "", _off_by(facts, layer, shut)
        behind = facts.swollen_by(tensor)
        if behind is not None:
            times = f"{how_many(behind.ratio)} times {behind.whose}"
            return f"what it reads comes from {behind.name}, {times}", "", behind.name
        if reads_inputs(facts, shut[0]) and np.abs(facts.columns).max() > FAR:
            low, high = facts.columns.min(), facts.columns.max()
            words = f"the inputs lie in {span(low, high)}: z goes to {short(_far(z))}"
            return words, "", ""
    low, high = units.least[shut].min(), units.most[shut].max()
    return f"z lies in {span(low, high)}", "", ""


def _far(z: Any) -> float:
    return float(z[np.abs(z).argmax()])


def copies(facts: Facts) -> Iterator[Finding]:
    for layer, members in _hidden(facts).items():
        groups: dict[Any, list[Unit]] = {}
        for unit in members:
            weights = [p for p in unit.z.inputs if p in facts.leaves]
            if weights and not unit.dead:
                reads = tuple(id(x) for x in unit.z.inputs if x not in facts.leaves)
                groups.setdefault((tuple(p.data for p in weights), reads), []).append(unit)
        same = [unit for group in groups.values() if len(group) > 1
                for unit in _with_equal_ends(facts, group)]  # fmt: skip
        if same:
            own = sum(sum(p in facts.leaves for p in unit.z.inputs) for unit in same)
            first = next(p for p in same[0].z.inputs if p in facts.leaves)
            yield Finding(
                "copies", layer, numbers_of([unit.key for unit in same]), because=
                f"{numbered([unit.key for unit in same])} have equal weights in and equal weights "
                "out: their gradients are equal, and they stay equal whatever is trained.",
                cost=SIXTEEN * facts.share(own), node=first.label, of=len(members),
            )  # fmt: skip


class Unit(NamedTuple):
    """A unit inside the net: its layer and number, its z at its first position, its outputs."""

    key: Key
    z: Value
    nodes: Sequence[Value]
    dead: bool


def _hidden(facts: Facts) -> dict[str, list[Unit]]:
    """The units by layer, but for the outputs: activations, and those without one."""
    survey, outputs = facts.survey, {*facts.survey.outputs}
    found: dict[str, list[Unit]] = {}
    read: set[Value] = {*outputs}
    for u, (key, nodes) in enumerate(zip(survey.units.keys, survey.units.nodes)):
        read.update(x.inputs[0] for x in nodes)
        if not outputs & {*nodes}:
            unit = Unit(key, nodes[0].inputs[0], nodes, bool(facts.verdicts.dead[u]))
            found.setdefault(key[0], []).append(unit)
    linear: dict[Key, list[Value]] = {}
    for z in survey.zs:
        if z not in read:
            path, index, _ = role_of(z.label)
            linear.setdefault((path, index.rpartition(",")[2]), []).append(z)
    for key, nodes in linear.items():
        found.setdefault(key[0], []).append(Unit(key, nodes[0], nodes, False))
    return found


def _with_equal_ends(facts: Facts, group: Sequence[Unit]) -> list[Unit]:
    """Those of a group of which all is made alike, and then multiplied with equal weights."""
    place = {x: k for k, unit in enumerate(group) for x in unit.nodes}
    ends: list[list[Any]] = [[] for _ in group]
    for node in facts.survey.replay.nodes:
        readers = {place[x] for x in node.inputs if x in place}
        if len(readers) == 1 and all(x in place for x in node.inputs):
            [place[node]] = readers  # made of one unit alone, as a mean of its positions
            ends[place[node]].append((node.op, len(node.inputs), *_constants(node)))
        elif readers and factor_pairs(node):
            for weight, x in factor_pairs(node):
                if isinstance(x, Value) and x in place:
                    ends[place[x]].append(_known(weight))
        else:
            for k in readers:
                ends[k].append(object())  # like nothing else
    times = Counter(map(tuple, ends))
    return [unit for unit, end in zip(group, ends) if end and times[tuple(end)] > 1]


def _known(weight: Any) -> Any:
    """A number, or a leaf's; of a computed weight a thing that is like nothing else."""
    if not isinstance(weight, Value):
        return weight
    return weight.data if weight.rule is None else object()


def _constants(node: Value) -> Iterator[Any]:
    for operand in node.operands:
        yield from (x for x in (operand if isinstance(operand, tuple) else (operand,))
                    if not isinstance(x, Value))  # fmt: skip
