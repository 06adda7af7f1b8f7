"""How a graph folds: which nodes a picture puts together in one box, from finest to coarsest."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import compress
from typing import Any, NamedTuple

from microgradx._base.text import name_of, names_parameter, place
from microgradx.engine import Value
from microgradx.explain.samples import role_of
from microgradx.pictures.graph import Graph

LEVELS = (8, 6, 4, 3, 2)  # boxes in a row, or a few more
STAGES = (24, 12, 6, 4)
EACH = 200  # nodes: of more, not all have room
LARGE = 20_000  # nodes: of more, a fold takes its time
LEAST = 4  # stages that say something
STEPS = 3  # times that the same neuron works: what there are to call a net recurrent

Name = Callable[[list[int]], str]

# From finest to coarsest; a picture takes the first that is below its limit.
FOLDS: list[tuple[str, Callable[[Value], Hashable]]] = [
    ("", lambda node: node),
    ("neuron", lambda node: place(node.label) if place(node.label)[0] else node),
    ("layer", lambda node: place(node.label)[0] or node),
    ("op", lambda node: place(node.label)[0] or (node.op,)),
    ("all", lambda node: None),
]


class Fold(NamedTuple):
    """What is put together: the nodes with one key.

    by:   in a word
    keys: of each node
    name: of a box, by what it holds
    """

    by: str
    keys: Sequence[Hashable]
    name: Name


def folds(graph: Graph, apart: set[int]) -> Iterator[Fold]:
    """The folds of a graph, from each node by itself to the coarsest.

    The same neuron at several depths makes steps of time; labels make neurons and layers; nodes
    that every path goes through make stages; and any graph has its levels, by depth.

    apart: the nodes that get boxes of their own
    """
    if len(graph.nodes) <= EACH:
        yield Fold("", range(len(graph.nodes)), lambda which: "")
    levels = LEVELS if len(graph.nodes) <= LARGE else LEVELS[2:]
    steps = _steps(graph)
    if steps:
        for most in levels:
            yield _bands(graph, "step", steps, most, apart)
    elif any(place(node.label)[0] for node in graph.nodes if node.rule):
        yield from _layers(graph)
    else:
        stages = _choke_points(graph)
        for most in STAGES if len(stages) >= LEAST else ():
            yield _bands(graph, "stage", stages, most, apart)
    for most in levels:
        yield _bands(graph, "level", range(1, max(graph.depths) + 1), most, apart)


# --- by depth -------------------------------------------------------------------------------------


def _bands(graph: Graph, by: str, starts: Sequence[int], most: int, apart: set[int]) -> Fold:
    """So many runs of depths at most, each a box, and a few more beside the nodes `apart`.

    starts: the depths at which a run may begin
    """
    # Above a node apart stands all that reads it, below what it reads.
    keep = {graph.depths[i] for i in apart if graph.nodes[i].rule}
    together = -(-(len(starts) + 1) // most)
    first = starts[:1] if by == "step" else []  # what comes after the last step
    begins = sorted({*first, *starts[together - 1 :: together], *keep})
    bands = [bisect_right(begins, depth) for depth in range(max(graph.depths) + 1)]
    keys: list[Hashable] = [bands[depth] for depth in graph.depths]
    for i, read in _reads(graph, keys, apart).items():
        keys[i] = min(read) if len(read) == 1 and read != {-1} else "leaves"
    call = {"step": _step_names, "stage": _stage_names, "level": _level_names}[by](graph, starts)

    def name(which: list[int]) -> str:
        if any(graph.nodes[i].rule for i in which):
            return call([i for i in which if graph.nodes[i].rule])
        named = all(names_parameter(graph.nodes[i].label) for i in which)
        return "parameters" if named else "leaves"

    return Fold(by, keys, name)


def _reads(graph: Graph, keys: Sequence[Any], apart: set[int]) -> dict[int, set[int]]:
    """Of each leaf the keys of what reads it, -1 for a node apart."""
    read: defaultdict[int, set[int]] = defaultdict(set)
    for j, i in graph.readers_of_leaves:
        read[i].add(-1 if j in apart else keys[j])
    return read


def _level_names(graph: Graph, starts: Sequence[int]) -> Name:
    """Levels are counted from the first op on."""
    deepest = max(graph.depths)

    def name(which: list[int]) -> str:
        return _from_to("level", [deepest - graph.depths[i] for i in which])

    return name


def _step_names(graph: Graph, starts: Sequence[int]) -> Name:
    """Steps are those of time; after the last the output is computed."""

    def name(which: list[int]) -> str:
        steps = [len(starts) + 1 - bisect_right(starts, graph.depths[i]) for i in which]
        within = [step for step in steps if step <= len(starts)]
        return _from_to("step", within) if within else f"after step {len(starts)}"

    return name


def _stage_names(graph: Graph, starts: Sequence[int]) -> Name:
    """A stage is called by its end, which all paths go through."""

    def name(which: list[int]) -> str:
        end = min(which, key=graph.depths.__getitem__)
        is_one = graph.depths[end] in [0, *starts]
        return f"up to {name_of(graph.nodes[end])}" if is_one else "within a stage"

    return name


def _from_to(word: str, numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{word} {low}" if low == high else f"{word}s {low} … {high}"


def _steps(graph: Graph) -> list[int]:
    """The depths at which the neuron works that works most often on one path, as in time."""
    depths: defaultdict[str, set[int]] = defaultdict(set)
    for node, depth in zip(graph.nodes, graph.depths):
        if node.label and node.rule and role_of(node.label).role == "y":
            depths[node.label].add(depth)
    most = max(depths.values(), key=len, default=set())
    return sorted(most) if len(most) >= STEPS else []


def _choke_points(graph: Graph) -> list[int]:
    """The depths of the nodes that every path from the deepest one goes through."""
    deepest = graph.depths.index(max(graph.depths))
    leads = bytearray(len(graph.nodes))  # to the deepest
    leads[deepest] = 1
    for j, i in zip(reversed(graph.heads), reversed(graph.tails)):
        if leads[i] and j < i:
            leads[j] = 1
    found: list[int] = []
    far = last = 0  # the last node that has been read so far; the last that reads
    for j, i in compress(zip(graph.heads, graph.tails), map(leads.__getitem__, graph.tails)):
        if j != last and j == far:
            found.append(graph.depths[j])
        last = j
        if i > far:
            far = i
    return found


# --- by label -------------------------------------------------------------------------------------


def _layers(graph: Graph) -> Iterator[Fold]:
    """Neurons, then layers, each model's its own; then what has no label, by op and depth."""
    models = _models(graph)
    places = [place(node.label) for node in graph.nodes]
    several = max(models) > 1

    def name(which: list[int]) -> str:
        layer = places[which[0]][0]
        if not layer:
            return graph.nodes[which[0]].op or "leaves"
        neuron = {places[i][1] for i in which}
        index = f"[{min(neuron)}]" if len(neuron) == 1 else ""
        model = models[which[0]]
        return layer + index + (f" of model {model}" if several and model else "")

    neurons: list[Hashable] = [(*at, models[i]) if at[0] else i for i, at in enumerate(places)]
    layers: list[Hashable] = [(at[0], models[i]) if at[0] else i for i, at in enumerate(places)]
    yield Fold("neuron", neurons, name)
    yield Fold("layer", layers, name)
    ops = [
        key if at[0] else (node.op, depth if node.rule else 0)
        for at, key, node, depth in zip(places, layers, graph.nodes, graph.depths)
    ]
    yield Fold("layer", ops, name)


def _models(graph: Graph) -> list[int]:
    """Which model each node belongs to, from 1, where parameters of several have one label.

    Nodes of layers that read one another are of one model. Inputs, `x[0]` in every sample, are of
    none, 0: no op is labelled as part of a layer x.
    """
    layers = {place(node.label)[0] for node in graph.nodes if node.rule} - {""}
    placed = [place(node.label)[0] in layers for node in graph.nodes]
    times = Counter(x.label for x, within in zip(graph.nodes, placed) if within and not x.rule)
    if max(times.values(), default=0) < 2:
        return [0] * len(graph.nodes)
    root = list(range(len(graph.nodes)))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = i = root[root[i]]
        return i

    for j, i in zip(graph.heads, graph.tails):
        if placed[i] and placed[j]:
            root[find(i)] = find(j)
    number: dict[int, int] = {}
    seen: Counter[str] = Counter()
    for i, node in enumerate(graph.nodes):
        if placed[i] and not node.rule:
            seen[node.label] += 1
            number.setdefault(find(i), seen[node.label])
    return [number.get(find(i), 0) for i in range(len(root))]
