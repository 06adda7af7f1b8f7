"""W2, W5 and W7 replayed: generated NumPy code beside NumPy, PyTorch and JAX.

W2 is micrograd's demo: 100 points of two moons, MLP 2-16-16-1, hinge loss, L2 with alpha 1e-4, SGD,
f64. W5 is softmax cross-entropy on random data, plain SGD, f64 and f32. `peers` names the exact
form of each peer's code. All start from the same weights, and the losses, gradients and parameters
of 20 steps are checked to be the same before anything is timed. In a turn each peer does a block
of steps of about 20 ms; a ratio is the median over the turns, each ratio from one turn. W7 is a net
over 10,000 rows: the path sums of what is computed, in every row, and of all parameters over them;
and check-ups. W8 is a cell of a study: a net that is recorded once, and drawn again and again.
W9 is a training that is watched.

`python -m tests.bench.replayed` prints these lines alone.
"""

import gc
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

from tests.bench import peers  # first: it pins the threads before NumPy is imported
from tests.bench.peers import Array, Peer, Task, random_task
from tests.bench.timing import Line, collector, in_turns, speedup

# isort: split
import numpy as np

from microgradx import dot, nn, optim
from microgradx.diagnosis import checkup
from microgradx.engine import Value, order
from microgradx.replay import lift, record
from microgradx.train import fit
from tests.bench import moons, random_graph

TURNS, BLOCK = 9, 0.02
MOONS = "W2 moons"
LARGER = {
    "64-64-64-10": ([64, 64, 64, 10], 256),
    "784-128-10": ([784, 128, 10], 64),
    "784-512-512-10": ([784, 512, 512, 10], 64),
}
TARGETS = {  # work, dtype, peer: the least ratio, or the largest part of the peer's time
    (MOONS, "float64", "buffers"): 1.1,
    (MOONS, "float64", "NumPy"): 0.6,
    (MOONS, "float64", "torch"): 8,
    (MOONS, "float64", "torch lean"): 5,
    (MOONS, "float64", "JAX jit"): 1.5,
    **{
        (f"W5 {name}", dtype, peer): target
        for name in ("64-64-64-10", "784-128-10")
        for dtype, lean in (("float64", 1.2), ("float32", 1.6))
        for peer, target in (("torch lean", lean), ("JAX jit", 1))
    },
    **{
        (f"W5 {name}", dtype, "buffers"): 1.1 for name in LARGER for dtype in ("float64", "float32")
    },
    **{("W5 784-512-512-10", dtype, "JAX jit"): 1 for dtype in ("float64", "float32")},
}


class Ours:
    """The scalar graph of one sample, recorded; a batch loaded with a rate; then `descend`.

    The labels are inputs as the points are: -1 or +1, or a row of zeros with a one. The loss, with
    its penalty, and the whole gradient are there after each step.
    """

    decays = False

    def __init__(self, task: Task) -> None:
        sizes = [len(layer) for layer in task.weights]
        self.model = nn.MLP(task.xs.shape[1], sizes, seed=0)
        for layer, rows in zip(self.model.layers, task.weights):
            for neuron, row in zip(layer.neurons, rows.tolist()):
                for p, x in zip((*neuron.weight, neuron.bias), row):
                    p.data = x
        parameters = self.model.parameters()

        def hinge(x: Any, y: Any) -> Value:
            loss: Value = nn.hinge_loss(self.model(x), y) + task.alpha * dot(parameters, parameters)
            return loss

        def cross_entropy(x: Any, target: Any) -> Value:
            return nn.cross_entropy(self.model(x), target)

        is_hinge = task.loss == "hinge"
        fn = hinge if is_hinge else cross_entropy
        targets = task.ys if is_hinge else np.eye(sizes[-1])[task.ys]
        self.replay = record(fn, task.xs[0], targets[0], dtype=task.dtype)
        self.replay.load(task.xs, targets, rate=task.rate)
        neurons = [neuron for layer in self.model.layers for neuron in layer.neurons]
        order = {p: k for k, p in enumerate(self.replay.parameters)}
        self.order = [order[p] for neuron in neurons for p in (*neuron.weight, neuron.bias)]

    def step(self) -> None:
        self.loss = self.replay.descend()

    def gradient(self) -> Array:
        return self.replay.gradient[self.order]

    def parameters(self) -> Array:
        return self.replay.data[self.order]


def moons_task(dtype: str = "float64") -> Task:
    weights = [np.array(layer) for layer in moons.Ours().weights()]
    xs, ys = np.array(moons.X), np.array(moons.Y)
    return Task(xs, ys, weights, "hinge", moons.RATE, moons.ALPHA, dtype)


def tasks() -> dict[tuple[str, str], Task]:
    found = {(MOONS, "float64"): moons_task()}
    for name, (sizes, batch) in LARGER.items():
        for dtype in ("float64", "float32"):
            found[f"W5 {name}", dtype] = random_task(sizes, batch, dtype)
    return found


def made(work: str, task: Task) -> dict[str, Peer]:
    """The peers of one work, by the names they have in the table."""
    first = "out" if task.dtype == "float64" else "in"  # the faster, measured
    found: dict[str, Peer] = {"buffers": peers.Buffers(task, first)}
    if work == MOONS:
        found["NumPy"] = peers.Ordinary(task)
    found |= {"torch": peers.Torch(task), "torch lean": peers.TorchLean(task)}
    return found | {"JAX jit": peers.Jax(task)}


def check(task: Task, works: dict[str, Peer]) -> None:
    """Over some steps all have the same losses, gradients and parameters.

    Few in f32: later a ReLU near 0 is on with one peer, and off with another.
    """
    steps = 20 if task.dtype == "float64" else 5
    close = 1e-10 if task.dtype == "float64" else 1e-3
    losses = []
    for _ in range(steps):
        found = []
        for peer in works.values():
            before = peer.parameters()
            peer.step()
            decay = task.alpha * before.dot(before) if peer.decays else 0.0
            loss = np.array([float(peer.loss) + decay])
            after, gradient = peer.parameters(), peer.gradient()
            if gradient is None:
                gradient = (before - after) / task.rate
            found.append((loss, gradient, after))
        first, *others = found
        losses.append(first[0])
        for name, other in zip(list(works)[1:], others):
            for wanted, is_ in zip(first, other, strict=True):
                widest = np.abs(wanted).max()
                np.testing.assert_allclose(is_, wanted, close, close * widest, err_msg=name)
    assert losses[-1] < losses[0], losses


def times(works: dict[str, Peer], turns: int = TURNS) -> dict[str, list[float]]:
    """For each peer the seconds of a step, turn by turn."""
    counts, blocks = [], []
    for peer in works.values():
        peer.step()  # may compile
        start = perf_counter()
        repeat(peer.step, 20)
        counts.append(max(1, round(BLOCK * 20 / (perf_counter() - start))))
        blocks.append(partial(repeat, peer.step, counts[-1]))
    with collector("on"):
        found = in_turns(turns, *blocks)
    return {name: [t / n for t in ts] for name, ts, n in zip(works, found, counts)}


def repeat(step: Callable[[], None], count: int) -> None:
    for _ in range(count):
        step()


def micro(found: list[float]) -> str:
    return f"{median(found) * 1e6:.3g} µs"


def called() -> Line:
    """The demo's `replay(x, y)`, with all its checks, beside a step of NumPy with buffers."""
    task = moons_task()
    ours, buffers = Ours(task), peers.Buffers(task, "out")
    call = partial(ours.replay, task.xs, task.ys)
    with collector("on"):
        mine, theirs = in_turns(25, partial(repeat, call, 400), partial(repeat, buffers.step, 400))
    figures = [micro([t / 400 for t in ts]) for ts in (mine, theirs)]
    return Line(
        "W2 a call, with its checks", "on", figures[0], "buffers", figures[1],
        speedup(theirs, mine), 1.25, at_most=True,
    )  # fmt: skip


def irregular() -> Line:
    """W1's graph, its first leaves as inputs: a batch of 256 beside as many eager runs of it."""
    split, batch = random_graph.LEAVES // 2, 256
    weights = [Value(x) for x in random_graph.NUMBERS[split:]]

    def fn(x: list[Value]) -> Value:
        return random_graph.loss_of([*x, *weights])

    replay = record(fn, random_graph.NUMBERS[:split])
    xs = np.random.default_rng(0).uniform(-0.5, 0.5, (batch, split))
    eager = fn([Value(x) for x in xs[0].tolist()])
    assert np.isclose(replay.forward(xs)[0], eager.data, rtol=1e-12, atol=0)
    with collector("off"):
        theirs, mine = in_turns(
            TURNS, lambda: fn([Value(x) for x in xs[0].tolist()]).backward(), lambda: replay(xs)
        )
    mine = [t / batch for t in mine]
    figures = [micro(mine), "eager", micro(theirs)]
    return Line("W1 replayed, batch 256, a sample", "off", *figures, speedup(mine, theirs), 20)


def unrolled() -> Line:
    """W2's graph of all 100 points, written in plain loops: recorded and lifted, once."""
    weights = [[[Value(x) for x in row] for row in layer] for layer in moons.Ours().weights()]

    def neuron(row: list[Value], xs: list[Any]) -> Value:
        z = row[-1]
        for w, x in zip(row, xs):
            z = z + w * x
        return z

    def loss() -> Value:
        total = penalty = Value(0.0)
        for x, y in zip(moons.X, moons.Y):
            h: list[Any] = x
            for layer in weights[:-1]:
                h = [neuron(row, h).relu() for row in layer]
            total = total + (1.0 + -y * neuron(weights[-1][0], h)).relu()
        for p in (p for layer in weights for row in layer for p in row):
            penalty = penalty + p * p
        return total * (1.0 / len(moons.X)) + moons.ALPHA * penalty

    graph = loss()
    replay = lift(graph)
    replay()
    graph.backward()
    pairs = zip(replay.parameters, replay.gradient.tolist())
    worst = max(abs(p.grad - g) for p, g in pairs)
    assert worst < 1e-15 and len(replay._arrays.products) == 4, worst
    with collector("on"):
        [mine] = in_turns(TURNS, lambda: lift(loss()))
    each, nodes = median(mine), len(order(graph))
    work = f"W2 record and lift {nodes:,} nodes"
    return Line(work, "on", f"{each:.2f} s", "", "", each, 0.3, "s", at_most=True)


def every_row() -> Iterator[Line]:
    """W7: 784-128-64-10 is recorded; then its path sums, 1,000 rows a time, beside a gradient."""
    import torch

    rng, rows = np.random.default_rng(0), 10_000
    X, y = rng.normal(size=(rows, 784)), rng.integers(0, 10, rows)
    Y = np.eye(10)[y]
    model = nn.MLP(784, [128, 64, 10], seed=0)
    linear = [torch.nn.Linear(*sizes).double() for sizes in ((784, 128), (128, 64), (64, 10))]
    for layer, own in zip(linear, model.layers):
        state = own.state_dict()
        layer.load_state_dict({name: torch.tensor(x) for name, x in state.items()})
    relu = torch.nn.ReLU()
    net = torch.nn.Sequential(linear[0], relu, linear[1], relu, linear[2])
    inputs, classes = torch.tensor(X), torch.tensor(y)

    def recorded() -> Any:
        return record(lambda x, target: nn.cross_entropy(model(x), target), X[0], Y[0])

    with collector("on"):
        [times] = in_turns(3, recorded)
    replay, each = recorded(), median(times) / len(model.parameters())
    yield Line(
        "W7 record 784-128-64-10, a parameter", "on", f"{each * 1e6:.1f} µs", "", "",
        each * 1e6, 10, "µs", at_most=True,
    )  # fmt: skip

    def sums() -> float:
        total = 0.0
        for start in range(0, rows, 1000):
            batch = slice(start, start + 1000)
            total += replay(X[batch], Y[batch]) / 10
            found = replay.sums()
            found.totals()
            for array in found.arrays():
                if array.op:  # not of inputs
                    array.flows.budget  # noqa: B018
        return total

    def gradient() -> float:
        net.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(inputs), classes)
        loss.backward()
        return float(loss.detach())

    assert abs(sums() - gradient()) < 1e-9
    with collector("on"):
        mine, theirs = in_turns(3, sums, gradient)
    yield Line(
        "W7 path sums of 10,000 rows", "on", f"{median(mine):.2f} s", "PyTorch",
        f"{median(theirs):.2f} s", speedup(theirs, mine), 10, at_most=True,
    )  # fmt: skip

    def checked() -> Any:
        return checkup(model, X, y, loss="cross_entropy")

    with collector("on"):
        whole, alone, theirs = in_turns(3, checked, recorded, gradient)
    mine = [one - other for one, other in zip(whole, alone)]
    yield Line(
        "W7 check-up of 10,000 rows, once it is recorded", "on", f"{median(mine):.2f} s", "PyTorch",
        f"{median(theirs):.2f} s", speedup(theirs, mine), 10, at_most=True,
    )  # fmt: skip


def planted() -> Iterator[Line]:
    """W7: 64-64-64-10 with dead, saturated and small layers, on 1,800 rows: all of a check-up."""
    rng = np.random.default_rng(0)
    X, y = rng.random((1800, 64)), rng.integers(0, 10, 1800)
    model = nn.MLP(64, [64, 64, 10], seed=0)
    for neuron in model.layers[1].neurons:
        neuron.activation = Value.sigmoid
    for scale, layer in zip((1.0, 50.0, 1e-3), model.layers):
        for p in (p for neuron in layer.neurons for p in neuron.weight):
            p.data *= scale
    for neuron in model.layers[0].neurons[:14]:
        neuron.bias.data = -20.0

    def loss(x: Any, target: Any) -> Value:
        return nn.cross_entropy(model(x), target)

    with collector("on"):
        whole, alone = in_turns(
            5, lambda: checkup(model, X, y), lambda: record(loss, X[0], np.eye(10)[y[0]])
        )
    yield Line(
        "W7 check-up of the planted net, all of it", "on", f"{median(whole):.2f} s", "record",
        f"{median(alone):.2f} s", speedup(alone, whole), 3, at_most=True,
    )  # fmt: skip


def drawn() -> Line:
    """W8: a tanh net of 8 layers of 32 is recorded; then 100 draws of weights, a gradient each."""
    rng, x = np.random.default_rng(0), np.random.default_rng(1).normal(size=(1, 32))
    model = nn.MLP(32, [32] * 8 + [1], "tanh", seed=0)

    def recorded() -> Any:
        return record(lambda x: model(x), x[0])

    replay = recorded()
    replay.load(x)

    def draws() -> None:
        for _ in range(100):
            replay.data = rng.normal(size=replay.data.size) / np.sqrt(32)
            replay.run()

    draws()
    for p, value in zip(replay.parameters, replay.data.tolist()):
        p.data = value
    loss = model(x[0])
    loss.backward()
    worst = max(abs(p.grad - g) for p, g in zip(replay.parameters, replay.gradient.tolist()))
    assert worst < 1e-13, worst
    with collector("on"):
        mine, theirs = in_turns(TURNS, draws, recorded)
    figures = [f"{median(mine) * 1e3:.3g} ms", "record", f"{median(theirs) * 1e3:.3g} ms"]
    return Line("W8 100 draws of 8 layers of 32", "on", *figures, speedup(mine, theirs), 1)


def watched() -> Line:
    """W9: `fit` of 64-64-64-10, batch 64, with a watch of 100 rows after each step, and without."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1920, 64)), rng.integers(0, 10, 1920)
    models = [nn.MLP(64, [64, 64, 10], seed=0) for _ in range(2)]

    def trained(model: nn.MLP, watch: bool) -> None:
        fit(
            model, X, y, loss="cross_entropy", epochs=10, batch_size=64, seed=0, watch=watch,
            optimizer=optim.SGD(model.parameters(), lr=1e-3),
        )  # fmt: skip

    with collector("on"):
        mine, theirs = in_turns(
            3, lambda: trained(models[0], True), lambda: trained(models[1], False)
        )
    figures = [f"{median(mine):.2f} s", "unwatched", f"{median(theirs):.2f} s"]
    return Line("W9 300 steps of fit, each watched", "on", *figures, speedup(theirs, mine), None)


def lines() -> Iterator[Line]:
    yield called()
    yield irregular()
    yield unrolled()
    yield from every_row()
    yield from planted()
    yield drawn()
    yield watched()
    for (work, dtype), task in tasks().items():
        works = {"ours": Ours(task), **made(work, task)}
        check(task, works)
        theirs = times(works)
        mine = theirs.pop("ours")
        for peer, time in theirs.items():
            part = peer in ("buffers", "NumPy")  # of their time; the others are to be slower
            yield Line(
                f"{work}, {dtype}",
                "on",
                micro(mine),
                peer,
                micro(time),
                speedup(time, mine) if part else speedup(mine, time),
                TARGETS.get((work, dtype, peer)),
                at_most=part,
            )


if __name__ == "__main__":
    gc.freeze()  # what was imported is no work for the collector
    for line in lines():
        print(line, flush=True)
