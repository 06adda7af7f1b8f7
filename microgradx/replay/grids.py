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
    if len(block) == 1 and block.size < FEW and not stated:
        return None
    weights, xs = _turned(block, xs, np.argsort(block, axis=1, kind="stable"))
    row, column = classes(weights), classes(np.sort(xs, axis=1))
    shape = int(row.max()) + 1, int(column.max()) + 1
    if shape[0] * shape[1] != len(block):
        return None
    grid = np.full(shape, -1)
    grid[row, column] = np.arange(len(block))
    if (grid < 0).any():
        return None
    w, x = weights[grid], xs[grid]  # (rows, columns, terms)
    if not (x == x[:1]).all():  # the terms stand in another order in other rows
        at = max(range(shape[1]), key=lambda s: len(np.unique(x[0, s])))
        turns = np.argsort(x[:, at], axis=1, kind="stable")
        w, x = _turned(w, x, turns[:, np.argsort(turns[0])][:, None])
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
    rows, columns = (classes(np.sort(side, axis=1)).tolist() for side in (weights, xs))
    met: dict[int, set[int]] = {}
    for row, column in zip(rows, columns):
        met.setdefault(column, set()).add(row)
    groups: dict[frozenset[int], list[int]] = {}
    for k, column in enumerate(columns):
        groups.setdefault(frozenset(met[column]), []).append(k)
    return list(groups.values())


def classes(rows: Ids) -> Ids:
    """By row of a matrix, a number that only equal rows have."""
    return np.unique(rows, axis=0, return_inverse=True)[1].ravel()


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


def _turned(w: Ids, x: Ids, turn: Ids) -> tuple[Ids, Ids]:
    """Weights and inputs, with their terms in another order."""
    return np.take_along_axis(w, turn, axis=-1), np.take_along_axis(x, turn, axis=-1)
