"""The same training step written for NumPy, PyTorch and JAX: forward, backward and SGD.

Every peer is an MLP with ReLU on one batch that stays the same; `Task` says which. The loss is

    hinge:         mean(relu(1 - y * score)) + alpha * sum(p * p over all weights and biases)
    cross-entropy: mean(logsumexp(scores) - scores[label]), with alpha = 0

The forms, all on one thread:
- Buffers: NumPy with preallocated buffers, features first, a batch in columns. A row of ones under
  each input, so that the bias is a column of the weights and costs no call; `a.dot(b, out)`; `out=`
  everywhere, scalars as 0-d arrays, ReLU against an array of zeros, float masks, sums as dots;
  weights and gradients are views of two flat arrays; the rate is a factor of the loss's slope, so
  that the update is one subtraction, and L2 a decay. Weights are stored "out" first or "in" first,
  whichever is faster for these sizes.
- Ordinary: NumPy as one writes it: `np.maximum(x @ w.T + b, 0)`, `d.T @ x`, `d.sum(0)`,
  `(d @ w) * (x > 0)`, a list of arrays, a loop for the update.
- Torch: nn.Sequential, L2 as an explicit sum, zero_grad, loss.backward(), torch.optim.SGD.step().
- TorchLean: F.linear on a list of tensors, torch.autograd.grad, `torch._foreach_add_` for the
  update and for L2 as decay, which its loss leaves out.
- Jax: jax.jit of value_and_grad and the update as one function, the data as its constants, the
  parameters donated, x64 enabled, block_until_ready after every step. NPROC=1 is what limits XLA to
  one thread, its flags don't; dispatch is synchronous, which halves the time of a small step.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # before all imports
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["NPROC"] = "1"

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import jax
import numpy as np
import torch
from jax import numpy as jnp
from numpy import add, exp, greater, log, maximum, multiply, reciprocal, subtract
from torch.nn import functional

torch.set_num_threads(1)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_cpu_enable_async_dispatch", False)

Array = np.ndarray[Any, Any]


@dataclass
class Task:
    """The net to train: f64 arrays here, which a peer takes over as arrays of `dtype`.

    ys:      -1 or +1 for "hinge", the number of a class for "cross-entropy"
    weights: of each layer a row for each neuron: its weights, then its bias
    """

    xs: Array
    ys: Array
    weights: list[Array]
    loss: str
    rate: float
    alpha: float = 0.0
    dtype: str = "float64"

    def pairs(self) -> list[tuple[Array, Array]]:
        """Weight and bias of each layer, copies."""
        layers = [layer.astype(self.dtype) for layer in self.weights]
        return [(layer[:, :-1].copy(), layer[:, -1].copy()) for layer in layers]

    def labels(self) -> Array:
        return self.ys.astype(self.dtype if self.loss == "hinge" else "int64")


class Peer(Protocol):
    """One training step, and what it left: all flat, neuron by neuron, weights then bias.

    loss:   of the latest step, a number of the peer's own kind, before the update
    decays: L2 is in the gradient but not in `loss`
    A step that is compiled as a whole has no gradient to show.
    """

    loss: Any
    decays: bool

    def step(self) -> None: ...
    def gradient(self) -> Array | None: ...
    def parameters(self) -> Array: ...


def flat(pairs: Any) -> Array:
    """Weights and biases, in turns, in the order of `Peer`."""
    arrays = list(map(np.asarray, pairs))
    layers = zip(arrays[::2], arrays[1::2])
    return np.concatenate([np.column_stack((w, b)).ravel() for w, b in layers])


class HingeBuffers:
    """The loss, and in `slope` its derivative by the scores, times the rate."""

    def __init__(self, task: Task) -> None:
        self.ys = -task.labels()[None, :]
        self.part = self.ys * (task.rate / self.ys.size)
        self.mean = np.full(self.ys.size, 1 / self.ys.size, task.dtype)
        self.one, self.zeros = np.ones((), task.dtype), np.zeros_like(self.ys)
        self.on, self.mask, self.slope = self.ys > 0, self.ys.copy(), self.ys.copy()

    def __call__(self, scores: Array) -> Any:
        multiply(scores, self.ys, scores)
        add(scores, self.one, scores)
        maximum(scores, self.zeros, out=scores)
        greater(scores, self.zeros, self.on)
        self.mask[:] = self.on
        multiply(self.mask, self.part, self.slope)
        return scores[0].dot(self.mean)


class CrossEntropyBuffers:
    def __init__(self, task: Task) -> None:
        ys, size = task.labels(), len(task.ys)
        classes = len(task.weights[-1])
        self.hot = np.zeros((classes, size), task.dtype)
        self.hot[ys, np.arange(size)] = task.rate / size
        self.share = self.hot.ravel() / -task.rate
        self.mean = np.full(size, 1 / size, task.dtype)
        self.rate = np.array(task.rate / size, task.dtype)
        self.ones = np.ones(classes, task.dtype)
        self.row, self.sums = np.empty((2, size), task.dtype)
        self.wide, self.slope = np.empty((2, classes, size), task.dtype)

    def __call__(self, scores: Array) -> Any:
        row, wide, slope = self.row, self.wide, self.slope
        maximum.reduce(scores, 0, None, row)
        wide[:] = row
        subtract(scores, wide, scores)
        exp(scores, slope)
        self.ones.dot(slope, self.sums)
        log(self.sums, row)
        loss = row.dot(self.mean) + self.share.dot(scores.ravel())
        reciprocal(self.sums, row)
        multiply(row, self.rate, row)
        wide[:] = row
        multiply(slope, wide, slope)
        subtract(slope, self.hot, slope)
        return loss


class Buffers:
    decays = False

    def __init__(self, task: Task, first: str = "out") -> None:
        self.rate, self.alpha = task.rate, task.alpha
        self.loss_of = (HingeBuffers if task.loss == "hinge" else CrossEntropyBuffers)(task)
        self.out_first = first == "out"
        stored = [w if self.out_first else w.T for w in task.weights]
        self.shapes = [w.shape for w in stored]
        self.flat = np.concatenate([w.ravel() for w in stored]).astype(task.dtype)
        self.slopes = np.empty_like(self.flat)
        self.keep = np.array(1 - 2 * task.alpha * task.rate, task.dtype)
        size, dtype = len(task.xs), task.dtype
        inputs = [np.ones((w.shape[1], size), dtype) for w in task.weights]
        inputs[0][:-1] = task.xs.T
        hidden = [x[:-1] for x in inputs[1:]]
        weights, grads = self.layers(self.flat), self.layers(self.slopes)
        self.scores = np.empty((len(task.weights[-1]), size), dtype)
        forward = [w if self.out_first else w.T for w in weights]
        self.hidden = [(w, x, h, np.zeros_like(h)) for w, x, h in zip(forward, inputs, hidden)]
        self.last = forward[-1], inputs[-1]
        # from the last layer to the first: the slopes by its sums are known, those by its
        # weights and by its input follow
        slopes = [self.loss_of.slope]
        self.back = []
        for w, x, grad in list(zip(weights, inputs, grads))[:0:-1]:
            by_sums = slopes[-1]
            by_input = np.empty_like(x)  # by the row of ones too, if that saves a copy of w
            back, target = (w.T, by_input) if self.out_first else (w[:-1], by_input[:-1])
            slopes.append(by_input[:-1])
            on, mask = np.empty(slopes[-1].shape, bool), np.empty_like(slopes[-1])
            product = self.product(by_sums, x, grad)
            self.back.append((*product, back, by_sums, target, x[:-1], on, mask, slopes[-1]))
        self.first = self.product(slopes[-1], inputs[0], grads[0])
        self.zero = np.zeros((), dtype)

    def product(self, by_sums: Array, x: Array, grad: Array) -> tuple[Array, Array, Array]:
        return (by_sums, x.T, grad) if self.out_first else (x, by_sums.T, grad)

    def layers(self, flat: Array) -> list[Array]:
        ends = np.cumsum([rows * columns for rows, columns in self.shapes])
        return [part.reshape(s) for part, s in zip(np.split(flat, ends[:-1]), self.shapes)]

    def step(self) -> None:
        for w, x, h, zeros in self.hidden:
            w.dot(x, h)
            maximum(h, zeros, out=h)
        w, x = self.last
        w.dot(x, self.scores)
        self.loss = self.loss_of(self.scores)
        zero = self.zero
        for a, b, grad, back, by_sums, by_input, h, on, mask, slope in self.back:
            a.dot(b, grad)
            back.dot(by_sums, by_input)
            greater(h, zero, on)
            mask[:] = on
            multiply(slope, mask, slope)
        a, b, grad = self.first
        a.dot(b, grad)
        flat = self.flat
        if self.alpha:
            self.loss += self.alpha * flat.dot(flat)
            multiply(flat, self.keep, flat)
        subtract(flat, self.slopes, flat)

    def ordered(self, flat: Array) -> Array:
        layers = self.layers(flat)
        return np.concatenate([(w if self.out_first else w.T).ravel() for w in layers])

    def gradient(self) -> Array:
        before = (self.flat + self.slopes) / self.keep
        return self.ordered(self.slopes / self.rate + 2 * self.alpha * before)

    def parameters(self) -> Array:
        return self.ordered(self.flat)


class Ordinary:
    """For the hinge loss only."""

    decays = False

    def __init__(self, task: Task) -> None:
        self.task, self.xs, self.ys = task, task.xs.astype(task.dtype), task.labels()
        self.weights, self.biases = map(list, zip(*task.pairs()))

    def step(self) -> None:
        alpha, n = self.task.alpha, len(self.xs)
        inputs = [self.xs]
        for w, b in zip(self.weights[:-1], self.biases):
            inputs.append(np.maximum(inputs[-1] @ w.T + b, 0))
        scores = (inputs[-1] @ self.weights[-1].T + self.biases[-1])[:, 0]
        margins = np.maximum(1 - self.ys * scores, 0)
        parameters = [*self.weights, *self.biases]
        self.loss = margins.mean() + alpha * sum((p * p).sum() for p in parameters)
        d = (-self.ys / n * (margins > 0))[:, None]
        by_weight, by_bias = [], []
        for x, w in zip(inputs[::-1], self.weights[::-1]):
            by_weight.append(d.T @ x)
            by_bias.append(d.sum(0))
            if x is not self.xs:
                d = (d @ w) * (x > 0)
        self.grads = [*by_weight[::-1], *by_bias[::-1]]
        for p, grad in zip(parameters, self.grads):
            grad += 2 * alpha * p
            p -= self.task.rate * grad

    def gradient(self) -> Array:
        half = len(self.weights)
        return flat([g for pair in zip(self.grads[:half], self.grads[half:]) for g in pair])

    def parameters(self) -> Array:
        return flat([p for pair in zip(self.weights, self.biases) for p in pair])


def torch_loss(task: Task, scores: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
    if task.loss == "hinge":
        return (1 - ys * scores.squeeze(1)).relu().mean()
    return functional.cross_entropy(scores, ys)


class Torch:
    decays = False

    def __init__(self, task: Task) -> None:
        self.task = task
        self.xs = torch.tensor(task.xs.astype(task.dtype))
        self.ys = torch.tensor(task.labels())
        modules: list[torch.nn.Module] = []
        for weight, bias in task.pairs():
            linear = torch.nn.Linear(*weight.shape[::-1], dtype=self.xs.dtype)
            linear.weight.data[:], linear.bias.data[:] = map(torch.tensor, (weight, bias))
            modules += [linear, torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*modules[:-1])
        self.sgd = torch.optim.SGD(self.model.parameters(), lr=task.rate)

    def step(self) -> None:
        loss = torch_loss(self.task, self.model(self.xs), self.ys)
        if self.task.alpha:
            loss = loss + self.task.alpha * sum((p * p).sum() for p in self.model.parameters())
        self.sgd.zero_grad()
        loss.backward()
        self.sgd.step()
        self.loss = loss.detach()

    def gradient(self) -> Array:
        return flat([p.grad for p in self.model.parameters()])

    def parameters(self) -> Array:
        return flat([p.detach() for p in self.model.parameters()])


class TorchLean:
    decays = True

    def __init__(self, task: Task) -> None:
        self.task = task
        self.xs = torch.tensor(task.xs.astype(task.dtype))
        self.ys = torch.tensor(task.labels())
        arrays = [array for pair in task.pairs() for array in pair]
        self.tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
        self.held = [p.detach() for p in self.tensors]  # the same memory: no no_grad() at a step
        self.hidden = list(zip(self.tensors[:-2:2], self.tensors[1:-2:2]))

    def step(self) -> None:
        x = self.xs
        for w, b in self.hidden:
            x = functional.linear(x, w, b).relu_()
        scores = functional.linear(x, *self.tensors[-2:])
        loss = torch_loss(self.task, scores, self.ys)
        grads = torch.autograd.grad(loss, self.tensors)
        if self.task.alpha:
            torch._foreach_add_(grads, self.held, alpha=2 * self.task.alpha)
        torch._foreach_add_(self.held, grads, alpha=-self.task.rate)
        self.loss, self.grads = loss.detach(), grads

    def gradient(self) -> Array:
        return flat(self.grads)

    def parameters(self) -> Array:
        return flat(self.held)


class Jax:
    decays = False

    def __init__(self, task: Task) -> None:
        xs, ys = jnp.asarray(task.xs.astype(task.dtype)), jnp.asarray(task.labels())

        def loss_of(pairs: Any) -> Any:
            x = xs
            for w, b in pairs[:-1]:
                x = jax.nn.relu(x @ w.T + b)
            w, b = pairs[-1]
            scores = x @ w.T + b
            if task.loss == "hinge":
                data = jax.nn.relu(1 - ys * scores[:, 0]).mean()
                return data + task.alpha * sum((p * p).sum() for pair in pairs for p in pair)
            picked = jnp.take_along_axis(scores, ys[:, None], axis=1)[:, 0]
            return (jax.scipy.special.logsumexp(scores, axis=1) - picked).mean()

        def update(pairs: Any) -> Any:
            loss, grads = jax.value_and_grad(loss_of)(pairs)
            return loss, jax.tree.map(lambda p, grad: p - task.rate * grad, pairs, grads)

        self.update = jax.jit(update, donate_argnums=0)
        self.pairs = jax.tree.map(jnp.asarray, task.pairs())

    def step(self) -> None:
        self.loss, self.pairs = jax.block_until_ready(self.update(self.pairs))

    def gradient(self) -> None:
        return None

    def parameters(self) -> Array:
        return flat(jax.tree.leaves(self.pairs))


def random_task(sizes: list[int], batch: int, dtype: str, seed: int = 0) -> Task:
    """Normal inputs, random classes, He's weights and small biases."""
    rng = np.random.default_rng(seed)
    weights = []
    for inputs, outputs in pairwise(sizes):
        weight = rng.standard_normal((outputs, inputs)) * (2 / inputs) ** 0.5
        weights.append(np.column_stack((weight, rng.standard_normal(outputs) * 0.1)))
    xs, ys = rng.standard_normal((batch, sizes[0])), rng.integers(0, sizes[-1], batch)
    return Task(xs, ys, weights, "cross-entropy", rate=0.1, dtype=dtype)
