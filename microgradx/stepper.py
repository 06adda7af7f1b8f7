"""Backpropagation in a terminal: the graph as a tree, and one moment of its computation at a time.

The words are those of the page. Nothing here prints, and no `.grad` is read or changed: the command
line shows `screen(stepper, …)` and hands what the reader types to `stepper.ask`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import cached_property
from itertools import accumulate
from textwrap import wrap
from typing import Any, NamedTuple
from unicodedata import east_asian_width

from microgradx.causes import made_at, name_of, show
from microgradx.engine import Edge, Value
from microgradx.explain import Explanation
from microgradx.flow import Flow
from microgradx.markup import count, short
from microgradx.paths import partner
from microgradx.timeline import Moment, Timeline
from microgradx.wide import Wide, times

# --- text in a terminal ---------------------------------------------------------------------------


def clean(text: str) -> str:
    """Text in one line, whose escape sequences and line ends are harmless."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def called(node: Value) -> str:
    """The name of a node, harmless."""
    return clean(name_of(node))


def width(text: str) -> int:
    """How many columns a text takes."""
    return len(text) if text.isascii() else sum(1 + (east_asian_width(c) in "WF") for c in text)


def clip(text: str, room: int) -> str:
    """A text in so many columns: from too long a one, the middle is left out."""
    if width(text) <= room:
        return text
    tail = room // 3
    return f"{_start(text, room - 1 - tail)}…{_start(text[::-1], tail)[::-1]}"


def _start(text: str, room: int) -> str:
    ends = accumulate(map(width, text))
    return "".join(c for c, end in zip(text, ends) if end <= room)


def pad(text: str, room: int) -> str:
    """A text in exactly so many columns."""
    text = clip(text, room)
    return text + " " * (room - width(text))


def wrapped(text: str, columns: int) -> list[str]:
    """Lines of text, indented as all is beside the tree's mark."""
    spread = "".join(c + "\0" * (width(c) - 1) for c in clean(text))  # two columns count as two
    lines = wrap(spread, columns - 2, subsequent_indent="    ", break_on_hyphens=False)
    return ["  " + line.replace("\0", "") for line in lines]


def digits(x: float) -> str:
    """A number in three digits, -0 as 0."""
    return short(x + 0.0)


def term(x: float) -> str:
    """A number as it stands after a sign."""
    return f"({digits(x)})" if digits(x).startswith("-") else digits(x)


def bracketed(node: Value) -> str:
    """A name as a part of something longer."""
    return f"({called(node)})" if " " in called(node) else called(node)


# --- one moment in words --------------------------------------------------------------------------


def made(node: Value) -> list[tuple[str, str]]:
    """How a value came about: numbers and signs, and the names that stand below them."""
    end = [("=", ""), (digits(node.data), called(node))]
    if node.rule is None:
        return end[1:]
    data = [x.data if isinstance(x, Value) else x for x, _ in node.arguments]
    names = [_operand(x) for x, _ in node.arguments]
    sign = (node.rule.label, "")
    if node.rule.operator and len(data) == 2:
        return [(digits(data[0]), names[0]), sign, (term(data[1]), names[1]), *end]
    numbers = [(term(x) if node.rule.operator else digits(x), y) for x, y in zip(data, names)]
    if len(numbers) > 5:
        numbers[4:] = [("…", f"{len(data) - 4} more")]
    return [sign if node.rule.operator else (node.op, ""), *numbers, *end]


def _operand(x: Any) -> str:
    return called(x) if isinstance(x, Value) else digits(x)


def formula(edge: Edge) -> str:
    """The rule's own mathematics on this edge, ∂ by which operand and what that is."""
    node, rule, which, number = edge.node, edge.node.rule, edge.position, digits(edge.partial)
    assert rule is not None
    if rule.rows:
        which = min(which // (len(node.arguments) // rule.rows), len(rule.operands) - 1)
    written = rule.partials[which] if which < len(rule.partials) else number
    where = [f"{x} = {_operand(y)}" for x, (y, _) in zip(rule.operands, node.arguments)]
    if rule.rows:
        other = partner(node.arguments, edge.position) if rule.kind == "product" else None
        where = [] if other is None else [f"{written} = {_operand(other)}"]
    by = f"{rule.name}: {rule.__doc__}  ⇒  ∂/∂{rule.operands[which]} = {written}"
    by += f" = {number}" if written != number else ""
    return f"{by}, where {', '.join(where)}" if where else by


def product(moment: Moment) -> str:
    """The multiplication of a moment: upstream × local = contribution."""
    assert moment.edge is not None
    factors = f"{digits(moment.adjoint)} × {term(moment.edge.partial)}"
    return f"{factors} = {digits(moment.contribution)}"


def addition(moment: Moment, final: bool) -> str:
    """What the contribution is added to, and whether the gradient stops."""
    assert moment.edge is not None
    total = f"{digits(moment.before)} + {term(moment.contribution)} = {digits(moment.after)}"
    said = f"{bracketed(moment.edge.input)}.grad: {total}"
    said += ", which is final" if final else ", more to come"
    return said + (". STOP: nothing gets through" if moment.stops else "")


def sweep(output: Value, columns: int) -> Iterator[str]:
    """The whole computation, a few lines an edge, for where there is nobody to ask."""
    timeline = Timeline(output)
    nodes, edges = timeline.turn, len(timeline.moments) - timeline.turn - 1
    title = f"{count(nodes, 'value')}, then {count(edges, 'edge')}"
    yield clip(f"Backpropagation through {called(output)}: {title}", columns)
    for i, moment in enumerate(timeline.moments):
        if i in (0, timeline.turn):
            yield ""
        for line in _told(moment, i < timeline.turn, timeline):
            yield clip(line, columns)


def _told(moment: Moment, forward: bool, timeline: Timeline) -> list[str]:
    node, edge = moment.node, moment.edge
    if forward:
        equation = " ".join(text for text, _ in made(node))
        return [f"{called(node)}: {equation}" if node.rule else f"{called(node)} = {equation}"]
    if edge is None:
        return [f"{bracketed(node)}.grad = 1, where the sweep starts"]
    final = timeline.moments[timeline.final[edge.input]] is moment
    arrow = f"{called(node)} → {called(edge.input)}"
    return [f"{arrow}: {product(moment)}", f"    {addition(moment, final)}"]


# --- the walk -------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A line of the tree: a node, and the edge it is reached by.

    parent: the line of the edge's node; depth: how many edges below the output
    last:   whether no other input of that node follows
    again:  whether the node is listed further up already, with what it was made of
    """

    node: Value
    edge: Edge | None
    parent: int
    depth: int
    last: bool
    again: bool


def tree(output: Value) -> list[Line]:
    """The graph as an indented list, from the output down to the leaves, a line for each edge."""
    lines: list[Line] = []
    listed: set[Value] = set()
    todo = [Line(output, None, -1, 0, True, False)]
    while todo:
        line = todo.pop()
        node, here = line.node, len(lines)
        lines.append(line._replace(again=node in listed))
        edges = () if node in listed else node.edges
        listed.add(node)
        below = [Line(e.input, e, here, line.depth + 1, e is edges[-1], False) for e in edges]
        todo.extend(reversed(below))
    return lines


def subject(moment: Moment) -> Value:
    """The node whose value appears at a moment, or whose grad grows."""
    return moment.edge.input if moment.edge else moment.node


COMMANDS = {
    "n": "next", "b": "back", "s": "stop", "j": "jump", "w": "why", "t": "turn", "g": "first",
    "G": "last", "h": "help", "q": "quit",
}  # fmt: skip


class Stepper:
    """A walk through the moments of `output`, of which number `now` is shown.

    said:   what was asked for, to be shown in place of the moment's multiplication
    notice: what else there is to say, in a line
    over:   whether the reader has had enough
    """

    def __init__(self, output: Value) -> None:
        self.output, self.timeline = output, Timeline(output)
        self.moments, self.end = self.timeline.moments, len(self.timeline.moments) - 1
        self.now, self.said, self.notice, self.over = 0, "", "", False
        self.tree = tree(output)
        self.born = {moment.node: i for i, moment in enumerate(self.moments[: self.timeline.turn])}
        self._lines: dict[Any, int] = {}  # of the tree: by node, and by node and position
        for i, line in enumerate(self.tree):
            self._lines.setdefault(line.node, i)
            if line.edge:
                self._lines[line.edge.node, line.edge.position] = i
        self._when: dict[tuple[Value, int], int] = {}  # the moment of each edge
        self._arrivals: dict[Value, list[int]] = {output: [self.timeline.turn]}
        for i, moment in enumerate(self.moments):
            if moment.edge:
                self._when[moment.node, moment.edge.position] = i
                self._arrivals.setdefault(moment.edge.input, []).append(i)

    @property
    def moment(self) -> Moment:
        """What happens now."""
        return self.moments[self.now]

    @property
    def line(self) -> int:
        """The line of the tree that this moment is about."""
        edge = self.moment.edge
        return self._lines[(edge.node, edge.position) if edge else self.moment.node]

    def grad(self, node: Value) -> float | None:
        """The grad so far; None where nothing has arrived yet."""
        arrivals = self._arrivals[node]
        i = bisect_right(arrivals, self.now)
        return self.moments[arrivals[i - 1]].after if i else None

    def stopped_at(self, edge: Edge) -> bool:
        """Whether the gradient has come to this edge, and stopped."""
        when = self._when[edge.node, edge.position]
        return when <= self.now and self.moments[when].stops

    # --- what can be asked --------------------------------------------------------------------

    def ask(self, text: str) -> None:
        """Do what the reader typed: a command's letter or its name; nothing is `next`."""
        word, _, rest = text.strip().partition(" ")
        self.said = self.notice = ""
        word = word or "next"
        name = COMMANDS.get(word, COMMANDS.get(word.lower(), word.lower()))
        if name in COMMANDS.values():
            getattr(self, name)(rest.strip())
        else:
            self.notice = f"no command {clean(word)}; there are {', '.join(COMMANDS.values())}"

    def next(self, _: str = "") -> None:
        """on by one moment; Enter alone does it too"""
        if self.now == self.end:
            self.notice = "this is the end: every grad is final"
        self.now = min(self.now + 1, self.end)

    def back(self, _: str = "") -> None:
        """back by one moment"""
        if not self.now:
            self.notice = "this is the beginning"
        self.now = max(self.now - 1, 0)

    def stop(self, _: str = "") -> None:
        """run to the next edge at which the gradient stops"""
        found = self.timeline.next_stop(self.now)
        if found is None:
            self.notice = "after this the gradient stops nowhere"
        else:
            self.now = found

    def jump(self, label: str = "") -> None:
        """jump LABEL: to where that node's grad is final; again, the next one"""
        found = self._named(label)
        if found:
            self.now = next((i for i in found if i > self.now), found[0])
        if len(found) > 1:
            self.notice = f"there are {len(found):,} of that name; jump again for the next"

    def why(self, label: str = "") -> None:
        """why this gradient is what it is; why LABEL, another's"""
        found = self._named(label) if label else [self.now]
        if found:
            node = subject(self.moments[found[0]])
            self.said = str(Explanation(self.flow.paths, self.flow.limits, node, compare=False))

    def turn(self, _: str = "") -> None:
        """to where the backward sweep starts"""
        self.now = self.timeline.turn

    def first(self, _: str = "") -> None:
        """to the first value"""
        self.now = 0

    def last(self, _: str = "") -> None:
        """to the end, where every grad is final"""
        self.now = self.end

    def help(self, _: str = "") -> None:
        """this list"""
        lines = [f"{k}, {name:6} {getattr(self, name).__doc__}" for k, name in COMMANDS.items()]
        self.said = "\n".join(lines)

    def quit(self, _: str = "") -> None:
        """that was all; Ctrl-D and Ctrl-C do it too"""
        self.over = True

    def _named(self, label: str) -> list[int]:
        """The moments when the nodes of this name become final; a notice where there are none."""
        label, final = clean(label), self.timeline.final
        found = sorted(i for node, i in final.items() if called(node) == label)
        if not found:
            nodes = sorted(self.timeline.nodes, key=lambda node: not node.label)
            names = list(dict.fromkeys(map(called, nodes)))
            close = get_close_matches(label, names, 5, 0.4)
            there = ", ".join(close or names[:5]) + ("" if close or len(names) < 6 else ", …")
            what = f"no node is called {label}" if label else "jump where?"
            self.notice = f"{what}; {'the closest are' if close else 'there are'} {there}"
        return found

    # --- what takes a flow, which takes a while in a large graph --------------------------------

    @cached_property
    def flow(self) -> Flow:
        """The paths of the graph."""
        return Flow(self.output)

    @cached_property
    def products(self) -> list[Wide]:
        """For each node, in order, the product of the local derivatives on its strongest path."""
        paths, found = self.flow.paths, [Wide(1.0, 0)]
        for e in paths.via[1:]:
            found.append(times(paths.partials[e], *found[paths.heads[e]]))
        return found

    def path_through(self, edge: Edge) -> tuple[list[Edge], Wide]:
        """The strongest path from the output through `edge`: its last five edges, its product."""
        paths = self.flow.paths
        found, i = [edge], paths.index[edge.node]
        value = times(edge.partial, *self.products[i])
        while paths.via[i] >= 0 and len(found) < 5:
            found.append(paths.edge(paths.via[i]))
            i = paths.heads[paths.via[i]]
        return found[::-1], value


# --- the screen -----------------------------------------------------------------------------------

Paint = Callable[[str, str], str]
Row = tuple[str, str]  # a line of the screen, and its style

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
    panel = _said(stepper, columns) if stepper.said else _panel(stepper, columns)
    panel += [("", "")] * (PANEL - len(panel))
    keys = KEYS if len(KEYS) <= columns else FEW_KEYS
    foot = [(x, "") for x in wrapped(stepper.notice, columns)] or [(keys, "soft")]
    height = max(rows - len(panel) - len(foot) - 3, LEAST)
    shown = [*_tree(stepper, columns, height), ("", ""), *panel, *foot]
    return "\n".join(paint(clip(clean(text).rstrip(), columns), style) for text, style in shown)


def _said(stepper: Stepper, columns: int) -> list[Row]:
    """An explanation, or the help, each of its lines wrapped anew."""
    lines = stepper.said.replace("\n    ", " ").split("\n")
    return [(row, "") for line in lines for row in wrapped(line, columns)] + [("", "")]


def _panel(stepper: Stepper, columns: int) -> list[Row]:
    """What happens at this moment: the numbers, the mathematics, and what it leads to."""
    moment, node = stepper.moment, stepper.moment.node
    if moment.edge is not None:
        return _edge_panel(stepper, moment, moment.edge, columns)
    if stepper.now == stepper.timeline.turn:
        cells = [("1", f"∂{bracketed(node)}/∂{bracketed(node)}")]
        caption = "Backward: the sweep starts at the output"
        maths = f"What is asked of every node: how much does {called(node)} change with it?"
    else:
        cells = made(node)
        caption = f"Forward: the value of {called(node)}{made_at(node)}"
        rule = node.rule
        maths = f"{rule.name}: {rule.__doc__}" if rule else "a leaf: it was given, not computed"
    return [*_equation(caption, cells, columns), *((x, "") for x in wrapped(maths, columns))]


def _edge_panel(stepper: Stepper, moment: Moment, edge: Edge, columns: int) -> list[Row]:
    out, head, tail = map(bracketed, (stepper.output, edge.node, edge.input))
    cells = [
        (digits(moment.adjoint), "upstream", f"∂{out}/∂{head}"), ("×", "", ""),
        (digits(edge.partial), "local", f"∂{head}/∂{tail}"), ("=", "", ""),
        (digits(moment.contribution), "contribution", f"to ∂{out}/∂{tail}"),
    ]  # fmt: skip
    ends = called(edge.node), called(edge.input)
    caption = f"Backward: from {' to '.join(ends)}, through {edge.node.op}{made_at(edge.node)}"
    total = addition(moment, stepper.timeline.final[edge.input] == stepper.now)
    return [
        *_equation(caption, cells, columns),
        *((x, "") for x in wrapped(formula(edge), columns)),
        *((x, "stop" if moment.stops else "sum") for x in wrapped(total, columns)),
        *((x, "soft") for x in wrapped(_path(stepper, edge), columns)),
    ]


def _path(stepper: Stepper, edge: Edge) -> str:
    """The product so far along the strongest path, from the output down to this edge."""
    edges, value = stepper.path_through(edge)
    links = " ".join(f"×{digits(e.partial)} {called(e.input)}" for e in edges)
    more = "" if edges[0].node is stepper.output else " …"
    number = digits(float(value)) if float(value) or not value.mantissa else show(value)
    return f"strongest path: 1 {called(stepper.output)}{more} {links} = {number}"


def _equation(caption: str, cells: list[Any], columns: int) -> list[Row]:
    """Numbers and signs beside each other, what they are below them, as wide as there is room."""
    for most in (60, 40, 30, 20, 14, 12, 8, 5):
        cut = [[clip(text, most) for text in cell] for cell in cells]
        widths = [max(map(width, cell)) for cell in cut]
        if sum(widths) + 2 * len(widths) <= columns:
            break
    lines = ["  ".join(pad(text, room) for text, room in zip(row, widths)) for row in zip(*cut)]
    head = [(x, "") for x in wrapped(caption, columns)]
    below = [(f"  {line}", "soft") for line in lines[1:]]
    return [*head, ("", ""), (f"  {lines[0]}", "now"), *below, ("", "")]


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
    levels, found = lines[i].depth - base, []
    if levels * 3 > room:
        return f"… {levels:,} levels in: "
    own = True
    while lines[i].depth > base:
        found.append(("└ " if own else "  ") if lines[i].last else ("├ " if own else "│ "))
        i, own = lines[i].parent, False
    return "".join(reversed(found))


def _title(line: Line) -> str:
    """A node's name and op; ↑ where it was listed above."""
    op = f"  {line.node.op}" if line.node.rule and line.node.label else ""
    return called(line.node) + op + ("  ↑" if line.again else "")


def _facts(stepper: Stepper, line: Line) -> tuple[str, ...]:
    """The columns of a line: its local derivative, its data, its grad, and whether that grows."""
    node, edge, born = line.node, line.edge, stepper.born
    if born[node] > stepper.now:
        return ("", "–", "", "")
    local = f"×{digits(edge.partial)}" if edge and born[edge.node] <= stepper.now else ""
    if edge and stepper.stopped_at(edge):
        local = f"STOP {local}"
    grad = stepper.grad(node)
    if grad is None:
        return (local, digits(node.data), "–" if stepper.now >= stepper.timeline.turn else "", "")
    so_far = "" if stepper.timeline.final[node] <= stepper.now else " so far"
    return (local, digits(node.data), digits(grad), so_far)


def _style(stepper: Stepper, i: int) -> str:
    node, edge = stepper.tree[i].node, stepper.tree[i].edge
    if edge and stepper.stopped_at(edge):
        return "stop"
    if i == stepper.line:
        return "now"
    return "soft" if stepper.born[node] > stepper.now else ""


def _cells(cells: tuple[str, ...], columns: int) -> str:
    """Numbers, each in its column; in a narrow terminal, data and grad alone."""
    local, data, grad, state = cells
    if columns < NARROW:
        return f" {data:>9} {grad:>9}"
    return f" {local:>10} {data:>9} {grad:>9}{state:7}"
