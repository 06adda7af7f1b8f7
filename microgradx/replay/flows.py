"""Path sums as arrays: along edges, through products of matrices, and together at their nodes.

With d² for d a gradient becomes R², the path norm's square. The entropy H and the budget C^k are
means over paths, so they are handed on by the shares q = d² R²_v / R²_u of the edges u → v.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from microgradx.explain.paths import LN10
from microgradx.replay.edges import CEILING, CODE, LOSS, fan_of, in_layers_of, split
from microgradx.replay.tape import NONE
from microgradx.replay.views import Ids
from microgradx.replay.wide import NOTHING, Wide, ratio, root, scaled, times, together, wide

LEAST = 2.0**-900  # a sum of products below 1 may lack digits where it is less
EDGES = 2**22  # times rows, at once


@dataclass
class Flows:
    """Path sums: a row a node, a column a row of the batch.

    g:       ∂(loss of the row)/∂node, as mantissa and exponent: `g.floats`, `g.decades`
    squares: R², the square of the path norm, likewise; 0 exactly where each path holds a 0
    came:    whether anything comes at all, past each `where`; None where it does all over
    entropy: H in nats
    parts:   by the number of a kind, its part of ln R in nats
    """

    g: Wide
    squares: Wide
    came: Any
    entropy: Any
    parts: dict[int, Any]

    @property
    def norm(self) -> Wide:
        """R, the path norm."""
        return root(self.squares)

    @property
    def budget(self) -> dict[str, Any]:
        """Decades by kind of factor, each with the fan-out into its like; together log₁₀ R.

        The kinds are those of `explain.paths`. 0 where R is 0, nan where it is not finite. With the
        opposition, log₁₀(|g| / R), it is the budget of a `NodeFlow`.
        """
        known, found = np.isfinite(self.squares.mantissa), by_kind(self.parts)
        budget = {kind: np.where(known, x / LN10, np.nan) for kind, x in found.items()}
        return {kind: x for kind, x in budget.items() if x.any()}

    @property
    def ledger(self) -> dict[tuple[str, int], Any]:
        """The same by kind and layer, by its number in `Sums.layers`; 0 where R is not finite."""
        known = np.isfinite(self.squares.mantissa)
        return {split(k): np.where(known, x / LN10, 0.0) for k, x in self.parts.items()}

    def __getitem__(self, at: Any) -> Flows:
        """Those of some nodes, or of some nodes and rows."""
        came = None if self.came is None else self.came[at]
        parts = {k: x[at] for k, x in self.parts.items()}
        return Flows(self.g.at(at), self.squares.at(at), came, self.entropy[at], parts)


def by_kind(parts: Mapping[int, Any]) -> dict[str, Any]:
    """Parts by the names of their kinds, those of all layers added up."""
    found: dict[str, Any] = {}
    for k in sorted(parts, key=lambda k: CODE[split(k)[0]]):
        kind = split(k)[0]
        found[kind] = found[kind] + parts[k] if kind in found else parts[k]
    return found


class Given(NamedTuple):
    """Flows that go to the nodes at `places`, by the same edge, or the same product, each.

    fan:     the number of the kind that is credited with what the paths spread here
    samples: the sample that each leads into; None if that doesn't matter
    """

    places: Ids
    flows: Flows
    fan: Any
    samples: Any


def along(flows: Flows, d: Any, kinds: Any, ceilings: Any, selects: bool) -> Flows:
    """What an edge with the partial d gives, elementwise; kinds: of its factor."""
    factor, live, came = wide(d), d != 0, flows.came
    if came is not None and selects:
        came = came & live
    g, squares = times(flows.g, factor), times(flows.squares, times(factor, factor))
    if came is not None:
        g, live = _where(came, g), live & came
    squares = _where(live, squares)
    ln = np.log(np.abs(np.where(live, d, 1.0)))
    parts = dict(flows.parts)
    if ceilings is not None:
        _credit(parts, in_layers_of(kinds, CEILING), ceilings)
        ln = ln - ceilings
    if ln.any():
        _credit(parts, kinds, ln)
    shape = squares.mantissa.shape
    parts = {k: np.broadcast_to(x, shape) for k, x in parts.items()}
    return Flows(g, squares, came, np.broadcast_to(flows.entropy, shape), parts)


def _credit(parts: dict[int, Any], kinds: Any, more: Any) -> None:
    """Add the parts of edges to those of their kinds."""
    several = np.unique(kinds).tolist()
    for k in several:
        mine = more if len(several) == 1 else np.where(kinds == k, more, 0.0)
        parts[k] = parts.get(k, 0.0) + mine


def _where(condition: Any, x: Wide) -> Wide:
    """x, and 0 elsewhere."""
    return Wide(np.where(condition, x.mantissa, 0.0), np.where(condition, x.exponent, NOTHING))


def through(w: Any, flows: Flows, kind: int) -> Flows:
    """What a product of weights w (rows, terms) gives to its inputs; flows: (rows, columns).

    Squares and gradients are scaled by powers of two, a column each, so that the largest is about
    1. Where what is left may lack digits all the same, it is added up edge by edge.
    """
    top = np.abs(w).max()
    up = int(np.frexp(top)[1]) if np.isfinite(top) else 0
    v = np.ldexp(w, -up)
    v2 = v * v
    ln_v2 = np.log(np.where(v2 > 0, v2, 1.0))
    squares, squares_up = _scaled(flows.squares)
    gradients, gradients_up = _scaled(flows.g)
    total, g = v2.T.dot(squares), v.T.dot(gradients)
    safe = np.where(total > 0, total, 1.0)

    def mean(x: Any) -> Any:
        """By term, the mean over rows of x by the shares of their edges."""
        return v2.T.dot(squares * x) / safe

    ln_w = (v2 * ln_v2).T.dot(squares) / safe
    spread = np.log(safe) - ln_w - mean(np.log(np.where(squares > 0, squares, 1.0)))
    found = Flows(
        wide(g, gradients_up + up), wide(total, squares_up + 2 * up), None,
        mean(flows.entropy) + spread, {k: mean(x) for k, x in flows.parts.items()},
    )  # fmt: skip
    fan = int(fan_of(kind))
    for k, more in ((kind, 0.5 * ln_w + up * np.log(2.0)), (fan, 0.5 * spread)):
        found.parts[k] = found.parts.get(k, 0.0) + more
    if flows.came is not None:
        found.came = np.broadcast_to(flows.came.any(axis=0), g.shape).copy()
    _mend(found, w, flows, kind, _short(w, flows, total))
    return found


def _scaled(x: Wide) -> tuple[Any, Any]:
    """x as floats, times a power of two for each column, and that power's exponent back."""
    up = x.exponent.max(axis=0)
    return scaled(x.mantissa, x.exponent - up), up


def _short(w: Any, flows: Flows, total: Any) -> Any:
    """(terms, columns): where sums of squares may lack digits, or an infinity met a 0.

    A gradient is at most R times the root of the number of paths, so its sum has then enough.
    """
    short = ~(total > LEAST)
    if short.any():
        reached = (flows.squares.mantissa != 0).astype(float)
        short &= ((w != 0).T.astype(float).dot(reached) > 0) | np.isnan(total)
    return short


def _mend(found: Flows, w: Any, flows: Flows, kind: int, short: Any) -> None:
    """Add up edge by edge where that is called for."""
    terms, columns = np.nonzero(short)
    rows, step = len(w), max(1, EDGES // len(w))
    for start in range(0, len(terms), step):
        at = terms[start : start + step], columns[start : start + step]
        size = len(at[0])
        heads = flows[:, at[1]]
        edges = along(heads, w[:, at[0]], np.array([[kind]]), None, False)
        index = np.tile(np.arange(size), rows)
        fan = np.array([[fan_of(kind)]])
        one = joined(size, [Given(index, reshaped(edges, rows * size, 1), fan, None)], 1)
        pairs = [(found.g, one.g), (found.squares, one.squares)]
        for whole, part in [(x, y) for pair in pairs for x, y in zip(*pair)]:
            whole[at] = part[:, 0]
        found.entropy[at] = one.entropy[:, 0]
        for k, x in found.parts.items():
            x[at] = one.parts[k][:, 0] if k in one.parts else 0.0


class _Groups:
    """Rows that come to nodes, those of one node together.

    alone: whether each node has just one, in their order
    """

    def __init__(self, size: int, given: Sequence[Given], n: int) -> None:
        self.size, self.given, self.n = size, given, n
        places = np.concatenate([x.places for x in given])
        self.alone = np.array_equal(places, np.arange(size))
        self.order = np.argsort(places, kind="stable")
        self.nodes, self.starts, counts = np.unique(
            places[self.order], return_index=True, return_counts=True
        )
        self.group = np.repeat(np.arange(len(self.nodes)), counts)

    def put(self, parts: Iterable[Any]) -> Any:
        """The rows of all that is given, in the order of the nodes."""
        full = [np.broadcast_to(x, (len(y.places), self.n)) for x, y in zip(parts, self.given)]
        rows = np.concatenate(full) if len(full) > 1 else full[0]
        return rows if self.alone else rows[self.order]

    def added(self, rows: Any) -> Any:
        """The sums by node."""
        return rows if self.alone else self._all(np.add.reduceat(rows, self.starts, axis=0), 0.0)

    def any(self, rows: Any) -> Any:
        return self._all(np.logical_or.reduceat(rows, self.starts, axis=0), False)

    def together(self, parts: Iterable[Wide]) -> tuple[Wide, Wide]:
        """By row what is given, and its sum by node."""
        rows = Wide(*map(self.put, zip(*parts)))
        return rows, rows if self.alone else together(rows, self.starts, self.group)

    def whole(self, x: Wide) -> Wide:
        """Sums by node, those to which nothing comes among them."""
        return Wide(self._all(x.mantissa, 0.0), self._all(x.exponent, NOTHING))

    def _all(self, x: Any, rest: Any) -> Any:
        if len(x) == self.size:
            return x
        out = np.full((self.size, self.n), rest, dtype=x.dtype)
        out[self.nodes] = x
        return out

    def apart(self, q: Any) -> Any:
        """ln of the share of a leaf's paths that go to the same sample; 0 of those to several."""
        found = [np.full(len(x.places), NONE) if x.samples is None else x.samples
                 for x in self.given]  # fmt: skip
        samples = np.concatenate(found)[self.order]
        _, key = np.unique(np.stack([self.group, samples]), axis=1, return_inverse=True)
        turn = np.argsort(key.ravel(), kind="stable")
        _, starts, back = np.unique(key.ravel()[turn], return_index=True, return_inverse=True)
        share = np.empty_like(q)
        share[turn] = np.add.reduceat(q[turn], starts, axis=0)[back.ravel()]
        counted = (q > 0) & (samples >= 0)[:, None]
        return np.where(counted, np.log(np.where(counted, share, 1.0)), 0.0)


def joined(size: int, given: Sequence[Given], n: int) -> Flows:
    """All that comes to `size` nodes, added up."""
    if not given:
        zero = np.zeros((size, n))
        return Flows(wide(zero), wide(zero), None, zero, {})
    groups, flows = _Groups(size, given, n), [x.flows for x in given]
    squares, total = groups.together(x.squares for x in flows)
    if groups.alone:
        q = np.where(squares.mantissa > 0, 1.0, 0.0)
    else:
        q = ratio(squares, total.at(groups.group))
    ln = np.log(np.where(q > 0, q, 1.0))

    def mean(rows: Any) -> Any:
        return groups.added(np.where(q > 0, q * rows, 0.0))

    came = None
    if any(x.came is not None for x in flows):
        came = groups.any(groups.put(True if x.came is None else x.came for x in flows))
    g, entropy = groups.together(x.g for x in flows)[1], groups.put(x.entropy for x in flows)
    return Flows(
        groups.whole(g), groups.whole(total), came, mean(entropy - ln),
        {k: mean(rows) for k, rows in _parts(groups, q, ln)},
    )  # fmt: skip


def _parts(groups: _Groups, q: Any, ln: Any) -> Iterator[tuple[int, Any]]:
    """By kind, what each row brings, where it brings any; q: its share, ln that of this.

    Half of what the paths spread, -½ q ln q, is credited to what they spread over; of a leaf that
    several samples read, the part that lies between these is the loss's.
    """
    given = groups.given
    shared = any(x.samples is not None for x in given)
    apart = groups.apart(q) if shared else 0.0
    fans = groups.put(x.fan for x in given)
    spread = {*np.unique(fans).tolist()} if ln.any() else set()
    kinds = {k for x in given for k in x.flows.parts} | spread | ({LOSS} if shared else set())
    for k in sorted(kinds):
        rows = groups.put(x.flows.parts.get(k, 0.0) for x in given)
        if k in spread:
            rows = rows - np.where(fans == k, 0.5 * (ln - apart), 0.0)
        if k == LOSS:
            rows = rows - 0.5 * apart
        if rows.any():
            yield k, rows


def reshaped(flows: Flows, *shape: int) -> Flows:
    """The same flows in another shape."""
    came = None if flows.came is None else flows.came.reshape(shape)
    parts = {k: x.reshape(shape) for k, x in flows.parts.items()}
    g, squares = flows.g.reshape(*shape), flows.squares.reshape(*shape)
    return Flows(g, squares, came, flows.entropy.reshape(shape), parts)
