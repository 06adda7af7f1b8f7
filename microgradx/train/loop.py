"""Training: the loss of one sample is recorded once, and its replay takes every step in NumPy."""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable, Mapping
from contextlib import closing
from math import inf
from operator import is_
from time import perf_counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradx._base import floats
from microgradx._base.arguments import flat, nested, number, shape, whole
from microgradx._base.text import count, kind_of, name_of
from microgradx.engine import Value
from microgradx.nn.losses import Loss, LossName, Metric, loss_of
from microgradx.nn.module import Module, tensors
from microgradx.optim import SGD, Adam
from microgradx.replay import Replay, record
from microgradx.replay.batch import outputs, pair
from microgradx.train.eager import Eager
from microgradx.train.history import Epoch, History
from microgradx.train.progress import Progress, ctrl_c
from microgradx.train.signs import Signs
from microgradx.train.watch import ROWS, Watch, Watched

if TYPE_CHECKING:
    import os

    from microgradx.replay.batch import Array

    Samples = tuple[Array, Array]  # and their targets

PIECE = 8192  # parameters moved at a time, for the cache: 48,000 take 1.5 ms a step, not 3.6
TRIED = 1000  # parameters that an optimiser of one's own is tried on
LEAST = 1e-140  # of a root of a sum of squares that none is lost from, as it would underflow


def fit(
    model: Module,
    X: Any,
    y: Any,
    *,
    loss: LossName | Callable[[Any, Any], Value],
    epochs: int,
    optimizer: Any = None,
    batch_size: int | None = 32,
    seed: Any = None,
    validation: tuple[Any, Any] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    on_epoch: Callable[[Epoch], Any] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    watch: bool | Watch = False,
) -> History:
    """Move the parameters of `model` down the mean loss over the samples X and their targets y.

    X, y:       one entry a sample, of one shape each; y in the shape of the model's output, for
                "cross_entropy" also one class, counted from 0
    loss:       a name in `nn.losses.LOSSES`, or a callable of (prediction, target) for one
                sample that returns a Value; both are Values, or lists of them
    optimizer:  an `optim.SGD` or `Adam` of parameters of the model, or another object that has
                `parameters`, `state` and `move` as they do, each number moved by itself; None is
                `Adam` of all parameters.
                Its state is used and updated, exactly as if it had taken every step itself
    batch_size: samples a step, the last batch of an epoch has what is left; None for all of them.
                Every epoch has another order, unless all are in one batch
    seed:       of the order: an int or numpy.random.Generator; None for another one every time
    validation: (X, y) to measure by after every epoch
    metrics:    functions of (predictions, targets), two arrays, by name; None is the accuracy
                where the loss has one
    on_epoch:   is called with every `Epoch`, the model being up to date; it may change parameters
                and the optimizer's numbers, and ends the training by returning True
    checkpoint: where `model.save` writes before the first and after every epoch, all or nothing
    watch:      True, or a `Watch` of the model on rows of one's own: notes at which step each unit
                died or saturated, and by which update. True looks at 100 rows of X after each
                step, or all of fewer, which takes a forward pass of them; see `history.watch`

    Ctrl-C ends the training after a step that is complete, a second one at once; the history is
    returned. After any other exception too the parameters are those of the last complete step.
    However it ends, their grads are 0, as any zero_grad leaves them: a grad from before is gone.
    A loss of nan or inf ends nothing: the history shows it. Bad arguments are a TypeError or
    ValueError before anything has changed. A terminal's stderr or a notebook's cell shows the
    progress, and says when the loss diverges, or stands still because neurons are off.

    The loss of one sample is recorded. On single samples, before the first epoch and now and then,
    loss and gradient are compared with those of `model` and `loss` run as they are; where they
    differ, as after a branch on a parameter's own `.data`, it is a `FrozenBranch`; so is a random
    number, once such a look meets another. Threads may train models of their own at once; one model
    is for one thread.
    """
    epochs, chosen, rng = whole("epochs", epochs), loss_of(loss), np.random.default_rng(seed)
    optimizer = _optimizer(optimizer, model)
    X, y = pair("X", X, "y", y)
    size = len(X) if batch_size is None else whole("batch_size", batch_size)
    form = shape(nested(model(X[0].tolist()))) or ()
    if not form and y.shape[1:] == (1,):
        raise ValueError(f"y has the shape {y.shape}, but the model has one output; use y.ravel()")
    width = form[0] if form else 1
    y = chosen.targets("y", y, width)
    held_out = None if validation is None else _held_out(validation, X, y, chosen, width)
    metrics = chosen.metrics if metrics is None else _metrics(metrics)
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(f"on_epoch is a function of an Epoch, got {on_epoch!r:.60}")
    watching = _watch(watch, model, X)
    function, replays = _recorded(model, chosen, X[0], y[0], optimizer.parameters, bool(metrics))
    _check_that_it_moves_each(optimizer)
    trainer = _Trainer(model, replays, optimizer, (X, y), size, rng)
    if watching is not None:
        trainer.watch(watching)
    eager, seen = Eager(function, replays[0], X, y), 0
    if checkpoint is not None:
        model.save(checkpoint)
    history, signs = History(), Signs(model, X, y, trainer.settle)
    history.watch = watching
    history.remarks += _unmoved(replays[0].fixed)
    with ctrl_c() as pressed, closing(Progress(history, epochs, len(X))) as progress:
        for remark in history.remarks:
            progress.say(remark)
        try:
            while len(history) < epochs and not pressed:
                if eager.due(seen):
                    trainer.settle()
                    eager.look(f"before epoch {len(history) + 1}")
                start = perf_counter()
                seen, mean = trainer.epoch(pressed, progress)
                if not seen:
                    break
                seconds, interrupted = perf_counter() - start, seen < len(X)
                measured = trainer.measured(held_out, metrics, form)
                history.append(Epoch(mean, *measured, trainer.gradients(), seconds, interrupted))
                if remark := signs.after(history):
                    history.remarks.append(remark)
                    progress.say(remark)
                if progress.due < perf_counter():
                    progress.ended()
                if checkpoint is None and on_epoch is None:
                    continue
                trainer.put_back()
                if checkpoint is not None:
                    model.save(checkpoint)
                if on_epoch is not None:
                    progress.clear()
                    if _is_true(on_epoch(history[-1])):
                        break
                trainer.take_over()
            if not pressed:
                trainer.settle()
                eager.look(f"after epoch {len(history)}")
        finally:
            trainer.finish()
    history.interrupted = bool(pressed)
    return history


class _Trainer:
    """The flat arrays of the replays: the steps of the optimiser on them, and measurements.

    replays: of the loss that is trained, and last, for metrics, of the loss and every output
    """

    def __init__(
        self,
        model: Module,
        replays: list[Replay],
        optimizer: Any,
        train: Samples,
        size: int,
        rng: Any,
    ) -> None:
        self.replay, self.with_outputs, self.optimizer = replays[0], replays[-1], optimizer
        self.train, self.rng = train, rng
        place = {p: k for k, p in enumerate(self.replay.parameters)}
        self.of_outputs = [place[p] for p in self.with_outputs.parameters]
        self.of_optimizer = [place[p] for p in optimizer.parameters]
        by_tensor = {
            name: [place[p] for p in flat(tensor) if p in place] for name, tensor in tensors(model)
        }
        self.tensors = {name: places for name, places in by_tensor.items() if places}
        self.by_tensor = np.concatenate([*self.tensors.values()])
        self.widths = np.array([len(places) for places in self.tensors.values()])
        self.moving = [*optimizer.parameters]
        self.take_state()
        self.parameters = [
            SimpleNamespace(data=data, grad=grad)
            for data, grad in zip(_pieces(self.replay.data), _pieces(self.replay.gradient))
        ]
        shuffles = size < len(train[0])
        self.shuffled = tuple(np.empty_like(x) if shuffles else x for x in train)
        self.batches = [
            tuple(samples[start : start + size] for samples in self.shuffled)
            for start in range(0, len(train[0]), size)
        ]
        self.moved = False  # since `put_back`
        self.watched: Watched | None = None

    def watch(self, watch: Watch) -> None:
        """Let a watch look after each step."""
        self.watched = Watched(watch, self.replay)

    def epoch(self, pressed: list[int], progress: Progress) -> tuple[int, float]:
        """Take every batch once, or those before Ctrl-C: the samples seen, and their mean loss."""
        seen, total, self.moved = 0, 0.0, True
        order = None
        if len(self.batches) > 1:
            order = self.rng.permutation(len(self.train[0]))
            for samples, copy in zip(self.train, self.shuffled):
                samples.take(order, 0, copy, "clip")  # in other modes it would take a buffer
        try:
            with np.errstate(all="ignore"):
                rate = self._folded()
                for x, y in self.batches:
                    self.replay.load(x, y, rate=rate or 1.0)
                    mean, n = self.replay.descend() if rate else self.replay.run(), len(x)
                    if not rate:
                        self.optimizer.move(np, self.parameters, self.state)
                    if self.watched is not None:
                        self.watched.look(x, y, seen, order)
                    seen, total = seen + n, total + mean * n
                    if pressed:
                        break
                    if progress.due < perf_counter():
                        progress.within(seen, total / seen)
        except KeyboardInterrupt:
            pressed.append(signal.SIGINT)
        return seen, float(total) / max(seen, 1)

    def _folded(self) -> float:
        """The rate of plain SGD, whose step the replay itself takes; 0 for other optimisers.

        Nor for a rate so small or large that gradients might leave the range of floats with it.
        """
        own = self.optimizer
        if type(own) is not SGD or "move" in vars(own) or own.momentum or own.weight_decay:
            return 0.0
        rate = number(own.lr)
        return rate if 1e-9 <= rate <= 1e9 else 0.0

    def put_back(self) -> None:
        """Give the parameters their numbers, and the optimiser its state, if they moved."""
        if self.moved:
            self.replay.store()
            for name, pieces in self.state.items():
                self.optimizer.state[name] = np.concatenate(pieces)[self.of_optimizer].tolist()
        self.moved = False

    def finish(self) -> None:
        """Put back for good, and leave no gradient that a later `backward` would add to."""
        try:
            self.put_back()
        finally:
            for p in self.replay.parameters:
                p.grad = 0.0

    def take_over(self) -> None:
        """Go on from the numbers that the parameters and the optimiser have now."""
        self.replay.refresh()
        self.with_outputs.refresh()
        self.take_state()
        if self.watched is not None:
            self.watched.take_over()

    def take_state(self) -> None:
        """Take the optimiser's state, in the order of the replay."""
        moving = self.optimizer.parameters
        if len(moving) != len(self.moving) or not all(map(is_, moving, self.moving)):
            raise ValueError(
                "the optimizer has other parameters than at first; call fit again to move these"
            )
        order = np.argsort(self.of_optimizer)
        self.state = {
            name: _pieces(np.array(numbers)[order])
            for name, numbers in self.optimizer.state.items()
        }

    def settle(self) -> None:
        """Let the model be looked at as it is now."""
        self.put_back()
        self.take_over()

    def measured(
        self, held_out: Samples | None, metrics: Mapping[str, Metric], form: tuple[int, ...]
    ) -> tuple[float | None, dict[str, float]]:
        """The mean loss of what is held out, and the metrics of it, or else of the rest.

        form: the shape of the outputs of a sample
        """
        if not (held_out or metrics):
            return None, {}
        X, y = held_out or self.train
        self.with_outputs.data = self.replay.data[self.of_outputs]
        results = outputs(self.with_outputs, X, y).reshape(len(X), -1)
        loss = float(results[:, 0].mean()) if held_out else None
        predictions = results[:, 1:].reshape(len(X), *form) if metrics else results
        return loss, {name: float(metric(predictions, y)) for name, metric in metrics.items()}

    def gradients(self) -> dict[str, float]:
        """log10 of the root mean square of each tensor's gradient; -inf where it is 0."""
        starts, gradient = self.widths.cumsum() - self.widths, self.replay.gradient[self.by_tensor]
        with np.errstate(all="ignore"):
            sizes = np.sqrt(np.add.reduceat(gradient * gradient, starts))
            if not ((sizes > LEAST) & (sizes < inf)).all():
                sizes = np.hypot.reduceat(np.abs(gradient), starts)
            return dict(zip(self.tensors, np.log10(sizes / np.sqrt(self.widths)).tolist()))


def _recorded(
    model: Any, loss: Loss, x: Array, y: Array, parameters: list[Value], outputs: bool
) -> tuple[Callable[[Any, Any], Value], list[Replay]]:
    """The loss of a sample, and its replay; with `outputs` one of every output beside it too."""

    def loss_and_outputs(x: Any, target: Any) -> list[Value]:
        prediction = model(x)
        value = loss.function(prediction, target)
        if not isinstance(value, Value):
            raise TypeError(f"a loss returns one Value, got {kind_of(value)}")
        return [value, *flat(nested(prediction))]

    def loss_alone(x: Any, target: Any) -> Value:
        return loss_and_outputs(x, target)[0]

    functions = [loss_alone, loss_and_outputs] if outputs else [loss_alone]
    replays = [record(f, x.tolist(), y.tolist(), parameters=parameters) for f in functions]
    return loss_alone, replays


def _is_true(answer: Any) -> bool:
    """Whether it is True; a path or a list, which a call may well return, is not."""
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


def _unmoved(leaves: list[Value]) -> list[str]:
    """A sentence on the leaves of the loss that no optimiser moves, if there are any."""
    if not leaves:
        return []
    such = f"{', such as' if len(leaves) > 1 else ':'} {name_of(leaves[0])}"
    return [f"The optimizer does not move {count(len(leaves), 'leaf', 'leaves')} of the loss{such}"]


# --- arguments ----------------------------------------------------------------------------------


def _metrics(metrics: Any) -> dict[str, Metric]:
    if not isinstance(metrics, Mapping) or not all(map(callable, metrics.values())):
        raise TypeError(f"metrics are functions by name, a dict, got {metrics!r:.60}")
    return dict(metrics)


def _optimizer(optimizer: Any, model: Any) -> Any:
    if not isinstance(model, Module):
        raise TypeError(f"fit takes an nn.Module, got {kind_of(model)}")
    if optimizer is None:
        return Adam(model.parameters())
    if not all(hasattr(optimizer, name) for name in ("parameters", "state", "move")):
        raise TypeError(
            f"an optimizer has parameters, state and move, as optim.SGD has, got {optimizer!r:.60}"
        )
    own = set(model.parameters())
    strange = [p for p in optimizer.parameters if p not in own]
    if strange:
        raise ValueError(
            f"the optimiser moves {count(len(strange), 'parameter')} not of the model, such as "
            f"{strange[0]!r}; make it of model.parameters()"
        )
    return optimizer


def _check_that_it_moves_each(optimizer: Any) -> None:
    """Compare a step of numbers with one of an array of them, both on a copy of the optimiser.

    If they differ, as where a norm of all parameters is taken, it is a ValueError.
    """
    if getattr(type(optimizer), "move", None) in (SGD.move, Adam.move):
        return
    size = min(len(optimizer.parameters), TRIED)
    data, grads = np.linspace(0.5, 1.5, size), np.linspace(-1.0, 2.0, size)
    kept = {name: np.array(numbers)[:size] for name, numbers in optimizer.state.items()}
    one = [SimpleNamespace(data=x, grad=g) for x, g in zip(data.tolist(), grads.tolist())]
    all_ = [SimpleNamespace(data=data.copy(), grad=grads.copy())]
    try:
        with np.errstate(all="ignore"):
            for xp, parameters in ((floats, one), (np, all_)):
                twin = copy.deepcopy(optimizer, {id(p): p for p in optimizer.parameters})
                state = {name: x.tolist() if xp is floats else [x] for name, x in kept.items()}
                twin.move(xp, parameters, state)
    except Exception:  # it can't be copied, or moves arrays alone
        return
    by_one = np.array([p.data for p in one])
    wrong = ~np.isclose(all_[0].data, by_one, rtol=1e-6, atol=1e-9, equal_nan=True)
    if wrong.any():
        k = int(wrong.argmax())
        raise ValueError(
            f"the optimizer moves {data[k]:.6g} to {by_one[k]:.6g} among numbers, and to "
            f"{all_[0].data[k]:.6g} in an array of them, as fit has them: its move must treat each "
            "number by itself, without a norm of all or a list by parameter; or take its steps"
        )


def _watch(watch: Any, model: Any, X: Array) -> Watch | None:
    """The watch that is meant; it has looked at the model as it is."""
    if isinstance(watch, Watch):
        if watch.model is not model:
            raise ValueError("the watch is of another model; make it of the one that is trained")
        return watch
    if not isinstance(watch, bool):
        raise TypeError(f"watch is True or a Watch, got {kind_of(watch)}")
    return Watch(model, X[:: -(-len(X) // ROWS)]) if watch else None


def _held_out(validation: Any, X: Array, y: Array, loss: Loss, width: int) -> tuple[Array, Array]:
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise TypeError(f"validation is a pair (X, y), got {kind_of(validation)}")
    names = "the validation X", "the validation y"
    held_X, held_y = pair(names[0], validation[0], names[1], validation[1])
    held_y = loss.targets(names[1], held_y, width)
    for name, held, like in zip(names, (held_X, held_y), (X, y)):
        if held.shape[1:] != like.shape[1:]:
            raise ValueError(
                f"a sample of {name} expected the shape {like.shape[1:]}, got {held.shape[1:]}"
            )
    return held_X, held_y


def _pieces(array: Array) -> list[Array]:
    return np.split(array, range(PIECE, len(array), PIECE))
