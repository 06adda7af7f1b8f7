"""The chain rule for arrays: each adds up the contributions of all that read it.

The arrays are visited from the last to the first. A reader's contribution has the shape of what it
read; it is summed over the axes along which one node was read again and again, and added where the
nodes lie. What lies unevenly is pulled: each node adds up the contributions that are its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from microgradx.replay.arrays import Array, Arrays, Use
from microgradx.replay.symbols import SHARE, Symbol
from microgradx.replay.views import Ids, Shape, is_whole, joined, view_text

MANY = 100  # contributions that are not written out one by one


class Adjoints:
    """∂loss/∂array for every array that leads from a parameter to the loss.

    gradient: that of the parameters, None where the loss does not depend on them
    plans:    by name, what a pull adds up
    """

    def __init__(self, arrays: Arrays, loss: int) -> None:
        self.arrays = arrays
        self.table = arrays.table
        self.adjoints: dict[str, Any] = {}
        self.plans: dict[str, tuple[list[Ids], Ids | None]] = {}
        self.pools: dict[str, list[Symbol]] = {"e": [], "e1": []}
        self._starts: dict[int, int] = {}
        self._number = {a.name: k for k, a in enumerate(arrays.all)}
        self._sizes = {"e": 0, "e1": 0}
        home = arrays.home[loss]
        for array in reversed(arrays.all):
            if not array.wanted:
                continue
            contributions = self._contributions(array)
            if array is arrays.all[home]:
                contributions.append(self._seed(array, int(arrays.index[loss])))
            adjoint = self._together(array, contributions)
            if adjoint is not None:
                self.adjoints[array.name] = adjoint
        self.gradient = self.adjoints.pop("p", None)

    def _seed(self, array: Array, at: int) -> tuple[Ids, Any]:
        """The contribution to the loss itself: its share of the mean."""
        seed: Any = self.table.leaf(SHARE, ()) if array.batched and self.arrays.tail else 1.0
        size = array.ids.size
        return np.full(array.ids.shape if size == 1 else 1, at), seed

    def _contributions(self, array: Array) -> list[Any]:
        """(places in the array, contribution) for each reader of the array."""
        contributions = []
        for use in array.uses:
            d = self.adjoints.get(use.reader.name)
            if d is None:
                continue
            contribution = self._narrowed(array, use, use.pullback(d))
            if contribution is not None:
                contributions.append(contribution)
        return contributions

    def _narrowed(self, array: Array, use: Use, contribution: Any) -> Any:
        """A contribution, summed over the axes that the array has not."""
        arrays = self.arrays
        tail = use.tail
        inner = arrays.tail if array.batched else ()
        mine = arrays.home[use.ids] == self._number[array.name]
        index = np.where(mine, arrays.index[use.ids], -1)
        sizes = index.shape + tail
        axes = [
            axis for axis, size in enumerate(index.shape)
            if size > 1 and (index == index.take([0], axis=axis)).all()
        ]  # fmt: skip
        for axis in axes:
            index = index.take([0], axis=axis)
        if not tail or inner:
            return index, self._sum(contribution, sizes, axes)
        contribution = self._sum(contribution, sizes, [*axes, len(sizes) - 1])
        if isinstance(contribution, Symbol) and contribution.shape:
            contribution = arrays.flatten(contribution, contribution.shape[:-1])
        return index, contribution

    def _sum(self, x: Any, sizes: Shape, axes: list[int]) -> Any:
        """x, which broadcasts to `sizes`, summed over `axes`; each stays, with one element."""
        table, flatten = self.table, self.arrays.flatten
        for axis in axes:
            at = axis - len(sizes) + len(x.shape) if isinstance(x, Symbol) else -1
            if at < 0 or x.shape[at] == 1:  # the same all along
                if sizes[axis] != "n":
                    x = x * float(sizes[axis])
                elif isinstance(x, Symbol) and x.extra == SHARE:
                    x = 1.0
                else:
                    x = x * table.leaf("n", ())
        if not isinstance(x, Symbol):
            return x
        shape = x.shape
        left = [axis - len(sizes) + len(shape) for axis in axes]
        left = [at for at in left if at >= 0 and shape[at] != 1]
        inner = 0  # how many of the last axes go at once
        while left and left[-1] == len(shape) - 1 - inner:
            left.pop()
            inner += 1
        if inner:
            outer = shape[:-inner]
            width = joined(shape[-inner:])
            x = table.dot(flatten(x, (*outer, width)), table.make("ones", (), (width,)))
            x = flatten(x, outer + (1,) * inner)
        for at in left:
            x = flatten(table.reduce("add", x, at), x.shape[:at] + (1,) + x.shape[at + 1 :])
        return x

    def _together(self, array: Array, contributions: list[Any]) -> Any:
        """All contributions to an array as one expression; None if there is none."""
        if not contributions:
            return None
        inner = self.arrays.tail if array.batched else ()
        dims, size = array.ids.shape, array.ids.size
        if len(contributions) > MANY:
            return self._pull(array, contributions)
        total: Any = None
        parts: list[tuple[str, Any, Ids]] = []
        uneven: list[Any] = []
        for index, x in contributions:
            if is_whole(index, size):
                x = self._shaped(x, index.shape + inner, dims + inner)
                total = x if total is None else total + x
                continue
            once = (index >= 0).all() and len(np.unique(index)) == index.size
            text = view_text(index, dims, inner, inner) if once else None
            if text is None:
                uneven.append((index, x))
            else:
                parts.append((text, x, index))
        if uneven:
            pulled = self._pull(array, uneven)
            total = pulled if total is None else total + pulled
        if not parts:
            return total
        covered = np.concatenate([index.ravel() for _, _, index in parts])
        tiled = covered.size == size and len(np.unique(covered)) == size
        steps = [(text, "=" if tiled else "+", x) for text, x, _ in parts]
        if tiled and total is not None:
            steps.append(("", "+", total))
        elif not tiled:
            steps.insert(0, ("", "=", 0.0 if total is None else total))
        texts, modes, values = zip(*steps)
        return self.table.make("assemble", values, dims + inner, (texts, modes))

    def _shaped(self, x: Any, shape: Shape, wanted: Shape) -> Any:
        if not isinstance(x, Symbol) or x.shape == wanted or shape == wanted:
            return x
        return self.arrays.flatten(self.arrays.whole(x, shape), wanted)

    def _pull(self, array: Array, contributions: list[Any]) -> Any:
        """For each node of an array its contributions, added up."""
        arrays, table = self.arrays, self.table
        inner = arrays.tail if array.batched else ()
        pool = "e" if inner or not arrays.tail else "e1"
        targets, rows = [], []
        for index, x in contributions:
            start = self._pooled(pool, x, index.shape, inner)
            flat = index.ravel()
            mine = flat >= 0
            targets.append(flat[mine])
            rows.append(start + np.flatnonzero(mine))
        target, row = map(np.concatenate, (targets, rows))
        order = np.argsort(target, kind="stable")
        target, row = target[order], row[order]
        size = array.ids.size
        counts = np.bincount(target, minlength=size)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        by_count = np.argsort(-counts, kind="stable")
        passes = []
        for k in range(int(counts.max())):
            deep = by_count[counts[by_count] > k]
            passes.append(row[starts[deep] + k])
        name = arrays.name("pull")
        turned = None if (by_count == np.arange(size)).all() else by_count
        self.plans[name] = (passes, turned)
        symbols = tuple([self._flat(x, index.shape, inner) for index, x in contributions])
        pulled = table.make("pull", symbols, (size, *inner), (pool, name))
        return arrays.flatten(pulled, array.ids.shape + inner)

    def _flat(self, x: Any, dims: Shape, inner: Shape) -> Symbol:
        shape = dims + inner
        full = self.arrays.whole(x, shape)
        size = int(np.prod(dims, dtype=int))
        return self.table.make("row", (self.arrays.flatten(full, (size, *inner)),), (size, *inner))

    def _pooled(self, pool: str, x: Any, dims: Shape, inner: Shape) -> int:
        """The first row of the pool that holds a contribution."""
        symbol = self._flat(x, dims, inner)
        start = self._starts.get(id(symbol))
        if start is None:
            start = self._starts[id(symbol)] = self._sizes[pool]
            self._sizes[pool] += symbol.shape[0]
            self.pools[pool].append(symbol)
        return start
