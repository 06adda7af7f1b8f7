"""Sums of products, found again in loops: `b + w0·x0 + w1·x1 + …` is one weighted sum.

A chain of + is flattened into its terms; a product that only the sum reads becomes a term of two
factors. It stays flattened if it is long enough to be worth it.
"""

from __future__ import annotations

from microgradx import rules
from microgradx.replay.tape import NONE, Tape

FEW = 4  # from so many terms on a lone sum is worth a call of its own
LONG = 8  # up to here a sum is written out term by term


class Sum:
    """A node as the sum of its terms: a[k] · b[k], or a[k] alone where b[k] is NONE.

    factors:  by term, the node that multiplied it, NONE for one that is no product
    products: how many terms are products
    chain:    whether they were added one at a time, in this order
    stated:   whether the graph itself says it so: `dot` and `sum`
    absorbed: the nodes in between, which get no array of their own
    """

    __slots__ = ("a", "b", "factors", "products", "chain", "stated", "absorbed")

    def __init__(self, stated: bool = False) -> None:
        self.a: list[int] = []
        self.b: list[int] = []
        self.factors: list[int] = []
        self.products = 0
        self.chain = True
        self.stated = stated
        self.absorbed: list[int] = []

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
        zeros = [b == NONE and tape.is_number(a) and tape.number(a) == 0
                 for a, b in zip(self.a, self.b)]  # fmt: skip
        if any(zeros):
            for name in ("a", "b", "factors"):
                terms = getattr(self, name)
                setattr(self, name, [x for x, zero in zip(terms, zeros) if not zero])

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
        found = sums.get(i)
        if found is None or uses[i] > 1 or kinds[i] is dot:
            return None
        return None if kinds[i] is total and not found.products else found

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
            first = inner(a)
            if first is None:
                first = inner(b)
                if first is not None:
                    a, b = b, a  # x + (y + z) = (y + z) + x
            if first is None:
                first = Sum()
                take(first, a)
            else:  # the chain grows where it is
                first.absorbed.append(a)
                first.stated = False
                taken.add(a)
            sums[i] = first
            if b < n and kinds[b] is mul and uses[b] == 1:  # as in `take`, where nearly all goes
                w, x = args[b]
                first.absorbed.append(b)
                first.a.append(w)
                first.b.append(x)
                first.factors.append(b)
                first.products += 1
            else:
                take(first, b)
        elif rule is dot:
            sums[i] = found = Sum(stated=True)
            for bias in args[i]:
                found.add(bias)
            weights, xs = tape.rows[i]
            found.a += weights
            found.b += xs
            found.factors += [i] * len(xs)
            found.products += len(xs)
        elif rule is total:
            sums[i] = found = Sum(stated=True)
            for x in tape.rows[i][0]:
                if x < n and kinds[x] is mul:
                    take(found, x)
                else:
                    found.add(x)
    kept = {}
    for i, found in sums.items():
        if i in taken:
            continue
        others = len(found) - found.products
        if kinds[i] is not dot and found.products and others > (kinds[i] is add) * (FEW - 1):
            found.close()
        if _is_worth_it(found, tape):
            if found.products:
                found.drop_zeros(tape)
            kept[i] = found
    return kept


def _uses(tape: Tape) -> list[int]:
    """By id, how often a node is read, an output once more."""
    uses = [0] * (len(tape.values) + len(tape.numbers))
    for operands in tape.args:
        for i in operands:
            uses[i] += 1
    readers: dict[tuple[int, ...], int] = {}  # a row is read by many
    for rows in tape.rows:
        for row in rows:
            readers[row] = readers.get(row, 0) + 1
    for row, count in readers.items():
        for i in row:
            uses[i] += count
    for i in tape.outputs:
        uses[i] += 1
    return uses


def _two_neurons(one: Sum, other: Sum) -> bool:
    """Whether both weigh the same things: then they are two neurons, and stay two."""
    return not one.factor_ids().isdisjoint(other.factor_ids())


def _is_worth_it(found: Sum, tape: Tape) -> bool:
    if found.stated or found.products >= FEW:
        return True
    if found.products == 0:
        return found.chain and len(found) >= LONG
    if found.products < 2 or not found.chain:
        return False
    pairs = [(a, b) for a, b in zip(found.a, found.b) if b != NONE]
    return all(min(rank(a, tape), rank(b, tape)) < 2 for a, b in pairs)


def rank(i: int, tape: Tape) -> int:
    """What makes an id the weight of a product: 0 for a parameter, 1 for a number, else 2."""
    return 0 if i < tape.parameters else 1 if tape.is_number(i) else 2
