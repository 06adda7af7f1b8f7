"""A replay: the recorded graph as array code, with buffers for batches of any size."""

from __future__ import annotations

import itertools
import linecache
import operator
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgradx._base.text import clean, count, few
from microgradx.engine import Value, numbers_in
from microgradx.explain.factors import Factors
from microgradx.replay.adjoints import Adjoints
from microgradx.replay.agreement import check_gradient, check_range, check_values
from microgradx.replay.arrays import Arrays
from microgradx.replay.batch import float_type, numbers, refuse_nan
from microgradx.replay.edges import Plan
from microgradx.replay.emit import Writer
from microgradx.replay.lifter import lift_all
from microgradx.replay.statements import shape_text
from microgradx.replay.sums import Nodes, Sums, worked_out
from microgradx.replay.tape import Tape
from microgradx.replay.units import layers_by_reader
from microgradx.replay.views import Ids

NO_LOSS = "what was recorded returns several Values; a loss is one. Use replay.forward"
NOT_YOURS = (
    "the gradient is that of a batch which another thread has asked for since; hold a lock around "
    "a call and its gradient, or record a replay for each thread"
)
FLOAT = np.dtype(float)
SIZES = 4  # of batches, for which buffers are kept
_numbers = itertools.count(1)


class Replay:
    """The result of `record` and `lift`; called with a batch it gives the mean loss.

    parameters: the Values that have gradients, in the order of `data` and `gradient`
    data:       their numbers, one flat array; `replay.data -= lr * replay.gradient` is a step
    gradient:   that of the mean loss of the latest batch
    source:     the generated NumPy
    fixed:      the leaves that it takes for constants, but for those that were made on the way

    The arrays are the replay's own: `store` writes them to the Values, `refresh` reads these.

    Several threads may ask one replay at once, by calls and `forward`: each gets its own answer,
    one after the other. All else, `load`, `run` and a change of `data` among it, is for one thread.
    """

    def __init__(
        self, tape: Tape, inputs: Mapping[str, Ids], outputs: Any, *, batched: bool, dtype: Any
    ) -> None:
        self.dtype = float_type(dtype)
        self._tape = tape
        self.fixed = [*tape.frozen]
        self._outputs = outputs
        self._arrays = arrays = Arrays(tape, dict(inputs), ("n",) if batched else ())
        try:
            lift_all(arrays)
            adjoints = Adjoints(arrays, tape.outputs[0]) if outputs == () else None
            self._is_loss = adjoints is not None
            writer = Writer(arrays, adjoints)
            self.source, self._statements = writer.source(), writer.statements
        finally:
            arrays.release()
        self._code, name = _compiled(self.source)
        self._constants = {
            name: x.astype(self.dtype) if getattr(x, "dtype", None) == np.float64 else x
            for name, x in arrays.constants.items()
        }
        self.parameters = [tape.values[i] for i in arrays.p.ids.tolist()]
        self._data = np.zeros(len(self.parameters), self.dtype)
        self._gradient = np.zeros_like(self._data)
        self._bound: dict[int, SimpleNamespace] = {}
        self._latest: SimpleNamespace | None = None
        self._rate = 1.0  # that is a factor of the gradient
        self._plans: dict[bool, Plan] = {}
        self._places: tuple[list[str], Ids] | None = None
        self._lock, self._calls, self._asked = threading.Lock(), 0, threading.local()
        weakref.finalize(self, _release, name, self._bound)
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
        if not self._is_loss:
            raise TypeError(NO_LOSS)
        self._check_parameters()
        arrays = self._checked(batch)
        with self._lock, np.errstate(all="ignore"):
            self._calls += 1
            self._asked.call = self._calls
            self.load(*arrays)
            return float(self.run())

    def forward(self, *batch: Any) -> NDArray[Any]:
        """The outputs of each sample: (n,), or (n, …) with the shape of the outputs."""
        self._check_parameters()
        arrays = self._checked(batch)
        with self._lock, np.errstate(all="ignore"):
            self.load(*arrays)
            bound = self._latest or self._no_batch()
            bound.forward()
            size = (bound.n,) if self._arrays.tail else ()
            results = np.empty((*size, len(self._tape.outputs)), self.dtype)
            for k, i in enumerate(self._tape.outputs):
                array, place = self._arrays.at(i)
                results[..., k] = vars(bound)[array.name][place]
        return results.reshape((*size, *self._outputs))

    def load(self, *batch: NDArray[Any], rate: float = 1.0) -> None:
        """Take in a batch for `run`, without any check: full arrays as `__call__` wants them.

        rate: of the steps that `descend` takes, if it is to
        """
        bound = self._bind(len(batch[0]) if batch and self._arrays.tail else 1)
        self._latest = None  # an interrupt leaves no batch, not half of one
        space = vars(bound)
        for array, x in zip(self._arrays.inputs, batch):
            space[array.variable][...] = x
        if bound.rate != rate:
            if not self._arrays.tail:
                raise TypeError("a graph that was lifted has no samples: run it, and move `data`")
            bound.rate, bound.share[...] = rate, rate / bound.n
            if "whole" in space:
                bound.whole[...] = rate
            if "scale" in space:
                bound.scale()
        bound.prepare()
        self._latest = bound

    def run(self) -> float:
        """The mean loss of the batch that was loaded, and its gradient, without any check.

        To be called as often as the parameters change; NumPy warns of what is not finite.
        """
        bound = self._latest or self._no_batch()
        loss: float = bound.forward()
        bound.backward()
        self._rate = bound.rate
        return loss

    def descend(self) -> float:
        """The mean loss of the batch that was loaded, and a step of SGD, without any check.

        The step is `data -= rate * gradient`, with the rate that `load` was given as a factor of
        each sample's share in the loss: the product is there without a pass over the gradient.
        What was lifted without samples has no such step.
        """
        bound = self._latest or self._no_batch()
        loss: float = bound.descend()
        self._rate = bound.rate
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
        """That of the mean loss of the latest batch, in the order of `data`.

        Where another thread has called the replay since this one did, it is a RuntimeError.
        """
        if getattr(self._asked, "call", self._calls) != self._calls:
            raise RuntimeError(NOT_YOURS)
        return self._unscaled()

    def _unscaled(self) -> NDArray[Any]:
        """The gradient, without the rate that may be a factor of it."""
        return self._gradient if self._rate == 1.0 else self._gradient / self._rate

    def store(self) -> None:
        """Let the parameters have the replay's numbers, and its gradient as their grad.

        A parameter that something else has changed is a ValueError; `refresh` takes it over.
        After an error, Ctrl-C among them, nothing has changed.
        """
        self._put(self._unscaled().tolist())

    def refresh(self) -> None:
        """Take over the parameters' numbers as they are now."""
        known = numbers_in(self.parameters)
        self._data[:] = known
        self._known = known

    def _put(self, grads: list[float]) -> None:
        """Give the parameters those numbers that have changed here, and grads."""
        self._check_parameters()
        changed = np.flatnonzero(self._data != np.array(self._known, self.dtype)).tolist()
        before, known = [(p, p.data, p.grad) for p in self.parameters], self._known
        after = [*known]
        for k in changed:
            after[k] = float(self._data[k])
        try:
            for k in changed:
                self.parameters[k].data = after[k]
            for p, grad in zip(self.parameters, grads):
                p.grad = grad
            self._known = after
        except BaseException:
            for p, x, grad in before:
                p.data, p.grad = x, grad
            self._known = known
            raise

    def _check_parameters(self) -> None:
        if numbers_in(self.parameters) != self._known:  # quick: the floats are the same ones
            for k, (p, known) in enumerate(zip(self.parameters, self._known)):
                if _differ(p.data, known):
                    raise ValueError(
                        f"parameter {clean(p.label) or k} is {p.data!r} now and was {known!r}: "
                        "something else has changed it. replay.refresh() takes the new numbers over"
                    )
        for leaf, known in self._tape.frozen.items():
            if _differ(leaf.data, known):
                raise ValueError(
                    f"{leaf!r} was {known!r} when it was recorded as a constant; record it anew, "
                    "or among the parameters"
                )

    # --- between scalars and arrays --------------------------------------------------------------

    def scalar(self, sample: int = 0) -> Value:
        """The scalar graph of one sample of the latest batch, at today's parameters.

        It leads to the parameters themselves, which get today's numbers and no gradient: call
        `backward()` on it, and draw or explain it. A nest of outputs gives the first of them.
        What was recorded has its inputs labelled, `x[2,1]` by the argument and the place in it;
        those of an argument that is called like a weight, `w` or `bias`, have no label.
        """
        bound = self._latest or self._no_batch()
        sample = operator.index(sample)
        if not -bound.n <= sample < bound.n:
            raise IndexError(f"sample {sample} of a batch of {bound.n}")
        self._put([0.0] * len(self.parameters))
        arrays = [vars(bound)[array.variable] for array in self._arrays.inputs]
        taken = [x[sample] if self._arrays.tail else x for x in arrays]
        return self.played(*taken)

    def played(self, *sample: Any) -> Value:
        """The scalar graph of any sample at the parameters' own numbers; nothing is written."""
        numbers = [x for part in sample for x in np.ravel(part).tolist()]
        return self._tape.play(numbers)[self._tape.outputs[0]]

    @property
    def nodes(self) -> list[Value]:
        """What was recorded, each node after those it reads; their numbers are the example's."""
        return self._tape.values

    @property
    def output(self) -> Value:
        """The recorded loss, or the first of the outputs."""
        return self._tape.values[self._tape.outputs[0]]

    def values_of(self, nodes: Iterable[Value]) -> NDArray[Any]:
        """The numbers of recorded Values over the latest batch, (nodes, n).

        A Value that was not recorded is a KeyError.
        """
        arrays = self._arrays
        ids = np.array([self._tape.known(x) for x in nodes], dtype=np.int64)
        with self._lock, np.errstate(all="ignore"):
            bound = self._latest or self._no_batch()
            bound.forward()
            space = vars(bound)

            def stored(i: int) -> Any:
                array, place = arrays.at(i)
                return space[array.name][place]

            result = np.empty((len(ids), bound.n))
            home = arrays.home[ids]
            for h in {*home.tolist()}:
                mine = np.flatnonzero(home == h)
                if h >= 0:
                    whole = np.asarray(space[arrays.all[h].name], float)
                    whole = whole.reshape(arrays.all[h].ids.size, -1)
                    result[mine] = whole[arrays.index[ids[mine]]]
                    continue
                found = worked_out(self._tape, ids[mine].tolist(), arrays.home, stored)
                for k in mine.tolist():
                    result[k] = found[int(ids[k])]
            return result

    def layer_of(self, node: Value) -> str:
        """The layer that a recorded Value is part of by its label, or by that of what reads it."""
        if self._places is None:
            self._places = layers_by_reader(self._tape, self._tape.values)
        names, levels = self._places
        name: str = names[levels[self._tape.known(node)]]
        return name

    def sums(self, by_layer: bool = False) -> Sums:
        """The path sums of the latest batch at today's parameters, for every node and each row.

        They are those of `Flow(replay.scalar(row))`, of the row's own loss, not of its share of the
        mean. What they are taken from is copied: the replay may be called meanwhile.

        by_layer: whether budgets are split by layer too, by the labels of nodes: `flows.ledger`
        """
        if not self._is_loss:
            raise TypeError(NO_LOSS)
        arrays = self._arrays
        with self._lock, np.errstate(all="ignore"):
            bound = self._latest or self._no_batch()
            bound.forward()
            space = vars(bound)
            results = {array.name: np.array(space[array.name], float) for array in arrays.all}
            n = bound.n
            if by_layer not in self._plans:
                self._plans[by_layer] = self._planned(space, by_layer)
        return Sums(self._plans[by_layer], arrays, results, n)

    def arrays(self) -> Iterator[Nodes]:
        """Each input, and what each statement computes, over the latest batch; see `Nodes`."""
        return self.sums().arrays()

    def _planned(self, space: dict[str, Any], by_layer: bool) -> Plan:
        """The edges between the nodes, which are of the same kinds in each sample."""
        tape, inputs, tail = self._tape, self._arrays.inputs, self._arrays.tail
        sample = [np.asarray(space[x.name])[..., 0] if tail else space[x.name] for x in inputs]
        nodes = tape.play(y for x in sample for y in np.ravel(x).tolist())
        factors = Factors(nodes[tape.outputs[0]])
        return Plan(tape, {x.label: x.ids for x in inputs}, tail, factors, nodes, by_layer)

    def __reduce__(self) -> str:
        raise TypeError("a replay can't be copied or pickled; record its function again")

    def __str__(self) -> str:
        arrays = self._arrays
        products = [f"  ({r} × {k}) · ({k} × {c})" for r, k, c in arrays.products]
        gathered, rest = few(arrays.fallbacks, 8)
        lines = [
            f"nodes recorded: {len(self._tape.values):,}; "
            f"array statements: {self._statements}; matrix products: {len(products)}",
            *products,
            *[f"  gathered, for they lie unevenly: {text}" for text in gathered],
        ]
        if rest:
            lines.append(f"  and {rest:,} more gathered")
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
        wide = SimpleNamespace(
            n=len(samples), p=np.array(self._known), g=np.zeros(len(self._known)),
            dtype=np.dtype(float), constants=self._arrays.constants,
        )  # fmt: skip
        results = self._run_on(samples, wide)
        check_values(samples, self._arrays, results)
        if self._is_loss:
            gradient = np.empty_like(wide.g)
            gradient[self._arrays.p.ids] = wide.g
            check_gradient(samples, self._arrays, results, gradient)
        if self.dtype != wide.dtype:
            narrow = self._run_on(samples, self._bind(len(samples)))
            check_range(samples, self._arrays, results, narrow)
            self._gradient[:] = 0.0
        vars(wide).clear()

    def _run_on(self, samples: list[list[Value]], bound: SimpleNamespace) -> dict[str, Any]:
        """The arrays of a batch of these graphs, run forwards and backwards."""
        with np.errstate(all="ignore"):
            if not hasattr(bound, "forward"):
                exec(self._code, vars(bound))
            for array in self._arrays.inputs:
                data = [[nodes[i].data for i in array.ids.ravel().tolist()] for nodes in samples]
                vars(bound)[array.variable].flat = np.ravel(data)
            bound.prepare()
            bound.forward()
            if self._is_loss:
                bound.backward()
        return vars(bound)

    def _bind(self, n: int) -> SimpleNamespace:
        """The generated functions for batches of n, and the arrays that they fill."""
        bound = self._bound.pop(n, None)
        if bound is None:
            bound = SimpleNamespace(
                n=n, p=self._data, g=self._gradient, dtype=self.dtype, constants=self._constants,
                rate=1.0,
            )  # fmt: skip
            with np.errstate(all="ignore"):
                exec(self._code, vars(bound))
        self._bound[n] = bound  # the latest last
        while len(self._bound) > SIZES:
            vars(self._bound.pop(next(iter(self._bound)))).clear()
        return bound

    def _no_batch(self) -> SimpleNamespace:
        raise ValueError("there is no batch yet; call the replay with one first")

    def _checked(self, batch: tuple[Any, ...]) -> list[NDArray[Any]]:
        """The arrays of a batch, if they are what the replay takes."""
        inputs, batched = self._arrays.inputs, bool(self._arrays.tail)
        if len(batch) != len(inputs):
            names = ", ".join(array.label for array in inputs) or "nothing"
            raise TypeError(f"the replay takes {names}; got {count(len(batch), 'array')}")
        arrays = []
        for array, x in zip(inputs, batch):
            quick = type(x) is np.ndarray and x.dtype is FLOAT
            arrays.append(x if quick else numbers(array.label, x))
        n = len(arrays[0]) if arrays and batched and arrays[0].ndim else 1
        for array, x in zip(inputs, arrays):
            sizes: tuple[Any, ...] = (n,) if batched else ()
            if x.shape != sizes + array.ids.shape:
                sizes = ("n",) if batched and array is inputs[0] else sizes
                shape = shape_text((*sizes, *array.ids.shape))
                raise ValueError(f"{array.label} expected an array of shape {shape}, got {x.shape}")
            if np.count_nonzero(np.isnan(x)):
                refuse_nan(array.label, x)
        if n == 0:
            raise ValueError("the batch is empty; give at least one sample")
        return arrays


def _release(name: str, bound: dict[int, SimpleNamespace]) -> None:
    """Forget the source of a replay, and its functions, which know the namespace they lie in."""
    linecache.cache.pop(name, None)
    for namespace in bound.values():
        vars(namespace).clear()


def _differ(x: float, y: float) -> bool:
    """Whether two numbers differ; a nan is like any other."""
    return x != y and (x == x or y == y)


def _compiled(text: str) -> tuple[CodeType, str]:
    """Generated source as code through which a debugger can step, and the name of its file."""
    name = f"<replay {next(_numbers)}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    return compile(text, name, "exec"), name
