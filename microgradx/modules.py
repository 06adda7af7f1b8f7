"""A module is a tree of parameters, found by looking at its attributes and named as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from microgradx import weights
from microgradx.engine import Value
from microgradx.nests import flat, nested, shape, show_shape
from microgradx.reals import number

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from numpy.typing import NDArray


class IncompatibleKeys(NamedTuple):
    """The names that `load_state_dict` did not find, and those it had no use for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A model, or a part of one: what it is made of is found by looking at its attributes.

    A leaf Value is a parameter, a nest of lists of them is a tensor of parameters, a Module or a
    list or dict of Modules is a part. Parameters are labelled as PyTorch names them when they are
    assigned: `encoder.layers.0.weight[2,1]`. A list that is changed in place must be assigned
    again to be labelled.
    """

    _path = ""  # its name in the module that owns it

    def parameters(self) -> list[Value]:
        """Every parameter once, in the order of `named_parameters`."""
        return list(dict.fromkeys(p for _, tensor in _tensors(self) for p in flat(tensor)))

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """(name, parameter), each once; a module's own come before those of its parts."""
        seen: set[Value] = set()
        for path, tensor in _tensors(self):
            for name, parameter in _elements(tensor, path):
                if parameter not in seen:
                    seen.add(parameter)
                    yield name, parameter

    def zero_grad(self) -> None:
        """Set the grad of every parameter to 0."""
        for parameter in self.parameters():
            parameter.grad = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The numbers of every parameter tensor, as nested lists in PyTorch's shapes."""
        return {path: _data(tensor) for path, tensor in _named_tensors(self).items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Take the numbers of `state`: nested lists, NumPy arrays, torch tensors.

        Returns the names that were missing and those that were unexpected; if strict, there being
        any is a KeyError. A wrong shape is a ValueError, something other than numbers a TypeError.
        After an error nothing has changed.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict takes a dict, got a {type(state).__name__}")
        tensors = _named_tensors(self)
        keys = IncompatibleKeys(
            [name for name in tensors if name not in state],
            [name for name in state if name not in tensors],
        )
        if strict and any(keys):
            raise KeyError(
                f"missing: {', '.join(keys.missing_keys) or 'none'}; "
                f"unexpected: {', '.join(keys.unexpected_keys) or 'none'}; "
                "strict=False loads the names that agree"
            )
        loaded = {name: nested(state[name]) for name in tensors if name in state}
        wrong = [
            f"{name} expected {show_shape(tensors[name])}, got {show_shape(numbers)}"
            for name, numbers in loaded.items()
            if shape(numbers) != shape(tensors[name])
        ]
        if wrong:
            raise ValueError(f"shapes differ: {'; '.join(wrong)}")
        data = [number(x) for x in flat(list(loaded.values()))]
        for parameter, x in zip(flat([tensors[name] for name in loaded]), data):
            parameter.data = x
        return keys

    def predict(self, X: Any) -> NDArray[Any]:
        """The outputs for every sample in X, computed by NumPy from today's parameters.

        X is an array or nested lists, one entry a sample: (n, inputs) for an `nn.MLP`. The shape is
        (n,) where a call returns one Value, (n, outputs) where it returns a list. No samples, one
        of another width or a number that is not finite is a ValueError. The model is recorded
        anew at each call: keep a `replay.record(model, X[0])` for many small ones.
        """
        from microgradx.replay import record
        from microgradx.samples import outputs, samples

        rows, model = samples("X", X), cast("Callable[[Any], Any]", self)
        return outputs(record(model, rows[0].tolist()), rows)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the state dict in float64 to a .npz or .safetensors file; returns its Path.

        A file that was there is replaced by the whole new one, or after any error untouched.
        Another suffix is a ValueError, a missing folder a FileNotFoundError; .safetensors without
        `pip install 'microgradx[safetensors]'` is an ImportError.
        """
        return weights.write(path, self.state_dict())

    def load(self, path: str | os.PathLike[str], strict: bool = True) -> IncompatibleKeys:
        """Take the numbers of a .npz or .safetensors file, as `load_state_dict` takes a dict's.

        Floats of 16 to 64 bits and ints will do; nothing in the file is run. WeightsError, a
        ValueError, if it is damaged, of another kind or not this model's; other errors as for
        `save`. After an error nothing has changed.
        """
        tensors = _named_tensors(self)
        state = weights.read(path, {name: shape(tensor) for name, tensor in tensors.items()})
        try:
            return self.load_state_dict(state, strict)
        except KeyError as error:
            raise weights.WeightsError(f"{path}: {error.args[0]}") from None

    def __setattr__(self, name: str, part: Any) -> None:
        super().__setattr__(name, part)
        label_parts(part, join(self._path, name), self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.parameters())} parameters>"

    def _parts(self) -> Mapping[str, Any]:
        """What to look for parameters in, by name."""
        return vars(self)

    def _called(self, path: str) -> None:
        """Take note of the path that the owner knows this module by."""
        self.__dict__["_path"] = path


# --- the tree of a module -----------------------------------------------------------------------


def _data(tensor: Any) -> Any:
    return tensor.data if isinstance(tensor, Value) else [_data(part) for part in tensor]


def _is_tensor(x: Any) -> bool:
    """Whether x is a parameter, or a rectangular nest of parameters."""
    if not isinstance(x, (Value, list, tuple)) or shape(x) is None:
        return False
    return all(isinstance(p, Value) and p.rule is None for p in flat(x))


def _elements(tensor: Any, path: str, *index: int) -> Iterator[tuple[str, Value]]:
    """(name, parameter) for each element: the path, then its indices in brackets."""
    if isinstance(tensor, Value):
        yield f"{path}[{','.join(map(str, index))}]" if index else path, tensor
    else:
        for i, part in enumerate(tensor):
            yield from _elements(part, path, *index, i)


def join(path: str, name: Any) -> str:
    """The name of a part: `layers` and 0 give `layers.0`."""
    return f"{path}.{name}" if path else str(name)


def _walk(x: Any, path: str, above: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(path, part) for each module and parameter tensor in x; `above` are its owners."""
    if _is_tensor(x):
        yield path, x
        return
    if not isinstance(x, (Module, dict, list, tuple)) or any(x is owner for owner in above):
        return
    if isinstance(x, Module):
        yield path, x
    for name, part in sorted(_parts_of(x), key=lambda item: not _is_tensor(item[1])):
        yield from _walk(part, join(path, name), (*above, x))


def _parts_of(x: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(x, Module):
        return x._parts().items()
    return x.items() if isinstance(x, dict) else enumerate(x)


def _tensors(module: Module) -> Iterator[tuple[str, Any]]:
    """(path, tensor) for each tensor of parameters, as a state dict lists them."""
    return (found for found in _walk(module, "") if not isinstance(found[1], Module))


def _named_tensors(module: Module) -> dict[str, Any]:
    """The tensors by path; a ValueError if two have the same, such as `a.b` and the b of a."""
    found: dict[str, Any] = {}
    for path, tensor in _tensors(module):
        if path in found:
            raise ValueError(f"two tensors of the model are named {path}; rename one of them")
        found[path] = tensor
    return found


def label_parts(part: Any, path: str, *above: Any) -> None:
    """Label the parameters in `part`, and tell its modules, that it is now known by `path`."""
    for name, found in _walk(part, path, above):
        if isinstance(found, Module):
            found._called(name)
        else:
            for label, parameter in _elements(found, name):
                parameter.label = label
