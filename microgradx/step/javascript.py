"""The ops of a graph in JavaScript: each row of the table, run once on symbols that write it down.

The operands and `xp` build expressions where numbers would be computed; equal expressions are one.
So there is no second table, and an op of a reader's own is written down like the others. A row
that asks a symbol for its number is refused, with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from microgradx._base import floats
from microgradx.rules import Rule

# The primitive functions of `floats` that JavaScript has with the same corners, …
SAME = {name: f"Math.{name}" for name in
        ("abs", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh")}  # fmt: skip
SAME["arctan2"] = "Math.atan2"
INLINE = {"divide": "{} / {}", "where": "{} ? {} : {}"}
# … and those that it lacks, or has with other corners.
OWN = {
    "sign": "x => x === 0 ? 0 : Math.sign(x)",
    "maximum": "(x, y) => x !== x || y !== y ? NaN : x > y ? x : y",
    "minimum": "(x, y) => x !== x || y !== y ? NaN : x < y ? x : y",
    "power": "(x, y) => x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : Math.pow(x, y)",
    "erfc": """x => {
  if (x < 0) return 2 - erfc(-x);
  if (!(x < 28)) return x !== x ? NaN : 0;
  if (x < 0.5) {  // the series: erf x = x + x · y
    let power = 2 / Math.sqrt(Math.PI), y = 0.12837916709551256;  // 2 / √π - 1
    for (let n = 1; n < 20; n += 1) y += (power *= -x * x / n) / (2 * n + 1);
    return x < 0.25 ? 1 - (x + x * y) : 0.5 - (x - 0.5 + x * y);
  }
  const n = Math.ceil(10 + 175 / (x * x));  // terms of the continued fraction, from its far end
  let f = (x + Math.sqrt(x * x + 2 * n)) / 2;
  for (let k = n; k > 0; k -= 1) f = x + k / 2 / f;
  const z = Math.fround(x), e = Math.exp(-z * z);  // z² is exact
  return (e + e * Math.expm1((z - x) * (z + x))) / (1.7724538509055159 * f);
}""",
}
PRIMITIVE = {**SAME, **INLINE, **OWN}


class Unsayable(Exception):
    """A row that no expression says; its words end a sentence about the op."""


def _operator(sign: str, swapped: bool = False) -> Any:
    def operator(self: Symbol, other: Any) -> Symbol:
        return self.code.symbol(f"{{}} {sign} {{}}", *((other, self) if swapped else (self, other)))

    return operator


class Symbol:
    """A number that is not known yet, under its name in the code that computes it."""

    def __init__(self, code: Code, name: str) -> None:
        self.code, self.name = code, name

    def __bool__(self) -> bool:
        raise Unsayable("branches on a number; write that with xp.where")

    def __float__(self) -> float:
        raise Unsayable("computes outside of xp; write xp.exp(x) for math.exp(x), and the like")

    __int__ = __index__ = __float__
    __hash__ = object.__hash__

    def __pos__(self) -> Symbol:
        return self

    def __neg__(self) -> Symbol:
        return self.code.symbol("-{}", self)

    def __abs__(self) -> Any:
        return self.code.call("abs", self)

    def __pow__(self, y: Any) -> Any:
        square = not isinstance(y, Symbol) and y == 2  # which V8's pow rounds in two ways
        return self * self if square else self.code.call("power", self, y)

    def __rpow__(self, x: Any) -> Any:
        return self.code.call("power", x, self)

    __add__, __radd__ = _operator("+"), _operator("+", swapped=True)
    __sub__, __rsub__ = _operator("-"), _operator("-", swapped=True)
    __mul__, __rmul__ = _operator("*"), _operator("*", swapped=True)
    __truediv__, __rtruediv__ = _operator("/"), _operator("/", swapped=True)
    __and__, __rand__ = _operator("&&"), _operator("&&", swapped=True)
    __or__, __ror__ = _operator("||"), _operator("||", swapped=True)
    __lt__, __le__, __gt__, __ge__ = map(_operator, ("<", "<=", ">", ">="))
    __eq__, __ne__ = map(_operator, ("==", "!="))


class Code:
    """The statements of one function, in order; of equal expressions there is one."""

    def __init__(self) -> None:
        self.known: dict[str, Symbol] = {}
        self.scope: dict[str, Any] = {}  # the names in its `xp`

    def symbol(self, form: str, *parts: Any) -> Symbol:
        """The symbol of an expression, which has `parts` in the places of `form`."""
        expression = form.format(*map(_written, parts))
        return self.known.setdefault(expression, Symbol(self, f"t{len(self.known)}"))

    def call(self, name: str, *parts: Any) -> Any:
        """A primitive function of symbols and numbers; of numbers alone, its number."""
        if not any(isinstance(x, Symbol) for x in parts):
            return getattr(floats, name)(*parts)
        if name in INLINE:
            return self.symbol(INLINE[name], *parts)
        return self.symbol(f"{SAME.get(name, name)}({', '.join(['{}'] * len(parts))})", *parts)

    def namespace(self) -> ModuleType:
        """`xp`: the functions of `floats`, whose own text is run with primitives that write."""
        xp = ModuleType(floats.__name__)
        self.scope = scope = vars(xp)
        scope.update(vars(floats))
        for name, x in vars(floats).items():
            if name in PRIMITIVE:
                scope[name] = partial(self.call, name)
            elif isinstance(x, FunctionType):
                scope[name] = FunctionType(x.__code__, scope)
        return xp

    def function(self, operands: Sequence[Symbol], results: Sequence[Any]) -> str:
        """An arrow function from operands to a list of results."""
        lines = [f"const {symbol.name} = {text};" for text, symbol in self.known.items()]
        names = ", ".join(x.name for x in operands)
        return f"({names}) => {{ {' '.join(lines)} return [{', '.join(map(_written, results))}]; }}"

    def close(self) -> None:
        """Let its symbols and functions go, which hold it and each other: no cycle is left."""
        self.known.clear()
        self.scope.clear()


def _written(x: Any) -> str:
    """A symbol or a number in JavaScript."""
    if isinstance(x, Symbol):
        return x.name
    if x is None or isinstance(x, bool):
        return json.dumps(x)
    number = repr(float(x)).replace("inf", "Infinity").replace("nan", "NaN")
    return f"({number})" if number.startswith("-") else number


def function(rule: Rule, width: int = 0) -> str:
    """`(x, y, …) => [value, ∂/∂x, ∂/∂y, …]`, with lists of `width` numbers taken one by one.

    A partial is null where no gradient goes. An `Unsayable` for a row that no expression says.
    """
    code, operands = Code(), []
    for i, name in enumerate(rule.operands):
        of_list = [Symbol(code, f"x{i}_{k}") for k in range(width)]
        operands.append(of_list if name in rule.lists else Symbol(code, f"x{i}"))
    try:
        value, *partials = rule.function(code.namespace(), *operands)
        silent = [[None] * width if name in rule.lists else None for name in rule.operands]
        whole = [x if x is not None else none for x, none in zip(partials, silent)]
        return code.function(rule.one_by_one(operands), [value, *rule.one_by_one(whole)])
    except Unsayable:
        raise
    except Exception as error:
        raise Unsayable(
            f"can't be written in JavaScript ({type(error).__name__}: {error})"
        ) from None
    finally:
        code.close()


class Library:
    """The functions that a page needs, by number, in the order in which they were asked for."""

    def __init__(self) -> None:
        self.functions: dict[tuple[Rule, int], str] = {}

    def number(self, rule: Rule, width: int) -> int:
        """The number of an op's function; an `Unsayable` where there can't be one."""
        if (rule, width) not in self.functions:
            self.functions[rule, width] = function(rule, width)
        return list(self.functions).index((rule, width))

    def source(self) -> str:
        """Statements that return the functions, with what JavaScript lacks before them."""
        text = "return [\n" + ",\n".join(self.functions.values()) + "\n];"
        return "".join(f"const {name} = {own};\n" for name, own in OWN.items()
                       if re.search(rf"\b{name}\(", text)) + text  # fmt: skip
