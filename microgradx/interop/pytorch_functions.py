"""PyTorch's functions on arrays of Values, by its names and with its arguments."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from microgradx import ops
from microgradx.engine import Value
from microgradx.interop import tensors as of
from microgradx.interop.labels import Labels, path_of
from microgradx.interop.tensors import Array, each, objects
from microgradx.nn.module import join


def _same(x: Any, *_: Any, **__: Any) -> Any:
    return x


def _sizes(sizes: Sequence[Any]) -> list[int]:
    """Sizes or axes that are given one by one, or as a list."""
    listed = len(sizes) == 1 and isinstance(sizes[0], (tuple, list))
    return [int(n) for n in (sizes[0] if listed else sizes)]


def _elementwise(f: Callable[[Value], Value]) -> Callable[..., Any]:
    found = each(f)
    return lambda x, *_, **__: found(x)


def _softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """ln(1 + exp(beta x)) / beta, above the threshold too, where PyTorch rounds to x."""
    if beta == 1:
        return each(Value.softplus)(x)
    return each(lambda v: (v * beta).softplus() / beta)(x)


def _clamp(x: Any, min: Any = None, max: Any = None) -> Array:
    low, high = (end if end is not None else e for end, e in ((min, -math.inf), (max, math.inf)))
    return of.zipped(ops.clamp)(x, low, high)


def _hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    return _clamp(x, min_val, max_val)


def _prelu(x: Array, weight: Any) -> Array:
    slopes = objects(weight)
    if slopes.size > 1:
        slopes = slopes.reshape(1, -1, *[1] * (x.ndim - 2))
    return of.zipped(ops.leaky_relu)(x, slopes)


def _weight_norm(v: Any, g: Any, dim: int = 0) -> Array:
    """g · v / ‖v‖, a norm for each place of an axis (Salimans and Kingma 2016)."""
    axes = [k for k in range(np.ndim(v)) if k != dim]
    norm = each(Value.sqrt)(of.total(objects(v) * objects(v), axes, keep=True))
    return objects(objects(v) * (objects(g) / norm))


def _glu(x: Array, dim: int = -1) -> Array:
    a, b = np.split(x, 2, dim)
    return objects(a * of.SIGMOID(b))


def _add(x: Any, y: Any, *, alpha: Any = 1) -> Any:
    return of.add(x, y if alpha == 1 else objects(y) * alpha)


def _sub(x: Any, y: Any, *, alpha: Any = 1) -> Any:
    return objects(np.subtract(objects(x), objects(y) if alpha == 1 else objects(y) * alpha))


def _binary(ufunc: Any) -> Callable[..., Any]:
    return lambda x, y, **_: objects(ufunc(objects(x), objects(y)))


def _flipped(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: f(y, x)


def _compared(f: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda x, y: of.zipped(f)(x, y)


def _reduced(f: Callable[..., Array]) -> Callable[..., Any]:
    def of_axes(x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        return f(x, dim, keepdim)

    return of_axes


def _extreme(f: Callable[..., Array], pairwise: Callable[..., Any]) -> Callable[..., Any]:
    """max and min: of all, along an axis, where their places are not known, or of two tensors."""

    def of_axes(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        if isinstance(dim, np.ndarray):
            return of.zipped(pairwise)(x, dim)
        return f(x) if dim is None else (f(x, dim, keepdim), None)

    return of_axes


def _spread(root: bool) -> Callable[..., Any]:
    def of_axes(
        x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *,
        correction: Any = None,
    ) -> Any:  # fmt: skip
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        found = of.variance(x, dim, keepdim, float(unbiased) if correction is None else correction)
        return each(Value.sqrt)(found) if root else found

    return of_axes


def _softmax(f: Callable[..., Array]) -> Callable[..., Any]:
    def of_axis(x: Any, dim: Any = -1, *_: Any, **__: Any) -> Any:
        return f(x, -1 if dim is None else dim)

    return of_axis


def _linear(x: Any, weight: Any, bias: Any = None) -> Array:
    return of.linear(x, weight, bias)


def _addmm(x: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    return objects(x) * beta + of.matmul(a, b) * alpha


def _einsum(equation: str, *xs: Any) -> Array:
    return of.einsum(equation, *(xs[0] if isinstance(xs[0], (list, tuple)) else xs))


def _conv(
    x: Array, weight: Array, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Array:  # fmt: skip
    return of.conv(x, weight, bias, stride, padding, dilation, groups)


def _max_pool(
    x: Array, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Array:  # fmt: skip
    if ceil_mode or return_indices:
        raise TypeError("ceil_mode and return_indices are not supported")
    return of.pool(x, of.largest, kernel_size, stride, padding, dilation)


def _avg_pool(
    x: Array, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: Any = None,
) -> Array:  # fmt: skip
    if ceil_mode or divisor_override:
        raise TypeError("ceil_mode and divisor_override are not supported")
    reduce = of.average if count_include_pad else of.average_inside
    return of.pool(x, reduce, kernel_size, stride, padding)


def _pool_to(reduce: Callable[[list[Any], int], Any]) -> Callable[..., Any]:
    return lambda x, output_size, return_indices=False: of.pool_to(x, reduce, output_size)


def _batch_norm(
    x: Array, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: Any = 0.1, eps: float = 1e-5, *_: Any,
) -> Array:  # fmt: skip
    if running_mean is None:
        raise TypeError("batch norm without running statistics would mix the rows of a batch")
    return of.batch_norm(x, running_mean, running_var, weight, bias, eps)


def _instance_norm(
    x: Array, running_mean: Any = None, running_var: Any = None, weight: Any = None,
    bias: Any = None, use_input_stats: bool = True, momentum: Any = 0.1, eps: float = 1e-5, *_: Any,
) -> Array:  # fmt: skip
    if not use_input_stats:
        return of.batch_norm(x, running_mean, running_var, weight, bias, eps)
    return of.group_norm(x, x.shape[1], weight, bias, eps)


def _layer_norm(
    x: Array, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5,
    *_: Any,
) -> Array:  # fmt: skip
    path = path_of(weight, bias)
    return of.layer_norm(x, len(normalized_shape), weight, bias, eps, path)


def _rms_norm(x: Array, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Array:
    eps = np.finfo(float).eps if eps is None else eps
    return of.rms_norm(x, len(normalized_shape), weight, float(eps))


def _group_norm(
    x: Array, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Array:
    return of.group_norm(x, num_groups, weight, bias, eps)


def _embedding(index: Any, weight: Any, *_: Any, **__: Any) -> Array:
    return of.embedding(index, objects(weight))


# shapes


def _reshape(x: Any, *sizes: Any, **named: Any) -> Any:
    return x.reshape(_sizes(sizes or (named["shape"],)))


def _flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    x = np.atleast_1d(x)
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])


def _unflatten(x: Any, dim: int, sizes: Any) -> Any:
    dim %= x.ndim
    return x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :])


def _permute(x: Any, *dims: Any, **named: Any) -> Any:
    return x.transpose(_sizes(dims or (named["dims"],)))


def _transpose(x: Any, dim0: int, dim1: int) -> Any:
    return np.swapaxes(x, dim0, dim1)


def _moved(x: Any, source: Any, destination: Any) -> Any:
    return np.moveaxis(x, source, destination)


def _squeeze(x: Any, dim: Any = None) -> Any:
    if dim is None:
        return x.squeeze()
    axes = [k for k in of.axes_of(x, dim) if x.shape[k] == 1]
    return x.squeeze(tuple(axes)) if axes else x


def _unsqueeze(x: Any, dim: int) -> Any:
    return np.expand_dims(x, dim)


def _expand(x: Any, *sizes: Any, implicit: bool = False) -> Any:
    wanted = _sizes(sizes)
    old = [1] * (len(wanted) - x.ndim) + list(x.shape)
    return np.broadcast_to(x, [o if w == -1 else w for o, w in zip(old, wanted)])


def _expand_as(x: Any, other: Any) -> Any:
    return np.broadcast_to(x, other.shape)


def _repeat(x: Any, *sizes: Any) -> Any:
    return np.tile(x, _sizes(sizes))


def _cat(xs: Any, dim: int = 0) -> Any:
    return np.concatenate([objects(x) for x in xs], dim)


def _stack(xs: Any, dim: int = 0) -> Any:
    return np.stack([objects(x) for x in xs], dim)


def _split(x: Any, split_size: Any, dim: int = 0) -> Any:
    if isinstance(split_size, int):
        return tuple(np.split(x, range(split_size, x.shape[dim], split_size), dim))
    return tuple(np.split(x, np.cumsum(split_size)[:-1], dim))


def _chunk(x: Any, chunks: int, dim: int = 0) -> Any:
    return _split(x, -(-x.shape[dim] // chunks), dim)


def _unbind(x: Any, dim: int = 0) -> Any:
    return tuple(np.moveaxis(x, dim, 0)[k, ...] for k in range(x.shape[dim]))


def _narrow(x: Any, dim: int, start: int, length: int) -> Any:
    return np.take(x, range(int(start), int(start) + length), dim)


def _select(x: Any, dim: int, index: int) -> Any:
    return objects(np.take(x, int(index), dim))


def _index_select(x: Any, dim: int, index: Any) -> Any:
    return np.take(x, np.asarray(index, int), dim)


def _getitem(x: Any, index: Any) -> Any:
    if not isinstance(x, np.ndarray):
        raise TypeError("an index that is a Value would be one sample's; use an embedding")
    return objects(x[_constant(index)])


def _constant(index: Any) -> Any:
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(k, np.ndarray) and k.dtype == object for k in parts):
        raise TypeError("an index that is a Value would be one sample's; use an embedding")
    return index


def _setitem(x: Any, index: Any, part: Any) -> None:
    x[_constant(index)] = part if isinstance(part, np.ndarray) else objects(part)


def _flip(x: Any, *dims: Any) -> Any:
    return np.flip(objects(x), tuple(_sizes(dims)))


def _roll(x: Any, shifts: Any, dims: Any = None) -> Any:
    return np.roll(x, shifts, dims)


def _pad(x: Any, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Any:
    if mode != "constant":
        raise TypeError(f"pad in the mode {mode!r} is not supported")
    pairs = [*zip(pad[::2], pad[1::2])][::-1]
    ends = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    return np.pad(x, ends, constant_values=float(value or 0.0))


def _triangle(f: Any) -> Callable[..., Any]:
    def of_matrix(x: Any, diagonal: int = 0) -> Any:
        seen = f(np.ones(x.shape[-2:]), diagonal) > 0
        return of.chosen(np.broadcast_to(seen, x.shape), x, 0.0)

    return of_matrix


def _masked_fill(x: Any, mask: Any, value: Any) -> Any:
    return of.chosen(mask, value if np.ndim(value) else float(value), x)


def _where_of(condition: Any, x: Any, y: Any) -> Any:
    return of.chosen(condition, x, y)


def _constants(number: float) -> Callable[..., Any]:
    return lambda x, *_, **__: np.full(x.shape, number)


def _full_like(x: Any, fill_value: Any, **_: Any) -> Any:
    return np.full(x.shape, float(fill_value))


def _new(number: float) -> Callable[..., Any]:
    return lambda x, *sizes, **_: np.full(_sizes(sizes), number)


# attention and recurrent nets


def _attend(
    query: Array, key: Array, value: Array, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: Any = None, enable_gqa: bool = False,
) -> Array:  # fmt: skip
    if enable_gqa:
        raise TypeError("enable_gqa is not supported")
    mask = np.tril(np.ones((query.shape[-2], key.shape[-2]), bool)) if is_causal else attn_mask
    return of.attention(query, key, value, mask, scale)


def _hiding(mask: Any) -> Any:
    """A mask as numbers to add: -inf where it hides, as True does."""
    return np.where(mask, -math.inf, 0.0) if getattr(mask, "dtype", "") == "bool" else mask


def _heads_forward(
    query: Array, key: Array, value: Array, embed_dim_to_check: int, num_heads: int,
    in_proj_weight: Any, in_proj_bias: Any, bias_k: Any, bias_v: Any, add_zero_attn: bool,
    dropout_p: float, out_proj_weight: Any, out_proj_bias: Any, training: bool = True,
    key_padding_mask: Any = None, need_weights: bool = True, attn_mask: Any = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Any = None, k_proj_weight: Any = None,
    v_proj_weight: Any = None, static_k: Any = None, static_v: Any = None,
    average_attn_weights: bool = True, is_causal: bool = False, *, labels: Labels,
) -> Any:  # fmt: skip
    """F.multi_head_attention_forward: (length, batch, width) or (length, width); no weights."""
    if not all(x is None for x in (bias_k, bias_v, static_k, static_v)) or add_zero_attn:
        raise TypeError("bias_k, bias_v, static_k, static_v and add_zero_attn are not supported")
    batched = query.ndim == 3
    inputs = [
        np.moveaxis(x, 0, 1) if batched else x[None] for x in map(objects, (query, key, value))
    ]
    projections = (
        [q_proj_weight, k_proj_weight, v_proj_weight] if use_separate_proj_weight
        else np.split(in_proj_weight, 3)
    )  # fmt: skip
    biases = [None] * 3 if in_proj_bias is None else np.split(in_proj_bias, 3)
    q, k, v = (
        np.swapaxes(of.linear(x, w, b).reshape(*x.shape[:2], num_heads, -1), 1, 2)
        for x, w, b in zip(inputs, projections, biases)
    )
    mask: Any = None
    if attn_mask is not None:
        mask = (
            attn_mask
            if np.ndim(attn_mask) < 3
            else attn_mask.reshape(-1, num_heads, *attn_mask.shape[1:])
        )
        mask = np.where(mask, -math.inf, 0.0) if mask.dtype == bool else mask
    if key_padding_mask is not None:
        hidden = key_padding_mask
        hidden = np.where(hidden, -math.inf, 0.0) if hidden.dtype == bool else hidden
        hidden = hidden.reshape(len(q), 1, 1, -1)
        mask = hidden if mask is None else mask + hidden
    heads = np.swapaxes(of.attention(q, k, v, mask), 1, 2)
    found = of.linear(heads.reshape(*heads.shape[:2], -1), out_proj_weight, out_proj_bias)
    labels.outputs(path_of(out_proj_weight, out_proj_bias), found)
    return (np.moveaxis(found, 1, 0) if batched else found[0]), None


def _recurrent(cell: Callable[..., Any], states: int, per_layer: int = 4) -> Callable[..., Any]:
    """rnn_tanh, lstm, gru: on inputs, states, a list of weights, and how to run them."""

    def run(
        x: Array, state: Any, weights: Any, has_biases: bool, num_layers: int, dropout: float,
        train: bool, bidirectional: bool, batch_first: bool, *, labels: Labels,
    ) -> Any:  # fmt: skip
        if not isinstance(has_biases, bool):
            raise TypeError("a packed sequence is not supported")
        steps = [objects(s) for s in np.moveaxis(x, 1 if batch_first else 0, 0)]
        given = [objects(s) for s in (state if isinstance(state, (tuple, list)) else [state])]
        each_ = 4 if has_biases else 2
        last: list[list[Array]] = [[] for _ in range(states)]
        ways = 2 if bidirectional else 1
        for layer in range(num_layers):
            outputs = []
            for way in range(ways):
                k = layer * ways + way
                own = weights[k * each_ : (k + 1) * each_]
                path = path_of(own[0])
                name = path
                if path is not None and num_layers * ways > 1:
                    name = join(path, f"l{layer}{'_reverse' * way}")
                neurons: list[tuple[Array, Array]] = []
                step = cell(lambda z, h, neurons=neurons: neurons.append((z, h)))
                found, end = of.recurrent(step, steps, [s[k] for s in given], own, bool(way))
                for z, h in reversed(neurons) if way else neurons:  # in the order of time
                    _noted(labels, name, z, h)
                outputs.append(found)
                for held, new in zip(last, end):
                    held.append(new)
            steps = [np.concatenate(parts, -1) for parts in zip(*outputs)]
        return np.stack(steps, 1 if batch_first else 0), *[np.stack(held) for held in last]

    return run


def _one_step(cell: Callable[..., Any], states: int) -> Callable[..., Any]:
    """The cells: of inputs, states, weights and biases."""

    def run(
        x: Array, state: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None, *,
        labels: Labels,
    ) -> Any:  # fmt: skip
        given = [objects(s) for s in (state if isinstance(state, (tuple, list)) else [state])]
        path = path_of(w_ih)
        biases = [] if b_ih is None else [b_ih, b_hh]
        step = cell(lambda z, h: _noted(labels, path, z, h))
        found = step(x, given, [w_ih, w_hh, *biases])
        return found[0] if states == 1 else tuple(found)

    return run


def _noted(labels: Labels, path: str | None, z: Array, h: Array) -> None:
    labels.outputs(path, z)
    if h is not z:
        labels.activated(z, h)


_TANH_CELL = functools.partial(of.tanh_cell, of.TANH)
_RELU_CELL = functools.partial(of.tanh_cell, each(Value.relu))

ACTIVATIONS: dict[str, Callable[..., Any]] = {
    **{name: _elementwise(getattr(Value, name)) for name in ("relu", "sigmoid", "tanh", "silu")},
    "gelu": of.gelu,
    "softplus": _softplus,
    "leaky_relu": lambda x, negative_slope=0.01: each(of.leaky_relu(negative_slope))(x),
    "elu": lambda x, alpha=1.0: each(of.elu(alpha))(x),
    "celu": lambda x, alpha=1.0: each(lambda v: (v / alpha).elu(1.0) * alpha)(x),
    "selu": _elementwise(of.elu(*of.SELU)),
    "mish": _elementwise(of.mish),
    "hardtanh": _hardtanh,
    "relu6": lambda x: _clamp(x, 0.0, 6.0),
    # Not hardsigmoid: PyTorch's own gradient of it is 3e-8 off in float64, by a 1/6 in float32.
    "hardswish": _elementwise(lambda v: v * of.hard_sigmoid(v)),
    "softsign": _elementwise(lambda v: v / (1.0 + abs(v))),
    "logsigmoid": _elementwise(lambda v: -(-v).softplus()),
    "log_sigmoid": _elementwise(lambda v: -(-v).softplus()),
    "tanhshrink": _elementwise(lambda v: v - v.tanh()),
    "prelu": _prelu,
    "clamp": _clamp,
    "sin": _elementwise(Value.sin),
    "cos": _elementwise(Value.cos),
}

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **ACTIVATIONS,
    **{name: _elementwise(getattr(Value, name)) for name in ("exp", "log", "sqrt", "abs")},
    "detach": _elementwise(Value.detach),
    "absolute": _elementwise(Value.abs),
    "data": _elementwise(Value.detach),
    "neg": _elementwise(Value.neg),
    "negative": _elementwise(Value.neg),
    "square": _elementwise(lambda v: v * v),
    "rsqrt": _elementwise(lambda v: 1.0 / v.sqrt()),
    "reciprocal": _elementwise(lambda v: 1.0 / v),
    "log1p": _elementwise(lambda v: (1.0 + v).log()),
    "glu": _glu,
    "weight_norm": _weight_norm,
    "softshrink": lambda x, lambd=0.5: each(lambda v: v - v.clamp(-lambd, lambd))(x),
    "threshold": lambda x, threshold, value: of.chosen(
        of.zipped(of.greater)(x, threshold), x, float(value)),
    "clip": _clamp,
    "clamp_min": lambda x, min: _clamp(x, min),
    "clamp_max": lambda x, max: _clamp(x, None, max),
    "add": _add, "radd": _add, "sub": _sub, "subtract": _sub, "rsub": _flipped(_sub),
    **dict.fromkeys(("mul", "rmul", "multiply"), _binary(np.multiply)),
    **dict.fromkeys(("div", "truediv", "divide", "true_divide"), _binary(np.divide)),
    **dict.fromkeys(("rdiv", "rtruediv"), _flipped(_binary(np.divide))),
    "pow": _binary(np.power), "rpow": _flipped(_binary(np.power)),
    **dict.fromkeys(("maximum", "fmax"), lambda x, y: of.zipped(ops.maximum)(x, y)),
    **dict.fromkeys(("minimum", "fmin"), lambda x, y: of.zipped(ops.minimum)(x, y)),
    **dict.fromkeys(("gt", "greater"), _compared(of.greater)),
    **dict.fromkeys(("lt", "less"), _compared(lambda x, y: of.greater(y, x))),
    **dict.fromkeys(("ge", "greater_equal"), _compared(lambda x, y: 1.0 - of.greater(y, x))),
    **dict.fromkeys(("le", "less_equal"), _compared(lambda x, y: 1.0 - of.greater(x, y))),
    "eq": _compared(ops.equal),
    "ne": _compared(lambda x, y: 1.0 - ops.equal(x, y)),
    "sum": _reduced(of.total), "mean": _reduced(of.mean), "logsumexp": _reduced(of.logsumexp),
    "amax": _reduced(of.greatest), "amin": _reduced(of.least),
    "max": _extreme(of.greatest, ops.maximum), "min": _extreme(of.least, ops.minimum),
    "var": _spread(False), "std": _spread(True),
    "softmax": _softmax(of.softmax), "log_softmax": _softmax(of.log_softmax),
    "softmin": lambda x, dim=-1, *_, **__: of.softmax(objects(-x), dim),
    "linear": _linear, "matmul": of.matmul, "mm": of.matmul, "bmm": of.matmul, "mv": of.matmul,
    "rmatmul": _flipped(of.matmul), "dot": of.matmul,
    "addmm": _addmm, "baddbmm": _addmm,
    "einsum": _einsum,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _conv),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _avg_pool),
    **dict.fromkeys([f"adaptive_avg_pool{n}d" for n in (1, 2, 3)], _pool_to(of.average)),
    **dict.fromkeys([f"adaptive_max_pool{n}d" for n in (1, 2, 3)], _pool_to(of.largest)),
    "batch_norm": _batch_norm, "layer_norm": _layer_norm, "group_norm": _group_norm,
    "instance_norm": _instance_norm, "rms_norm": _rms_norm,
    "embedding": _embedding,
    **dict.fromkeys(
        ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout",
         "feature_alpha_dropout", "contiguous", "clone", "to", "float", "double", "type",
         "type_as", "cpu", "long", "int", "requires_grad", "alias", "real"), _same,
    ),
    "view": _reshape, "reshape": _reshape, "flatten": _flatten, "ravel": _flatten,
    "unflatten": _unflatten,
    "view_as": lambda x, other: x.reshape(other.shape),
    "reshape_as": lambda x, other: x.reshape(other.shape),
    "permute": _permute, "transpose": _transpose, "swapaxes": _transpose, "swapdims": _transpose,
    "t": lambda x: x.T, "T": lambda x: x.T, "mT": lambda x: np.swapaxes(x, -1, -2),
    "movedim": _moved, "moveaxis": _moved, "squeeze": _squeeze, "unsqueeze": _unsqueeze,
    "expand": _expand, "expand_as": _expand_as, "repeat": _repeat,
    "cat": _cat, "concat": _cat, "concatenate": _cat, "stack": _stack,
    "split": _split, "split_with_sizes": _split, "chunk": _chunk, "unbind": _unbind,
    "iter": lambda x: iter(_unbind(x)),
    "narrow": _narrow, "select": _select, "index_select": _index_select,
    "getitem": _getitem, "setitem": _setitem, "flip": _flip, "roll": _roll, "pad": _pad,
    "tril": _triangle(np.tril), "triu": _triangle(np.triu),
    "masked_fill": _masked_fill, "where": _where_of,
    "zeros_like": _constants(0.0), "ones_like": _constants(1.0), "full_like": _full_like,
    "new_zeros": _new(0.0), "new_ones": _new(1.0),
    "scaled_dot_product_attention": _attend, "multi_head_attention_forward": _heads_forward,
    "rnn_tanh": _recurrent(_TANH_CELL, 1), "rnn_relu": _recurrent(_RELU_CELL, 1),
    "lstm": _recurrent(of.lstm_cell, 2), "gru": _recurrent(of.gru_cell, 1),
    "rnn_tanh_cell": _one_step(_TANH_CELL, 1), "rnn_relu_cell": _one_step(_RELU_CELL, 1),
    "lstm_cell": _one_step(of.lstm_cell, 2), "gru_cell": _one_step(of.gru_cell, 1),
}  # fmt: skip

# Those that make a layer's outputs: the axis of its units, and which arguments are its parameters.
_NORM = ((3, "weight"), (4, "bias"))
UNITS: dict[str, tuple[Any, ...]] = {
    "linear": (-1, (1, "weight")), "matmul": (-1, (1, "other")), "mm": (-1, (1, "mat2")),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), (1, (1, "weight"))),
    "batch_norm": (1, *_NORM), "instance_norm": (1, *_NORM),
    "layer_norm": (-1, (2, "weight"), (3, "bias")), "group_norm": (1, (2, "weight"), (3, "bias")),
    "rms_norm": (-1, (2, "weight")),
}  # fmt: skip
# Those that torch.nn.functional has in another order of arguments than torch; only its is known.
BY_FUNCTIONAL = {"batch_norm", "instance_norm", "embedding"}
COMPOSITE = {
    "multi_head_attention_forward", "rnn_tanh", "rnn_relu", "lstm", "gru", "rnn_tanh_cell",
    "rnn_relu_cell", "lstm_cell", "gru_cell",
}  # fmt: skip
