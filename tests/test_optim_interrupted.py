"""An optimiser's step and zero_grad are taken whole, or after Ctrl-C at any line not at all."""

import itertools
import math

import pytest

from microgradx.engine import Value
from microgradx.nn import MLP
from microgradx.optim import SGD, Adam
from tests.interrupting import interrupted

OPTIMIZERS = {
    "sgd": lambda ps: SGD(ps, lr=0.1),
    "momentum": lambda ps: SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.05),
    "adam": lambda ps: Adam(ps, lr=0.1, weight_decay=0.05),
}


def stepped(kind):
    """An optimiser that has taken two steps, and its next gradients."""
    ps = [Value(x) for x in (1.0, -2.0, 0.5)]
    optimizer = OPTIMIZERS[kind](ps)
    for t in range(2):
        for k, p in enumerate(ps):
            p.grad = math.sin(p.data) + 0.3 * t - 0.1 * k
        optimizer.step()
    return optimizer


def facts(optimizer):
    ps = optimizer.parameters
    state = {name: list(numbers) for name, numbers in optimizer.state.items()}
    return [p.data for p in ps], [p.grad for p in ps], state, getattr(optimizer, "_steps", None)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", ["step", "zero_grad"])
def test_an_interrupt_at_any_line_leaves_all_or_nothing(name, kind):
    """Hence the next steps are those of an optimiser that was never interrupted."""
    twin = stepped(kind)
    before = facts(twin)
    getattr(twin, name)()
    after = facts(twin)
    twin.step()
    seen = set()
    for n in itertools.count(1):
        optimizer = stepped(kind)
        was = interrupted(getattr(optimizer, name), n)
        now = facts(optimizer)
        assert now in (before, after), n
        seen.add(now == after)
        if now == before:
            getattr(optimizer, name)()
        optimizer.step()
        assert facts(optimizer) == facts(twin), n
        if not was:
            break
    assert seen == {False, True} and before != after


def test_an_interrupt_at_any_line_of_a_modules_zero_grad_leaves_all_or_nothing():
    model, seen = MLP(2, [2, 1], seed=0), set()
    for n in itertools.count(1):
        grads = [float(k + 1) for k, _ in enumerate(model.parameters())]
        for p, grad in zip(model.parameters(), grads):
            p.grad = grad
        was = interrupted(model.zero_grad, n)
        now = [p.grad for p in model.parameters()]
        assert now in (grads, [0.0] * len(grads)), n
        seen.add(tuple(now))
        if not was:
            break
    assert len(seen) == 2 and now[0] == 0.0


def test_an_interrupt_at_any_line_of_eval_leaves_all_or_nothing():
    model, modes = MLP(2, [2, 1], seed=0), set()
    for n in itertools.count(1):
        was = interrupted(model.eval, n)
        now = {part.training for part in (model, *model.layers)}
        assert len(now) == 1, n
        modes |= now
        if not was:
            break
        model.train()
    assert modes == {False, True} and not model.training
