"""Weighted sums as a grid: every row of weights meets every row of inputs exactly once.

A layer on a batch is such a grid, neurons × samples. The terms are put into one order, whatever
order the loops had.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from microgradx.replay.arrays import Arrays
from microgradx.replay.loops import FEW
from microgradx.replay.views import Ids

Block = tuple[Ids, Ids | None]  # by sum and term: the weights, and the inputs of products


class Grid(NamedTuple):
    """The sums as a matrix of their numbers, `sums`; and what its rows and columns are.

    block:   the block of products that says so
    weights: the ids of the weights, (rows, terms)
    inputs:  those of the inputs, (columns, terms)
    """

    sums: Ids
    block: Ids
    weights: Ids
    inputs: Ids


def find_grid(arrays: Arrays, blocks: list[Block], stated: bool) -> Grid | None:
    """The sums as a matrix, if each row of weights meets each row of inputs once.

    stated: whether the graph itself says that they are weighted sums
    """
    block, xs = _main(blocks)
    weights = block
    count, terms = weights.shape
    if (weights < arrays.tape.parameters).all():  # "in any order"
        turn = np.argsort(weights, axis=1, kind="stable")
        weights = np.take_along_axis(weights, turn, axis=1)
        xs = np.take_along_axis(xs, turn, axis=1)
    row, column = _classes(weights), _classes(np.sort(xs, axis=1))
    shape = max(row) + 1, max(column) + 1
    if shape[0] * shape[1] != count or len(set(zip(row, column))) != count:
        return None
    if count == 1 and terms < FEW and not stated:
        return None
    grid = np.empty(shape, dtype=np.int64)
    grid[row, column] = np.arange(count)
    w, x = weights[grid], xs[grid]  # (rows, columns, terms)
    if not (x == x[:1]).all():  # the terms stand in another order in other rows
        at = max(range(shape[1]), key=lambda s: len(np.unique(x[0, s])))
        turns = np.argsort(x[:, at], axis=1, kind="stable")
        turns = turns[:, np.argsort(turns[0])]
        w = np.take_along_axis(w, turns[:, None], axis=2)
        x = np.take_along_axis(x, turns[:, None], axis=2)
        if not (x == x[:1]).all():
            return None
    w, x = w[:, 0], x[0]
    by_row = np.argsort(_sorting(arrays, w), kind="stable")
    by_column = np.argsort(_sorting(arrays, x), kind="stable")
    by_term = _term_order(arrays, w[by_row], x[by_column])
    w, x = w[by_row][:, by_term], x[by_column][:, by_term]
    return Grid(grid[np.ix_(by_row, by_column)], block, w, x)


def components(blocks: list[Block]) -> list[list[int]]:
    """The sums whose inputs meet the same weights, by themselves."""
    weights, xs = _main(blocks)
    row, column = _classes(np.sort(weights, axis=1)), _classes(np.sort(xs, axis=1))
    met: dict[int, set[int]] = {}
    for r, c in zip(row, column):
        met.setdefault(c, set()).add(r)
    groups: dict[frozenset[int], list[int]] = {}
    for m, c in enumerate(column):
        groups.setdefault(frozenset(met[c]), []).append(m)
    return list(groups.values())


def _main(blocks: list[Block]) -> tuple[Ids, Ids]:
    """The largest block of products."""
    products = [(weights, inputs) for weights, inputs in blocks if inputs is not None]
    return max(products, key=lambda block: block[0].shape[1])


def _sorting(arrays: Arrays, rows: Ids) -> Ids:
    """By what to sort rows of operands: their place, or when they were first met."""
    home, first = arrays.home, rows[:, 0]
    if (home[first] >= 0).all():
        return np.asarray(home[first] * len(home) + arrays.index[first])
    met = rows.min(axis=1)  # a tape is numbered from the inputs on, the last sample first
    return np.asarray(met if (met < arrays.tape.parameters).all() else -met)


def _term_order(arrays: Arrays, w: Ids, x: Ids) -> Ids:
    """The order of a product's terms in which both sides are most likely read straight."""
    home = arrays.home
    placed = [side[0] for side in (w, x) if (home[side[0]] >= 0).all()]
    if not placed:
        return np.arange(w.shape[1])
    return np.argsort(arrays.index[placed[0]], kind="stable")


def _classes(rows: Ids) -> list[int]:
    """By row, the number of its like, in order of appearance."""
    known: dict[bytes, int] = {}
    return [known.setdefault(row.tobytes(), len(known)) for row in np.ascontiguousarray(rows)]
