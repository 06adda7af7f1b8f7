"""The rules of layers: weights out of scale, and gradients that vanish or explode."""

from __future__ import annotations

import math
from collections.abc import Iterator

from microgradx._base.text import count, element, fixed, listed, short
from microgradx.diagnosis.facts import (
    BEFORE,
    CEILING,
    HALF,
    SCALE,
    SIXTEEN,
    TENTH,
    Facts,
    Finding,
    beside,
    few_layers,
    how_many,
    parameter_in,
    price_words,
)
from microgradx.diagnosis.ledger import Part, name_of_part
from microgradx.diagnosis.scales import Tensor
from microgradx.engine import Value
from microgradx.interop.usage import modules_of

DECADE = 1.0  # that a tensor which is off costs at least, beside its usual scale
APART = 1.5  # how far tensors are off that are named together
CHAIN, SMALL, LARGE = -2.0, -3.0, 2.0  # decades beside R at the outputs
IN_A_ROW = 3  # sigmoid layers: two are trained well


def zero_weights(facts: Facts) -> Iterator[Finding]:
    for tensor in facts.tensors:
        if tensor.size == 0.0:
            behind = _behind(facts, tensor.layer)
            facts.guilty.add(tensor.name)
            facts.flat = True
            lost = max(
                sum(facts.ledger.owners.get(path, 0) for path in behind),
                int((~facts.survey.moved).sum()) if behind else 0,
            )
            stop = f" No gradient gets to {few_layers(behind)}." if behind else ""
            yield Finding(
                "zero weights", tensor.name, decades=math.inf,
                because=f"Each of its weights is 0; {tensor.whose} would be "
                f"{short(tensor.usual, 2)}.{stop}",
                cost=facts.cost_of(tensor, SIXTEEN * facts.share(max(lost, 1))),
                node=parameter_in(facts, behind),
            )  # fmt: skip


def _behind(facts: Facts, layer: str) -> list[str]:
    """The layers with parameters from which R never gets past this one."""
    lines = facts.ledger.lines
    before = [*lines][: [*lines].index(layer)] if layer in lines else []
    return [path for path in before if lines[path].parameters and not lines[path].reached]


def scaled_weights(facts: Facts) -> Iterator[Finding]:
    for tensor in facts.tensors:
        ratio = tensor.ratio
        usual = not ratio or not math.isfinite(ratio) or 1 / SCALE < ratio < SCALE
        if usual or tensor.name in facts.guilty:
            continue
        price = facts.ledger.price(("weights", tensor.layer))
        first, causes = not price.lines, tensor.name in facts.causes
        facts.flat = facts.flat or ratio < 1
        decades = math.log10(ratio) if first else price.worst
        if not (causes or _costs(tensor, decades, first) >= DECADE):
            continue
        facts.told.add(("weights", tensor.layer))
        if ratio > 1:  # what is flat as it reads too large numbers
            layers = [t.layer for t in facts.tensors if facts.swollen_by(t) is tensor]
            facts.told.update(("saturation", layer) for layer in [tensor.layer, *layers])
        times = f"{how_many(ratio)} times" if ratio > 1 else f"1/{1 / ratio:,.0f} of"
        cost = abs(decades) * facts.share(_next_parameters(facts, tensor)) if first else price.cost
        words = f"It is {times} {tensor.whose} ({beside(tensor.size, tensor.usual)})."
        if first:
            size = "smaller" if ratio < 1 else "larger"
            more = f"What it gives on is {fixed(abs(decades), 1)} decades {size} for it."
        else:
            more = " ".join(price_words(price)) if (decades > 0) == (ratio > 1) else ""
        kind = "small weights" if ratio < 1 else "large weights"
        yield Finding(
            kind, tensor.name, decades=abs(decades), because=f"{words}\n{more}".strip(),
            cost=facts.cost_of(tensor, cost),
            **facts.shown_in([price.where or _after(facts, tensor) or tensor.layer]),
        )  # fmt: skip


def _costs(tensor: Tensor, decades: float, first: bool) -> float:
    """What it costs beside the outputs, or beside what weights of the usual size would, as they
    make gradients smaller where few units read."""
    usual = 0.0 if first else math.log10(tensor.usual) + 0.5 * math.log10(tensor.readers)
    return max(decades, decades - usual) if tensor.ratio > 1 else max(-decades, usual - decades)


def _next_parameters(facts: Facts, tensor: Tensor) -> int:
    """Of the layer that comes after, whose gradients are as small as what it reads."""
    owners = facts.ledger.owners
    return owners.get(_after(facts, tensor), 0) or owners.get(tensor.layer, 0)


def _after(facts: Facts, tensor: Tensor) -> str:
    """The next layer that has parameters, "" for none."""
    lines = [*facts.ledger.lines]
    after = lines[lines.index(tensor.layer) + 1 :] if tensor.layer in lines else []
    return next((path for path in after if facts.ledger.owners.get(path)), "")


def sigmoid_chain(facts: Facts) -> Iterator[Finding]:
    parts = facts.ledger.parts("sigmoid ceiling")
    if len(parts) < IN_A_ROW:
        return
    price = facts.ledger.price(*parts)
    line = facts.ledger.lines.get(price.where)
    if line is None or price.worst > (IN_A_ROW - 0.1) * CEILING:
        return
    if facts.ledger.short(line) > CHAIN or price.worst > TENTH * facts.ledger.short(line):
        return
    facts.told.update(parts)
    facts.flat = True
    layers = sum(part in line.parts for part in parts)
    yield Finding(
        "sigmoid chain", price.where, decades=-price.worst, cost=price.cost,
        because=f"A sigmoid's slope is at most ¼, and {layers} of them lie in a row before the "
        f"loss: {layers} × 0.6 decades. That costs {fixed(-price.worst, 1)} decades at "
        f"{price.where}; tanh's slope goes to 1.", **facts.shown_in([price.where]),
    )  # fmt: skip


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
        facts.flat = facts.flat or far < 0
        yield Finding(
            name, line.layer, decades=abs(far),
            cost=sum(abs(facts.ledger.short(x)) * facts.share(x.parameters) for x in lines),
            because=f"Gradients are {fixed(abs(far), 1)} decades {size} those at the outputs.\n"
            + _terms(facts, terms, far), **facts.shown_in([line.layer]),
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


def _led_to(output: Value) -> set[Value]:
    """All from which a path leads to an output, past no `detach` and no condition."""
    found, stack = {output}, [output]
    while stack:
        node = stack.pop()
        rule = node.rule
        for name, operand in zip(rule.operands if rule else (), node.operands):
            if rule is not None and name not in rule.silent:
                read = operand if isinstance(operand, tuple) else (operand,)
                fresh = [x for x in read if isinstance(x, Value) and x not in found]
                found.update(fresh)
                stack += fresh
    return found


def unused_parameters(facts: Facts) -> Iterator[Finding]:
    replay = facts.survey.replay
    used = {*replay.parameters}
    if any(x.rule is not None and x.rule.silent for x in replay.nodes):
        used = _led_to(replay.output)
    every = facts.task.model.parameters()
    idle = [p for p in every if p not in used]
    if idle:
        names = [*dict.fromkeys(element(p.label)[0] or "a leaf" for p in idle)]
        yield Finding(
            "unused parameters", listed(names, 3), decades=math.inf,
            because=f"{count(len(idle), 'parameter')} of the net: no path leads from there to the "
            "loss, so none of them is ever trained.",
            cost=SIXTEEN * len(idle) / len(every),
        )  # fmt: skip


def norms_without_rows(facts: Facts) -> Iterator[Finding]:
    """A norm over a batch that has seen none is the identity in `eval()`, and not in training."""
    if not any(hasattr(part, "running_mean") for part in modules_of(facts.task.model)):
        return
    state = facts.task.model.state_dict()
    found = [
        name.rpartition(".")[0]
        for name, means in state.items()
        if name.endswith("running_mean") and not any(means)
        and all(x == 1 for x in state.get(f"{name[:-4]}var", [0]))
    ]  # fmt: skip
    if found:
        yield Finding(
            "norms without rows", few_layers(found), because="Its statistics are means of 0 and "
            "variances of 1: it has seen no batch. A check-up looks at the net as in eval(), where "
            "it does nothing yet, so that what is found behind it need not be so in training. Run "
            "some batches in train() first.", cost=BEFORE * max(facts.dearest, 1.0),
            node=parameter_in(facts, found),
        )  # fmt: skip
