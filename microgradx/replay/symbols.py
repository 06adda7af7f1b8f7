"""Array expressions: what a rule of the table computes, as a graph of NumPy calls.

A rule is generic over its namespace. Run on `Symbol`s, it says which array functions it is made
of. Equal expressions are one object, and the rewritings below keep every bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from microgradx._base import floats
from microgradx.replay.views import Shape

SHARE = "share"  # the leaf 1 / n, what a sample has in the mean loss
WHOLE = "whole"  # the leaf 1, what all have; both times the rate of a step that is folded in
COMMUTATIVE = {"add", "multiply"}
BY_ONES = {"add"}  # the reductions that are a product with ones
TRUTHS = {
    "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and",
    "logical_not",
}  # fmt: skip


def _operator(op: str, reflected: bool = False) -> Any:
    def call(self: Symbol, *others: Any) -> Any:
        return self.table.call(op, *(*others, self) if reflected else (self, *others))

    return call


class Symbol:
    """An array that some call will compute: `op` is the NumPy function, `args` its arguments.

    extra: what else the call needs: the text of a view, the axis of a reduction, …
    """

    __slots__ = ("table", "op", "args", "shape", "extra", "depth")

    def __init__(self, table: Symbols, op: str, args: tuple[Any, ...], shape: Shape, extra: Any):
        self.table = table
        self.op = op
        self.args = args
        self.shape = shape
        self.extra = extra
        self.depth: int = 1 + max([x.depth for x in args if isinstance(x, Symbol)], default=0)

    @property
    def truth(self) -> bool:
        """Whether its elements are True and False."""
        return self.op in TRUTHS or (self.op in ("view", "take", "copy") and self.args[0].truth)

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(repr, self.args))}){self.shape}"

    def __bool__(self) -> bool:
        raise TypeError("a rule that branches on its operands can't run on arrays; use xp.where")

    __hash__ = object.__hash__

    def __pos__(self) -> Any:
        return self

    __add__, __radd__ = _operator("add"), _operator("add", reflected=True)
    __sub__, __rsub__ = _operator("subtract"), _operator("subtract", reflected=True)
    __mul__, __rmul__ = _operator("multiply"), _operator("multiply", reflected=True)
    __truediv__, __rtruediv__ = _operator("divide"), _operator("divide", reflected=True)
    __pow__, __rpow__ = _operator("power"), _operator("power", reflected=True)
    __lt__, __le__ = _operator("less"), _operator("less_equal")
    __gt__, __ge__ = _operator("greater"), _operator("greater_equal")
    __eq__, __ne__ = _operator("equal"), _operator("not_equal")
    __and__ = __rand__ = _operator("logical_and")
    __neg__, __abs__, __invert__ = map(_operator, ("negative", "abs", "logical_not"))


class Symbols:
    """The table of a program's expressions, and the namespace that its rules are run with."""

    def __init__(self) -> None:
        self.known: dict[Any, Symbol] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args: self.call(name, *args)

    def exp_difference(self, x: Any, y: Any) -> Any:
        """eˣ⁻ʸ; `floats` knows digits of it that arrays do without, for speed."""
        return self.call("exp", x - y)

    def sum_and_log(self, parts: Sequence[Any]) -> tuple[Any, Any]:
        """The sum, left to right, and its logarithm."""
        total: Any = 0.0
        for part in parts:
            total = total + part
        return total, self.call("log", total)

    def make(self, op: str, args: tuple[Any, ...], shape: Shape, extra: Any = None) -> Symbol:
        """The one symbol of this description."""
        names = [identity(x) for x in args]
        if op in COMMUTATIVE:
            names.sort()
        key = (op, tuple(names), shape, extra)
        symbol = self.known.get(key)
        if symbol is None:
            symbol = self.known[key] = Symbol(self, op, args, shape, extra)
        return symbol

    def call(self, op: str, *args: Any) -> Any:
        """`op` of symbols and numbers, elementwise."""
        symbols = [x for x in args if isinstance(x, Symbol)]
        if not symbols:  # a rule may compute with numbers on the way
            return getattr(floats, op)(*args)
        better = REWRITE[op](*args) if op in REWRITE else None
        return (
            self.make(op, args, broadcast(*[x.shape for x in symbols]))
            if better is None
            else better
        )

    # --- what is not elementwise -----------------------------------------------------------------

    def leaf(self, name: str, shape: Shape) -> Symbol:
        """An array that is there when the program starts."""
        return self.make("leaf", (), shape, name)

    def view(self, x: Symbol, text: str, shape: Shape) -> Symbol:
        """x with `text` behind it: an index, a reshape, a transposition."""
        return self.make("view", (x,), shape, text) if text else x

    def take(self, x: Symbol, rows: str, shape: Shape) -> Symbol:
        """The rows of x that are listed in the array called `rows`."""
        return self.make("take", (x,), shape, rows)

    def dot(self, a: Symbol, b: Symbol, came: Symbol | None = None) -> Symbol:
        """The product of matrices; with `came`, of the terms where that is so of b's element."""
        shape = a.shape[:-1] + b.shape[1:]
        if came is None:
            return self.make("dot", (a, b), shape)
        return self.make("dot_where", (a, b, came), shape)

    def reduce(self, op: str, x: Any, axis: int) -> Any:
        """x without `axis`, its elements along it combined by `op`.

        Rows are added as a product with ones, in half the time.
        """
        axis %= len(x.shape)
        if op in BY_ONES and axis == 0 and len(x.shape) == 2:
            return self.dot(self.make("full", (1.0,), x.shape[:1]), x)
        return self.make("reduce", (x,), x.shape[:axis] + x.shape[axis + 1 :], (op, axis))


def identity(x: Any) -> str:
    """A text that only equal expressions, or equal numbers, have in common."""
    return f"symbol {id(x)}" if isinstance(x, Symbol) else repr(x)


def is_number(x: Any, value: float) -> bool:
    """Whether x is no symbol but this number."""
    return not isinstance(x, Symbol) and bool(x == value)


def broadcast(*shapes: Shape) -> Shape:
    """The shape of an elementwise result: shapes are aligned at their ends."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result = []
    for sizes in zip(*padded):
        wide = {size for size in sizes if size != 1}
        assert len(wide) < 2, shapes
        result.append(wide.pop() if wide else 1)
    return tuple(result)


# --- rewritings that keep every bit; None where there is none ------------------------------------


def _is(x: Any, op: str) -> bool:
    return isinstance(x, Symbol) and x.op == op


def _add(x: Any, y: Any) -> Any:  # x + -y = x - y, a·x + a·x = 2·a · x; a mask + its opposite = 1
    if x is y:
        if _is(x, "multiply"):
            a, b = sorted(x.args, key=lambda arg: len(getattr(arg, "shape", ())))
            return (2.0 * a) * b
        return 2.0 * x
    if _is(x, "float") and _is(y, "float") and (~x.args[0] is y.args[0] or ~y.args[0] is x.args[0]):
        return 1.0
    if _is(y, "negative"):
        return x - y.args[0]
    return y - x.args[0] if _is(x, "negative") else None


def _subtract(x: Any, y: Any) -> Any:  # x - -y = x + y
    return x + y.args[0] if _is(y, "negative") else None


def _multiply(x: Any, y: Any) -> Any:  # 1 · y = y, -1 · y = -y, -x · y = -(x · y)
    for factor, other in ((x, y), (y, x)):
        if is_number(factor, 1.0):
            return other
        if is_number(factor, -1.0):
            return -other
        if _is(factor, "negative"):
            return -(factor.args[0] * other)
    # m is a mask of zeros and ones, s the share 1 / n: (m · s) · y = m · (y · s), the same to the
    # last bit, as 0 < s <= 1 lets nothing overflow; and y · s is needed elsewhere, or constant.
    for mask, other in ((x, y), (y, x)):
        if _is(mask, "multiply") and isinstance(other, Symbol) and other.op != "float":
            for m, s in (mask.args, mask.args[::-1]):
                if _is(m, "float") and _is(s, "leaf") and s.extra == SHARE:
                    return m * (other * s)
    return None


def _negative(x: Any) -> Any:  # - -x = x
    return x.args[0] if _is(x, "negative") else None


def _power(x: Any, y: Any) -> Any:
    if is_number(y, 0.0):
        return 1.0
    if is_number(y, 1.0):
        return x
    return x.table.call("square", x) if is_number(y, 2.0) else None


def _not_equal(x: Any, y: Any) -> Any:  # of a mask of zeros and ones, what it was made of
    return x.args[0] if _is(x, "float") and is_number(y, 0.0) else None


def _where(condition: Any, x: Any, y: Any) -> Any:
    if not isinstance(condition, Symbol):
        return x if condition else y
    table, z = condition.table, condition.args[0]
    gate = condition.op == "less_equal" and is_number(condition.args[1], 0.0)  # z <= 0
    if gate and is_number(x, 0.0) and y is z:
        return table.call("maximum", z, 0.0)  # 0 where z <= 0, and nan where it is nan
    if is_number(x, 1.0) and is_number(y, 0.0):
        return table.call("float", condition)
    if is_number(x, 0.0) and is_number(y, 1.0):
        above = table.call("maximum", z, 0.0) if gate else None
        return table.call("float", ~condition if above is None else above != 0.0)
    return None


REWRITE: dict[str, Callable[..., Any]] = {
    "add": _add, "subtract": _subtract, "multiply": _multiply, "negative": _negative,
    "power": _power, "not_equal": _not_equal, "where": _where,
}  # fmt: skip
