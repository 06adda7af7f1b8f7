"""Between arrays and scalars: any sample comes back as a graph of numbers, node by node."""

import numpy as np
import pytest

import microgradx as mx
from microgradx.engine import Value, order
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
