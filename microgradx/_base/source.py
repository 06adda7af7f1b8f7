"""The variable that a line of source assigns a node to."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ast

    from microgradx.engine import Value

# The ops that an operator or a call makes, the last of them first. A call that is not here is one
# op of its name: that of a method, or something unknown.
OPERATORS = {
    "Add": ("add",), "Sub": ("add", "neg"), "Mult": ("mul",), "Div": ("div",), "Pow": ("pow",),
    "USub": ("neg",),
}  # fmt: skip
CALLS = {
    "Value": ("",), "silu": ("mul", "sigmoid"), "mean": ("div", "sum"), "sum": ("sum", "add"),
    **dict.fromkeys(("float", "int", "len", "zip", "range", "list", "tuple", "enumerate"), ()),
}  # fmt: skip
OF_LISTS = {"", "sum", "dot", "logsumexp"}  # what is no method, and yet known

Assignments = dict[int, tuple[str, list[str]]]


def variable(node: Value) -> str:
    """The variable that a node was assigned to on its line, under `record_lines()`; else "".

    Only where it is plain: one simple target, and an op that stands once in the whole statement,
    among nothing but ops, since a function may make any node.
    """
    if node.line is None:
        return ""
    import linecache  # here, as importing microgradx stays quick

    file, line = node.line
    name, ops = _assignments(tuple(linecache.getlines(file))).get(line, ("", []))
    if not ops or ops[0] != node.op or ops.count(node.op) > 1:
        return ""
    plain = all(op in OF_LISTS or hasattr(type(node), op) for op in ops[1:])
    return name if plain or not node.rule else ""


@lru_cache(maxsize=64)
def _assignments(source: tuple[str, ...]) -> Assignments:
    """By line, the target of its only assignment, and the ops of it, the last to run first."""
    import ast

    try:
        nodes = list(ast.walk(ast.parse("".join(source))))
    except (SyntaxError, ValueError):
        return {}
    begun: dict[int, list[str]] = defaultdict(list)  # by line, the ops of what begins there
    for x in nodes:
        if isinstance(x, (ast.expr, ast.AugAssign)):
            begun[x.lineno] += _ops(x)
    found: Assignments = {}
    for x in nodes:
        if not isinstance(x, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            continue
        target = x.targets[0] if isinstance(x, ast.Assign) else x.target
        simple = isinstance(target, ast.Name) and len(getattr(x, "targets", [0])) == 1
        last = _ops(x if isinstance(x, ast.AugAssign) else x.value)[:1]
        lines = range(x.lineno, (x.end_lineno or x.lineno) + 1)
        ops = [op for line in lines for op in begun[line]]
        if simple and last:
            ops.remove(last[0])
        name = target.id if isinstance(target, ast.Name) and simple and last else ""
        for line in lines:
            found[line] = ("", []) if line in found else (name, [*last, *ops])
    return found


def _ops(x: ast.AST | None) -> tuple[str, ...]:
    """The ops that an expression makes, without those of its parts; the last to run first."""
    op: Any = getattr(x, "op", None)
    called: Any = getattr(x, "func", None)
    if op is not None:
        return OPERATORS.get(type(op).__name__, ())
    if called is None:
        return ()
    name = getattr(called, "attr", getattr(called, "id", "?"))
    return CALLS.get(name, (name,))
