"""A `Value` is one number that remembers, edge by edge, how it was computed.

An op makes a node. A node keeps all that the op read, its `operands`, and for each Value among
them, its `inputs`, the derivative of its own data by that input, its `partials`. Backpropagation
is then one line, in `sweep`: the adjoint of each input grows by partial × adjoint.

Read the parts in their order: a node, the chain rule, the order, making nodes, an op of your own.
The last part holds faster twins of what stands above, and adds nothing to it.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock, get_ident
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import inf, isfinite, nan
from operator import attrgetter, is_
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from microgradx import rules
from microgradx._base import floats, hints
from microgradx._base.arguments import flat, members, number
from microgradx._base.text import clip, count, kind_of
from microgradx.rules import Rule

SHOWN = 100_000  # nodes of a graph that a notebook draws by itself

# --- 1. a node ------------------------------------------------------------------------------------


class Edge(NamedTuple):
    """One arrow of the graph, from `input` to `node`: the chain rule's factor ∂node/∂input."""

    input: Value
    node: Value
    position: int  # which operand of the node this is, lists of operands counted one by one
    partial: float


def _put_data(self: Value, x: Any) -> None:
    self._data = x if type(x) is float else number(x)


def _put_grad(self: Value, x: Any) -> None:
    self._grad = x if type(x) is float else number(x)


class Value:
    """A real number in a graph, with the derivative of an output by it.

    data:     the number, a Python float; assign a float to change a leaf
    grad:     ∂output/∂self. backward() adds to a leaf's, and sets every other node's anew
    label:    a name for pictures and messages
    rule:     the row of `microgradx.rules` that made it, None for a leaf
    operands: all that the op read, as the rule takes it: Values, bare numbers, tuples of both
    inputs:   the Values among them that a gradient goes to, in their order, with repeats
    partials: ∂self/∂input for each of `inputs`, as it was when this node was made

    `Value(x)` makes a leaf of any real number: int, float, Fraction, NumPy scalar or 0-d array.
    Anything else is a TypeError, an int too large for a float an OverflowError. `x == y` asks
    whether the two are one Value, `equal(x, y)` compares their numbers.

    >>> x, y = Value(3.0), Value(-2.0)
    >>> z = x * y + x
    >>> z.backward()
    >>> z.data, x.grad, y.grad
    (-3.0, -1.0, 3.0)
    """

    # A node of one or two operands has them in _a and _b, and their partials in _da and _db, None
    # where no gradient goes. One of more, or of lists, has in _many its operands, and for all but a
    # last single one, which is in _a, pairs of parallel tuples: ((inputs, partials), …).
    # _data and _grad hold data and grad, which are checked when they are assigned to.
    __slots__ = (
        "_data", "_grad", "label", "rule", "_a", "_b", "_da", "_db", "_many", "_readers", "_line",
    )  # fmt: skip
    recorded: ClassVar[bool] = False  # whether it stands for any sample's number, as `record` sets

    label: str
    rule: Rule | None

    def __init__(self, data: Any, label: str = "") -> None:
        if not isinstance(label, str):
            raise TypeError(f"a label is a str, got {kind_of(label)}")
        self._data = number(data)
        self._grad = 0.0
        self.label = label
        self.rule = self._a = self._b = self._da = self._db = self._many = None
        self._readers = 0
        if _recording_lines and get_ident() in _recording_lines:
            self._line = callers_line()

    if TYPE_CHECKING:

        @property
        def data(self) -> float: ...
        @data.setter
        def data(self, x: Any) -> None: ...
        @property
        def grad(self) -> float: ...
        @grad.setter
        def grad(self, x: Any) -> None: ...

    else:
        data = property(attrgetter("_data"), _put_data)
        grad = property(attrgetter("_grad"), _put_grad)

    @property
    def operands(self) -> tuple[Any, ...]:
        if self._many is not None:
            return self._many[0]
        if self._b is not None:
            return (self._a, self._b)
        return () if self._a is None else (self._a,)

    @property
    def inputs(self) -> tuple[Value, ...]:
        if self._many is not None:
            several = [x for xs, _ in self._many[1] for x in xs]
            return tuple(several if self._da is None else [*several, self._a])
        if self._da is None:
            return () if self._db is None else (self._b,)
        return (self._a,) if self._db is None else (self._a, self._b)

    @property
    def partials(self) -> tuple[float, ...]:
        if self._many is not None:
            several = [d for _, ds in self._many[1] for d in ds]
            return tuple(several if self._da is None else [*several, self._da])
        if self._da is None:
            return () if self._db is None else (self._db,)
        return (self._da,) if self._db is None else (self._da, self._db)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The edges into this node, in the order of its operands, with repeats."""
        facts = zip(self.inputs, positions(self), self.partials)
        return tuple([Edge(x, self, position, partial) for x, position, partial in facts])

    @property
    def op(self) -> str:
        """The name of the op that made this node, "" for a leaf."""
        return self.rule.name if self.rule else ""

    @property
    def line(self) -> tuple[str, int] | None:
        """The file and line that made it, under `record_lines()`; else None."""
        return getattr(self, "_line", None)

    def __repr__(self) -> str:
        facts = f"Value(data={self.data:.6g}, grad={self.grad:.6g}"
        if self.rule:
            facts += f", op={clip(self.op, 12)}"
        if self.label:
            facts += f", label={clip(repr(self.label), 70 - len(facts))}"
        return facts + ")"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The face in a notebook: its graph as a picture, unless it has nothing or much to show."""
        nodes = order(self)
        if not 1 < len(nodes) <= SHOWN:
            return {"text/plain": repr(self)}
        from microgradx.pictures import draw  # what shows may look upwards, when it is asked to

        return {**draw(self)._repr_mimebundle_(), "text/plain": repr(self)}

    # --- its gradient ---

    def backward(self, seed: float = 1.0, pause: Callable[[Visit], Any] | None = None) -> None:
        """Add seed · ∂self/∂leaf to the grad of every leaf; set the adjoint of every other node.

        pause: a condition such as `step.stops`: at each visit where it holds, the sweep stops in
               `breakpoint()`, in a frame with the visit's names
        An exception on the way, Ctrl-C among them, leaves every leaf's grad as it was.
        """
        if pause is not None:
            return _backward_with(self, seed, pause)
        for node, adjoint in list(sweep(self, number(seed))):
            node.grad = adjoint if node.rule else node.grad + adjoint

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
        try:
            for node in nodes:
                node.grad = 0.0
            self.grad = seed
            for node, adjoint in sweep(self, seed):
                yield visit(node, adjoint)
            for leaf, grad in before:
                leaf.grad += grad
        except BaseException:
            for leaf, grad in before:
                leaf.grad = grad
            raise

    # --- arithmetic: each operator is a row of the table ---

    def __add__(self, other: Any) -> Value:
        return apply(rules.add, self, other)

    def __radd__(self, other: Any) -> Value:
        return apply(rules.add, other, self)

    def __mul__(self, other: Any) -> Value:
        return apply(rules.mul, self, other)

    def __rmul__(self, other: Any) -> Value:
        return apply(rules.mul, other, self)

    def __neg__(self) -> Value:
        return apply(rules.neg, self)

    def __pos__(self) -> Value:
        return self

    def __sub__(self, other: Any) -> Value:
        return self + (-other if isinstance(other, Value) else -number(other))

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

    # --- as a number: == and hash stay those of the object, so that nodes live in sets ---

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

    def __int__(self) -> int:
        return int(float(self))

    def __round__(self, digits: int | None = None) -> float:
        return round(float(self), digits)

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else str(self)

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **_: Any) -> Any:
        """NumPy's answer for `number ∘ self`, by our operators; for its functions, a TypeError."""
        name = ufunc.__name__
        if name in hints.REFLECTED and method == "__call__" and operands[0] is not self:
            other = operands[0][()] if hasattr(operands[0], "ndim") else operands[0]  # from 0-d
            found = getattr(self, hints.REFLECTED[name])(other)
            return name == "not_equal" if found is NotImplemented else found
        own = f"x.{name}({'y' * (ufunc.nin - 1)})" if name in functions else hints.NO_OP
        raise TypeError(f"np.{name} takes no Value; use {hints.NUMPY.get(name, own)}")

    def __dir__(self) -> list[str]:
        """The facts and the ops, so that the panel of a debugger shows no slot twice."""
        return [name for name in super().__dir__() if name[0] != "_" and hasattr(self, name)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Value:
        """A twin of this node and of all it was computed from, whatever the depth."""
        fresh = [node for node in with_cut_off(self) if id(node) not in memo]
        memo.update([(id(node), _new(type(node))) for node in fresh])

        for node in fresh:
            copied = memo[id(node)]
            for slot in Value.__slots__[:-1]:
                setattr(copied, slot, _twin(getattr(node, slot), memo))
            if node.line:
                copied._line = node.line
        found: Value = memo[id(self)]
        return found

    if TYPE_CHECKING:
        _data: float
        _grad: float
        _a: Any
        _b: Any
        _da: float | None
        _db: float | None
        _many: tuple[tuple[Any, ...], tuple[tuple[tuple[Value, ...], Any], ...]] | None
        _readers: int
        _line: tuple[str, int]

        # every row of the table is a method; tests/test_types.py compares the two
        def add(self, y: Any) -> Value: ...
        def mul(self, y: Any) -> Value: ...
        def neg(self) -> Value: ...
        def div(self, y: Any) -> Value: ...
        def pow(self, y: Any) -> Value: ...
        def abs(self) -> Value: ...
        def sqrt(self) -> Value: ...
        def exp(self) -> Value: ...
        def log(self) -> Value: ...
        def sin(self) -> Value: ...
        def cos(self) -> Value: ...
        def relu(self) -> Value: ...
        def leaky_relu(self, slope: Any = 0.01) -> Value: ...
        def elu(self, alpha: Any = 1.0) -> Value: ...
        def sigmoid(self) -> Value: ...
        def tanh(self) -> Value: ...
        def softplus(self) -> Value: ...
        def gelu(self) -> Value: ...
        def maximum(self, y: Any) -> Value: ...
        def minimum(self, y: Any) -> Value: ...
        def where(self, x: Any, y: Any) -> Value: ...
        def clamp(self, low: Any, high: Any) -> Value: ...
        def detach(self) -> Value: ...
        def equal(self, y: Any) -> Value: ...


# --- 2. the chain rule ----------------------------------------------------------------------------


def sweep(
    output: Value, seed: Any = 1.0, partials: Callable[[Value], Iterable[Any]] | None = None
) -> Iterator[tuple[Value, Any]]:
    """The adjoint seed · ∂output/∂node of every node, from the output back; nothing is written.

    partials: gives other partials for the inputs of a node than its own, intervals for example,
              and None where nothing goes; the seed and they are any numbers that can be multiplied
              and added

    >>> x = Value(3.0, "x")
    >>> [adjoint for node, adjoint in sweep(x * x + 1.0)]
    [1.0, 1.0, 6.0]
    """
    adjoints = {output: seed}
    for node in order(output):
        adjoint = adjoints.pop(node, NOTHING)  # final, as all that reads the node has been passed
        yield node, adjoint
        if adjoint is NOTHING:
            continue
        for x, partial in zip(node.inputs, (partials or taken)(node)):
            if partial is not None:
                adjoints[x] = adjoints.get(x, 0.0) + partial * adjoint  # the chain rule


def taken(node: Value) -> Sequence[float | None]:
    """The node's partials, with None for an operand that a `where` leaves: nothing goes there."""
    if node.rule is None or not node.rule.selects:
        return node.partials
    return [d if d else None for d in node.partials]


NOTHING = float("0")  # as an adjoint: none came, as at what a `where` leaves. Known by identity


class Visit(NamedTuple):
    """One node's turn in a sweep.

    node, adjoint: the node, and ∂output/∂node, which is final now
    inputs:        the nodes it was computed from
    partials:      ∂node/∂input
    contributions: partial · adjoint, what each edge added to its input's grad
    before, after: the input's grad before that and after it
    """

    node: Value
    adjoint: float
    inputs: tuple[Value, ...]
    partials: tuple[float, ...]
    contributions: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


def visit(node: Value, adjoint: float) -> Visit:
    """Add the node's contributions to the grads of its inputs, and tell of each."""
    contributions, before, after = [], [], []
    for input, partial in zip(node.inputs, taken(node)):
        contribution = 0.0 if partial is None or adjoint is NOTHING else partial * adjoint
        before.append(input.grad)
        input.grad += contribution  # the chain rule, as in sweep
        after.append(input.grad)
        contributions.append(contribution)
    lists = tuple(contributions), tuple(before), tuple(after)
    return Visit(node, adjoint, node.inputs, node.partials, *lists)


def _backward_with(output: Value, seed: float, pause: Callable[[Visit], Any]) -> None:
    """backward(), stopping in the debugger at each visit where the condition holds."""
    if not callable(pause):
        raise TypeError(f"pause takes a condition such as step.stops, got {pause!r:.60}")
    steps = output.backward_steps(seed)
    try:
        for visit in steps:
            if pause(visit):
                paused(*visit)
    finally:
        steps.close()  # at once, when the debugger is quit


def paused(
    node: Value,
    adjoint: float,
    inputs: tuple[Value, ...],
    partials: tuple[float, ...],
    contributions: tuple[float, ...],
    before: tuple[float, ...],
    after: tuple[float, ...],
) -> None:
    """Stop in the debugger; the names here are those of the visit."""
    breakpoint()  # `a` shows the visit, `c` goes on to the next stop
    return  # `a` shows the visit, `c` goes on to the next stop


# --- 3. the order ---------------------------------------------------------------------------------


def order(*outputs: Value) -> list[Value]:
    """Every node that `outputs` were computed from, each before all of its inputs (Kahn 1962).

    Two passes and no recursion: count how often each node is read, then take it once the last of
    its readers has been passed. Both passes read a list that grows meanwhile.
    """
    starts = _starts(outputs)
    readers = dict.fromkeys(starts, 1)  # as if each were read once from outside
    found = [*starts]
    for node in found:
        for x in node.inputs:
            if x not in readers:
                readers[x] = 0
                found.append(x)
            readers[x] += 1
    passed = []
    for x in starts:
        readers[x] -= 1
        if not readers[x]:
            passed.append(x)
    for node in passed:
        for x in node.inputs:
            readers[x] -= 1
            if not readers[x]:
                passed.append(x)
    return passed


# --- 4. making nodes ------------------------------------------------------------------------------


def apply(rule: Rule, *operands: Any) -> Value:
    """The node that `rule` makes of its operands: Values, numbers, or lists of them.

    A wrong number of operands, or one that is no number, is a TypeError; an empty list, or lists
    of different widths, a ValueError.
    """
    if len(operands) != len(rule.operands):
        takes = f"{count(len(rule.operands), 'operand')} ({', '.join(rule.operands)})"
        raise TypeError(f"{rule.name} takes {takes}, got {len(operands)}")
    operands = _checked(rule, operands)
    numbers, trace = _numbers(operands)
    if trace is not None:
        return trace.node(rule, operands)
    data, *partials = rule.function(floats, *numbers)
    return node_of(rule, data, operands, partials)


def node_of(rule: Rule, data: float, operands: tuple[Any, ...], partials: Sequence[Any]) -> Value:
    """A node of operands that are checked, and its partials."""
    if rule.lists or len(operands) > 2:
        return node_of_many(rule, data, operands, partials)
    slots: list[Any] = []
    for x, partial in zip(operands, partials):
        slots += (x, partial) if isinstance(x, Value) else (x, None)
    return node(rule, data, *slots)


def node(
    rule: Rule, data: float, a: Any, da: float | None, b: Any = None, db: float | None = None
) -> Value:
    """A node of one or two operands, each with its partial, None for a bare number."""
    made = _new(Value)
    made._data = data
    made._grad = 0.0
    made.label = ""
    made.rule = rule
    made._a = a
    made._b = b
    made._da = da
    made._db = db
    made._many = None
    made._readers = 0
    return made


def node_of_many(
    rule: Rule, data: float, operands: tuple[Any, ...], partials: Sequence[Any]
) -> Value:
    """A node of any operands, tuples of them too; a bare number gets no edge."""
    pairs = []
    for operand, partial in zip(operands, partials):
        if partial is not None:  # None where no gradient goes
            xs, ds = (operand, partial) if isinstance(operand, tuple) else ((operand,), (partial,))
            if not _are_values(xs):
                known = [(x, d) for x, d in zip(xs, ds) if isinstance(x, Value)]
                if len(known) < len(xs):  # else nodes that read one list share it
                    xs, ds = tuple([x for x, _ in known]), tuple([d for _, d in known])
            pairs.append((xs, ds))
    made = node(rule, data, None, None)
    if not isinstance(operands[-1], tuple):
        made._a = operands[-1]
        if partials[-1] is not None:
            xs, ds = pairs.pop()
            made._da = ds[0] if xs else None
    made._many = operands, tuple(pairs)
    return made


def operand(x: Any) -> Any:
    """A Value as it is, a number as a float."""
    return x if isinstance(x, Value) else number(x)


def list_of_operands(xs: Any) -> tuple[Any, ...]:
    """Values and numbers as an op keeps a list of them; what is no list is a TypeError."""
    if not isinstance(xs, Iterable):
        raise TypeError(f"the operands are a list, got {xs!r:.60}")
    if type(xs) is tuple and {float, Value}.issuperset(map(type, xs)):
        return xs  # as it is, so that nodes that read one list share it
    found = tuple([operand(x) for x in members(xs)])
    return xs if type(xs) is tuple and all(map(is_, found, xs)) else found


def _checked(rule: Rule, operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """The operands as a node keeps them; lists as tuples, all of one width and not empty."""
    if not rule.lists:
        return tuple([x if type(x) is Value else operand(x) for x in operands])
    named = zip(rule.operands, operands)
    found = [list_of_operands(x) if name in rule.lists else operand(x) for name, x in named]
    widths = {name: len(x) for name, x in zip(rule.operands, found) if name in rule.lists}
    first = next(iter(widths))
    for name, width in widths.items():
        if not width:
            raise ValueError(f"{rule.name} of no {name}; pass at least one")
        if width != widths[first]:
            raise ValueError(
                f"{rule.name} expected {widths[first]} {name}, as many as {first}, got {width}"
            )
    return tuple(found)


def data_of(x: Any) -> float:
    """The number in an operand, a Value or a number."""
    return x._data if isinstance(x, Value) else number(x)


def numbers_in(values: Iterable[Value]) -> list[float]:
    """The data of each, by its slot: a quarter of the time that the property takes."""
    return [x._data for x in values]


def grads_in(values: Iterable[Value]) -> list[float]:
    """The grad of each, by its slot."""
    return [x._grad for x in values]


def put_numbers(values: Iterable[Value], numbers: Iterable[Any]) -> None:
    """Give each its data; one that is no number is the error that `x.data = …` gives."""
    for x, data in zip(values, numbers):
        x._data = data if type(data) is float else number(data)


def zero_grads(values: Iterable[Value]) -> None:
    """Set the grad of each to 0; an exception, Ctrl-C among them, leaves all as they were."""
    values = [*values]
    before = grads_in(values)
    try:
        for x in values:
            x._grad = 0.0
    except BaseException:
        for x, grad in zip(values, before):
            x._grad = grad
        raise


def read_together(node: Value) -> list[tuple[Any, tuple[Value, ...]]]:
    """A node's inputs: lists that others may read too, by their ids, and its own, by the node."""
    if node._many is None:
        return [(node, node.inputs)]
    lists: list[tuple[Any, tuple[Value, ...]]] = [(id(xs), xs) for xs, _ in node._many[1]]
    return lists if node._da is None else [*lists, (node, (node._a,))]


def _numbers(operands: tuple[Any, ...]) -> tuple[list[Any], Trace | None]:
    """The numbers in operands that are checked; and if any of them has one, its trace."""
    numbers: list[Any] = []
    for x in operands:
        kind = type(x)
        if kind is Value:
            numbers.append(x.data)
        elif kind is float:
            numbers.append(x)
        elif kind is tuple and _are_values(x):
            numbers.append([*map(_data, x)])
        elif (trace := trace_of((x,))) is not None:
            return [], trace
        else:
            numbers.append([*map(data_of, x)] if kind is tuple else data_of(x))
    return numbers, None


# --- 5. an op of your own -------------------------------------------------------------------------

functions: dict[str, Callable[..., Value]] = {}  # by name, every op of the table
TRIED = (0.5, 0.0, -2.0, 1e200, inf, nan)  # numbers at which a new row is run


def rule(**columns: Any) -> Callable[[Callable[..., Any]], Rule]:
    """Make a function a row of the table, a method of Value and a function of `microgradx`.

    The columns are those of `Rule`. Where the row can't be right, the ValueError names the op and
    says what to mend: a name that is taken, a wrong word in a column, a wrong number of partials,
    a function that `microgradx/_base/floats.py` lacks, an exception at some float.
    """

    def entered(function: Callable[..., Any]) -> Rule:
        row = rules.enter(**columns)(function)
        try:
            for x in TRIED:
                for fault in row.faults_at(floats, x):
                    raise ValueError(f"op {row.name!r} {fault}")
            _offer(row)
        except BaseException:
            del rules.TABLE[row.name]
            raise
        return row

    return entered


def _offer(rule: Rule) -> None:
    """Make a row of the table a function, and a method unless it begins with a list."""
    if hasattr(Value, rule.name):
        raise ValueError(f"an op can't be called {rule.name!r}: a Value has that already")
    functions[rule.name] = _function_of(rule)
    if rule.operands[0] not in rule.lists:
        alone = len(rule.operands) == 1 and not rule.silent
        setattr(Value, rule.name, _unary(rule) if alone else functions[rule.name])
        setattr(Traced, rule.name, _traced(rule) if alone else functions[rule.name])


def _function_of(rule: Rule) -> Callable[..., Value]:
    """The op as a function of its operands, by their own names: leaky_relu(x, slope=0.01)."""
    names = ", ".join(rule.operands)
    takes = ", ".join([f"{x}=None" if x in rule.defaults else x for x in rule.operands])
    line = sys._getframe().f_lineno + 1  # which a debugger then shows
    source = f"def {rule.name}({takes}): return _apply_(_rule_, {names})"
    scope: dict[str, Any] = {"_apply_": apply, "_rule_": rule}
    exec(compile(source, __file__, "exec"), scope)
    function: Any = scope[rule.name]
    function.__code__ = function.__code__.replace(co_firstlineno=line)
    function.__defaults__ = tuple(rule.defaults.values())
    function.__doc__ = rule.__doc__
    function.__module__ = "microgradx.ops"
    made: Callable[..., Value] = function
    return made


# --- 6. beside the lesson: positions, what a detach cuts off, copies, lines ---------------------


def _twin(x: Any, memo: dict[int, Any]) -> Any:
    """The stand-in of x in a copy of the graph: a twin, a tuple of twins, or x itself."""
    if isinstance(x, tuple) and id(x) not in memo:
        memo[id(x)] = tuple([_twin(part, memo) for part in x])
    return memo.get(id(x), x)


def positions(node: Value) -> Sequence[int]:
    """For each of a node's inputs, which operand it is, lists of operands counted one by one."""
    operands, reads = node.operands, len(node.inputs)
    if node.rule is None or (reads == len(operands) and not node.rule.lists):
        return range(reads)
    if reads == sum([len(x) if isinstance(x, tuple) else 1 for x in operands]):
        return range(reads)  # no bare number is among them
    found, k = [], 0
    for name, operand in zip(node.rule.operands, operands):
        xs = operand if isinstance(operand, tuple) else (operand,)
        if name not in node.rule.silent:
            found += [k + i for i, x in enumerate(xs) if isinstance(x, Value)]
        k += len(xs)
    return found


def operand_of(edge: Edge) -> int:
    """Which operand of the rule an edge comes from: 0 for any of dot's weights, 1 for its xs."""
    left = edge.position
    for which, operand in enumerate(edge.node.operands):
        left -= len(operand) if isinstance(operand, tuple) else 1
        if left < 0:
            return which
    raise IndexError(f"{edge.node!r} has no operand {edge.position}")


def _traced(rule: Rule) -> Callable[[Traced], Value]:
    def method(self: Traced) -> Value:
        return self.trace.node(rule, (self,))

    return method


class Traced(Value):
    """A number that stands for others too: its `trace` makes the nodes that ops make of it.

    It is kept where other Values keep their line, so that a Value can become a traced one and back.
    """

    __slots__ = ()
    recorded = True
    line = None
    if TYPE_CHECKING:
        trace: Trace
    else:
        trace = property(attrgetter("_line"), lambda self, trace: setattr(self, "_line", trace))


class Trace(Protocol):
    """Makes the node of an op whose operands are checked, a traced number among them."""

    def node(self, rule: Rule, operands: tuple[Any, ...]) -> Value: ...

    def refuse(self, node: Value, sign: str) -> None:
        """Raise, as an answer would be that of one sample."""


def _starts(outputs: Iterable[Value]) -> list[Value]:
    """The outputs, each once; the graph of one that is being recorded has one sample's numbers."""
    starts = list(dict.fromkeys(outputs))
    for x in starts:
        if isinstance(x, Traced):
            x.trace.refuse(x, "the graph")
    return starts


def trace_of(operands: Iterable[Any]) -> Trace | None:
    """The trace of the first operand, or member of a list of them, that has one; else None."""
    for x in operands:
        kind = type(x)
        if kind is Value or kind is float:
            continue
        if kind is not tuple:
            if isinstance(x, Traced):
                return x.trace
        elif not _are_values(x) and (trace := trace_of(x)):
            return trace
    return None


def cut_off(node: Value) -> list[Value]:
    """The operands that no gradient goes to: of a detach, its x; of a where, its condition."""
    rule = node.rule
    if rule is None or not rule.silent:
        return []
    named = zip(rule.operands, node.operands)
    operands = [operand for name, operand in named if name in rule.silent]
    return [x for x in flat(operands) if isinstance(x, Value)]


def with_cut_off(output: Value, swept: list[Value] | None = None) -> list[Value]:
    """`order(output)`, and then what its detached nodes were cut off from, and so on.

    swept: that order, where it is known
    """
    fresh = order(output) if swept is None else swept
    nodes = dict.fromkeys(fresh)
    while True:
        silent = [node for node in fresh if node.rule and node.rule.silent]
        starts = [x for node in silent for x in cut_off(node) if x not in nodes]
        if not starts:
            return list(nodes)
        fresh = [node for node in order(*starts) if node not in nodes]
        nodes.update(dict.fromkeys(fresh))


PACKAGE = os.path.dirname(__file__) + os.sep
_new: Callable[[type[Value]], Value] = object.__new__
_recording_lines: set[int] = set()  # the threads that are within `record_lines`
_lines_change = allocate_lock()


@contextmanager
def record_lines() -> Iterator[None]:
    """Within it, every Value that this thread makes remembers its file and line, in `line`.

    >>> with record_lines():
    ...     x = Value(2.0)
    >>> x.line[1]
    2
    """
    before = get_ident() in _recording_lines
    try:
        _record_lines(True)
        yield
    finally:
        _record_lines(before)


def _record_lines(on: bool) -> None:
    """Let this thread's Values remember their lines, or not; where none's do, none is asked."""
    global _new
    with _lines_change:
        (_recording_lines.add if on else _recording_lines.discard)(get_ident())
        _new = _new_with_line if _recording_lines else object.__new__


def _new_with_line(kind: type[Value]) -> Value:
    made: Value = object.__new__(kind)
    if get_ident() in _recording_lines:
        made._line = callers_line()
    return made


def callers_line() -> tuple[str, int]:
    """The innermost line that runs outside of this package."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


# --- 7. the same, faster: tests/test_engine.py pins each twin to its plain form above -------------


def _backward(self: Value, seed: float = 1.0, pause: Callable[[Visit], Any] | None = None) -> None:
    """Twin of `backward` and `sweep`, which keeps the adjoints in the grads meanwhile."""
    if pause is not None:
        return _backward_with(self, seed, pause)
    seed = number(seed)
    nodes = order(self)
    before = [(node, node._grad) for node in nodes if node.rule is None]
    met_where = False
    try:
        for node in nodes:
            node._grad = 0.0
        self._grad = seed
        for node in nodes:
            adjoint = node._grad
            if node._many is not None and (
                adjoint or node.rule is not rules.dot or not isfinite(node._data)
            ):  # operands of a finite dot are finite: every contribution of a 0 is 0
                if node.rule is not rules.dot and node.rule.selects:  # type: ignore[union-attr]
                    if not met_where:
                        met_where, nodes[:] = True, _reached(nodes)  # those up to here stay
                    for x, partial in zip(node.inputs, node.partials):
                        if partial:
                            x._grad += partial * adjoint  # the chain rule, for what is taken
                    continue
                for xs, partials in node._many[1]:
                    for x, partial in zip(xs, partials):
                        x._grad += partial * adjoint  # the chain rule, for lists of operands
            if node._da is not None:
                node._a._grad += node._da * adjoint  # … for one operand
            if node._db is not None:
                node._b._grad += node._db * adjoint  # … and for the second
        for leaf, grad in before:
            leaf._grad += grad
    except BaseException:
        for leaf, grad in before:
            leaf._grad = grad
        raise


def _reached(nodes: list[Value]) -> list[Value]:
    """Those of the nodes of a sweep, in their order, that something comes to."""
    reached = {nodes[0]}
    for node in nodes:
        if node in reached:
            reached.update([x for x, d in zip(node.inputs, taken(node)) if d is not None])
    return [node for node in nodes if node in reached]


def _order(*outputs: Value) -> list[Value]:
    """Twin of `order`, which counts on the nodes themselves, and once for all that share a list."""
    starts = _starts(outputs)
    lists: dict[int, int] = {}  # how many nodes read it, by the id of a tuple of operands
    found: list[Any] = [*starts]
    passed: list[Any] = []
    try:
        for node in starts:
            node._readers = 1
        for node in found:
            if node._many is not None:
                for xs, _ in node._many[1]:
                    key = id(xs)
                    if key in lists:
                        lists[key] += 1
                    else:
                        lists[key] = 1
                        for x in xs:
                            if not x._readers:
                                found.append(x)
                            x._readers += 1
            if node._da is not None:
                x = node._a
                if not x._readers:
                    found.append(x)
                x._readers += 1
            if node._db is not None:
                x = node._b
                if not x._readers:
                    found.append(x)
                x._readers += 1
        for node in starts:
            node._readers -= 1
            if not node._readers:
                passed.append(node)
        for node in passed:
            if node._many is not None:
                for xs, _ in node._many[1]:
                    key = id(xs)
                    if lists[key] > 1:
                        lists[key] -= 1
                    else:
                        for x in xs:
                            left = x._readers = x._readers - 1
                            if not left:
                                passed.append(x)
            if node._da is not None:
                x = node._a
                left = x._readers = x._readers - 1
                if not left:
                    passed.append(x)
            if node._db is not None:
                x = node._b
                left = x._readers = x._readers - 1
                if not left:
                    passed.append(x)
    except BaseException:
        for node in found:
            node._readers = 0
        raise
    return passed


def _add(self: Value, other: Any) -> Value:  # rules.add: x + y, 1, 1
    try:
        if isinstance(other, Value):
            return node(rules.add, self._data + other._data, self, 1.0, other, 1.0)
        other = number(other)
        return node(rules.add, self._data + other, self, 1.0, other, None)
    except AttributeError:  # a traced number doesn't tell its own; `+` asks it first, not `__add__`
        return apply(rules.add, self, other)


def _radd(self: Value, other: Any) -> Value:
    other = number(other)
    try:
        return node(rules.add, other + self._data, other, None, self, 1.0)
    except AttributeError:
        return apply(rules.add, other, self)


def _mul(self: Value, other: Any) -> Value:  # rules.mul: x · y, y, x
    try:
        if isinstance(other, Value):
            x, y = self._data, other._data
            return node(rules.mul, x * y, self, y, other, x)
        other = number(other)
        return node(rules.mul, self._data * other, self, other, other, None)
    except AttributeError:
        return apply(rules.mul, self, other)


def _rmul(self: Value, other: Any) -> Value:
    other = number(other)
    try:
        return node(rules.mul, other * self._data, other, None, self, other)
    except AttributeError:
        return apply(rules.mul, other, self)


def _unary(rule: Rule) -> Callable[[Value], Value]:
    """The method of an op of one operand: apply(rule, self), quick if self is a plain Value."""
    function = rule.function

    def method(self: Value) -> Value:
        if type(self) is not Value:
            return apply(rule, self)
        data, dx = function(floats, self._data)
        return node(rule, data, self, dx)

    method.__code__ = method.__code__.replace(co_name=rule.name)  # the name of its frames
    method.__name__ = rule.name
    method.__qualname__ = f"Value.{rule.name}"
    method.__doc__ = rule.__doc__
    return method


_data: Callable[[Value], float] = attrgetter("_data")
_dot = rules.dot.function


def dots(weights: Iterable[Any], xs: Any, biases: Iterable[Any]) -> list[Value]:
    """[dot(row, xs, bias), …]: a layer of dots on the same xs, whose numbers are read once."""
    xs = list_of_operands(xs)
    if trace_of((xs,)):
        return [apply(rules.dot, row, xs, bias) for row, bias in zip(weights, biases)]
    x, inputs, ys = [*map(data_of, xs)], tuple([x for x in xs if isinstance(x, Value)]), []
    some, width = 0 < len(inputs) < len(x), len(x)
    for row, bias in zip(weights, biases):
        if not (_are_values(row) and len(row) == width and type(bias) is Value):
            ys.append(apply(rules.dot, row, xs, bias))
            continue
        y, dw, dx, db = _dot(floats, [w._data for w in row], x, bias._data)
        if some:
            dx = tuple([d for x, d in zip(xs, dx) if isinstance(x, Value)])
        made = node(rules.dot, y, bias, db)
        made._many = (row, xs, bias), ((row, dw), (inputs, dx if inputs else ()))
        ys.append(made)
    return ys


def _are_values(xs: Any) -> bool:
    """Whether xs is a tuple of Values alone."""
    return type(xs) is tuple and [*map(type, xs)].count(Value) == len(xs)


PLAIN: dict[str, Any] = {}  # by name, what a twin has taken the place of: for the tests


def _take_the_place(name: str, twin: Any) -> None:
    """Let a twin stand for its plain form, under that one's name, in frames too."""
    plain = PLAIN[name] = vars(Value).get(name) or globals()[name]
    twin.__code__ = twin.__code__.replace(co_name=name)
    twin.__name__, twin.__qualname__, twin.__doc__ = name, plain.__qualname__, plain.__doc__
    if name in vars(Value):
        setattr(Value, name, twin)
    else:
        globals()[name] = twin


for _name, _fast in (
    ("backward", _backward), ("order", _order),
    ("__add__", _add), ("__radd__", _radd), ("__mul__", _mul), ("__rmul__", _rmul),
):  # fmt: skip
    _take_the_place(_name, _fast)
for _row in rules.TABLE.values():
    _offer(_row)
hints.answer_for(Value, "a Value", hints.VALUE)
