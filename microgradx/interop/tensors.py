"""Array functions on Values: what the ops of other libraries do, made of the engine's ops.

An array is a NumPy array of objects, Values and bare numbers; the first axis is the batch, of one
sample as a rule. Every product of a matrix is a `dot` a row, so that `record` finds the matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgradx import ops
from microgradx._base.arguments import flat, nested, shape, show_shape
from microgradx.engine import Value, functions
from microgradx.nn.module import join

Array = NDArray[Any]

MOST = 1_000_000  # nodes of one layer, and parameters of a net: a record of more takes minutes


def array_of(nest: Any) -> Array:
    """A nest of Values and numbers as an array; one that is ragged or empty is a ValueError."""
    if isinstance(nest, np.ndarray) and nest.dtype == object:
        return nest
    nest = nested(nest)
    sizes = shape(nest)
    if sizes is None:
        raise ValueError(f"a sample is a full array of numbers, got {show_shape(nest)}")
    found = np.empty(math.prod(sizes), object)
    found[:] = [x if isinstance(x, Value) else float(x) for x in flat(nest)]
    return found.reshape(sizes)


def objects(x: Any) -> Array:
    """The array as one of objects; a Value alone as an array without axes."""
    return x if isinstance(x, np.ndarray) and x.dtype == object else np.asarray(x, object)


def room_for(nodes: int, kind: str) -> None:
    """A ValueError if a layer makes more nodes than can be recorded."""
    if nodes > MOST:
        raise ValueError(
            f"this {kind} alone makes {nodes:,} nodes, more than {MOST:,}; adopt a part of the "
            "net, or give it a smaller example"
        )


# --- number by number ----------------------------------------------------------------------------


def each(f: Callable[[Value], Value]) -> Callable[[Any], Array]:
    """f of every Value in an array; a bare number stays one."""

    def of_one(x: Any) -> Any:
        return f(x) if isinstance(x, Value) else f(Value(x)).data

    return lambda x: objects(np.frompyfunc(of_one, 1, 1)(x))


def zipped(f: Callable[..., Any]) -> Callable[..., Array]:
    """f of the elements of arrays that are broadcast against each other."""
    return lambda *xs: objects(np.frompyfunc(f, len(xs), 1)(*map(objects, xs)))


def is_hidden(x: Any) -> bool:
    """Whether x is the bare number -inf, as a mask puts it before a softmax."""
    return not isinstance(x, Value) and x == -math.inf


def _plus(x: Any, y: Any) -> Any:
    return -math.inf if is_hidden(x) or is_hidden(y) else x + y


def add(x: Any, y: Any) -> Array:
    """x + y; where one of them is the number -inf, so is the sum, and nothing is behind it."""
    masked = any(
        np.asarray(z).dtype != object and np.any(np.asarray(z) == -math.inf) for z in (x, y)
    )
    return zipped(_plus)(x, y) if masked else objects(np.add(objects(x), objects(y)))


def greater(x: Any, y: Any) -> Any:
    """1 where x > y, else 0, of Values too: no gradient goes to it."""
    return ops.equal(ops.relu(y - x), 0.0) * (1.0 - ops.equal(x, y))


def leaky_relu(slope: float) -> Callable[[Value], Value]:
    return lambda x: x.leaky_relu(float(slope))


def elu(alpha: float, scale: float = 1.0) -> Callable[[Value], Value]:
    """x.elu(alpha) · scale, which with two numbers is the SELU of Klambauer et al. (2017)."""
    if scale == 1.0:
        return lambda x: x.elu(float(alpha))
    return lambda x: x.elu(float(alpha)) * scale


SELU = (1.6732632423543772, 1.0507009873554805)


def _gelu_by_tanh(x: Value) -> Value:
    """Its approximation by a tanh (Hendrycks and Gimpel 2016)."""
    return 0.5 * x * (1.0 + (math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)).tanh())


GELUS = {"none": Value.gelu, "tanh": _gelu_by_tanh}


def gelu(x: Any, approximate: str = "none") -> Array:
    return each(GELUS[approximate])(x)


def hard_sigmoid(x: Value, slope: float = 1.0 / 6.0, offset: float = 0.5) -> Value:
    return (x * slope + offset).clamp(0.0, 1.0)


def mish(x: Value) -> Value:
    return x * x.softplus().tanh()


# --- along axes ----------------------------------------------------------------------------------


def axes_of(x: Array, axis: Any) -> tuple[int, ...]:
    """The axes that a number, a list of them, or None for all, names."""
    if axis is None:
        return tuple(range(x.ndim))
    return tuple(int(k) % x.ndim for k in (axis if isinstance(axis, (tuple, list)) else [axis]))


def reduced(f: Callable[[list[Any]], Any], x: Any, axis: Any = None, keep: bool = False) -> Array:
    """f of the lists along some axes, which go, or stay with one place each."""
    x = objects(x)
    axes = axes_of(x, axis)
    rest = [k for k in range(x.ndim) if k not in axes]
    rows = x.transpose([*rest, *axes]).reshape(*[x.shape[k] for k in rest], -1)
    found = np.empty(rows.shape[:-1], object)
    for place in np.ndindex(found.shape):
        found[place] = f(rows[place].tolist())
    return found.reshape([1 if k in axes else n for k, n in enumerate(x.shape)]) if keep else found


def rowwise(f: Callable[[list[Any]], Sequence[Any]], x: Array, axis: int) -> Array:
    """f of every row along an axis, which has as many places afterwards."""
    rows = np.moveaxis(x, axis, -1)
    found = np.empty(rows.shape, object)
    for place in np.ndindex(rows.shape[:-1]):
        found[place] = f(rows[place].tolist())
    return np.moveaxis(found, -1, axis)


def _greatest(xs: list[Any]) -> Any:
    y = xs[0]
    for x in xs[1:]:
        y = ops.maximum(y, x)
    return y


def _least(xs: list[Any]) -> Any:
    y = xs[0]
    for x in xs[1:]:
        y = ops.minimum(y, x)
    return y


def _mean_square(xs: list[Any], correction: float) -> Value:
    """The variance around the mean."""
    centre = -ops.mean(xs)
    centred = [x + centre for x in xs]
    return ops.dot(centred, centred) / (len(xs) - correction)


def total(x: Any, axis: Any = None, keep: bool = False) -> Array:
    return reduced(ops.sum, x, axis, keep)


def mean(x: Any, axis: Any = None, keep: bool = False) -> Array:
    return reduced(ops.mean, x, axis, keep)


def greatest(x: Any, axis: Any = None, keep: bool = False) -> Array:
    return reduced(_greatest, x, axis, keep)


def least(x: Any, axis: Any = None, keep: bool = False) -> Array:
    return reduced(_least, x, axis, keep)


def variance(x: Any, axis: Any = None, keep: bool = False, correction: float = 0.0) -> Array:
    return reduced(lambda xs: _mean_square(xs, correction), x, axis, keep)


def logsumexp(x: Any, axis: Any = None, keep: bool = False) -> Array:
    return reduced(ops.logsumexp, x, axis, keep)


def _softmax_row(xs: list[Any]) -> list[Any]:
    shown = [x for x in xs if not is_hidden(x)]
    minus = -ops.logsumexp(shown)
    return [0.0 if is_hidden(x) else (x + minus).exp() for x in xs]


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x) / Σ exp(x) along an axis; where x is the number -inf, the number 0."""
    return rowwise(_softmax_row, x, axis)


def _log_softmax_row(xs: list[Any]) -> list[Any]:
    minus = -ops.logsumexp(xs)
    return [x + minus for x in xs]


def log_softmax(x: Array, axis: int = -1) -> Array:
    return rowwise(_log_softmax_row, x, axis)


# --- products ------------------------------------------------------------------------------------


def rows_of(matrix: Array) -> list[tuple[Any, ...]]:
    """The rows of a matrix as a dot takes them."""
    return [tuple(row) for row in matrix.tolist()]


def linear(x: Any, weight: Array, bias: Array | None = None) -> Array:
    """x (…, in) by weight (out, in), with bias (out,) or one for each output: a dot for each."""
    x, weight = objects(x), objects(weight)
    if x.shape[-1:] != weight.shape[1:]:
        raise ValueError(f"a linear layer of {weight.shape[1]} inputs got the shape {x.shape}")
    samples, rows = x.reshape(-1, x.shape[-1]), rows_of(weight)
    room_for(len(samples) * len(rows), "linear layer")
    biases = np.broadcast_to(objects(0.0 if bias is None else bias), (len(samples), len(rows)))
    found = np.empty((len(samples), len(rows)), object)
    for place, (sample, given) in enumerate(zip(samples.tolist(), biases.tolist())):
        found[place] = ops.dots(rows, tuple(sample), given)
    return found.reshape(*x.shape[:-1], len(rows))


def matmul(a: Any, b: Any) -> Array:
    """The product of matrices, or of stacks of them, or of a vector, as NumPy defines it."""
    a, b = objects(a), objects(b)
    if b.ndim == 1:
        return matmul(a, b[:, None])[..., 0]
    if b.ndim == 2:
        return linear(a, b.T)
    if a.ndim == 1:
        return matmul(a[None], b)[..., 0, :]
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (np.broadcast_to(m, lead + m.shape[-2:]) for m in (a, b))
    found = np.empty((*lead, a.shape[-2], b.shape[-1]), object)
    room_for(found.size, "product")
    for place in np.ndindex(lead):
        found[place] = linear(a[place], b[place].T)
    return found


def einsum(equation: str, *operands: Any) -> Array:
    """Einstein's sum of one array or two, with every axis by a letter."""
    read, _, out = equation.replace(" ", "").partition("->")
    names = read.split(",")
    if "." in equation or "->" not in equation or not 1 <= len(names) == len(operands) <= 2:
        raise TypeError(f"einsum {equation!r}: write one or two operands, letters, and ->")
    if any(len({*letters}) < len(letters) for letters in names):
        raise TypeError(f"einsum {equation!r}: a letter is twice in one operand")
    found = [_summed(x, own, out + "".join(names).replace(own, "", 1))
             for x, own in zip(map(objects, operands), names)]  # fmt: skip
    if len(found) == 1:
        x, own = found[0]
        return x.transpose([own.index(c) for c in out])
    (a, own), (b, other) = found
    stack = [c for c in own if c in other and c in out]
    inner = [c for c in own if c in other and c not in out]
    left, right = ([c for c in x if c not in stack + inner] for x in (own, other))
    sizes = {**dict(zip(own, a.shape)), **dict(zip(other, b.shape))}
    a = a.transpose([own.index(c) for c in stack + left + inner])
    b = b.transpose([other.index(c) for c in stack + inner + right])
    lead = [sizes[c] for c in stack]
    width = math.prod(sizes[c] for c in inner)
    made = matmul(
        a.reshape(*lead, -1, width) if stack else a.reshape(-1, width),
        b.reshape(*lead, width, -1) if stack else b.reshape(width, -1),
    )
    order = stack + left + right
    return made.reshape([sizes[c] for c in order]).transpose([order.index(c) for c in out])


def _summed(x: Array, own: str, wanted: str) -> tuple[Array, str]:
    """An operand without the axes that nothing else names: their sum."""
    alone = [k for k, c in enumerate(own) if c not in wanted]
    return (total(x, alone), "".join(c for c in own if c in wanted)) if alone else (x, own)


# --- convolution and pooling ---------------------------------------------------------------------


def several(x: Any, n: int) -> list[int]:
    """A size for each of n axes, where one number stands for all."""
    xs = list(x) if isinstance(x, (tuple, list, np.ndarray)) else [x]
    return [int(k) for k in (xs * n if len(xs) == 1 else xs)]


Ends = Sequence[tuple[int, int]]
OUTSIDE: Any = None  # stands in a window where it reaches over the edge


def ends_of(padding: Any, kernel: Sequence[int], dilation: Sequence[int]) -> Ends:
    """How many zeros go before and behind each axis: of a number, one an axis, "same", "valid"."""
    if padding == "same":
        needed = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return [(n // 2, n - n // 2) for n in needed]
    sides = several(0 if padding == "valid" else padding, len(kernel))
    return [(n, n) for n in sides]


def windows(
    x: Array, kernel: Sequence[int], stride: Sequence[int], ends: Ends, dilation: Sequence[int]
) -> tuple[list[int], Iterator[tuple[tuple[int, ...], Array]]]:
    """The places of a window that moves over the axes behind the first two, and its contents.

    None stands where it reaches over the edge.
    """
    spread = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    padded = np.pad(x, [(0, 0), (0, 0), *ends], constant_values=OUTSIDE)
    sizes = [(n - s) // step + 1 for n, s, step in zip(padded.shape[2:], spread, stride)]
    if min(sizes) < 1:
        raise ValueError(f"a window of {spread} is larger than what it moves over, {x.shape[2:]}")

    def contents() -> Iterator[tuple[tuple[int, ...], Array]]:
        for place in np.ndindex(*sizes):
            cut = [
                slice(i * step, i * step + s, d)
                for i, step, s, d in zip(place, stride, spread, dilation)
            ]
            yield place, padded[(slice(None), slice(None), *cut)]

    return sizes, contents()


def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    ends: Ends | None = None,
) -> Array:
    """x (n, channels, …) with weight (out, channels / groups, …): a dot an output.

    ends: zeros before and behind each axis, where padding doesn't say it
    """
    kernel = weight.shape[2:]
    if x.ndim != weight.ndim or x.shape[1] != weight.shape[1] * groups:
        raise ValueError(
            f"a convolution of {weight.shape[1] * groups} channels and {len(kernel)} axes got the "
            f"shape {x.shape}"
        )
    stride, dilation = several(stride, len(kernel)), several(dilation, len(kernel))
    sizes, contents = windows(
        x, kernel, stride, ends_of(padding, kernel, dilation) if ends is None else ends, dilation
    )
    found = np.empty((len(x), len(weight), *sizes), object)
    room_for(found.size, "convolution")
    rows = rows_of(weight.reshape(len(weight), -1))
    biases = objects(np.zeros(len(weight)) if bias is None else bias).tolist()
    wide, deep = len(weight) // groups, weight.shape[1]
    for place, content in contents:
        for n, group in product(range(len(x)), range(groups)):
            patch = content[n, group * deep : (group + 1) * deep].ravel().tolist()
            own = slice(group * wide, (group + 1) * wide)
            xs = tuple([0.0 if v is None else v for v in patch])
            at: tuple[Any, ...] = (n, own, *place)
            found[at] = ops.dots(rows[own], xs, biases[own])
    return found


def pool(
    x: Array,
    reduce: Callable[[list[Any], int], Any],
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ends: Ends | None = None,
) -> Array:
    """reduce(the numbers in a window, its size) as the window moves over x (n, channels, …)."""
    axes = x.ndim - 2
    kernel, dilation = several(kernel, axes), several(dilation, axes)
    stride = kernel if stride is None or stride == [] else several(stride, axes)
    ends = ends_of(padding, kernel, dilation) if ends is None else ends
    sizes, contents = windows(x, kernel, stride, ends, dilation)
    found = np.empty((*x.shape[:2], *sizes), object)
    for place, content in contents:
        for n, c in np.ndindex(*x.shape[:2]):
            inside = [v for v in content[n, c].ravel().tolist() if v is not None]
            found[(n, c, *place)] = reduce(inside, math.prod(kernel))
    return found


def pool_to(x: Array, reduce: Callable[[list[Any], int], Any], sizes: Any) -> Array:
    """The pooling whose windows share out each axis into so many; None leaves an axis."""
    axes = x.shape[2:]
    wanted = list(sizes) if isinstance(sizes, (tuple, list)) else [sizes] * len(axes)
    outs = [n if out is None else int(out) for n, out in zip(axes, wanted)]
    found = np.empty((*x.shape[:2], *outs), object)
    for place in np.ndindex(*found.shape):
        cut = [slice(i * n // out, -(-(i + 1) * n // out))
               for i, n, out in zip(place[2:], axes, outs)]  # fmt: skip
        inside = x[(*place[:2], *cut)].ravel().tolist()
        found[place] = reduce(inside, len(inside))
    return found


def largest(xs: list[Any], _: int) -> Any:
    """For `pool`: the greatest of the numbers that lie inside."""
    return _greatest(xs)


def average(xs: list[Any], size: int) -> Any:
    """For `pool`: their sum over the size of the window, zeros at the edge included."""
    return ops.sum(xs) / float(size)


def average_inside(xs: list[Any], _: int) -> Any:
    return ops.mean(xs)


# --- norms ---------------------------------------------------------------------------------------


def scaled(x: Any, weight: Any, bias: Any) -> Any:
    """weight · x + bias, either of them None for none: one node, a dot."""
    if weight is None:
        return x if bias is None else x + bias
    return ops.dot((weight,), (x,), 0.0 if bias is None else bias)


def by_channel(x: Array, weight: Any, bias: Any) -> Array:
    """`scaled` by a number for each place of the second axis."""
    found = np.empty(x.shape, object)
    for place in np.ndindex(x.shape):
        c = place[1]
        pair = (None if a is None else a[c] for a in (weight, bias))
        found[place] = scaled(x[place], *pair)
    return found


def batch_norm(x: Array, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Array:
    """(x - mean) / √(var + eps), channel by channel by numbers, scaled: as in evaluation."""
    axes = (1, -1, *[1] * (x.ndim - 2))
    root = np.sqrt(np.asarray(var, float) + eps).reshape(axes)
    centred = add(x, -np.asarray(mean, float).reshape(axes))
    return by_channel(objects(centred / objects(root)), weight, bias)


def standardised(xs: list[Any], eps: float, path: str | None = None, place: str = "") -> list[Any]:
    """Numbers minus their mean, over the root of their variance + eps."""
    average = ops.mean(xs)
    minus = -average
    centred = [x + minus for x in xs]
    var = ops.dot(centred, centred) / len(centred)
    if path is not None:
        average.label, var.label = (f"{join(path, name)}{place}" for name in ("mean", "var"))
    root = (var + eps).sqrt()
    return [x / root for x in centred]


def layer_norm(
    x: Array, axes: int, weight: Any, bias: Any, eps: float, path: str | None = None
) -> Array:
    """The last axes, so many, standardised together for each place before them, and scaled."""
    lead = x.shape[: x.ndim - axes]
    rows = x.reshape(*lead, -1)
    scales = [None] * rows.shape[-1] if weight is None else list(flat(objects(weight).tolist()))
    shifts = [None] * rows.shape[-1] if bias is None else list(flat(objects(bias).tolist()))
    found = np.empty(rows.shape, object)
    for place in np.ndindex(*lead):
        inner = ",".join(map(str, place[1:]))
        ys = standardised(rows[place].tolist(), eps, path, f"[{inner}]" if inner else "")
        found[place] = [scaled(*each) for each in zip(ys, scales, shifts)]
    return found.reshape(x.shape)


def group_norm(x: Array, groups: int, weight: Any, bias: Any, eps: float) -> Array:
    """The channels of x (n, channels, …) in so many groups, each standardised, then scaled."""
    rows = x.reshape(len(x), groups, -1)
    found = rowwise(lambda xs: standardised(xs, eps), rows, -1).reshape(x.shape)
    return by_channel(found, weight, bias)


def rms_norm(x: Array, axes: int, weight: Any, eps: float) -> Array:
    """The last axes, so many, over the root of their mean square + eps, and scaled."""
    lead = x.shape[: x.ndim - axes]
    rows = x.reshape(*lead, -1)
    scales = [None] * rows.shape[-1] if weight is None else list(flat(objects(weight).tolist()))
    found = np.empty(rows.shape, object)
    for place in np.ndindex(*lead):
        xs = rows[place].tolist()
        root = (ops.dot(xs, xs) / len(xs) + eps).sqrt()
        found[place] = [scaled(x / root, w, None) for x, w in zip(xs, scales)]
    return found.reshape(x.shape)


# --- by index ------------------------------------------------------------------------------------


def embedding(index: Any, weight: Array) -> Array:
    """The rows of weight at these places; a place that is a Value picks among all of them."""
    index = np.asarray(index)
    if index.dtype != object or not any(isinstance(k, Value) for k in index.ravel()):
        return objects(weight[index.astype(int)])
    room_for(index.size * weight.size, "embedding of a recorded index")
    columns = weight.T.tolist()
    found = np.empty((*index.shape, len(columns)), object)
    for place in np.ndindex(index.shape):
        found[place] = [ops.pick(column, index[place]) for column in columns]
    return found


def chosen(condition: Any, x: Any, y: Any) -> Array:
    """x where the condition is true, else y; a condition of Values is true above 0."""
    condition = np.asarray(condition)
    if condition.dtype == object:
        return zipped(_where)(condition, x, y)
    pair = np.broadcast_arrays(condition.astype(bool), objects(x), objects(y))
    return objects(np.where(*pair))


def _where(condition: Any, x: Any, y: Any) -> Any:
    if isinstance(condition, Value):
        return functions["where"](condition, x, y)
    return x if condition > 0 else y


# --- attention and recurrent nets ----------------------------------------------------------------


def attention(q: Array, k: Array, v: Array, mask: Any = None, scale: float | None = None) -> Array:
    """softmax(q kᵀ · scale + mask) v over the last two axes (Vaswani et al. 2017).

    mask:  of bools, True where one looks; or numbers to add
    scale: 1 / √(the width of q), if None
    """
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else float(scale)
    scores = objects(matmul(q * scale, np.swapaxes(k, -1, -2)))
    if mask is not None:
        seen = np.asarray(mask)
        scores = chosen(seen, scores, -math.inf) if seen.dtype == bool else add(scores, mask)
    return matmul(softmax(scores), v)


Step = Callable[[Array, list[Array]], list[Array]]


def gates(x: Array, h: Array, weights: Sequence[Any]) -> Array:
    """W x + U h + b, a dot on top of a dot, of weights W, U and biases: two, or none."""
    w, u, *biases = weights
    return linear(x, w, linear(h, u, add(*biases) if biases else None))


def tanh_cell(f: Callable[[Any], Array], labelled: Callable[[Array, Array], None]) -> Any:
    """The step of a plain recurrent layer: h = f(W x + U h + b)."""

    def step(x: Array, state: list[Array], weights: Sequence[Any]) -> list[Array]:
        z = gates(x, state[0], weights)
        h = f(z)
        labelled(z, h)
        return [h]

    return step


SIGMOID, TANH = each(Value.sigmoid), each(Value.tanh)


def lstm_cell(labelled: Callable[[Array, Array], None]) -> Any:
    """The step of an LSTM (Hochreiter and Schmidhuber 1997), gates in PyTorch's order: i f g o."""

    def step(x: Array, state: list[Array], weights: Sequence[Any]) -> list[Array]:
        i, f, g, o = np.split(gates(x, state[0], weights), 4, -1)
        c = objects(SIGMOID(f) * state[1] + SIGMOID(i) * TANH(g))
        h = objects(SIGMOID(o) * TANH(c))
        labelled(h, h)
        return [h, c]

    return step


def gru_cell(labelled: Callable[[Array, Array], None]) -> Any:
    """The step of a GRU (Cho et al. 2014), as PyTorch has it: gates r z n."""

    def step(x: Array, state: list[Array], weights: Sequence[Any]) -> list[Array]:
        w, u, *biases = weights
        before, after = biases or (None, None)
        h = state[0]
        xr, xz, xn = np.split(linear(x, w, before), 3, -1)
        hr, hz, hn = np.split(linear(h, u, after), 3, -1)
        z = SIGMOID(xz + hz)
        n = TANH(xn + SIGMOID(xr + hr) * hn)
        new = objects(n + z * (h - n))
        labelled(new, new)
        return [new]

    return step


def recurrent(
    step: Any, xs: Sequence[Array], state: list[Array], weights: Sequence[Any], backwards: bool
) -> tuple[list[Array], list[Array]]:
    """The outputs of a step over time, in the order of time, and its last state."""
    found = []
    for x in reversed(xs) if backwards else xs:
        state = step(x, state, weights)
        found.append(state[0])
    return found[::-1] if backwards else found, state
