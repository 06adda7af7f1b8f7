"""Numbers that are being recorded: each op of theirs is noted, and none of them tells itself."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from microgradx import rules
from microgradx._base import floats
from microgradx._base.arguments import number
from microgradx._base.text import clean, clip
from microgradx.engine import PACKAGE, Traced, Value, apply, callers_line, node, node_of, operand
from microgradx.rules import Rule


class FrozenBranch(TypeError):
    """The recorded graph depends on its numbers in a way that no replay can repeat."""


class Trace:
    """One call of a function on recorded numbers, and the nodes that their ops make.

    Every other Value is read, and none is written to.

    before:  the trace of another call. This one is a trial then, on which nothing is computed until
             it ends: each number is another than it was before, and lies on the other side of 0;
             its node knows the line that made it
    numbers: those of the inputs and nodes, as they were made
    refusal: what was asked of a recorded number first and can't be told, if anything was
    over:    whether it has ended; who asks a number that is recorded even so ends it first
    """

    def __init__(self, before: Trace | None = None) -> None:
        self.before, self.refusal, self.over = before, "", False
        self.numbers: list[float] = []
        self._made: deque[tuple[Recorded, Any, Value | None]] = deque()

    def input(self, x: float, label: str) -> Value:
        """A number of the sample."""
        made = Value(self._other(self.before) if self.before else x, label)
        return self._recorded(made, node(rules.detach, number(x), x, None))

    def node(self, rule: Rule, operands: tuple[Any, ...]) -> Value:
        """What an op makes of operands that are checked, a recorded number among them."""
        if self.over:
            self.end()
            return apply(rule, *operands)
        if not self.before:
            return self._recorded(_computed(rule, operands))
        partials = [_none(name in rule.silent, x) for name, x in zip(rule.operands, operands)]
        return self._recorded(node_of(rule, self._other(self.before), operands, partials))

    def end(self) -> None:
        """Let its numbers be Values like any others, with what `fn` computes of the sample.

        Those that `fn` keeps are its reader's then. One of the sample is no leaf, so that a module
        that keeps it doesn't take it for a parameter. Each becomes a Value after all that it reads;
        what an interruption leaves is done by the next call.
        """
        self.over = True
        while self._made:
            made, line, twin = self._made[0]
            if twin is None and self.before:
                assert made.rule is not None
                twin = _computed(made.rule, made.operands)
            if twin is not None:
                for slot in COMPUTED:
                    vars(Value)[slot].__set__(made, getattr(twin, slot))
            made.__class__ = Value  # type: ignore[assignment]
            if line is not None:
                made._line = line
            elif made.line is not None:
                del made._line
            self._made.popleft()

    def refuse(self, node: Value, sign: str, remedy: str = "") -> None:
        """Raise for what was asked of a number; caught or not, the recording fails."""
        if self.over:
            return self.end()
        file, line = callers_line()
        refusal = (
            f"{clean(file)}:{line} asks for {sign} of {node!r} while it is recorded; the answer "
            f"would stand for all samples. {remedy or AFTER}"
        )
        self.refusal = self.refusal or refusal
        raise FrozenBranch(refusal)

    def _recorded(self, made: Value, twin: Value | None = None) -> Recorded:
        """The number, to be recorded; `twin` has what it gets in the end, if that is known now."""
        line = callers_line() if self.before else getattr(made, "_line", None)
        self.numbers.append(made.data)
        made.__class__ = Recorded
        assert isinstance(made, Recorded)
        made.trace = self  # type: ignore[misc]
        self._made.append((made, line, twin))
        return made

    def _other(self, before: Trace) -> float:
        k = len(self.numbers)
        return before.numbers[k] * -1.6875 - 0.3125 if k < len(before.numbers) else 0.3125


COMPUTED = ("_data", "rule", "_a", "_b", "_da", "_db", "_many")  # the slots that an op fills


def _computed(rule: Rule, operands: tuple[Any, ...]) -> Value:
    """The plain node that the rule makes of operands that are checked."""
    numbers = [_numbers(x) if type(x) is tuple else _number(x) for x in operands]
    data, *partials = rule.function(floats, *numbers)
    return node_of(rule, data, operands, partials)


_slot: Callable[[Value], float] = vars(Value)["_data"].__get__  # it asks no questions


def _number(x: Any) -> float:
    return x if type(x) is float else _slot(x)


def _numbers(xs: tuple[Any, ...]) -> list[float]:
    return [x if type(x) is float else _slot(x) for x in xs]


def _none(silent: bool, x: Any) -> Any:
    """The partials of an op that nothing computes: as many as there are."""
    if silent:
        return None
    return [0.0] * len(x) if type(x) is tuple else 0.0


# --- what would be frozen in ---------------------------------------------------------------------

BRANCH = "Write a branch with where, maximum, minimum or relu"
EQUAL = (
    "Write a branch with where(equal(x, y), …, …), where, maximum, minimum or relu; "
    "`x is y` asks whether two are one Value"
)
NUMBER = "Compute with x itself: x.exp() for math.exp(x). " + BRANCH
INDEX = "Write pick(p, t) for p[t]; loops need the same length for all samples. " + BRANCH
AFTER = "Compute with x itself, or look at it after the recording. " + BRANCH

# By method: what it asks for, and what to write instead.
REFUSED = {
    "__bool__": ("bool()", BRANCH), "__lt__": ("<", BRANCH), "__le__": ("<=", BRANCH),
    "__gt__": (">", BRANCH), "__ge__": (">=", BRANCH),
    "__float__": ("float()", NUMBER), "__int__": ("int()", INDEX), "__index__": ("an index", INDEX),
    "__round__": ("round()", NUMBER), "__trunc__": ("trunc()", NUMBER),
    "__floor__": ("floor()", NUMBER), "__ceil__": ("ceil()", NUMBER),
    "backward": ("backward()", AFTER), "backward_steps": ("backward_steps()", AFTER),
    "__deepcopy__": ("a copy", AFTER), "__reduce_ex__": ("a copy", AFTER),
}  # fmt: skip
# The same, but that lines of this package may ask: they make no branch of it.
REFUSED_OUTSIDE = {
    "__eq__": ("==", EQUAL), "__ne__": ("!=", EQUAL), "__hash__": ("a key, hash()", EQUAL),
}  # fmt: skip
FACTS = ("data", "grad", "partials", "edges")


class Recorded(Traced):
    """A number of every sample, while one of them is recorded."""

    __slots__ = ()
    if TYPE_CHECKING:
        trace: Trace

    def __repr__(self) -> str:
        if self.trace.over:
            self.trace.end()
            return repr(self)
        op = f", op={clip(self.op, 12)}" if self.rule else ""
        return (
            f"Value(recorded{op}" + f", label={clip(repr(self.label), 40)}" * bool(self.label) + ")"
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **more: Any) -> Any:
        sign = {"equal": "==", "not_equal": "!="}.get(ufunc.__name__)
        if sign:  # `number == self`, of a number of NumPy's
            self.trace.refuse(self, sign, EQUAL)
        return Value.__array_ufunc__(self, ufunc, method, *operands, **more)

    def __format__(self, spec: str) -> str:
        if spec:
            self.trace.refuse(self, f"the format {spec!r}", AFTER)
        return Value.__format__(self, spec)


Recorded.__name__ = "Value"  # which it is to whoever reads a message


def _operator(rule: Rule, reflected: bool) -> Callable[[Recorded, Any], Value]:
    def method(self: Recorded, other: Any) -> Value:
        other = operand(other)
        return self.trace.node(rule, (other, self) if reflected else (self, other))

    return method


def _refusing(name: str, sign: str, remedy: str, outside: bool) -> Callable[..., Any]:
    """Value's method of this name, which refuses as long as its number is recorded.

    outside: whether only lines outside of this package are refused
    """
    plain: Any = getattr(Value, name, None)

    def method(self: Recorded, *args: Any) -> Any:
        if not (outside and _asked_here()):
            self.trace.refuse(self, sign, remedy)
        return plain(self, *args)

    return method


def _fact(name: str) -> property:
    """Value's property of this name, which nobody reads as long as its number is recorded."""
    plain = vars(Value)[name]

    def get(self: Recorded) -> Any:
        self.trace.refuse(self, f".{name}", AFTER)
        return plain.__get__(self)

    def put(self: Recorded, x: Any) -> None:
        self.trace.refuse(self, f"another .{name}", AFTER)
        plain.__set__(self, x)

    return property(get, put)


def _untold(self: Recorded) -> float:
    """Value's slot of the number, for what reads it past all that stands here: `Value.__add__`."""
    if sys._getframe(1).f_code.co_name in TWINS:
        raise AttributeError  # they go the long way then
    self.trace.refuse(self, "its number", AFTER)
    return _slot(self)


def _asked_here() -> bool:
    """Whether a line of this package asks, two calls up."""
    return sys._getframe(2).f_code.co_filename.startswith(PACKAGE)


for _name, _words in REFUSED.items():
    setattr(Recorded, _name, _refusing(_name, *_words, outside=False))
for _name, _words in REFUSED_OUTSIDE.items():
    setattr(Recorded, _name, _refusing(_name, *_words, outside=True))
for _name in FACTS:
    setattr(Recorded, _name, _fact(_name))
TWINS = {f"__{reflected}{name}__" for name in ("add", "mul") for reflected in ("", "r")}
Recorded._data = property(_untold)  # type: ignore[misc, assignment]
for _name, _rule in (("add", rules.add), ("mul", rules.mul)):  # twins would make plain nodes
    setattr(Recorded, f"__{_name}__", _operator(_rule, reflected=False))
    setattr(Recorded, f"__r{_name}__", _operator(_rule, reflected=True))
