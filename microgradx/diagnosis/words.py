"""The check-up as a page of a terminal, 80 columns wide."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from microgradx._base.text import clean, clip, count, fixed, short, squeeze
from microgradx.diagnosis.findings import Finding
from microgradx.diagnosis.ledger import OPPOSITION, Ledger, Line, Part
from microgradx.nn.module import title

if TYPE_CHECKING:
    from microgradx.diagnosis.result import Checkup
    from microgradx.diagnosis.steps import Steps

WIDTH = 80
SPELT = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")
TWICE = 2  # findings of one verdict are each told whole; of more, the first is
MANY = 6  # others that are named
LINES = 12  # of the ledger
LEAST = 0.05  # decades: a column of the ledger has more somewhere


def page(c: Checkup) -> str:
    """What the net is, what was found, the ledger, and what to ask further."""
    head = "\n".join(line for text in opening(c) for line in _wrapped(text, ""))
    if not c.findings:
        return "\n".join([head, healthy(c), *(stepping(c.step) if c.step else [])])
    n = len(c.findings)
    number = SPELT[n] if n < len(SPELT) else f"{n}"
    order = ", the dearest first" if n > 1 else ""
    blocks = [head, f"{number} finding{'s' * (n > 1)}{order}."]
    blocks.append("\n".join(line for group in alike(c.findings) for line in _told(group)))
    if len(table := ledger(c.ledger)) > 2:
        blocks.append("\n".join([
            "Mean decades of the gradient where it isn't 0; each line adds up:", *table]
        ))  # fmt: skip
    blocks += ["\n".join(stepping(c.step))] if c.step else []
    blocks.append("\n".join(further(c)))
    return "\n\n".join(blocks)


def opening(c: Checkup) -> Iterator[str]:
    """What the net is, its data and loss, and that the graph agrees with its source."""
    task, n = c.task, len(c.task.X)
    name = clean(title(task.model))
    kinds = _layers_in_words(c)
    yield f"{name}{': ' * bool(kinds)}{kinds}; {count(c.ledger.total, 'parameter')}"
    form = task.X.shape[1:]
    of = " × ".join(map(str, form)) if form else "one number"
    rows = count(n, "row") if n == task.total else f"{n:,} of {task.total:,} rows"
    loss = short(c.loss, 4)
    guess = "" if c.guess is None else f" (guessing: {short(c.guess, 4)})"
    yield f"{rows} of {of}, {task.source}: {loss}{guess}"
    if c.agreement:
        whose = "" if c.agreement.startswith("its ") else "The graph "
        yield f"{whose}{c.agreement}."[0].upper() + f"{whose}{c.agreement}."[1:]
    if c.interrupted and c.survey.cut_off:
        yield f"Interrupted: only the first {count(n, 'row')} have been looked at."
    elif c.interrupted:
        yield "Interrupted before the optimiser's step was looked at."
    if n == 1:
        yield "Of one row no unit is called dead or saturated."


def _layers_in_words(c: Checkup) -> str:
    """`layers.0 64 relu, layers.1 10`"""
    ops = dict(zip(c.neurons["layer"], c.neurons["activation"]))
    words = []
    for line in c.ledger.lines.values():
        if line.parameters:
            units = c.widths.get(line.layer, 0)
            words.append(f"{line.layer or 'it'} {units} {ops.get(line.layer, '')}".strip())
    return clip(clean(", ".join(words)), 120)


def healthy(c: Checkup) -> str:
    """The third line, where nothing was found."""
    lines = [line for line in c.ledger.lines.values() if line.parameters and line.reached]
    shorts = [abs(c.ledger.short(line)) for line in lines]
    lies = ""
    if shorts and max(shorts) >= LEAST:
        lies = (
            f"every layer's gradient lies within {fixed(max(shorts), 1)} decades of that at the "
            "outputs"
        )
    units = len(c.neurons["layer"])
    dead = f"no neuron of {units:,} is dead or saturated" if units else ""
    facts = "; ".join(x for x in (lies, dead) if x)
    return "\n".join(_wrapped(f"Nothing found{': ' * bool(facts)}{facts}.", ""))


Numbered = tuple[int, Finding]


def alike(findings: list[Finding]) -> list[list[Numbered]]:
    """Findings with their numbers, many of one verdict together where the dearest stands."""
    times = Counter(finding.verdict for finding in findings)
    groups: dict[object, list[Numbered]] = {}
    for k, finding in enumerate(findings, 1):
        many = times[finding.verdict] > TWICE
        groups.setdefault(finding.verdict if many else k, []).append((k, finding))
    return [*groups.values()]


def _told(group: list[Numbered]) -> Iterator[str]:
    """The first is told whole; of the others it says where."""
    for k, finding in group[:1]:
        yield from _wrapped(f"{k}  {finding.verdict}: {whereabouts(finding)}", "   ", first="")
        for text in finding.because.split("\n"):
            yield from _wrapped(text, "   ")
    if len(group) > 1:
        others = [f"{k} {whereabouts(finding)}" for k, finding in group[1:]]
        yield from _wrapped(f"Also: {'; '.join(others[:MANY])}{_more(len(others))}.", "   ")


def _more(n: int) -> str:
    return f"; and {n - MANY} more in c.findings" if n > MANY else ""


def whereabouts(finding: Finding) -> str:
    """`layers.0, 2 of 3 neurons`; a layer that is called by a number is `layer 2`."""
    where = f"layer {finding.where}" if finding.where.isdigit() else finding.where
    if not finding.neurons:
        return where
    return f"{where}, {len(finding.neurons)} of {count(finding.of, 'neuron')}"


def _wrapped(text: str, indent: str, first: str | None = None) -> list[str]:
    return textwrap.wrap(
        clean(text), WIDTH, initial_indent=indent if first is None else first,
        subsequent_indent=indent, break_on_hyphens=False,
    ) or [""]  # fmt: skip


# --- the ledger ----------------------------------------------------------------------------------


def ledger(book: Ledger) -> list[str]:
    """A line a layer, a column a part that matters somewhere; the small ones together."""
    lines = [line for line in book.shown() if line.reached]
    if len(lines) > LINES:
        lines = [*lines[: LINES // 2], *lines[-(LINES - LINES // 2) :]]
    parts = [*dict.fromkeys(part for line in lines for part in line.parts)]
    large = [p for p in parts if p != OPPOSITION and _most(lines, p) >= LEAST]
    large.sort(key=lambda part: -_most(lines, part))
    names = {part: _heading(part) for part in large}
    rest = [part for part in parts if part not in names and part != OPPOSITION]
    while True:
        table = _table(lines, [part for part in parts if part in names], names, rest)
        if max(map(len, table), default=0) <= WIDTH or not names:
            return table
        last = large.pop()
        del names[last]
        rest.append(last)


def _most(lines: list[Line], part: Part) -> float:
    return max(abs(line.parts.get(part, 0.0)) for line in lines)


def _heading(part: Part) -> str:
    kind, layer = part
    short_kind = {
        "sigmoid ceiling": "0.25", "saturation": "sat.", "weights": "weights", "fan-out": "paths",
        "activations": "act.", "constants": "const.",
    }.get(kind, kind)  # fmt: skip
    return f"{squeeze(layer, 12)}: {short_kind}" if layer else short_kind


def _table(
    lines: list[Line], parts: list[Part], names: dict[Part, str], rest: list[Part]
) -> list[str]:
    head = ["at", "not 0", "decades", *(names[part] for part in parts)]
    head += ["rest"] * bool(rest) + ["cancel"]
    rows = [head]
    for line in lines:
        cells = [squeeze(line.layer or "it", 14), _share(line.moved), _decades(line.decades)]
        cells += [_decades(line.parts.get(part, math.nan)) for part in parts]
        if rest:
            cells.append(_decades(sum(line.parts.get(part, 0.0) for part in rest)))
        rows.append([*cells, _decades(line.parts.get(OPPOSITION, math.nan))])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  " + "  ".join(
            x.ljust(w) if k == 0 else x.rjust(w) for k, (x, w) in enumerate(zip(row, widths))
        ).rstrip() for row in rows
    ]  # fmt: skip


def _share(x: float) -> str:
    return f"{100 * x:.0f} %" if 0.005 <= x <= 0.995 or x in (0.0, 1.0) else (
        "< 1 %" if x < 0.5 else "> 99 %"
    )  # fmt: skip


def _decades(x: float) -> str:
    return "" if math.isnan(x) else "-inf" if x == -math.inf else f"{x + 0.0:+.2f}"


def stepping(steps: Steps) -> Iterator[str]:
    """What a step does, and from which length on."""
    known = [x for x in steps.table["log10 ratio"] if math.isfinite(x)]
    lie = (
        f"; update / weight 10^{fixed(min(known), 1)} … 10^{fixed(max(known), 1)}" if known else ""
    )
    loss = f"the loss goes from {short(steps.before.loss, 4)} to {short(steps.after.loss, 4)}"
    yield from _wrapped(f"A step of {steps.words}: {loss}{lie}.", "")
    begins = [
        (steps.rises, "the loss rises"), (steps.dies, "a neuron dies"),
        (steps.saturates, "one saturates"),
    ]  # fmt: skip
    later = [f"{words} from {short(x, 2)} times" for x, words in begins if math.isfinite(x)]
    if later:
        yield from _wrapped(f"Longer ones: {', '.join(later)} its length on.", "")


def further(c: Checkup) -> Iterator[str]:
    """What to ask next."""
    yield from _wrapped(
        "Ask further: c.why(c.findings[0]), c.sample(c.findings[0]), c.try_remedies(); c.neurons "
        "and c.layers are tables; c.save('report.html') has the pictures.", ""
    )  # fmt: skip


__all__ = ["TWICE", "alike", "further", "healthy", "opening", "page", "stepping", "whereabouts"]
