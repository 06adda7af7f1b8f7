"""Between arrays and scalars: any sample comes back as a graph of numbers, node by node."""

import numpy as np
import pytest

import microgradx as mx
from microgradx.engine import Value, order
from microgradx.ops import sum as total
from microgradx.replay import lift, record
from tests.replay.nets import NETS, eager, replayed

w = Value(2.0, "w")


@pytest.mark.parametrize("name", NETS)
def test_every_array_holds_the_numbers_of_a_samples_nodes(name):
    """Of a batch of its own, beside the one that every replay is checked with."""
    net = NETS[name]()
    replay = record(net.fn, *net.example)
    replay(*net.batch)
    arrays = [array for array in replay._arrays.all if array.value is not None]
    for sample in (0, 4, -1):
        nodes = replay._tape.play(np.concatenate([np.ravel(x[sample]) for x in net.batch]))
        assert nodes[replay._tape.outputs[0]].data == replay.scalar(sample).data
        for array in arrays:
            numbers = vars(replay._latest)[array.name]
            numbers = numbers[..., sample] if numbers.ndim > array.ids.ndim else numbers
            for i, number in zip(array.ids.ravel().tolist(), numbers.ravel().tolist()):
                if i < len(nodes):
                    assert number == pytest.approx(nodes[i].data, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("name", ["two_layers", "attention", "penalties"])
def test_a_samples_own_sweep_gives_its_share_of_the_gradient(name):
    net = NETS[name]()
    replay = record(net.fn, *net.example)
    for p in net.parameters:
        p.grad = 0.0
    replay.store()
    for p in net.parameters:
        p.grad = 0.0
    loss, grads = replayed(replay, net.parameters, *net.batch)
    n, total = len(net.batch[0]), 0.0
    for sample in range(n):
        scalar = replay.scalar(sample)
        for p in net.parameters:
            p.grad = 0.0
        scalar.backward()
        total = total + np.array([p.grad for p in net.parameters])
        alone, mine = eager(net, [x[sample : sample + 1] for x in net.batch])
        assert scalar.data == pytest.approx(alone, rel=1e-14)
    assert total / n == pytest.approx(grads, rel=1e-12, abs=1e-13)


def test_the_parameters_are_stored_and_are_the_graphs_own():
    model = mx.nn.MLP(2, [3, 1], seed=1)
    replay = record(lambda x, y: (model(x) - y) ** 2, [1.0, 2.0], 1.0)
    replay([[1.0, 2.0], [0.5, -1.0]], [1.0, 0.0])
    replay.data -= 0.1 * replay.gradient
    loss = replay.scalar(1)
    assert [p.data for p in replay.parameters] == replay.data.tolist()
    assert all(p.grad == 0.0 for p in replay.parameters)  # of this graph there is none yet
    assert set(model.parameters()) <= set(order(loss))
    assert loss.data == ((model([0.5, -1.0]) - 0.0) ** 2).data
    assert replay([[1.0, 2.0]], [1.0]) >= 0.0  # stored is not changed behind its back
    assert loss.data == ((model([0.5, -1.0]) - 0.0) ** 2).data


def test_its_sweep_leaves_the_gradients_of_that_sample_alone():
    model = mx.nn.MLP(2, [3, 1], seed=1)
    replay = record(lambda x, y: (model(x) - y) ** 2, [1.0, 2.0], 1.0)
    replay([[1.0, 2.0], [0.5, -1.0]], [1.0, 0.0])
    replay.scalar(1).backward()
    found = [p.grad for p in model.parameters()]
    model.zero_grad()
    ((model([0.5, -1.0]) - 0.0) ** 2).backward()
    assert found == [p.grad for p in model.parameters()]


def test_it_can_be_explained_and_drawn():
    model = mx.nn.MLP(2, [3, 1], seed=1)
    replay = record(lambda x: model(x), [1.0, 2.0])
    replay([[1.0, 2.0], [0.5, -1.0]])
    score = replay.scalar(1)
    weight = model.parameters()[0]
    assert "layers.0.weight[0,0]" in str(mx.why(weight, score))
    assert "weight[0,0]" in mx.draw(score, nodes=True).source
    assert "layers.0" in mx.draw_dot(score).source
    assert "disconnected" not in str(mx.why(weight, score))


def test_labels_are_kept():
    def fn(x):
        h = (w * x).tanh()
        h.label = "hidden"
        return h * w

    replay = record(fn, 1.0)
    replay([0.5, 0.25])
    labels = [node.label for node in order(replay.scalar(1))]
    assert "hidden" in labels and "w" in labels
    assert "# hidden" in replay.source


def inputs_of(replay, sample=0):
    """The labels of a sample's inputs, and their numbers."""
    nodes = order(replay.scalar(sample))
    leaves = [x for x in nodes if x.rule is None and x not in replay.parameters]
    return {x.label: x.data for x in sorted(leaves, key=lambda x: x.data)}


def test_inputs_are_labelled_by_their_argument_and_place():
    def fn(x, target, rows, *more):
        return total([w * x[0], w * x[1], target, *rows[0], *rows[1], more[0], *more[1]])

    replay = record(fn, [0.0] * 2, 0.0, [[0.0] * 2] * 2, 0.0, [0.0])
    numbers = [[1.0, 2.0], 3.0, [[4.0, 5.0], [6.0, 7.0]], 8.0, [9.0]]
    replay(*[np.array([0.0 * np.array(x), x]) for x in numbers])
    labels = "x[0] x[1] target rows[0,0] rows[0,1] rows[1,0] rows[1,1] more0 more1[0]"
    assert inputs_of(replay, 1) == dict(zip(labels.split(), range(1, 10)))
    score = replay.scalar(1)
    [it] = [x for x in order(score) if x.label == "rows[1,0]"]
    assert str(mx.why(it, score)).startswith("∂sum(48)/∂rows[1,0] = 1: healthy")


def test_an_input_that_is_called_like_a_weight_is_an_input_all_the_same():
    """Factors are weights by their label."""
    v = Value(3.0, "v")
    budgets = []
    for fn in (lambda x: x * 100.0 * v, lambda w: w * 100.0 * v, lambda bias: bias * 100.0 * v):
        replay = record(fn, 1.0)
        replay([50.0])
        budgets.append(mx.why(v, replay.scalar()).budget)
    assert budgets[0] == budgets[1] == budgets[2] and "weight scale" not in budgets[0]
    replay = record(lambda w, weight: w * 2.0 + weight[0] + weight[1] + v, 1.0, [2.0, 3.0])
    replay([1.0], [[2.0, 3.0]])
    assert set(inputs_of(replay)) == {""}


def test_an_input_that_is_called_like_a_statistic_is_no_norms():
    v = Value(3.0, "v")
    replay = record(lambda x, var: v * x / var, 1.0, 1e-3)
    replay([1.0], [1e-3])
    assert "a norm's 1/σ" not in mx.why(v, replay.scalar()).budget


def test_two_arguments_never_have_one_name():
    replay = record(lambda x0, *x: w * x0 + x[0], 1.0, 2.0)
    assert replay([1.0], [5.0]) == 7.0
    assert inputs_of(replay) == {"x0": 1.0, "x0_": 5.0}


def test_the_inputs_of_what_fit_records_are_named():
    class Model(mx.nn.Module):
        def __init__(self):
            self.inner = mx.nn.MLP(2, [1], seed=1)

        def __call__(self, x):
            seen.extend(map(repr, x))
            return self.inner(x)

    model, seen = Model(), []

    def loss(prediction, target):
        seen.append(repr(target))
        return (prediction - target) ** 2

    mx.fit(model, [[1.0, 2.0]] * 3, [1.0] * 3, loss=loss, epochs=1)
    model.predict([[1.0, 2.0]])
    for label in ("x[0]", "x[1]", "target"):
        assert f"Value(recorded, label={label!r})" in seen


def test_a_picture_names_the_inputs():
    model = mx.nn.MLP(2, [3, 1], "tanh", seed=1)
    replay = record(lambda x, target: (model(x) - target) ** 2, [1.0, 2.0], 1.0)
    replay([[1.0, 2.0], [0.5, -1.0]], [1.0, 0.0])
    for picture in (mx.draw(replay.scalar(0)), mx.draw(replay.scalar(0) + replay.scalar(1))):
        assert "x[0]" in picture.source and "x[1]" in picture.source
    source = mx.draw(replay.scalar(0), nodes=True).source
    assert all(f"<b>{name}</b>" in source.lower() for name in ("[0]", "[1]", "target"))


def test_of_outputs_it_is_the_first():
    replay = record(lambda x: [w * x, x], 1.0)
    replay.forward([3.0, 4.0])
    assert replay.scalar(1).data == 8.0


def test_the_numbers_within_a_graph_come_along():
    replay = record(lambda x: mx.dot([w, 3.0, x[0]], [1.0, x[1], w], 0.5) ** 2, [1.0, 2.0])
    replay([[1.0, 2.0], [3.0, 4.0]])
    assert replay.scalar(1).data == (2.0 + 12.0 + 6.0 + 0.5) ** 2


@pytest.mark.parametrize("sample", [1.0, "1", None, [1]])
def test_a_sample_is_asked_for_by_a_whole_number(sample):
    replay = record(lambda x: w * x, 1.0)
    replay([3.0, 4.0])
    with pytest.raises(TypeError, match="interpreted as an integer"):
        replay.scalar(sample)


def test_a_detached_part_comes_along():
    replay = record(lambda x: (w * x).detach() * w, 1.0)
    replay([3.0])
    scalar = replay.scalar()
    w.grad = 0.0
    scalar.backward()
    assert (scalar.data, w.grad) == (12.0, 6.0)


def test_the_one_sample_of_a_lifted_graph():
    x = [Value(1.0), Value(2.0)]
    replay = lift(w * x[0] + x[1], inputs=x)
    replay([3.0, 4.0])
    assert replay.scalar().data == replay.scalar(0).data == 10.0
    with pytest.raises(IndexError, match="sample 1 of a batch of 1"):
        replay.scalar(1)


def test_there_must_be_a_batch_and_such_a_sample():
    replay = record(lambda x: w * x, 1.0)
    with pytest.raises(ValueError, match="no batch yet; call the replay with one first"):
        replay.scalar()
    replay([1.0, 2.0])
    for sample in (2, -3):
        with pytest.raises(IndexError, match=f"sample {sample} of a batch of 2"):
            replay.scalar(sample)


def test_a_parameter_that_was_changed_is_not_overwritten():
    v = Value(3.0, "v")
    replay = record(lambda x: v * x, 1.0)
    replay([1.0])
    v.data = 5.0
    with pytest.raises(ValueError, match="parameter v is 5.0 now and was 3.0"):
        replay.scalar()
    assert v.data == 5.0
