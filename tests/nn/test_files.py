"""Weights in files: what comes back is what was saved, and a bad file changes and runs nothing."""

import io
import json
import os
import pickle
import struct
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from microgradx import nn
from microgradx.engine import Value
from microgradx.nn import MLP, Layer, Module, Neuron, WeightsError
from microgradx.nn import files as weights
from microgradx.nn.module import IncompatibleKeys

SUFFIXES = [".npz", ".safetensors"]
EDGES = [-0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), float("nan"), 0.1]


class Net(Module):
    """Tensors of every rank, in every kind of part."""

    def __init__(self):
        self.gain = Value(0.1)
        self.row = [Value(x) for x in EDGES]
        self.cube = [[[Value(i + 10 * j + 100 * k) for i in range(4)] for j in range(3)]
                     for k in range(2)]  # fmt: skip
        self.encoder = MLP(2, [3, 1], seed=3)
        self.heads = {"a": Layer(2, 2, seed=4), "file": Neuron(3, seed=5), "ä/b": [Value(7.0)]}
        self.tied = self.gain


def with_attributes(**parts):
    model = Module()
    for name, part in parts.items():
        setattr(model, name, part)
    return model


def bits(model):
    """The state dict down to the last bit."""
    state = model.state_dict()
    return {x: np.array(data, "<f8").tobytes() for x, data in state.items()}


def cleared(make):
    """A model of the same shapes that holds none of the same numbers."""
    model = make()
    for i, parameter in enumerate(model.parameters()):
        parameter.data = 1000.5 + i
    return model


# --- there and back ---------------------------------------------------------------------------

NAMES = ["args", "kwds", "self", "arr_0", "w", "w.npz", "", "/", "a/../b", "ñ"]
MODELS = {
    "mlp": lambda: MLP(2, [16, 16, 1], "tanh", seed=1),
    "one weight": lambda: MLP(1, [1], seed=2),
    "layer": lambda: Layer(3, 2, seed=1),
    "neuron": lambda: Neuron(4, seed=1),
    "net": Net,
    "scalar": lambda: with_attributes(gain=Value(-0.0)),
    "nothing": Module,
    "argument names": lambda: with_attributes(**{name: Value(i) for i, name in enumerate(NAMES)}),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_what_comes_back_is_what_was_saved_to_the_bit(tmp_path, make, suffix):
    model, twin, path = make(), cleared(make), tmp_path / f"model{suffix}"
    assert model.save(path) == path and isinstance(model.save(str(path)), Path)
    keys = twin.load(str(path))
    assert keys == ([], []) and isinstance(keys, IncompatibleKeys)
    assert bits(twin) == bits(model)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_model_makes_one_file(tmp_path, suffix):
    a, b = (Net().save(tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert a == b


def test_numpy_and_safetensors_read_the_files_as_their_own(tmp_path):
    model = MLP(2, [3, 1], seed=1)
    with np.load(model.save(tmp_path / "model.npz"), allow_pickle=False) as archive:
        of_numpy = dict(archive)
    of_safetensors = safetensors.numpy.load_file(model.save(tmp_path / "model.safetensors"))
    for arrays in (of_numpy, of_safetensors):
        assert {x: array.tolist() for x, array in arrays.items()} == model.state_dict()
        assert {str(array.dtype) for array in arrays.values()} == {"float64"}
        assert arrays["layers.0.weight"].shape == (3, 2) and arrays["layers.1.bias"].shape == (1,)


DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


@pytest.mark.parametrize("dtype", [*DTYPES, ">f4", ">f8", ">i2"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, safetensors.numpy.save_file])
def test_floats_and_ints_of_other_sizes_are_loaded_exactly(tmp_path, dtype, save):
    numbers = (np.arange(6).reshape(3, 2) * np.array(1.25)).astype(dtype)
    model = with_attributes(w=[[Value(0.0), Value(0.0)] for _ in range(3)], b=Value(0.0))
    scalar = np.array(7).astype(dtype)
    if save is safetensors.numpy.save_file:
        save({"w": numbers, "b": scalar}, path := tmp_path / "model.safetensors")
    else:
        save(path := tmp_path / "model.npz", w=np.asfortranarray(numbers), b=scalar)
    model.load(path)
    assert model.state_dict() == {"w": numbers.tolist(), "b": 7.0}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_not_strict_loads_what_agrees_and_says_what_does_not(tmp_path, suffix):
    path = with_attributes(w=[Value(5.0)], more=Value(1.0)).save(tmp_path / f"model{suffix}")
    model = with_attributes(w=[Value(0.0)], gain=Value(2.0))
    assert model.load(path, strict=False) == (["gain"], ["more"])
    assert model.state_dict() == {"w": [5.0], "gain": 2.0}


def test_a_model_goes_to_pytorch_and_back(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    def twin():
        made = torch.nn.Module()
        made.layers = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
        return made.double()

    model, there = MLP(2, [3, 1], output="linear", activation="linear", seed=1), twin()
    there.load_state_dict(load_file(model.save(tmp_path / "model.safetensors")))
    x = [0.5, -1.5]
    assert there.layers(torch.tensor(x).double()).item() == pytest.approx(model(x).data, rel=1e-14)
    with np.load(model.save(tmp_path / "model.npz")) as archive:
        there.load_state_dict({name: torch.from_numpy(archive[name]) for name in archive})

    for kind in (torch.float64, torch.float32, torch.float16):
        other = twin().to(kind)
        save_file(other.state_dict(), tmp_path / "back.safetensors")
        assert model.load(tmp_path / "back.safetensors") == ([], [])
        expected = {name: tensor.tolist() for name, tensor in other.state_dict().items()}
        assert model.state_dict() == expected
    state = {name: tensor.numpy() for name, tensor in there.state_dict().items()}
    np.savez(tmp_path / "back.npz", **state)
    model.load(tmp_path / "back.npz")
    assert model.state_dict() == {name: array.tolist() for name, array in state.items()}


# --- whole or not at all ------------------------------------------------------------------------


class Broken:
    """A file whose disk is full, or whose user is impatient, half-way."""

    def __init__(self, file, error):
        self.file, self.error = file, error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        self.file.flush()
        raise self.error


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("broken", ["refused", "open", "write", "fsync", "replace"])
@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_save_leaves_what_was_there(
    tmp_path, monkeypatch, suffix, older, broken, error
):
    path = tmp_path / f"model{suffix}"
    before = MLP(2, [3, 1], seed=1).save(path).read_bytes() if older else None

    def interrupted(*_):
        raise error

    def opened(*args):
        if broken == "refused":
            raise error
        file = open(*args)
        if broken == "write":
            return Broken(file, error)
        file.close()
        raise error

    if broken in ("refused", "open", "write"):
        monkeypatch.setattr("microgradx._base.files.open", opened, raising=False)
    else:
        monkeypatch.setattr(os, broken, interrupted)
    with pytest.raises(type(error)):
        MLP(2, [3, 1], seed=2).save(path)
    assert os.listdir(tmp_path) == ([path.name] if older else [])
    assert not older or path.read_bytes() == before


def test_the_draft_is_whole_and_on_the_disk_before_it_takes_the_place(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    path = MLP(2, [1], seed=1).save(tmp_path / "model.npz")
    size = path.stat().st_size

    def synced(handle):
        done.append(("fsync", os.fstat(handle).st_size))
        fsync(handle)

    def replaced(draft, target):
        done.append(("replace", Path(draft).parent, target))
        replace(draft, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    MLP(2, [1], seed=2).save(path)
    assert done == [("fsync", size), ("replace", tmp_path, path)]


def test_a_saved_file_has_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    path = MLP(2, [1]).save(tmp_path / "model.npz")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_in_the_way_or_missing(tmp_path, suffix):
    (tmp_path / f"model{suffix}").mkdir()
    with pytest.raises(OSError):
        MLP(2, [1]).save(tmp_path / f"model{suffix}")
    with pytest.raises(FileNotFoundError, match="no folder .*missing for model.*; make it first"):
        MLP(2, [1]).save(tmp_path / "missing" / f"model{suffix}")
    assert os.listdir(tmp_path) == [f"model{suffix}"]
    with pytest.raises(FileNotFoundError, match="missing"):
        MLP(2, [1]).load(tmp_path / f"missing{suffix}")


@pytest.mark.parametrize("name", ["model.pt", "model", "model.npz.bak", "model.npy", ".npz"])
def test_another_suffix_is_refused(tmp_path, name):
    for use in (MLP(2, [1]).save, MLP(2, [1]).load):
        with pytest.raises(ValueError, match=r"kept as \.npz or \.safetensors, got .*" + name):
            use(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_without_safetensors_the_error_says_what_to_install(tmp_path, monkeypatch):
    model = MLP(2, [1], seed=1)
    path = model.save(tmp_path / "model.safetensors")
    before = path.read_bytes()
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    for use in (model.save, model.load):
        with pytest.raises(ImportError, match=r"pip install 'microgradx\[safetensors\]'"):
            use(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]
    model.load(model.save(tmp_path / "model.npz"))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "name", ["__metadata__", "file", "allow_pickle", "w.npy", "a\0b", "a\\b", "\ud800"]
)
def test_a_name_that_no_file_can_hold_is_refused(tmp_path, suffix, name):
    with pytest.raises(ValueError, match="no file can hold the name|surrogates not allowed"):
        with_attributes(**{name: Value(1.0), "w": Value(2.0)}).save(tmp_path / f"model{suffix}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("parts", [{"a.b": Value(1.0), "a": {"b": Value(2.0)}},
                                   {"a": {0: Value(1.0), "0": Value(2.0)}}])  # fmt: skip
def test_two_tensors_of_one_name_are_refused_not_lost(tmp_path, parts):
    model = with_attributes(**parts)
    uses = [model.state_dict, lambda: model.load_state_dict({}),
            lambda: model.save(tmp_path / "model.npz"),
            lambda: model.load(tmp_path / "model.npz")]  # fmt: skip
    for use in uses:
        with pytest.raises(ValueError, match=r"two tensors .* named a\.[b0]; rename"):
            use()
    assert [p.data for p in model.parameters()] == [1.0, 2.0] and os.listdir(tmp_path) == []


# --- bad files ----------------------------------------------------------------------------------

ran = []  # what the payload of a pickle leaves behind


def run():
    ran.append("the payload")


class Payload:
    def __reduce__(self):
        return run, ()


def npy(array):
    content = io.BytesIO()
    np.lib.format.write_array(content, np.asanyarray(array))
    return content.getvalue()


def claim(shape, dtype="<f8", data=b"\0" * 8):
    """A .npy that says it has this shape."""
    content = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue() + data


def zipped(*members, compression=zipfile.ZIP_STORED):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that occurs twice
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


def headed(header, data=b""):
    """A .safetensors file of this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensors_of(tensors):
    header, data = {}, b""
    for name, (dtype, shape, part) in tensors.items():
        offsets = [len(data), len(data) + len(part)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += part
    return headed(header, data)


def objects(x):
    return np.array([x, x], dtype=object)


W, B = npy([[1.0, 2.0]]), npy([3.0])
EIGHT = b"\0" * 8
GOOD = {"weight": ("F64", [1, 2], EIGHT * 2), "bias": ("F64", [1], EIGHT)}
TWICE = (b'{"bias":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},'
         b'"bias":{"dtype":"F64","shape":[1],"data_offsets":[8,16]}}')  # fmt: skip

BAD = {
    "empty npz": (".npz", b"", "not a zip"),
    "text": (".npz", b"weights", "not a zip"),
    "pickle": (".npz", pickle.dumps(Payload()), "not a zip"),
    "npy": (".npz", W, "not a zip"),
    "pickle inside": (".npz", zipped(("bias.npy", B), ("weight.npy", npy(objects(Payload())))),
                      r"weight in it is no whole array: Object"),
    "pickle unasked": (".npz", zipped(("weight.npy", W), ("bias.npy", B),
                                      ("more.npy", npy(objects(Payload())))),
                       r"more in it is no whole array: Object"),
    "pickle in a record": (".npz", zipped(("weight.npy", claim((1, 2), [("a", "O")]))), "Object"),
    "pt": (".npz", zipped(("model/data.pkl", pickle.dumps(Payload())), ("model/data/0", EIGHT)),
           r"model/data\.pkl holds \|S\d+, no real numbers"),
    "npz as safetensors": (".safetensors", zipped(("weight.npy", W)), "header"),
    "empty safetensors": (".safetensors", b"", "header too small"),
    "pickle as safetensors": (".safetensors", pickle.dumps(Payload()), "header"),
    "safetensors as npz": (".npz", tensors_of(GOOD), "not a zip"),
    "twice": (".npz", zipped(("weight.npy", W), ("bias.npy", B), ("weight.npy", W)),
              "holds weight twice"),
    "twice by suffix": (".npz", zipped(("weight.npy", W), ("bias.npy", B), ("weight", W)),
                        "holds weight twice"),
    "twice in json": (".safetensors", headed(TWICE, EIGHT * 2), "offset"),
    "shapes": (".npz", zipped(("weight.npy", npy([[1.0], [2.0]])), ("bias.npy", B)),
               r"weight expected \(1, 2\), got \(2, 1\)"),
    "rank": (".npz", zipped(("weight.npy", W), ("bias.npy", npy(3.0))),
             r"bias expected \(1,\), got \(\)"),
    "shapes of tensors": (".safetensors", tensors_of(GOOD | {"bias": ("F64", [], EIGHT)}),
                          r"bias expected \(1,\), got \(\)"),
    "missing": (".npz", zipped(("weight.npy", W)), "missing: bias; unexpected: none"),
    "unexpected": (".safetensors", tensors_of(GOOD | {"gain": ("F64", [], EIGHT)}),
                   "missing: none; unexpected: gain; strict=False"),
    "other names": (".npz", zipped(("0.weight.npy", W), ("0.bias.npy", B)),
                    "missing: weight, bias; unexpected: 0.weight, 0.bias"),
    "prefix": (".npz", zipped(("weight.npy.npy", W), ("bias.npy", B)), "missing: weight"),
    "text inside": (".npz", zipped(("weight.npy", npy([["a", "b"]])), ("bias.npy", B)),
                    "weight holds <U1, no real numbers"),
    "complex": (".npz", zipped(("weight.npy", npy([[1j, 2j]])), ("bias.npy", B)),
                "weight holds complex128, no real"),
    "dates": (".npz", zipped(("weight.npy", claim((1, 2), "<M8[s]", EIGHT * 2)),),
              "weight holds datetime64"),
    "bools": (".npz", zipped(("weight.npy", npy([[True, False]]))), "weight holds bool"),
    "record": (".npz", zipped(("weight.npy", claim((1, 2), [("a", "<f8")], EIGHT * 2))),
               "weight holds .*, no real"),
    "bool tensors": (".safetensors", tensors_of(GOOD | {"bias": ("BOOL", [1], b"\1")}),
                     "bias holds bool, no real"),
    "float8": (".safetensors", tensors_of(GOOD | {"bias": ("F8_E4M3", [1], b"\1")}),
               "NumPy has no F8_E4M3"),
    "bfloat16": (".safetensors", tensors_of(GOOD | {"bias": ("BF16", [1], b"\0\0")}),
                 "NumPy has no BF16.* in float32"),
    "unknown dtype": (".safetensors", tensors_of(GOOD | {"bias": ("Q64", [1], EIGHT)}), "Q64"),
    "offsets": (".safetensors", headed({"bias": {"dtype": "F64", "shape": [1],
                                                 "data_offsets": [8, 16]}}, EIGHT * 2), "offset"),
    "rest": (".safetensors", tensors_of(GOOD) + b"more", "not fully covered"),
    "short array": (".npz", zipped(("weight.npy", claim((1, 2))), ("bias.npy", B)),
                    r"weight in it is no whole .* EOF"),
    "claim": (".npz", zipped(("weight.npy", claim((2**60,)))), r"weight in it .* too big"),
    "claim in two": (".npz", zipped(("weight.npy", claim((2**40, 2**40)))), r"weight in it"),
    "large claim": (".npz", zipped(("weight.npy", claim((2**34,)))), r"weight in it"),
    "claim of lists": (".npz", zipped(("weight.npy", claim((2**40, 0)))),
                       r"weight expected \(1, 2\), got \(1099511627776, 0\)"),
    "claim of a header": (".npz", zipped(("weight.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff{")), "EOF"),
    "deep header": (".npz", zipped(("weight.npy", b"\x93NUMPY\1\0\x88\x13" + b"(" * 5000)),
                    r"weight in it"),
    "tensor claim": (".safetensors", headed({"weight": {"dtype": "F64", "shape": [2**60],
                                                        "data_offsets": [0, 8]}}, EIGHT), "size"),
    "tensor claim of lists": (".safetensors", tensors_of({"weight": ("F64", [2**40, 0], b"")}),
                              r"weight expected \(1, 2\), got \(1099511627776, 0\)"),
    "tensor header": (".safetensors", struct.pack("<Q", 2**62) + b"{}", "header too large"),
}  # fmt: skip


@pytest.mark.parametrize("suffix, content, text", BAD.values(), ids=BAD)
def test_a_bad_file_is_one_error_and_changes_and_runs_nothing(tmp_path, suffix, content, text):
    model, path = Layer(2, 1, seed=1), tmp_path / f"model{suffix}"
    path.write_bytes(content)
    before = bits(model)
    with pytest.raises(WeightsError, match=f"(?s){text}") as error:
        model.load(path)
    assert str(path) in str(error.value)
    assert "save()" in str(error.value) or "strict=False" in str(error.value)
    assert bits(model) == before
    assert not ran


@pytest.mark.skipif(np.longdouble("1e400") == np.inf, reason="a long double is a float here")
def test_long_doubles_beyond_all_floats_are_that_one_error_too(tmp_path):
    model, path = Layer(2, 1, seed=1), tmp_path / "model.npz"
    before = bits(model)
    np.savez(path, weight=np.full((1, 2), np.longdouble("1e400")), bias=np.zeros(1))
    with pytest.raises(WeightsError, match="a (longdouble|float128) too large for a float"):
        model.load(path)
    assert bits(model) == before


def test_the_payload_would_run(tmp_path):
    np.savez(tmp_path / "model.npz", weight=objects(Payload()))
    with np.load(tmp_path / "model.npz", allow_pickle=True) as archive:
        archive["weight"]
    assert ran and not ran.clear()


def test_not_strict_forgives_names_alone(tmp_path):
    model, path = Layer(2, 1, seed=1), tmp_path / "model.npz"
    before = bits(model)
    path.write_bytes(zipped(("weight.npy", W), ("bias.npy", npy([1.0, 2.0]))))
    with pytest.raises(WeightsError, match="bias expected"):
        model.load(path, strict=False)
    assert bits(model) == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, suffix):
    model, path = Layer(2, 1, seed=1), tmp_path / f"model{suffix}"
    whole, before = Layer(2, 1, seed=2).save(path).read_bytes(), bits(model)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            model.load(path)
    assert bits(model) == before


def test_a_flipped_bit_in_a_npz_file_is_noticed_or_does_not_matter(tmp_path):
    saved, path = Layer(2, 1, seed=2), tmp_path / "model.npz"
    whole, model = saved.save(path).read_bytes(), Layer(2, 1, seed=1)
    before, refused = bits(model), 0
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :])
        try:
            model.load(path)
        except WeightsError:
            refused += 1
            assert bits(model) == before
        else:
            assert bits(model) == bits(saved)
            model = Layer(2, 1, seed=1)
    assert refused > len(whole) / 2


def test_the_error_is_offered_where_models_are():
    assert nn.WeightsError is weights.WeightsError and issubclass(WeightsError, ValueError)
