"""Loops over a row of operands, found again in what a rule computed: they are reductions.

A rule of many operands is a loop: `peak = xp.maximum(peak, x)`. Run on symbols it leaves a chain
of one call per element. Where the chain treats every element alike, it is one call on the row.
"""

from __future__ import annotations

from typing import Any

from microgradx.replay.symbols import Symbol, Symbols

FOLDED = {"add", "multiply", "maximum", "minimum"}
FROM_ZERO = {"add"}  # a chain of these may start with 0


def vectorised(table: Symbols, value: Any, partials: list[Any], rows: list[Any]) -> Any:
    """`value` and `partials`, with chains over the elements of `rows` as reductions.

    A row's partials become one symbol, with the row's axis first; they stay a list where its
    elements are not treated alike.
    """
    folder = _Folder(table, rows)
    value = folder.fold(value)
    found = []
    for partial in partials:
        if isinstance(partial, list):
            partial = [folder.fold(d) for d in partial]
            alike = folder.alike(partial)
            found.append(partial if alike is None else alike)
        else:
            found.append(folder.fold(partial))
    return value, found


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
        """What x does, done to other arguments."""
        if x.op == "float":
            return self.table.make("float", tuple(args), args[0].shape)
        if x.op == "square":
            return self.table.make("square", tuple(args), args[0].shape)
        if x.op in ("reduce", "view", "take", "leaf"):
            return x
        return self.table.call(x.op, *args)
