"""Weighted sums as arrays: where every row of weights meets every row of inputs, a matrix product.

A layer on a batch is such a grid of sums: neurons × samples. The columns of a product are put into
one order whatever order the loops had. Sums that form no grid are multiplied element by element
and added up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from microgradx.replay.arrays import (
    PARAMETER,
    WIDE,
    Array,
    Arrays,
    Pullback,
    Terms,
    Way,
    same,
    times,
)  # fmt: skip
from microgradx.replay.grids import Block, Grid, classes, components, find_grid
from microgradx.replay.loops import FEW, LONG, Sum
from microgradx.replay.symbols import Symbol
from microgradx.replay.tape import NONE
from microgradx.replay.views import Ids, joined

PLACES = 8  # from more of them, the terms of a sum are gathered
FAR = 2**32  # more than there are places


class Part(NamedTuple):
    """A part of a sum, what it reads: (ids, pullback, way, whether summed over samples), and w, x.

    product: whether it is a product of matrices
    """

    value: Any
    reads: list[tuple[Ids, Pullback, Way, bool]]
    w: Ids
    x: Ids | None
    product: bool = False


class Bias(NamedTuple):
    """A parameter for each row of a grid, as the weights of inputs that are ones.

    block:     the terms that it is
    weights:   the ids of all weights, (terms, rows), or (rows, terms) if they are read by sample
    inputs:    those of the grid, with ones
    by_sample: whether the inputs are a batch that lies sample by sample
    """

    block: Ids
    weights: Ids
    inputs: Symbol
    by_sample: bool


class SumLifter:
    """Sums that have equally many terms, as arrays."""

    def __init__(self, arrays: Arrays, sums: dict[int, Sum]) -> None:
        self.arrays = arrays
        self.sums = sums

    def lift(self, ids: Ids, a: Ids, b: Ids) -> None:
        """Sums whose terms are a · b, those together whose terms come from the same places."""
        turned = (b != NONE) & (self._rank(b) < self._rank(a))  # the weight first
        w, x = np.where(turned, b, a), np.where(turned, a, b)
        places = self._places(w, x)
        index = np.where(x == NONE, self.arrays.index[w], 0)
        turn = np.lexsort((index, places), axis=1)
        w, x, places = (np.take_along_axis(side, turn, axis=1) for side in (w, x, places))
        for mine in split(places):
            ends = [*(np.flatnonzero(np.diff(places[mine[0]])) + 1).tolist(), w.shape[1]]
            products = int((x[mine[0]] != NONE).sum())
            if len(ends) > PLACES or not products:  # from here, there and everywhere
                ends = sorted({products, w.shape[1]} - {0})
            self._lift_alike(ids[mine], w[mine], x[mine], ends)

    def _rank(self, ids: Ids) -> Ids:
        """The rank of ids as weights: 0 for a parameter, 1 for a number, else 2."""
        tape = self.arrays.tape
        return np.where(ids < tape.parameters, 0, np.where(ids < len(tape.values), 2, 1))

    def _places(self, w: Ids, x: Ids) -> Ids:
        """By term, a number for where its operands come from; products have the smaller ones."""
        one, other = self.arrays.place[w], self.arrays.place[x]
        penalty = (one <= PARAMETER) & (other <= PARAMETER)  # of parameters, all of them alike
        both = np.where(penalty, 0, one * FAR + other)
        return np.where(x == NONE, one + FAR**2 // 4, both)

    def _lift_alike(self, ids: Ids, w: Ids, x: Ids, ends: list[int]) -> None:
        """Sums with the same number of terms from each place; `ends` is where those end."""
        blocks: list[Block] = []
        for start, end in zip([0, *ends], ends):
            inputs = x[:, start:end]
            blocks.append((w[:, start:end], None if (inputs == NONE).any() else inputs))
        grid = None
        if self.sums[int(ids[0])].weighted:
            grid = find_grid(self.arrays, blocks, all(self.sums[i].stated for i in ids.tolist()))
            groups = components(blocks) if grid is None else []
            if 1 < len(groups) <= max(2, len(ids) // 4):
                for group in groups:
                    self._lift_alike(ids[group], w[group], x[group], ends)
                return
        if grid is None:
            self._lift_column(ids, blocks)
        else:
            self._lift_grid(ids, grid, blocks)

    def _lift_column(self, ids: Ids, blocks: list[Block]) -> None:
        """Sums that form no grid, element by element."""
        arrays = self.arrays
        operands = np.concatenate([s for block in blocks for s in block if s is not None], axis=1)
        turn, dims = arrays.arrange(operands)
        short = sum(len(w.T) for w, _ in blocks) < LONG
        pieces = [piece for block in blocks for piece in _pieces(block, turn, dims, short)]
        batched = any(arrays.is_batched(s, [s]) for piece in pieces for s in piece if s is not None)
        parts = [self._elementwise(*piece, dims, batched) for piece in pieces]
        self._add_up("sum", ids[turn].reshape(dims), parts, batched)

    def _lift_grid(self, ids: Ids, grid: Grid, blocks: list[Block]) -> None:
        """One array of sums, rows × columns."""
        arrays = self.arrays
        dims = tuple([size for size in grid.sums.shape if size > 1])
        batched = any(arrays.is_batched(s, [s]) for block in blocks for s in block if s is not None)
        bias = self._bias(grid, blocks)
        before = len(arrays.products)
        parts: list[Part] = []
        biases = []
        for block in blocks:
            if bias is not None and block[0] is bias.block:
                biases.append(block[0][grid.sums].reshape(dims))
                continue
            product = None
            if block[0] is grid.block:
                product = self._product(grid.weights, grid.inputs, dims, batched, bias)
            elif block[1] is not None:  # along the same rows and columns?
                w, x = block[0][grid.sums], block[1][grid.sums]
                if (w == w[:, :1]).all() and (x == x[:1]).all():
                    product = self._product(w[:, 0], x[0], dims, batched)
            if product is not None:
                parts.append(product)
                continue
            pieces = _pieces(block, grid.sums, dims)
            parts += [self._elementwise(*piece, dims, batched) for piece in pieces]
        name = "z" if len(arrays.products) > before else "sum"
        array = self._add_up(name, ids[grid.sums].reshape(dims), parts, batched)
        arrays.notes += [Terms(array, w, None, False) for w in biases]

    def _add_up(self, name: str, ids: Ids, parts: list[Part], batched: bool) -> Array:
        """The array of sums of all parts."""
        value = parts[0].value
        for part in parts[1:]:
            value = value + part.value
        array = self.arrays.compute(name, ids, value, batched)
        for part in parts:
            self.arrays.notes.append(Terms(array, part.w, part.x, part.product))
            for read in part.reads:
                self.arrays.use(array, *read)
        return array

    # --- element by element ----------------------------------------------------------------------

    def _elementwise(self, w: Ids, x: Ids | None, dims: Any, batched: bool) -> Part:
        """w · x, or w alone, added up along the first axis if it is one more than `dims` has."""
        left = value = self.arrays.read(w, batched)
        reads: Any = [(w, same, same, False)]
        if x is not None:
            right = self.arrays.read(x, batched)
            value = left * right
            reads = [(w, times(right), same, False), (x, times(left), same, False)]
        value = value if w.ndim == len(dims) else self._summed(value, len(w))
        return Part(value, reads, w, x)

    def _summed(self, x: Any, count: int) -> Any:
        """Σ x along its first axis, of `count` elements, which may be broadcast."""
        if not isinstance(x, Symbol):
            return x * float(count)
        return self.arrays.table.reduce("add", self.arrays.whole(x, (count, *x.shape[1:])), 0)

    # --- products of matrices --------------------------------------------------------------------

    def _bias(self, grid: Grid, blocks: list[Block]) -> Bias | None:
        """The block of one parameter for each row, if the main product has a place for it."""
        by_sample = self._is_by_sample(grid.inputs)
        for block, inputs in blocks:
            biases = block[grid.sums][..., 0]
            if inputs is not None or len(block.T) > 1 or not (biases == biases[:, :1]).all():
                continue
            matrix = np.vstack([grid.weights.T, biases[:, 0]])
            matrix = np.ascontiguousarray(matrix.T) if by_sample else matrix
            if len(grid.weights.T) > 1 and self._is_free(matrix):
                ones = self._with_ones(grid.inputs)
                return None if ones is None else Bias(block, matrix, ones, by_sample)
        return None

    def _is_by_sample(self, x: Ids) -> bool:
        """Whether the inputs of a product are a batch that lies sample by sample."""
        if len(x) > 1 or x.shape[1] < WIDE:
            return False
        return any(np.array_equal(a.ids, x[0]) and a.batched for a in self.arrays.inputs)

    def _is_free(self, matrix: Ids) -> bool:
        """Whether parameters lie, or can be put, one after the other in this order."""
        arrays = self.arrays
        if (matrix >= arrays.tape.parameters).any() or len(np.unique(matrix)) < matrix.size:
            return False
        placed = arrays.home[matrix] >= 0
        straight = (np.diff(arrays.index[matrix].ravel()) == 1).all()
        return not placed.any() or bool(placed.all() and straight)

    def _with_ones(self, x: Ids) -> Symbol | None:
        """The inputs of a product, and a row of ones behind them; None if they have none."""
        tape, columns = self.arrays.tape, len(x)
        if columns == 1 or not (x >= len(tape.values)).all():
            return self.arrays.with_ones(_by_term(x))
        numbers = [tape.number(i) for i in x.T.ravel().tolist()]
        matrix: Symbol = self.arrays.constant(
            numbers + [1.0] * columns, (x.shape[1] + 1, columns), ()
        )
        return matrix

    def _product(
        self, w: Ids, x: Ids, dims: Any, batched: bool, bias: Bias | None = None
    ) -> Part | None:
        """The sums Σ w · x for each row of w (rows, terms) and each of x (columns, terms).

        None if the weights differ from sample to sample, so that it is no product of matrices.
        """
        arrays, table = self.arrays, self.arrays.table
        w_varies, x_varies = (
            bool(arrays.tail) and arrays.is_batched(side, [side]) for side in (w, x)
        )
        if w.shape[1] == 1 or (w_varies and (x_varies or min(len(w), len(x)) > 1)):
            return None
        if w_varies:
            w, x = x, w
        rows, terms = w.shape
        tail = arrays.tail if batched else ()
        weight_ids, input_ids = w.T if bias is None else bias.weights, _by_term(x)
        if rows == 1:
            weight_ids = weight_ids.ravel()
        weight = arrays.whole(arrays.read(weight_ids, False), weight_ids.shape)
        if bias is None:
            input = arrays.whole(arrays.read(input_ids, bool(tail)), input_ids.shape + tail)
        else:
            input = bias.inputs
        wide = input.shape[1:]  # columns and samples, together the columns of the product
        flat: Any = input.shape[:1] + ((joined(wide),) if wide else ())
        input = arrays.flatten(input, flat)
        by_sample = bias is not None and bias.by_sample
        turned = weight
        if rows > 1 and not by_sample:
            turned = table.view(weight, ".T", weight.shape[::-1])
        shape = (rows,) * (rows > 1) + flat[1:]
        value = arrays.flatten(table.dot(turned, input), dims + tail)
        arrays.products.append((rows, terms, flat[1] if wide else 1))

        def as_sums(d: Any) -> Any:
            return arrays.flatten(arrays.whole(d, dims + tail), shape)

        def turn(d: Any) -> Any:
            return table.view(d, ".T", d.shape[::-1])

        def some(came: Any) -> Any:
            return as_sums(came != 0.0) if isinstance(came, Symbol) else None

        def to_weight(d: Any, came: Any) -> Any:
            d = as_sums(d)
            if not wide:
                read = table.view(input, "[:, None]", (*flat, 1)) if rows > 1 else input
                return times(read)(d, came)
            if rows == 1:
                return table.dot(input, d, some(came))
            if not isinstance(came, Symbol):
                return table.dot(d, turn(input)) if by_sample else table.dot(input, turn(d))
            product = table.dot(input, turn(d), turn(some(came)))
            return turn(product) if by_sample else product

        def to_input(d: Any, came: Any) -> Any:
            d, left, where = as_sums(d), weight, some(came)
            if bias is not None:
                left = table.view(weight, "[:-1]", (terms, *weight.shape[1:]))
            if rows == 1 and wide:
                left, d = arrays.flatten(left, (terms, 1)), arrays.flatten(d, (1, *flat[1:]))
                where = arrays.flatten(where, d.shape) if where is not None else None
            product = table.dot(left, d, where) if rows > 1 or wide else times(left)(d, came)
            return arrays.flatten(product, input_ids.shape + tail)

        def way_to_weight(came: Any) -> Any:
            if bias is not None or not isinstance(came, Symbol):
                return 1.0  # beside biases weights are parameters, from where no way goes on
            came = as_sums(came)  # to any column
            return table.dot(came, table.make("full", (1.0,), flat[1:])) if wide else came

        def way_to_input(came: Any) -> Any:
            if rows == 1 or not isinstance(came, Symbol):
                return came
            return table.reduce("add", arrays.whole(came, dims + tail), 0)  # to any row

        weights = weight_ids, to_weight, way_to_weight, True
        return Part(value, [weights, (input_ids, to_input, way_to_input, False)], w, x, True)


def split(keys: Ids) -> list[Ids]:
    """The numbers of the rows of a matrix, those of equal rows together."""
    which = classes(keys)
    return [np.flatnonzero(which == k) for k in range(which.max() + 1)]


def _pieces(
    block: Block, order: Ids, dims: tuple[int, ...], short: bool = False
) -> Iterator[tuple[Ids, Ids | None]]:
    """A block's terms of all sums, in this order, as one array; of short sums one by one."""
    w, x = block
    w = np.moveaxis(w[order], -1, 0).reshape(-1, *dims)
    x = None if x is None else np.moveaxis(x[order], -1, 0).reshape(-1, *dims)
    if not short and len(w) >= (FEW if x is None else 2):
        yield w, x
    else:
        yield from ((left, None if x is None else x[k]) for k, left in enumerate(w))


def _by_term(x: Ids) -> Ids:
    """The inputs of a product, (terms, columns); of one column as a list."""
    return x.T if len(x) > 1 else x.ravel()
