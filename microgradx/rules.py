"""The table of primitives: one row an op, numbers only, never nodes.

A row is a function in generic arithmetic over a namespace `xp` (`floats` in `_base` for floats,
NumPy for arrays). It returns the value and then ∂value/∂operand for each operand, in order.
Decorating it with `@rule(...)` is all it takes to make it a method of `Value` (or, written with
an operator, its sign), to draw it, to differentiate it and to have it tested.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

inf = math.inf
TINY = 2.0**-1022  # below it, floats lose digits

Interval = tuple[float, float]
Kind = Literal["linear", "product", "saturating", "gate", "singular"]
Ends = Literal["increasing", "decreasing"] | tuple[float, ...] | None

WHOLE_LINE: Interval = (-inf, inf)


class Rule:
    """One primitive: how to compute it, and what the other rooms ask about it.

    name:     what it is called, and the name of the method it becomes
    function: (xp, *operands) -> (value, *partials); a row operand (a sequence of numbers) has a
              sequence of partials
    operands: the names of its operands, in order; the first `rows` of them are rows
    label:    its sign in a picture
    kind:     "linear" (constant partials), "product" (of its operands' first half with the second,
              a partial being the partner), "saturating" (bounded partials that come near 0
              smoothly), "gate" (partials jump at a kink and are flat elsewhere) or "singular" (a
              partial has no bound)
    ceiling:  the largest |partial| there can be
    domain:   by operand, the open interval where the op is differentiable
    kinks:    by operand, the points inside that interval where it is not
    bounds:   how the ends of an interval bound it: "increasing" or "decreasing", if its value is so
              in every operand; or, for an op of one operand, the points between which its value
              and its partial are both monotone. None: the row itself, run on intervals, is all
    shut_below: for a gate of one operand, the point below which nothing gets through
    default:  of the last operand, where it may be left out
    operator: whether it is written with an operator instead of a method
    partials: how each operand's partial is written, for people; () if it is not
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        operands: tuple[str, ...],
        label: str,
        *,
        kind: Kind,
        ceiling: float = inf,
        domain: dict[str, Interval] | None = None,
        kinks: dict[str, tuple[float, ...]] | None = None,
        bounds: Ends = None,
        rows: int = 0,
        shut_below: float | None = None,
        default: float | None = None,
        operator: bool = False,
        partials: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.function = function
        self.operands = operands
        self.label = label
        self.kind = kind
        self.ceiling = ceiling
        self.domain = domain or {}
        self.kinks = kinks or {}
        self.bounds = bounds
        self.rows = rows
        self.shut_below = shut_below
        self.default = default
        self.operator = operator
        self.partials = partials
        self.__doc__ = function.__doc__
        self.__func__ = function  # where a debugger's `b microgradx.rules.tanh` stops
        self.__wrapped__ = function

    def __call__(self, xp: Any, *operands: Any) -> Any:
        return self.function(xp, *operands)

    def __repr__(self) -> str:
        return f"<rule {self.name}({', '.join(self.operands)})>"

    def __reduce__(self) -> tuple[Callable[[str], Rule], tuple[str]]:
        return named, (self.name,)  # a pickled or copied node keeps the one row there is


TABLE: dict[str, Rule] = {}
_watchers: list[Callable[[Rule], None]] = []


def rule(*, label: str = "", **columns: Any) -> Callable[[Callable[..., Any]], Rule]:
    """Enter the decorated function into the table; `columns` are the fields of `Rule`.

    A name that is in the table already is a ValueError: no op silently replaces another.
    """

    def enter(function: Callable[..., Any]) -> Rule:
        name = function.__name__
        if name in TABLE:
            raise ValueError(f"there is an op {name!r} already; give the new one another name")
        code = function.__code__
        operands = code.co_varnames[1 : code.co_argcount]  # all but the namespace
        if len(operands) - columns.get("rows", 0) > 2:
            raise ValueError(f"op {name!r} has more than two single operands; gather them in a row")
        default = function.__defaults__[-1] if function.__defaults__ else None
        row = Rule(name, function, operands, label or name, default=default, **columns)
        if row.kind not in get_args(Kind):
            raise ValueError(f"a kind is one of {', '.join(get_args(Kind))}, got {row.kind!r}")
        for watcher in _watchers:
            watcher(row)  # which may refuse it
        TABLE[name] = row
        return row

    return enter


def watch(watcher: Callable[[Rule], None]) -> None:
    """Call `watcher` with every row of the table, now and whenever one is added."""
    _watchers.append(watcher)
    for row in TABLE.values():
        watcher(row)


def named(name: str) -> Rule:
    """The row called `name`; a KeyError lists the known ones."""
    try:
        return TABLE[name]
    except KeyError:
        raise KeyError(f"no op {name!r}; there are {', '.join(TABLE)}") from None


# --- arithmetic -----------------------------------------------------------------------------


@rule(
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


@rule(label="×", kind="product", operator=True, partials=("y", "x"))
def mul(xp, x, y):
    """x · y"""
    return x * y, y, x


@rule(label="-", kind="linear", ceiling=1.0, operator=True, bounds="decreasing", partials=("-1",))
def neg(xp, x):
    """-x"""
    return -x, -1.0


@rule(label="/", kind="singular", kinks={"y": (0.0,)}, operator=True, partials=("1 / y", "-x / y²"))
def div(xp, x, y):
    """x / y"""
    q = xp.divide(x, y)
    return q, xp.divide(1.0, y), -xp.divide(q, y)


@rule(
    label="**",
    kind="singular",
    domain={"x": (0.0, inf)},
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


@rule(kind="gate", ceiling=1.0, kinks={"x": (0.0,)}, partials=("sign x",))
def abs(xp, x):
    """|x|, with slope 0 at 0"""
    return xp.abs(x), xp.sign(x)


@rule(kind="singular", domain={"x": (0.0, inf)}, bounds="increasing", partials=("1 / (2√x)",))
def sqrt(xp, x):
    """√x"""
    y = xp.sqrt(x)
    return y, xp.divide(0.5, y)


@rule(kind="singular", bounds="increasing", partials=("eˣ",))
def exp(xp, x):
    """eˣ"""
    y = xp.exp(x)
    return y, y


@rule(kind="singular", domain={"x": (0.0, inf)}, bounds="increasing", partials=("1 / x",))
def log(xp, x):
    """ln x"""
    return xp.log(x), xp.divide(1.0, x)


@rule(kind="saturating", ceiling=1.0, partials=("cos x",))
def sin(xp, x):
    """sin x"""
    return xp.sin(x), xp.cos(x)


@rule(kind="saturating", ceiling=1.0, partials=("-sin x",))
def cos(xp, x):
    """cos x"""
    return xp.cos(x), -xp.sin(x)


# --- activations ----------------------------------------------------------------------------


@rule(
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


@rule(kind="gate", kinks={"x": (0.0,)}, partials=("1 if x > 0, else slope", "0 if x > 0, else x"))
def leaky_relu(xp, x, slope=0.01):
    """x where x > 0, else slope · x"""
    on = x > 0
    return xp.where(on, x, slope * x), xp.where(on, 1.0, slope), xp.where(on, 0.0, x)


@rule(
    kind="saturating",
    kinks={"x": (0.0,)},
    partials=("1 if x > 0, else alpha · eˣ", "0 if x > 0, else eˣ - 1"),
)
def elu(xp, x, alpha=1.0):
    """x where x > 0, else alpha · (eˣ - 1)"""
    on = x > 0
    z = xp.minimum(x, 0.0)
    below = xp.expm1(z)
    return xp.where(on, x, alpha * below), xp.where(on, 1.0, alpha * xp.exp(z)), below


@rule(kind="saturating", ceiling=0.25, bounds=(0.0,), partials=("σ(x) · (1 - σ(x))",))
def sigmoid(xp, x):
    """1 / (1 + e⁻ˣ)"""
    e = xp.exp(-xp.abs(x))
    total = 1.0 + e
    y = xp.where(x < 0, e, 1.0) / total
    lost = e - (total - 1.0)  # 1 + e = total + lost exactly (Dekker 1971)
    return y - y * lost / total, e / total**2  # σ′(x): never rounds to a false zero


@rule(kind="saturating", ceiling=1.0, bounds=(0.0,), partials=("1 - tanh²x",))
def tanh(xp, x):
    """(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)"""
    e = xp.exp(-2.0 * xp.abs(x))
    return xp.tanh(x), 4.0 * e / (1.0 + e) ** 2  # 1 - tanh²x, without the cancellation


@rule(kind="saturating", ceiling=1.0, bounds=(), partials=("σ(x)",))
def softplus(xp, x):
    """ln(1 + eˣ)"""
    e = xp.exp(-xp.abs(x))
    y = xp.maximum(x, 0.0) + xp.log1p(e)
    return y, xp.where(x < 0, e, 1.0) / (1.0 + e)  # σ(x)


@rule(
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


@rule(
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


@rule(
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


# --- of many ----------------------------------------------------------------------------------


@rule(label="w·x", kind="product", rows=2, partials=("xᵢ", "wᵢ", "1"))
def dot(xp, weights, xs, bias=0.0):
    """bias + w₀x₀ + w₁x₁ + …, left to right"""
    y = bias
    for w, x in zip(weights, xs):
        y = y + w * x
    return y, xs, weights, 1.0


@rule(kind="linear", ceiling=1.0, rows=1, bounds="increasing", partials=("1",))
def sum(xp, xs):
    """x₀ + x₁ + …, left to right"""
    y = 0.0
    for x in xs:
        y = y + x
    return y, [1.0] * len(xs)


@rule(kind="saturating", ceiling=1.0, rows=1, bounds="increasing", partials=("softmax(x)ᵢ",))
def logsumexp(xp, xs):
    """ln Σ exp(x); its partials are the softmax"""
    peak = xs[0]
    for x in xs[1:]:
        peak = xp.maximum(peak, x)
    infinite = xp.abs(peak) == inf
    parts = [exp_of_difference(xp, x, peak) for x in xs]
    total = rest = 0.0
    for x, part in zip(xs, parts):
        total = total + part
        rest = rest + xp.where(x < peak, part, 0.0)
    above = xp.where(total < 2.0, xp.log1p(rest), xp.log(total))  # below 2 there is one peak
    total = xp.where(infinite, 1.0, total)
    return xp.where(infinite, peak, peak + above), [xp.divide(part, total) for part in parts]


def exp_of_difference(xp: Any, x: Any, y: Any) -> Any:
    """eˣ⁻ʸ, as exact far out as near 0: by d and what its rounding lost (Knuth 1969)"""
    d = x - y
    t = d - x
    lost = (x - (d - t)) - (y + t)  # x - y = d + lost exactly
    e = xp.exp(d)
    return e + xp.where(xp.abs(lost) < 1.0, e * lost, 0.0)


# --- the one that carries no gradient ------------------------------------------------------------


@rule(kind="linear", ceiling=0.0, bounds="increasing")
def detach(xp, x):
    """x, as a number: no gradient goes through"""
    return x, None
