"""Gradients of random graphs beside 50 digits, and beside PyTorch where that is installed.

The exact gradient is the sum over all paths, each of the real derivatives at the numbers that the
graph holds. The error allowed is 16 ε n A, with n the roundings on the longest path and A the sum
of the sizes of all paths: what adding n rounded numbers of those sizes may lose.
"""

import math
import random

import mpmath as mp
import pytest

from microgradx.engine import Value, apply, order, taken
from microgradx.rules import TABLE
from tests.operands import arity, grouped
from tests.test_accuracy import flat, in_fifty_digits

EPS = 2.0**-52
SMOOTH = {  # by row, where its operands may lie: away from kinks, poles and overflow
    "log": (0.1, 4.0), "sqrt": (0.1, 4.0), "pow": (0.2, 2.0), "div": (0.3, 3.0), "exp": (-3.0, 3.0),
}  # fmt: skip


def some_operand(dice, row, nodes):
    """A recent node, tamed where the op would overflow, or a number."""
    lo, hi = SMOOTH.get(row.name, (-3.0, 3.0))
    if dice.random() < 0.15:
        return dice.uniform(lo, hi)
    x = dice.choice(nodes[-12:])
    return x if lo <= x.data <= hi else Value(dice.uniform(lo, hi))


def random_graph(dice, size):
    """An output that depends on most of its `size` ops, every row of the table among them."""
    nodes = [Value(dice.uniform(-2.0, 2.0)) for _ in range(4)]
    for _ in range(size):
        row = dice.choice([*TABLE.values()])
        operands = [some_operand(dice, row, nodes) for _ in range(arity(row, 3))]
        if not any(isinstance(x, Value) for x in operands):
            operands[0] = nodes[-1].tanh() + 2.0
        nodes.append(apply(row, *grouped(row, operands, 3)))
    return apply(TABLE["sum"], nodes[-8:])


def exact_partials(node):
    """The real derivatives of a node by its inputs, at the floats that it was computed from."""
    operands = [[*map(data, x)] if isinstance(x, tuple) else data(x) for x in node.operands]
    _, *partials = in_fifty_digits(node.rule, tuple(operands))
    whole = [*flat(partials)]
    read = [*flat(node.operands)]
    pairs = [d for x, d in zip(read, whole) if isinstance(x, Value) and d is not None]
    return [mp.mpf(0) if d is None else mp.mpf(d) for d in pairs]


def data(x):
    return x.data if isinstance(x, Value) else x


def reference(output):
    """By node the exact gradient, the sum A of the sizes of all paths, and the longest path's n."""
    g, size, longest = {output: mp.mpf(1)}, {output: mp.mpf(1)}, {output: 1}
    for node in order(output):
        if node.rule is None or node not in g:
            continue
        several = len(node.inputs)
        for x, d, open in zip(node.inputs, exact_partials(node), taken(node)):
            if open is None:
                continue
            g[x] = g.get(x, 0) + d * g[node]
            size[x] = size.get(x, 0) + abs(d) * size[node]
            longest[x] = max(longest.get(x, 0), longest[node] + several + 4)
    return g, size, longest


def test_the_gradients_of_random_graphs_are_exact_but_for_rounding(many):
    dice, worst, compared = random.Random(14), 0.0, 0
    with mp.workdps(50):
        for _ in range(many(120, 10_000)):
            output = random_graph(dice, dice.randrange(5, 40))
            output.backward()
            g, size, longest = reference(output)
            for x, exact in g.items():
                allowed = 16 * EPS * longest[x] * size[x]
                error = abs(x.grad - exact)
                assert error <= allowed, (x, x.grad, exact)
                worst = max(worst, float(error / allowed) if allowed else 0.0)
                compared += 1
    assert compared > 1000 and 0.0 < worst < 1.0


TORCH = ["add", "mul", "neg", "div", "exp", "log", "sqrt", "sin", "cos", "relu", "sigmoid", "tanh",
         "softplus", "maximum", "minimum", "where", "logsumexp", "sum", "detach"]  # fmt: skip


def in_torch(torch, nodes):
    """The same nodes, in the order they were made, of PyTorch's ops; swept from the last."""
    leaves = [x for x in nodes if x.rule is None]
    made = {x: torch.tensor(x.data, dtype=torch.float64, requires_grad=True) for x in leaves}

    def tensor(x):
        return made[x] if isinstance(x, Value) else torch.tensor(x, dtype=torch.float64)

    for node in [x for x in nodes if x.rule]:
        xs = [[*map(tensor, x)] if isinstance(x, tuple) else tensor(x) for x in node.operands]
        made[node] = {
            "where": lambda c, x, y: torch.where(c > 0, x, y),
            "logsumexp": lambda xs: torch.logsumexp(torch.stack(xs), 0),
            "sum": lambda xs: torch.stack(xs).sum(),
            "softplus": lambda x: torch.nn.functional.softplus(x, threshold=1e9),
            "neg": lambda x: -x,
            "add": lambda x, y: x + y, "mul": lambda x, y: x * y, "div": lambda x, y: x / y,
            "detach": lambda x: x.detach(),
        }.get(node.op, getattr(torch, node.op, None))(*xs)  # fmt: skip
    made[nodes[-1]].backward()
    return made


@pytest.mark.slow
def test_the_gradients_of_random_graphs_are_pytorchs(many):
    torch = pytest.importorskip("torch")
    dice, compared = random.Random(15), 0
    rows = [TABLE[name] for name in TORCH if name != "detach"]
    for _ in range(many(50, 2_000)):
        leaves = [Value(dice.uniform(-2.0, 2.0)) for _ in range(4)]
        nodes = [*leaves]
        for _ in range(dice.randrange(5, 30)):
            row = dice.choice(rows)
            lo, hi = SMOOTH.get(row.name, (-3.0, 3.0))
            fit = [x for x in nodes if lo <= x.data <= hi]
            if fit:
                xs = [dice.choice(fit) for _ in range(arity(row, 3))]
                nodes.append(apply(row, *grouped(row, xs, 3)))
        output = apply(TABLE["sum"], nodes[-6:])
        output.backward()
        made = in_torch(torch, [*nodes, output])
        scale = max([abs(x.grad) for x in order(output)] + [1.0])
        for x in leaves:
            theirs = made[x].grad
            assert math.isclose(x.grad, 0.0 if theirs is None else float(theirs), rel_tol=1e-10,
                                abs_tol=1e-12 * scale), output  # fmt: skip
            compared += 1
    assert compared >= 200
