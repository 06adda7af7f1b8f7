"""An adopted net: a Module with the source's names, that agrees with the source on eight rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from microgradx import ops
from microgradx._base.arguments import nested, shape, show_shape
from microgradx._base.text import clean, count
from microgradx.engine import Value, sweep
from microgradx.interop.tensors import MOST, Array, array_of
from microgradx.nn.module import Module, label_parts, title

ROWS = 8  # that every adoption compares
AGREES = 1e-12  # the largest relative difference there may be in float64
MAGNIFIED = 100  # times what the last digits of the source's numbers make
SMALL = 1e-3  # a gradient's difference is taken beside this part of the largest, at least


class Net(Protocol):
    """How a source is run on Values; a copy of it reads the copies of its parameters."""

    def run(self, x: Array) -> Any:
        """The output for one sample, an array of Values."""


class Part(Module):
    """A part of an adopted net, and the parameters that its source has there.

    Another number is put into a parameter, or all by `load_state_dict`; putting another thing in
    the place of a parameter or a part is a TypeError, as the source would not read it.
    """

    def __init__(self, facts: str = "") -> None:
        self.__dict__.update(_facts=facts, _held={})

    def _parts(self) -> Mapping[str, Any]:
        held: dict[str, Any] = self.__dict__["_held"]
        return held

    def extra_repr(self) -> str:
        facts: str = self.__dict__["_facts"]
        return facts or super().extra_repr()

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_held"][name]
        except KeyError:
            raise AttributeError(f"{title(self)} has no {name!r}") from None

    def __setattr__(self, name: str, part: Any) -> None:
        if name in self.__dict__["_held"]:
            raise TypeError(
                f"{title(self)} is adopted, and its {clean(name)} stays the one that the source "
                "reads; change its numbers, by p.data or load_state_dict"
            )
        super().__setattr__(name, part)


class Adopted(Part):
    """Somebody's net as a Module.

    agreement: how well it agrees with its source, in words: "agrees with PyTorch to 6e-16"
    """

    agreement: str

    def __init__(self, net: Net, sample: tuple[int, ...] | None = None, facts: str = "") -> None:
        super().__init__(facts)
        self.__dict__.update(_net=net, _sample=sample, agreement="", _live=None, _twins=list)

    def extra_repr(self) -> str:
        return ", ".join(x for x in (self.__dict__["_facts"], self.agreement) if x)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, {self.agreement}>"

    @property
    def twins(self) -> list[tuple[Any, list[Value]]]:
        """The source's own tensors of parameters, each with the Values that stand for it here.

        Of PyTorch; an empty list for other sources.
        """
        found: list[tuple[Any, list[Value]]] = self.__dict__["_twins"]()
        return found

    @property
    def is_live(self) -> bool:
        """Whether it has a source that may change."""
        return self.__dict__["_live"] is not None

    def refresh(self) -> Adopted:
        """Take the numbers that the source has now, as after a step of its own; the net itself.

        A net of a file or of a function has no source that could change, which is a TypeError. A
        tensor that has got another shape, or is gone, is a ValueError or a KeyError; then nothing
        has changed here.
        """
        self.load_state_dict(self.source_numbers(), strict=False)
        return self

    def source_numbers(self) -> Mapping[str, Any]:
        """What the source has now, arrays by the names of `state_dict`: see `refresh`."""
        live: Callable[[], Mapping[str, Any]] | None = self.__dict__["_live"]
        if live is None:
            raise TypeError(f"{title(self)} has no source whose numbers change")
        return live()

    def __call__(self, x: Any) -> Any:
        """For one sample, a nest of numbers or Values in the source's shape without a batch.

        Returns a nest of Values in the shape of the source's output, or a Value where that is one.
        A sample of another width is a ValueError.
        """
        sample = array_of(x)
        wanted: tuple[int, ...] | None = self.__dict__["_sample"]
        if wanted is not None and (len(wanted) == 1 or sample.ndim != len(wanted)):
            if sample.shape != wanted:
                raise ValueError(
                    f"{title(self)} takes one sample of the shape {wanted}, got {sample.shape}"
                )
        found = np.asarray(self.__dict__["_net"].run(sample), object)
        values = found.ravel().tolist()
        values = [y if isinstance(y, Value) else Value(y) for y in values]
        if len(values) == 1:
            return values[0]
        return _nest(values, found.shape)


def _nest(values: list[Any], sizes: Sequence[int]) -> Any:
    found = np.empty(len(values), object)
    found[:] = values
    return found.reshape(sizes).tolist()


# --- the parameters ------------------------------------------------------------------------------


def refuse_large(number: int, source: str, part: str) -> None:
    """A ValueError for more parameters than can be looked at one by one."""
    if number > MOST:
        raise ValueError(
            f"{source} has {count(number, 'parameter')}, and every one would be a Value: more than "
            f"{MOST:,} take minutes. Adopt a part, such as {part}"
        )


def leaves(name: str, numbers: Any) -> Array:
    """An array of numbers as leaves, labelled as the elements of this tensor."""
    numbers = np.asarray(numbers, float)
    found = np.empty(numbers.shape, object)
    for place in np.ndindex(numbers.shape):
        index = f"[{','.join(map(str, place))}]" if place else ""
        found[place] = Value(numbers[place], f"{name}{index}")
    return found


class Spot(NamedTuple):
    """One module of a source: its path, its class and its facts."""

    path: str
    kind: str
    facts: str = ""


def furnish(
    root: Part, spots: Iterable[Spot], tensors: Mapping[str, Array], buffers: Mapping[str, Any]
) -> None:
    """Give a net its parts, each of the class that it has in the source, and its tensors.

    tensors: of parameters, by name
    buffers: numbers, or nests of them, by name
    """
    parts = {"": root}
    for spot in spots:
        _part(parts, spot.path, spot.kind, spot.facts)
    for name, array in tensors.items():
        path, _, own = name.rpartition(".")
        _part(parts, path)._parts()[own] = array.tolist()  # type: ignore[index]
    for name, held in buffers.items():
        path, _, own = name.rpartition(".")
        part = _part(parts, path)
        part.__dict__["_buffers"] = (*part._buffers, own)
        part.__dict__[own] = nested(held)
    label_parts(root, "")


def _part(parts: dict[str, Part], path: str, kind: str = "Part", facts: str = "") -> Part:
    """The part at a path; it and those above it are made where there are none."""
    if path not in parts:
        above, _, own = path.rpartition(".")
        made: Part = _class(kind)(facts)
        parts[path] = made
        _part(parts, above)._parts()[own] = made  # type: ignore[index]
    return parts[path]


def _class(kind: str, base: type[Part] = Part) -> type[Part]:
    """A class of parts that is called as the source's."""
    return type(kind, (base,), {"__doc__": base.__doc__, "__module__": base.__module__})


def adopted(kind: str, net: Net, sample: tuple[int, ...] | None = None, facts: str = "") -> Adopted:
    """An empty net whose class is called as the source's."""
    made: type[Any] = _class(kind, Adopted)
    found: Adopted = made(net, sample, facts)
    return found


def keep_source(
    model: Adopted,
    live: Callable[[], Mapping[str, Any]],
    twins: Sequence[tuple[Any, list[Value]]] = (),
) -> None:
    """live: gives the numbers that the source has, by the names of `state_dict`

    A copy of the net has the same source, which is not copied with it.
    """
    model.__dict__.update(_live=live, _twins=lambda: [*twins])


# --- the rows ------------------------------------------------------------------------------------


def rows_of_example(example: Any, width: tuple[int, ...] | None, source: str) -> Any:
    """At most eight rows as an array: those of the example, or random ones of the shape.

    No shape to go by is a TypeError, an example that isn't finite numbers a ValueError.
    """
    if example is None:
        if width is None:
            raise TypeError(
                f"the shape of a sample can't be told from {source}; pass some rows of your data: "
                "adopt(model, example=X[:8])"
            )
        return np.random.default_rng(0).normal(size=(ROWS, *width))
    for name in ("detach", "cpu"):  # of a tensor
        example = getattr(example, name, lambda x=example: x)()
    sizes = shape(nested(example))
    if not sizes:
        raise ValueError(
            f"an example is rows of one shape, an array (n, …), got {show_shape(nested(example))}"
        )
    rows = np.asarray(example if hasattr(example, "dtype") else nested(example))[:ROWS]
    if rows.dtype.kind not in "biuf":
        raise TypeError(f"an example is rows of numbers, got an array of {rows.dtype}")
    if not np.all(np.isfinite(rows)):
        raise ValueError("the example has a nan or an infinity; pass rows without")
    return rows if rows.dtype.kind in "iu" else rows.astype(float)


# --- that it agrees ------------------------------------------------------------------------------


class Figures(NamedTuple):
    """The outputs of a source for some rows; its gradients by tensor where it has any."""

    outputs: Any
    gradients: Mapping[str, Any]


def seeds_for(outputs: Any) -> Any:
    """The numbers by which outputs are weighed, so that their sum has a gradient to compare."""
    return np.random.default_rng(1).normal(size=np.shape(outputs))


def own_figures(model: Any, rows: Any, tensors: Mapping[str, Array], seeds: Any = None) -> Figures:
    """The same of an adopted net, from its graph, a row at a time; no grad changes.

    seeds: weighs the outputs as in the source; None for no gradients
    """
    outputs: list[Any] = []
    adjoints: dict[Value, float] = {}
    for k, row in enumerate(rows):
        ys = array_of(model(row.tolist()))
        outputs.append(np.array([y.data for y in ys.ravel()]).reshape(ys.shape))
        if seeds is not None and np.size(seeds[k]) == ys.size:
            for node, adjoint in sweep(ops.dot(ys.ravel().tolist(), np.ravel(seeds[k]).tolist())):
                if node.rule is None:
                    adjoints[node] = adjoints.get(node, 0.0) + adjoint
    own = np.frompyfunc(lambda p: adjoints.get(p, 0.0), 1, 1)
    gradients = {} if seeds is None else {
        name: np.asarray(own(array), float) for name, array in tensors.items()
    }  # fmt: skip
    return Figures(np.array(outputs), gradients)


def difference(one: Figures, other: Figures) -> float:
    """The largest relative difference: of outputs, and of each tensor's gradients.

    It is taken beside the largest number of the tensor; of a gradient, at least beside a thousandth
    of the largest of all, as one that is 0 but for rounding has no digits. Of gradients those are
    compared that are finite on both sides. Infinite for another shape.
    """
    if np.size(one.outputs) != np.size(other.outputs):
        return math.inf
    pairs = [(np.ravel(one.outputs), np.ravel(other.outputs), _size(other.outputs))]
    floor = SMALL * max(map(_size, other.gradients.values()), default=0.0)
    for name, gradient in other.gradients.items():
        scale = max(_size(gradient), floor)
        own = np.ravel(one.gradients[name])
        theirs = np.ravel(gradient)
        finite = np.isfinite(own) & np.isfinite(theirs)  # 0 × inf is nan, or by a source's rule 0
        pairs.append((own[finite], theirs[finite], scale))
    return max(_apart(*pair) for pair in pairs)


def _size(x: Any) -> float:
    x = np.asarray(x, float)
    return float(np.max(np.abs(x[np.isfinite(x)]), initial=0.0))


def _apart(one: Any, other: Any, scale: float) -> float:
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    if np.all(same):
        return 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.max(np.abs(one - other)[~same])
    return math.inf if np.isnan(apart) else float(apart / scale) if scale else math.inf


def agree(
    model: Adopted,
    apart: float,
    source: str,
    rows: int,
    *,
    gradients: bool = False,
    within: float = AGREES,
    last_digits: Callable[[], float] = lambda: 0.0,
    hint: str = "",
) -> None:
    """Let a net say how well it agrees with its source; too badly is a ValueError.

    gradients:   whether they were compared too, or outputs alone
    within:      the largest difference there may be; a source in float32 has its own rounding
    last_digits: how far the source is from itself where its numbers differ in the last digit; a
                 net that magnifies that, such as one of huge weights, may differ by a hundred times
                 as much
    """
    compared = "outputs and gradients" if gradients else "outputs"
    if not apart <= within and not apart <= MAGNIFIED * min(last_digits(), 1e-8):
        raise ValueError(
            f"the adopted net differs from {source} by {apart:.1e}, relative, in {compared} of "
            f"{count(rows, 'row')}; more than {within:.0e} is not the same net{hint}"
        )
    agrees = "agrees" if gradients else "its outputs agree"
    model.__dict__["agreement"] = f"{agrees} with {source} {digits(apart)}"


def digits(apart: float) -> str:
    """A relative difference in words: "to 6e-16", "exactly"."""
    return f"to {apart:.0e}" if apart else "exactly"
