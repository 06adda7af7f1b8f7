"""A module is a tree of parameters, found by looking at its attributes and named as in PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import product, repeat
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from microgradx._base.arguments import flat, nested, number, shape, show_shape
from microgradx._base.attributes import put
from microgradx._base.text import clean, count, kind_of
from microgradx.engine import Value, list_of_operands, zero_grads
from microgradx.nn import files as weights
from microgradx.nn.lost import displacing, lost

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from numpy.typing import NDArray

    from microgradx.nn.tree import Tree

M = TypeVar("M", bound="Module")


class IncompatibleKeys(NamedTuple):
    """The names that `load_state_dict` did not find, and those that it did not use."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A model, or a part of one; its parts are found by looking at its attributes.

    A leaf Value is a parameter, a nest of lists of them is a tensor of parameters, a Module or a
    list or dict of Modules is a part. Parameters are labelled as PyTorch names them when they are
    assigned: `encoder.layers.0.weight[2,1]`. A list that is changed in place must be assigned
    again to be labelled. A computed Value or a number in a parameter's place is a TypeError; leaves
    where none are looked for, as in a set, are a warning. Attributes that are named in `_buffers`
    hold numbers, or nests or arrays of them: they belong to the state, as lists, and are no
    parameters.
    """

    training = True  # what `train` and `eval` set
    _buffers: tuple[str, ...] = ()
    _path = ""  # its name in the module that owns it

    def parameters(self) -> list[Value]:
        """Every parameter once, in the order of `named_parameters`."""
        return list(dict.fromkeys(p for _, tensor in tensors(self) for p in flat(tensor)))

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """(name, parameter), each once; a module's own come before those of its parts."""
        names: dict[Value, str] = {}
        for path, tensor in tensors(self):
            for name, parameter in _elements(tensor, path):
                names.setdefault(parameter, name)
        return zip(names.values(), names)

    def zero_grad(self) -> None:
        """Set the grad of every parameter to 0."""
        zero_grads(self.parameters())

    def train(self: M, mode: bool = True) -> M:
        """Set `training` to `mode`, here and in every part; returns self. TypeError for no bool."""
        if not isinstance(mode, bool):
            raise TypeError(f"train takes True or False, got {mode!r:.60}")
        parts = [part for _, part in _walk(self, "") if isinstance(part, Module)]
        put("training", parts, repeat(mode))
        return self

    def eval(self: M) -> M:
        """`train(False)`: from now on the model is used, not trained."""
        return self.train(False)

    def state_dict(self) -> dict[str, Any]:
        """The numbers of every parameter tensor and buffer, nested lists in PyTorch's shapes.

        A module's own parameters come first, then its buffers, then its parts.
        """
        return {path: _data(slot.content) for path, slot in _state(self).items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Take the numbers of `state`: nested lists, NumPy arrays, torch tensors.

        Returns the names that were missing and those that were unexpected; if strict, there being
        any is a KeyError. A wrong shape is a ValueError, as is a fraction for an int of a buffer,
        something other than numbers a TypeError. After an error nothing has changed.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict takes a dict, got {kind_of(state)}")
        slots = _state(self)
        keys = IncompatibleKeys(
            [name for name in slots if name not in state],
            [name for name in state if name not in slots],
        )
        if strict and any(keys):
            raise KeyError(
                f"missing: {', '.join(keys.missing_keys) or 'none'}; "
                f"unexpected: {', '.join(keys.unexpected_keys) or 'none'}; "
                "strict=False loads the names that agree"
            )
        loaded = {name: nested(state[name]) for name in slots if name in state}
        wrong = [
            f"{name} expected {show_shape(slots[name].content)}, got {show_shape(numbers)}"
            for name, numbers in loaded.items()
            if shape(numbers) != shape(slots[name].content)
        ]
        if wrong:
            raise ValueError(clean(f"shapes differ: {'; '.join(wrong)}"))
        data = {name: _alike(name, slots[name].content, x) for name, x in loaded.items()}
        try:
            for name, numbers in data.items():
                slots[name].put(numbers)
            return keys
        except BaseException:
            for name in data:
                slots[name].put(slots[name].before)
            raise

    def predict(self, X: Any) -> NDArray[Any]:
        """The outputs for every sample in X, computed by NumPy from today's parameters.

        X is an array or nested lists, one entry a sample: (n, inputs) for an `nn.MLP`. The shape is
        (n,) where a call returns one Value, (n, outputs) where it returns a list. No samples, one
        of another width or a number that is not finite is a ValueError. The model is recorded
        anew at each call: keep a `replay.record(model, X[0])` for many small ones.
        """
        from microgradx.replay import record
        from microgradx.replay.batch import outputs, samples

        X = samples("X", X)
        return outputs(record(self, X[0]), X)

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
        slots = _state(self)
        state = weights.read(path, {name: shape(slot.content) for name, slot in slots.items()})
        try:
            return self.load_state_dict(state, strict)
        except (KeyError, ValueError, OverflowError) as error:  # of a long double
            raise weights.WeightsError(clean(f"{path}: {error.args[0]}")) from None

    def __setattr__(self, name: str, part: Any) -> None:
        if _is_tensor(vars(self).get(name)) and (why := displacing(part)):
            raise TypeError(
                f"{clean(join(self._path, name))} holds parameters, and {why}; to move a parameter "
                "change its number: p.data -= lr * p.grad. To be rid of it, del it first"
            )
        super().__setattr__(name, part)
        for sentence in lost(part, clean(join(self._path, name)), self.parameters):
            warnings.warn(sentence, stacklevel=2)
        label_parts(part, join(self._path, name), self)

    def tree(self, loss: Value | None = None) -> Tree:
        """The text that `print(model)` shows: a line a module, with its shapes and its parameters.

        loss: the end of a graph of this model, as a rule over all samples; it adds the neurons that
              are off, saturated or starved there

        A `loss` that is no Value is a TypeError, one of another model a ValueError.
        """
        from microgradx.nn.tree import tree  # here, as importing microgradx stays quick

        modules = ((path, part) for path, part in _walk(self, "") if isinstance(part, Module))
        return tree(modules, loss)

    def extra_repr(self) -> str:
        """Its facts in the tree, beside its class, as in PyTorch: its own tensors."""
        own = ((name, part) for name, part in self._parts().items() if _is_tensor(part))
        return ", ".join(f"{name} {show_shape(tensor)}" for name, tensor in own)

    if TYPE_CHECKING:

        def __call__(self, *xs: Any, **named: Any) -> Any: ...

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {count(len(self.parameters()), 'parameter')}>"

    def __str__(self) -> str:
        return self.tree()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """The face in a notebook: the tree."""
        return {"text/plain": str(self)}

    def _parts(self) -> Mapping[str, Any]:
        """The attributes that may hold parameters, by name."""
        return vars(self)

    def _called(self, path: str) -> None:
        """Note this module's path in its owner."""
        self.__dict__["_path"] = path


# --- the tree of a module -----------------------------------------------------------------------


def _is_tensor(x: Any) -> bool:
    """Whether x is a parameter, or a rectangular nest of parameters."""
    if not isinstance(x, (Value, list, tuple)) or shape(x) is None:
        return False
    return all(isinstance(p, Value) and p.rule is None and not p.recorded for p in flat(x))


def _elements(tensor: Any, path: str) -> Iterator[tuple[str, Value]]:
    """(name, parameter) for each element: the path, then its indices in brackets."""
    for index, parameter in zip(product(*map(range, shape(tensor) or ())), flat(tensor)):
        yield f"{path}[{','.join(map(str, index))}]" if index else path, parameter


def join(path: str, name: Any) -> str:
    """The name of a part: `layers` and 0 give `layers.0`."""
    return f"{path}.{name}" if path else str(name)


def _walk(x: Any, path: str, above: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(path, part) for each module and parameter tensor in x; `above` are its owners.

    A module comes after its own tensors and before its parts.
    """
    if _is_tensor(x):
        yield path, x
    elif isinstance(x, (Module, dict, list, tuple)) and not any(x is owner for owner in above):
        parts = [(join(path, name), part, _is_tensor(part)) for name, part in _parts_of(x)]
        yield from [(name, part) for name, part, is_tensor in parts if is_tensor]
        if isinstance(x, Module):
            yield path, x
        for name, part, is_tensor in parts:
            if not is_tensor:
                yield from _walk(part, name, (*above, x))


def _parts_of(x: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(x, Module):
        return x._parts().items()
    return x.items() if isinstance(x, dict) else enumerate(x)


def tensors(module: Module) -> Iterator[tuple[str, Any]]:
    """(path, tensor) for each tensor of parameters, as a state dict lists them."""
    return (found for found in _walk(module, "") if not isinstance(found[1], Module))


def label_parts(part: Any, path: str, *above: Any) -> None:
    """Label the parameters in `part`, and tell its modules, that its path is now `path`."""
    for name, found in _walk(part, path, above):
        if isinstance(found, Module):
            found._called(name)
        else:
            for label, parameter in _elements(found, name):
                parameter.label = label


# --- the state of a module ----------------------------------------------------------------------


class Slot(NamedTuple):
    """One tensor of the state: what it holds, and what puts other numbers there."""

    content: Any  # a nest of parameters, or of a buffer's numbers
    put: Callable[[Any], None]
    before: Any  # what `put` would leave all as it is with


def _state(module: Module) -> dict[str, Slot]:
    """The parameter tensors and buffers by path, in PyTorch's order.

    A ValueError if two have the same path, such as `a.b` and the b of a.
    """
    found: dict[str, Slot] = {}
    for path, part in _walk(module, ""):
        if isinstance(part, Module):
            slots = {join(path, name): _buffer(part, name) for name in part._buffers}
        else:
            slots = {path: Slot(part, partial(_fill, part), _data(part))}
        for name, slot in slots.items():
            if name in found:
                raise ValueError(
                    f"two tensors of the model are named {clean(name)}; rename one of them"
                )
            found[name] = slot
    return found


def _buffer(module: Module, name: str) -> Slot:
    """An attribute that holds numbers of the state."""
    held = getattr(module, name)
    return Slot(nested(held), partial(setattr, module, name), held)


def _fill(tensor: Any, numbers: Any) -> None:
    """Make the numbers the data of a nest of parameters."""
    for parameter, x in zip(flat(tensor), flat(numbers)):
        parameter.data = x


def _data(content: Any) -> Any:
    """Its numbers, in lists of their own."""
    if isinstance(content, (list, tuple)):
        return [_data(part) for part in content]
    return content.data if isinstance(content, Value) else content


def _alike(name: str, old: Any, x: Any) -> Any:
    """The numbers x as floats; as ints where they take the place of ints."""
    if isinstance(old, (list, tuple)):
        return [_alike(name, before, part) for before, part in zip(old, x)]
    found = number(x)
    if not isinstance(old, int):
        return found
    if not found.is_integer():
        raise ValueError(f"{clean(name)} holds whole numbers, got {found!r}")
    return int(found)


# --- what a module reads ------------------------------------------------------------------------


def sample_row(xs: Any, width: int, reader: Module) -> tuple[Any, ...]:
    """One sample as the row that a whole layer reads; a bare number or Value is a row of one.

    Another width is a ValueError, something other than one sample a TypeError; both name `reader`.
    """
    try:
        row = list_of_operands(xs if hasattr(xs, "__iter__") else (xs,))
    except TypeError as error:
        raise TypeError(f"{title(reader)} takes one sample at a time: {error}") from None
    if len(row) != width:
        raise ValueError(f"{title(reader)} expected {width} inputs, got {len(row)}")
    return row


def title(module: Module) -> str:
    """A module's name in a message: its class, and its path in its owner."""
    return f"{type(module).__name__} {clean(module._path)}".rstrip()
