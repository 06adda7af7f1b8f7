"""A replay is handed out only if it agrees with the scalar graph.

A number that is that of the graph to nine digits agrees. Where one is not, as after a cancellation,
each statement is looked at by itself: its result must be what the rule gives for the operands that
the replay itself has, up to a share of the sizes that are added in it. So it is with the gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from math import inf, isfinite, isinf
from typing import Any, NamedTuple

import numpy as np

from microgradx.engine import PACKAGE, Value
from microgradx.explain.bounds import enclose
from microgradx.explain.rerun import run_on_floats
from microgradx.replay.arrays import Arrays
from microgradx.replay.tape import Tape
from microgradx.rules import Rule

DIGITS = 1e-9  # relative to the graph's number: a smaller difference is none
# Of the sizes that are added in a statement. Honest rounding of n terms, in whatever order, is at
# most n · 2⁻⁵³ of them (Higham 2002, 4.2): this is enough for 9e7 terms, more than fit in memory. A
# fault of 1e-6 of them is to be refused, also in a gradient that other paths add to.
SHARE = 1e-8
# Below 2⁻¹⁰²² an operation rounds by up to 2⁻¹⁰⁷⁵, whatever the size of its result, and what
# follows multiplies that. The replay's adjoints are n times smaller than a sample's: theirs counts
# n times. With the own sweep's rounding, the n shares' of its mean and that of what is allowed, a
# product may be off by (2n + 2) · 2⁻¹⁰⁷⁵, the (n + 1) · 2⁻¹⁰⁷⁴ here. Sums are kept 2⁶⁰⁰ times up.
SMALLEST, KEPT = 2.0**-474, 2.0**-600
WIDTHS = 16.0  # of a row on intervals, which covers what libraries' functions differ by


class Flow(NamedTuple):
    """An adjoint, and how it may be off.

    size:  of what is added up in it, infinities of the graph apart: inf if that may overflow
    error: what functions of a library differ by
    lost:  below the smallest floats
    """

    adjoint: float = 0.0
    size: float = 0.0
    error: float = 0.0
    lost: float = 0.0


NOTHING = Flow()


class Disagreement(RuntimeError):
    """A replay computes something else than the graph that it was made of."""


def check_values(
    samples: Sequence[Sequence[Value]], arrays: Arrays, results: Mapping[str, Any]
) -> None:
    """Compare every node that has an array with its data; the first that differs is named.

    samples: for each sample of the batch its graph, the nodes by id
    results: the arrays as the batch left them, in float64
    """
    wrong: dict[int, list[int]] = {}  # by sample, nodes that are not so to nine digits
    for ids, numbers in _computed(arrays, results):
        for k, nodes in enumerate(samples):
            mine = numbers[:, min(k, numbers.shape[1] - 1)]
            far = ~_close(mine, np.array([nodes[i].data for i in ids]))
            wrong.setdefault(k, []).extend([ids[j] for j in np.flatnonzero(far).tolist()])
    for k, ids in wrong.items():
        statements = _Statements(arrays, results, k) if ids else None
        for i in sorted(ids):
            if statements and not statements.allows(i):
                raise Disagreement(
                    f"the replay computes {statements.numbers[i]!r} for {samples[k][i]!r}; "
                    f"{_whose([samples[k][i].rule])}"
                )


def check_gradient(
    samples: Sequence[Sequence[Value]], arrays: Arrays, results: Mapping[str, Any], gradient: Any
) -> None:
    """Compare the gradient of the mean of the first output with that of sweeps.

    gradient: by id, as the batch left it, in float64
    """
    tape = arrays.tape
    eager = _mean_gradient(tape, samples)
    close = _close(gradient, eager)
    if close.all():
        return
    sizes = _mean_gradient(tape, samples, sizes=True)
    with np.errstate(all="ignore"):
        close |= (np.abs(gradient - eager) <= SHARE * sizes) & np.isfinite(sizes)
    if close.all():
        return
    close |= _allowed(gradient, [_Statements(arrays, results, k) for k in range(len(samples))])
    wrong = np.flatnonzero(~close)
    if wrong.size:
        k = int(wrong[0])
        raise Disagreement(
            f"the replay's gradient of {samples[0][k]!r} is {float(gradient[k])!r}, the graph's "
            f"{float(eager[k])!r}; {_whose(tape.rules)}"
        )


def _whose(rules: Iterable[Rule | None]) -> str:
    """Whose fault it is that a replay differs: a reader's row's, if there is one, or ours."""
    for rule in rules:
        if rule and not rule.function.__code__.co_filename.startswith(PACKAGE):
            return (
                f"op {rule.name!r} gives arrays something else than floats: compute with xp alone, "
                "and with xp.where for `not`, `~` and questions of type"
            )
    return "please report this"


def _allowed(gradient: Any, samples: Sequence[_Statements]) -> Any:
    """By id, whether the gradient is one that honest rounding may give."""
    with np.errstate(all="ignore"):
        expected, allowed = _gradient(samples)
        same, near = _close(gradient, expected), np.abs(gradient - expected) <= allowed
        beyond = ~np.isfinite(allowed)
        if beyond.any():  # another order may overflow, or not
            expected, allowed = _gradient(samples, KEPT)
            held = (np.abs(gradient * KEPT - expected) <= allowed) | ~np.isfinite(gradient)
            near = np.where(beyond, held, near)
        return same | near


def _gradient(samples: Sequence[_Statements], seed: float = 1.0) -> Any:
    """∂mean/∂parameter, and how far from it honest rounding may lead, by id; both times the seed.

    The nodes that all samples share are swept once, as a replay does it: from the mean at each.
    """
    output, n = samples[0].tape.outputs[0], len(samples)
    found = [own.sweep({output: Flow(seed, seed)}, n, shared=False) for own in samples]
    reached = sorted({*chain(*found)})
    means = _mean([[flows.get(i, NOTHING) for i in reached] for flows in found]).tolist()
    flows = samples[0].sweep({i: Flow(*x) for i, x in zip(reached, means)}, n, shared=True)
    rows = [flows.get(i, NOTHING) for i in range(samples[0].tape.parameters)]
    adjoints, sizes, errors, lost = np.array(rows).T
    return adjoints, SHARE * sizes + WIDTHS * errors + KEPT * lost


def check_range(samples: Sequence[Sequence[Value]], arrays: Arrays, wide: Any, narrow: Any) -> None:
    """A ValueError for a number that float32 can't hold, and float64 can.

    wide, narrow: the arrays of the same batch in either
    """
    for (ids, numbers), (_, short) in zip(_computed(arrays, wide), _computed(arrays, narrow)):
        beyond = np.argwhere(np.isfinite(numbers) & ~np.isfinite(short)).tolist()
        for j, k in beyond:
            node = samples[k][ids[j]]
            raise ValueError(f"what leads to {node!r} is beyond float32; record with dtype=float")


def _computed(arrays: Arrays, results: Mapping[str, Any]) -> Iterator[tuple[list[int], Any]]:
    """Of each array that is computed, its ids and its numbers, a row a node, a column a sample."""
    for array in arrays.all:
        if array.value is not None:
            ids = [i for i in array.ids.ravel().tolist() if not arrays.tape.is_number(i)]
            yield ids, np.asarray(results[array.name]).reshape(array.ids.size, -1)[: len(ids)]


def _mean_gradient(tape: Tape, samples: Sequence[Sequence[Value]], sizes: bool = False) -> Any:
    """By id of a parameter, the mean of what `swept` gives for each sample."""
    output, computed = tape.outputs[0], slice(tape.leaves, tape.outputs[0] + 1)
    found = {
        id(nodes): swept(nodes[output], nodes[computed], nodes[: tape.parameters], sizes)
        for nodes in samples
    }
    return _mean([found[id(nodes)] for nodes in samples])


def _mean(samples: Sequence[Any]) -> Any:
    """As a replay takes it: each has its share first, so that a sum does not overflow."""
    with np.errstate(all="ignore"):
        return (np.array(samples) / len(samples)).sum(axis=0)


def swept(
    output: Value, nodes: Sequence[Value], parameters: Sequence[Value], sizes: bool = False
) -> list[float]:
    """∂output/∂parameter, by the partials that the nodes have; nothing is written on them.

    nodes: those that the output was computed from, but for leaves, each after what it reads
    sizes: the sum of the sizes of what is added up in it instead: the path norm
    """
    adjoints = {output: 1.0}
    take, get = adjoints.pop, adjoints.get
    for node in reversed(nodes):
        adjoint = take(node, None)
        if adjoint is None:
            continue
        edges: Iterable[tuple[Value, float]]
        edges = zip(node.inputs, map(abs, node.partials) if sizes else node.partials)
        if node.rule and node.rule.selects:  # then nothing goes where it is 0
            edges = [(x, partial) for x, partial in edges if partial]
        for x, partial in edges:
            adjoints[x] = get(x, 0.0) + partial * adjoint  # the chain rule
    return [get(p, 0.0) for p in parameters]


def _close(one: Any, other: Any) -> Any:
    """Whether numbers are the same to nine digits, or both nan."""
    with np.errstate(all="ignore"):
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        return same | ((np.abs(one - other) <= DIGITS * np.abs(other)) & np.isfinite(other))


class _Statements:
    """What the rules give for the operands that the replay has in one sample.

    A node in the midst of a sum has no array: it has what its rule gives, and the sum that it is in
    has the sizes of all that is added there.

    numbers: by id, the replay's number, or that
    """

    def __init__(self, arrays: Arrays, results: Mapping[str, Any], k: int) -> None:
        self.tape = tape = arrays.tape
        self.numbers = [*_numbers_of_sample(arrays, results, k), *tape.numbers]
        count = len(self.numbers)
        self._intervals: list[Any] = [*self.numbers]
        self._enclosed: dict[int, Any] = {}  # by id, where the rule's result may lie
        self._sizes = [*map(_size, self.numbers)]  # of what is added up in a node, as Flow has it
        self._expected, self._allowed = [*self.numbers], [0.0] * count
        self._partials: list[list[tuple[int, float, float]]] = [[] for _ in range(count)]
        self._absorbed = arrays.home < 0
        self._shared = ~(arrays.batched | self._absorbed)
        self._seen = {*range(tape.leaves)}

    def allows(self, i: int) -> bool:
        """Whether the replay's number is one that honest rounding may give."""
        self._look_into(i)
        number, expected, allowed = self.numbers[i], self._expected[i], self._allowed[i]
        if number == expected or number != number and expected != expected:
            return True
        if isinf(expected) or number != number:  # adding in another order may overflow, or not
            enclosed = self._enclosed[i]
            return number in enclosed or enclosed.nan or allowed == inf and not isfinite(number)
        return abs(number - expected) <= allowed or allowed == inf

    def sweep(self, found: dict[int, Flow], n: int, shared: bool) -> dict[int, Flow]:
        """∂output/∂node from those of `found` down to parameters, and how it may be off, by id.

        n:      the number of samples that the replay's is the mean of
        shared: whether to pass nodes that all samples share, or to stop there
        """
        for i in range(self.tape.outputs[0], self.tape.leaves - 1, -1):
            if i not in found or self._shared[i] and not shared:
                continue
            self._look_into(i)
            adjoint, size, error, small = found.pop(i)
            for j, partial, width in self._partials[i]:
                before, factor = found.get(j, NOTHING), abs(partial)
                found[j] = Flow(
                    before.adjoint + partial * adjoint,  # the chain rule
                    before.size + _times(factor, size),
                    before.error + _times(factor, error) + _times(width, size),
                    before.lost + _times(factor, small) + SMALLEST * (n + 1),
                )
        return found

    def _look_into(self, i: int) -> None:
        """Look at a node, and before it at those in the midst of the sum that it is."""
        found = [i] if i not in self._seen else []
        for j in found:  # which grows meanwhile
            self._seen.add(j)
            operands = [k for k in self.tape.operands(j) if not self.tape.is_number(k)]
            found += [k for k in {*operands} - self._seen if self._absorbed[k]]
        for j in sorted({*found}):
            self._look_at(j)

    def _look_at(self, i: int) -> None:
        """Run the rule of a node on numbers, and on intervals."""
        tape, rule = self.tape, self.tape.rules[i]
        assert rule is not None
        ids = rule.arranged(map(list, tape.rows[i]), tape.args[i])
        (value, *partials), (interval, *wide) = [
            run(rule, [[*map(xs.__getitem__, x)] if isinstance(x, list) else xs[x] for x in ids])
            for run, xs in ((run_on_floats, self.numbers), (enclose, self._intervals))
        ]
        selects = rule.selects  # then nothing goes where the partial is 0
        named = zip(rule.one_by_one(ids), partials, wide)
        read = [(j, d, w) for j, d, w in named if d or (d is not None and not selects)]
        self._sizes[i] = _size(value) + sum([_times(abs(d), self._sizes[j]) for j, d, _ in read])
        self._expected[i], self._enclosed[i] = value, interval
        self._allowed[i] = SHARE * self._sizes[i] + WIDTHS * _width(interval)
        self._partials[i] = [(j, d, _width(w)) for j, d, w in read if not tape.is_number(j)]
        if self._absorbed[i]:
            self.numbers[i], self._intervals[i] = value, interval
        else:
            self._sizes[i] = _size(self.numbers[i])


def _numbers_of_sample(arrays: Arrays, results: Mapping[str, Any], k: int) -> list[float]:
    """By id, the numbers of one sample; 0 for a node that has no array."""
    columns = []
    for array in arrays.all:
        numbers = np.asarray(results[array.name]).reshape(array.ids.size, -1)
        columns.append(numbers[:, min(k, numbers.shape[1] - 1)].tolist())
    places = zip(arrays.home.tolist(), arrays.index.tolist())
    return [columns[h][at] if h >= 0 else 0.0 for h, at in islice(places, len(arrays.tape.values))]


def _size(x: float) -> float:
    return abs(x) if isfinite(x) else 0.0


def _times(factor: float, size: float) -> float:
    """A size, times what multiplies it: an infinity is one of the graph, which adds no rounding."""
    return factor * size if factor and isfinite(factor) else size if factor and size == inf else 0.0


def _width(x: Any) -> float:
    """How wide an interval is; 0 where it is a row's that can't be run on intervals."""
    return x.hi - x.lo if isfinite(x.hi) and isfinite(x.lo) else 0.0
