"""A norm gives numbers mean 0 and variance 1; a residual block adds to what it takes.

Everything here is made of the engine's ops, as in `nn`; formulas and names are PyTorch's. A mean is
rounded as any float is: numbers that are 1e8 times as far from 0 as from each other are normed to 8
digits, in float32 to none. Beyond 1e154, in float32 1e19, squares overflow, and the outputs are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from microgradx import ops
from microgradx._base import floats
from microgradx._base.arguments import flat, nested, number, shape, show_shape, whole, within
from microgradx.engine import Value
from microgradx.nn.module import Module, join, sample_row, title


class BatchNorm(Module):
    """weight · (x - mean) / √(var + eps) + bias, feature by feature (Ioffe and Szegedy 2015).

    In training mode mean and var are those of a batch, var the biased one. In evaluation mode
    they are running_mean and running_var: numbers, and constants of the graph. As `fit` runs one
    sample at a time, it takes a model with one in evaluation mode only: train it by steps over
    whole batches, eager ones, or those of `lift(loss of a batch)`.

    num_features: the width of a sample, so that weight, bias and the running ones have its shape
    eps:          at least 0
    momentum:     in [0, 1]: at every call in training mode the running statistics become
                  (1 - momentum) · running + momentum · observed, the observed variance being the
                  unbiased one; None is the average of all batches. Neither `record` nor a replay
                  changes anything
    affine:       False for no weight and no bias

    >>> norm = BatchNorm(1, eps=0.0)
    >>> [y.data for [y] in norm([[2.0], [4.0]])], norm.running_mean, norm.running_var
    ([-1.0, 1.0], [0.30000000000000004], [1.1])
    >>> norm.eval()([norm.running_mean[0]])
    [Value(data=0, grad=0, op=add, label='[0]')]

    A num_features that is not whole is a TypeError; numbers out of bounds are a ValueError.
    """

    _buffers = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
    ) -> None:
        self.num_features = whole("num_features", num_features)
        self.eps = within("eps", eps)
        self.momentum = None if momentum is None else number(momentum)
        if not 0.0 <= (self.momentum or 0.0) <= 1.0:
            raise ValueError(
                f"momentum lies in [0, 1], or is None for an average, got {self.momentum!r}"
            )
        self.weight = _parameters(self.num_features, 1.0, affine)
        self.bias = _parameters(self.num_features, 0.0, affine)
        self.running_mean = [0.0] * self.num_features
        self.running_var = [1.0] * self.num_features
        self.num_batches_tracked = 0

    def __call__(self, xs: Any) -> Any:
        """For a batch, n samples of num_features Values or numbers, n lists of Values.

        In evaluation mode also, for a single sample, a list of Values; in training mode that is a
        ValueError, as is a batch of one. Another width always is. After an error the running
        statistics are what they were.
        """
        samples = nested(xs)
        single = not (isinstance(samples, list) and any(isinstance(row, list) for row in samples))
        if self.training and (single or len(samples) == 1):
            raise ValueError(
                f"{title(self)} normalises over a batch while it trains: expected the shape (n, "
                f"{self.num_features}) with n at least 2, got {show_shape(samples)}; call it on "
                "the rows of a batch together, or call model.eval() first to run one sample"
            )
        batch = [sample_row(samples, self.num_features, self)] if single else self._rows(samples)
        columns: Iterable[Sequence[Any]] = zip(*batch)
        if self.training:
            over_batch = [_standardised(self, xs, f"[{j}]") for j, xs in enumerate(columns)]
            columns, means, variances = zip(*over_batch)
        else:
            columns = self._by_running(columns)
        ys = [_scaled(self, row) for row in zip(*columns)]
        if self.training and not any(x.recorded for x in flat(batch) if isinstance(x, Value)):
            self._observe(means, variances, len(batch))
        return ys[0] if single else ys

    def _rows(self, samples: list[Any]) -> list[tuple[Any, ...]]:
        """The batch; an error says which sample it is about."""
        batch = []
        for i, xs in enumerate(samples):
            try:
                batch.append(sample_row(xs, self.num_features, self))
            except (TypeError, ValueError) as error:
                raise type(error)(f"sample {i} of the batch: {error}") from None
        return batch

    def _by_running(self, columns: Iterable[Sequence[Any]]) -> list[list[Value]]:
        running = zip(columns, self.running_mean, self.running_var, strict=True)
        return [  # ops.sum makes a Value of numbers too
            [ops.sum([x, -mean]) / floats.sqrt(var + self.eps) for x in xs]
            for xs, mean, var in running
        ]

    def _observe(self, means: Sequence[Value], variances: Sequence[Value], n: int) -> None:
        """Move the running statistics, all at once, by those of a batch of n."""
        count = self.num_batches_tracked + 1
        share = 1.0 / count if self.momentum is None else self.momentum
        unbiased = [var.data * n / (n - 1) for var in variances]
        vars(self).update(
            running_mean=_between(self.running_mean, [mean.data for mean in means], share),
            running_var=_between(self.running_var, unbiased, share),
            num_batches_tracked=count,
        )


class LayerNorm(Module):
    """weight · (x - mean) / √(var + eps) + bias over the features of one sample.

    mean and var are those of its features, var the biased one (Ba, Kiros and Hinton 2016).

    normalized_shape:   the width of a sample, and of weight and bias: a whole number
    eps:                at least 0
    elementwise_affine: False for no weight and no bias

    >>> [y.data for y in LayerNorm(2, eps=0.0)([2.0, 4.0])]
    [-1.0, 1.0]

    A normalized_shape that is not whole is a TypeError; numbers out of bounds are a ValueError.
    """

    def __init__(
        self, normalized_shape: int, eps: float = 1e-5, elementwise_affine: bool = True
    ) -> None:
        self.normalized_shape = whole("normalized_shape", normalized_shape)
        self.eps = within("eps", eps)
        self.weight = _parameters(self.normalized_shape, 1.0, elementwise_affine)
        self.bias = _parameters(self.normalized_shape, 0.0, elementwise_affine)

    def __call__(self, xs: Any) -> list[Value]:
        """For one sample, a list of Values; another width is a ValueError."""
        row = sample_row(xs, self.normalized_shape, self)
        return _scaled(self, _standardised(self, row)[0])


class Residual(Module):
    """x + block(x): the block has only the change to learn (He et al. 2016).

    block: a Module, or another callable, that returns as many Values as it takes; no callable is
           a TypeError

    >>> double = Residual(lambda xs: [x * 1.0 for x in xs])
    >>> [y.data for y in double([Value(2.0), Value(3.0)])]
    [4.0, 6.0]
    """

    def __init__(self, block: Callable[[Any], Any]) -> None:
        if not callable(block):
            raise TypeError(f"a block is a Module or another callable, got {block!r:.60}")
        self.block = block

    def __call__(self, xs: Any) -> Any:
        """For one sample, a list of Values, or a Value if that is what the block returns.

        For a batch, where the block takes one, a list of lists. A block that returns another
        shape, a Value being (1,), is a ValueError, one that returns no Values a TypeError.
        """
        xs = nested(xs)
        found = nested(self.block(xs))
        x, y = (nest if isinstance(nest, list) else [nest] for nest in (xs, found))
        form = shape(y)
        if form is None or shape(x) != form:
            raise ValueError(
                f"{title(self)} adds what it takes, {show_shape(x)}, and what its block returns, "
                f"{show_shape(y)}; make these shapes equal"
            )
        if len(form) > 1:
            return [self._sums(*pair) for pair in zip(x, y)]
        sums = self._sums(x, y)
        return sums if isinstance(found, list) else sums[0]

    def _sums(self, xs: list[Any], ys: list[Any]) -> list[Value]:
        for y in ys:
            if not isinstance(y, Value):
                raise TypeError(f"the block of {title(self)} must return Values, got {y!r:.60}")
        return _labelled(self, [x + y for x, y in zip(xs, ys)])


# --- what they share ----------------------------------------------------------------------------


def _standardised(
    norm: BatchNorm | LayerNorm, xs: Sequence[Any], index: str = ""
) -> tuple[list[Value], Value, Value]:
    """Numbers minus their mean, over the root of their variance + eps; the mean; the variance."""
    mean = ops.mean(xs)
    minus = -mean
    centred = [x + minus for x in xs]
    var = ops.dot(centred, centred) / len(centred)
    mean.label, var.label = (join(norm._path, f"{name}{index}") for name in ("mean", "var"))
    root = (var + norm.eps).sqrt()
    return [x / root for x in centred], mean, var


def _parameters(width: int, start: float, wanted: bool) -> list[Value] | None:
    return [Value(start) for _ in range(width)] if wanted else None


def _scaled(norm: BatchNorm | LayerNorm, xs: Sequence[Value]) -> list[Value]:
    """The outputs for one sample that is standardised already."""
    if norm.weight is not None:
        xs = _labelled(norm, [x * w for x, w in zip(xs, norm.weight, strict=True)], ".z")
    if norm.bias is not None:
        xs = [x + b for x, b in zip(xs, norm.bias, strict=True)]
    return _labelled(norm, xs)


def _labelled(module: Module, ys: Sequence[Value], end: str = "") -> list[Value]:
    """The output of a module for one sample, as a list: each Value is labelled `…[j]` or `…[j].z`.

    Nodes between a weight and an output are labelled too: in a picture a module is a frame, and
    Graphviz fails at one that a path leaves and enters again ("trouble in init_rank").
    """
    for j, y in enumerate(ys):
        y.label = f"{module._path}[{j}]{end}"
    return list(ys)


def _between(old: list[float], new: list[float], share: float) -> list[float]:
    return [(1.0 - share) * a + share * b for a, b in zip(old, new, strict=True)]
