"""The rules of data: inputs, targets, outputs, and the loss beside a guess."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from microgradx._base.text import count, listed, short, span
from microgradx.diagnosis.box import AFFINE, reach
from microgradx.diagnosis.facts import (
    BEFORE,
    FOUR,
    SIXTEEN,
    Facts,
    Finding,
    few_layers,
    from_to,
    how_many,
    last_parameter,
    parameter_in,
    some_parameter,
)
from microgradx.diagnosis.straight import pairs_of
from microgradx.diagnosis.task import Task

WIDE, FAR, OFF_CENTRE = 30.0, 3.0, 10.0  # of inputs
STILL = 1e-6  # of an output's size
ENTROPY, SQUARES = 3.0, 10.0  # times the loss of a guess
UNEXPLAINED = 0.9  # of the targets' variance


def inputs(facts: Facts) -> Iterator[Finding]:
    x = facts.read
    if not x.shape[1]:
        return
    mean, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > STILL * STILL * np.abs(mean), spread, 0.0)  # what rounding makes
    size = np.hypot(mean, spread)
    away = (np.abs(mean) > np.maximum(FAR, OFF_CENTRE * spread)) & (spread > 0)
    if away.any():
        k = int(np.where(away, np.abs(mean), 0).argmax())
        yield _of_inputs(
            facts, "inputs far from 0", away, np.log10(np.abs(mean[k]) / spread[k]),
            f"{facts.column(k)} lies in {span(x[:, k].min(), x[:, k].max())}: its mean is "
            f"{how_many(abs(mean[k]) / spread[k])} times its spread. Subtract the mean of each "
            "column, and divide by its spread.",
        )  # fmt: skip
    large = (size > WIDE) & ~away
    if large.any():
        k = int(np.where(large, size, 0).argmax())
        words = (
            f"{facts.column(k)} lies in {span(x[:, k].min(), x[:, k].max())}; an initialiser "
            "reckons with a root mean square of 1. Divide each column by its spread."
        )
        if not spread[k]:
            words = (
                f"{facts.column(k)} is {short(x[0, k])} in every row: a second bias, whose steps "
                "are so much larger. Leave it out."
            )
        yield _of_inputs(facts, "inputs out of scale", large, np.log10(size[k]), words)
    elif not size.any():
        yield _of_inputs(
            facts, "inputs out of scale", size == 0, SIXTEEN, "All inputs are 0 in every row: no "
            "weight that reads them has a gradient.",
        )  # fmt: skip
    elif size.max() < 1 / WIDE:
        yield _of_inputs(
            facts, "inputs out of scale", size > 0, -np.log10(size.max()),
            f"All lie in {span(x.min(), x.max())}; an initialiser reckons with a root "
            "mean square of 1. Divide each column by its spread.",
        )  # fmt: skip


def _of_inputs(facts: Facts, verdict: str, which: Any, decades: Any, because: str) -> Finding:
    """All that comes after them pays, so they stand before what is dead or saturated there."""
    cost = max(float(decades), BEFORE * facts.dearest)
    n = int(which.sum())
    of = f"{n} of {count(len(which), 'column')}" if len(which) > 1 else "one column"
    return Finding(
        verdict, f"X, {of}", decades=float(decades), because=because, cost=cost,
        node=some_parameter(facts),
    )  # fmt: skip


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
                because=f"Targets lie in {span(targets[:, k].min(), targets[:, k].max())}, and "
                f"{name} is {'an' if y.op[:1] in 'aeiou' else 'a'} {y.op}, which gives "
                f"{from_to(low, high)}: "
                f"{count(int(out.sum()), 'row')} of {len(out):,} can't be reached. "
                "Leave the last activation out, or scale the targets.",
                cost=SIXTEEN * float(out.mean()), row=int(out.argmax()),
                node=last_parameter(facts),
            )  # fmt: skip


def targets_out_of_scale(facts: Facts) -> Iterator[Finding]:
    task = facts.task
    if task.name != "mse" or task.targets is None or facts.unreachable:
        return
    y = task.targets.reshape(len(task.targets), -1)
    mean, spread = np.abs(y.mean(axis=0)), y.std(axis=0)
    size = np.hypot(mean, spread)
    far = (mean > np.maximum(FAR, OFF_CENTRE * spread)) & (spread > 0)
    large = (size > WIDE) | far
    if not large.any():
        return
    k = int(np.where(large, size, 0.0).argmax())
    lie = span(y[:, k].min(), y[:, k].max())
    which = "Targets lie" if y.shape[1] == 1 else f"Those of output {k} lie"
    yield Finding(
        "targets out of scale", "y", decades=float(np.log10(size[k])),
        because=f"{which} in {lie}; a net begins with outputs of about 1, and the loss's gradient "
        "is as large as what is missing. Subtract the mean, and divide by the spread.",
        cost=max(float(np.log10(size[k])), BEFORE * facts.dearest), node=last_parameter(facts),
    )  # fmt: skip


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
    if not math.isfinite(high - low) and not (low == 0.0 and high == math.inf):
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
        f"numbers, but the outputs are {name}, {from_to(low, high)}.{least} Leave the last "
        "activation out.", cost=SIXTEEN, node=last_parameter(facts),
    )  # fmt: skip


def worse_than_a_guess(facts: Facts) -> Iterator[Finding]:
    guess, loss = facts.task.guess, float(facts.survey.losses.mean())
    if not guess or not math.isfinite(loss) or facts.unreachable:
        return
    bar = guess * SQUARES if facts.task.name == "mse" else max(guess * ENTROPY, _even(facts))
    if loss > bar:
        results = facts.survey.results
        lie = f"The outputs lie in {span(results.min(), results.max())}"
        y = facts.task.targets
        also = ""
        if facts.task.name == "mse" and y is not None:
            also = f", the targets in {span(y.min(), y.max())}"
        yield Finding(
            "worse than a guess", "loss",
            because=f"The loss is {short(loss)}, and {short(guess)} if the outputs were the best "
            f"constants.\n{lie}{also}.",
            row=int(facts.survey.losses.argmax()), node=last_parameter(facts),
        )  # fmt: skip


def _even(facts: Facts) -> float:
    """Twice the loss of a net that finds all classes equally likely, as it may at first."""
    outputs = len(facts.survey.outputs)
    if facts.task.name == "hinge":
        return 2.0  # twice that of a margin of 0
    return 2.0 * math.log(outputs if facts.task.name == "cross_entropy" else 2)


def linear_net(facts: Facts) -> Iterator[Finding]:
    survey, task = facts.survey, facts.task
    kinds = survey.kinds
    if any(kinds.get(y, AFFINE) != AFFINE for y in survey.outputs):
        yield from _two_in_one(facts)
        return
    layers = [*dict.fromkeys(t.layer for t in facts.tensors)]
    meant = [pair.own < pair.one for pair in pairs_of(survey, facts.tensors)]
    if len(layers) > 1 and not (meant and all(meant)):
        yield Finding(
            "linear net", few_layers(layers), because="There is no activation between these "
            "layers: together they are one. Put one after each but the last.",
            cost=SIXTEEN, node=some_parameter(facts),
        )  # fmt: skip
        return
    left = _unexplained(task, facts.columns)
    if left > UNEXPLAINED:
        yield Finding(
            "linear net", "outputs", because="The net is linear in its inputs, and the best linear "
            f"fit leaves {100 * left:.0f} % of the targets' variance. Put a hidden layer with an "
            "activation before it.", cost=SIXTEEN, node=some_parameter(facts),
        )  # fmt: skip


def _two_in_one(facts: Facts) -> Iterator[Finding]:
    """Layers that read one other alone, with nothing between that bends.

    Two that have fewer weights than the one which they amount to, as factors of low rank, and
    convolutions by channel and then by position, are meant so.
    """
    for pair in pairs_of(facts.survey, facts.tensors):
        if pair.own >= pair.one:
            yield Finding(
                "linear net", f"{pair.first}, {pair.second}", because="There is no activation "
                f"between these layers: together they are one, of {pair.one:,} weights instead of "
                f"{pair.own:,}. Put one after {pair.first}, or leave it out.",
                cost=FOUR * facts.share(facts.ledger.owners.get(pair.first, 0)),
                node=parameter_in(facts, [pair.first]),
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


def constant_outputs(facts: Facts) -> Iterator[Finding]:
    if facts.flat or len(facts.task.X) < 2 or not facts.survey.finite.all():
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
        "not tell its inputs apart.", cost=SIXTEEN, node=some_parameter(facts),
    )  # fmt: skip
