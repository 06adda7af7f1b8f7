"""fit against the same training by hand on scalars, stopped at every step and fed with mistakes."""

import io
import math
import os
import re
import signal
import sys
import threading
import warnings
from itertools import islice

import numpy as np
import pytest

from microgradx import nn
from microgradx._base.arguments import flat
from microgradx.engine import Value
from microgradx.explain import why
from microgradx.nn import MLP
from microgradx.nn.losses import LOSSES
from microgradx.ops import sum as total
from microgradx.optim import SGD, Adam
from microgradx.train import progress as showing
from microgradx.train.history import Epoch, History
from microgradx.train.loop import fit

RNG = np.random.default_rng(5)
X = RNG.normal(size=(10, 2))
SIDE = np.where(X[:, 0] * X[:, 1] > 0, 1, -1)
TARGETS = {
    "mse": X[:, 0] - X[:, 1],
    "hinge": SIDE,
    "binary_cross_entropy": np.where(SIDE > 0, 0.9, 0.4),
    "cross_entropy": SIDE + 1,
}
OPTIMIZERS = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.05, "momentum": 0.9}),
    (SGD, {"lr": 0.1, "weight_decay": 0.1}),
    (Adam, {"lr": 0.02}),
    (Adam, {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.1}),
]


def model_of(loss="mse"):
    return MLP(2, [4, 3 if loss == "cross_entropy" else 1], "tanh", seed=3)


def steps_by_hand(model, optimizer, y, loss, batch_size=4, seed=7):
    """The scalar training of `fit`: at each step its loss and how many samples it saw."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(X)) if batch_size < len(X) else np.arange(len(X))
        for i in range(0, len(X), batch_size):
            batch = order[i : i + batch_size]
            value = loss([model(X[k]) for k in batch], [y[k] for k in batch])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            yield value.data, len(batch)


def run(steps, count):
    """So many steps, and the mean loss over their samples."""
    losses, sizes = zip(*islice(steps, count))
    return np.dot(losses, sizes) / sum(sizes)


def numbers(model):
    return [p.data for p in model.parameters()]


def grads(model):
    return [p.grad for p in model.parameters()]


def trained(model, y, **arguments):
    """What `fit` returns, and the gradient of its last batch, of which it leaves nothing."""
    last = []
    history = fit(model, X, y, on_epoch=lambda _: last.__setitem__(slice(None), grads(model)),
                  **arguments)  # fmt: skip
    assert set(grads(model)) == {0.0}
    return history, last


def same(actual, expected, abs=1e-10):
    assert actual == pytest.approx(expected, rel=0, abs=abs)


def same_training(model, optimizer, twin, twin_optimizer, gradient):
    """Whether parameters, the gradient of the last step and what the optimiser keeps agree."""
    same(numbers(model), numbers(twin))
    same(gradient, grads(twin))
    assert vars(optimizer).get("_steps") == vars(twin_optimizer).get("_steps")
    assert list(optimizer.state) == list(twin_optimizer.state)
    for name, kept in optimizer.state.items():
        assert type(kept) is list and {type(x) for x in kept} == {float}
        same(kept, twin_optimizer.state[name])


# --- the same as by hand ------------------------------------------------------------------------


@pytest.mark.parametrize("kind, options", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [4, 10, 1])
def test_fit_is_the_training_by_hand(kind, options, loss, batch_size):
    model, twin = model_of(loss), model_of(loss)
    optimizer, by_hand = kind(model.parameters(), **options), kind(twin.parameters(), **options)
    y, an_epoch = TARGETS[loss], math.ceil(10 / batch_size)
    history, gradient = trained(
        model, y, loss=loss, optimizer=optimizer, epochs=3, batch_size=batch_size, seed=7
    )
    steps = steps_by_hand(twin, by_hand, y, LOSSES[loss].function, batch_size)
    same(history.loss, [run(steps, an_epoch) for _ in range(3)])
    same_training(model, optimizer, twin, by_hand, gradient)
    assert {type(p.data) for p in model.parameters()} == {float}


@pytest.mark.parametrize("kind, options", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [4, 10, 1])
def test_to_look_at_the_model_after_an_epoch_changes_no_number(kind, options, loss, batch_size):
    ends = []
    for look in (None, lambda _: None):
        model = model_of(loss)
        optimizer = kind(model.parameters(), **options)
        history = fit(model, X, TARGETS[loss], loss=loss, optimizer=optimizer, epochs=3,
                      batch_size=batch_size, seed=7, on_epoch=look)  # fmt: skip
        ends.append((numbers(model), grads(model), vars(optimizer).get("_steps"), optimizer.state,
                     history.loss, history.gradients))  # fmt: skip
    assert ends[0] == ends[1]


@pytest.mark.parametrize("kind, options", OPTIMIZERS)
def test_scalar_steps_and_fit_go_on_from_each_other(kind, options):
    model, twin, y = model_of(), model_of(), TARGETS["mse"]
    optimizer = kind(model.parameters()[::-1], **options)  # in another order
    by_hand = kind(twin.parameters()[::-1], **options)
    run(steps_by_hand(model, optimizer, y, nn.mse_loss), 2)
    run(steps_by_hand(twin, by_hand, y, nn.mse_loss), 2)
    _, gradient = trained(model, y, loss="mse", optimizer=optimizer, epochs=2, batch_size=4, seed=1)
    run(steps_by_hand(twin, by_hand, y, nn.mse_loss, seed=1), 6)
    same_training(model, optimizer, twin, by_hand, gradient)
    run(steps_by_hand(model, optimizer, y, nn.mse_loss), 2)
    run(steps_by_hand(twin, by_hand, y, nn.mse_loss), 2)
    same_training(model, optimizer, twin, by_hand, grads(model))


def test_a_loss_of_ones_own_may_look_at_the_parameters():
    def loss_of(model):
        def loss(prediction, target):
            decay = total([p * p for p in model.parameters()])
            return (1.0 - target * prediction).relu() + 0.01 * decay

        return loss

    model, twin = model_of(), model_of()
    by_hand = SGD(twin.parameters(), 0.1)
    optimizer = SGD(model.parameters(), 0.1)
    history, gradient = trained(
        model, SIDE, loss=loss_of(model), optimizer=optimizer, epochs=2, batch_size=None
    )
    for _ in range(2):
        by_hand.zero_grad()
        (total([loss_of(twin)(twin(x), t) for x, t in zip(X, SIDE)]) / 10).backward()
        by_hand.step()
    same_training(model, optimizer, twin, by_hand, gradient)
    assert history[0].metrics == {}


def test_an_optimiser_of_some_parameters_leaves_the_others():
    model, twin = model_of(), model_of()
    optimizer, by_hand = (Adam(m.layers[1].parameters(), 0.1) for m in (model, twin))
    before = model.layers[0].state_dict()
    history = fit(model, X, TARGETS["mse"], loss="mse", optimizer=optimizer, epochs=1, seed=7)
    run(steps_by_hand(twin, by_hand, TARGETS["mse"], nn.mse_loss, 32), 1)
    same(numbers(model), numbers(twin))
    assert model.layers[0].state_dict() == before
    assert list(history[0].gradients) == ["layers.1.weight", "layers.1.bias"]


def test_large_models_are_moved_in_pieces(monkeypatch):
    monkeypatch.setattr("microgradx.train.loop.PIECE", 5)
    test_fit_is_the_training_by_hand(Adam, {"lr": 0.02}, "mse", 4)


def test_the_default_optimiser_is_adam_of_all_parameters():
    model, twin = model_of(), model_of()
    fit(model, X, SIDE, loss="hinge", epochs=1, seed=7, batch_size=4)
    run(steps_by_hand(twin, Adam(twin.parameters()), SIDE, nn.hinge_loss), 3)
    same(numbers(model), numbers(twin))


def test_an_optimiser_needs_parameters_state_and_move_alone():
    class Signs:
        """A step of 0.01 against the sign of each gradient, counted in `state`."""

        def __init__(self, parameters):
            self.parameters, self.state = parameters, {"moves": [0.0] * len(parameters)}

        def move(self, xp, parameters, state):
            for p in parameters:
                p.data -= 0.01 * xp.copysign(1.0, p.grad)
            state["moves"] = [moves + 1.0 for moves in state["moves"]]

    model = model_of()
    before, optimizer = numbers(model), Signs(model.parameters())
    fit(model, X, SIDE, loss="hinge", optimizer=optimizer, epochs=1)
    same(np.abs(np.subtract(numbers(model), before)), [0.01] * len(before))
    assert optimizer.state == {"moves": [1.0] * len(before)}


class Own(SGD):
    """A step by gradients that are made smaller, all or each in its own way."""

    def __init__(self, parameters, smaller):
        super().__init__(parameters, lr=0.1)
        self.smaller, self.steps = smaller, [0]

    def move(self, xp, parameters, state):
        self.steps[0] += 1
        for p, factor in zip(parameters, self.smaller(xp, parameters)):
            p.data -= self.lr * factor * p.grad


def by_norm(xp, parameters):
    norm = xp.sqrt(sum(p.grad * p.grad for p in parameters))
    return [1.0 / (1.0 + norm) for _ in parameters]


def by_the_last_alone(xp, parameters):
    return [0.0] * (len(parameters) - 1) + [1.0]


def by_place(xp, parameters):
    return [0.5**k for k in range(len(parameters))]


@pytest.mark.parametrize("smaller", [by_norm, by_the_last_alone, by_place])
def test_an_optimizer_that_does_not_treat_each_number_by_itself_is_refused(smaller):
    model = model_of()
    before, optimizer = numbers(model), Own(model.parameters(), smaller)
    with pytest.raises(ValueError, match="must treat each number by itself"):
        fit(model, X, SIDE, loss="hinge", epochs=1, optimizer=optimizer)
    assert numbers(model) == before and optimizer.steps == [0]


def test_an_optimizer_that_treats_each_number_by_itself_is_tried_on_a_copy():
    model = model_of()
    optimizer = Own(model.parameters(), lambda xp, ps: [1.0 / (1.0 + xp.abs(p.grad)) for p in ps])
    fit(model, X, SIDE, loss="hinge", epochs=2, batch_size=None, optimizer=optimizer)
    assert optimizer.steps == [2]


def test_a_seed_gives_the_order_and_none_another_every_time():
    def trained(seed):
        model = model_of()
        fit(model, X, SIDE, loss="hinge", epochs=2, batch_size=1, seed=seed)
        return numbers(model)

    assert trained(1) == trained(1) == trained(np.random.default_rng(1)) != trained(2)
    assert trained(None) != trained(None)


def test_probabilities_may_be_the_targets_of_cross_entropy():
    rows = np.eye(3)[SIDE + 1] * 0.7 + 0.1
    model, twin = model_of("cross_entropy"), model_of("cross_entropy")
    fit(model, X, rows, loss=nn.cross_entropy, epochs=1, batch_size=4, seed=7)
    run(steps_by_hand(twin, Adam(twin.parameters()), rows, nn.cross_entropy), 3)
    same(numbers(model), numbers(twin))


def test_samples_may_be_single_numbers():
    model = MLP(1, [1], seed=0)
    optimizer = SGD(model.parameters(), 0.5)
    history = fit(model, X[:, 0], 3 * X[:, 0] + 1, loss="mse", optimizer=optimizer, epochs=200)
    same(numbers(model), [3.0, 1.0], abs=1e-6)
    assert history.loss[-1] < 1e-12


# --- what is measured ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_validation_and_metrics_are_those_by_hand_after_each_epoch(loss):
    y, model, measured = TARGETS[loss], model_of(loss), []

    def by_hand(epoch):
        predictions = [model(x) for x in X[:3]]
        value = LOSSES[loss].function(predictions, y[:3]).data
        if loss == "mse":
            right = None
        elif loss == "cross_entropy":
            right = [np.argmax([v.data for v in z]) == k for z, k in zip(predictions, y)]
        else:
            right = [(z > 0) == (t > 0.5) for z, t in zip(predictions, y)]
        measured.append((value, {} if right is None else {"accuracy": np.mean(right)}))

    history = fit(model, X, y, loss=loss, epochs=3, batch_size=4, validation=(X[:3], y[:3]),
                  on_epoch=by_hand)  # fmt: skip
    same(history.validation_loss, [value for value, _ in measured])
    assert [epoch.metrics for epoch in history] == [metrics for _, metrics in measured]


@pytest.mark.parametrize("metrics", [None, {}, {"zero": lambda p, t: 0.0}])
def test_measuring_a_validation_set_changes_no_step_whatever_the_size_of_a_batch(metrics):
    for batch_size in (None, 4):
        arguments = {"loss": "mse", "epochs": 4, "batch_size": batch_size, "seed": 1}
        model, twin = model_of(), model_of()
        history = fit(model, X, TARGETS["mse"], **arguments, metrics=metrics,
                      validation=(X[:3], TARGETS["mse"][:3] - 5.0))  # fmt: skip
        assert history.loss == fit(twin, X, TARGETS["mse"], **arguments).loss
        assert numbers(model) == numbers(twin)


def test_a_model_may_return_a_list_of_one():
    class Single(nn.Module):
        def __init__(self):
            self.inner = MLP(2, [1], seed=1)

        def __call__(self, x):
            return [self.inner(x)]

    model, twin = Single(), Single()
    history = fit(model, X, SIDE[:, None], loss="hinge", epochs=2, seed=1)
    assert history.loss == fit(twin.inner, X, SIDE, loss="hinge", epochs=2, seed=1).loss
    assert numbers(model) == numbers(twin)


def test_without_a_validation_set_metrics_are_of_the_training_samples():
    model = model_of()
    history = fit(model, X, SIDE, loss="hinge", epochs=2)
    right = [(model(x) > 0) == (t > 0) for x, t in zip(X, SIDE)]
    assert history.metrics == {"accuracy": [history[0].metrics["accuracy"], np.mean(right)]}
    assert history.validation_loss == [None, None]


def test_metrics_of_ones_own_get_arrays():
    def widest(predictions, targets):
        assert predictions.shape == (10, 3) and targets.shape == (10, 3)
        return np.abs(predictions).max()

    model = model_of("cross_entropy")
    history = fit(model, X, SIDE + 1, loss="cross_entropy", epochs=1, metrics={"widest": widest})
    same(history[0].metrics["widest"], np.abs(model.predict(X)).max())
    assert fit(model, X, SIDE + 1, loss="cross_entropy", epochs=1, metrics={})[0].metrics == {}


def test_gradients_are_decades_of_the_last_batch_by_tensor():
    model = model_of()
    history, gradient = trained(model, TARGETS["mse"], loss="mse", epochs=2, batch_size=4)
    tensors = {}
    for (name, _), grad in zip(model.named_parameters(), gradient, strict=True):
        tensors.setdefault(name.split("[")[0], []).append(grad)
    expected = {name: math.log10(math.hypot(*g) / math.sqrt(len(g))) for name, g in tensors.items()}
    assert history[1].gradients == pytest.approx(expected, abs=1e-12)
    assert list(history.gradients) == list(model.state_dict())


def test_a_tensor_that_has_two_names_has_its_gradient_under_both():
    model = MLP(1, [1, 1], seed=1)
    model.layers[1] = model.layers[0]
    gradients = fit(model, X[:, 0], SIDE, loss="hinge", epochs=1)[0].gradients
    assert list(gradients) == list(model.state_dict())
    assert gradients["layers.0.weight"] == gradients["layers.1.weight"]


@pytest.mark.parametrize("scale, decade", [(1e-200, -200), (0.0, -math.inf), (1e200, 200)])
def test_gradients_too_small_or_large_to_square_have_their_decade(scale, decade):
    model = MLP(1, [1], init=lambda *_: 1.0)
    optimizer = SGD(model.parameters(), 0.0)
    history = fit(model, [[1.0]], [0.0], loss=lambda z, t: scale * z, epochs=1, optimizer=optimizer)
    assert history[0].gradients == pytest.approx(
        {"layers.0.weight": decade, "layers.0.bias": decade}
    )


def test_a_loss_that_is_not_finite_ends_nothing_and_shows():
    model = model_of()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = fit(model, X, TARGETS["mse"], loss="mse", epochs=4, batch_size=4,
                      optimizer=SGD(model.parameters(), 1e200))  # fmt: skip
    assert len(history) == 4 and math.isnan(history.loss[-1])
    assert math.isnan(history.gradients["layers.0.weight"][-1])
    assert "nan" in str(history)


def test_a_history_is_a_list_of_epochs_and_a_table():
    history = History(
        Epoch(1.0 / (i + 1), 0.5, {"accuracy": 0.25}, {"w": -1.0}, 0.1) for i in range(30)
    )
    assert len(history) == 30 and history[-1].loss == history.loss[-1] == 1 / 30
    assert history.validation_loss == [0.5] * 30 and history.seconds == [0.1] * 30
    assert history.metrics == {"accuracy": [0.25] * 30} and history.gradients == {"w": [-1.0] * 30}
    assert repr(history) == "<History of 30 epochs, loss 1 to 0.03333>"
    lines = str(history).splitlines()
    assert (
        lines[1].split("  ")[-2:] == ["accuracy", "seconds"] and len(set(map(len, lines[1:]))) == 1
    )
    assert [line.split()[0] for line in lines[2:]] == [*"12345", "...", "27", "28", "29", "30"]
    assert len(str(History(history[:10])).splitlines()) == 12
    assert str(History()) == repr(History()) == "<History of 0 epochs>"
    assert History().metrics == History().gradients == {}
    assert str(history[0]) == "loss 1, validation loss 0.5, accuracy 0.25, seconds 0.1"


# --- stopping -----------------------------------------------------------------------------------


def pressing(kind, at, press):
    """An optimiser that has `press` called just before it moves at its step `at`."""

    class Pressing(kind):
        taken = 0

        def move(self, *arguments):
            self.taken += 1
            if self.taken == at:
                press()
            super().move(*arguments)

        def __deepcopy__(self, memo):
            raise TypeError("not to be tried on a copy before the first step")

    return Pressing


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("press, complete", [(ctrl_c, 0), (interrupt, -1)])
@pytest.mark.parametrize("at", range(1, 10))
@pytest.mark.parametrize("kind, options", OPTIMIZERS[1::2])
def test_ctrl_c_at_any_step_keeps_the_complete_steps(kind, options, at, press, complete):
    model, twin, y = model_of(), model_of(), TARGETS["mse"]
    optimizer = pressing(kind, at, press)(model.parameters(), **options)
    history = fit(model, X, y, loss="mse", optimizer=optimizer, epochs=3, batch_size=4, seed=7)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    done = at + complete
    by_hand = kind(twin.parameters(), **options)
    steps = steps_by_hand(twin, by_hand, y, nn.mse_loss)
    losses = [run(steps, min(3, done - i)) for i in range(0, done, 3)]
    same(numbers(model), numbers(twin))
    for name, kept in optimizer.state.items():
        same(kept, by_hand.state[name])
    same(history.loss, losses)
    assert history.interrupted and "interrupted" in repr(history)
    assert [epoch.interrupted for epoch in history] == [False] * (done // 3) + [True] * (
        done % 3 > 0
    )


@pytest.mark.parametrize("presses", [1, 2])
def test_a_second_ctrl_c_interrupts_what_on_epoch_does(presses):
    seen = []

    def on_epoch(epoch):
        for _ in range(presses):
            ctrl_c()
        seen.append(epoch)

    history = fit(model_of(), X, SIDE, loss="hinge", epochs=3, on_epoch=on_epoch)
    assert len(history) == 1 and history.interrupted and not history[0].interrupted
    assert len(seen) == 2 - presses


def test_a_handler_of_the_users_own_stays():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append("mine"))
    try:
        history = fit(model_of(), X, SIDE, loss="hinge", epochs=2, on_epoch=lambda _: ctrl_c())
        assert seen == ["mine"] * 2 and len(history) == 2 and not history.interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def test_fit_runs_in_a_thread():
    histories = []
    thread = threading.Thread(
        target=lambda: histories.append(fit(model_of(), X, SIDE, loss="hinge", epochs=2))
    )
    thread.start()
    thread.join(60)
    assert len(histories[0]) == 2


def test_after_an_error_the_parameters_are_those_of_the_last_complete_step():
    model, twin, y = model_of(), model_of(), TARGETS["mse"]
    optimizer = pressing(Adam, 5, lambda: 1 / 0)(model.parameters(), lr=0.02)
    with pytest.raises(ZeroDivisionError):
        fit(model, X, y, loss="mse", optimizer=optimizer, epochs=3, batch_size=4, seed=7)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    by_hand = Adam(twin.parameters(), 0.02)
    run(steps_by_hand(twin, by_hand, y, nn.mse_loss), 4)
    same(numbers(model), numbers(twin))
    same(optimizer.state["means"], by_hand.state["means"])


def test_an_error_in_on_epoch_is_the_callers():
    def on_epoch(epoch):
        seen.append(numbers(model))
        model.parameters()[0].data = 0.5
        raise LookupError("mine")

    model, seen = model_of(), []
    before = numbers(model)
    with pytest.raises(LookupError, match="mine"):
        fit(model, X, SIDE, loss="hinge", epochs=2, on_epoch=on_epoch)
    assert numbers(model) == [0.5, *seen[0][1:]] and seen[0] != before


def test_on_epoch_may_stop_and_sees_the_model_as_it_is():
    seen = []

    def on_epoch(epoch):
        seen.append((epoch, numbers(model)))
        return len(seen) == 2

    model = model_of()
    history = fit(model, X, SIDE, loss="hinge", epochs=5, on_epoch=on_epoch)
    assert [epoch for epoch, _ in seen] == list(history) and len(history) == 2
    assert numbers(model) == seen[1][1] != seen[0][1] and not history.interrupted


@pytest.mark.parametrize("last", [False, True])
def test_on_epoch_may_change_parameters_and_lr(last):
    def on_epoch(epoch):
        for p in model.parameters():
            p.data = 0.5
        optimizer.lr = 0.0
        return last

    model = model_of()
    optimizer = SGD(model.parameters(), 0.1)
    fit(model, X, TARGETS["mse"], loss="mse", optimizer=optimizer, epochs=2, on_epoch=on_epoch)
    assert set(numbers(model)) == {0.5}


@pytest.mark.parametrize("answer", ["net.npz", [1.0], 7, np.float64(0.5), Value(1.0)])
def test_what_on_epoch_happens_to_return_ends_nothing(answer):
    assert len(fit(model_of(), X, SIDE, loss="hinge", epochs=3, on_epoch=lambda _: answer)) == 3


def test_numpys_true_ends_the_training():
    history = fit(model_of(), X, SIDE, loss="hinge", epochs=3, on_epoch=lambda _: np.True_)
    assert len(history) == 1


def forget(model, optimizer):
    for numbers in optimizer.state.values():
        numbers[:] = [0.0] * len(numbers)


def another_state(model, optimizer):
    optimizer.state = {name: [0.5] * len(kept) for name, kept in optimizer.state.items()}


def a_step_of_ones_own(model, optimizer):
    optimizer.zero_grad()
    model([1.0, 2.0]).backward()
    optimizer.step()
    optimizer.zero_grad()


def an_epoch_of_fit(model, optimizer):
    fit(model, X[:1], [1.0], loss="mse", optimizer=optimizer, epochs=1)


def a_step_like_it(model, optimizer):
    optimizer.zero_grad()
    ((model(X[0]) - 1.0) ** 2).backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("kind, options", [(SGD, {"lr": 0.05, "momentum": 0.9}), OPTIMIZERS[4]])
@pytest.mark.parametrize(
    "change, by_hand",
    [
        (forget, forget),
        (another_state, another_state),
        (a_step_of_ones_own, a_step_of_ones_own),
        (an_epoch_of_fit, a_step_like_it),
    ],
)
def test_on_epoch_may_change_the_optimizers_state(kind, options, change, by_hand):
    model, twin = model_of(), model_of()
    optimizer = kind(model.parameters()[::-1], **options)
    twins = kind(twin.parameters()[::-1], **options)
    more = {"optimizer": optimizer, "epochs": 3, "batch_size": None}
    fit(model, X, TARGETS["mse"], loss="mse", on_epoch=lambda _: change(model, optimizer), **more)
    for _ in range(3):
        next(steps_by_hand(twin, twins, TARGETS["mse"], nn.mse_loss, batch_size=len(X)))
        by_hand(twin, twins)
    same(numbers(model), numbers(twin))
    for name, kept in optimizer.state.items():
        same(kept, twins.state[name])


@pytest.mark.parametrize("other", [lambda ps: ps[:3], lambda ps: ps[::-1]])
def test_an_optimizer_that_gets_other_parameters_meanwhile_is_refused(other):
    def on_epoch(epoch):
        optimizer.parameters = other(optimizer.parameters)

    model = model_of()
    optimizer = SGD(model.parameters(), 0.1)
    more = {"optimizer": optimizer, "epochs": 2, "on_epoch": on_epoch}
    with pytest.raises(ValueError, match="other parameters than at first"):
        fit(model, X, SIDE, loss="hinge", **more)


# --- what is left behind ------------------------------------------------------------------------


def stop_at_once(model):
    return {"on_epoch": lambda _: True}


def look(model):
    return {"on_epoch": lambda _: None}


def fail_after_an_epoch(model):
    return {"on_epoch": lambda _: 1 / 0}


def change_and_fail(model):
    def on_epoch(epoch):
        model.parameters()[0].data = 0.5
        raise LookupError

    return {"on_epoch": on_epoch}


def change_from_elsewhere(model):
    def move():
        model.parameters()[0].data = 0.5

    return {"optimizer": pressing(Adam, 5, move)(model.parameters())}


def press_at(at, press):
    return lambda model: {"optimizer": pressing(Adam, at, press)(model.parameters())}


WAYS = {
    "to the end": lambda model: {},
    "to the end, looked at": look,
    "stopped": stop_at_once,
    "Ctrl-C in the first step": press_at(1, ctrl_c),
    "Ctrl-C": press_at(5, ctrl_c),
    "Ctrl-C twice": press_at(5, lambda: [ctrl_c(), ctrl_c()]),
    "interrupted": press_at(5, interrupt),
    "an error in the first step": press_at(1, lambda: 1 / 0),
    "an error": press_at(5, lambda: 1 / 0),
    "an error in on_epoch": fail_after_an_epoch,
    "an error in on_epoch, that has changed a parameter": change_and_fail,
    "a parameter changed by somebody": change_from_elsewhere,
}


@pytest.mark.parametrize("way", WAYS)
def test_however_fit_ends_the_next_backward_is_a_gradient_of_its_own(way):
    model = model_of()
    for p in model.parameters():
        p.grad = 3.0  # as a reader's own backward has left it
    try:
        fit(model, X, TARGETS["mse"], loss="mse", epochs=3, batch_size=4, **WAYS[way](model))
    except (ArithmeticError, LookupError, ValueError):
        assert "error" in way or "somebody" in way
    assert set(grads(model)) == {0.0}
    loss = nn.mse_loss(model(X[0]), TARGETS["mse"][0])
    loss.backward()
    assert why(model.parameters()[0], loss).remark is None


def test_what_fit_does_not_move_keeps_its_grad():
    model = model_of()
    for p in model.parameters():
        p.grad = 3.0
    optimizer = Adam(model.layers[1].parameters())
    fit(model, X, TARGETS["mse"], loss="mse", epochs=1, optimizer=optimizer)
    assert {p.grad for p in model.layers[0].parameters()} == {3.0}
    assert {p.grad for p in model.layers[1].parameters()} == {0.0}


# --- checkpoints --------------------------------------------------------------------------------


def test_a_checkpoint_is_the_model_after_each_epoch(tmp_path):
    path = tmp_path / "model.npz"

    def on_epoch(epoch):
        twin = MLP(2, [4, 1], "tanh")
        twin.load(path)
        assert numbers(twin) == numbers(model)
        seen.append(numbers(twin))

    model, seen = model_of(), []
    fit(model, X, SIDE, loss="hinge", epochs=3, checkpoint=path, on_epoch=on_epoch)
    assert len(set(map(tuple, seen))) == 3
    assert os.listdir(tmp_path) == ["model.npz"]


def test_a_checkpoint_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    path, model, saved = tmp_path / "model.npz", model_of(), []

    def replace(source, target, real=os.replace):
        if len(saved) == 2:
            raise OSError("disk full")
        saved.append(numbers(model))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="disk full"):
        fit(model, X, SIDE, loss="hinge", epochs=3, checkpoint=path)
    twin = model_of()
    twin.load(path)
    assert numbers(twin) == saved[1] != numbers(model)
    assert os.listdir(tmp_path) == ["model.npz"]


# --- the line on a terminal ---------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, columns="80", **more):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", columns)
    history = fit(model_of(), X, SIDE, loss="hinge", batch_size=4, **({"epochs": 30} | more))
    return sys.stderr.getvalue(), history


@pytest.mark.parametrize("columns, width", [("80", 79), ("300", 79), ("30", 29), ("0", 79)])
def test_the_line_never_wraps_and_covers_the_one_before(monkeypatch, columns, width):
    monkeypatch.setattr(showing, "REDRAW", 0.0)
    metrics = {"a metric of a name that is long " * i: lambda p, t: 1.0 for i in (1, 2)}
    text, history = shown(monkeypatch, columns, metrics=metrics)
    assert text.startswith("\r") and text.endswith("\n") and text.count("\n") == 1
    lines = text.strip("\r\n").split("\r")
    assert max(map(len, lines)) == width
    assert len(lines) > 60 and len([line for line in lines if "%" in line]) > 30
    assert all(len(b) >= len(a.rstrip()) for a, b in zip(lines, lines[1:]))


def test_the_last_line_says_how_it_ended(monkeypatch):
    text, history = shown(monkeypatch)
    assert text.rstrip().split("\r")[-1].rstrip() == f"epoch 30 of 30: {history[-1]}"[:79]


def test_the_line_changes_ten_times_a_second_at_most(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(showing, "perf_counter", lambda: next(clock) / 1000)
    monkeypatch.setattr("microgradx.train.loop.perf_counter", lambda: next(clock) / 1000)
    text, _ = shown(monkeypatch, epochs=300)
    assert next(clock) / 1000 * 10 * 0.5 < text.count("\r") <= next(clock) / 1000 * 10 + 2


def test_on_epoch_prints_on_an_empty_line(monkeypatch):
    text, _ = shown(monkeypatch, epochs=2, on_epoch=lambda _: sys.stderr.write("hello\n") and None)
    parts = text.split("hello\n")
    assert len(parts) == 3
    assert all(not part or re.search(r"(^|\r) *\r$", part) for part in parts[:2])


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_elsewhere_there_is_no_line(monkeypatch, stream, capfd):
    monkeypatch.setattr(sys, "stderr", stream)
    fit(model_of(), X, SIDE, loss="hinge", epochs=2)
    assert stream is None or stream.getvalue() == ""
    assert capfd.readouterr() == ("", "")


# --- mistakes -----------------------------------------------------------------------------------

NAN, INF = X.copy(), X.copy()
NAN[3, 1], INF[4, 0] = math.nan, math.inf

MISTAKES = [
    ({"X": X[:9]}, ValueError, "X has 9 samples, but y has 10"),
    ({"X": [], "y": []}, ValueError, "X is empty"),
    ({"X": NAN}, ValueError, "X[3, 1] is nan"),
    ({"X": -INF}, ValueError, "X[4, 0] is -inf; drop such rows"),
    ({"y": [*SIDE[:9], math.nan]}, ValueError, "y[9] is nan; drop such rows"),
    ({"X": X[:, :1]}, ValueError, "Layer layers.0 expected 2 inputs, got 1"),
    ({"X": X[:, 0]}, ValueError, "Layer layers.0 expected 2 inputs, got 1"),
    ({"X": [[1.0, 2.0]] * 9 + [[1.0]]}, ValueError, "X is ragged: row 0 has the shape (2,), row 9"),
    ({"X": [["a", "b"]] * 10}, TypeError, "X[0, 0]: a Value holds one float, got the str 'a'"),
    ({"X": 3.0}, ValueError, "X is the single number 3.0"),
    ({"y": None}, TypeError, "y: a Value holds one float, got a NoneType"),
    ({"y": SIDE[:, None]}, ValueError, "the model has one output; use y.ravel()"),
    ({"y": np.stack([SIDE, SIDE], 1)}, ValueError, "must agree in shape, got () and (2,)"),
    ({"y": SIDE * 2}, ValueError, "hinge takes targets -1 and 1; for 0 and 1: 2y - 1"),
    ({"y": SIDE, "loss": "binary_cross_entropy"}, ValueError, "a probability lies in [0, 1]"),
    ({"loss": "cross_entropy", "y": SIDE + 2}, ValueError, "a class is a whole number from 0 to 2"),
    ({"loss": "cross_entropy", "y": SIDE}, ValueError, "but a class is a whole number"),
    ({"loss": "cross_entropy", "y": SIDE + 1.5}, ValueError, "but a class is a whole number"),
    ({"loss": "cross_entropy", "y": np.eye(2)[SIDE]}, ValueError, "got (3,) and (2,)"),
    ({"loss": "l2"}, ValueError, "loss 'l2' is not known; use mse, hinge, binary_cross_entropy"),
    ({"loss": None}, TypeError, "loss None is not known"),
    ({"loss": lambda p, t: 0.0}, TypeError, "a loss returns one Value, got a float"),
    ({"loss": lambda p, t: [p, p]}, TypeError, "a loss returns one Value, got a list"),
    ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
    ({"epochs": 1.5}, TypeError, "epochs must be a whole number, got 1.5"),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
    ({"batch_size": "all"}, TypeError, "batch_size must be a whole number, got 'all'"),
    ({"seed": "x"}, TypeError, "x"),
    ({"optimizer": "adam"}, TypeError, "has parameters, state and move, as optim.SGD has, got 'ad"),
    ({"optimizer": SGD}, TypeError, "an optimizer has parameters, state and move"),
    ({"optimizer": SGD([Value(1.0)], 0.1)}, ValueError, "1 parameter not of the model"),
    ({"model": lambda x: x}, TypeError, "fit takes an nn.Module, got a function"),
    ({"validation": X}, TypeError, "validation is a pair (X, y), got an ndarray"),
    ({"validation": (X, SIDE[:2])}, ValueError, "the validation X has 10 samples, but the valida"),
    ({"validation": (NAN, SIDE)}, ValueError, "the validation X[3, 1] is nan"),
    ({"validation": (X[:, :1], SIDE)}, ValueError, "expected the shape (2,), got (1,)"),
    ({"validation": (X, SIDE * 2)}, ValueError, "but hinge takes"),
    ({"checkpoint": "model.pkl"}, ValueError, "weights are kept as .npz or .safetensors"),
    ({"checkpoint": "nowhere/model.npz"}, FileNotFoundError, "there is no folder nowhere"),
]  # fmt: skip


@pytest.mark.parametrize("change, error, text", MISTAKES)
def test_mistakes_are_named_before_anything_has_changed(change, error, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = {"X": X, "y": SIDE, "loss": "hinge", "epochs": 1} | change
    model = model_of(arguments["loss"])
    before = numbers(model)
    with pytest.raises(error) as caught:
        fit(arguments.pop("model", model), arguments.pop("X"), arguments.pop("y"), **arguments)
    assert text in str(caught.value)
    assert numbers(model) == before
    assert not os.listdir(tmp_path)


# --- predict ------------------------------------------------------------------------------------


@pytest.mark.parametrize("nouts, shape", [([4, 1], (10,)), ([4, 3], (10, 3)), ([1], (10,))])
def test_predict_is_the_model_on_every_row(nouts, shape):
    model = MLP(2, nouts, "tanh", seed=1)
    for _ in range(2):
        predicted = model.predict(X)
        expected = [[y.data for y in flat(model(x))] for x in X]
        assert predicted.shape == shape
        assert predicted.reshape(10, -1) == pytest.approx(np.array(expected), rel=1e-12, abs=1e-14)
        for p in model.parameters():
            p.data += 0.25
    model.layers[-1].neurons[0].activation = Value.sigmoid
    first = model.predict(X.tolist()).reshape(10, -1)[:, 0]
    assert 0 <= first.min() and first.max() <= 1


def test_predict_takes_any_number_of_rows_and_single_numbers():
    model = MLP(1, [3, 1], "relu", seed=2)
    x = np.linspace(-2, 2, 2500)
    predicted = model.predict(x)
    assert predicted.shape == (2500,)
    same(predicted, [model(number).data for number in x])


BAD_SAMPLES = [row for row in MISTAKES if list(row[0]) == ["X"] and "y has" not in row[2]]


@pytest.mark.parametrize("change, error, text", BAD_SAMPLES)
def test_predict_refuses_the_samples_that_fit_does(change, error, text):
    with pytest.raises(error) as caught:
        model_of().predict(change["X"])
    assert text in str(caught.value)
