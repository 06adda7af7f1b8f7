"""The table of primitives: one row an op, numbers only, never nodes.

A row is a function in generic arithmetic over a namespace `xp`: `microgradx/_base/floats.py` for
floats, NumPy for arrays. It returns the value and then ∂value/∂operand for each operand, in order.
That one block is all it takes to make it a method of `Value` and a function, to draw it, to
differentiate it, to replay it and to have it tested.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

inf = math.inf
TINY = 2.0**-1022  # below it, floats lose digits

Interval = tuple[float, float]
Kind = Literal["linear", "product", "saturating", "gate", "singular"]
Ends = Literal["increasing", "decreasing"] | tuple[float, ...] | None

WHOLE_LINE: Interval = (-inf, inf)


class Rule:
    """One primitive: how to compute it, and the columns that the other rooms ask about.

    To learn what autodiff is, read the functions below; the columns are for tests and pictures.

    function: (xp, *operands) -> (value, *partials); a list of operands has a list of partials
    name, operands, defaults: those of the function, without xp
    label:    its sign in a picture
    kind:     "linear" (constant partials), "product" (of its first operand with its second, a
              partial being the partner), "saturating" (bounded partials that come near 0
              smoothly), "gate" (partials jump at a kink and are flat elsewhere) or "singular" (a
              partial has no bound)
    ceiling:  the largest |partial| there can be
    lists:    the names of the operands that are lists, all of one width
    silent:   the names of the operands that no gradient goes to; their partial is None
    selects:  whether it takes one operand and leaves the others: where a partial is 0, nothing goes
              to that operand, whatever lies behind it, not even 0 × inf
    domain:   by operand, the open interval where the op is differentiable
    kinks:    by operand, the points inside that interval where it is not
    bounds:   how the ends of an interval bound it: "increasing" or "decreasing", if its value is so
              in every operand; or, for an op of one operand, the points between which its value
              and its partial are both monotone. None: the row itself, run on intervals, is all
    regular:  (*operands) -> whether a singular op has no singularity there, as a power of 1 or
              more
    flat:     (*operands) -> whether a slope of 0 is truly 0 there, and has not underflowed; for a
              saturating or singular op. None: it never is, at finite operands
    shut_below: for a gate of one operand, the point below which nothing gets through
    operator: whether it is written with an operator too
    partials: how each operand's partial is written, for people; () if it is not
    """

    label: str = ""
    ceiling: float = inf
    lists: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    selects: bool = False
    domain: Mapping[str, Interval] = {}
    kinks: Mapping[str, tuple[float, ...]] = {}
    bounds: Ends = None
    flat: Callable[..., bool] | None = None
    regular: Callable[..., bool] | None = None
    shut_below: float | None = None
    operator: bool = False
    partials: tuple[str, ...] = ()

    def __init__(self, function: Callable[..., Any], *, kind: Kind, **columns: Any) -> None:
        code, values = function.__code__, function.__defaults__ or ()
        self.name = function.__name__
        self.operands = code.co_varnames[1 : code.co_argcount]  # all but the namespace
        self.defaults = dict(zip(self.operands[len(self.operands) - len(values) :], values))
        self.kind = kind
        self.function = function
        for name, x in {"label": self.name, **columns}.items():
            if name not in Rule.__annotations__:
                raise TypeError(f"op {self.name!r} has a column {name!r}; {_columns()}")
            setattr(self, name, x)
        self.__doc__ = function.__doc__
        self.__func__ = function  # where a debugger's `b microgradx.rules.tanh` stops
        self.__wrapped__ = function

    def __call__(self, xp: Any, *operands: Any) -> Any:
        return self.function(xp, *operands)

    def __repr__(self) -> str:
        return f"<rule {self.name}({', '.join(self.operands)})>"

    def __reduce__(self) -> tuple[Callable[[str], Rule], tuple[str]]:
        return named, (self.name,)  # a pickled or copied node keeps the one row there is

    def one_by_one(self, operands: Sequence[Any]) -> list[Any]:
        """Operands, or their partials, one by one: the members of a list in its place."""
        found: list[Any] = []
        for name, x in zip(self.operands, operands):
            found += x if name in self.lists else [x]
        return found

    def arranged(self, lists: Iterable[Any], singles: Iterable[Any]) -> list[Any]:
        """Lists and single operands, each kind in order, as the function takes them."""
        lists, singles = iter(lists), iter(singles)
        return [next(lists if name in self.lists else singles) for name in self.operands]

    def faults(self) -> Iterator[str]:
        """Each thing that is wrong with the columns, as the rest of a sentence about the op."""
        if self.kind not in get_args(Kind):
            yield f"is of the kind {self.kind!r}; use one of {', '.join(get_args(Kind))}"
        words = ("increasing", "decreasing")
        points = isinstance(self.bounds, tuple) and len(self.operands) == 1 and not self.lists
        if not (self.bounds is None or self.bounds in words or points):
            yield (
                f"has bounds={self.bounds!r}; use {' or '.join(map(repr, words))}, or for an op of "
                "one operand a tuple of points"
            )
        for column in ("lists", "silent", "domain", "kinks"):
            if isinstance(getattr(self, column), str):
                yield f"has {column}={getattr(self, column)!r}; write a tuple of names"
            for name in getattr(self, column):
                if name not in self.operands:
                    yield f"has no operand {name!r}, which is in {column}: {self.operands}"
        if len(self.partials) not in (0, len(self.operands)):
            yield f"writes {len(self.partials)} partials for {len(self.operands)} operands"
        code = self.function.__code__
        if not self.operands or code.co_kwonlyargcount or code.co_flags & 0x0C:  # *args, **kwargs
            yield "takes its operands by their places alone: its function is (xp, x, …)"
        if not self.name.isidentifier():
            yield "has no name that a method can have; write it with def"
        factors = [name in self.lists for name in self.operands[:2]]
        if self.kind == "product" and factors not in ([True, True], [False, False]):
            yield "is a product; the first two operands of one are both lists or both single"

    def faults_at(self, xp: Any, x: float) -> Iterator[str]:
        """Each thing that is wrong with the function where every operand is x."""
        operands = [[x, x] if name in self.lists else x for name in self.operands]
        try:
            result = self.function(xp, *operands)
        except Exception as error:
            if getattr(error, "obj", None) is xp:
                yield (
                    f"needs xp.{getattr(error, 'name', '')}, which microgradx/_base/floats.py "
                    "lacks; add it there, with NumPy's name and IEEE results"
                )
            yield (
                f"raises {type(error).__name__} ({error}) at {x}; a row gives IEEE results at "
                "every float: use xp.divide and xp.power, and s * s for s**2"
            )
            return
        value, *partials = result if isinstance(result, tuple) else (result,)
        if len(partials) != len(operands):
            yield (
                f"returned {len(partials)} partial{'s' * (len(partials) != 1)} for its operands "
                f"{', '.join(self.operands)}; return the value, then ∂value/∂operand for each"
            )
            return
        if not isinstance(value, float):
            yield f"returned the value {value!r}, which is no float"
        for name, operand, partial in zip(self.operands, operands, partials):
            if (partial is None) != (name in self.silent):
                yield (
                    f"has the partial {partial!r} for {name}; None goes with the column "
                    f"silent=({name!r},), for an operand that no gradient goes to"
                )
            elif partial is not None and isinstance(operand, list) != isinstance(partial, list):
                yield f"has the partial {partial!r} for {name}; a list has a list of partials"
            elif isinstance(operand, list) and partial is not None and len(partial) != len(operand):
                yield f"returned {len(partial)} of {len(operand)} partials for {name}"
            else:
                members = partial if isinstance(partial, list) else [partial]
                odd = [d for d in members if not (d is None or isinstance(d, float))]
                if odd:
                    yield f"has the partial {odd[0]!r} for {name}, which is no float"


def _columns() -> str:
    return f"there are kind, {', '.join(Rule.__annotations__)}"


TABLE: dict[str, Rule] = {}


def enter(**columns: Any) -> Callable[[Callable[..., Any]], Rule]:
    """Enter the decorated function into the table; `columns` are the fields of `Rule`.

    A name that is in the table already, or a column that can't be right, is a ValueError. For an
    op of your own use `microgradx.engine.rule`: that tries it too, and makes it a method.
    """

    def entered(function: Callable[..., Any]) -> Rule:
        row = Rule(function, **columns)
        if row.name in TABLE:
            raise ValueError(f"there is an op {row.name!r} already; give the new one another name")
        for fault in row.faults():
            raise ValueError(f"op {row.name!r} {fault}")
        TABLE[row.name] = row
        return row

    return entered


def named(name: str) -> Rule:
    """The row called `name`; a KeyError lists the known ones."""
    try:
        return TABLE[name]
    except KeyError:
        raise KeyError(f"no op {name!r}; there are {', '.join(TABLE)}") from None


# --- arithmetic -----------------------------------------------------------------------------


@enter(
    label="+",
    kind="linear",
    ceiling=1.0,
    operator=True,
    bounds="increasing",
    partials=("1", "1"),
)
def add(xp, x, y):
    """x + y"""
    return x + y, 1.0, 1.0


@enter(label="×", kind="product", operator=True, partials=("y", "x"))
def mul(xp, x, y):
    """x · y"""
    return x * y, y, x


@enter(label="-", kind="linear", ceiling=1.0, operator=True, bounds="decreasing", partials=("-1",))
def neg(xp, x):
    """-x"""
    return -x, -1.0


@enter(
    label="/",
    kind="singular",
    kinks={"y": (0.0,)},
    flat=lambda x, y: x == 0,
    operator=True,
    partials=("1 / y", "-x / y²"),
)
def div(xp, x, y):
    """x / y"""
    q = xp.divide(x, y)
    return q, xp.divide(1.0, y), -xp.divide(q, y)


@enter(
    label="**",
    kind="singular",
    domain={"x": (0.0, inf)},
    flat=lambda x, y: x in (0, 1) or y == 0,
    regular=lambda x, y: y >= 1,
    operator=True,
    partials=("y · xʸ⁻¹", "xʸ · ln x"),
)
def pow(xp, x, y):
    """xʸ"""
    # The corners are PyTorch's: ∂/∂x = 0 where y = 0, and ∂/∂y = 0 where x = 0 ≤ y.
    # y - 1 rounds where y is a fraction below ½, or huge: then ∂/∂x is y · xʸ / x, if that can be.
    z, p = xp.power(x, y), y - 1.0
    w, dx = y * z, y * xp.power(x, p)
    exact = (p + 1.0 == y) & (y - p == 1.0)
    by_z = xp.where(xp.abs(z) < TINY, dx, xp.where(xp.abs(w) == inf, dx, xp.divide(w, x)))
    dx = xp.where(y == 0, 0.0, xp.where(exact, dx, by_z))
    dy = xp.where((x == 0) & (y >= 0), 0.0, z * xp.log(x))
    return z, dx, dy


# --- elementary functions -------------------------------------------------------------------


@enter(kind="gate", ceiling=1.0, kinks={"x": (0.0,)}, partials=("sign x",))
def abs(xp, x):
    """|x|, with slope 0 at 0"""
    return xp.abs(x), xp.sign(x)


@enter(kind="singular", domain={"x": (0.0, inf)}, bounds="increasing", partials=("1 / (2√x)",))
def sqrt(xp, x):
    """√x"""
    y = xp.sqrt(x)
    return y, xp.divide(0.5, y)


@enter(kind="singular", bounds="increasing", partials=("eˣ",))
def exp(xp, x):
    """eˣ"""
    y = xp.exp(x)
    return y, y


@enter(kind="singular", domain={"x": (0.0, inf)}, bounds="increasing", partials=("1 / x",))
def log(xp, x):
    """ln x"""
    return xp.log(x), xp.divide(1.0, x)


@enter(kind="saturating", ceiling=1.0, partials=("cos x",))
def sin(xp, x):
    """sin x"""
    return xp.sin(x), xp.cos(x)


@enter(kind="saturating", ceiling=1.0, flat=lambda x: x == 0, partials=("-sin x",))
def cos(xp, x):
    """cos x"""
    return xp.cos(x), -xp.sin(x)


# --- activations ----------------------------------------------------------------------------


@enter(
    kind="gate",
    ceiling=1.0,
    kinks={"x": (0.0,)},
    bounds="increasing",
    shut_below=0.0,
    partials=("1 if x > 0, else 0",),
)
def relu(xp, x):
    """max(0, x), with slope 0 at 0; a nan passes"""
    off = x <= 0
    return xp.where(off, 0.0, x), xp.where(off, 0.0, 1.0)


@enter(kind="gate", kinks={"x": (0.0,)}, partials=("1 if x > 0, else slope", "0 if x > 0, else x"))
def leaky_relu(xp, x, slope=0.01):
    """x where x > 0, else slope · x"""
    on = x > 0
    return xp.where(on, x, slope * x), xp.where(on, 1.0, slope), xp.where(on, 0.0, x)


@enter(
    kind="saturating",
    kinks={"x": (0.0,)},
    flat=lambda x, alpha: x >= 0 or alpha == 0,
    partials=("1 if x > 0, else alpha · eˣ", "0 if x > 0, else eˣ - 1"),
)
def elu(xp, x, alpha=1.0):
    """x where x > 0, else alpha · (eˣ - 1)"""
    on = x > 0
    z = xp.minimum(x, 0.0)
    below = xp.expm1(z)
    return xp.where(on, x, alpha * below), xp.where(on, 1.0, alpha * xp.exp(z)), below


@enter(kind="saturating", ceiling=0.25, bounds=(0.0,), partials=("σ(x) · (1 - σ(x))",))
def sigmoid(xp, x):
    """1 / (1 + e⁻ˣ)"""
    e = xp.exp(-xp.abs(x))
    total = 1.0 + e
    y = xp.where(x < 0, e, 1.0) / total
    lost = e - (total - 1.0)  # 1 + e = total + lost exactly (Dekker 1971)
    return y - y * lost / total, e / total**2  # σ′(x): never rounds to a false zero


@enter(kind="saturating", ceiling=1.0, bounds=(0.0,), partials=("1 - tanh²x",))
def tanh(xp, x):
    """(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)"""
    e = xp.exp(-2.0 * xp.abs(x))
    return xp.tanh(x), 4.0 * e / (1.0 + e) ** 2  # 1 - tanh²x, without the cancellation


@enter(kind="saturating", ceiling=1.0, bounds=(), partials=("σ(x)",))
def softplus(xp, x):
    """ln(1 + eˣ)"""
    e = xp.exp(-xp.abs(x))
    y = xp.maximum(x, 0.0) + xp.log1p(e)
    return y, xp.where(x < 0, e, 1.0) / (1.0 + e)  # σ(x)


@enter(
    kind="saturating",
    ceiling=1.12890414518516,
    bounds=(-1.4142135623730951, -0.7517915246935645, 1.4142135623730951),  # ±√2, and the least
    partials=("Φ(x) + x · φ(x)",),
)
def gelu(xp, x):
    """x · Φ(x), Φ the normal distribution"""  # Hendrycks and Gimpel 2016, the exact form
    phi = xp.normal_cdf(x)
    return x * phi, phi + x * xp.normal_pdf(x)


# --- of two -----------------------------------------------------------------------------------


@enter(
    kind="gate",
    ceiling=1.0,
    bounds="increasing",
    partials=("1 if x > y, ½ if x = y, else 0", "1 if y > x, ½ if x = y, else 0"),
)
def maximum(xp, x, y):
    """max(x, y); equal operands share the slope"""
    dx = xp.where(x == y, 0.5, xp.where(x < y, 0.0, 1.0))
    dy = xp.where(x == y, 0.5, xp.where(x > y, 0.0, 1.0))
    return xp.maximum(x, y), dx, dy


@enter(
    kind="gate",
    ceiling=1.0,
    bounds="increasing",
    partials=("1 if x < y, ½ if x = y, else 0", "1 if y < x, ½ if x = y, else 0"),
)
def minimum(xp, x, y):
    """min(x, y); equal operands share the slope"""
    dx = xp.where(x == y, 0.5, xp.where(x > y, 0.0, 1.0))
    dy = xp.where(x == y, 0.5, xp.where(x < y, 0.0, 1.0))
    return xp.minimum(x, y), dx, dy


# --- of three ---------------------------------------------------------------------------------


@enter(
    kind="gate",
    ceiling=1.0,
    silent=("condition",),
    selects=True,
    partials=("", "1 if condition > 0, else 0", "0 if condition > 0, else 1"),
)
def where(xp, condition, x, y):
    """x where condition > 0, else y"""
    # The other operand is left: neither its value nor its derivative is seen.
    on = condition > 0
    return xp.where(on, x, y), None, xp.where(on, 1.0, 0.0), xp.where(on, 0.0, 1.0)


@enter(
    kind="gate",
    ceiling=1.0,
    bounds="increasing",
    partials=("1 if low ≤ x ≤ high, else 0", "1 if x < low, else 0", "1 if x > high, else 0"),
)
def clamp(xp, x, low, high):
    """min(max(x, low), high)"""
    # The slopes are PyTorch's: 1 at both bounds; high wins where low > high.
    below, above = xp.where(x < low, 1.0, 0.0), xp.where(x > high, 1.0, 0.0)
    inside = xp.where(x < low, 0.0, xp.where(x > high, 0.0, 1.0))
    crossed = low > high
    dx, d_low = xp.where(crossed, 0.0, inside), xp.where(crossed, 0.0, below)
    return xp.minimum(xp.maximum(x, low), high), dx, d_low, xp.where(crossed, 1.0, above)


# --- of many ----------------------------------------------------------------------------------


@enter(label="w·x", kind="product", lists=("weights", "xs"), partials=("xᵢ", "wᵢ", "1"))
def dot(xp, weights, xs, bias=0.0):
    """bias + w₀x₀ + w₁x₁ + …, left to right"""
    y = bias
    for w, x in zip(weights, xs):
        y = y + w * x
    return y, xs, weights, 1.0


@enter(kind="linear", ceiling=1.0, lists=("xs",), bounds="increasing", partials=("1",))
def sum(xp, xs):
    """x₀ + x₁ + …, left to right"""
    y = 0.0
    for x in xs:
        y = y + x
    return y, [1.0] * len(xs)


@enter(
    kind="saturating", ceiling=1.0, lists=("xs",), bounds="increasing", partials=("softmax(x)ᵢ",)
)
def logsumexp(xp, xs):
    """ln Σ exp(x); its partials are the softmax"""
    peak = xs[0]
    for x in xs[1:]:
        peak = xp.maximum(peak, x)
    infinite = xp.abs(peak) == inf
    parts = [xp.exp_difference(x, peak) for x in xs]
    total, above = xp.sum_and_log(parts)
    total = xp.where(infinite, 1.0, total)
    return xp.where(infinite, peak, peak + above), [xp.divide(part, total) for part in parts]


# --- the ones that carry no gradient -------------------------------------------------------------


@enter(kind="linear", ceiling=0.0, silent=("x",), bounds="increasing")
def detach(xp, x):
    """x, as a number: no gradient goes through"""
    return x, None


@enter(label="=", kind="gate", ceiling=0.0, silent=("x", "y"))
def equal(xp, x, y):
    """1 where x = y, else 0: a condition for `where`"""
    return xp.where(x == y, 1.0, 0.0), None, None
