"""Values that a module holds and that are no parameters, where its writer may think they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from numbers import Real
from types import SimpleNamespace
from typing import Any

from microgradx._base.arguments import flat, nested
from microgradx._base.text import count, name_of
from microgradx.engine import Value


def computed(part: Any) -> Value | None:
    """The first Value in a nest of lists that an op has made."""
    return next((x for x in flat(part) if isinstance(x, Value) and x.rule), None)


def displacing(part: Any) -> str:
    """How what is assigned in the place of parameters is none, as the rest of a sentence, or ""."""
    if (made := computed(part)) is not None:
        return f"{name_of(made)} is computed"
    if not any(isinstance(x, Value) for x in flat(part)):
        for x in flat(nested(part) if hasattr(part, "tolist") else part):
            if isinstance(x, Real):
                return f"{x!r} is a number"
    return ""


def lost(part: Any, path: str, parameters: Callable[[], list[Value]]) -> Iterator[str]:
    """For what is assigned to a module at `path`, a sentence on what no list of parameters has."""
    hidden = _hidden(part)
    known = set(parameters()) if hidden else set()
    leaves = [x for x in hidden if x not in known]
    if leaves:
        are = "is no parameter" if len(leaves) == 1 else "are no parameters"
        yield (
            f"{path}: {count(len(leaves), 'Value')} in a container of the type {hidden[leaves[0]]} "
            f"{are}, such as {name_of(leaves[0])}; keep them in a list or a dict"
        )
    made = computed(part)
    if made is not None and not made.recorded and _is_made_of_strangers(made):
        yield (
            f"{path}: {name_of(made)} is computed, and so is no parameter; a leaf is one, "
            f"such as Value({made.data:.6g})"
        )


def _hidden(part: Any) -> dict[Value, str]:
    """The leaves in containers that a module does not look into, by the type of these."""
    leaves: dict[Value, str] = {}
    stack: list[tuple[Any, str]] = [(part, "")]
    while stack:
        x, inside = stack.pop()
        if isinstance(x, Value):
            if inside and x.rule is None and not x.recorded:
                leaves.setdefault(x, inside)
        elif isinstance(x, (list, tuple)):
            stack += [(each, inside) for each in reversed(x)]
        elif isinstance(x, dict):
            stack += [(each, inside) for each in reversed(x.values())]
        elif members := _members(x):
            stack += [(each, type(x).__name__) for each in reversed(members)]
    return leaves


def _members(x: Any) -> list[Any]:
    """What is in a container that a module does not look into."""
    if isinstance(x, (set, frozenset)):  # in an order that no hash decides
        return sorted(x, key=lambda each: each.data if isinstance(each, Value) else 0.0)
    if isinstance(x, deque):
        return list(x)
    if isinstance(x, SimpleNamespace) or hasattr(type(x), "__dataclass_fields__"):
        return list(vars(x).values()) if hasattr(x, "__dict__") else []
    if getattr(getattr(x, "dtype", None), "kind", "") == "O":
        found: list[Any] = x.ravel().tolist()
        return found
    return []


def _is_made_of_strangers(made: Value) -> bool:
    """Whether no labelled leaf, as a parameter is, is behind a computed Value."""
    seen = {made}
    stack = [made]
    while stack:
        x = stack.pop()
        if x.rule is None and x.label:
            return False
        fresh = set(x.inputs) - seen
        seen |= fresh
        stack += fresh
    return True
