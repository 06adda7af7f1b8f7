"""Recording a function once, and being sure that the record says all that it does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from microgradx._base.arguments import flat, nested, shape, show_shape
from microgradx._base.text import clean, element, kind_of, listed, names_parameter
from microgradx.engine import Value
from microgradx.replay.program import Replay
from microgradx.replay.tape import Tape, nodes_of
from microgradx.replay.tracing import FrozenBranch, Recorded, Trace
from microgradx.replay.views import Ids

OTHER_OUTPUTS = "fn returns other nodes at other numbers; a replay has only one graph"


def record(
    fn: Callable[..., Any],
    *example: Any,
    parameters: Sequence[Value] | None = None,
    dtype: Any = float,
) -> Replay:
    """`fn` of one sample, traced on Values and made ready for whole batches.

    example:    one sample, an argument each: a number, or an array of them
    parameters: the leaves that get gradients; as a rule all that were there before and are used.
                `replay.parameters` has them in the order of its arrays
    dtype:      of the arrays, float (64 bits) or "float32"

    Returns a `Replay`: of a batch (n, …) for each argument the mean loss, if `fn` returns one
    Value, or the outputs, if it returns a nest of them. A branch on a recorded number, or a number
    that `fn` works out beside the graph, is a `FrozenBranch` that names the line; write it with
    `where`, `equal`, `pick`. Ragged or empty examples, and parameters that are not in the graph,
    are a ValueError. A layer that is exchanged later needs a new record.

    Nothing is changed meanwhile: other threads may use the same parameters. Hence one limit: what
    `fn` asks a parameter alone, as in `if w.data > 0`, isn't seen, and stays as it was; nor is what
    it asks of a kind: `isinstance(x, float)` and `type(x) is Value` are both False of a recorded x.
    A random number is seen if it is another in each of two calls. `fit` compares with `fn` itself.
    `why`, `draw`, `lift` or another `record` of a recorded number would answer for one sample: a
    `FrozenBranch` too. What `fn` keeps, as in `self.hidden = h`, are Values of the example
    afterwards.

    >>> w = Value(2.0, "w")
    >>> replay = record(lambda x, y: (w * x - y) ** 2, 1.0, 3.0)
    >>> replay([1.0, 2.0], [3.0, 3.0]), replay.gradient
    (1.0, array([1.]))
    """
    arguments = _arguments(fn, example)
    trace = Trace()
    inputs, returned = _traced(trace, fn, arguments)
    others, again = _traced(Trace(before=trace), fn, arguments)
    outputs, returns, form = list(flat(returned)), list(flat(again)), shape(returned)
    if shape(again) != form:
        raise FrozenBranch(OTHER_OUTPUTS)
    nodes, twins = nodes_of(outputs), nodes_of(returns)
    if parameters is None:
        parameters = _leaves_of_both(nodes, twins, {*inputs, *others})
    tape = _tape(outputs, parameters, inputs, nodes)
    twin = Tape(returns, parameters, others, twins)
    _check_that_it_repeats(tape, twin)
    replay = Replay(tape, _ids(arguments, tape), form, batched=True, dtype=dtype)
    replay.fixed = [leaf for leaf in replay.fixed if leaf in twin.frozen]  # else fn has made it
    return replay


def lift(
    loss: Value,
    inputs: Any = (),
    parameters: Sequence[Value] | None = None,
    dtype: Any = float,
) -> Replay:
    """A graph that is already unrolled over its samples, made ready to be run again.

    inputs:     leaves that other numbers take the place of: an array of Values, or a dict of
                arrays by name; `replay(*arrays)` takes them in their shapes
    parameters: the leaves that get gradients; as a rule all others

    Errors as for `record`.

    >>> w = Value(2.0, "w")
    >>> replay = lift((w * 3.0 - 1.0) ** 2)
    >>> replay(), replay.gradient
    (25.0, array([30.]))
    """
    if not isinstance(loss, Value):
        raise TypeError(f"lift takes the Value that a graph leads to, got {kind_of(loss)}")
    by_name = inputs if isinstance(inputs, Mapping) else {"x": inputs}
    arrays = {str(name): nested(x) for name, x in by_name.items() if nested(x) != []}
    leaves = list(flat(list(arrays.values())))
    for x in leaves:
        if not isinstance(x, Value) or x.rule is not None:
            raise TypeError(f"the inputs of lift are Values that are leaves, got {x!r:.60}")
    for name, x in arrays.items():
        if shape(x) is None:
            raise ValueError(f"the input {clean(name)} is {show_shape(x)}; give a full array")
    if len(set(leaves)) < len(leaves):
        raise ValueError("a Value stands twice among the inputs; pass its number only once")
    tape = _tape([loss], parameters, leaves)
    return Replay(tape, _ids(arrays, tape), (), batched=False, dtype=dtype)


# --- tracing -------------------------------------------------------------------------------------


def _arguments(fn: Callable[..., Any], example: tuple[Any, ...]) -> dict[str, Any]:
    """The example as nests of lists, by the names of its arguments."""
    names = _names(fn, len(example))
    arguments = [nested(x) for x in example]
    for name, argument, x in zip(names, example, arguments):
        if isinstance(argument, (Mapping, str)):
            raise TypeError(
                f"the example of {name} is {kind_of(argument)}; pass numbers, or arrays"
            )
        if shape(x) is None:
            raise ValueError(f"the example of {name} is {show_shape(x)}; give one full sample")
        if any(number != number for number in flat(x)):
            raise ValueError(f"the example of {name} has a nan; give another sample")
    return dict(zip(names, arguments))


def _names(fn: Callable[..., Any], count: int) -> list[str]:
    """The names of the arguments of `fn`; the generated source uses them."""
    try:
        bound = inspect.signature(fn).bind(*range(count))
    except TypeError as error:
        raise TypeError(f"fn can't be called with {count} arguments: {error}") from None
    except ValueError:  # a builtin without a signature
        return [f"x{k}" for k in range(count)]
    names: list[str] = []
    for name, argument in bound.arguments.items():
        many = isinstance(argument, tuple)
        for own in [f"{name}{k}" for k in range(len(argument))] if many else [name]:
            names.append(own if own not in names else f"{own}_")  # of `def fn(x0, *x)`
    return names


def _traced(
    trace: Trace, fn: Callable[..., Any], arguments: dict[str, Any]
) -> tuple[list[Value], Any]:
    """The inputs that a sample becomes, and what `fn` makes of them."""
    try:
        try:
            sample = [
                _mapped(lambda x: trace.input(x, ""), x)
                if names_parameter(name)  # its label would be taken for a weight's
                else _labelled(trace.input, x, name)
                for name, x in arguments.items()
            ]
            inputs = list(flat(sample))  # first, as fn may change the lists
            returned = fn(*sample)
        finally:
            trace.end()
    except BaseException:
        trace.end()  # goes on where an interruption has cut it off
        raise
    if trace.refusal:
        raise FrozenBranch(trace.refusal)  # fn has caught it
    if isinstance(returned, Mapping):
        raise TypeError(f"fn returned {kind_of(returned)}; return a Value or a list of Values")
    nest = nested(returned)
    outputs = list(flat(nest))
    if not outputs or not all(isinstance(x, Value) for x in outputs):
        raise TypeError(f"fn must return a Value or a nest of Values, got {nest!r:.60}")
    if shape(nest) is None:
        raise ValueError(f"fn returned {show_shape(nest)} of Values; return a full array of them")
    return inputs, nest


def _labelled(input: Callable[[float, str], Value], x: Any, label: str, end: str = "") -> Any:
    """A nest of inputs, labelled by their places as a parameter's elements are: `x[2,1]`."""
    if not isinstance(x, list):
        return input(x, label + end)
    before = f"{label}," if end else f"{label}["
    return [_labelled(input, part, f"{before}{k}", "]") for k, part in enumerate(x)]


def _leaves_of_both(nodes: list[Value], twins: list[Value], inputs: set[Value]) -> list[Value]:
    """The leaves that were there before two calls, as both lead back to them."""
    before = {x for x in twins if x.rule is None} - inputs
    return sorted([x for x in reversed(nodes) if x in before], key=lambda x: element(x.label))


def _tape(
    outputs: list[Value],
    parameters: Sequence[Value] | None,
    inputs: list[Value],
    nodes: list[Value] | None = None,
) -> Tape:
    """The tape of `outputs`, if the parameters are leaves that it leads back to."""
    nodes = nodes_of(outputs) if nodes is None else nodes
    for node in nodes:
        if isinstance(node, Recorded):  # of a recording that this one is within
            node.trace.refuse(node, "a replay")
    if parameters is not None:
        _check_parameters(parameters, set(inputs))
    tape = Tape(outputs, parameters, inputs, nodes)
    for k, i in enumerate(tape.outputs):
        if tape.is_number(i):
            raise ValueError(f"output {k} is {outputs[k]!r}, which does not depend on anything")
    if parameters is None:
        return tape
    used = set(chain.from_iterable(tape.args)).union(tape.outputs)
    used.update(*set(chain.from_iterable(tape.rows)))
    idle = [i for i in range(tape.parameters) if i not in used]
    if idle:
        names = [clean(tape.values[i].label) or repr(tape.values[i]) for i in idle]
        raise ValueError(
            f"parameters that are not in the graph: {listed(names, 3)}. Leave them out; for "
            "`fit`, with an optimizer of the others"
        )
    return tape


def _check_parameters(parameters: Any, inputs: set[Value]) -> None:
    if isinstance(parameters, (str, Value)) or not isinstance(parameters, Iterable):
        raise TypeError(f"parameters are a list of Values, got {parameters!r:.60}")
    for k, x in enumerate(parameters):
        if not isinstance(x, Value):
            raise TypeError(f"parameter {k} is {kind_of(x)}, not a Value")
        if x.rule is not None or x in inputs:
            raise ValueError(f"parameter {clean(x.label) or k} is no leaf of its own but {x!r}")


def _ids(arrays: dict[str, Any], tape: Tape) -> dict[str, Ids]:
    """By name, the ids of an input, in its shape."""
    ids = iter(range(tape.parameters, tape.leaves))
    return {
        name: np.array(_mapped(lambda _: next(ids), x), dtype=np.int64)
        for name, x in arrays.items()
    }


def _mapped(fn: Callable[[Any], Any], nest: Any) -> Any:
    """A nest of lists with `fn` of each element in its place."""
    return [_mapped(fn, part) for part in nest] if isinstance(nest, list) else fn(nest)


# --- what would be frozen in ---------------------------------------------------------------------


def _check_that_it_repeats(tape: Tape, again: Tape) -> None:
    """Compare two traces: at other numbers the graph must be the same."""
    for i in range(tape.leaves, min(len(tape.values), len(again.values))):
        if again.rules[i] is not tape.rules[i] or not _same_operands(tape, again, i):
            node = again.values[i]
            raise FrozenBranch(
                f"{_line(again, i)} makes another node at other numbers: {tape.values[i]!r} became "
                f"{node!r}. "
                "A branch, or a number worked out beside the graph, from .data or at random, would "
                "be the same for all samples; make it of Values, or pass it as an argument"
            )
    if len(again.values) != len(tape.values):
        raise FrozenBranch(
            f"fn makes a graph of {len(tape.values) - tape.leaves} nodes, and one of "
            f"{len(again.values) - again.leaves} at other numbers; a replay has only one graph"
        )
    if again.outputs != tape.outputs:
        raise FrozenBranch(OTHER_OUTPUTS)


def _line(tape: Tape, i: int) -> str:
    """The line that made a node, or the next one that is known: of one that reads it."""
    lines = [node.line for node in tape.values[i:] if node.line]
    return f"{clean(lines[0][0])}:{lines[0][1]}" if lines else "fn"


def _same_operands(tape: Tape, again: Tape, i: int) -> bool:
    """Whether a node reads the same nodes and numbers on both tapes."""
    ids = tape.operands(i)
    if ids == again.operands(i) and max(ids) < min(len(tape.values), len(again.values)):
        return True  # nodes alone
    one, other = (
        [repr(t.number(j)) if t.is_number(j) else j for j in t.operands(i)] for t in (tape, again)
    )
    return one == other
