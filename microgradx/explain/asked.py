"""The Values that a question is about, in a list, a dict or a model, and the end of their graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from numbers import Number
from typing import Any, Protocol

from microgradx._base.text import kind_of, names_parameter
from microgradx.engine import Value


class HasParameters(Protocol):
    """A module: what gives the Values that it trains."""

    def parameters(self) -> list[Value]: ...


Values = HasParameters | Iterable[Any]  # or a dict of them, an array, a nest

WANTED = "a Value, a list or a dict of them, a layer or a model"


def values_in(what: str, x: Any) -> list[Value]:
    """The Values in a nest of lists, dicts, arrays and modules, in its order.

    Anything else in it is a TypeError, which begins with `what`.
    """
    return [*_values(what, x, f"takes {WANTED}, got {{}}")]


def leaves_in(parameters: Any) -> list[Value]:
    """The same of parameters, whose order does not matter, so that they may be a set."""
    if isinstance(parameters, Value):
        raise TypeError("parameters takes a list of Values, such as model.parameters()")
    given = [*parameters] if isinstance(parameters, Set) else parameters
    return values_in("parameters", given)


def _values(what: str, x: Any, words: str) -> Iterator[Value]:
    if isinstance(x, Value):
        yield x
    elif is_module(x):
        yield from x.parameters()
    elif isinstance(x, Mapping):
        yield from _values(what, x.values(), words)
    elif isinstance(x, Iterable) and not isinstance(x, (str, bytes, Set)):
        x = x.tolist() if hasattr(x, "tolist") else x  # an array may be of no dimension
        for part in x if isinstance(x, Iterable) else [x]:
            yield from _values(what, part, "takes Values, got {} among them")
    else:
        raise TypeError(f"{what} {words.format(kind_of(x))}{_hint(x)}")


def is_module(x: Any) -> bool:
    """Whether x gives the Values that it trains."""
    return not isinstance(x, type) and callable(getattr(x, "parameters", None))


def _hint(x: Any) -> str:
    """How to pass the Values instead of something else."""
    if isinstance(x, str):
        return "; no label is looked up: pass the Value that has it"
    if isinstance(x, Set):
        return ", which has no order: pass a list"
    if isinstance(x, Number):
        return "; a bare number has no gradient: pass the Value that it is of"
    if isinstance(x, type):
        return f" ({x.__name__}): pass the one that the output was computed with"
    if hasattr(x, "parameters"):
        return "; pass its .parameters"
    return "; call it, and pass what it returns" if callable(x) else ""


def end_of_graph(what: str, output: Any, node: Any = None) -> Value:
    """The output, if it is a Value; else a TypeError that begins with `what`.

    node: whose gradient was asked for, as the two may have been swapped
    """
    if isinstance(output, Value):
        return output
    raise TypeError(
        f"{what} one Value, a loss for instance, got {kind_of(output)}{_other(output, node)}"
    )


def _other(output: Any, node: Any) -> str:
    """The output to pass instead."""
    if isinstance(output, Number):
        return "; a bare number has no graph: pass the loss itself, not its .data"
    if callable(getattr(output, "scalar", None)):
        return "; pass replay.scalar(i), the graph of its sample i"
    swapped = isinstance(node, Value) and node.rule is not None
    if is_module(output):
        return ", which has no gradient: " + (
            "pass the two in the other order" if swapped else "call it, and pass its loss"
        )
    if not isinstance(output, (list, tuple)) and not hasattr(output, "tolist"):
        return "; call it, and pass what it returns" if callable(output) else ""
    try:
        found = values_in("", output)
    except TypeError:
        return ""
    if swapped and found and not any(x.rule for x in found):
        return " of leaves: pass the two in the other order"
    if len(found) == 1:
        return " of them: pass its only element"
    return " of them: pass their sum or their mean" if found else ""


def check_belong(parameters: list[Value], nodes: Mapping[Value, int]) -> None:
    """A ValueError if parameters are those of another model: of the graph of `nodes` none is."""
    if not parameters or any(x in nodes for x in parameters):
        return
    own = [x for x in nodes if x.rule is None and names_parameter(x.label)]
    if own:
        raise ValueError(
            f"none of the {len(parameters):,} parameters is in the graph, which has others, such "
            f"as {own[0]!r}; pass those of the model that it was computed with"
        )
