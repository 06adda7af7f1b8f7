"""W1: a random scalar graph of 10,000 ops, recorded and swept.

40 % add, 30 % mul, 15 % tanh, 15 % relu, operands drawn uniformly from all earlier nodes; the loss
is the sum, by +, of the nodes that nothing reads. Both engines run the same list of ops. Freeing
the graph is not timed, for either. The peer has no tanh and is given one in its own idiom. Both run
in a thread where the peer's sweep can recurse; ours needs none, as W3 shows.
"""

import gc
import math
import random
import tracemalloc
from statistics import median
from typing import Any

import micrograd.engine

import microgradx.engine
from tests.bench.timing import Line, collector, deep, in_turns, speedup

LEAVES, OPS = 100, 10_000


def _tanh(self: Any) -> Any:
    t = math.tanh(self.data)
    out = micrograd.engine.Value(t, (self,), "tanh")

    def _backward() -> None:
        self.grad += (1 - t**2) * out.grad

    out._backward = _backward
    return out


micrograd.engine.Value.tanh = _tanh


def program(seed: int) -> tuple[list[float], list[tuple[str, int, int]], list[int]]:
    """The leaves' numbers, the ops as (name, operand, operand), and the nodes nothing reads."""
    rng = random.Random(seed)
    numbers = [rng.uniform(-0.5, 0.5) for _ in range(LEAVES)]
    names = rng.choices(["add", "mul", "tanh", "relu"], [40, 30, 15, 15], k=OPS)
    ops = [(name, rng.randrange(n), rng.randrange(n)) for n, name in enumerate(names, LEAVES)]
    read = {i for _, i, _ in ops} | {j for name, _, j in ops if name in ("add", "mul")}
    return numbers, ops, [n for n in range(LEAVES, LEAVES + OPS) if n not in read]


NUMBERS, PROGRAM, UNREAD = program(seed=0)
ADDED = len(PROGRAM) + len(UNREAD) - 1  # the sum's ops are ops too


def record(Value: Any) -> list[Any]:
    """The nodes of the graph in the order they were made; the last is the loss."""
    nodes = [Value(x) for x in NUMBERS]
    loss_of(nodes)
    return nodes


def loss_of(nodes: list[Any]) -> Any:
    """The loss that is made of the leaves `nodes`; all that is made goes into the list too."""
    for name, i, j in PROGRAM:
        x = nodes[i]
        if name == "add":
            nodes.append(x + nodes[j])
        elif name == "mul":
            nodes.append(x * nodes[j])
        elif name == "tanh":
            nodes.append(x.tanh())
        else:
            nodes.append(x.relu())
    loss = nodes[UNREAD[0]]
    for n in UNREAD[1:]:
        loss = loss + nodes[n]
    nodes.append(loss)
    return loss


def record_and_sweep(Value: Any) -> list[Any]:
    nodes = record(Value)
    nodes[-1].backward()
    return nodes


def ours() -> list[Any]:
    return record_and_sweep(microgradx.engine.Value)


def theirs() -> list[Any]:
    return record_and_sweep(micrograd.engine.Value)


def check() -> None:
    """Both give the same gradients, and numbers of ordinary size, so the same work is timed."""
    peers = deep(theirs)
    for ours_, theirs_ in zip(ours()[:LEAVES], peers[:LEAVES]):
        assert math.isclose(ours_.grad, theirs_.grad, rel_tol=1e-12, abs_tol=1e-12)
        assert abs(ours_.grad) < 1e9


def bytes_per_node(Value: Any) -> float:
    """The memory of a recorded graph, before any sweep, by node."""
    gc.collect()
    tracemalloc.start()
    nodes = record(Value)  # noqa: F841 -- because it is held while it is measured
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / (ADDED + LEAVES)


def lines() -> list[Line]:
    check()
    found = []
    for mode in ("on", "off"):
        with collector(mode):
            a, b = deep(lambda: in_turns(9, ours, theirs))
        figures = [f"{median(times) / ADDED * 1e9:.0f} ns/op" for times in (a, b)]
        target = 3 if mode == "on" else None
        found.append(
            Line(
                "W1 record and backward",
                mode,
                figures[0],
                "micrograd",
                figures[1],
                speedup(a, b),
                target,
            )
        )
    held = [bytes_per_node(engine.Value) for engine in (microgradx.engine, micrograd.engine)]
    figures = [f"{size:.0f} B/node" for size in held]
    found.append(Line("W1 memory", "", figures[0], "micrograd", figures[1], held[1] / held[0], 4))
    return found
