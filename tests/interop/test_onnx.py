"""Small .onnx files that PyTorch has written: outputs and gradients to 1e-12 of PyTorch's own.

`onnx_files.py` makes the files, and the figures beside them; neither needs PyTorch here.
"""

import copy
import re

import numpy as np
import pytest

import microgradx as mx
from microgradx._base.arguments import flat
from microgradx.interop.tensors import array_of
from microgradx.nn.module import tensors
from tests.interop import onnx_files

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def sums(model, X, seeds):
    """By Value, the gradient of all outputs of all rows, weighed; and the gradients of the rows."""
    adjoints, inputs = {}, []
    for x, weights in zip(X, seeds):
        row = np.frompyfunc(mx.Value, 1, 1)(x.astype(object))
        ys = array_of(model(row.tolist())).ravel().tolist()
        for node, adjoint in mx.engine.sweep(mx.dot(weights.ravel().tolist(), ys)):
            adjoints[node] = adjoints.get(node, 0.0) + adjoint
        inputs.append([adjoints.get(v, 0.0) for v in row.ravel()])
    return adjoints, np.array(inputs)


@pytest.mark.parametrize("name", onnx_files.NAMES)
def test_outputs_and_gradients_are_pytorchs(name):
    path = onnx_files.path_of(name)
    kept = np.load(path.with_suffix(".npz"))
    model = mx.adopt(str(path), example=kept["X"])
    found = model.predict(kept["X"]).reshape(kept["y"].shape)
    assert np.abs(found - kept["y"]).max() < 1e-12
    adjoints, inputs = sums(model, kept["X"], kept["seeds"])
    assert np.abs(inputs - kept["x_grad"].reshape(inputs.shape)).max() < 1e-12
    own = dict(tensors(model))
    compared = [key[5:] for key in kept.files if key.startswith("grad:") and key[5:] in own]
    assert compared
    for key in compared:
        want = kept[f"grad:{key}"]
        gradient = np.reshape([adjoints.get(p, 0.0) for p in flat(own[key])], want.shape)
        assert np.abs(gradient - want).max() < 1e-12 * max(1.0, np.abs(want).max()), key


def test_matrices_that_an_exporter_has_numbered_are_called_after_their_node():
    kept = np.load(onnx_files.path_of("transformer").with_suffix(".npz"))
    model = mx.adopt(onnx_files.path_of("transformer"), example=kept["X"])
    assert np.shape(model.state_dict()["qkv.weight"]) == (18, 6)
    labels = {n.label for n in mx.engine.order(*flat(model(kept["X"][0]))) if n.rule and n.label}
    assert {"qkv[3,17]", "up[0,7].z", "up[0,7]", "norm1[0,2]", "norm1.mean[3]"} <= labels
    kept = np.load(onnx_files.path_of("nn.LSTM of 2, both ways").with_suffix(".npz"))
    model = mx.adopt(onnx_files.path_of("nn.LSTM of 2, both ways"), example=kept["X"])
    assert np.shape(model.state_dict()["rnn.weight_ih"])[:2] == (2, 16)
    labels = {n.label for n in mx.engine.order(*flat(model(kept["X"][0]))) if n.rule}
    assert len(model.parameters()) == 754
    assert {"rnn[0,3]", "rnn.reverse[0,3]", "rnn_1[2,3]", "rnn_1.reverse[2,3]"} <= labels
    assert "rnn_1.reverse[0,3]" not in labels  # as only the last step is read


def test_it_trains_and_keeps_the_statistics_of_a_norm():
    kept = np.load(onnx_files.path_of("residual").with_suffix(".npz"))
    model = mx.adopt(onnx_files.path_of("residual"))
    before = model.predict(kept["X"])
    mx.fit(model, kept["X"], kept["y"] + 1.0, loss="mse", epochs=2, seed=0)
    assert np.abs(model.predict(kept["X"]) - before).max() > 1e-4
    assert "norm.running_mean" not in model.state_dict()
    twin = copy.deepcopy(model)
    for p in twin.parameters():
        p.data *= 2.0
    assert not np.array_equal(twin.predict(kept["X"]), model.predict(kept["X"]))
    assert re.match(r"<Residual of 243 parameters, its outputs agree with onnx's reference to ",
                    repr(model))  # fmt: skip


# --- files that are made here --------------------------------------------------------------------


def tiny(*nodes, numbers=(), sample=(3,), kind=TensorProto.FLOAT, inputs=("x",)):
    """A model of some nodes, from x to y."""
    graph = helper.make_graph(
        [helper.make_node(*given, name=f"/part/{given[0]}", **named) for *given, named in nodes],
        "tiny",
        [helper.make_tensor_value_info(name, kind, ["n", *sample]) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "k"])],
        [numpy_helper.from_array(np.asarray(x, np.float32), name) for name, x in numbers],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


W = [[0.1, -0.2], [0.3, 0.4], [-0.5, 0.6]]
X3 = np.random.default_rng(0).normal(size=(8, 3))
ALONE = {
    "Clip": [("Clip", ["z"], ["y"], {})],
    "Elu, Selu": [("Elu", ["z"], ["a"], {"alpha": 0.5}), ("Selu", ["a"], ["y"], {})],
    "Reduce": [("ReduceSumSquare", ["z"], ["a"], {}), ("Sqrt", ["a"], ["b"], {}),
               ("Div", ["z", "b"], ["y"], {})],
    "Split": [("Split", ["z"], ["a", "b"], {"axis": 1, "num_outputs": 2}),
              ("Mul", ["a", "b"], ["y"], {})],
    "Softmax": [("Softmax", ["z"], ["a"], {}), ("LogSoftmax", ["a"], ["y"], {})],
    "Max, Min": [("Max", ["z", "c"], ["a"], {}), ("Min", ["a", "z"], ["b"], {}),
                 ("Greater", ["z", "c"], ["m"], {}), ("Where", ["m", "b", "z"], ["y"], {})],
    "Pow": [("Exp", ["z"], ["a"], {}), ("Pow", ["a", "s"], ["b"], {}),
            ("Reciprocal", ["b"], ["y"], {})],
    "Pad": [("HardSigmoid", ["z"], ["a"], {}), ("Softsign", ["a"], ["b"], {}),
            ("Concat", ["a", "b"], ["y"], {"axis": 1})],
    "Gelu": [("Gelu", ["z"], ["a"], {"approximate": "tanh"}), ("Mish", ["a"], ["y"], {})],
}  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
def test_a_function_is_that_of_onnxs_reference(name):
    model = tiny(
        ("MatMul", ["x", "w"], ["z"], {}),
        *ALONE[name],
        numbers=[("w", W), ("c", [0.1]), ("s", 1.5)],
    )
    agreement = mx.adopt(model, example=X3).agreement
    assert float(agreement.rpartition(" ")[2].replace("exactly", "0")) < 1e-7


def test_what_is_compared_and_scalars_are_no_parameters():
    nodes = [
        ("MatMul", ["x", "w"], ["z"], {}),
        ("Greater", ["z", "limit"], ["on"], {}),
        ("Mul", ["z", "half"], ["a"], {}),
        ("Where", ["on", "a", "other"], ["y"], {}),
    ]
    numbers = [("w", W), ("limit", [0.1, 0.2]), ("half", 0.5), ("other", [1.0, 2.0])]
    model = mx.adopt(tiny(*nodes, numbers=numbers))
    assert {*model.state_dict()} == {"w", "other"}
    assert np.shape(model.state_dict()["w"]) == (2, 3)  # a row for each neuron


LINEAR = ("MatMul", ["x", "w"], ["y"], {})


def hostile(kind, tmp_path):
    """The path of a damaged file, or one that asks for too much."""
    whole = tiny(LINEAR, numbers=[("w", W)])
    path = tmp_path / "x.onnx"
    if kind == "truncated":
        path.write_bytes(whole.SerializeToString()[:-9])
    elif kind == "text":
        path.write_text("no net at all")
    elif kind == "other files":
        whole.graph.initializer[0].data_location = TensorProto.EXTERNAL
        whole.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
        path.write_bytes(whole.SerializeToString())
    elif kind == "large":
        whole.graph.initializer[0].dims[:] = [2000, 2000]
        whole.graph.initializer[0].raw_data = b""
        path.write_bytes(whole.SerializeToString())
    elif kind == "a bomb":
        shape = numpy_helper.from_array(np.array([10**6, 10**6]), "s")
        bomb = tiny(("ConstantOfShape", ["s"], ["a"], {}), ("MatMul", ["x", "w"], ["z"], {}),
                    ("Gather", ["a", "z"], ["y"], {}), numbers=[("w", W)])  # fmt: skip
        bomb.graph.initializer.append(shape)
        path.write_bytes(bomb.SerializeToString())
    return path


@pytest.mark.parametrize("kind, words", [
    ("truncated", "can't be read as .onnx|no valid .onnx"),
    ("text", "can't be read as .onnx|no valid .onnx"),
    ("other files", "weights in other files"),
    ("large", "4,000,000 parameters|no valid .onnx"),
    ("a bomb", "1,000,000,000,000 numbers of few"),
])  # fmt: skip
def test_a_damaged_or_hostile_file_is_a_value_error(kind, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        mx.adopt(hostile(kind, tmp_path), example=X3)


@pytest.mark.parametrize("model, kind, words", [
    (lambda: tiny(("Erf", ["x"], ["y"], {})), TypeError, r"Erf \(/part/Erf\) is.*supported are "),
    (lambda: tiny(("Add", ["x", "b"], ["y"], {}), inputs="xb"), TypeError, r"2 inputs \(x, b\)"),
    (lambda: tiny(LINEAR, numbers=[("w", W)], sample=("h",)), TypeError, r"example=X\[:8\]"),
])  # fmt: skip
def test_a_net_that_is_not_known_is_one_clear_error(model, kind, words):
    with pytest.raises(kind, match=words):
        mx.adopt(model())


def test_a_missing_file_and_other_suffixes():
    with pytest.raises(FileNotFoundError):
        mx.adopt("nowhere.onnx")
    with pytest.raises(ValueError, match="never opened here.*safetensors"):
        mx.adopt("net.pt")
    with pytest.raises(ValueError, match="reads .onnx files"):
        mx.adopt("net.h5")
