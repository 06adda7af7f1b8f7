"""The rules of the optimiser's step: too large, or too small."""

from __future__ import annotations

import math
from collections.abc import Iterator

from microgradx._base.text import apart, count, short
from microgradx.diagnosis.facts import (
    SIXTEEN,
    Facts,
    Finding,
    how_many,
    some_parameter,
)
from microgradx.diagnosis.steps import Steps

SHORT = 100.0  # times a step's length
LITTLE = 1e-4  # of its own size the median tensor is moved by at most in a small step


def large_step(facts: Facts) -> Iterator[Finding]:
    steps = facts.steps
    if steps is None or not math.isfinite(steps.before.loss):
        return
    before, after, off, shut = steps.before, steps.after, steps.turned_off, steps.shut
    rises = not after.loss <= before.loss
    if not (rises or off or shut):
        return
    does = [f"raises the loss from {' to '.join(apart(before.loss, after.loss))}"] * rises
    does += [f"turns {count(len(off), 'neuron')} off in every row"] if off else []
    does += [f"saturates {count(len(shut), 'neuron')}"] if shut else []
    begins = min(steps.rises if rises else math.inf, steps.dies if off else math.inf,
                 steps.saturates if shut else math.inf)  # fmt: skip
    tensor, ratio = _moved_most(steps)
    moves = ""
    if math.isfinite(ratio):
        size = 10.0**ratio
        times = f"{short(size, 2)} of" if size < 1 else f"{how_many(size)} times"
        moves = f"\nIt moves {tensor} by {times} its own size; about 0.001 of it is usual."
    yield Finding(
        "large step", steps.words, rows=1.0,
        because=f"A step {' and '.join(does)}. That begins at {short(begins, 2)} times its size."
        + moves,
        cost=SIXTEEN * (1.0 if rises else facts.share(facts.starved_by(off)) or 0.1),
        node=some_parameter(facts),
    )  # fmt: skip


def small_step(facts: Facts) -> Iterator[Finding]:
    steps = facts.steps
    if steps is None or steps.best < SHORT or not math.isfinite(steps.before.loss):
        return
    ratios = sorted(x for x in steps.table["log10 ratio"] if x == x)
    half = 10.0 ** ratios[(len(ratios) - 1) // 2] if ratios else 0.0
    if half > LITTLE:
        return
    yield Finding(
        "small step", steps.words, decades=math.log10(steps.best),
        because=f"It moves half of the tensors by {short(half, 2)} of their own size or less, and "
        f"the loss falls along it to {steps.best:,.0f} times as far: from "
        f"{short(steps.before.loss)} to {short(steps.after.loss)} in one step, to "
        f"{short(steps.least)} there.", cost=math.log10(steps.best), node=some_parameter(facts),
    )  # fmt: skip


def _moved_most(steps: Steps) -> tuple[str, float]:
    """The tensor that moves most beside its own size, and log₁₀ of that."""
    known = [
        (ratio, name) for name, ratio in zip(steps.table["tensor"], steps.table["log10 ratio"])
        if ratio == ratio
    ]  # fmt: skip
    ratio, name = max(known, default=(-math.inf, "nothing"))
    return name, ratio
