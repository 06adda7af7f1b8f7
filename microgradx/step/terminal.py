"""A walk on a terminal: the graph as a tree, and the multiplication of this moment."""

from __future__ import annotations

from collections.abc import Callable

from microgradx._base.text import clean, known_as, made_at, short, squeeze, width
from microgradx.engine import Edge
from microgradx.explain.extended import show
from microgradx.step import words
from microgradx.step.walk import Line, Stepper
from microgradx.step.words import bracketed, called, pad, wrapped

Paint = Callable[[str, str], str]
Row = tuple[str, str]  # a line of the screen, and its style
BLANK: Row = ("", "")

STYLES = {"": "0", "now": "1", "soft": "2", "sum": "1;36", "stop": "1;31"}
KEYS = "n next  b back  s stop  j LABEL  w why  t turn  g first  G last  h help  q quit"
FEW_KEYS = "n next  b back  h help  q quit"
PANEL = 10  # lines below the tree, so that it stands still
LEAST = 3  # lines of the tree, however low the terminal
NARROW = 60  # columns below which only data and grad are shown


def plain(text: str, style: str) -> str:
    """Text in no colour."""
    return text


def colour(text: str, style: str) -> str:
    """Text in a style, for a terminal that has them."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if style else text


def screen(stepper: Stepper, columns: int, rows: int, paint: Paint = plain) -> str:
    """All there is to see now, in so many columns and rows, the last of them for the prompt."""
    columns = max(columns, 24)
    panel = [*_lines(stepper.said, columns), BLANK] if stepper.said else _panel(stepper, columns)
    panel += [BLANK] * (PANEL - len(panel))
    keys = KEYS if len(KEYS) <= columns else FEW_KEYS
    foot = _lines(stepper.notice, columns) or [(keys, "soft")]
    height = max(rows - len(panel) - len(foot) - 3, LEAST)
    shown = [*_tree(stepper, columns, height), BLANK, *panel, *foot]
    return "\n".join(paint(squeeze(clean(text).rstrip(), columns), style) for text, style in shown)


def _lines(text: str, columns: int, style: str = "") -> list[Row]:
    """Text in as many lines as it takes, all in one style."""
    return [(line, style) for part in text.split("\n") for line in wrapped(part, columns)]


def _panel(stepper: Stepper, columns: int) -> list[Row]:
    """This moment: its numbers, its mathematics, and where it leads."""
    edge, node = stepper.moment.edge, stepper.moment.node
    cells: list[tuple[str, ...]]
    if edge:
        caption = f"Backward: from {called(node)} to {called(edge.input)}, through {node.op}"
        caption += made_at(node)
        cells, notes = _multiplication(stepper, edge)
    elif stepper.now == stepper.timeline.turn:
        caption = "Backward: the sweep starts at the output"
        cells = [("1", f"∂{bracketed(node)}/∂{bracketed(node)}")]
        notes = [(f"What is asked of every node: how much does {called(node)} change with it?", "")]
    else:
        caption = f"Forward: the value of {called(node)}{made_at(node)}"
        cells = [*words.made(node)]
        rule = node.rule
        maths = f"{rule.name}: {rule.__doc__}" if rule else "a leaf: it was given, not computed"
        notes = [(maths, "")]
    below = [row for text, style in notes for row in _lines(text, columns, style)]
    return [*_lines(caption, columns), BLANK, *_equation(cells, columns), BLANK, *below]


def _multiplication(stepper: Stepper, edge: Edge) -> tuple[list[tuple[str, ...]], list[Row]]:
    """The cells of an edge's equation, and the sentences below it."""
    moment = stepper.moment
    out, head, tail = map(bracketed, (stepper.output, edge.node, edge.input))
    cells: list[tuple[str, ...]] = [
        (short(moment.adjoint), "upstream", f"∂{out}/∂{head}"), ("×", "", ""),
        (short(edge.partial), "local", f"∂{head}/∂{tail}"), ("=", "", ""),
        (short(moment.contribution), "contribution", f"to ∂{out}/∂{tail}"),
    ]  # fmt: skip
    total = words.addition(moment, stepper.timeline.final(edge.input) == stepper.now)
    style = "stop" if moment.stops else "sum"
    return cells, [(words.formula(edge), ""), (total, style), (_path(stepper, edge), "soft")]


def _path(stepper: Stepper, edge: Edge) -> str:
    """The product so far along the strongest path, from the output down to this edge."""
    edges, value = stepper.path_through(edge)
    links = " ".join(f"×{short(e.partial)} {called(e.input)}" for e in edges)
    more = "" if edges[0].node is stepper.output else " …"
    start = f"strongest path through this edge: 1 {called(stepper.output)}"
    return f"{start}{more} {links} = {show(value)}"


def _equation(cells: list[tuple[str, ...]], columns: int) -> list[Row]:
    """Numbers and signs beside each other, what they are below them, as wide as there is room."""
    for most in (60, 40, 30, 20, 14, 12, 8, 5):
        cut = [[squeeze(text, most) for text in cell] for cell in cells]
        widths = [max(map(width, cell)) for cell in cut]
        if sum(widths) + 2 * len(widths) <= columns:
            break
    lines = ["  ".join(pad(text, room) for text, room in zip(row, widths)) for row in zip(*cut)]
    return [(f"  {line}", "soft" if i else "now") for i, line in enumerate(lines)]


# --- the tree on it -------------------------------------------------------------------------------


def _tree(stepper: Stepper, columns: int, height: int) -> list[Row]:
    """The lines of the tree around this moment's, under a heading."""
    lines, here = stepper.tree, stepper.line
    first = max(0, min(here - height // 2, len(lines) - height))
    shown = range(first, min(first + height, len(lines)))
    head = _cells(("local", "data", "grad", ""), columns)
    room = columns - width(head) - 2
    base = max(min(lines[i].depth for i in shown), lines[here].depth - room // 4)
    rows = [(pad(f"  {_where(stepper)}", room + 2) + head, "soft")]
    for i in shown:
        cut = (i == shown[0] and i > 0) or (i == shown[-1] and i < len(lines) - 1)
        mark = "▶ " if i == here else "… " if cut else "  "
        text = pad(_guides(lines, i, base, room) + _title(lines[i]), room)
        rows.append((mark + text + _cells(_facts(stepper, lines[i]), columns), _style(stepper, i)))
    return rows


def _where(stepper: Stepper) -> str:
    """Which moment this is, of how many."""
    turn, now = stepper.timeline.turn, stepper.now
    if now == turn:
        return "the sweep starts"
    if now > turn:
        return f"edge {now - turn:,} of {stepper.end - turn:,}"
    return f"value {now + 1:,} of {turn:,}"


def _guides(lines: list[Line], i: int, base: int, room: int) -> str:
    """The strokes that lead to a node from those above it; of too many levels, their number."""
    levels, strokes = lines[i].depth - base, []
    if levels * 3 > room:
        return f"… {levels:,} levels in: "
    own = True
    while lines[i].depth > base:
        strokes.append(("└ " if own else "  ") if lines[i].last else ("├ " if own else "│ "))
        i, own = lines[i].parent, False
    return "".join(reversed(strokes))


def _title(line: Line) -> str:
    """A node's name and op; ↑ where it was listed above."""
    op = f"  {line.node.op}" if line.node.rule and known_as(line.node) else ""
    return called(line.node) + op + ("  ↑" if line.again else "")


def _facts(stepper: Stepper, line: Line) -> tuple[str, ...]:
    """The columns of a line: its local derivative, its data, its grad, and whether that grows."""
    node, edge, born = line.node, line.edge, stepper.timeline.born
    if born[node] > stepper.now:
        return ("", "–", "", "")
    local = f"×{short(edge.partial)}" if edge and born[edge.node] <= stepper.now else ""
    if edge and stepper.stopped_at(edge):
        local = f"STOP {local}"
    grad = stepper.grad(node)
    if grad is None:
        return (local, short(node.data), "–" if stepper.now >= stepper.timeline.turn else "", "")
    so_far = "" if stepper.timeline.final(node) <= stepper.now else " so far"
    return (local, short(node.data), short(grad), so_far)


def _style(stepper: Stepper, i: int) -> str:
    node, edge = stepper.tree[i].node, stepper.tree[i].edge
    if edge and stepper.stopped_at(edge):
        return "stop"
    if i == stepper.line:
        return "now"
    return "soft" if stepper.timeline.born[node] > stepper.now else ""


def _cells(cells: tuple[str, ...], columns: int) -> str:
    """Numbers, each in its column; in a narrow terminal, data and grad alone."""
    local, data, grad, state = cells
    if columns < NARROW:
        return f" {data:>9} {grad:>9}"
    return f" {local:>10} {data:>9} {grad:>9}{state:7}"
