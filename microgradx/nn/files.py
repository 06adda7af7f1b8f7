"""Tensors in a file, by name: .npz or .safetensors, never a pickle, and nothing in it is run."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from microgradx._base.files import write_whole
from microgradx._base.text import clean

if TYPE_CHECKING:
    from pathlib import Path

# What only files need is imported where they are opened: importing microgradx stays quick.

NO_NAMES = {"file", "allow_pickle", "__metadata__"}  # np.savez and safetensors have other uses


class WeightsError(ValueError):
    """The file is damaged or of another kind, or its tensors are not those of the model."""


def write(path: str | os.PathLike[str], tensors: Mapping[str, Any]) -> Path:
    """Put tensors, nested lists by name, at `path` in float64: all of them or nothing.

    The suffix is the format. ValueError for another one and for a name that no file can hold,
    FileNotFoundError without the folder, ImportError without the package safetensors.
    """
    import numpy as np

    path = _checked(path)
    if not path.parent.is_dir():
        where = clean(f"{path.parent} for {path.name}")
        raise FileNotFoundError(f"there is no folder {where}; make it first")
    for name in tensors:
        if name in NO_NAMES or name.endswith(".npy") or {"\0", "\\"} & set(name):
            raise ValueError(f"no file can hold the name {name!r}; rename the parameter")
    arrays = {name: np.array(data, "<f8") for name, data in tensors.items()}
    if path.suffix == ".npz":
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]  # floats: nothing is pickled
        write_whole(path, content.getvalue())
    else:
        write_whole(path, _safetensors().save(arrays))
    return path


def read(path: str | os.PathLike[str], shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays at `path` by name; those named in `shapes` have that shape.

    WeightsError, which says what to do, if the file is damaged or of another kind, or an array has
    another shape or holds no real numbers. Other errors as for `write`.
    """
    path = _checked(path)
    decode = _from_npz if path.suffix == ".npz" else _safetensors().load
    content = path.read_bytes()
    try:
        arrays: dict[str, Any] = decode(content)
        for name, array in arrays.items():
            if array.dtype.kind not in "iuf":
                raise ValueError(f"{name} holds {array.dtype}, no real numbers")
            if array.shape != shapes.get(name, array.shape):
                raise ValueError(f"{name} expected {shapes[name]}, got {array.shape}")
    except Exception as error:  # whatever a reader says of a file that is not its own
        reason = f"NumPy has no {error.args[0]}" if isinstance(error, KeyError) else error
        raise WeightsError(
            clean(f"{path} can't be loaded: {reason}") + ". Load what save() of a model of this "
            "shape wrote, or PyTorch's safetensors.torch.save_file() in float32 or float64"
        ) from error
    return arrays


def _checked(path: str | os.PathLike[str]) -> Path:
    """The Path, if its suffix is that of a format."""
    from pathlib import Path

    path = Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"weights are kept as .npz or .safetensors, got {str(path)!r}")
    return path


def _from_npz(content: bytes) -> dict[str, Any]:
    import numpy as np

    with np.lib.npyio.NpzFile(io.BytesIO(content), allow_pickle=False) as archive:
        arrays: dict[str, Any] = {}
        for name in archive.files:
            if name in arrays:
                raise ValueError(f"it holds {name} twice")
            try:
                arrays[name] = np.asarray(archive[name])
            except Exception as error:
                raise ValueError(f"{name} in it is no whole array: {error}") from None
    return arrays


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError("for .safetensors, pip install 'microgradx[safetensors]'") from error
    return safetensors.numpy
