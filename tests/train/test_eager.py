"""`fit` beside the function itself: what a recording can't see ends in an error that says where."""

import math
import random

import numpy as np
import pytest

import microgradx as mx
from microgradx.engine import Value
from microgradx.replay import FrozenBranch
from microgradx.train.eager import Eager

XOR = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]


class Line(mx.nn.Module):
    """A model of one weight; `turn` makes of it, and of x, what it is to return."""

    def __init__(self, turn, w=2.0):
        self.w, self.turn = Value(w), turn

    def __call__(self, x):
        return self.turn(self.w, x[0])


def fitted(model, loss="mse", y=(1.0, -1.0, 0.5, 0.0), epochs=40, **more):
    sgd = mx.optim.SGD(model.parameters(), lr=0.05)
    return mx.fit(model, XOR[0], list(y), loss=loss, epochs=epochs, optimizer=sgd, **more)


def net():
    return mx.nn.MLP(2, [8, 1], activation="tanh", seed=0)


def test_a_number_that_is_worked_out_of_a_parameter_is_found_after_a_step():
    with pytest.raises(
        FrozenBranch, match=r"(before epoch 2|after epoch 1), near sample \d, the l"
    ):
        fitted(Line(lambda w, x: w * x + w.data))


def test_a_branch_on_a_parameter_alone_is_found_once_it_turns():
    line = Line(lambda w, x: w * x if w.data > 1.0 else w * x * 3.0)
    with pytest.raises(FrozenBranch, match=r"epoch \d+, near sample \d, the loss is .* recorded"):
        fitted(line)
    assert line.w.data < 1.0  # that of the last complete step


@pytest.mark.parametrize("infinite", [math.nan, math.inf, -math.inf])
def test_a_branch_to_what_is_not_finite_is_found(infinite):
    """A nan, and an infinity beside its own size, are larger than no tolerance."""
    line = Line(lambda w, x: w * x if w.data > 0.99 else w * infinite, w=1.0)
    sgd = mx.optim.SGD([line.w], lr=0.1)
    with pytest.raises(FrozenBranch, match="the loss is (nan|inf), and .* as it was recorded"):
        mx.fit(line, [[1.0], [2.0]], [-1.0, -2.0], loss="mse", epochs=200, optimizer=sgd)


@pytest.mark.parametrize("infinite", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_found_though_the_loss_is_the_same(infinite):
    w = Value(0.5)

    def bent(x, target):  # the slope of the second at 0 is infinite, and times 0 it is nan
        part = (w - 0.5).relu() if not isinstance(x, float) else endless(w)
        return x * target + part

    def endless(w):
        root = (w - 0.5).sqrt()
        return root if infinite == math.inf else root * 0.0

    replay = mx.record(bent, 0.3, 1.0)
    with pytest.raises(FrozenBranch, match="now, near sample 0, the gradient is not the recorded"):
        Eager(bent, replay, np.array([0.3]), np.array([1.0])).look("now")


def test_a_training_that_diverges_to_nan_is_no_branch():
    line = Line(lambda w, x: (w * x) ** 2)
    sgd = mx.optim.SGD([line.w], lr=1e6)
    history = mx.fit(line, XOR[0], [9.0, 9.0, 9.0, 9.0], loss="mse", epochs=40, optimizer=sgd)
    assert not math.isfinite(history[-1].loss) and history.diverged


def test_a_gradient_that_is_another_is_found_though_the_loss_is_the_same():
    line = Line(lambda w, x: w * x if not isinstance(x, float) else w.detach() * x + w * 1e-9)
    with pytest.raises(FrozenBranch, match=r"before epoch 1, near sample \d, the gradient is not"):
        fitted(line, epochs=1)
    assert line.w.data == 2.0


def test_a_branch_on_the_kind_of_a_target_is_found_before_the_first_epoch():
    def loss(score, target):
        on = isinstance(target, float) and target == 1
        return (-score).softplus() if on else score.softplus()

    model = net()
    before = model.state_dict()
    with pytest.raises(FrozenBranch, match="before epoch 1.*on isinstance.*with where"):
        fitted(model, loss, XOR[1])
    assert model.state_dict() == before


def test_a_loss_that_compares_its_target_is_refused_and_trains_if_it_is_written_with_equal():
    def compared(score, target):
        return (-score).softplus() if target == 1 else score.softplus()

    def written(score, target):
        return mx.where(mx.equal(target, 1.0), (-score).softplus(), score.softplus())

    with pytest.raises(
        FrozenBranch, match=r"test_eager.py:\d+ asks for == of .*where\(equal\(x, y"
    ):
        fitted(net(), compared, XOR[1])
    adam, model = None, net()
    adam = mx.optim.Adam(model.parameters(), lr=0.05)
    history = mx.fit(model, *XOR, loss=written, epochs=200, optimizer=adam)
    true = mx.mean([compared(model(x), t) for x, t in zip(*XOR)]).data
    assert true == pytest.approx(history.loss[-1], rel=0.1) and true < 0.003


CLASSES = {
    "pick": lambda p, t: mx.logsumexp(p) - mx.pick(p, t),
    "cross_entropy": lambda p, t: mx.nn.cross_entropy(p, t) * 1.0,
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_loss_of_a_class_trains_as_the_one_by_name(name):
    losses = []
    for loss in (CLASSES[name], "cross_entropy"):
        model = mx.nn.MLP(2, [8, 3], seed=0)
        history = fitted(model, loss, [0, 2, 1, 0], seed=0)
        losses.append(history.loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "asked"),
    [
        (lambda p, t: -p[int(t)], r"int\(\)"),
        (lambda p, t: -p[t], "an index"),
        (lambda p, t: sum(p[0] for _ in range(t)), "an index"),
        (lambda p, t: p[0] * {0: 1.0, 1: 5.0}[t], r"a key, hash\(\)"),
        (lambda p, t: p[0] * round(t), r"round\(\)"),
    ],
)
def test_a_class_that_is_used_as_an_index_is_refused_with_what_to_write(loss, asked):
    with pytest.raises(FrozenBranch, match=rf"test_eager.py:\d+ asks for {asked} of Value.*"):
        fitted(mx.nn.MLP(2, [3, 2], seed=0), loss, [0, 1, 1, 0])


class Changing(mx.nn.Module):
    """A net whose output is doubled in some calls."""

    def __init__(self, doubles):
        self.net, self.doubles = net(), doubles

    def __call__(self, x):
        return self.net(x) * (2.0 if self.doubles() else 1.0)


def dice(share, seed):
    random_numbers = random.Random(seed)
    return lambda: random_numbers.random() < share


def nth(n):
    calls = iter(range(1, 10_000))
    return lambda: next(calls) % n == 0


@pytest.mark.parametrize("n", [4, 5, 10])
def test_a_model_that_counts_its_calls_is_refused(n):
    with pytest.raises(FrozenBranch, match=r"and asked again [\d.e-]+\. .* counts its calls"):
        fitted(Changing(nth(n)))


def test_a_model_that_draws_dice_is_refused_once_a_look_meets_another_draw():
    for seed in range(20):
        with pytest.raises(FrozenBranch):
            fitted(Changing(dice(0.5, seed)))
    trained = 0
    for seed in range(20):
        try:
            fitted(Changing(dice(0.1, seed)))
            trained += 1
        except FrozenBranch:
            pass
    assert trained <= 10  # 18 where a fault had to be met thrice


def test_a_sample_that_is_changed_in_place_is_fresh_when_a_loss_wants_values():
    class Scaling(Line):
        def __call__(self, x):
            x[0] *= 3.0
            return self.w * x[0]

    history = fitted(Scaling(None), lambda p, t: (p - t.tanh()) ** 2, epochs=3)
    assert len(history) == 3


def test_a_loss_that_takes_values_alone_is_given_values():
    assert fitted(net(), lambda p, t: (p - t.relu()) ** 2).loss[-1] < 1.0


def test_a_sample_on_a_kink_is_no_fault():
    """w · x is 0 but for rounding, so that relu has a slope in one of the two alone."""
    model = mx.nn.MLP(3, [2, 1], seed=0)
    for p, w in zip(model.parameters(), (1.0, 1.0, -1.0, 0.1, 0.2, -0.3, 0.0, 0.0, 1.0, 1.0, 0.0)):
        p.data = w
    X = [[0.1, 0.2, 0.3], [1.0, 2.0, 1.0], [0.1, 0.7, 0.8]]
    mx.fit(model, X, [1.0, -1.0, 0.5], loss="mse", epochs=3, batch_size=None)


def test_what_differs_at_one_point_alone_is_rounding():
    w = Value(2.0)

    def at_one_point(x, target):
        return w * x * (3.0 if isinstance(x, float) and x == 0.3 else 1.0) - target

    def everywhere(x, target):
        return w * x * (3.0 if isinstance(x, float) else 1.0) - target

    X, y = np.array([0.3]), np.array([1.0])
    Eager(at_one_point, mx.record(at_one_point, 0.3, 1.0), X, y).look("now")
    with pytest.raises(FrozenBranch, match="now, near sample 0, the loss is .* as it was recorded"):
        Eager(everywhere, mx.record(everywhere, 0.3, 1.0), X, y).look("now")


def test_a_model_that_has_learnt_its_data_to_the_last_digit_is_no_fault():
    """The loss is then of the size of a squared rounding error, and so is its gradient."""
    dice = random.Random(0)
    c = [dice.choice([-1.0, 1.0, 0.5, 2.0]) for _ in range(5)]
    X = [[round(dice.uniform(-1, 1), 1) for _ in c] for _ in range(30)]
    y = [sum(a * b for a, b in zip(c, x)) for x in X]
    model = mx.nn.MLP(5, [1], seed=0)
    sgd = mx.optim.SGD(model.parameters(), lr=0.3)
    history = mx.fit(model, X, y, loss="mse", epochs=1100, batch_size=None, optimizer=sgd)
    assert history[-1].loss < 1e-29


def test_it_looks_before_epochs_1_2_4_and_so_on_or_after_many_samples():
    few, many = Eager(None, None, [0], [0]), Eager(None, None, [0], [0])
    assert [k for k in range(1, 40) if few.due(100)] == [1, 2, 4, 8, 16, 32]

    def looked(k):
        due = many.due(10_000)
        many.since = 0 if due else many.since
        return due

    assert [k for k in range(1, 11) if looked(k)] == [1, 2, 4, 6, 8, 10]
