"""The ops in JavaScript, in a real browser, against the rows of the table that they come from."""

import base64
import itertools
import math
import random
import re
import struct

import pytest

from microgradx._base import floats
from microgradx.rules import TABLE, TINY, Rule
from microgradx.step.javascript import OWN, SAME, Library, Unsayable, function
from tests.operands import arity, grouped

inf, nan = math.inf, math.nan
WIDTH = 3
SPECIAL = [
    0.0, 5e-324, 1e-310, 1e-300, 1e-160, 1e-20, 1e-8, 0.01, 0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 3.7, 10.0,
    19.0, 26.5, 28.0, 36.0, 37.0, 38.5, 40.0, 100.0, 700.0, 709.7, 710.0, 745.1, 745.2, 1e10, 1e16,
    1e154, 1e155, 1e200, 1.7e308, inf,
]  # fmt: skip
SPECIAL += [-x for x in SPECIAL] + [nan]
# What IEEE 754 rounds in one way only: the ops made of these alone are the same bit for bit.
ARITHMETIC = {"abs", "sqrt", "divide", "where", "sign", "maximum", "minimum"}
# The sizes of what is added in the end, where rounding shows against these and not the result.
TERMS = {
    # Far out, x multiplies what is below the smallest normal float, and has few digits.
    "gelu": lambda x: [40 * TINY, max(floats.normal_cdf(x), abs(x * floats.normal_pdf(x)))],
    "logsumexp": lambda *xs: [max(map(abs, xs))] + [0.0] * len(xs),
}


def points(n):
    """Operands by the n: a grid of special values, and random ones of many sizes."""
    random.seed(n)
    grid = list(itertools.product(SPECIAL, repeat=n)) if n < 3 else [
        tuple(random.choices(SPECIAL, k=n)) for _ in range(3000)]  # fmt: skip
    sizes = [0.1, 1.0, 3.0, 10.0, 100.0]
    return grid + [tuple(random.gauss(0, s) for _ in range(n)) for s in sizes for _ in range(1000)]


RUN = """([source, which, width, packed]) => {
  const f = new Function(source)()[which];
  const all = new Float64Array(Uint8Array.from(atob(packed), (c) => c.charCodeAt(0)).buffer);
  const found = [];
  for (let i = 0; i < all.length; i += width) found.push(...f(...all.subarray(i, i + width)));
  const raw = new Uint8Array(Float64Array.from(found, (x) => x ?? 12345.5).buffer);
  let text = "";
  for (let i = 0; i < raw.length; i += 8192) {
    text += String.fromCharCode(...raw.subarray(i, i + 8192));
  }
  return btoa(text);
}"""
SILENT = 12345.5


def in_browser(page, library, which, operands):
    """The results of a function of the library at each of the operands."""
    numbers = [x for point in operands for x in point]
    packed = base64.b64encode(struct.pack(f"<{len(numbers)}d", *numbers)).decode()
    found = page.evaluate(RUN, [library.source(), which, len(operands[0]), packed])
    raw = base64.b64decode(found)
    results = struct.unpack(f"<{len(raw) // 8}d", raw)
    per = len(results) // len(operands)
    return [results[i : i + per] for i in range(0, len(results), per)]


def in_python(row, point):
    value, *partials = row.function(floats, *grouped(row, point, WIDTH))
    return [value, *(SILENT if x is None else x for x in row.one_by_one(partials))]


def kind(x):
    """What must be in its place: a nan; an inf, a zero or another number, and its sign."""
    if math.isnan(x):
        return "nan"
    return math.copysign(1, x), x == 0, math.isinf(x)


def faults(row, exact, operands, results):
    for point, theirs in zip(operands, results):
        ours = in_python(row, point)
        terms = TERMS[row.name](*point) if row.name in TERMS else ours
        for k, (a, b, term) in enumerate(zip(ours, theirs, terms, strict=True)):
            size = max(abs(a), abs(term)) if math.isfinite(term) else abs(a)
            allowed = 0.0 if exact else 4 * math.ulp(size)
            small = 0 < abs(a) + abs(b) <= allowed  # rounding may leave a 0
            if (kind(a) != kind(b) and not small) or (
                math.isfinite(a) and not abs(a - b) <= allowed
            ):
                yield point, k, a, b


def functions_in(text):
    return {name for name, js in (SAME | {name: name for name in OWN}).items() if f"{js}(" in text}


def check(page, row):
    """A row against its JavaScript: bit for bit where it is arithmetic, else within 4 ulp."""
    library, width = Library(), WIDTH if row.lists else 0
    which = library.number(row, width)
    exact = functions_in(function(row, width)) <= ARITHMETIC
    operands = points(arity(row, WIDTH))
    results = in_browser(page, library, which, operands)
    assert len(results) == len(operands)
    assert [*faults(row, exact, operands, results)][:5] == []
    return exact


def test_every_op_is_its_row(open_page):
    page = open_page()
    exact = {name for name, row in TABLE.items() if check(page, row)}
    assert {"add", "mul", "div", "sqrt", "relu", "clamp", "where", "dot", "sum", "detach"} <= exact
    assert not {"exp", "tanh", "gelu", "logsumexp", "pow"} & exact


def test_a_planted_mistake_is_seen(open_page, monkeypatch):
    monkeypatch.setitem(OWN, "sign", "x => Math.sign(x)")  # which has a zero's sign
    with pytest.raises(AssertionError):
        check(open_page(), TABLE["abs"])


def _arctan2(xp, y, x):
    square = x * x + y * y
    return xp.arctan2(y, x), xp.divide(x, square), -xp.divide(y, square)


def _softsign(xp, x):
    scale = 1.0 + xp.abs(x)
    return x / scale, 1.0 / (scale * scale)


def _of_all_operators(xp, x, y):
    on = (x < y) | (x >= 1) & (y != 2) | (x <= -1) & (y == x) | (y > 3)
    z = xp.where(on, +x - y, 1 - xp.power(2, y)) / 7
    return z, abs(z) * 0.25 - 1e-300, y * y


def test_powers():
    text = function(Rule(lambda xp, x, y: (2**x, y**2, x**y), kind="singular"))
    assert {"power(2.0, x0)", "x1 * x1", "power(x0, x1)"} <= {*re.findall(r"= (.*?);", text)}


@pytest.mark.parametrize("own", [_arctan2, _softsign, _of_all_operators])
def test_own_ops(open_page, own):
    check(open_page(), Rule(own, kind="singular"))


def _branch(xp, x):
    return (x, 1.0) if x > 0 else (0.0, 0.0)


def _largest(xp, x):
    return max(x, 0.0), 1.0


def _of_math(xp, x):
    return math.exp(x), math.exp(x)


def _rounded(xp, x):
    return x * float(int(x)), 1.0


def _unknown(xp, x):
    return xp.arccos(x), 1.0


def _remainder(xp, x):
    return x % 1.0, 1.0


@pytest.mark.parametrize("own, reason", [
    (_branch, "branches on a number; write that with xp.where"),
    (_largest, "branches on a number"),
    (_of_math, "computes outside of xp"),
    (_rounded, "computes outside of xp"),
    (_unknown, "can't be written in JavaScript (AttributeError: module"),
    (_remainder, "can't be written in JavaScript (TypeError: unsupported operand"),
])  # fmt: skip
def test_what_can_not_be_said_has_a_reason(own, reason):
    with pytest.raises(Unsayable) as error:
        function(Rule(own, kind="singular"))
    assert str(error.value).startswith(reason)


def test_equal_expressions_are_one():
    text = function(TABLE["exp"])
    assert text.count("Math.exp") == 1 and text.endswith("return [t0, t0]; }")


def test_a_library_has_what_it_needs_and_no_more():
    library = Library()
    tanh, dot = TABLE["tanh"], TABLE["dot"]
    asked = [(tanh, 0), (dot, 2), (dot, 3), (tanh, 0)]
    assert [library.number(*each) for each in asked] == [0, 1, 2, 0]
    assert not any(f"const {name}" in library.source() for name in OWN)
    library.number(TABLE["gelu"], 0)
    assert {name for name in OWN if f"const {name}" in library.source()} == {"minimum", "erfc"}


def test_a_silent_list_has_no_partials():
    def masked(xp, masks, x):
        return x, None, 1.0

    row = Rule(masked, kind="gate", lists=("masks",), silent=("masks",))
    assert function(row, 2).endswith("return [x1, null, null, 1.0]; }")
