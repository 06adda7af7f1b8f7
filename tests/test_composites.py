"""What is made of ops, against 50 digits: losses, norms, optimizers, and replays of them.

The references are the closed forms, of values and of gradients, in numbers that know what rounding
may do to them (`sized.py`): no error is above 4 ε A. Numbers are those of float32, so that one
reference serves both widths.
"""

import itertools
import random
from types import SimpleNamespace

import mpmath as mp
import numpy as np
import pytest

import microgradx as mx
from microgradx import nn
from microgradx.engine import Value
from microgradx.nn import BatchNorm, LayerNorm
from microgradx.optim import SGD, Adam
from microgradx.replay import lift, record
from tests import sized
from tests.replay.nets import values
from tests.sized import Sized, mean, share

DTYPES = ["float64", "float32"]


@pytest.fixture(autouse=True)
def fifty_digits():
    with mp.workdps(50):
        yield


def short(x):
    return float(np.float32(x))


# --- losses ---------------------------------------------------------------------------------------


def squared_error(zs, ts):
    ds = [Sized(z) - t for z, t in zip(zs, ts)]
    return mean([d * d for d in ds]), [2 * d / len(ds) for d in ds]


def hinge(zs, ts):
    margins = [1 - Sized(z) * t for z, t in zip(zs, ts)]
    on = [m.x > 0 for m in margins]
    return (
        mean([m if is_on else Sized(0) for m, is_on in zip(margins, on)]),
        [Sized(-t) / len(zs) if is_on else Sized(0) for t, is_on in zip(ts, on)],
    )


def binary_cross_entropy(zs, ts):
    rows = [(Sized(z), Sized(t), 1 - Sized(t)) for z, t in zip(zs, ts)]
    value = mean([t * sized.softplus(-z) + s * sized.softplus(z) for z, t, s in rows])
    return value, [(s * sized.sigmoid(z) - t * sized.sigmoid(-z)) / len(rows) for z, t, s in rows]


def surprise(zs, k):
    """-ln softmax(zs)[k] and its gradient, of sums that have no sign but one."""
    others = {j: sized.exp(Sized(z) - zs[k]) for j, z in enumerate(zs) if j != k}
    rest = sum(others.values(), Sized(0))
    shares = {j: e / (1 + rest) for j, e in others.items()}
    return sized.log1p(rest), [
        -sum(shares.values(), Sized(0)) if j == k else shares[j] for j in range(len(zs))
    ]


def cross_entropy(zs, ts, replayed=False):
    """Σ tⱼ · (ln Σ exp d - dⱼ), d the logits less the first: the sizes are those of these terms.

    A replay keeps no more digits of a small loss than 1 + loss has, nor of 1 - softmax.
    """
    ds = [Sized(z) - zs[0] for z in zs]
    peak = max(ds, key=lambda d: d.x)
    rest = sum([sized.exp(d - peak) for d in ds if d is not peak], Sized(0))
    above = sized.log(1 + rest) if replayed else sized.log1p(rest)
    soft = [sized.exp(d - peak) / (1 + rest) for d in ds]
    total = sum(map(Sized, ts), Sized(0))
    value = total * (peak + above) - sum([t * d for t, d in zip(ts, ds)], Sized(0))
    gradient = [total * p - t for t, p in zip(ts, soft)]
    others = sum([Sized(t) - total * p for t, p in zip(ts[1:], soft[1:])], Sized(0))
    if replayed:
        others = Sized(others.x, others.size + gradient[0].size, others.count + gradient[0].count)
    gradient[0] = others
    return value, gradient


def replayed(zs, ts):
    ts = [float(j == ts) for j in range(len(zs))] if isinstance(ts, int) else ts
    return cross_entropy(zs, ts, replayed=True)


def logits(dice, n):
    """Of a usual size, or confident, or far out; some share an offset."""
    scale, offset = dice.choice((1.0, 8.0, 40.0, 1000.0)), dice.choice((0.0, 0.0, 1e3, -1e6))
    return [short(dice.uniform(-scale, scale) + offset) for _ in range(n)]


HARD = [[1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 1000.0], [0.0, 0.0, 0.0], [-700.0, 0.0, 40.0],
        [88.0, -88.0, 17.0], [1e-30, -1e-30, 104.0], [1e8, 1e8, 1e8], [-745.0, 745.0, 1e-8],
        [3e7, -3e7, 1.0]]  # fmt: skip
PROBABILITIES = [0.0, 1.0, 0.5, short(1e-30), 1 - 2.0**-24, short(0.1), 2.0**-126]
LOSSES = {  # by name: ours, the closed form, the targets of n predictions
    "mse": (nn.mse_loss, squared_error, lambda dice, zs: [
        short(z + dice.choice((0.0, 1e-7 * z, 1.0, 1e4))) for z in zs]),
    "hinge": (nn.hinge_loss, hinge, lambda dice, zs: [dice.choice((-1.0, 1.0)) for _ in zs]),
    "binary_cross_entropy": (
        nn.binary_cross_entropy_with_logits, binary_cross_entropy,
        lambda dice, zs: [dice.choice(PROBABILITIES) for _ in zs]),
    "a class": (nn.cross_entropy, surprise, lambda dice, zs: dice.randrange(len(zs))),
    "classes": (nn.cross_entropy, cross_entropy, lambda dice, zs: [
        dice.choice(PROBABILITIES) for _ in zs]),
    "one-hot": (nn.cross_entropy, cross_entropy, lambda dice, zs: dice.choice(
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])),
}  # fmt: skip


def samples_of(name, n, exact):
    """Predictions, targets, and what loss and gradient are by the closed form `exact`."""
    dice, targets = random.Random(name), LOSSES[name][2]
    for zs in [*[[*map(short, zs)] for zs in HARD * 3], *[logits(dice, 3) for _ in range(n)]]:
        ts = targets(dice, zs)
        yield zs, ts, *exact(zs, ts)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_gradient(name, many):
    ours, exact, _ = LOSSES[name]
    for numbers, targets, value, gradient in samples_of(name, many(60, 3000), exact):
        zs = [Value(z) for z in numbers]
        loss = ours(zs, targets)
        loss.backward()
        assert share(loss.data, value) <= 1, (numbers, targets)
        assert share([z.grad for z in zs], gradient) <= 1, (numbers, targets)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_gradient_replayed(name, dtype, many):
    ours, exact, _ = LOSSES[name]
    exact = replayed if ours is nn.cross_entropy else exact
    zs, first = [Value(0.0) for _ in range(3)], next(samples_of(name, 0, exact))[1]
    replay = record(lambda x, y: ours([z + a for z, a in zip(zs, x)], y), [0.5, 0.25, 1.0], first,
                    parameters=zs, dtype=dtype)  # fmt: skip
    for numbers, targets, value, gradient in samples_of(name, many(60, 3000), exact):
        loss = replay([numbers], [targets])
        assert share(loss, value, dtype) <= 1, (numbers, targets)
        assert share(replay.gradient, gradient, dtype) <= 1, (numbers, targets)


# --- norms ----------------------------------------------------------------------------------------


def standardised(xs, eps):
    """(x - mean) / √(var + eps), and that root."""
    middle = mean(xs)
    centred = [x - middle for x in xs]
    root = sized.sqrt(mean([c * c for c in centred]) + eps)
    return [c / root for c in centred], root


def norm_and_gradient(xs, weights, biases, gs, eps):
    """One group of numbers that are normed together: outputs, ∂/∂x, ∂/∂weight, ∂/∂bias for g."""
    hats, root = standardised([*map(Sized, xs)], eps)
    ghs = [Sized(g) * w for g, w in zip(gs, weights)]
    level, tilt = mean(ghs), mean([gh * hat for gh, hat in zip(ghs, hats)])
    gx = [(gh - level - hat * tilt) / root for gh, hat in zip(ghs, hats)]
    ys = [hat * w + b for hat, w, b in zip(hats, weights, biases)]
    return ys, gx, [hat * g for hat, g in zip(hats, gs)], [Sized(g) for g in gs]


def groups(dtype):
    """Numbers to be normed together, and eps: usual ones, then what costs digits."""
    narrow, dice = dtype == "float32", random.Random(7)
    fit, ratios = (short, (1.0, 1e3)) if narrow else (float, (1.0, 1e3, 1e8, 1e12))
    for ratio, spread, eps in itertools.product(ratios, (1.0, 1e-3, 1e-12), (1e-5, 0.0)):
        yield [fit(spread * (ratio + dice.uniform(-1, 1))) for _ in range(4)], eps
    for xs in ([0.1] * 4, [0.0] * 4, [1e3, 1e3, 1e3, 1e3 + 2**-10], [1e-30, 2e-30, 0.0, 0.0]):
        yield [*map(fit, xs)], 1e-5
    yield [0.0, 0.0, 0.0, 1.0], 0.0
    yield [*map(fit, (1e15, -1e15, 1.0, 2.0))], 0.0


def normed(kind, xs, eps, weights, biases, gs):
    """Ours, xs as features of a sample, or one feature of a batch: outputs, leaves, Σ g y."""
    inputs = [Value(x) for x in xs]
    norm = LayerNorm(4, eps) if kind is LayerNorm else BatchNorm(1, eps)
    for p, x in zip([*norm.weight, *norm.bias], [*weights, *biases]):
        p.data = x
    ys = norm(inputs) if kind is LayerNorm else [y for [y] in norm([[x] for x in inputs])]
    return ys, [*inputs, *norm.weight, *norm.bias], mx.dot(gs, ys)


@pytest.mark.parametrize("dtype", ["eager", *DTYPES])
@pytest.mark.parametrize("kind", [LayerNorm, BatchNorm])
def test_a_norm_and_its_gradients(kind, dtype):
    gs, several = [1.0, -0.5, 2.0, 0.25], kind is LayerNorm
    weights, biases = ([0.5, -2.0, 1.5, 1.0], [1.0, 0.25, -1.0, 0.0]) if several else ([1.5], [0.5])
    for xs, eps in groups(dtype):
        ys, leaves, total = normed(kind, xs, eps, weights, biases, gs)
        exact_ys, *exact = norm_and_gradient(
            xs, weights * (1 if several else 4), biases * (1 if several else 4), gs, eps
        )
        if not several:
            exact[1:] = [[sum(parts, Sized(0))] for parts in exact[1:]]
        assert dtype != "eager" or share([y.data for y in ys], exact_ys) <= 1, (xs, eps)
        if dtype == "eager":
            total.backward()
            found = total.data, [x.grad for x in leaves]
        else:
            replay = lift(total, parameters=leaves, dtype=dtype)
            found = replay(), [replay.gradient[replay.parameters.index(x)] for x in leaves]
        width = "float64" if dtype == "eager" else dtype
        exact_total = sum([y * g for y, g in zip(exact_ys, gs)], Sized(0))
        assert share(found[0], exact_total, width) <= 1, (xs, eps)
        assert share(found[1], sum(exact, []), width) <= 1, (xs, eps)


# --- optimizers -----------------------------------------------------------------------------------


def sgd(p, gradients, lr, momentum=0.0, weight_decay=0.0):
    v = Sized(0)
    for g in gradients:
        v = v * momentum + (Sized(g) + p * weight_decay)
        p = p - v * lr
        yield p


def adam(p, gradients, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """As Kingma and Ba write it; what βᵗ loses is not to be seen in 1 - βᵗ."""
    m = v = Sized(0)
    (b1, b2), (s1, s2) = betas, [1 - mp.mpf(b) for b in betas]
    for t, g in enumerate(gradients, 1):
        g = Sized(g) + p * weight_decay
        m, v = m * b1 + g * s1, v * b2 + g * g * s2
        m_hat, v_hat = (x / (1 - mp.mpf(b) ** t) for x, b in ((m, b1), (v, b2)))
        p = p - m_hat * lr / (sized.sqrt(v_hat) + eps)
        yield p


OPTIMIZERS = [
    (SGD, sgd, {"lr": 0.1}), (SGD, sgd, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}),
    (Adam, adam, {"lr": 1e-3}), (Adam, adam, {"lr": 0.1, "betas": (0.0, 0.0)}),
    (Adam, adam, {"lr": 1e-2, "betas": (0.99, 0.9999), "weight_decay": 0.1, "eps": 1e-12}),
]  # fmt: skip
GRADIENTS = {
    "usual": lambda dice: dice.uniform(-2, 2),
    "tiny": lambda dice: 1e-200 * dice.uniform(-1, 1),
    "huge": lambda dice: 1e150 * dice.uniform(-1, 1),
    "near eps": lambda dice: dice.choice((1e-8, -1e-9, 0.0)),
    "of all sizes": lambda dice: dice.choice((-1, 1)) * 10 ** dice.uniform(-140, 140),
    "cancelling": lambda dice: dice.choice((1e6, -1e6, 1e-6)),
}


@pytest.mark.parametrize("array", [False, True], ids=["numbers", "arrays"])
@pytest.mark.parametrize("size", GRADIENTS)
@pytest.mark.parametrize("kind, exact, options", OPTIMIZERS)
def test_the_steps_of_an_optimizer(kind, exact, options, size, array):
    dice = random.Random(size)
    gradients = [GRADIENTS[size](dice) for _ in range(20)]
    p = Value(0.0)
    optimizer = kind([p], **options)
    if array:
        p, state = SimpleNamespace(data=np.array([0.0]), grad=None), {x: [0.0] for x in kind.kept}
    for g, expected in zip(gradients, exact(Sized(0.0), gradients, **options)):
        if array:
            p.grad = np.array([g])
            optimizer.move(np, [p], state)
        else:
            p.grad = g
            optimizer.step()
        assert share(p.data, [expected]) <= 1, gradients


# --- nets, replayed -------------------------------------------------------------------------------

ACTIVATIONS = ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "softplus", "gelu", "silu"]
LOSS_OF = {"tanh": (nn.mse_loss, 1), "relu": (nn.hinge_loss, 1)}  # and of all else cross-entropy


def net_of(activation, dice, scale):
    """A net, a batch for it, and the loss of a sample; all its numbers are those of float32."""
    loss, outputs = LOSS_OF.get(activation, (nn.cross_entropy, 3))
    model = nn.MLP(3, [4, 4, outputs], activation, seed=dice.randrange(1000))
    for p in model.parameters():
        p.data = short(p.data + dice.uniform(-0.1, 0.1))
    X = [[short(dice.uniform(-scale, scale)) for _ in range(3)] for _ in range(3)]
    Y = [1.0, -1.0, 1.0] if outputs == 1 else [[0.0, 1.0, 0.0], [0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]
    return model, X, Y, lambda x, y: loss(model(x), y)


def near_a_kink(output, numbers):
    """Whether rounding, that of float32 too, may put a number on the other side of a kink."""
    reach = 16 * 2.0**-23
    return any(
        node.rule.kinks and abs(numbers[node.inputs[0]].x) <= reach * numbers[node.inputs[0]].size
        for node in mx.engine.order(output)
        if node.rule and node.inputs and node.op in (*ACTIVATIONS, "abs")
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_net_and_its_gradient_eager_and_replayed(activation, many):
    dice, compared = random.Random(activation), 0
    far = 1.0 if activation == "gelu" else 30.0  # far out arrays do without digits (runtime.py)
    for scale in [0.1, 1.0, 1.0, far] * many(1, 50):
        model, X, Y, loss = net_of(activation, dice, scale)
        replays = {dtype: record(loss, X[0], Y[0], dtype=dtype) for dtype in DTYPES}
        total = mx.mean([loss(values(x), values(y)) for x, y in zip(X, Y)])
        total.backward()
        numbers, adjoints = sized.of_graph(total)
        if near_a_kink(total, numbers):
            continue
        assert share(total.data, numbers[total]) <= 1
        assert share([p.grad for p in model.parameters()],
                     [adjoints[p] for p in model.parameters()]) <= 1  # fmt: skip
        for dtype, replay in replays.items():
            assert share(replay(X, Y), numbers[total], dtype) <= 1, dtype
            exact = [adjoints[p] for p in replay.parameters]
            assert share(replay.gradient, exact, dtype) <= 1, dtype
        compared += 1
    assert compared >= 2
