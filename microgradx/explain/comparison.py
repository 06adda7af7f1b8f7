"""Other choices in building: the same gradient under several choices, each run for true.

A repair holds all other factors as they are; here nothing is held. The graph is built again for
each choice, another activation or another initial scale, and the budgets stand side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from typing import Any

from microgradx._base.text import clean, clip, fixed, kind_of
from microgradx.engine import Value
from microgradx.explain.explanation import Explanation, Flow
from microgradx.explain.extended import show, signed


class Comparison:
    """Explanations by choice, in order: `comparison["tanh"]`; print it for the table."""

    def __init__(self, explanations: dict[Any, Explanation]) -> None:
        self.explanations = explanations

    def __getitem__(self, choice: Any) -> Explanation:
        return self.explanations[choice]

    def __str__(self) -> str:
        columns = self.explanations.values()
        kinds = list(dict.fromkeys(kind for each in columns for kind in each.budget))
        flows = [each.flow for each in columns]
        rows = [
            ["", *self._names()],
            ["gradient", *[show(flow.wide) if flow else "none" for flow in flows]],
            ["verdict", *[each.verdict for each in columns]],
            ["decades", *[fixed(flow.decades, 2) if flow else "" for flow in flows]],
        ]
        for kind in kinds:
            rows.append([f"  {kind}", *[signed(each.budget.get(kind, 0.0)) for each in columns]])
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
            for row in rows
        ]
        return "\n".join(line.rstrip() for line in lines)

    def __repr__(self) -> str:
        explained = zip(self._names(), self.explanations.values())
        verdicts = [f"{name}: {each.verdict}" for name, each in explained]
        return f"<compare {', '.join(verdicts)}>"

    def _names(self) -> list[str]:
        """A name for each choice; those that would have the same are numbered."""
        names = [clip(clean(_name(choice)), 32) for choice in self.explanations]
        times, seen = Counter(names), Counter[str]()
        for k, name in enumerate(names):
            seen[name] += 1
            names[k] = f"{name} {seen[name]}" if times[name] > 1 else name
        return names


def _name(choice: Any) -> str:
    """A choice in a word; a function by its name, and an object of no words by its class."""
    if isinstance(choice, partial):
        given = [*map(_name, choice.args), *[f"{k}={_name(x)}" for k, x in choice.keywords.items()]]
        return f"{_name(choice.func)}({', '.join(given)})"
    plain = str(choice) == object.__repr__(choice)
    name = getattr(choice, "__name__", type(choice).__name__ if plain else choice)
    return "lambda" if name == "<lambda>" else str(name)


def _by_name(choices: Any) -> dict[Any, Any]:
    """Choices that are their own names."""
    if isinstance(choices, (str, Value)) or not isinstance(choices, Iterable):
        raise TypeError(f"choices are a list, or a dict by name, got {choices!r:.60}")
    choices = [*choices]
    for x in choices:
        if not isinstance(x, Hashable):
            raise TypeError(f"{kind_of(x)} can't be looked up: pass a dict of the choices by name")
    return {x: x for x in choices}


def compare(build: Callable[[Any], tuple[Value, Value]], choices: Iterable[Any]) -> Comparison:
    """Build a graph for each of `choices` and explain the same gradient in each.

    build:   from a choice to (node, output); it makes all else equal, by a seed for instance
    choices: anything; or by name, in a dict, which also names the columns
    Anything else returned is a TypeError, no choices at all a ValueError.

    >>> def chain(activation):
    ...     x = y = Value(0.5, "x")
    ...     for _ in range(10):
    ...         y = getattr(y, activation)()
    ...     return x, y
    >>> print(compare(chain, ["sigmoid", "tanh", "relu"]))
                       sigmoid     tanh     relu
    gradient           3.48e-7    0.223        1
    verdict              small  healthy  healthy
    decades              -6.46    -0.65     0.00
      sigmoid ceiling    -6.02
      saturation         -0.44    -0.65
    """
    explanations: dict[Any, Explanation] = {}
    named = choices if isinstance(choices, Mapping) else _by_name(choices)
    for name, choice in named.items():
        built = build(choice)
        if not (isinstance(built, tuple) and len(built) == 2 and isinstance(built[0], Value)):
            raise TypeError(f"build returns (node, output), got {built!r:.60} for {choice!r:.60}")
        node, output = built
        explanations[name] = Flow(output).why(node)
    if not explanations:
        raise ValueError("compare needs at least one choice")
    return Comparison(explanations)
