"""The chain rule for arrays: each adds up the contributions of all that read it.

The arrays are visited from the last to the first. A reader's contribution has the shape of what it
read; it is summed over the axes along which one node was read again and again, and added where the
nodes lie. What lies unevenly is pulled: each node adds up the contributions that are its own.

To what a `where` leaves nothing comes, which is not the same as a 0: 0 · inf is nan, nothing is 0.
So next to each adjoint it is known how often something comes, from the same walk with every partial
1. Mostly that is so all over; elsewhere it decides about each partial that may be infinite.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from microgradx.replay.arrays import Array, Arrays, Use
from microgradx.replay.symbols import SHARE, WHOLE, Symbol, identity
from microgradx.replay.views import Ids, Shape, is_whole, joined, view_text

MANY = 100  # contributions that are not written out one by one


class Adjoints:
    """∂loss/∂array for every array that leads from a parameter to the loss.

    adjoints: by the name of an array; those of nodes to which nothing comes are 0
    came:     by the name of an array, how often something comes; 1.0 if it does all over
    gradient: that of the parameters, None where the loss does not depend on them
    pools:    how many contributions are pulled: one for each sample, and others
    """

    def __init__(self, arrays: Arrays, loss: int) -> None:
        self.arrays = arrays
        self.table = arrays.table
        self.loss = loss
        self.adjoints: dict[str, Any] = {}
        self.came: dict[str, Any] = {}
        self.pools = {"e": 0, "e1": 0}
        self._rows: dict[Symbol, Symbol] = {}
        for number, array in reversed([*enumerate(arrays.all)]):
            if not array.wanted:
                continue
            uses = [use for use in array.uses if use.reader.name in self.adjoints]
            found = [self._contribution(array, arrays.home[use.ids] == number, use) for use in uses]
            if number == arrays.home[loss]:
                found.append(self._seed(array))
            if found:
                index, contributions, came = zip(*found)
                self.adjoints[array.name] = self._together(array, [*zip(index, contributions)])
                self.came[array.name] = self._came(array, [*zip(index, came)])
        self.gradient = self.adjoints.pop("p", None)

    def _seed(self, array: Array) -> tuple[Ids, Any, Any]:
        """The contribution to the loss itself: its share of the mean."""
        seed: Any = self.table.leaf(SHARE, ()) if array.tail else 1.0
        place = array.ids.shape if array.ids.size == 1 else 1
        return np.full(place, self.arrays.index[self.loss]), seed, 1.0

    def _contribution(self, array: Array, mine: Any, use: Use) -> tuple[Ids, Any, Any]:
        """The places in the array that a reader gives something to, -1 for others, that, and came.

        Both are summed over the axes that the array has not.
        """
        arrays, tail, came = self.arrays, use.tail, self.came[use.reader.name]
        contribution = use.pullback(self.adjoints[use.reader.name], came)
        index = np.where(mine, arrays.index[use.ids], -1)
        sizes = index.shape + tail
        axes = [
            axis for axis, size in enumerate(index.shape)
            if size > 1 and (index == index.take([0], axis=axis)).all()
        ]  # fmt: skip
        for axis in axes:
            index = index.take([0], axis=axis)
        by_sample = bool(tail) and not array.tail
        axes += [len(sizes) - 1] * by_sample
        found = []
        for x, repeats in ((contribution, sizes), (use.way(came), (1,) * len(sizes))):
            x = self._sum(x, repeats, axes)
            if by_sample and isinstance(x, Symbol) and x.shape:
                x = arrays.flatten(x, x.shape[:-1])
            found.append(x)
        return index, found[0], found[1]

    def _came(self, array: Array, contributions: list[tuple[Ids, Any]]) -> Any:
        """How often something comes to an array's nodes, from how often along each way."""
        sure = np.zeros(array.ids.size + 1, dtype=bool)  # the last for what is another array's
        for index, x in contributions:
            sure[index] |= not isinstance(x, Symbol)
        if sure[:-1].all():
            return 1.0
        once = {(identity(x), index.tobytes()): (index, x) for index, x in contributions}
        return self._together(array, [*once.values()])

    def _sum(self, x: Any, sizes: Shape, axes: list[int]) -> Any:
        """x, which broadcasts to `sizes`, summed over `axes`; each stays, with one element."""
        flatten = self.arrays.flatten
        shape = x.shape if isinstance(x, Symbol) else ()
        left = []
        for axis in axes:
            at = axis - len(sizes) + len(shape)
            if at < 0 or shape[at] == 1:  # the same all along
                x = self._repeated(x, sizes[axis])
            else:
                left.append(at)
        inner = len(shape)
        while inner - 1 in left:  # the last axes go at once
            inner -= 1
            left.remove(inner)
        if inner < len(shape):
            width = joined(shape[inner:])
            ones = self.table.make("full", (1.0,), (width,))
            x = self.table.dot(flatten(x, (*shape[:inner], width)), ones)
            x = flatten(x, shape[:inner] + (1,) * (len(shape) - inner))
        for at in left:
            x = flatten(self.table.reduce("add", x, at), x.shape[:at] + (1,) + x.shape[at + 1 :])
        return x

    def _repeated(self, x: Any, size: Any) -> Any:
        """The sum of `size` times x; of the shares of all samples, the whole."""
        if size != "n":
            return x * float(size)
        is_share = isinstance(x, Symbol) and x.extra == SHARE
        return self.table.leaf(WHOLE, ()) if is_share else x * self.table.leaf("n", ())

    def _together(self, array: Array, contributions: list[Any]) -> Any:
        """All contributions to an array as one expression."""
        dims, size, inner = array.ids.shape, array.ids.size, array.tail
        if len(contributions) > MANY:
            return self._pull(array, contributions)
        total: Any = None
        parts: list[tuple[str, Any, Ids]] = []
        uneven: list[Any] = []
        for index, x in contributions:
            index, x = self._own(index, x)
            if is_whole(index, size):
                if isinstance(x, Symbol) and index.shape != dims and x.shape != dims + inner:
                    full = self.arrays.whole(x, index.shape + inner)
                    x = self.arrays.flatten(full, dims + inner)
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

    def _own(self, index: Ids, x: Any) -> tuple[Ids, Any]:
        """A contribution without what goes to other arrays before and behind it."""
        mine = np.flatnonzero(index >= 0)
        if index.ndim != 1 or not mine.size or mine.size == index.size:
            return index, x
        part = slice(int(mine[0]), int(mine[-1]) + 1)
        if isinstance(x, Symbol) and x.shape[:1] == (index.size,):
            rest = x.shape[1:]
            x = self.table.view(x, f"[{part.start}:{part.stop}]", (part.stop - part.start, *rest))
        elif isinstance(x, Symbol) and x.shape and x.shape[0] != 1:
            return index, x
        return index[part], x

    def _pull(self, array: Array, contributions: list[tuple[Ids, Any]]) -> Any:
        """For each node of an array its contributions, added up."""
        arrays, size, inner = self.arrays, array.ids.size, array.tail
        pool = "e" if inner or not arrays.tail else "e1"
        rows = [self._row(pool, x, index.shape, inner) for index, x in contributions]
        target = np.concatenate([index.ravel() for index, _ in contributions])
        row = np.concatenate([x.extra[1] + np.arange(x.shape[0]) for x in rows])
        order = np.argsort(target, kind="stable")
        order = order[target[order] >= 0]
        row, counts = row[order], np.bincount(target[order], minlength=size)
        starts = np.cumsum(counts) - counts
        by_count = np.argsort(-counts, kind="stable")
        passes = []
        for k in range(int(counts.max())):
            deep = by_count[counts[by_count] > k]
            passes.append(row[starts[deep] + k])
        turned = None if (by_count == np.arange(size)).all() else by_count
        name = arrays.name("pull")
        arrays.constants[name] = passes, turned
        pulled = self.table.make("pull", tuple(rows), (size, *inner), (pool, name))
        return arrays.flatten(pulled, array.ids.shape + inner)

    def _row(self, pool: str, x: Any, dims: Shape, inner: Shape) -> Symbol:
        """A contribution, stored in a pool; its rows begin at `extra[1]`."""
        size = int(np.prod(dims, dtype=int))
        flat = self.arrays.flatten(self.arrays.whole(x, dims + inner), (size, *inner))
        if flat not in self._rows:
            self._rows[flat] = self.table.make("row", (flat,), flat.shape, (pool, self.pools[pool]))
            self.pools[pool] += size
        return self._rows[flat]
