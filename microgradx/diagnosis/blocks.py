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
from microgradx.explain.factors import factor_pairs
from microgradx.replay.batch import Array

Form = tuple[dict[int, float], float]  # by variable its factor, and the constant


class Block(NamedTuple):
    """Variables that read lower ones alone.

    at:    their places among all variables
    nodes: what they are
    W, b:  (rows, variables), (rows,): a row for each unit's z; of another op, for its operands
    first: by node the first of its rows; a unit has one
    depth: how many roundings a factor may have gone through
    """

    at: Array
    nodes: list[Value]
    W: Array
    b: Array
    first: list[int]
    depth: int


class Blocks:
    """What lies between inputs and some nodes.

    inputs:  the recorded inputs, the first variables
    blocks:  in the order of the computation
    targets: (W, b), a row for each node that was asked for
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
        self.W, self.b = self._rows([self._form(x) for x in targets])
        self.depth = max((self._rounds.get(x, 0) for x in targets), default=0)

    def _enter(self, node: Value, by_level: dict[int, list[Value]]) -> None:
        """A variable, one level above those that it is made of."""
        read = {k for x in node.inputs for k in self._form(x)[0]}
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
        if rule is rules.div and not self._form(node.inputs[-1])[0]:
            over = node.operands[1]
            divisor = self._form(over)[1] if isinstance(over, Value) else over
            x = node.operands[0]
            if not divisor or not isinstance(x, Value):
                return False
            return self._keep(node, [(1.0 / divisor, x)], 0.0)
        if rule.kind == "product":
            terms, number = [], 0.0
            for one, other in factor_pairs(node):
                factor, x = (one, other) if isinstance(other, Value) else (other, one)
                if isinstance(factor, Value) and self._form(factor)[0]:
                    factor, x = x, factor
                if isinstance(factor, Value):
                    coefficients, factor = self._form(factor)
                    if coefficients:
                        return False
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
        return not any(self._form(x)[0] for x in node.inputs)

    def _keep(self, node: Value, terms: Sequence[tuple[float, Value]], number: float) -> bool:
        row: dict[int, float] = {}
        rounds = 0
        for factor, x in terms:
            coefficients, constant = self._form(x)
            number += factor * constant
            rounds = max(rounds, self._rounds.get(x, 0))
            for k, c in coefficients.items():
                row[k] = row.get(k, 0.0) + factor * c
        self._forms[node], self._rounds[node] = (row, number), rounds + 1
        return True

    def _form(self, x: Value) -> Form:
        if x in self._place:
            return {self._place[x]: 1.0}, 0.0
        return self._forms.get(x, ({}, x.data))

    def _block(self, nodes: list[Value]) -> Block:
        forms: list[Form] = []
        first = []
        for node in nodes:
            first.append(len(forms))
            forms += [self._form(x) for x in node.inputs]
        depth = max(self._rounds.get(x, 0) for node in nodes for x in node.inputs)
        at = np.array([self._place[x] for x in nodes])
        return Block(at, nodes, *self._rows(forms), first, depth)

    def _rows(self, forms: Sequence[Form]) -> tuple[Array, Array]:
        W, b = np.zeros((len(forms), self.size)), np.zeros(len(forms))
        for i, (row, number) in enumerate(forms):
            b[i] = number
            if row:
                W[i, [*row]] = [*row.values()]
        return W, b


def _behind(targets: Sequence[Value]) -> set[Value]:
    found, stack = {*targets}, [*targets]
    while stack:
        fresh = [x for x in stack.pop().inputs if x not in found]
        found.update(fresh)
        stack += fresh
    return found


def _or_zero(x: Any) -> float:
    return 0.0 if isinstance(x, Value) else x
