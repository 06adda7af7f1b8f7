"""Loops, recognised: sums of products over nodes, and reductions within a rule.

A chain of + is flattened into its terms: `b + w0·x0 + w1·x1 + …` is one weighted sum. A product
that only the sum reads becomes a term of two factors.
A rule of many operands is a loop too: `peak = xp.maximum(peak, x)`. Run on symbols it leaves a
chain of one call per element; where the chain treats every element alike, it is one call on all.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any, NamedTuple

from microgradx import rules
from microgradx.replay.symbols import Symbol, Symbols, identity, is_number
from microgradx.replay.tape import NONE, Tape

FEW = 4  # from so many terms on a lone sum is worth a call of its own
LONG = 8  # up to here a sum is written out term by term
FOLDED = {"add", "multiply", "maximum", "minimum"}
NEUTRAL = {"add": 0.0, "multiply": 1.0}  # what a chain of them may begin with
SEVERAL = -1  # in place of the one element that an expression depends on


class Sum(NamedTuple):
    """A node as the sum of its terms: a[k] · b[k], or a[k] alone where b[k] is NONE.

    weighted: whether any term is a product
    stated:   whether the graph itself says that it is a sum: `dot` and `sum`
    absorbed: the nodes in between, which get no array of their own
    """

    a: list[int]
    b: list[int]
    weighted: bool
    stated: bool
    absorbed: list[int]


class Addition(NamedTuple):
    """A node as the sum of the nodes `terms`, with the additions in between."""

    terms: list[int]
    between: list[int]


def find_sums(tape: Tape) -> dict[int, Sum]:
    """By id, the nodes that are sums worth keeping together."""
    uses, args, count = _uses(tape), tape.args, len(tape.values)
    zeros = {i for i, x in enumerate(tape.numbers, count) if x == 0}  # where loops start from
    products = {i for i in range(count) if tape.rules[i] is rules.mul and uses[i] == 1}
    sums = {}
    for i, (terms, between) in _additions(tape, uses, products).items():
        stated = tape.rules[i] is rules.sum
        factors = [args[j] for j in terms if j in products]
        if len(terms) - len(factors) >= (1 if stated else FEW):
            factors = []  # a sum of this and that: every product is a node of its own
        if not stated and not _is_worth_it(len(terms), factors, tape):
            continue
        opened = products.intersection(terms) if factors else set()
        if opened:
            terms = [j for j in terms if j not in zeros]
        pairs = [args[j] if j in opened else (j, NONE) for j in terms]
        a, b = map(list, zip(*pairs))
        sums[i] = Sum(a, b, bool(opened), stated, between + [*opened])
    for i in range(count):
        if tape.rules[i] is rules.dot:
            weights, xs = tape.rows[i]
            bias = [j for j in args[i] if j not in zeros]
            sums[i] = Sum([*bias, *weights], [NONE] * len(bias) + [*xs], True, True, [])
    return sums


def _uses(tape: Tape) -> Counter[int]:
    """By id, how often a node is read, an output once more."""
    uses = Counter(chain(tape.outputs, *tape.args))
    for row, count in Counter(chain(*tape.rows)).items():  # a row is read by many
        if count == 1:
            uses.update(row)
        for i in row if count > 1 else ():
            uses[i] += count
    return uses


def _additions(tape: Tape, uses: Counter[int], products: set[int]) -> dict[int, Addition]:
    """By id, the nodes that are a `sum` or a chain of +, each with all of its terms."""
    found: dict[int, Addition] = {}
    kinds, args, add = tape.rules, tape.args, rules.add

    def is_open(i: int) -> bool:
        """Whether i is an addition that can go on in the one that reads it."""
        if i not in found or uses[i] > 1:
            return False
        return kinds[i] is add or not products.isdisjoint(found[i].terms)

    def factors(i: int) -> list[int]:
        return [k for j in found[i].terms if j in products for k in tape.args[j]]

    def is_one_neuron(i: int, j: int) -> bool:
        """Whether two additions weigh several things each, and none of them both."""
        theirs = factors(j)
        return len(theirs) > 2 and len(factors(i)) > 2 and set(theirs).isdisjoint(factors(i))

    for i in range(tape.leaves, len(kinds)):
        if kinds[i] is add:
            a, b = args[i]
            if is_open(b) and not is_open(a):
                a, b = b, a  # x + (y + z) = (y + z) + x
            if is_open(a):  # the chain grows where it is
                found[i] = found.pop(a)
                found[i].between.append(a)
            else:
                found[i] = Addition([a], [])
            terms, between = found[i]
            if is_open(b) and is_one_neuron(i, b):
                other = found.pop(b)
                terms += other.terms
                between += [*other.between, b]
            else:
                terms.append(b)
        elif kinds[i] is rules.sum:
            found[i] = Addition([*tape.rows[i][0]], [])
    return found


def _is_worth_it(count: int, factors: list[tuple[int, ...]], tape: Tape) -> bool:
    """Whether a chain of `count` terms is; `factors` are those of its products."""
    if len(factors) < 2:
        return count >= LONG and not factors
    fixed = (any(j < tape.parameters or tape.is_number(j) for j in pair) for pair in factors)
    return len(factors) >= FEW or all(fixed)


# --- loops within a rule -----------------------------------------------------------------------


def vectorised(table: Symbols, value: Any, partials: list[Any], rows: list[Any]) -> Any:
    """`value` and `partials`, with chains over the elements of `rows` as reductions.

    A row's partials become one symbol, with the row's axis first; they stay a list where its
    elements are not treated alike.
    """
    folder = _Folder(table, rows)
    value = folder.fold(value)
    return value, [
        folder.alike([folder.fold(d) for d in x]) if isinstance(x, list) else folder.fold(x)
        for x in partials
    ]


class _Folder:
    """Expressions of the elements of rows, folded from the elements upwards.

    By the identity of a symbol:
    folded:   the same with every complete chain in it as a reduction

    By the identity of a folded one:
    position: the element that it depends on, or SEVERAL
    whole:    of one element, the same expression of the whole row
    runs:     after an op: (whole, count) if the op combines the first `count` elements of `whole`
    """

    def __init__(self, table: Symbols, rows: list[Any]) -> None:
        self.table = table
        self.width = len(rows[0])
        self.folded: dict[int, Any] = {}
        self.position: dict[int, int] = {}
        self.whole: dict[int, Any] = {}
        self.runs: dict[tuple[str, int], tuple[Any, int]] = {}
        for row in rows:
            for k, x in enumerate(row):
                if isinstance(x, Symbol) and x.args[0].shape[0] == self.width:
                    self.folded[id(x)] = x
                    self._place(x, k, x.args[0])

    def fold(self, root: Any) -> Any:
        """An expression with every complete chain in it as a reduction."""
        inside, seen = [root] if isinstance(root, Symbol) else [], {*self.folded}
        for x in inside:  # which grows meanwhile
            inside += [a for a in x.args if isinstance(a, Symbol) and id(a) not in seen]
            seen.update(map(id, x.args))
        for x in sorted(inside, key=lambda x: x.depth):
            if id(x) not in self.folded:
                self.folded[id(x)] = self._again(x, [self.folded.get(id(a), a) for a in x.args])
        return self.folded.get(id(root), root)

    def alike(self, elements: list[Any]) -> Any:
        """Expressions, the k-th of element k, as one of the whole row, if they are all the same."""
        wholes = [
            self.whole[id(x)] if self.position.get(id(x)) == k else x
            for k, x in enumerate(elements)
        ]
        return wholes[0] if len(set(map(identity, wholes))) == 1 else elements

    def _place(self, x: Any, k: int, whole: Any) -> None:
        """Note down that x depends on element k alone."""
        self.position[id(x)], self.whole[id(x)] = k, whole
        if k == 0:
            self.runs.update({(op, id(x)): (whole, 1) for op in FOLDED})

    def _again(self, x: Symbol, args: list[Any]) -> Any:
        """x, of folded arguments."""
        again = x if all(a is b for a, b in zip(args, x.args)) else self.table.call(x.op, *args)
        places = {self.position[id(a)] for a in args if id(a) in self.position}
        if len(places) == 1 and SEVERAL not in places:
            whole = self.table.call(x.op, *[self.whole.get(id(a), a) for a in args])
            self._place(again, places.pop(), whole)
            if x.op in NEUTRAL and is_number(args[0], NEUTRAL[x.op]):
                self.runs[x.op, id(again)] = self.whole[id(args[1])], 1
        elif places:
            self.position[id(again)] = SEVERAL
            if x.op in FOLDED:
                return self._longer(again, *args)
        return again

    def _longer(self, x: Symbol, chain: Any, term: Any) -> Any:
        """A chain of one element more, if it is one: a reduction after the last."""
        whole, count = self.runs.get((x.op, id(chain)), (None, 0))
        if (
            whole is None
            or whole is not self.whole.get(id(term))
            or self.position[id(term)] != count
        ):
            return x
        if count + 1 == self.width:
            return self.table.reduce(x.op, whole, 0)
        self.runs[x.op, id(x)] = whole, count + 1
        return x
