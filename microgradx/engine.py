"""A `Value` is one number that remembers, edge by edge, how it was computed.

Every edge carries its local derivative from the moment it is made. Backpropagation is then one
line, written in `Value.backward`: each input's grad grows by partial × adjoint.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from microgradx import rules
from microgradx._base import floats
from microgradx._base.arguments import number
from microgradx.rules import Rule
from microgradx.step.conditions import Visit, paused, visit

PACKAGE = os.path.dirname(__file__) + os.sep
MISSING = object()  # an operand that was left out


class Edge(NamedTuple):
    """One arrow of the graph, from `input` to `node`: the chain rule's factor ∂node/∂input."""

    input: Value
    node: Value
    position: int  # which operand of the node this is
    partial: float


class Value:
    """A real number in a graph, with the derivative of an output by it.

    data:  the number, a Python float; assign a float to change a leaf
    grad:  ∂output/∂self. backward() adds to a leaf's, and sets every other node's anew
    label: a name for pictures and messages
    rule:  the row of `microgradx.rules` that made it, None for a leaf

    `Value(x)` makes a leaf of any real number: int, float, Fraction, NumPy scalar or 0-d array.
    Anything else is a TypeError, an int too large for a float an OverflowError.

    >>> x, y = Value(3.0), Value(-2.0)
    >>> z = x * y + x
    >>> z.backward()
    >>> z.data, x.grad, y.grad
    (-3.0, -1.0, 3.0)
    """

    # A node has at most two operands, _a and _b, each a Value or a bare number. Their partials
    # are _da and _db; a bare number, or no operand at all, has the partial None.
    __slots__ = ("data", "grad", "label", "rule", "_line", "_a", "_b", "_da", "_db", "_pending")
    # A `Fan` reads rows of operands beside them.
    _sources: tuple[Any, ...] = ()
    __array_ufunc__ = None  # NumPy leaves `array * value` to __rmul__, which says what to do

    data: float
    grad: float
    label: str
    rule: Rule | None

    def __init__(self, data: Any, label: str = "") -> None:
        if not isinstance(label, str):
            raise TypeError(f"a label is a str, got a {type(label).__name__}")
        self.data = number(data)
        self.grad = 0.0
        self.label = label
        self.rule = None
        if _recording_lines:
            self._line = callers_line()
        self._a = self._b = self._da = self._db = None
        self._pending = 0

    # --- reading the graph --------------------------------------------------------------------

    @property
    def op(self) -> str:
        """The name of the op that made this node, "" for a leaf."""
        return self.rule.name if self.rule else ""

    @property
    def line(self) -> tuple[str, int] | None:
        """The file and line that made it, under `record_lines()`; else None."""
        return getattr(self, "_line", None)

    @property
    def arguments(self) -> tuple[tuple[Any, float | None], ...]:
        """What the op read, in its order: (operand, partial), the partial of a number None."""
        pairs = ((self._a, self._da), (self._b, self._db))
        return tuple(pair for pair in pairs if pair[0] is not None)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The edges into this node, in argument order, with repeats."""
        return tuple(
            Edge(operand, self, position, partial)
            for position, (operand, partial) in enumerate(self.arguments)
            if partial is not None
        )

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The Values this node was computed from, in argument order, with repeats."""
        return tuple([x for x, partial in self.arguments if partial is not None])

    @property
    def partials(self) -> tuple[float, ...]:
        """∂self/∂input for each of `inputs`, as it was when this node was made."""
        return tuple([partial for _, partial in self.arguments if partial is not None])

    def __repr__(self) -> str:
        facts = f"Value(data={self.data:.6g}, grad={self.grad:.6g}"
        if self.rule:
            facts += f", op={_clip(self.op, 12)}"
        if self.label:
            facts += f", label={_clip(repr(self.label), 70 - len(facts))}"
        return facts + ")"

    # --- the chain rule -----------------------------------------------------------------------

    def backward(self, seed: float = 1.0, pause: Callable[[Visit], Any] | None = None) -> None:
        """Add seed · ∂self/∂leaf to the grad of every leaf; set the adjoint of every other node.

        pause: a condition such as `step.stops`: at each visit where it holds, the sweep stops in
               `breakpoint()`, in a frame with the visit's names
        An exception on the way, Ctrl-C among them, leaves every leaf's grad as it was.
        """
        if pause is not None:
            self._backward_with(pause, seed)
            return
        seed = number(seed)
        nodes = order(self)
        before = [(node, node.grad) for node in nodes if node.rule is None]
        try:
            for node in nodes:
                node.grad = 0.0
            self.grad = seed
            for node in nodes:
                adjoint = node.grad
                if node._sources:
                    node._spread(adjoint)  # the chain rule, for rows of operands
                if node._da is not None:
                    node._a.grad += node._da * adjoint  # … for one operand
                if node._db is not None:
                    node._b.grad += node._db * adjoint  # … and for the second
            for leaf, grad in before:
                leaf.grad += grad
        except BaseException:
            for leaf, grad in before:
                leaf.grad = grad
            raise

    def _backward_with(self, pause: Callable[[Visit], Any], seed: float) -> None:
        if not callable(pause):
            raise TypeError(f"pause takes a condition such as step.stops, got {pause!r:.60}")
        steps = self.backward_steps(seed)
        try:
            for visit in steps:
                if pause(visit):
                    paused(*visit)
        finally:
            steps.close()  # at once, when the debugger is quit

    def backward_steps(self, seed: float = 1.0) -> Generator[Visit, None, None]:
        """`backward()`, one node at a time: a `Visit` for each, in the order of the sweep.

        Meanwhile a leaf's grad is that of this sweep alone; run no other through the graph. Once
        the last visit is taken, all is as backward() leaves it; left off earlier, every leaf's
        grad is as it was.

        >>> x = Value(3.0, "x")
        >>> for visit in (x * x + 1.0).backward_steps():
        ...     print(visit.node, visit.partials, visit.contributions)
        Value(data=10, grad=1, op=add) (1.0,) (1.0,)
        Value(data=9, grad=1, op=mul) (3.0, 3.0) (3.0, 3.0)
        Value(data=3, grad=6, label='x') () ()
        """
        seed = number(seed)
        nodes = order(self)
        before = [(node, node.grad) for node in nodes if node.rule is None]
        swept = False
        try:
            for node in nodes:
                node.grad = 0.0
            self.grad = seed
            for node in nodes:
                yield visit(node)
            swept = True
        finally:
            for leaf, grad in before:
                leaf.grad = leaf.grad + grad if swept else grad

    # --- arithmetic ---------------------------------------------------------------------------

    def __add__(self, other: Any) -> Value:  # twin of rules.add: x + y, 1, 1
        if isinstance(other, Value):
            return record(rules.add, self.data + other.data, self, 1.0, other, 1.0)
        other = number(other)
        return record(rules.add, self.data + other, self, 1.0, other, None)

    def __radd__(self, other: Any) -> Value:
        other = number(other)
        return record(rules.add, other + self.data, other, None, self, 1.0)

    def __mul__(self, other: Any) -> Value:  # twin of rules.mul: x · y, y, x
        if isinstance(other, Value):
            x, y = self.data, other.data
            return record(rules.mul, x * y, self, y, other, x)
        other = number(other)
        return record(rules.mul, self.data * other, self, other, other, None)

    def __rmul__(self, other: Any) -> Value:
        other = number(other)
        return record(rules.mul, other * self.data, other, None, self, other)

    def __neg__(self) -> Value:
        return apply(rules.neg, self)

    def __pos__(self) -> Value:
        return self

    def __sub__(self, other: Any) -> Value:
        return self + (apply(rules.neg, other) if isinstance(other, Value) else -number(other))

    def __rsub__(self, other: Any) -> Value:
        return (-self).__radd__(other)

    def __truediv__(self, other: Any) -> Value:
        return apply(rules.div, self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return apply(rules.div, other, self)

    def __pow__(self, other: Any) -> Value:
        return apply(rules.pow, self, other)

    def __rpow__(self, other: Any) -> Value:
        return apply(rules.pow, other, self)

    def __abs__(self) -> Value:
        return apply(rules.abs, self)

    def silu(self) -> Value:
        """x · sigmoid(x)"""
        return self * self.sigmoid()

    # --- as a number --------------------------------------------------------------------------
    # == and hash stay those of the object, so that nodes can live in sets and dictionaries.

    def __lt__(self, other: Any) -> bool:
        return self.data < data_of(other)

    def __le__(self, other: Any) -> bool:
        return self.data <= data_of(other)

    def __gt__(self, other: Any) -> bool:
        return self.data > data_of(other)

    def __ge__(self, other: Any) -> bool:
        return self.data >= data_of(other)

    def __bool__(self) -> bool:
        return self.data != 0

    def __float__(self) -> float:
        return self.data

    # --- copies -------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> Value:
        """A twin of this node and of all it was computed from, whatever the depth."""
        fresh = [node for node in with_cut_off(self) if id(node) not in memo]
        for node in fresh:
            memo[id(node)] = node._twin()
        for node in fresh:
            memo[id(node)]._take_twins(memo)
        copied: Value = memo[id(self)]
        return copied

    def _twin(self) -> Value:
        """A node like this one, on the same inputs."""
        twin = record(self.rule, self.data, self._a, self._da, self._b, self._db, type(self))
        twin.grad, twin.label = self.grad, self.label
        if self.line:
            twin._line = self.line
        return twin

    def _take_twins(self, memo: dict[int, Any]) -> None:
        """Be computed from the twins of the inputs instead."""
        self._a = memo.get(id(self._a), self._a)
        self._b = memo.get(id(self._b), self._b)

    if TYPE_CHECKING:
        _a: Any
        _b: Any
        _da: float | None
        _db: float | None
        _pending: int
        _line: tuple[str, int]

        def __getattr__(self, op: str) -> Callable[..., Value]:
            """Every row of the table is a method: x.tanh(), x.relu(), x.leaky_relu(0.1), …"""

        def _spread(self, adjoint: float) -> None: ...


def order(*outputs: Value) -> list[Value]:
    """Every node that `outputs` were computed from, each before all of its inputs.

    Two passes and no recursion: count how often each node is read, then release it when the last
    of its consumers has been passed (Kahn 1962). Both passes read a list that grows meanwhile.
    The reading of a node's slots is spelled out, because nothing runs more often.
    """
    starts = list(dict.fromkeys(outputs))
    found: list[Any] = [*starts]
    reached: list[Any] = []
    rows = False
    try:
        for node in starts:
            node._pending = 1  # as if it were read once from outside
        for node in found:
            if node._da is not None:
                input = node._a
                if not input._pending:
                    found.append(input)
                input._pending += 1
            if node._db is not None:
                input = node._b
                if not input._pending:
                    found.append(input)
                input._pending += 1
            if node._sources:
                rows = True
                for input in node._sources:
                    if not input._pending:
                        found.append(input)
                    input._pending += 1
        for node in starts:
            node._pending -= 1
            if not node._pending:
                reached.append(node)
        for node in reached:
            if node._da is not None:
                input = node._a
                left = input._pending = input._pending - 1
                if not left:
                    reached.append(input)
            if node._db is not None:
                input = node._b
                left = input._pending = input._pending - 1
                if not left:
                    reached.append(input)
            if node._sources:
                for input in node._sources:
                    left = input._pending = input._pending - 1
                    if not left:
                        reached.append(input)
    except BaseException:
        for node in found:
            node._pending = 0
        raise
    return [node for node in reached if isinstance(node, Value)] if rows else reached


def cut_off(node: Value) -> list[Value]:
    """The operands that a detach cut the node off from."""
    return [x for x, partial in node.arguments if partial is None and isinstance(x, Value)]


def with_cut_off(output: Value) -> list[Value]:
    """`order(output)`, and then what its detached nodes were cut off from, and so on."""
    nodes: dict[Value, None] = {}
    starts = [output]
    while starts:
        fresh = [node for node in order(*starts) if node not in nodes]
        nodes.update(dict.fromkeys(fresh))
        starts = [x for node in fresh for x in cut_off(node) if x not in nodes]
    return list(nodes)


# --- making nodes -------------------------------------------------------------------------------


def record(
    rule: Rule | None,
    data: float,
    a: Any,
    da: float | None,
    b: Any = None,
    db: float | None = None,
    kind: type[Value] = Value,
) -> Value:
    """A new node: the one place where an op's result enters the graph."""
    node = _new(kind)
    node.data = data
    node.grad = 0.0
    node.label = ""
    node.rule = rule
    node._a = a
    node._b = b
    node._da = da
    node._db = db
    node._pending = 0
    return node


_new: Callable[[type[Value]], Value] = object.__new__
_recording_lines = False
tracing = False  # whether `record` is calling a function, at numbers of its own


@contextmanager
def record_lines() -> Iterator[None]:
    """Within it, every Value remembers the file and line that made it, in `line`.

    >>> with record_lines():
    ...     x = Value(2.0)
    >>> x.line[1]
    2
    """
    global _new, _recording_lines
    before = _new, _recording_lines
    _new, _recording_lines = _new_with_line, True  # nothing is asked of others
    try:
        yield
    finally:
        _new, _recording_lines = before


def _new_with_line(kind: type[Value]) -> Value:
    node: Value = object.__new__(kind)
    node._line = callers_line()
    return node


def callers_line() -> tuple[str, int]:
    """The innermost line that runs outside of this package."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def apply(rule: Rule, x: Any, y: Any = MISSING) -> Value:
    """The node that `rule` makes of one or two operands, Values or numbers."""
    if len(rule.operands) == 1:
        if y is not MISSING:
            raise TypeError(f"{rule.name} takes one operand, got two: {x!r} and {y!r}")
        data, dx = rule.function(floats, data_of(x))
        return record(rule, data, *operand(x, dx))
    if y is MISSING:
        y = rule.default
        if y is None:
            raise TypeError(f"{rule.name} takes two operands; pass {rule.operands[1]} too")
    data, dx, dy = rule.function(floats, data_of(x), data_of(y))
    return record(rule, data, *operand(x, dx), *operand(y, dy))


def maximum(x: Any, y: Any) -> Value:
    """The larger of two, Values or numbers; equal ones share the gradient."""
    return apply(rules.maximum, x, y)


def minimum(x: Any, y: Any) -> Value:
    """The smaller of two, Values or numbers; equal ones share the gradient."""
    return apply(rules.minimum, x, y)


def data_of(x: Any) -> float:
    """The number in an operand, a Value or a number."""
    return x.data if isinstance(x, Value) else number(x)


def operand(x: Any, partial: float) -> tuple[Any, float | None]:
    """An operand with its partial, which a bare number has not."""
    return (x, partial) if isinstance(x, Value) else (number(x), None)


def _add_method(rule: Rule) -> None:
    """Make a row of the table a method of Value, unless it is an operator or takes rows."""
    if rule.operator or rule.rows:
        return
    if hasattr(Value, rule.name):
        raise ValueError(f"an op can't be called {rule.name!r}: a Value has that already")

    function = rule.function

    def unary(self: Value) -> Value:  # apply(rule, self), without the questions
        data, dx = function(floats, self.data)
        return record(rule, data, self, dx)

    def binary(self: Value, other: Any = MISSING) -> Value:
        return apply(rule, self, other)

    method = unary if len(rule.operands) == 1 else binary
    method.__code__ = method.__code__.replace(co_name=rule.name)  # the name of its frames
    method.__name__ = rule.name
    method.__qualname__ = f"Value.{rule.name}"
    method.__doc__ = rule.__doc__
    setattr(Value, rule.name, method)


rules.watch(_add_method)


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"
