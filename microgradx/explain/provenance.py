"""Where a big z comes from: the activations that are saturated or off, and the sums they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from heapq import heappop, heappush
from math import hypot, isfinite, log, sqrt
from typing import Any, NamedTuple

from microgradx import rules
from microgradx._base import floats
from microgradx._base.arguments import flat
from microgradx._base.text import clip, count, known_as, name_of, short
from microgradx.engine import Edge, Value, data_of
from microgradx.explain.case import Case
from microgradx.explain.causes import equals
from microgradx.explain.extended import Extended
from microgradx.explain.factors import SATURATED, is_activation, partner, shut_from
from microgradx.explain.paths import Paths
from microgradx.explain.samples import role_of, statistic_of

MOST = 0.9  # of the samples: a ReLU that is off in fewer is of no interest
LARGE = 2.0  # an rms beside 1, or beside 1/√fan-in, where an initialiser has at most √2
FEW = 2  # activations that are told of
NOTHING = Extended(0.0, 0)


# --- a number as a sum ----------------------------------------------------------------------------


class Term(NamedTuple):
    """A term of a sum: a coefficient times one factor, or two, which are Values or numbers.

    kinds:    of each factor: "weight", "bias", "input", "activation" or "number"
    position: of the pair in a dot; -1 where it is of none
    """

    coefficient: float
    factors: tuple[Any, ...]
    kinds: tuple[str, ...] = ()
    position: int = -1

    @property
    def amount(self) -> float:
        """What it brings to the sum."""
        first, *others = map(data_of, self.factors)
        return self.coefficient * (first * others[0] if others else first)


def terms_of(z: Value, paths: Paths) -> list[Term]:
    """The terms that z is the sum of: z itself, alone, where it is no sum.

    Sums, numbers that scale them, and a norm's 1/σ are gone through; a product of two is a term,
    and so is the output of another layer.
    """
    start = paths.index[z]
    coefficients, queue, found = {start: 1.0}, [start], list[Term]()
    while queue:
        i = heappop(queue)  # all that reads it has been passed
        node = paths.nodes[i]
        is_known = role_of(node.label).role == "y" or statistic_of(node.label)
        parts = [Term(1.0, (node,))] if is_known and node is not z else _parts(node)
        for part in parts:
            coefficient, x = coefficients[i] * part.coefficient, part.factors[0]
            if len(part.factors) > 1 or not isinstance(x, Value) or x is node:
                kinds = _kinds(part.factors, paths)
                found.append(Term(coefficient, part.factors, kinds, part.position))
                continue
            j = paths.index[x]
            if j not in coefficients:
                heappush(queue, j)
            coefficients[j] = coefficients.get(j, 0.0) + coefficient
    return found


def _parts(node: Value) -> Iterator[Term]:
    """The terms that an op adds up; the node itself where it is no sum."""
    rule, operands = node.rule, node.operands
    if rule is None or rule.silent or rule.kind not in ("linear", "product", "singular"):
        yield Term(1.0, (node,))
    elif rule.kind == "product" and rule.lists:
        first, second, *rest = operands
        for position, pair in enumerate(zip(first, second)):
            yield Term(1.0, pair, position=position)
        yield from (Term(1.0, (x,)) for x in rest if isinstance(x, Value) or x)
    elif rule.kind == "product":
        x, y = sorted(operands[:2], key=lambda x: isinstance(x, Value) and x.rule is not None)
        scales = not isinstance(x, Value) and isinstance(y, Value) and y.rule
        yield Term(data_of(x), (y,)) if scales else Term(1.0, operands[:2])
    elif rule is rules.div and isinstance(operands[0], Value) and data_of(operands[1]):
        yield Term(1.0 / data_of(operands[1]), operands[:1])
    elif rule.kind == "linear":
        yield from _linear_parts(node, operands)
    else:
        yield Term(1.0, (node,))


def _linear_parts(node: Value, operands: Sequence[Any]) -> Iterator[Term]:
    """Those of an op with constant partials, and a constant that it may add."""
    numbers = [[*map(data_of, x)] if isinstance(x, tuple) else data_of(x) for x in operands]
    value, *partials = node.rule.function(floats, *numbers)  # type: ignore[union-attr]
    terms = [Term(d, (x,)) for d, x in zip(flat(partials), flat(operands))]
    yield from terms
    left = value - sum(term.amount for term in terms)
    if abs(left) > 1e-9 * sum(abs(term.amount) for term in terms):
        yield Term(1.0, (left,))


def _kinds(factors: Sequence[Any], paths: Paths) -> tuple[str, ...]:
    """The kind of each factor of a term."""
    weights = [paths.what(x) == "weights" for x in factors]
    kinds = []
    for x, weight in zip(factors, weights):
        if weight:
            kinds.append("weight" if len(factors) > 1 else "bias")
        elif isinstance(x, Value) and x.rule:
            kinds.append("activation")
        else:
            is_input = any(weights) or (isinstance(x, Value) and x.label)
            kinds.append("input" if is_input else "number")
    return tuple(kinds)


# --- the activations on the way of a gradient -----------------------------------------------------


class Unit:
    """An activation that is saturated or off on the way of a gradient, and what its z is made of.

    edge:    from z to y, in the first sample where it is so
    state:   "saturated" or "off"
    samples: in how many samples it is so, and in how many the gradient comes this way
    more:    how many other activations on the way are so in most samples
    others:  by size, the share of the other samples in what comes through
    zs:      the least and the largest z, over all samples
    terms:   those that z is the sum of, the largest first
    ranges:  of each, over all samples, the least and the largest of what it multiplies or adds;
             None for a weight or a bias alone, and where the samples' sums are not alike
    """

    more = 0

    def __init__(self, case: Case, every: list[int], way: list[int], shut: list[int]) -> None:
        self._paths, self._tangents = case.paths, case.tangents  # the case itself keeps the unit
        self._is_stopped = not case.reached.norm
        self._every, self._way, self._shut = every, way, shut
        self.edge: Edge = case.paths.edge((shut or way)[0])
        rule: Any = self.edge.node.rule
        self.rule, self.state = rule, "saturated" if rule.kind == "saturating" else "off"
        self.samples = len(shut), len(way)

    def __repr__(self) -> str:
        (shut, way), name = self.samples, name_of(self.edge.node)
        return f"<{name} {self.state} in {shut:,} of {count(way, 'sample')}>"

    @property
    def part(self) -> float:
        """The part of the samples in which it is so."""
        shut, way = self.samples
        return shut / way

    @property
    def shut_in(self) -> set[int]:
        """These samples, by number."""
        return self._samples_of(self._shut)

    def _samples_of(self, edges: list[int]) -> set[int]:
        return {self._paths.samples[self._paths.heads[e]] for e in edges}

    @cached_property
    def saturation(self) -> float:
        """How many nats it takes from the path norm, below its ceiling."""
        shares, ln = self._tangents.shares, self._paths.logarithms
        ceiling = log(shut_from(self.rule) / SATURATED)
        return sum(shares[e] * (ceiling - ln[e]) for e in self._way if shares.get(e))

    @cached_property
    def others(self) -> float:
        sizes = {e: abs(self._tangents.through(e)) for e in self._way}
        whole, shut = sum(sizes.values(), NOTHING), {*self._shut}
        open_ = sum([size for e, size in sizes.items() if e not in shut], NOTHING)
        return open_ / whole if whole else 0.0

    @cached_property
    def zs(self) -> tuple[float, float]:
        zs = [self._paths.nodes[self._paths.tails[e]].data for e in self._every]
        return min(zs), max(zs)

    @property
    def terms(self) -> list[Term]:
        return [term for term, _ in self._terms]

    @property
    def ranges(self) -> list[tuple[float, float] | None]:
        return [ends for _, ends in self._terms]

    @cached_property
    def _terms(self) -> list[tuple[Term, tuple[float, float] | None]]:
        """The terms, the largest first, each with its range."""
        paths = self._paths
        own = terms_of(self.edge.input, paths)
        every = [terms_of(paths.nodes[paths.tails[e]], paths) for e in self._every]
        alike = len({tuple(term.kinds for term in terms) for terms in every}) == 1
        ranges = [*map(_range, zip(*every))] if alike else [None] * len(own)
        return sorted(zip(own, ranges), key=lambda pair: -abs(pair[0].amount))

    # --- in words ---

    @property
    def sentences(self) -> list[str]:
        """In how many samples it is so, where that isn't all, and what z is made of."""
        words = [] if self._is_stopped else [self.counted]
        return [*words, *filter(None, [self.because])]

    @property
    def counted(self) -> str:
        """In how many samples it is saturated, or off, and what the others bring."""
        (shut, n), z, name = self.samples, self.edge.input, _name(self.edge.node)
        if n < 2 or not shut:
            largest = f", of at most {self.rule.ceiling:.3g}" if isfinite(self.rule.ceiling) else ""
            state = f"is {self.state}" if shut else "is the most saturated on the way"
            slope = short(self.edge.partial)
            return f"{name} {state}: at {equals(z)} its slope is {slope}{largest}"
        words = f"{name} is {self.state} in {self._of_all()}"
        words += f" (slope below 1 % of {self.rule.name}'s largest)" * (self.state == "saturated")
        if self.state == "off":
            words += ", and nothing gets through in these"
        elif shut < n:
            others = "other one brings" if n - shut == 1 else f"other {n - shut:,} bring"
            share = "nearly all" if self.others >= 0.995 else f"{self.others:.0%}"
            words += f"; the {others} {share} of what comes through it"
        if self.more:
            more = f"{self.more:,} more on the way " + ("is" if self.more == 1 else "are")
            words += f"; {more} {self.state} in most samples"
        return words

    def _of_all(self) -> str:
        """In how many samples it is so; in how many places, if it is in a sample more than once."""
        shut, n = self.samples
        noun = "samples" if len(self._samples_of(self._way)) == n else "places"
        if shut == n:
            return f"all {n:,} {noun}" if n > 2 else f"both {noun}"
        return f"{shut:,} of {n:,} {noun}"

    @property
    def because(self) -> str:
        """What z is made of, in a sentence; "" where it is no sum."""
        z, terms = self.edge.input, self.terms
        if not isfinite(z.data) or terms[0].factors == (z,):
            return ""
        few = terms[:1] if _is_most(terms[0].amount, z.data) else terms
        # A gate is off by a sign; a size counts where z is big, and not by its bias alone.
        sizes = self.state == "saturated" and len(terms) > FEW
        large = _large(terms) if sizes and (len(few) > 1 or len(few[0].factors) > 1) else ""
        if len(few) <= FEW:
            text = " and ".join(map(_brings, few))
        else:
            same = sum(term.amount * z.data > 0 for term in terms)
            text = f"a sum of {len(terms):,} terms, the largest {short(terms[0].amount)}"
            large = large or f"{same:,} of them {'has' if same == 1 else 'have'} its sign"
        k = self._paths.samples[self._paths.index[z]]
        where = f" in sample {k}" if k >= 0 and len(self._every) > 1 else ""
        over = self._over_samples(few) if len(self._every) > 1 else ""
        return f"{equals(z)}{where}: {text}{f'; {large}' if large else ''}{over}"

    def _over_samples(self, terms: list[Term]) -> str:
        """Where z lies, and what the terms multiply, one by one or, if they are many, together."""
        known = [(_what(term), ends) for term, ends in zip(terms, self.ranges) if ends]
        if len(terms) > FEW:
            name, numbers = f"{_read(terms)}s", [x for _, both in known for x in both]
            known = [(f"the {name}", (min(numbers), max(numbers)))] if numbers else []
        lie = [_lies(name, *both) for name, both in [*known, ("z", self.zs)]]
        return f"; over the samples {' and '.join(lie)}"


def _range(same: Sequence[Term]) -> tuple[float, float] | None:
    """The least and the largest of what the same term multiplies, or adds, in several samples."""
    k = next((k for k, kind in enumerate(same[0].kinds) if kind not in ("weight", "bias")), -1)
    numbers = [data_of(term.factors[k]) for term in same]
    return None if k < 0 else (min(numbers), max(numbers))


def _is_most(amount: float, z: float) -> bool:
    """Whether what is left without it is no more than half of z."""
    return abs(z - amount) <= abs(z) / 2


def _lies(name: str, least: float, most: float) -> str:
    """Where numbers lie: "z lies in 1 … 2", or "z is 1"; "the inputs lie in 1 … 2"."""
    one, other = short(least), short(most)
    lies, is_ = ("lie", "are") if name.endswith("s") and name.startswith("the ") else ("lies", "is")
    return f"{name} {is_} {one}" if one == other else f"{name} {lies} in {one} … {other}"


def _brings(term: Term) -> str:
    """A term with its factors, the weight last."""
    words = [_factor(kind, x, term.position) for kind, x in _weight_last(term)]
    times = f"{short(term.coefficient)} times " if abs(term.coefficient) != 1 else ""
    return f"{times}{' times '.join(words)} brings {short(term.amount)}"


def _factor(kind: str, x: Any, position: int) -> str:
    """A factor with its kind, its name and its number."""
    name, number = _called(kind, x, position), short(data_of(x))
    return f"the {kind} {name} = {number}" if name else f"the {kind} {number}"


def _called(kind: str, x: Any, position: int) -> str:
    """The name of a factor; that of a dot's nameless input is its place. "" for none."""
    if isinstance(x, Value) and known_as(x):
        return _name(x)
    return f"x[{position}]" if kind == "input" and position >= 0 else ""


def _what(term: Term) -> str:
    """The name of what a term multiplies, or adds."""
    kind, x = _weight_last(term)[0]
    return _called(kind, x, term.position) or f"the {kind}"


def _read(terms: list[Term]) -> str:
    """The kind of what most of these terms multiply."""
    kinds = Counter(_weight_last(term)[0][0] for term in terms)
    return max(kinds, key=lambda kind: kinds[kind], default="")


def _weight_last(term: Term) -> list[tuple[str, Any]]:
    """The factors of a term with their kinds."""
    return sorted(zip(term.kinds, term.factors), key=lambda pair: pair[0] == "weight")


def _large(terms: list[Term]) -> str:
    """Of the weights and of what they multiply in a sum, those that are large; "" for neither."""
    products = [term for term in terms if sorted(term.kinds)[1:] == ["weight"]]
    n = sqrt(len(products) or 1)
    xs = hypot(*[data_of(_weight_last(term)[0][1]) for term in products]) / n
    weights = [term.coefficient * data_of(_weight_last(term)[1][1]) for term in products]
    size = hypot(*weights) / n
    sizes = {
        f"the weights' rms is {short(size)}, where 1/√fan-in is {short(1 / n)}": size * n,
        f"the rms of the {_read(products)}s is {short(xs)}": xs,
    }
    return " and ".join(fact for fact, size in sizes.items() if size >= LARGE)


def _name(node: Value) -> str:
    return clip(name_of(node), 32)


# --- which of them --------------------------------------------------------------------------------


def units_of(case: Case, culprits: list[Edge], cut: list[Edge], saturation: bool) -> list[Unit]:
    """The activations to be told of: those that stop a gradient, or are shut in most samples.

    culprits, cut: the edges that alone stop a gradient, and all where it does
    saturation: whether it is a cause, and so of interest where it is less, or in one sample
    """
    if case.flow is None or not case.finite:
        return []
    if not case.reached.norm:
        return _stopping(case, culprits or [*_in_series(case), *cut])
    if not (case.paths.several or saturation):
        return []
    return [*_saturated(case, saturation), *_off(case)]


def _in_series(case: Case) -> list[Edge]:
    """The zeros on the path with the fewest."""
    paths = case.paths
    return [paths.edge(e) for e in paths.strongest(case.node) if not paths.partials[e]]


def _stopping(case: Case, zeros: Iterable[Edge]) -> list[Unit]:
    paths, found = case.paths, dict[object, list[int]]()
    for e in dict.fromkeys(_shutting(edge, paths) for edge in zeros):
        if e >= 0:
            found.setdefault(paths.same(e), []).append(e)
    every = {paths.same(edges[0]): edges for edges, _ in paths.activations} if found else {}
    return [Unit(case, every[key], shut, shut) for key, shut in [*found.items()][:FEW]]


def _shutting(edge: Edge, paths: Paths) -> int:
    """The edge of the activation that makes a factor 0, its own or that of its partner; -1: none.

    At the kink of a gate there is nothing to explain.
    """
    rule: Any = edge.node.rule
    node: Any = partner(edge.node, edge.position) if rule.kind == "product" else edge.node
    if not isinstance(node, Value) or not is_activation(node) or node in paths.loss:
        return -1
    e = paths.first[paths.index[node]]
    rule = node.rule
    is_at_kink = node.inputs[0].data == rule.shut_below
    return e if abs(paths.partials[e]) < shut_from(rule) and not is_at_kink else -1


def _on_the_way(case: Case, kind: str, least: float) -> Iterator[Unit]:
    """The activations of a kind on the way that are shut in at least such a part of the samples."""
    paths = case.paths
    for every, shut in paths.activations:
        rule: Any = paths.nodes[paths.heads[every[0]]].rule
        if rule.kind != kind or len(shut) < least * len(every):
            continue
        way = [e for e in every if case.tangents.leads_to(paths.tails[e])]
        reached = {*way}
        shut = [e for e in shut if e in reached]
        if way and len(shut) >= least * len(way):
            yield Unit(case, every, way, shut)


def _saturated(case: Case, is_cause: bool) -> list[Unit]:
    """The activation that saturates most: as a cause, or in half of several samples."""
    units = [*_on_the_way(case, "saturating", 0.0 if is_cause else 0.5)]
    most = [unit for unit in units if unit.samples[1] > 1 and unit.part >= 0.5]
    if is_cause:
        worst = max(units, key=lambda unit: unit.saturation, default=None)
    else:
        worst = max(most, key=lambda unit: unit.part, default=None)
    if worst is None:
        return []
    worst.more = len({*most} - {worst})
    return [worst]


def _off(case: Case) -> list[Unit]:
    """The gate that is off in most of several samples, where nothing gets through without it."""
    paths = case.paths
    units = [unit for unit in _on_the_way(case, "gate", MOST) if unit.samples[1] > 1]
    if not units:
        return []
    edges = [(paths.index[edge.node], edge.partial) for edge in case.tangents.first_edges()]
    alive = {paths.samples[j] for j, d in edges if d and paths.squares[j]}
    led = {paths.samples[j] for j, _ in edges}
    units = [x for x in units if alive.isdisjoint(x.shut_in) and x.samples[0] >= MOST * len(led)]
    worst = max(units, key=lambda unit: unit.part, default=None)
    if worst is None:
        return []
    worst.more = len(units) - 1
    return [worst]
