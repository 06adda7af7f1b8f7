"""What is dropped is freed at once: nothing of the package leaves a reference cycle."""

import copy
import gc
from types import SimpleNamespace

import pytest

import microgradx as mx
from microgradx import nn
from microgradx.engine import Value
from microgradx.explain.bounds import Bounds
from microgradx.step import Stepper

ROWS = [[1.0, 2.0, -0.5], [3.0, -1.0, 0.25]]


def trained(activation="tanh", width=4, depth=2, seed=0):
    model = nn.MLP(3, [width] * depth + [1], activation=activation, seed=seed)
    loss = mx.mean([(model(row) - 1.0) ** 2 for row in ROWS])
    loss.backward()
    return model, loss


def dead():
    model = nn.MLP(3, [2, 1], seed=0)
    for neuron in model.layers[0].neurons:
        neuron.bias.data = -100.0
    loss = nn.hinge_loss([model(row) for row in ROWS], [1.0, -1.0])
    loss.backward()
    return model, loss


def classes():
    model = nn.MLP(3, [12, 12, 5], seed=1)
    loss = nn.cross_entropy([model(row) for row in ROWS], [1, 4])
    loss.backward()
    return model, loss


def normed():
    model, norm = nn.Layer(3, 2, None, seed=0), nn.BatchNorm(2)
    loss = mx.mean([mx.dot(row, row) for row in norm([model(row) for row in ROWS])])
    loss.backward()
    return model, loss


def plain():
    a, b = Value(2.0, "a"), Value(3.0, "b")
    loss = mx.where(a, ((a * b).tanh() / b).exp(), a) + (a * b).detach()
    loss.backward()
    return SimpleNamespace(parameters=list), loss


GRAPHS = {
    "tanh": trained,
    "deep": lambda: trained("sigmoid", 6, 12),
    "dead": dead,
    "classes": classes,
    "normed": normed,
    "plain": plain,
}


def weight(model, loss):
    """A parameter to ask about, or for lack of one a leaf."""
    return next((p for p in model.parameters() if p.grad), mx.engine.order(loss)[-1])


ACTS = {
    "drop": lambda model, loss, folder: None,
    "draw": lambda model, loss, folder: mx.draw(loss)._repr_mimebundle_(),
    "save a picture": lambda model, loss, folder: mx.draw(loss).save(folder / "graph.dot"),
    "show a value": lambda model, loss, folder: loss._repr_mimebundle_(),
    "page": lambda model, loss, folder: mx.page(loss).save(folder / "page.html"),
    "why": lambda model, loss, folder: str(mx.why(weight(model, loss), loss)),
    "show why": lambda model, loss, folder: mx.why(weight(model, loss), loss)._repr_mimebundle_(),
    "save why": lambda model, loss, folder: mx.why(weight(model, loss), loss).save(
        folder / "why.html"
    ),
    "bounds": lambda model, loss, folder: Bounds(loss, {weight(model, loss): (-1.0, 1.0)}).gates,
    "steps": lambda model, loss, folder: [*loss.backward_steps()],
    "stepper": lambda model, loss, folder: Stepper(loss),
    "copy": lambda model, loss, folder: copy.deepcopy(loss),
    "lift": lambda model, loss, folder: mx.lift(loss)(),
}  # fmt: skip


def left_by(work):
    """What the collector finds after it, when all that is loaded late is there."""
    work()
    gc.freeze()  # what there is by then is not looked through
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        work()
        gc.collect()
        return [*gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()


@pytest.mark.some(6)
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("act", ACTS)
def test_nothing_is_left_of_a_graph(act, graph, tmp_path):
    assert left_by(lambda: ACTS[act](*GRAPHS[graph](), tmp_path) and None) == []


ALONE = {
    "tree": lambda folder: str((graph := trained())[0].tree(graph[1])),
    "save": lambda folder: trained()[0].save(folder / "weights.npz"),
    "state dict": lambda folder: (model := trained()[0]).load_state_dict(model.state_dict()),
    "compare": lambda folder: str(mx.compare(lambda k: (w := Value(k), w * w), [1.0, 2.0])),
    "check": lambda folder: mx.check_gradients(lambda w: w * w.tanh(), Value(2.0)),
    "step": lambda folder: mx.optim.Adam(trained()[0].parameters()).step(),
}


@pytest.mark.parametrize("act", ALONE)
def test_nothing_is_left_of_a_model(act, tmp_path):
    assert left_by(lambda: ALONE[act](tmp_path) and None) == []


def test_nothing_of_ours_is_left_of_loading(tmp_path):
    """NumPy reads the header of an array by `ast.literal_eval`, which leaves cycles of its own."""
    path = trained()[0].save(tmp_path / "weights.npz")
    left = left_by(lambda: trained()[0].load(path))
    assert {getattr(x, "__module__", "ast") for x in left if callable(x)} <= {"ast"}
    assert not [x for x in left if type(x).__module__.startswith("microgradx")]


def test_nothing_is_left_of_a_rule_that_no_array_and_no_script_can_run(temporary_ops):
    @mx.engine.rule(kind="linear")
    def undecided(xp, x):
        """x, by a branch"""
        return (x, 1.0) if x == x else (x, 1.0)

    def lifted():
        with pytest.raises(TypeError, match="branches on its operands"):
            mx.lift(undecided_of(Value(2.0, "a")))()

    def undecided_of(x):
        return mx.engine.apply(undecided, x) * x

    assert left_by(lambda: mx.page(undecided_of(Value(2.0, "a"))) and None) == []
    assert not [x for x in left_by(lifted) if type(x).__module__.startswith("microgradx")]
