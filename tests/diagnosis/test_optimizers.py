"""The reader's optimiser on a copy: the same steps, and whatever can't be followed is refused."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest

from microgradx import nn
from microgradx.diagnosis.optimizers import AdamW, for_parameters, words
from microgradx.engine import Value
from microgradx.nn import mse_loss
from microgradx.optim import SGD, Adam
from microgradx.train import fit

OURS = [
    (lambda ps: SGD(ps, lr=0.1), "SGD 0.1"),
    (lambda ps: SGD(ps, 0.05, momentum=0.9, weight_decay=0.01),
     "SGD 0.05, momentum 0.9, weight decay 0.01"),
    (Adam, "Adam 0.001"),
    (lambda ps: Adam(ps, 1e-5, betas=(0.8, 0.99), eps=1e-6),
     "Adam 1e-5, betas (0.8, 0.99), eps 1e-6"),
]  # fmt: skip


def net():
    return nn.MLP(2, [3, 1], "tanh", seed=1)


def stepped(model, optimizer):
    optimizer.zero_grad()
    (model([0.5, -1.0]) ** 2).backward()
    optimizer.step()
    return [p.data for p in model.parameters()]


@pytest.mark.parametrize("make, text", OURS)
def test_a_copy_moves_as_the_net_itself_would(make, text):
    model = net()
    optimizer = make(model.parameters())
    stepped(model, optimizer)
    twin = copy.deepcopy(model)
    before = [p.data for p in model.parameters()], copy.deepcopy(optimizer.state)
    again = for_parameters(optimizer, model, twin.parameters())
    moved = [stepped(twin, again) for _ in range(3)]
    assert ([p.data for p in model.parameters()], optimizer.state) == before
    assert moved == [stepped(model, optimizer) for _ in range(3)]
    assert words(again) == text


def test_it_moves_the_twins_of_what_the_readers_moves():
    model, twin = net(), net()
    optimizer = SGD(model.parameters()[4:], lr=0.1)
    again = for_parameters(optimizer, model, twin.parameters())
    assert again.parameters == twin.parameters()[4:]
    assert optimizer.parameters == model.parameters()[4:]


def test_on_another_net_it_starts_afresh_and_moves_all():
    model, other = net(), nn.MLP(2, [5, 1], "tanh", seed=2)
    optimizer = Adam(model.parameters()[:3], lr=0.02, betas=(0.7, 0.9))
    stepped(model, optimizer)
    again = for_parameters(optimizer, None, other.parameters())
    assert again.parameters == other.parameters()
    assert (again.lr, again.betas) == (0.02, (0.7, 0.9))
    assert again.state == Adam(other.parameters()).state
    like = nn.MLP(2, [5, 1], "tanh", seed=2)
    fresh = Adam(like.parameters(), lr=0.02, betas=(0.7, 0.9))
    assert stepped(other, again) == stepped(like, fresh)


def test_none_is_adam_as_in_fit():
    found = for_parameters(None, None, net().parameters())
    assert type(found) is Adam and words(found) == "Adam 0.001"


def test_a_function_makes_it_of_the_parameters():
    parameters = net().parameters()
    found = for_parameters(lambda ps: SGD(ps[2:], lr=0.3), None, parameters)
    assert found.parameters == parameters[2:] and found.lr == 0.3
    assert type(for_parameters(Adam, None, parameters)) is Adam


class Wild(SGD):
    """One whose settings can't be read from it."""

    def __init__(self, parameters, speed):
        super().__init__(parameters, speed)


@pytest.mark.parametrize(
    "optimizer, kind, text",
    [
        ("sgd", ValueError, "'sgd' is a name without a step size; pass a function"),
        (0.1, TypeError, "got a float"),
        (lambda ps: 0.1, TypeError, "returns an optimizer, as mx.optim.SGD is, got a float"),
        (lambda ps: SGD([Value(1.0)], 0.1), ValueError, "moves 1 parameter not of the net"),
        (SGD([Value(1.0), Value(2.0)], 0.1), ValueError, "2 parameters not of the net"),
    ],
)
def test_what_is_no_optimizer_of_the_net_is_refused(optimizer, kind, text):
    model = net()
    with pytest.raises(kind, match=text):
        for_parameters(optimizer, model, model.parameters())


def test_one_that_cant_be_made_for_another_net_says_so():
    model = net()
    optimizer = Wild(model.parameters(), 0.1)
    assert for_parameters(optimizer, model, net().parameters()).lr == 0.1
    with pytest.raises(ValueError, match="Wild can't be made for another net: .*pass a function"):
        for_parameters(optimizer, None, net().parameters())


def test_the_decay_of_adamw_is_apart_from_the_gradient_for_numbers_and_in_fit():
    optimizer = AdamW([p := Value(2.0)], lr=0.1, weight_decay=0.5)
    p.grad = 3.0
    optimizer.step()
    assert p.data == pytest.approx(2.0 * (1.0 - 0.1 * 0.5) - 0.1)  # Adam's first step is lr
    model, twin = net(), net()
    rows, targets = [[0.5, -1.0], [1.0, 2.0]], [0.0, 0.5]
    fit(model, rows, targets, loss="mse", epochs=2, batch_size=None,
        optimizer=AdamW(model.parameters(), lr=0.1))  # fmt: skip
    by_hand = AdamW(twin.parameters(), lr=0.1)
    for _ in range(2):
        by_hand.zero_grad()
        mse_loss([twin(x) for x in rows], targets).backward()
        by_hand.step()
    np.testing.assert_allclose(
        [p.data for p in model.parameters()], [p.data for p in twin.parameters()], rtol=1e-12
    )


# --- PyTorch's -----------------------------------------------------------------------------------


def standin(name, **groups):
    """An object that looks like PyTorch's, of the 13 numbers of the net."""
    kind = type(name, (), {"__module__": "torch.optim.some"})
    found = kind()
    tensors = [SimpleNamespace(shape=(3, 2)), SimpleNamespace(shape=(7,))]
    found.param_groups = [{"params": tensors, **groups}]
    return found


SETTINGS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "dampening": 0, "nesterov": False}
ADAM = {"lr": 0.002, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False}


@pytest.mark.parametrize(
    "optimizer, text",
    [
        (standin("SGD", **SETTINGS), "SGD 0.1, momentum 0.9"),
        (standin("Adam", **{**ADAM, "weight_decay": 0.1}),
         "Adam 0.002, betas (0.9, 0.99), weight decay 0.1"),
        (standin("AdamW", **{**ADAM, "decoupled_weight_decay": True}),
         "AdamW 0.002, betas (0.9, 0.99), weight decay 0"),
    ],
)  # fmt: skip
def test_pytorchs_settings_are_read(optimizer, text):
    model = net()
    found = for_parameters(optimizer, model, model.parameters())
    assert words(found) == text and found.parameters == model.parameters()


def grouped(name, **other):
    found = standin(name, **SETTINGS)
    tensors = found.param_groups[0]["params"]
    found.param_groups[0]["params"] = tensors[:1]
    found.param_groups.append({**SETTINGS, **other, "params": tensors[1:]})
    return found


def test_groups_of_the_same_settings_are_one():
    model = net()
    assert for_parameters(grouped("SGD"), model, model.parameters()).lr == 0.1


@pytest.mark.parametrize(
    "optimizer, text",
    [
        (grouped("SGD", lr=0.01), "another lr for its group 1, 0.01, than for group 0, 0.1"),
        (standin("SGD", **{**SETTINGS, "nesterov": True}), "SGD with nesterov=True can't be"),
        (standin("Adam", **{**ADAM, "amsgrad": True}), "Adam with amsgrad=True can't be"),
        (standin("LBFGS", lr=1.0), "LBFGS is not one of SGD, Adam, AdamW"),
        (standin("SGD", **{**SETTINGS, "dampening": 0.5}), "SGD with dampening=0.5 can't be"),
    ],
)
def test_what_of_pytorchs_cant_be_followed_is_refused(optimizer, text):
    model = net()
    with pytest.raises(ValueError, match=text):
        for_parameters(optimizer, model, model.parameters())


def test_one_that_moves_part_of_the_net_is_refused_there_alone():
    model, optimizer = net(), standin("SGD", **SETTINGS)
    optimizer.param_groups[0]["params"].pop()
    with pytest.raises(ValueError, match="moves 6 of the net's 13 parameters"):
        for_parameters(optimizer, model, model.parameters())
    assert for_parameters(optimizer, None, model.parameters()).lr == 0.1


def test_pytorchs_class_is_no_optimizer():
    with pytest.raises(TypeError, match="SGD is PyTorch's class"):
        for_parameters(type(standin("SGD")), None, net().parameters())


@pytest.mark.parametrize("name, settings", [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}), ("SGD", {"lr": 0.1}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1}), ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.0}),
])  # fmt: skip
def test_it_moves_as_pytorchs(name, settings):
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))
    theirs = getattr(torch.optim, name)([weight], **settings)
    values = [Value(x) for x in weight.tolist()]
    ours = for_parameters(theirs, None, values)
    for k in range(4):
        theirs.zero_grad()
        (weight**2 * (k + 1.0)).sum().backward()
        theirs.step()
        for p in values:
            p.grad = 2.0 * p.data * (k + 1.0)
        ours.step()
        np.testing.assert_allclose([p.data for p in values], weight.tolist(), rtol=1e-12)
