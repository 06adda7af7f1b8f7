"""Anybody's net as a Module: the ways in, from PyTorch, scikit-learn, Keras and ONNX."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from microgradx._base.text import kind_of
from microgradx.interop.adopted import Adopted
from microgradx.nn.module import Module

__all__ = ["adopt"]

# By the package that a class of the object comes from, the file here that adopts it. The file
# imports that package, which is loaded already; nothing else is imported.
WAYS = {
    "torch": "pytorch", "sklearn": "sklearn", "keras": "keras", "tf_keras": "keras",
    "tensorflow": "keras", "onnx": "onnx",
}  # fmt: skip
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib")


def adopt(model: Any, example: Any = None) -> Adopted:
    """Anybody's net as a Module: `why`, `draw`, `page`, `fit`, `record`, `save` work on it.

    model:   a PyTorch module, a scikit-learn MLPClassifier or MLPRegressor or a pipeline of a
             scaler and one, a Keras Sequential or functional net of Dense layers, the path of an
             .onnx file, or a function of one sample, from Values to Values
    example: some rows of data, of which eight are compared; needed where the shape of a sample
             can't be told from the model, as for a convolution. Whole numbers stay whole, for an
             embedding

    The parameters are copies, in float64, with the source's names (`0.weight[2,1]`), frozen ones
    too. The source is left as it is: PyTorch's `forward` is run on a deep copy in `eval()`, on the
    CPU, with arrays of Values; of several outputs the first counts. Dropout does nothing there,
    and batch norm takes its running statistics. A call takes one sample without a batch axis, and
    returns a Value where there is one output.

    Each adoption runs eight rows through the source too and says in `agreement`, and in
    `print(model)`, how well outputs and gradients agree. Beyond 1e-12 it is a ValueError; a
    function of an unknown kind is a TypeError with the line that calls it and what there is; over
    a million parameters, a ValueError with their number. Nothing is ever unpickled.
    """
    if isinstance(model, (str, os.PathLike)):
        return _of_file(os.fspath(model), example)
    if isinstance(model, Module):
        raise TypeError(f"{kind_of(model)} is a Module already; use it as it is")
    for kind in type(model).__mro__:
        if way := WAYS.get(kind.__module__.partition(".")[0]):
            return _way(way)(model, example)
    if callable(model) and not isinstance(model, type):
        return _way("function")(model, example)
    raise TypeError(
        f"adopt takes a net of PyTorch, scikit-learn, Keras or ONNX, or a function of one sample, "
        f"got {kind_of(model)}"
    )


def _of_file(path: Any, example: Any) -> Adopted:
    suffix = os.path.splitext(str(path))[1].lower()
    if suffix == ".onnx":
        return _way("onnx")(path, example)
    if suffix in PICKLES:
        raise ValueError(
            f"{path} holds a pickle, which can run anything, and is never opened here. Load it by "
            "its own library and adopt the net; or take its weights by "
            "safetensors.torch.save_file(net.state_dict(), path) and model.load(path)"
        )
    raise ValueError(f"adopt reads .onnx files, or takes the net itself, got {path!r}")


def _way(name: str) -> Callable[[Any, Any], Adopted]:
    """The function that adopts, of one of the files here."""
    found: Callable[[Any, Any], Adopted] = importlib.import_module(
        f"microgradx.interop.{name}"
    ).adopt
    return found
