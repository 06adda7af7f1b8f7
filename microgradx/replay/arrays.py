"""The arrays of a program: where each node lives, and how one statement reads what others made.

A statement reads a matrix of ids. If that runs evenly through one array it is a view of
that; if not, it is gathered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from microgradx._base.text import clean, element
from microgradx.replay.statements import variable
from microgradx.replay.symbols import Symbol, Symbols
from microgradx.replay.tape import Tape
from microgradx.replay.views import Ids, Shape, has_gaps, reshaped, view_text
from microgradx.rules import Rule

WIDE = 32  # samples of so many numbers lie one behind the other, as they are loaded
NUMBER, PARAMETER = -1, -2  # places that are no array; tensors of parameters follow below


Pullback = Callable[[Any, Any], Any]
Way = Callable[[Any], Any]


def same(d: Any, came: Any = None) -> Any:
    """The contribution to an operand whose partial is 1; the way through an op that takes all."""
    return d


def times(partial: Any) -> Pullback:
    """The pullback to an operand with this partial, perhaps inf or nan; 0 where nothing has come.

    came: how often something has come to the reader, or 1.0 where it has all over
    """

    def pullback(d: Any, came: Any) -> Any:
        product = partial * d
        if not isinstance(partial, Symbol) or partial.op == "float":  # finite: 0 stays 0
            return product
        return partial.table.call("where", came != 0.0, product, 0.0)

    return pullback


def taken(partial: Symbol) -> tuple[Pullback, Way]:
    """The pullback to an operand of an op that selects, and the way there: only where it is taken.

    Nothing goes where the partial is 0.
    """
    there, call = partial != 0.0, partial.table.call

    def pullback(d: Any, came: Any) -> Any:
        return call("where", there, d if partial.op == "float" else times(partial)(d, came), 0.0)

    def way(came: Any) -> Any:
        return call("where", there, came, 0.0)

    return pullback, way


class Use(NamedTuple):
    """That a statement reads the nodes `ids`, and what it gives back to them.

    pullback: from the reader's adjoint, and from where something has come to the reader at all, the
              contribution to each of `ids`, in their shape
    tail: what a contribution's shape ends in: ("n",) if there is one for each sample
    way:  from where something has come to the reader, where a contribution goes on
    """

    reader: Array
    ids: Ids
    pullback: Pullback
    tail: Shape
    way: Way


class Op(NamedTuple):
    """That an array is computed by a row of the table from blocks of nodes, one for each operand.

    A block has the array's shape, that of a list of operands one axis more before it.
    """

    array: Array
    rule: Rule
    blocks: list[Ids]


class Terms(NamedTuple):
    """That terms w · x, or w alone, are added up in an array.

    w, x: in the array's shape, perhaps with an axis before it that is summed over; where it is a
          product of matrices the rows of each, (rows, terms) and (columns, terms)
    """

    array: Array
    w: Ids
    x: Ids | None
    product: bool


@dataclass(eq=False)
class Array:
    """Nodes that one statement computes, or that are there beforehand.

    ids:     the nodes, in the array's shape but for the samples
    symbol:  the array as what others read
    value:   what computes it, None for what is there beforehand
    batched: whether there is one of it for each sample
    wanted:  whether a parameter's gradient goes through it
    ones:    the array with a row of ones behind it, None if nothing reads it so
    row:     the first that it has in the pool, None if nothing gathers from it
    label, variable: of an input, what the user calls it, and what holds a batch of it
    """

    name: str
    ids: Ids
    symbol: Symbol
    value: Any
    batched: bool
    label: str = ""
    variable: str = ""
    wanted: bool = False
    ones: Symbol | None = None
    row: int | None = None
    uses: list[Use] = field(default_factory=list)

    @property
    def tail(self) -> Shape:
        """The axis of the samples, if it has one."""
        return self.symbol.shape[self.ids.ndim :]


class Arrays:
    """The arrays of a tape, in an order in which they can be computed.

    inputs: by name, the ids of each input, in its shape
    tail:   what every batched array's shape ends in: ("n",), or () where nothing is batched

    constants: by name, what the source is run with
    p:         all parameters, in the order in which the arrays read them
    blocks:    of p, the parts that are read as one: name, start, ids
    products:  the matrix products, as (rows, terms, columns)
    fallbacks: what had to be gathered
    pool:      how many rows there are to gather from
    notes:     what the arrays are computed from, by the nodes

    apart: whether nodes that say the same are computed one by one
    """

    def __init__(
        self, tape: Tape, inputs: Mapping[str, Ids], tail: Shape, *, apart: bool = False
    ) -> None:
        self.tape = tape
        self.tail = tail
        self.apart = apart
        self.notes: list[Op | Terms] = []
        self.table = Symbols()
        self.all: list[Array] = []
        self.inputs: list[Array] = []
        self.constants: dict[str, Any] = {}
        self.blocks: list[tuple[str, int, Ids]] = []
        self.products: list[tuple[int, int, Any]] = []
        self.fallbacks: list[str] = []
        self.pool = 0
        self._copies: dict[tuple[str, int], Array] = {}  # by array, or by number
        self._names: Counter[str] = Counter()
        size = len(tape.values) + len(tape.numbers)
        self.home = np.full(size, NUMBER)  # by id, its array; numbers and unplaced ones have none
        self.index = np.zeros(size, dtype=np.int64)  # by id, its flat position there
        self.place = np.full(size, NUMBER)  # by id, its array, or the tensor that it belongs to
        self.batched = np.zeros(size, dtype=bool)
        self.one = np.arange(size)  # by id, the first of the nodes that are identical
        count = tape.parameters
        self.p = self._add("p", np.arange(count), None, False)
        self.p.wanted = True
        self._placed = 0
        self.place[:count] = PARAMETER
        if tape.tensors is None:
            tape.tensors = self._tensors()
        for k, ids in enumerate(tape.tensors):
            self.place[ids] = PARAMETER - 1 - k
        for label, ids in inputs.items():
            name = variable(label, {array.variable for array in self.inputs})
            turned = f"{name}T" if tail and ids.ndim else name
            array = self._settled(turned, ids, None, bool(tail))
            array.label, array.variable = clean(label), name
            self.inputs.append(array)

    def _tensors(self) -> list[Ids]:
        """The ids of the tensors that the parameters' labels tell of."""
        tensors: dict[str, dict[int, tuple[int, ...]]] = {}
        for i, value in enumerate(self.tape.values[: self.tape.parameters]):
            path, index = element(value.label)
            tensors.setdefault(path, {})[i] = index
        return [
            np.array([*places])
            for path, places in tensors.items()
            if path and _are_elements([*places.values()])
        ]

    def arrange(self, matrix: Ids) -> tuple[Ids, tuple[int, ...]]:
        """An order of nodes in which some operand is read straight through, and their dims.

        matrix: the operands, a row for each node
        """
        m = len(matrix)
        if m == 1:
            return np.arange(1), ()
        best: tuple[Any, ...] = (0, np.arange(m), (m,))
        for column in matrix.T:
            home = self.home[column[0]]
            if home < 0 or len(np.unique(column)) < m:
                continue
            array, index = self.all[home], self.index[column]
            turn = np.argsort(index)
            first, inner = index[turn[0]], int(np.prod(array.ids.shape[1:], dtype=int))
            straight = index[turn[-1]] - first == m - 1
            dims: tuple[int, ...] = (m,)
            if array.ids.ndim > 1 and straight and m % inner == 0 and first % inner == 0:
                dims = (m // inner, *array.ids.shape[1:]) if m > inner else array.ids.shape[1:]
            score = 1 + 2 * straight + array.batched
            if score > best[0]:
                best = score, turn, dims
        if best[0] == 0:  # every one of a row with every one of another?
            columns = [self.index[c] for c in matrix.T if self.home[c[0]] >= 0][:2]
            counts = tuple([len(np.unique(c)) for c in columns])
            if len(counts) == 2 and min(counts) > 1 and counts[0] * counts[1] == m:
                if np.unique(np.stack(columns), axis=1).shape[1] == m:
                    return np.lexsort(columns[::-1]), counts
        return best[1], best[2]

    def at(self, i: int) -> tuple[Array, tuple[int, ...]]:
        """The array that a node lives in, and its place there."""
        array = self.all[self.home[i]]
        return array, tuple(map(int, np.unravel_index(self.index[i], array.ids.shape)))

    # --- making arrays ---------------------------------------------------------------------------

    def name(self, kind: str) -> str:
        """A name that nothing has yet."""
        self._names[kind] += 1
        return f"{kind}{self._names[kind] - 1}"

    def compute(self, kind: str, ids: Ids, value: Any, batched: bool) -> Array:
        """A new array of the nodes `ids`."""
        return self._settled(self.name(kind), ids, value, batched)

    def _add(self, name: str, ids: Ids, value: Any, batched: bool) -> Array:
        leaf = self.table.leaf(name, ids.shape + (self.tail if batched else ()))
        self.all.append(Array(name, ids, leaf, value, batched))
        return self.all[-1]

    def _settled(self, name: str, ids: Ids, value: Any, batched: bool) -> Array:
        """A new array, where its nodes live from now on."""
        flat = ids.ravel()
        self.home[flat] = self.place[flat] = len(self.all)
        self.index[flat] = np.arange(flat.size)
        self.batched[flat] = batched
        return self._add(name, ids, value, batched)

    def deduplicated(self, groups: dict[Any, list[int]]) -> list[int]:
        """The nodes to compute, of groups of identical ones: one each, if most have a double.

        An example is -mean, which every sample's difference makes anew.
        """
        if self.apart:
            return [i for alike in groups.values() for i in alike]
        counts = {len(alike) for alike in groups.values()}
        total = sum(len(alike) for alike in groups.values())
        often = len(counts) == 1 < min(counts) and len(groups) > 3 or total >= 4 * len(groups)
        return [i for alike in groups.values() for i in (alike[:1] if often else alike)]

    def share_storage(self, groups: dict[Any, list[int]]) -> None:
        """Let the identical nodes of a group live in one place."""
        for alike in groups.values():
            for by_id in (self.home, self.place, self.index, self.batched, self.one):
                by_id[alike] = by_id[alike[0]]

    def place_parameters(self, ids: Ids) -> None:
        """Give parameters that lie nowhere yet the next places in p, in this order."""
        start = self._placed
        self.blocks.append((self.name("W" if ids.ndim > 1 else "b"), start, ids))
        self._placed += ids.size
        self.home[ids] = 0
        self.index[ids] = np.arange(start, self._placed).reshape(ids.shape)
        self.p.ids[start : self._placed] = ids.ravel()

    def use(
        self, reader: Array, ids: Ids, pullback: Pullback, way: Way = same, summed: bool = False
    ) -> None:
        """Note down that `reader` reads ids, with every array that they live in.

        summed: whether a contribution is one for all samples already
        """
        for home in {*self.home[ids].ravel().tolist()}:
            if home >= 0 and self.all[home].wanted:
                tail = self.tail if reader.batched and not summed else ()
                self.all[home].uses.append(Use(reader, ids, pullback, tail, way))
                reader.wanted = True

    def is_batched(self, matrix: Ids, blocks: Iterable[Ids] = ()) -> bool:
        """Whether a statement that reads `matrix` has a result for each sample.

        The pool is one of samples: what must read any of `blocks` out of it has too.
        """
        if not self.tail or self.batched[matrix].any():
            return True
        homes = [np.where(ids < self.tape.parameters, 0, self.home[ids]) for ids in blocks]
        return any(len({*home.ravel().tolist()}) > 1 for home in homes)

    def release(self) -> None:
        """Let go of what leads back to itself, once the source is written."""
        vars(self.table).clear()
        self.notes = []
        for array in self.all:
            array.uses.clear()

    # --- reading arrays --------------------------------------------------------------------------

    def read(self, ids: Ids, batched: bool) -> Any:
        """The nodes `ids` as a number or an array that broadcasts to their shape."""
        tail = self.tail if batched else ()
        for axis in range(ids.ndim):  # the same all along an axis: one of it will do
            first = ids.take([0], axis=axis)
            if ids.shape[axis] > 1 and (ids == first).all():
                ids = first
        flat = ids.ravel()
        if flat.size == 1 and self.home[flat[0]] >= 0:
            return self._view(self.all[self.home[flat[0]]], self.index[ids], tail)
        numbers = flat >= len(self.tape.values)
        if numbers.all():
            return self.constant([self.tape.number(i) for i in flat.tolist()], ids.shape, tail)
        unplaced = (self.home[flat] == NUMBER) & ~numbers
        if unplaced.any():
            fresh = flat[unplaced]
            once = unplaced.all() and len(np.unique(fresh)) == fresh.size
            dims = [size for size in ids.shape if size > 1] or [1]
            self.place_parameters(fresh.reshape(dims) if once else np.unique(fresh))
        homes = np.unique(self.home[flat])
        if len(homes) > 1:
            return self._gathered(ids, tail)
        return self._view(self.all[homes[0]], self.index[ids], tail)

    def constant(self, numbers: list[float], dims: Shape, tail: Shape) -> Any:
        """Numbers that never change, as an array; a single one as itself."""
        if len(numbers) == 1:
            return numbers[0]
        name = self.name("c")
        self.constants[name] = np.array(numbers, dtype=float).reshape(dims)
        leaf = self.table.leaf(name, dims)
        return self.table.view(leaf, "[..., None]", (*dims, 1)) if tail else leaf

    def _view(self, array: Array, index: Ids, tail: Shape) -> Any:
        """Elements of one array: as a view of it if they lie evenly, else gathered."""
        inner = array.tail
        outer = inner or ((1,) if tail else ())  # the axis of the samples, if the reader has one
        text = view_text(index, array.ids.shape, inner, outer)
        if text is not None:
            return self.table.view(array.symbol, text, index.shape + outer)
        name = self.name("rows")
        self.constants[name] = index.ravel()
        self.fallbacks.append(f"{index.size} elements of {array.name}")
        flat = self.flatten(array.symbol, (array.ids.size, *inner))
        taken = self.table.take(flat, name, (index.size, *inner))
        return self.flatten(taken, index.shape + outer)

    def _gathered(self, ids: Ids, tail: Shape) -> Any:
        """Nodes from several arrays, out of the pool in which those lie one behind the other."""
        rows = np.array([self._pooled_row(i) for i in ids.ravel().tolist()])
        pool, shape = self.table.leaf("v", ("rows", *self.tail)), (ids.size, *self.tail)
        if (np.diff(rows) == 1).all():
            taken = self.table.view(pool, f"[{rows[0]}:{rows[-1] + 1}]", shape)
        else:
            name = self.name("rows")
            self.constants[name] = rows
            homes = {self.all[h].name for h in np.unique(self.home[ids]).tolist() if h >= 0}
            self.fallbacks.append(f"{ids.size} elements of {len(homes)} arrays")
            taken = self.table.take(pool, name, shape)
        return self.flatten(taken, ids.shape + self.tail)

    def _pooled_row(self, i: int) -> int:
        """The row of the pool that a node is; what no sample has of its own is copied there."""
        home, at = int(self.home[i]), int(self.index[i])
        array = self.all[home] if home >= 0 else None
        if array is None or array.value is None or not (array.batched or not self.tail):
            key = ("", i) if array is None else (array.name, 0)
            copy = self._copies.get(key)
            if copy is None or at >= copy.ids.size:
                ids = np.array([i]) if array is None else array.ids.ravel()
                ids = ids[: self._placed] if array is self.p else ids
                copy = self._add(self.name("copy"), ids, self.read(ids, True), True)
                self._copies[key] = copy
            array = copy
        if array.row is None:
            array.row = self.pool
            self.pool += array.ids.size
            if array.ids.ndim and array not in self._copies.values():
                self.pool += array.ids[0].size  # for a row of ones behind it
        return array.row + at

    def with_ones(self, ids: Ids) -> Symbol | None:
        """The nodes `ids` and a row of ones after them, if they are all of a computed array.

        The ones are the inputs that biases are the weights of.
        """
        home = self.home[ids.flat[0]]
        array = self.all[home]
        if home <= 0 or ids.ndim == 0 or not np.array_equal(ids, array.ids):
            return None
        if array in self.inputs and (ids.ndim > 1 or not self.tail):
            return None
        if array.ones is None:
            rows, *rest = array.symbol.shape
            array.ones = self.table.leaf(f"{array.name}_ones", (rows + 1, *rest))
        ones: Symbol = array.ones
        return ones

    def flatten(self, x: Symbol, shape: Shape) -> Symbol:
        """x in another shape."""
        if x.shape != shape and x.op == "view" and x.extra.startswith(".reshape"):
            (x,) = x.args
        if x.shape == shape:
            return x
        if self._has_gaps(x):  # its reshape would be a copy, made only once
            x = self.table.make("copy", (x,), x.shape)
        return self.table.view(x, reshaped(shape), shape)

    def _has_gaps(self, x: Symbol) -> bool:
        while x.op == "view":
            if has_gaps(x.extra):
                return True
            (x,) = x.args
        return bool(self.tail) and any(x is array.symbol for array in self.inputs)

    def whole(self, x: Any, shape: Shape) -> Symbol:
        """x in its full shape, where it was to be broadcast."""
        if not isinstance(x, Symbol):
            return self.table.make("full", (x,), shape)
        return x if x.shape == shape else self.table.make("copy", (x,), shape)


def _are_elements(indices: list[tuple[int, ...]]) -> bool:
    """Whether these are places in one tensor: each another, and of as many numbers."""
    return len(set(indices)) == len(indices) and len(set(map(len, indices))) == 1
