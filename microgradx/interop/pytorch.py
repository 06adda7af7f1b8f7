"""A PyTorch net on Values: its own `forward` is called with tensors that hold Values.

PyTorch asks a tensor's class, by `__torch_function__`, before it runs a function. So each comes
here, whichever way the net's code calls it, and is answered by one of `FUNCTIONS`.
"""

from __future__ import annotations

import copy
import functools
import inspect
import os
import sys
from _thread import get_ident
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from microgradx._base.text import clean, count, listed
from microgradx.engine import PACKAGE, Value
from microgradx.interop.adopted import (
    AGREES,
    Adopted,
    Figures,
    Spot,
    adopted,
    agree,
    difference,
    digits,
    furnish,
    keep_source,
    leaves,
    own_figures,
    refuse_large,
    rows_of_example,
    seeds_for,
)
from microgradx.interop.labels import Labels, path_of
from microgradx.interop.pytorch_functions import (
    ACTIVATIONS,
    BY_FUNCTIONAL,
    COMPOSITE,
    FUNCTIONS,
    UNITS,
)
from microgradx.interop.tensors import MOST, Array, objects
from microgradx.replay import FrozenBranch

EXACT_FROM = 40.0  # from here on ln(1 + eˣ) is x in float64; PyTorch's 20 is float32's
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def adopt(net: Any, example: Any) -> Adopted:
    """A PyTorch module, run on Values; errors as for `interop.adopt`.

    Hooks are a ValueError, as are a scripted module and one of several inputs a TypeError.
    """
    torch = sys.modules["torch"]
    _refuse(torch, net)
    source = _copy(net)
    width = _width(source)
    if example is None and width is not None:
        _called(torch, source, np.zeros((2, *width)))
    rows = rows_of_example(example, width, "the net")
    as_it_is, run = _copy(net, double=False), _Net(torch, source)
    model = adopted(type(net).__name__, run, rows.shape[1:], _facts(net))
    spots = [Spot(path, type(m).__name__, _facts(m)) for path, m in net.named_modules() if path]
    furnish(model, spots, run.tied, run.buffers)
    run.model = model
    twins = [(p, run.tied[name].ravel().tolist()) for name, p in net.named_parameters()
             if name in run.tied]  # fmt: skip
    keep_source(model, lambda: _numbers(torch, net), twins)
    reference = _figures(torch, _copy(net), rows)
    seeds = seeds_for(reference.outputs)
    try:
        apart = difference(own_figures(model, rows, run.tensors, seeds), reference)
    except RecursionError:
        raise ValueError("the net calls itself without end on Values") from None
    if apart > AGREES and difference(_figures(torch, _copy(net), rows), reference) > 0:
        raise ValueError(
            "the net gives another output each time that it is called, in eval() too; its "
            "F.dropout takes training=self.training"
        )
    hint = "; if it mixes the rows of a batch, as without batch_first, let it take one sample"
    agree(
        model,
        apart,
        "PyTorch",
        len(rows),
        gradients=True,
        last_digits=lambda: _last_digits(torch, net, rows, reference),
        hint=hint,
    )
    _own_rounding(torch, as_it_is, rows, reference, model)
    return model


def _refuse(torch: Any, net: Any) -> None:
    """Raise for what no copy can stand for."""
    if isinstance(net, torch.Tensor) or not isinstance(net, torch.nn.Module):
        raise TypeError(f"adopt takes a torch.nn.Module, got {type(net).__name__}")
    if isinstance(net, getattr(torch.jit, "ScriptModule", ())):
        raise TypeError("a scripted module doesn't run Python; adopt the module it was made from")
    hooked = [
        path or type(net).__name__
        for path, m in net.named_modules()
        if any(vars(m).get(hooks) for hooks in HOOKS)
    ]
    if hooked:
        raise ValueError(
            f"hooks stand at {listed([*map(clean, hooked)], 3)}, and adopt doesn't run them; "
            "remove them, by handle.remove(), or adopt a copy without"
        )
    parts = [f"model.{path}" for path, m in net.named_modules()
             if path and 0 < sum(p.numel() for p in m.parameters()) < MOST]  # fmt: skip
    size = sum(p.numel() for p in net.parameters())
    refuse_large(size, type(net).__name__, f"adopt({parts[-1] if parts else 'model.layer4'}, "
                                           "example=…) on its own inputs")  # fmt: skip
    names = [
        name
        for name, p in inspect.signature(net.forward).parameters.items()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(names) > 1:
        raise TypeError(
            f"{type(net).__name__} takes {count(len(names), 'input')} ({', '.join(names)}); adopt "
            "a module of one input that calls it"
        )


def _copy(net: Any, double: bool = True) -> Any:
    """A deep copy on the CPU, in evaluation mode, in float64; a ValueError if it can't be made."""
    try:
        found = copy.deepcopy(net).cpu().eval()
    except Exception as error:
        raise ValueError(f"the net can't be copied: {error}") from error
    if not double:
        return found
    found = found.double()
    for module in found.modules():
        _replace(sys.modules["torch"], module, {})
        if type(module).__name__ == "Softplus":  # above it PyTorch rounds ln(1 + eˣ) to x
            module.threshold = max(module.threshold, EXACT_FROM)
    return found


def _facts(module: Any) -> str:
    return " ".join(str(module.extra_repr()).split())


def _width(net: Any) -> tuple[int, ...] | None:
    """The shape of a sample, where the first module that has parameters tells it."""
    for module in net.modules():
        if any(True for _ in module.parameters(recurse=False)):
            n = getattr(module, "in_features", None)
            return (n,) if isinstance(n, int) else None
    return None


# --- its own figures -----------------------------------------------------------------------------


def _rows(torch: Any, net: Any, rows: Any) -> Any:
    """The rows as a tensor: of whole numbers, where the net has an embedding for them."""
    whole = rows.dtype.kind in "iu" and any(
        type(m).__name__.startswith("Embedding") for m in net.modules()
    )
    return torch.as_tensor(rows.astype(np.int64 if whole else np.float64))


def _first(found: Any) -> Any:
    """The first of several outputs."""
    while isinstance(found, (tuple, list)) and found:
        found = found[0]
    return found


def _called(torch: Any, net: Any, rows: Any) -> Any:
    """The output of a source; a ValueError with its own words if it fails on these rows."""
    try:
        found = _first(net(_rows(torch, net, rows)))
    except Exception as error:
        raise ValueError(
            f"the net itself fails on rows of the shape {tuple(rows.shape)}: {error}; an example "
            "is rows of data, such as X[:8]"
        ) from error
    if not isinstance(found, torch.Tensor):
        raise TypeError(f"the net returns {type(found).__name__}; adopt one that returns a tensor")
    if not found.ndim or len(found) != len(rows):
        raise ValueError(
            f"the net makes the shape {tuple(found.shape)} of {len(rows)} rows; adopt one that "
            "returns a row for each; an example is rows of data, such as X[:8]"
        )
    return found


def _figures(torch: Any, net: Any, rows: Any) -> Figures:
    """The outputs in float64, and the gradients of their sum, weighed."""
    for p in net.parameters():
        p.requires_grad_(True)
    y = _called(torch, net, rows)
    outputs = y.detach().double().numpy()
    if y.requires_grad:
        (y * torch.as_tensor(seeds_for(outputs))).sum().backward()
    return Figures(
        outputs,
        {
            name: np.zeros(tuple(p.shape)) if p.grad is None else p.grad.double().numpy()
            for name, p in net.named_parameters()
            if p.numel()
        },
    )


def _last_digits(torch: Any, net: Any, rows: Any, reference: Figures) -> float:
    """How far the source is from itself where its parameters differ in the last digit."""
    other = _copy(net)
    signs = np.random.default_rng(2)
    with torch.no_grad():
        for p in other.parameters():
            p *= torch.as_tensor(1.0 + 2.0**-52 * signs.choice([-1.0, 1.0], tuple(p.shape)))
    return difference(_figures(torch, other, rows), reference)


def _own_rounding(torch: Any, net: Any, rows: Any, reference: Figures, model: Adopted) -> None:
    """Add how far the source, in its own smaller floats, is from itself in float64."""
    kinds = {p.dtype for p in net.parameters() if p.is_floating_point()} - {torch.float64}
    if not kinds:
        return
    kind = next(iter(kinds))
    x = _rows(torch, net, rows)
    try:
        with torch.no_grad():
            y = _first(net(x.to(kind) if x.is_floating_point() else x)).double().numpy()
    except Exception:  # such as a half precision that the CPU lacks
        return
    apart = difference(Figures(y, {}), Figures(reference.outputs, {}))
    name = str(kind).rpartition(".")[2]
    model.__dict__["agreement"] += f", as {name} it rounds {digits(apart)}"


# --- the net on Values ---------------------------------------------------------------------------


def _numbers(torch: Any, net: Any) -> dict[str, Any]:
    """What a net holds now, as arrays by name."""
    return {name: torch.as_tensor(x).detach().cpu().double().numpy()
            for name, x in net.state_dict().items()}  # fmt: skip


class _Net:
    """A copy of a net whose parameters are arrays of Values.

    tensors: of parameters, by name, those of the same tensor by its first
    buffers: numbers of the state, by name
    """

    def __init__(self, torch: Any, net: Any) -> None:
        self.net = net
        self.model: Any = None
        self.passes: dict[int, Labels] = {}  # by thread, the labels of the pass that it runs
        self._taken: dict[str, Any] = {}
        kind, state = array_class(torch), {*net.state_dict()}
        made: dict[int, Any] = {}
        self.tensors: dict[str, Array] = {}
        kept: list[Any] = []  # or another tensor could get the id of one
        for path, module in net.named_modules():
            for own, p in module._parameters.items():
                if p is None or not p.numel():
                    continue
                name = f"{path}.{own}" if path else own
                kept.append(p)
                if id(p) not in made:
                    self.tensors[name] = leaves(name, p.detach().numpy())
                    made[id(p)] = kind.of(self.tensors[name], self)
                module._parameters[own] = made[id(p)]
        self.tied = _tied(net, made)
        for module in net.modules():
            _replace(torch, module, made)
        self.buffers = {
            name: nest
            for name, b in net.named_buffers()
            if name in state and (nest := b.tolist()) != []
        }

    def run(self, x: Array) -> Array:
        """The output for one sample."""
        torch = sys.modules["torch"]
        self._take_buffers(torch)
        self.passes[get_ident()] = labels = Labels()
        try:
            found = _first(self.net(array_class(torch).of(x[None], self)))
        finally:
            del self.passes[get_ident()]
        labels.write()
        if not hasattr(found, "nodes"):
            raise TypeError(f"the net returns {type(found).__name__}, which holds no Values")
        found = found.nodes
        if not found.ndim or len(found) != 1:
            raise ValueError(
                f"the net makes the shape {found.shape} of one row; the axis of the rows is to "
                "stay, so .squeeze(-1) instead of .squeeze()"
            )
        return objects(found[0])

    def _take_buffers(self, torch: Any) -> None:
        """Put the numbers of the state into the copy, where they are others than before."""
        for name in self.buffers if self.model is not None else {}:
            path, _, own = name.rpartition(".")
            part: Any = self.model
            for step in path.split(".") if path else ():
                part = getattr(part, step)
            held = getattr(part, own)
            if self._taken.get(name) is not held:
                module = self.net.get_submodule(path)
                before = module._buffers[own]
                module._buffers[own] = torch.as_tensor(held, dtype=before.dtype)
                self._taken[name] = held


def _tied(net: Any, made: Mapping[int, Any]) -> dict[str, Array]:
    """Every name of a parameter with its array, those that share one too."""
    return {
        f"{path}.{own}" if path else own: p.nodes
        for path, module in net.named_modules()
        for own, p in module._parameters.items()
        if hasattr(p, "nodes")
    }


def _replace(torch: Any, module: Any, made: Mapping[int, Any]) -> None:
    """Put arrays in the places of parameters that a module holds elsewhere, as in a list.

    Other tensors that it holds become float64.
    """
    for own, held in vars(module).items():
        if own not in ("_parameters", "_buffers", "_modules"):
            vars(module)[own] = _replaced(torch, held, made)


def _replaced(torch: Any, held: Any, made: Mapping[int, Any]) -> Any:
    if isinstance(held, torch.Tensor):
        if id(held) in made:
            return made[id(held)]
        return held.double().cpu() if held.is_floating_point() else held.cpu()
    if type(held) in (list, tuple):
        return type(held)([_replaced(torch, x, made) for x in held])
    if type(held) is dict:
        return {name: _replaced(torch, x, made) for name, x in held.items()}
    return held


@functools.cache
def array_class(torch: Any) -> Any:
    """The class of the tensors that hold Values, made when PyTorch is there."""

    class Array(torch.Tensor):  # type: ignore[misc]
        """A tensor whose numbers are the Values in `nodes`; its own memory is not read."""

        @classmethod
        def of(cls, nodes: Any, net: _Net) -> Any:
            nodes = objects(nodes)
            found = torch.empty(nodes.shape, dtype=torch.float64).as_subclass(cls)
            found.nodes, found.net = nodes, net
            return found

        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if _tells_itself(func, args):
                return super().__torch_function__(func, types, args, kwargs)
            return answer(torch, func, args, kwargs or {})

        def __deepcopy__(self, memo: Any) -> Any:
            found = type(self).of(copy.deepcopy(self.nodes, memo), copy.deepcopy(self.net, memo))
            memo[id(self)] = found
            return found

    return Array


# --- one function --------------------------------------------------------------------------------

# What a tensor tells of itself, asked of its own memory.
METADATA = {
    "size", "dim", "numel", "nelement", "ndimension", "is_floating_point", "is_complex", "stride",
    "is_contiguous", "element_size", "get_device", "__len__", "__hash__", "is_same_size", "type",
    "shape", "ndim", "dtype", "device", "is_nested", "requires_grad", "is_cuda", "is_cpu",
    "layout", "is_sparse", "is_quantized", "is_meta", "is_leaf", "is_mkldnn", "itemsize", "nbytes",
    "is_inference", "is_tensor", "is_xla", "is_mps", "names", "storage_offset",
}  # fmt: skip
IN_PLACE = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div"}


def _name(func: Any) -> str:
    """The name of a function, or of the property that is read."""
    name: str = getattr(func, "__name__", str(func))
    return getattr(func.__self__, "__name__", name) if name == "__get__" else name


def _tells_itself(func: Any, args: Any) -> bool:
    """Whether a tensor's own memory has the answer, as for its shape."""
    return _name(func) in METADATA and not (_name(func) == "type" and len(args) > 1)


def answer(torch: Any, func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    """The result of one of PyTorch's functions on tensors some of which hold Values."""
    raw = _name(func)
    name, named = raw.strip("_"), dict(kwargs)
    in_place = named.pop("inplace", False) or name in IN_PLACE
    in_place = in_place or (raw.endswith("_") and not raw.startswith("__"))
    function = FUNCTIONS.get(IN_PLACE.get(name, name))
    net = next(a.net for a in _arrays([*args, *named.values()]))
    if function is None or (name in BY_FUNCTIONAL and not inspect.isfunction(func)):
        raise _unsupported(raw, args)
    if (in_place or name == "setitem") and not hasattr(args[0], "nodes"):
        raise _unsupported(f"{raw} on a tensor of numbers, which can't hold Values", args)
    takes = [_taken(torch, a) for a in args]
    named = {name: _taken(torch, a) for name, a in named.items()}
    labels = net.passes[get_ident()]
    noted = {"labels": labels} if name in COMPOSITE else {}
    try:
        found = function(*takes, **named, **noted)
    except (FrozenBranch, RecursionError):
        raise
    except (TypeError, ValueError, IndexError) as error:
        raise type(error)(f"{raw}, {_where(args)}: {error}") from error
    _label(labels, name, takes, named, found)
    if in_place or name == "setitem":
        args[0].nodes[...] = args[0].nodes if name == "setitem" else found
        return args[0]
    return _given(torch, found, net)


def _label(labels: Labels, name: str, takes: Any, named: Any, found: Any) -> None:
    """Note the neurons that a function has made."""
    if name in UNITS:
        axis, first, *rest = UNITS[name]
        parameters = [takes[k] if len(takes) > k else named.get(n) for k, n in (first, *rest)]
        array = parameters[0]
        if name in ("matmul", "mm"):  # x @ weight.T
            array = array if getattr(array, "ndim", 0) == 2 else None
        labels.outputs(path_of(array, *parameters[1:]), objects(found), axis)
    elif name in ACTIVATIONS:
        labels.activated(takes[0], found)


def _arrays(xs: Any) -> Iterator[Any]:
    for x in xs:
        if hasattr(x, "nodes"):
            yield x
        elif isinstance(x, (list, tuple)):
            yield from _arrays(x)


def _taken(torch: Any, x: Any) -> Any:
    """An argument as the functions here take it: arrays for tensors."""
    if hasattr(x, "nodes"):
        return x.nodes
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu()
        return x.double().numpy() if x.is_floating_point() else x.numpy()
    if isinstance(x, slice):
        return slice(*(_taken(torch, k) for k in (x.start, x.stop, x.step)))
    if isinstance(x, (list, tuple)):
        parts = [_taken(torch, part) for part in x]
        return parts if isinstance(x, list) else tuple(parts)
    return x


def _given(torch: Any, found: Any, net: _Net) -> Any:
    """A result as PyTorch's code takes it."""
    if isinstance(found, Value):
        return array_class(torch).of(found, net)
    if isinstance(found, np.ndarray):
        if found.dtype == object:
            return array_class(torch).of(found, net)
        return torch.as_tensor(np.ascontiguousarray(found))
    if isinstance(found, (list, tuple)):
        parts = [_given(torch, part, net) for part in found]
        return tuple(parts) if isinstance(found, tuple) else parts
    return found


def _unsupported(what: str, args: Any) -> TypeError:
    return TypeError(
        f"{what} is not supported on Values, {_where(args)}; supported are "
        f"{', '.join(sorted(FUNCTIONS))}"
    )


def _where(args: Any) -> str:
    """The line of the reader's own code that has called, and the module that it is in."""
    nets = [a.net for a in _arrays(args)]
    names = {id(m): name for net in nets[:1] for name, m in net.net.named_modules()}
    theirs = os.path.dirname(str(sys.modules["torch"].__file__)) + os.sep
    line = module = ""
    frame: Any = sys._getframe(1)
    while frame and not (line and module):
        file, me = frame.f_code.co_filename, frame.f_locals.get("self")
        if not module and id(me) in names:
            module = f" in {names[id(me)] or 'the net'} ({type(me).__name__})"
        if not line and not file.startswith((PACKAGE, theirs)):
            line = f"{clean(file)}:{frame.f_lineno}"
        frame = frame.f_back
    return f"{line}{module}"
