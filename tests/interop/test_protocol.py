"""PyTorch's protocol, by a stand-in where PyTorch is not installed; functions; what is loaded."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import microgradx as mx
from tests.interop import standin

X = np.random.default_rng(0).normal(size=(8, 3))


@pytest.fixture
def torch(monkeypatch):
    made = standin.module()
    monkeypatch.setitem(sys.modules, "torch", made)
    return made


class Net(standin.Module):
    """Its own forward, with a parameter that is computed with and a layer that is called twice."""

    def __init__(self, end=standin.tanh):
        super().__init__()
        self.fc, self.back = standin.Linear(3, 4), standin.Linear(4, 3)
        self.scale = standin.Parameter(np.full(3, 0.5))
        self.end = end

    def forward(self, x):
        for _ in range(2):
            x = self.back(standin.relu(self.fc(x))) * self.scale.exp()
        return self.end(x + x)


def test_a_forward_is_run_on_values(torch):
    model = mx.adopt(Net(), example=X)
    assert re.fullmatch(r"agrees with PyTorch to \de-1[4-7]", model.agreement)
    assert list(model.state_dict()) == ["scale", "fc.weight", "fc.bias", "back.weight", "back.bias"]
    want = Net()(standin.Tensor(X)).array
    assert np.abs(model.predict(X) - want).max() < 1e-14
    labels = {node.label for node in mx.engine.order(*model(X[0])) if node.rule}
    assert {"fc[0,3].z", "fc[0,3]", "fc[1,3].z", "back[1,2]"} <= labels


def test_one_net_runs_in_many_threads(torch):
    model = mx.adopt(Net(), example=X)
    want = model.predict(X)
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda _: model.predict(X), range(12))]
    assert all(np.array_equal(each, want) for each in found)


def test_what_is_not_known_is_named_with_its_line(torch):
    def end(x):
        return x.erfinv()

    line = end.__code__.co_firstlineno + 1
    words = rf"erfinv is not supported on Values, .*test_protocol.py:{line} in the net \(Net\)"
    with pytest.raises(TypeError, match=words):
        mx.adopt(Net(end), example=X)


def test_a_net_that_disagrees_is_refused_with_the_difference(torch):
    def end(x):
        return standin.Tensor(x.array, (x,), lambda g: (g * 1.001,)) if type(x) is (
            standin.Tensor) else x  # fmt: skip

    with pytest.raises(ValueError, match=r"differs from PyTorch by 1.0e-03, .* of 8 rows"):
        mx.adopt(Net(end), example=X)


# --- functions -----------------------------------------------------------------------------------


def test_a_function_of_one_sample_is_adopted():
    w = [mx.Value(0.5, "w[0]"), mx.Value(-1.5, "w[1]"), mx.Value(0.25)]

    def score(x):
        return mx.tanh(mx.dot(w, [*x]) * mx.Value(2.0, "made anew"))

    model = mx.adopt(score, example=X)
    assert {*model.parameters()} == {*w} and "is the function itself" in str(model)
    assert np.allclose(model.predict(X), np.tanh(2 * X @ [0.5, -1.5, 0.25]), atol=1e-15)
    mx.fit(model, X, np.zeros(8), loss="mse", epochs=2)
    assert abs(w[0].data - 0.5) > 1e-9


@pytest.mark.parametrize("fn, named, kind, words", [
    (lambda x: x, {}, TypeError, r"example=X\[:8\]"),
    (lambda x: [v * 2.0 for v in x], {"example": X}, ValueError, "no parameters"),
    (lambda x: 1.0, {"example": X}, TypeError, "returned a float"),
    (3, {}, TypeError, "got an int"),
    (mx.nn.MLP(2, [1], seed=0), {}, TypeError, "is a Module already"),
])  # fmt: skip
def test_bad_input_is_one_clear_error(fn, named, kind, words):
    with pytest.raises(kind, match=words):
        mx.adopt(fn, **named)


def test_nothing_is_imported_that_the_object_does_not_come_from():
    code = (
        "import sys, microgradx as mx; w = mx.Value(1.0, 'w')\n"
        "mx.adopt(lambda x: w * x, example=[1.0, 2.0])\n"
        "assert not {'torch', 'sklearn', 'keras', 'onnx'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
