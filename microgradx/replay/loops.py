"""Loops, recognised: sums of products over nodes, and reductions within a rule.

A chain of + is flattened into its terms: `b + w0·x0 + w1·x1 + …` is one weighted sum. A product
that only the sum reads becomes a term of two factors.
A rule of many operands is a loop too: `peak = xp.maximum(peak, x)`. Run on symbols it leaves a
chain of one call per element; where the chain treats every element alike, it is one call on all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from microgradx import rules
from microgradx.replay.symbols import Symbol, Symbols
from microgradx.replay.tape import NONE, Tape

FEW = 4  # from so many terms on a lone sum is worth a call of its own
LONG = 8  # up to here a sum is written out term by term
FOLDED = {"add", "multiply", "maximum", "minimum"}
FROM_ZERO = {"add"}  # a chain of these may start with 0


@dataclass(slots=True)
class Sum:
    """A node as the sum of its terms: a[k] · b[k], or a[k] alone where b[k] is NONE.

    factors:  by term, the node that multiplied it, NONE for one that is no product
    products: how many terms are products
    chain:    whether they were added one at a time, in this order
    stated:   whether the graph itself says it so: `dot` and `sum`
    absorbed: the nodes in between, which get no array of their own
    """

    stated: bool = False
    chain: bool = True
    products: int = 0
    a: list[int] = field(default_factory=list)
    b: list[int] = field(default_factory=list)
    factors: list[int] = field(default_factory=list)
    absorbed: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.a)

    def add(self, a: int, b: int = NONE, factor: int = NONE) -> None:
        """One more term."""
        self.a.append(a)
        self.b.append(b)
        self.factors.append(factor)
        if b != NONE:
            self.products += 1

    def take(self, other: Sum, node: int) -> None:
        """All terms of another sum, which was the node `node`."""
        self.a += other.a
        self.b += other.b
        self.factors += other.factors
        self.products += other.products
        self.absorbed += (*other.absorbed, node)
        self.chain = False

    def factor_ids(self) -> set[int]:
        return {i for a, b in zip(self.a, self.b) if b != NONE for i in (a, b)}

    def drop_zeros(self, tape: Tape) -> None:
        """Leave out the 0.0 that a loop started from."""
        terms = [
            (a, b) for a, b in zip(self.a, self.b)
            if b != NONE or not tape.is_number(a) or tape.number(a) != 0
        ]  # fmt: skip
        self.a, self.b = map(list, zip(*terms))

    def close(self) -> None:
        """Let every product be a node of its own again: a sum of this and that."""
        inner = set(self.factors)
        self.absorbed = [i for i in self.absorbed if i not in inner]
        self.a = [a if factor == NONE else factor for a, factor in zip(self.a, self.factors)]
        self.b = [NONE] * len(self)
        self.factors = list(self.b)
        self.products = 0


def find_sums(tape: Tape) -> dict[int, Sum]:
    """By id, the nodes that are sums worth keeping together."""
    uses = _uses(tape)
    sums: dict[int, Sum] = {}
    taken: set[int] = set()
    add, mul, dot, total = rules.add, rules.mul, rules.dot, rules.sum
    kinds, args, n = tape.rules, tape.args, len(tape.values)

    def inner(i: int) -> Sum | None:
        """The sum that i is, if it can be opened: nobody else reads it, and it is no neuron."""
        terms = sums.get(i)
        if terms is None or uses[i] > 1 or kinds[i] is dot:
            return None
        return None if kinds[i] is total and not terms.products else terms

    def take(into: Sum, i: int) -> None:
        """The operand i of a sum, as one more term or several."""
        if i < n and uses[i] == 1 and kinds[i] is mul:
            a, b = args[i]
            into.absorbed.append(i)
            into.add(a, b, i)
            return
        other = inner(i)
        if other is None or min(into.products, other.products) < 2 or _two_neurons(into, other):
            into.add(i)
        else:
            into.take(other, i)
            taken.add(i)

    for i in range(tape.leaves, n):
        rule = kinds[i]
        if rule is add:
            a, b = args[i]
            if inner(a) is None and inner(b) is not None:
                a, b = b, a  # x + (y + z) = (y + z) + x
            first = inner(a)
            if first is None:
                first = Sum()
                take(first, a)
            else:  # the chain grows where it is
                first.absorbed.append(a)
                first.stated = False
                taken.add(a)
            sums[i] = first
            take(first, b)
        elif rule is dot:
            sums[i] = terms = Sum(stated=True)
            for bias in args[i]:
                terms.add(bias)
            weights, xs = tape.rows[i]
            terms.a += weights
            terms.b += xs
            terms.factors += [i] * len(xs)
            terms.products += len(xs)
        elif rule is total:
            sums[i] = terms = Sum(stated=True)
            for x in tape.rows[i][0]:
                if x < n and kinds[x] is mul:
                    take(terms, x)
                else:
                    terms.add(x)
    kept = {}
    for i, terms in sums.items():
        if i in taken:
            continue
        others = len(terms) - terms.products
        if kinds[i] is not dot and terms.products and others > (kinds[i] is add) * (FEW - 1):
            terms.close()
        if _is_worth_it(terms, tape):
            if terms.products:
                terms.drop_zeros(tape)
            kept[i] = terms
    return kept


def _uses(tape: Tape) -> Counter[int]:
    """By id, how often a node is read, an output once more."""
    uses = Counter(chain(tape.outputs, *tape.args))
    for row, count in Counter(chain(*tape.rows)).items():  # a row is read by many
        for i in row:
            uses[i] += count
    return uses


def _two_neurons(one: Sum, other: Sum) -> bool:
    """Whether both weigh the same things: then they are two neurons, and stay two."""
    return not one.factor_ids().isdisjoint(other.factor_ids())


def _is_worth_it(terms: Sum, tape: Tape) -> bool:
    if terms.stated or terms.products >= FEW:
        return True
    if terms.products == 0:
        return terms.chain and len(terms) >= LONG
    if terms.products < 2 or not terms.chain:
        return False
    pairs = [(a, b) for a, b in zip(terms.a, terms.b) if b != NONE]
    return all(min(rank(a, tape), rank(b, tape)) < 2 for a, b in pairs)


def rank(i: int, tape: Tape) -> int:
    """The rank of an id as the weight of a product: 0 for a parameter, 1 for a number, else 2."""
    return 0 if i < tape.parameters else 1 if tape.is_number(i) else 2


# --- loops within a rule -----------------------------------------------------------------------


def vectorised(table: Symbols, value: Any, partials: list[Any], rows: list[Any]) -> Any:
    """`value` and `partials`, with chains over the elements of `rows` as reductions.

    A row's partials become one symbol, with the row's axis first; they stay a list where its
    elements are not treated alike.
    """
    folder = _Folder(table, rows)
    value = folder.fold(value)
    folded = []
    for partial in partials:
        if isinstance(partial, list):
            partial = [folder.fold(d) for d in partial]
            alike = folder.alike(partial)
            folded.append(partial if alike is None else alike)
        else:
            folded.append(folder.fold(partial))
    return value, folded


class _Folder:
    def __init__(self, table: Symbols, rows: list[Any]) -> None:
        self.table = table
        self.width = len(rows[0])
        self.position: dict[int, int] = {}  # of an element's symbol, by its identity
        self.whole: dict[int, Any] = {}  # the row that it is an element of
        for row in rows:
            for k, x in enumerate(row):
                if isinstance(x, Symbol) and x.args[0].shape[0] == len(row):
                    self.position[id(x)] = k
                    self.whole[id(x)] = x.args[0]
        self.folded: dict[int, Any] = {}
        self.reads: dict[int, frozenset[int]] = {}

    def fold(self, x: Any) -> Any:
        """x with every complete chain in it as a reduction."""
        if not isinstance(x, Symbol) or id(x) in self.position or not self.positions(x):
            return x
        if id(x) in self.folded:
            return self.folded[id(x)]
        result = self._reduction(x)
        if result is None:
            args = [self.fold(arg) for arg in x.args]
            result = x if all(a is b for a, b in zip(args, x.args)) else self._again(x, args)
        self.folded[id(x)] = result
        return result

    def alike(self, elements: list[Any]) -> Any:
        """Expressions of one element each, as one of the whole row; None if they differ."""
        if len(elements) != self.width:
            return None
        if not any(isinstance(x, Symbol) for x in elements):
            return elements[0] if len(set(map(repr, elements))) == 1 else None
        if any(self.positions(x) - {k} for k, x in enumerate(elements)):
            return None
        rows = [self._whole(x) for x in elements]
        same = all(row is rows[0] for row in rows)
        return rows[0] if same and self.positions(elements[0]) else None

    def positions(self, x: Any) -> frozenset[int]:
        """Which elements of the row x depends on."""
        if not isinstance(x, Symbol):
            return frozenset()
        if id(x) in self.position:
            return frozenset((self.position[id(x)],))
        if id(x) not in self.reads:
            stack = [x]
            while stack:
                top = stack[-1]
                waiting = [
                    a for a in top.args if isinstance(a, Symbol) and id(a) not in self.position
                    and id(a) not in self.reads
                ]  # fmt: skip
                if waiting:
                    stack += waiting
                else:
                    stack.pop()
                    parts = [
                        frozenset((self.position[id(a)],)) if id(a) in self.position
                        else self.reads[id(a)]
                        for a in top.args if isinstance(a, Symbol)
                    ]  # fmt: skip
                    self.reads[id(top)] = frozenset().union(*parts)
        return self.reads[id(x)]

    def _reduction(self, x: Symbol) -> Any:
        """x as the reduction of all elements, if it is a chain over them."""
        if x.op not in FOLDED or self.width < 2:
            return None
        chain: Any = x
        terms: list[Any] = []
        while isinstance(chain, Symbol) and chain.op == x.op and len(terms) < self.width:
            chain, term = chain.args
            terms.append(term)
        if len(terms) == self.width - 1:
            terms.append(chain)
        elif not (len(terms) == self.width and x.op in FROM_ZERO and chain == 0.0):
            return None
        row = self.alike([self.fold(term) for term in reversed(terms)])
        return None if row is None else self.table.reduce(x.op, row, 0)

    def _whole(self, x: Any) -> Any:
        """x, of one element, as an expression of the whole row."""
        if not isinstance(x, Symbol) or not self.positions(x):
            return x
        if id(x) in self.whole:
            return self.whole[id(x)]
        return self._again(x, [self._whole(arg) for arg in x.args])

    def _again(self, x: Symbol, args: list[Any]) -> Any:
        """The call of x on other arguments."""
        if x.op in ("float", "square"):
            return self.table.make(x.op, tuple(args), args[0].shape)
        if x.op in ("reduce", "view", "take", "leaf"):
            return x
        return self.table.call(x.op, *args)
