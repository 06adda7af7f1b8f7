"""A `Value` is one number that remembers, edge by edge, how it was computed.

Every edge carries its local derivative from the moment it is made. Backpropagation is then one
line, written in `Value.backward`: each input's grad grows by partial × adjoint.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

from microgradx import floats, rules
from microgradx.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Callable


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
    __slots__ = ("data", "grad", "label", "rule", "_a", "_b", "_da", "_db", "_pending")
    # A `Fan` reads rows of operands beside them.
    _sources: tuple[Any, ...] = ()
    __array_ufunc__ = None  # NumPy leaves `array * value` to __rmul__, which says what to do

    data: float
    grad: float
    label: str
    rule: Rule | None

    def __init__(self, data: Any, label: str = "") -> None:
        self.data = number(data)
        self.grad = 0.0
        self.label = label
        self.rule = None
        self._a = self._b = self._da = self._db = None
        self._pending = 0

    # --- reading the graph --------------------------------------------------------------------

    @property
    def op(self) -> str:
        """The name of the op that made this node, "" for a leaf."""
        return self.rule.name if self.rule else ""

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
        return tuple(edge.input for edge in self.edges)

    @property
    def partials(self) -> tuple[float, ...]:
        """∂self/∂input for each of `inputs`, as it was when this node was made."""
        return tuple(edge.partial for edge in self.edges)

    def __repr__(self) -> str:
        facts = f"Value(data={self.data:.6g}, grad={self.grad:.6g}"
        if self.rule:
            facts += f", op={_clip(self.op, 12)}"
        if self.label:
            facts += f", label={_clip(repr(self.label), 70 - len(facts))}"
        return facts + ")"

    # --- the chain rule -----------------------------------------------------------------------

    def backward(self, seed: float = 1.0) -> None:
        """Add seed · ∂self/∂leaf to the grad of every leaf; set the adjoint of every other node.

        An exception on the way, Ctrl-C among them, leaves every leaf's grad as it was.
        """
        seed = number(seed)
        nodes = order(self)
        before = [(node, node.grad) for node in nodes if node.rule is None]
        try:
            for node in nodes:
                node.grad = 0.0
            self.grad = seed
            for node in nodes:
                adjoint = node.grad
                if node._da is not None:
                    node._a.grad += node._da * adjoint  # the chain rule
                if node._db is not None:
                    node._b.grad += node._db * adjoint  # … for the second operand
                if node._sources:
                    node._spread(adjoint)  # … and for rows of operands
            for leaf, grad in before:
                leaf.grad += grad
        except BaseException:
            for leaf, grad in before:
                leaf.grad = grad
            raise

    # --- arithmetic ---------------------------------------------------------------------------

    def __add__(self, other: Any) -> Value:  # twin of rules.add: x + y, 1, 1
        if isinstance(other, Value):
            return _record(rules.add, self.data + other.data, self, 1.0, other, 1.0)
        other = number(other)
        return _record(rules.add, self.data + other, self, 1.0, other, None)

    def __radd__(self, other: Any) -> Value:
        other = number(other)
        return _record(rules.add, other + self.data, other, None, self, 1.0)

    def __mul__(self, other: Any) -> Value:  # twin of rules.mul: x · y, y, x
        if isinstance(other, Value):
            x, y = self.data, other.data
            return _record(rules.mul, x * y, self, y, other, x)
        other = number(other)
        return _record(rules.mul, self.data * other, self, other, other, None)

    def __rmul__(self, other: Any) -> Value:
        other = number(other)
        return _record(rules.mul, other * self.data, other, None, self, other)

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
        return self.data < _data(other)

    def __le__(self, other: Any) -> bool:
        return self.data <= _data(other)

    def __gt__(self, other: Any) -> bool:
        return self.data > _data(other)

    def __ge__(self, other: Any) -> bool:
        return self.data >= _data(other)

    def __bool__(self) -> bool:
        return self.data != 0

    def __float__(self) -> float:
        return self.data

    # --- copies -------------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> Value:
        """A twin of this node and of all it was computed from, whatever the depth."""
        originals = [self]  # grows: also what lies behind a detach
        fresh: list[Value] = []
        for start in originals:
            for node in order(start):
                if id(node) not in memo:
                    memo[id(node)] = copy.copy(node)
                    fresh.append(node)
                    originals += cut_off(node)
        for node in fresh:
            twin = memo[id(node)]
            twin._a = memo.get(id(node._a), node._a)
            twin._b = memo.get(id(node._b), node._b)
            if node._sources:
                twin._sources = tuple([copy.deepcopy(row, memo) for row in node._sources])
        copied: Value = memo[id(self)]
        return copied

    if TYPE_CHECKING:
        _a: Any
        _b: Any
        _da: float | None
        _db: float | None
        _pending: int

        def __getattr__(self, op: str) -> Callable[..., Value]:
            """Every row of the table is a method: x.tanh(), x.relu(), x.leaky_relu(0.1), …"""

        def _spread(self, adjoint: float) -> None: ...


class Fan(Value):
    """A Value computed from rows of operands: a dot product, a sum, a logsumexp."""

    __slots__ = ("_sources", "_row_partials")
    _sources: tuple[Row, ...]
    _row_partials: tuple[Sequence[float], ...]  # for each row, the partials of its inputs

    @property
    def arguments(self) -> tuple[tuple[Any, float | None], ...]:
        pairs: list[tuple[Any, float | None]] = []
        for row, partials in zip(self._sources, self._row_partials):
            partial = iter(partials)
            pairs += [(x, next(partial) if isinstance(x, Value) else None) for x in row]
        return (*pairs, *super().arguments)

    def _spread(self, adjoint: float) -> None:
        for row, partials in zip(self._sources, self._row_partials):
            for input, partial in zip(row.inputs, partials):
                input.grad += partial * adjoint


class Row(tuple[Any, ...]):
    """Operands that several nodes read as one, Values or numbers; `inputs` are its Values.

    A layer hands one row to all its neurons, so that a sweep orders it once for the layer and
    not once for each neuron. To `order`, a row is a node that hands on to its inputs.
    """

    inputs: tuple[Value, ...]
    _a = _b = _da = _db = None
    _sources: tuple[Value, ...]
    _pending: int

    def __new__(cls, operands: Iterable[Any]) -> Row:
        return super().__new__(cls, [x if isinstance(x, Value) else number(x) for x in operands])

    def __init__(self, operands: Iterable[Any]) -> None:
        self.inputs = self._sources = tuple([x for x in self if isinstance(x, Value)])
        self._pending = 0

    def numbers(self) -> list[float]:
        """The data of every operand, now."""
        if len(self.inputs) == len(self):
            return [x.data for x in self]
        return [x.data if isinstance(x, Value) else x for x in self]

    def of_inputs(self, partials: Sequence[float]) -> Sequence[float]:
        """The partials of the Values alone, given those of all operands."""
        if len(self.inputs) == len(self):
            return partials
        return [d for x, d in zip(self, partials) if isinstance(x, Value)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Row:
        if id(self) not in memo:
            memo[id(self)] = Row([copy.deepcopy(x, memo) for x in self])
        copied: Row = memo[id(self)]
        return copied


def order(output: Value) -> list[Value]:
    """Every node that `output` was computed from, each before all of its inputs; output first.

    Two passes and no recursion: count how often each node is read, then release it when the last
    of its consumers has been passed (Kahn 1962). Both passes read a list that grows meanwhile.
    The reading of a node's slots is spelled out, because nothing runs more often.
    """
    found: list[Any] = [output]
    reached: list[Any] = [output]
    try:
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
            for input in node._sources:
                if not input._pending:
                    found.append(input)
                input._pending += 1
        for node in reached:
            if node._da is not None:
                input = node._a
                input._pending -= 1
                if not input._pending:
                    reached.append(input)
            if node._db is not None:
                input = node._b
                input._pending -= 1
                if not input._pending:
                    reached.append(input)
            for input in node._sources:
                input._pending -= 1
                if not input._pending:
                    reached.append(input)
    except BaseException:
        for node in found:
            node._pending = 0
        raise
    return [node for node in reached if node.__class__ is not Row]


def cut_off(node: Value) -> list[Value]:
    """The operands that a detach cut the node off from."""
    return [x for x, partial in node.arguments if partial is None and isinstance(x, Value)]


# --- making nodes -------------------------------------------------------------------------------


def _record(
    rule: Rule,
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


_new = object.__new__


def apply(rule: Rule, x: Any, y: Any = None) -> Value:
    """The node that `rule` makes of one or two operands, Values or numbers."""
    if len(rule.operands) == 1:
        if y is not None:
            raise TypeError(f"{rule.name} takes one operand, got two: {x!r} and {y!r}")
        data, dx = rule.function(floats, _data(x))
        return _record(rule, data, *_operand(x, dx))
    if y is None:
        y = rule.default
        if y is None:
            raise TypeError(f"{rule.name} takes two operands, {rule.operands}; got only {x!r}")
    data, dx, dy = rule.function(floats, _data(x), _data(y))
    return _record(rule, data, *_operand(x, dx), *_operand(y, dy))


def apply_to_rows(rule: Rule, *operands: Any) -> Value:
    """The node that `rule` makes of its rows of operands, and one operand more where it has one.

    An empty row, or two rows of different widths, is a ValueError.
    """
    rows = [x if isinstance(x, Row) else Row(x) for x in operands[: rule.rows]]
    for name, row in zip(rule.operands, rows):
        if not row:
            raise ValueError(f"{rule.name} of no {name}; pass at least one")
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{rule.name} expected {len(rows[0])} {name}, as many as {rule.operands[0]}, "
                f"got {len(row)}"
            )
    singles = operands[rule.rows :]
    data, *partials = rule.function(floats, *[row.numbers() for row in rows], *map(_data, singles))
    a, da = _operand(singles[0], partials[-1]) if singles else (None, None)
    node = _record(rule, data, a, da, kind=Fan)
    assert isinstance(node, Fan)
    node._sources = tuple(rows)
    node._row_partials = tuple([row.of_inputs(d) for row, d in zip(rows, partials)])
    return node


def dot(weights: Iterable[Any], xs: Iterable[Any], bias: Any = 0.0) -> Value:
    """bias + Σ weights[i] · xs[i] as one node; operands are Values or numbers.

    Rows of different widths, or empty ones, are a ValueError.

    >>> dot([Value(2.0), Value(3.0)], [10.0, 100.0], bias=1.0)
    Value(data=321, grad=0, op=dot)
    """
    return apply_to_rows(rules.dot, weights, xs, bias)


def sum(xs: Iterable[Any]) -> Value:
    """Σ xs as one node; no xs at all is a ValueError."""
    return apply_to_rows(rules.sum, xs)


def mean(xs: Iterable[Any]) -> Value:
    """Σ xs / len(xs); no xs at all is a ValueError."""
    row = Row(xs)
    return sum(row) / len(row)


def logsumexp(xs: Iterable[Any]) -> Value:
    """ln Σ exp(xs) as one node, stable at any size; no xs at all is a ValueError."""
    return apply_to_rows(rules.logsumexp, xs)


def maximum(x: Any, y: Any) -> Value:
    """The larger of two, Values or numbers; equal ones share the gradient."""
    return apply(rules.maximum, x, y)


def minimum(x: Any, y: Any) -> Value:
    """The smaller of two, Values or numbers; equal ones share the gradient."""
    return apply(rules.minimum, x, y)


def _data(x: Any) -> float:
    return x.data if isinstance(x, Value) else number(x)


def _operand(x: Any, partial: float) -> tuple[Any, float | None]:
    return (x, partial) if isinstance(x, Value) else (number(x), None)


def _add_method(rule: Rule) -> None:
    """Make a row of the table a method of Value, unless it is an operator or takes rows."""
    if rule.operator or rule.rows:
        return

    def unary(self: Value) -> Value:
        return apply(rule, self)

    def binary(self: Value, other: Any = None) -> Value:
        return apply(rule, self, other)

    method = unary if len(rule.operands) == 1 else binary
    method.__name__ = rule.name
    method.__qualname__ = f"Value.{rule.name}"
    method.__doc__ = rule.__doc__
    setattr(Value, rule.name, method)


rules.watch(_add_method)


# --- what a Value can be made of -----------------------------------------------------------------


def number(x: Any) -> float:
    """x as a Python float, if it is one real number; else a TypeError that says what to do."""
    kind = type(x)
    if kind is float:
        exact: float = x
        return exact
    if kind is int or isinstance(x, Real) or _is_numpy_number(x):
        try:
            return float(x)
        except OverflowError:
            raise OverflowError(f"{kind.__name__} too large for a float, 1.8e308 at most") from None
    raise TypeError(f"a Value holds one float, got {_describe(x)}")


def _is_numpy_number(x: Any) -> bool:
    """Whether x is a NumPy scalar or 0-d array of a real kind; asked without NumPy."""
    return getattr(x, "ndim", None) == 0 and getattr(x.dtype, "kind", "") in tuple("biuf")


def _describe(x: Any) -> str:
    """What x is, and what to write instead."""
    name = type(x).__name__
    if isinstance(x, Value):
        return "a Value; use it as it is, or its .data"
    if getattr(x, "ndim", 0):
        return f"an {name} of shape {tuple(x.shape)}; take its elements one by one"
    if isinstance(x, (list, tuple)):
        return f"a {name} of length {len(x)}; use [Value(x) for x in xs]"
    if isinstance(x, str):
        return f"the str {_clip(repr(x), 30)}; use float(text) first"
    if isinstance(x, complex):
        return f"the complex number {x}; only real numbers have gradients here, use x.real"
    return f"a {name}; pass an int, a float, a Fraction or a NumPy scalar"


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"
