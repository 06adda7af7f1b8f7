"""Weighted sums as arrays: where every row of weights meets every row of inputs, a matrix product.

A layer on a batch is such a grid of sums: neurons × samples. The columns of a product are put into
one order whatever order the loops had. Sums that form no grid are multiplied element by element
and added up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from microgradx.replay.arrays import PARAMETER, WIDE, Arrays, same, times
from microgradx.replay.grids import Block, Grid, components, find_grid
from microgradx.replay.loops import FEW, LONG, Sum
from microgradx.replay.symbols import Symbol
from microgradx.replay.tape import NONE
from microgradx.replay.views import Ids, joined

Read = tuple[Ids, Callable[[Any], Any], bool]  # ids, pullback, whether summed over samples
PLACES = 8  # from more of them, the terms of a sum are gathered
FAR = 2**32  # more than there are places


class SumLifter:
    """The sums of one level at a time."""

    def __init__(self, arrays: Arrays, sums: dict[int, Sum]) -> None:
        self.arrays = arrays
        self.sums = sums
        self.table = arrays.table
        tape = arrays.tape
        ranks = np.full(len(tape.values) + len(tape.numbers), 2)
        ranks[len(tape.values) :] = 1
        ranks[: tape.parameters] = 0
        self.ranks = ranks

    def lift(self, nodes: list[int]) -> None:
        """All sums of a level, those together whose terms come from the same places."""
        by_size: dict[tuple[int, bool], list[int]] = {}
        for i in nodes:
            terms = self.sums[i]
            by_size.setdefault((len(terms.a), terms.weighted), []).append(i)
        for (_, weighted), alike in by_size.items():
            a = np.array([self.sums[i].a for i in alike])
            b = np.array([self.sums[i].b for i in alike])
            a, b = self.arrays.one[a], np.where(b == NONE, NONE, self.arrays.one[b])
            turned = (b != NONE) & (self.ranks[b] < self.ranks[a])  # the weight first
            w, x = np.where(turned, b, a), np.where(turned, a, b)
            places = self._places(w, x)
            groups: dict[Any, list[int]] = {}
            for i, row in zip(alike, np.concatenate([w, x], axis=1)):
                groups.setdefault(row.tobytes(), []).append(i)
            once = set(self.arrays.deduplicated(groups)) if len(groups) < len(alike) else ()
            if once and len(once) < len(alike):
                kept = np.array([i in once for i in alike])
                alike, w, x, places = np.array(alike)[kept].tolist(), w[kept], x[kept], places[kept]
            ordered = np.sort(places, axis=1)
            kinds, which = np.unique(ordered, axis=0, return_inverse=True)
            for k in range(len(kinds)):
                mine = np.flatnonzero(which.ravel() == k)
                ids = np.array(alike)[mine]
                if weighted:
                    self._lift_weighted(ids, w[mine], x[mine], places[mine])
                else:
                    self._lift_plain(ids, w[mine], places[mine])
            if once:
                self.arrays.share_storage(groups)

    def _places(self, w: Ids, x: Ids) -> Ids:
        """By term, a number for where its operands come from."""
        place = self.arrays.place
        one, other = place[w], np.where(x == NONE, FAR // 2 - 1, place[x])
        penalty = (one <= PARAMETER) & (other <= PARAMETER)  # of parameters, all of them alike
        one, other = np.where(penalty, PARAMETER, one), np.where(penalty, PARAMETER, other)
        return one * FAR + other + FAR // 2

    # --- sums of nodes ---------------------------------------------------------------------------

    def _lift_plain(self, ids: Ids, terms: Ids, places: Ids) -> None:
        """As a reduction where the terms lie evenly, else one after the other."""
        arrays = self.arrays
        if terms.shape[1] < LONG:
            self._by_order(ids, terms, np.full_like(terms, NONE), places)
            return
        turn, dims = arrays.arrange(terms)
        ids, terms = ids[turn].reshape(dims), terms[turn].T.reshape(-1, *dims)
        batched = arrays.is_batched(terms, [terms])
        value = self._summed(arrays.read(terms, batched), len(terms))
        array = arrays.compute("sum", ids, value, batched)
        arrays.use(array, terms, same)

    # --- short ones, that form no product --------------------------------------------------------

    def _by_order(self, ids: Ids, w: Ids, x: Ids, places: Ids) -> None:
        """Those together whose terms come from the same places in the same order."""
        kinds, which = np.unique(places, axis=0, return_inverse=True)
        for k in range(len(kinds)):
            mine = which.ravel() == k
            self._lift_chain(ids[mine], w[mine], x[mine])

    def _lift_chain(self, ids: Ids, w: Ids, x: Ids) -> None:
        """Term by term, in the order in which they were added."""
        arrays = self.arrays
        products = (x != NONE).all(axis=0)
        columns = np.concatenate([w, x[:, products]], axis=1)
        turn, dims = arrays.arrange(columns)
        ids, w, x = ids[turn], w[turn], x[turn]
        batched = arrays.is_batched(columns, columns.T)
        value: Any = None
        uses = []
        for t, is_product in enumerate(products):
            block = w[:, t].reshape(dims)
            term = arrays.read(block, batched)
            if is_product:
                other = x[:, t].reshape(dims)
                factor = arrays.read(other, batched)
                uses += [(block, times(factor)), (other, times(term))]
                term = term * factor
            else:
                uses.append((block, same))
            value = term if value is None else value + term
        array = arrays.compute("sum", ids.reshape(dims), value, batched)
        for read, pullback in uses:
            arrays.use(array, read, pullback)

    # --- weighted sums ---------------------------------------------------------------------------

    def _lift_weighted(self, ids: Ids, w: Ids, x: Ids, places: Ids) -> None:
        """Sums with the same number of terms from each place."""
        turn = np.argsort(places, axis=1, kind="stable")
        ordered = np.take_along_axis(places, turn, axis=1)[0]
        blocks: list[Block] = []  # by place
        starts = [0, *(np.flatnonzero(np.diff(ordered)) + 1).tolist(), len(ordered)]
        if len(starts) > PLACES + 1:  # from here, there and everywhere
            products = np.take_along_axis(x, turn, axis=1)[0] != NONE
            turn = turn[:, np.argsort(products, kind="stable")]
            starts = [0, int((~products).sum()), len(ordered)]
            starts = starts if starts[1] else starts[1:]
        for start, stop in zip(starts, starts[1:]):
            part = turn[:, start:stop]
            weights, inputs = (np.take_along_axis(side, part, axis=1) for side in (w, x))
            blocks.append((weights, None if (inputs == NONE).any() else inputs))
        stated = all(self.sums[i].stated for i in ids.tolist())
        grid = find_grid(self.arrays, blocks, stated)
        if grid is not None:
            self._lift_grid(ids, grid.sums, grid, blocks)
            return
        groups = components(blocks)
        if 1 < len(groups) <= max(2, len(ids) // 4):
            for group in groups:
                self._lift_weighted(ids[group], w[group], x[group], places[group])
        elif w.shape[1] < LONG:
            self._by_order(ids, w, x, places)
        else:
            self._lift_grid(ids, np.arange(len(ids)).reshape(-1, 1), None, blocks)

    def _lift_grid(self, ids: Ids, sums: Ids, grid: Grid | None, blocks: list[Block]) -> None:
        """One array of sums, rows × columns; without a grid all of them in one column."""
        arrays = self.arrays
        dims = tuple([size for size in sums.shape if size > 1])
        sides = [side for block in blocks for side in block if side is not None]
        batched = any(arrays.is_batched(side, [side]) for side in sides)
        bias = None if grid is None else self._bias(grid, blocks)
        before = len(arrays.products)
        value: Any = None
        uses: list[Read] = []
        for weights, inputs in blocks:
            if bias is not None and weights is bias[0]:
                continue
            if grid is not None and weights is grid.block:
                part, reads = self._product(
                    grid.weights, grid.inputs, dims, batched, bias and bias[1]
                )
            elif inputs is not None:
                part, reads = self._other_product(weights[sums], inputs[sums], dims, batched)
            else:
                part, reads = self._singles(weights[sums], dims, batched)
            value = part if value is None else value + part
            uses += reads
        name = "z" if len(arrays.products) > before else "sum"
        array = arrays.compute(name, ids[sums].reshape(dims), value, batched)
        for operands, pullback, summed in uses:
            arrays.use(array, operands, pullback, summed)

    def _bias(self, grid: Grid, blocks: list[Block]) -> tuple[Ids, Ids] | None:
        """The block of one parameter for each row, if the main product has a place for it.

        It becomes the weight of a row of ones: (the block, weights and biases as one matrix).
        """
        arrays = self.arrays
        count = arrays.tape.parameters
        if not (grid.weights < count).all() or grid.weights.shape[1] < 2:
            return None
        for weights, inputs in blocks:
            if inputs is not None or weights.shape[1] != 1 or not (weights < count).all():
                continue
            biases = weights[grid.sums][..., 0]
            if not (biases == biases[:, :1]).all() or len(np.unique(biases[:, 0])) < len(biases):
                continue
            matrix = np.vstack([grid.weights.T, biases[None, :, 0]])
            if len(np.unique(matrix)) < matrix.size:
                return None
            if self._is_by_sample(grid.inputs):
                matrix = np.ascontiguousarray(matrix.T)
            placed = arrays.home[matrix] >= 0
            if placed.any() and not (np.diff(arrays.index[matrix].ravel()) == 1).all():
                return None
            if placed.any() != placed.all():
                return None
            x = grid.inputs.T if len(grid.inputs) > 1 else grid.inputs[0]
            numbers = (x >= len(arrays.tape.values)).all() and len(grid.inputs) > 1
            if not numbers and arrays.with_ones(x) is None:
                return None
            return weights, matrix
        return None

    def _is_by_sample(self, x: Ids) -> bool:
        """Whether the inputs of a product are a batch that lies sample by sample."""
        return (
            len(x) == 1
            and x.shape[1] >= WIDE
            and any(
                np.array_equal(array.ids, x[0]) and array.batched for array in self.arrays.inputs
            )
        )

    def _other_product(self, w: Ids, x: Ids, dims: Any, batched: bool) -> Any:
        """A product beside the main one, if it runs along the same rows and columns."""
        if (w == w[:, :1]).all() and (x == x[:1]).all():
            return self._product(w[:, 0], x[0], dims, batched)
        w, x = (np.moveaxis(side, -1, 0).reshape(-1, *dims) for side in (w, x))
        return self._weighted(w, x, batched)

    def _product(
        self, w: Ids, x: Ids, dims: Any, batched: bool, with_bias: Ids | None = None
    ) -> Any:
        """The sums Σ w · x for each row of w (rows, terms) and each of x (columns, terms)."""
        arrays, table = self.arrays, self.table
        rows, columns, terms = len(w), len(x), w.shape[1]
        samples = [bool(arrays.tail) and arrays.is_batched(side, [side]) for side in (w, x)]
        if terms > 1 and samples[0] and not samples[1] and min(rows, columns) == 1:
            w, x, rows, columns = x, w, columns, rows
        elif samples[0] or terms == 1:
            full = terms, rows, columns
            w = np.broadcast_to(w.T[:, :, None], full).reshape(terms, *dims)
            x = np.broadcast_to(x.T[:, None, :], full).reshape(terms, *dims)
            return self._weighted(w, x, batched)
        tail = arrays.tail if batched else ()
        weight_ids = w.T if with_bias is None else with_bias
        by_sample = with_bias is not None and self._is_by_sample(x)
        if rows == 1:
            weight_ids = weight_ids.ravel()
        input_ids = x.T if columns > 1 else x[0]
        weight = self._array(weight_ids, ())  # (terms, rows), or (rows, terms) if by sample
        input = self._array(input_ids, tail)
        if with_bias is not None:
            weight = arrays.flatten(weight, weight_ids.shape)
            ones = arrays.with_ones(input_ids)
            input = self._numbers_with_ones(input_ids) if ones is None else ones
        wide = input.shape[1:]  # columns and samples, together the columns of the product
        flat: Any = input.shape[:1] + ((joined(wide),) if wide else ())
        input = arrays.flatten(input, flat)
        turned = weight
        if rows > 1 and not by_sample:
            turned = table.view(weight, ".T", weight.shape[::-1])
        shape = (rows,) * (rows > 1) + flat[1:]
        value = arrays.flatten(table.dot(turned, input), dims + tail)
        arrays.products.append((rows, terms, flat[1] if wide else 1))

        def to_weight(d: Any) -> Any:
            d = arrays.flatten(arrays.whole(d, dims + tail), shape)
            if rows == 1:
                return table.dot(input, d) if wide else input * d
            if not wide:
                return table.view(input, "[:, None]", (*flat, 1)) * d
            if by_sample:
                return table.dot(d, table.view(input, ".T", flat[::-1]))
            return table.dot(input, table.view(d, ".T", shape[::-1]))

        def to_input(d: Any) -> Any:
            d = arrays.flatten(arrays.whole(d, dims + tail), shape)
            left = weight
            if with_bias is not None:
                left = table.view(weight, "[:-1]", (terms, *weight.shape[1:]))
            if rows == 1 and wide:
                left, d = (arrays.flatten(left, (terms, 1)), arrays.flatten(d, (1, *flat[1:])))
            contribution = table.dot(left, d) if rows > 1 or wide else left * d
            return arrays.flatten(contribution, input_ids.shape + tail)

        return value, [(weight_ids, to_weight, True), (input_ids, to_input, False)]

    def _array(self, ids: Ids, tail: Any) -> Symbol:
        """Nodes as an array in its full shape, also if one number would do."""
        read = self.arrays.read(ids, bool(tail) or not self.arrays.tail)
        return self.arrays.whole(read, ids.shape + tail)

    def _numbers_with_ones(self, ids: Ids) -> Symbol:
        """Constants as a matrix with a row of ones behind it."""
        numbers = [self.arrays.tape.number(i) for i in ids.ravel().tolist()]
        rows, columns = ids.shape
        matrix: Symbol = self.arrays.constant(numbers + [1.0] * columns, (rows + 1, columns), ())
        return matrix

    def _weighted(self, w: Ids, x: Ids, batched: bool) -> Any:
        """Σ w · x along the first axis, element by element."""
        arrays = self.arrays
        left, right = arrays.read(w, batched), arrays.read(x, batched)
        return self._summed(left * right, len(w)), [
            (w, times(right), False),
            (x, times(left), False),
        ]

    def _singles(self, block: Ids, dims: Any, batched: bool) -> Any:
        """The sum of terms that are no products; block is (rows, columns, terms)."""
        arrays = self.arrays
        terms = np.moveaxis(block, -1, 0).reshape(-1, *dims)
        if len(terms) < FEW:
            value: Any = None
            for column in terms:
                term = arrays.read(column, batched)
                value = term if value is None else value + term
            return value, [(column, same, False) for column in terms]
        value = self._summed(arrays.read(terms, batched), len(terms))
        return value, [(terms, same, False)]

    def _summed(self, x: Any, count: int) -> Any:
        """Σ x along its first axis, of `count` elements, which may be broadcast."""
        if not isinstance(x, Symbol):
            return x * float(count)
        if count == 1:
            return self.table.view(x, "[0, ...]", x.shape[1:])
        return self.table.reduce("add", self.arrays.whole(x, (count, *x.shape[1:])), 0)
