"""A recorded net as blocks: matrices of affine rows, and the activations between them.

Each variable is an input, a unit's output, or the result of an op that is neither affine nor of one
number. What lies between variables is multiplied out: every z is a row over variables of lower
blocks, whichever layers they come from, so that skip connections are rows like others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from microgradx import rules
from microgradx._base import floats
from microgradx.engine import Value
from microgradx.explain.factors import factor_pairs, read_by
from microgradx.replay.batch import Array


class Form(NamedTuple):
    """An affine function of variables.

    factors, constant: by variable its factor, and what is added
    sizes, size: sums of the sizes that these are sums of: where they cancel, rounding doesn't
    """

    factors: dict[int, float]
    constant: float
    sizes: dict[int, float]
    size: float


class Rows(NamedTuple):
    """Affine functions as matrices, each (rows, variables) or (rows,): see `Form`."""

    W: Array
    b: Array
    sizes: Array
    size: Array

    def part(self, which: Any) -> Rows:
        return Rows(*(x[which] for x in self))


class Block(NamedTuple):
    """Variables that read lower ones alone.

    at:    their places among all variables
    nodes: what they are
    rows:  a row for each unit's z; of another op, for what it reads, in the order of `read_by`
    first: by node the first of its rows; a unit has one
    depth: how many roundings a factor may have gone through
    """

    at: Array
    nodes: list[Value]
    rows: Rows
    first: list[int]
    depth: int


class Blocks:
    """What lies between inputs and some nodes.

    inputs:  the recorded inputs, the first variables
    blocks:  in the order of the computation
    targets: a row for each node that was asked for
    """

    def __init__(
        self, nodes: Sequence[Value], inputs: Sequence[Value], targets: Sequence[Value]
    ) -> None:
        self.inputs = [*inputs]
        self._place = {x: k for k, x in enumerate(inputs)}
        self._level = [0] * len(inputs)
        self._forms: dict[Value, Form] = {}
        self._rounds: dict[Value, int] = {}
        behind = _behind(targets)
        by_level: dict[int, list[Value]] = {}
        for node in nodes:
            if node in behind and node.rule is not None and node not in self._place:
                if not self._is_affine(node):
                    self._enter(node, by_level)
        self.blocks: list[Block] = []
        self.size = len(self._level)
        for level in sorted(by_level):
            self.blocks.append(self._block(by_level[level]))
        self.targets = self._rows([self._form(x) for x in targets])
        self.depth = max((self._rounds.get(x, 0) for x in targets), default=0)

    def _enter(self, node: Value, by_level: dict[int, list[Value]]) -> None:
        """A variable, one level above those that it is made of."""
        read = {k for x in read_by(node) for k in self._form(x).factors}
        level = 1 + max((self._level[k] for k in read), default=0)
        self._place[node] = len(self._level)
        self._level.append(level)
        by_level.setdefault(level, []).append(node)

    def _is_affine(self, node: Value) -> bool:
        """Whether it is a sum of variables times constants; then its form is known."""
        rule = node.rule
        assert rule is not None
        if rule.kind == "linear" and not rule.silent:
            zeros = [[*map(_or_zero, x)] if isinstance(x, tuple) else _or_zero(x)
                     for x in node.operands]  # fmt: skip
            number = rule.function(floats, *zeros)[0]
            return self._keep(node, [*zip(node.partials, node.inputs)], number)
        if rule is rules.div and not self._varies(node.operands[1]):
            over = node.operands[1]
            divisor = self._form(over).constant if isinstance(over, Value) else over
            x = node.operands[0]
            if not divisor or not isinstance(x, Value):
                return False
            return self._keep(node, [(1.0 / divisor, x)], 0.0)
        if rule.kind == "product":
            terms, number = [], 0.0
            for one, other in factor_pairs(node):
                if self._varies(one) and self._varies(other):
                    return False
                factor, x = (other, one) if self._varies(one) else (one, other)
                if isinstance(factor, Value):
                    factor = self._form(factor).constant
                if isinstance(x, Value):
                    terms.append((factor, x))
                else:
                    number += factor * x
            for rest in node.operands[2:]:
                if isinstance(rest, Value):
                    terms.append((1.0, rest))
                else:
                    number += rest
            return self._keep(node, terms, number)
        return not any(map(self._varies, read_by(node)))

    def _varies(self, x: Any) -> bool:
        """Whether it is made of variables."""
        return isinstance(x, Value) and bool(self._form(x).factors)

    def _keep(self, node: Value, terms: Sequence[tuple[float, Value]], number: float) -> bool:
        row: dict[int, float] = {}
        sizes: dict[int, float] = {}
        size, rounds = abs(number), 0
        for factor, x in terms:
            form = self._form(x)
            number += factor * form.constant
            size += abs(factor) * form.size
            rounds = max(rounds, self._rounds.get(x, 0))
            for k, c in form.factors.items():
                row[k] = row.get(k, 0.0) + factor * c
                sizes[k] = sizes.get(k, 0.0) + abs(factor) * form.sizes[k]
        self._forms[node] = Form(row, number, sizes, size)
        self._rounds[node] = rounds + len(terms) + 1
        return True

    def _form(self, x: Value) -> Form:
        if x in self._place:
            one = {self._place[x]: 1.0}
            return Form(one, 0.0, one, 0.0)
        return self._forms.get(x) or Form({}, x.data, {}, abs(x.data))

    def _block(self, nodes: list[Value]) -> Block:
        forms: list[Form] = []
        first = []
        for node in nodes:
            first.append(len(forms))
            forms += [self._form(x) for x in read_by(node)]
        depth = max(self._rounds.get(x, 0) for node in nodes for x in read_by(node))
        at = np.array([self._place[x] for x in nodes])
        return Block(at, nodes, self._rows(forms), first, depth)

    def _rows(self, forms: Sequence[Form]) -> Rows:
        form = len(forms), self.size
        rows = Rows(np.zeros(form), np.zeros(len(forms)), np.zeros(form), np.zeros(len(forms)))
        for i, (factors, constant, sizes, size) in enumerate(forms):
            rows.b[i], rows.size[i] = constant, size
            if factors:
                rows.W[i, [*factors]] = [*factors.values()]
                rows.sizes[i, [*sizes]] = [*sizes.values()]
        return rows


def _behind(targets: Sequence[Value]) -> set[Value]:
    found, stack = {*targets}, [*targets]
    while stack:
        fresh = [x for x in read_by(stack.pop()) if x not in found]
        found.update(fresh)
        stack += fresh
    return found


def _or_zero(x: Any) -> float:
    return 0.0 if isinstance(x, Value) else x
