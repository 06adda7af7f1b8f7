"""A replay: the recorded graph as array code, with buffers for batches of any size."""

from __future__ import annotations

import itertools
import linecache
import operator
import weakref
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microgradx.engine import Value
from microgradx.replay.adjoints import Adjoints
from microgradx.replay.agreement import check_gradient, check_values
from microgradx.replay.arrays import Array
from microgradx.replay.batch import float_type, numbers, refuse_nan
from microgradx.replay.emit import Writer
from microgradx.replay.lifter import lifted
from microgradx.replay.tape import Tape
from microgradx.replay.views import Ids

NO_LOSS = "what was recorded returns several Values; a loss is one. Use replay.forward"
SIZES = 4  # of batches, for which buffers are kept
_numbers = itertools.count(1)


class Bound(NamedTuple):
    """The generated functions for batches of one size, and the arrays that they fill."""

    prepare: Callable[[], None]
    forward: Callable[[], Any]
    backward: Callable[[], None]
    arrays: dict[str, Any]


class Replay:
    """The result of `record` and `lift`; called with a batch it gives the mean loss.

    parameters: the Values that have gradients, in the order of `data` and `gradient`
    data:       their numbers, one flat array; `replay.data -= lr * replay.gradient` is a step
    gradient:   that of the mean loss of the latest batch
    source:     the generated NumPy

    The arrays are the replay's own: `store` writes them to the Values, `refresh` reads these.
    """

    def __init__(
        self, tape: Tape, inputs: Mapping[str, Ids], outputs: Any, *, batched: bool, dtype: Any
    ) -> None:
        self.dtype = float_type(dtype)
        self._tape = tape
        self._outputs = outputs
        self._arrays = arrays = lifted(tape, dict(inputs), ("n",) if batched else ())
        self._adjoints = Adjoints(arrays, tape.outputs[0]) if outputs == () else None
        self._writer = Writer(arrays, self._adjoints)
        loss = None if self._adjoints is None else self._loss()
        self.source = self._writer.source(loss)
        self._code, name = _compiled(self.source)
        weakref.finalize(self, linecache.cache.pop, name, None)
        self._constants = self._all_constants()
        self.parameters = [tape.values[i] for i in arrays.p.ids.tolist()]
        self._data = np.zeros(len(self.parameters), self.dtype)
        self._gradient = np.zeros_like(self._data)
        self._bound: dict[int, Bound] = {}
        self._latest: Bound | None = None
        self.refresh()
        self._check()

    # --- running ---------------------------------------------------------------------------------

    def __call__(self, *batch: Any) -> float:
        """The mean loss of a batch; `gradient` is that of it.

        batch: an array (n, …) for each argument, of any n; for a lifted graph, one in the shape of
               each of its inputs

        A wrong number of arrays or something else than numbers is a TypeError, a wrong shape, an
        empty batch or a nan a ValueError; so is a parameter that something else has changed since.
        The checks take a while: see `load` and `run`.
        """
        if self._adjoints is None:
            raise TypeError(NO_LOSS)
        self._check_parameters()
        bound = self._fill(batch)
        with np.errstate(all="ignore"):
            loss = float(bound.forward())
            bound.backward()
        return loss

    def forward(self, *batch: Any) -> NDArray[Any]:
        """The outputs of each sample: (n,), or (n, …) with the shape of the outputs."""
        self._check_parameters()
        bound = self._fill(batch)
        with np.errstate(all="ignore"):
            bound.forward()
        size = (bound.arrays["n"],) if self._arrays.tail else ()
        results = np.empty((len(self._tape.outputs), *size), self.dtype)
        for k, i in enumerate(self._tape.outputs):
            results[k] = self._element(bound, i)
        return np.moveaxis(results, 0, -1).reshape((*size, *self._outputs))

    def load(self, *batch: NDArray[Any]) -> None:
        """Take in a batch for `run`, without any check: full arrays as `__call__` wants them."""
        bound = self._bind(len(batch[0]) if batch and self._arrays.tail else 1)
        for array, x in zip(self._arrays.inputs, batch):
            bound.arrays[array.variable][...] = x
        bound.prepare()
        self._latest = bound

    def run(self) -> float:
        """The mean loss of the batch that was loaded, and its gradient, without any check.

        To be called as often as the parameters change; NumPy warns of what is not finite.
        """
        bound = self._latest or self._no_batch()
        loss: float = bound.forward()
        bound.backward()
        return loss

    # --- parameters ------------------------------------------------------------------------------

    @property
    def data(self) -> NDArray[Any]:
        """The parameters' numbers, one flat array."""
        return self._data

    @data.setter
    def data(self, numbers: NDArray[Any]) -> None:
        if numbers is not self._data:
            self._data[...] = numbers  # the arrays of the source are views of it

    @property
    def gradient(self) -> NDArray[Any]:
        """That of the mean loss of the latest batch, in the order of `data`."""
        return self._gradient

    def store(self) -> None:
        """Let the parameters have the replay's numbers, and its gradient as their grad.

        A parameter that something else has changed is a ValueError; `refresh` takes it over.
        """
        self._put_data()
        for p, d in zip(self.parameters, self._gradient.tolist()):
            p.grad = d

    def refresh(self) -> None:
        """Take over the parameters' numbers as they are now."""
        self._known = [p.data for p in self.parameters]
        self._data[:] = self._known
        self._taken = self._data.copy()

    def _put_data(self) -> None:
        """Give the parameters those numbers that have changed here."""
        self._check_parameters()
        for k in np.flatnonzero(self._data != self._taken).tolist():
            self._known[k] = self.parameters[k].data = float(self._data[k])
        self._taken[:] = self._data

    def _check_parameters(self) -> None:
        now = [p.data for p in self.parameters]
        if now != self._known:  # which is quick, as the floats are the same objects
            for k, (x, known) in enumerate(zip(now, self._known)):
                if x != known and (x == x or known == known):
                    raise ValueError(self._changed(k))
        for leaf, known in self._tape.frozen.items():
            if leaf.data != known and (leaf.data == leaf.data or known == known):
                raise ValueError(
                    f"{leaf!r} was {known!r} when it was recorded as a constant; record it anew, "
                    "or among the parameters"
                )

    def _changed(self, k: int) -> str:
        p = self.parameters[k]
        return (
            f"parameter {p.label or k} is {p.data!r} now and was {self._known[k]!r}: something "
            "else has changed it. replay.refresh() takes the new numbers over"
        )

    # --- between scalars and arrays --------------------------------------------------------------

    def scalar(self, sample: int = 0) -> Value:
        """The scalar graph of one sample of the latest batch, at today's parameters.

        It leads to the parameters themselves, which get today's numbers and no gradient: call
        `backward()` on it, and draw or explain it. A nest of outputs gives the first of them.
        """
        bound = self._latest or self._no_batch()
        sample = operator.index(sample)
        count = bound.arrays["n"]
        if not -count <= sample < count:
            raise IndexError(f"sample {sample} of a batch of {count}")
        self._put_data()
        for p in self.parameters:
            p.grad = 0.0
        arrays = [bound.arrays[array.variable] for array in self._arrays.inputs]
        taken = [x[sample] if self._arrays.tail else x for x in arrays]
        numbers = [x for part in taken for x in np.ravel(part).tolist()]
        return self._tape.play(numbers)[self._tape.outputs[0]]

    def __reduce__(self) -> str:
        raise TypeError("a replay can't be copied or pickled; record its function again")

    def __str__(self) -> str:
        arrays = self._arrays
        products = [f"  ({r} × {k}) · ({k} × {c})" for r, k, c in arrays.products]
        lines = [
            f"nodes recorded: {len(self._tape.values):,}; "
            f"array statements: {self._writer.statements}; matrix products: {len(products)}",
            *products,
            *[f"  gathered, for they lie unevenly: {text}" for text in arrays.fallbacks[:8]],
        ]
        if len(arrays.fallbacks) > 8:
            lines.append(f"  and {len(arrays.fallbacks) - 8} more gathered")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Replay of {len(self._tape.values)} nodes, {len(self.parameters)} parameters>"

    # --- inside ----------------------------------------------------------------------------------

    def _check(self) -> None:
        """Whether all is as in the scalar graph: that which was recorded, and one at other inputs.

        Where there are batches it is one of three, or a mistake between samples could hide.
        """
        tape = self._tape
        samples: list[list[Value]] = [tape.values]
        if self._arrays.tail:
            inputs = tape.values[tape.parameters : tape.leaves]
            samples += [tape.play(-1.375 * x.data - 0.25 for x in inputs), tape.values]
        bound = self._bind(len(samples))
        for array in self._arrays.inputs:
            data = [[nodes[i].data for i in array.ids.ravel().tolist()] for nodes in samples]
            bound.arrays[array.variable].flat = np.ravel(data)
        with np.errstate(all="ignore"):
            bound.prepare()
            bound.forward()
            computed = [array for array in self._arrays.all if array.value is not None]
            check_values(samples, computed, bound.arrays)
            if self._adjoints is not None:
                bound.backward()
                gradient = np.empty_like(self._gradient)
                gradient[self._arrays.p.ids] = self._gradient
                check_gradient(samples, tape.outputs[0], tape.parameters, gradient)
        self._gradient[:] = 0.0

    def _loss(self) -> str:
        """The mean loss, in the words of the source."""
        i = self._tape.outputs[0]
        array = self._arrays.all[self._arrays.home[i]]
        at = _position(int(self._arrays.index[i]), array)
        text = array.name + (f"[{', '.join(map(str, at))}]" if at else "")
        if not (array.batched and self._arrays.tail):
            return f"{text}.item()"
        self._writer.buffers.append("shares = np.full(n, share, dtype)")
        return f"{text}.dot(shares)"

    def _all_constants(self) -> dict[str, Any]:
        arrays = self._arrays
        constants = {
            name: x.astype(self.dtype) if x.dtype == float else x
            for name, x in arrays.constants.items()
        }
        starts, row = {}, 0
        for array in arrays.pool:
            starts[array.name] = row
            row += array.ids.size
            if array.ones is not None:
                row += array.ids.size // array.ids.shape[0]
        for name, rows in arrays.takes.items():
            constants[name] = np.array([starts[array.name] + k for array, k in rows])
        return constants | (self._adjoints.plans if self._adjoints else {})

    def _bind(self, n: int) -> Bound:
        bound = self._bound.pop(n, None)
        if bound is None:
            space = {
                "n": n, "p": self._data, "g": self._gradient, "dtype": self.dtype,
                "constants": self._constants,
            }  # fmt: skip
            exec(self._code, space)
            prepare = space.get("prepare", _nothing)
            bound = Bound(prepare, space["forward"], space["backward"], space)
        self._bound[n] = bound  # the latest last
        while len(self._bound) > SIZES:
            del self._bound[next(iter(self._bound))]
        return bound

    def _no_batch(self) -> Bound:
        raise ValueError("there is no batch yet; call the replay with one first")

    def _fill(self, batch: tuple[Any, ...]) -> Bound:
        """The functions for this batch, with the batch in their buffers."""
        inputs = self._arrays.inputs
        if len(batch) != len(inputs):
            names = ", ".join(array.label for array in inputs) or "nothing"
            many = "s" * (len(batch) != 1)
            raise TypeError(f"the replay takes {names}; got {len(batch)} array{many}")
        arrays = [numbers(array.label, x) for array, x in zip(inputs, batch)]
        n = len(arrays[0]) if arrays and self._arrays.tail and arrays[0].ndim else 1
        for array, x in zip(inputs, arrays):
            wanted = (n, *array.ids.shape) if self._arrays.tail else array.ids.shape
            if x.shape != wanted:
                any_size = bool(self._arrays.tail) and array is inputs[0]
                wide = ("n", *array.ids.shape) if any_size else wanted
                shown = f"({', '.join(map(str, wide))}{',' * (len(wide) == 1)})"
                raise ValueError(f"{array.label} expected an array of shape {shown}, got {x.shape}")
            refuse_nan(array.label, x)
        if n == 0:
            raise ValueError("the batch is empty; give at least one sample")
        with np.errstate(all="ignore"):
            self.load(*arrays)
        assert self._latest is not None
        return self._latest

    def _element(self, bound: Bound, i: int) -> Any:
        array = self._arrays.all[self._arrays.home[i]]
        return bound.arrays[array.name][_position(int(self._arrays.index[i]), array)]


def _nothing() -> None:
    """The preparation where nothing depends on the batch alone."""


def _position(at: int, array: Array) -> tuple[int, ...]:
    return tuple([int(k) for k in np.unravel_index(at, array.ids.shape)])


def _compiled(text: str) -> tuple[CodeType, str]:
    """Generated source as code through which a debugger can step, and the name of its file."""
    name = f"<replay {next(_numbers)}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    return compile(text, name, "exec"), name
