"""Tensors in a file, by name: .npz or .safetensors, never a pickle, and nothing in it is run."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

from microgradx._base.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

# Modules that only files need are imported when one is opened: importing microgradx stays quick.

MOST = 1 << 28  # bytes that a file may unpack to: 33 million weights, which no graph of scalars has


class WeightsError(ValueError):
    """The file is damaged or of another kind, or its tensors are not those of the model."""


def write(path: str | os.PathLike[str], tensors: Mapping[str, Any]) -> Path:
    """Put tensors, nested lists by name, at `path` in float64: all of them or nothing.

    The suffix is the format. ValueError for another one and for a name that no file can hold,
    FileNotFoundError without the folder, ImportError without the package safetensors.
    """
    import numpy as np

    path, encode, _ = _format(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path.name}; make it first")
    for name in tensors:
        if name == "__metadata__" or {"\0", "\\"} & set(name):  # .safetensors' own word; zip's
            raise ValueError(f"no file can hold the name {name!r}; rename the parameter")
    write_whole(path, encode({name: np.array(data, "<f8") for name, data in tensors.items()}))
    return path


def read(path: str | os.PathLike[str], shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays at `path` by name; those named in `shapes` have that shape.

    WeightsError, which says what to do, if the file is damaged or of another kind, or an array has
    another shape or holds no real numbers. Other errors as for `write`.
    """
    path, _, decode = _format(path)
    found: dict[str, Any] = {}
    with open(path, "rb") as file:
        try:
            for name, array in decode(file):
                if name in found:
                    raise ValueError(f"it holds {name} twice")
                if array.dtype.kind not in "iuf":
                    raise ValueError(f"{name} holds {array.dtype}, no real numbers")
                if array.shape != shapes.get(name, array.shape):
                    raise ValueError(f"{name} expected {shapes[name]}, got {array.shape}")
                found[name] = array
        except ImportError:
            raise
        except Exception as error:  # whatever a reader says of a file that is not its own
            raise WeightsError(
                f"{path} can't be loaded: {error}. Load what save() of a model of this shape "
                "wrote, or PyTorch's safetensors.torch.save_file()"
            ) from error
    return found


def _format(path: str | os.PathLike[str]) -> tuple[Path, Callable[..., bytes], Callable[..., Any]]:
    """The Path, and the functions that encode and decode its format."""
    from pathlib import Path

    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"weights are kept as {' or '.join(FORMATS)}, got {str(path)!r}")
    return path, *FORMATS[path.suffix]


def _to_npz(arrays: dict[str, Any]) -> bytes:
    """The format of np.savez, for any name: np.savez takes `file` for its own argument."""
    import zipfile

    from numpy.lib import format

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                format.write_array(member, array, allow_pickle=False)
    return content.getvalue()


def _from_npz(file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    import zipfile

    from numpy.lib import format

    with zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > MOST:
            raise ValueError(f"it unpacks to more than {MOST:,} bytes")
        for member in archive.infolist():
            content = io.BytesIO(archive.read(member))
            try:
                array = format.read_array(content, allow_pickle=False)
            except Exception as error:
                raise ValueError(f"{member.filename} in it is no whole array: {error}") from None
            yield member.filename.removesuffix(".npy"), array


def _to_safetensors(arrays: dict[str, Any]) -> bytes:
    return bytes(_safetensors().numpy.save(arrays))


def _from_safetensors(file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    import numpy as np

    for name, tensor in _safetensors().deserialize(file.read()):
        if tensor["dtype"] not in DTYPES:
            raise ValueError(f"{name} holds {tensor['dtype']}, no real numbers")
        array = np.frombuffer(tensor["data"], DTYPES[tensor["dtype"]])
        if tensor["dtype"] == "BF16":
            array = (array.astype("u4") << 16).view("f4")  # it is the upper half of a float32
        yield name, array.reshape(tensor["shape"])


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError("for .safetensors, pip install 'microgradx[safetensors]'") from error
    return safetensors


FORMATS = {".npz": (_to_npz, _from_npz), ".safetensors": (_to_safetensors, _from_safetensors)}
DTYPES = {f"{x}{8 * n}": f"<{x.lower()}{n}" for x in "FIU" for n in (1, 2, 4, 8)} | {"BF16": "<u2"}
