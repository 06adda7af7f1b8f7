"""An .onnx file on Values: its graph, node by node; nodes without Values by onnx's reference."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from microgradx import ops
from microgradx._base.text import clean, count, listed
from microgradx.engine import Value
from microgradx.interop import tensors as of
from microgradx.interop.adopted import (
    Adopted,
    Figures,
    adopted,
    agree,
    difference,
    furnish,
    leaves,
    own_figures,
    refuse_large,
    rows_of_example,
)
from microgradx.interop.labels import Labels, path_of
from microgradx.interop.tensors import Array, each, objects
from microgradx.replay import FrozenBranch

FLOAT32 = 1e-5  # the largest difference there may be: the format holds an epsilon in float32
MOST_NUMBERS = 10_000_000  # that a node without Values may make


def adopt(source: Any, example: Any) -> Adopted:
    """The net of an .onnx file, or of a ModelProto; errors as for `interop.adopt`.

    Initializers of floats are parameters, by their names; those that an exporter has numbered are
    called after the node that reads them. A matrix that inputs are multiplied by from the right is
    kept with a row for each neuron. Scalars, the statistics of a batch norm and what is compared
    are constants. Tensors that an exporter has found equal are one. Outputs are compared with those
    of onnx's reference, as there are no gradients.

    ImportError without `pip install 'microgradx[onnx]'`; a ValueError for a file that is damaged,
    has its weights in other files or makes too much of too little; a TypeError for several inputs.
    """
    graph = _Graph(_loaded(source))
    run = _Net(graph)
    rows = rows_of_example(example, graph.sample, "the file")
    model = adopted(clean(graph.name) or "Graph", run, rows.shape[1:])
    furnish(model, (), run.tensors, {})
    own = own_figures(model, rows, run.tensors)
    apart = difference(own, Figures(graph.reference(rows), {}))
    agree(model, apart, "onnx's reference", len(rows), within=FLOAT32)
    return model


def _loaded(source: Any) -> Any:
    """The ModelProto, checked; nothing but this one file is read."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError("for .onnx, pip install 'microgradx[onnx]'") from error
    if not isinstance(source, str):
        model, where = source, "the model"
        if not isinstance(model, onnx.ModelProto):
            raise TypeError(f"adopt takes an onnx.ModelProto, got {type(source).__name__}")
    else:
        where = clean(source)
        with open(source, "rb") as file:
            content = file.read()
        try:
            model = onnx.load_model_from_string(content)
        except Exception as error:  # whatever a reader says of a file that is not its own
            raise ValueError(f"{where} can't be read as .onnx: {error}") from error
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise ValueError(f"{where} has its weights in other files; save it as a single file")
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise ValueError(f"{where} is no valid .onnx: {clean(str(error))[:300]}") from error
    return model


# --- the graph -----------------------------------------------------------------------------------

SHAPES = {
    "Identity", "Reshape", "Transpose", "Slice", "Unsqueeze", "Squeeze", "Flatten", "Expand",
    "Gather", "Concat", "Split",
}  # fmt: skip
COMPARED = {"Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Not", "And", "Or", "Cast"}
ROLES = {
    "Gemm": ("", "weight", "bias"),
    "MatMul": ("", "weight"),
    "Conv": ("", "weight", "bias"),
    "Add": ("bias", "bias"),
    "BatchNormalization": ("", "weight", "bias"),
    "LayerNormalization": ("", "weight", "bias"),
    "LSTM": ("", "weight_ih", "weight_hh", "bias"),
    "GRU": ("", "weight_ih", "weight_hh", "bias"),
    "RNN": ("", "weight_ih", "weight_hh", "bias"),
}
NUMBERED = re.compile(r"(onnx::.*|val_\d+|\d+)")  # names that an exporter has made up


class _Graph:
    """A model's graph: its one input and output, and which of its numbers are parameters.

    sample: the shape of one sample, None where the file doesn't say
    """

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        graph = model.graph
        self.model, self.name, self.nodes = model, graph.name, list(graph.node)
        self.opset = max([o.version for o in model.opset_import if o.domain in ("", "ai.onnx")])
        size = sum(math.prod(t.dims) for t in graph.initializer)
        refuse_large(size, "the file", "a smaller net, exported alone")
        self.numbers = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        inputs = [i for i in graph.input if i.name not in self.numbers]
        if len(inputs) != 1:
            names = listed([clean(i.name) for i in inputs], 3)
            raise TypeError(f"the net takes {count(len(inputs), 'input')} ({names}), not one")
        self.input, self.output = inputs[0].name, graph.output[0].name
        dims = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
        self.whole = inputs[0].type.tensor_type.elem_type in (6, 7)  # int32, int64
        known = len(dims) > 1 and all(d > 0 for d in dims[1:]) and not self.whole
        self.sample = tuple(dims[1:]) if known else None
        self.readers: dict[str, list[tuple[Any, int]]] = {}
        for node in self.nodes:
            for k, name in enumerate(node.input):
                self.readers.setdefault(name, []).append((node, k))

    def read_at_last(self, name: str) -> list[tuple[Any, int]]:
        """The nodes that an array comes to, by way of those that only shape it."""
        found, names, seen = [], [name], {name}
        for each_ in names:
            for node, k in self.readers.get(each_, ()):
                found.append((node, k))
                fresh = [x for x in node.output if node.op_type in SHAPES and x not in seen]
                seen.update(fresh)
                names += fresh
        return found

    def is_parameter(self, name: str) -> bool:
        array = self.numbers[name]
        readers = self.read_at_last(name)
        statistic = any(n.op_type == "BatchNormalization" and k > 2 for n, k in readers)
        compared = any(n.op_type in COMPARED for n, _ in readers)
        used = any(n.op_type not in SHAPES for n, _ in readers)
        floats = array.dtype.kind == "f" and array.ndim > 0 and array.size > 0
        return floats and used and not statistic and not compared

    def reference(self, rows: Any) -> Any:
        """The outputs of onnx's own evaluator, row by row, in float64 where it runs so."""
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        kinds = {i.name: i.type.tensor_type.elem_type for i in self.model.graph.input}
        own = helper.tensor_dtype_to_np_dtype(kinds[self.input])
        tried: Any = None
        for model, kind in ((_in_double(self.model), float), (self.model, own)):
            try:
                run = ReferenceEvaluator(model)
                feeds = rows.astype(own if self.whole else kind)
                found = [run.run(None, {self.input: row[None]})[0] for row in feeds]
                return np.array([y[0] for y in found], float)
            except Exception as error:  # whatever the reference lacks
                tried = error
        raise ValueError(f"onnx's reference fails on these rows: {clean(str(tried))[:300]}; an "
                         "example is rows of data, such as X[:8]")  # fmt: skip


def _in_double(model: Any) -> Any:
    """A copy whose floats are all float64."""
    import onnx
    from onnx import TensorProto, numpy_helper

    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph, single, double = found.graph, TensorProto.FLOAT, TensorProto.DOUBLE
    constants = [a.t for n in graph.node for a in n.attribute if a.type == a.TENSOR]
    for tensor in [*graph.initializer, *constants]:
        if tensor.data_type == single:
            array = numpy_helper.to_array(tensor).astype(float)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for node in graph.node:
        for a in node.attribute:
            if node.op_type == "Cast" and a.name == "to" and a.i == single:
                a.i = double
    for info in [*graph.input, *graph.output, *graph.value_info]:
        if info.type.tensor_type.elem_type == single:
            info.type.tensor_type.elem_type = double
    return found


class _Net:
    """How the graph is run on Values.

    tensors: of parameters, by name
    """

    def __init__(self, graph: _Graph) -> None:
        self.graph = graph
        self.tensors: dict[str, Array] = {}
        self.start: dict[str, Any] = {}
        self.paths: dict[str, str] = {}
        taken = {name for name in graph.numbers if not NUMBERED.fullmatch(name)}
        for name, array in graph.numbers.items():
            if not graph.is_parameter(name):
                self.start[name] = array
                continue
            own = self._name(name, taken)
            turned = array.ndim == 2 and self._is_turned(name)
            values = leaves(own, array.T if turned else array)
            self.tensors[own] = values
            self.start[name] = values.T if turned else values
        self.biases = self._biases()
        for node in graph.nodes:
            domain = node.domain if node.domain not in ("", "ai.onnx") else ""
            if domain:
                raise _unsupported(f"{domain}.{node.op_type}", node)

    def _name(self, name: str, taken: set[str]) -> str:
        """The name of a parameter; of a numbered one, by the node that reads it: `qkv.weight`."""
        own = name.replace("/", ".").strip(".")
        if NUMBERED.fullmatch(name):
            node, k = self.graph.readers[name][0]
            role = "".join(ROLES.get(node.op_type, ())[k : k + 1])
            path = self._path(node) if role else ""
            own = f"{path}.{role}" if path else re.sub(r"\W+", "_", name)
            while own in taken:
                own += "_"
            taken.add(own)
        return own

    def _path(self, node: Any) -> str:
        """A path for a node of its own: `rnn` for /rnn/LSTM, `rnn_1` for /rnn/LSTM_1."""
        key = node.output[0]
        if key not in self.paths:
            path = first = ".".join(node.name.strip("/").split("/")[:-1])
            while path and path in self.paths.values():
                path = f"{first}_{sum(p.startswith(first) for p in self.paths.values())}"
            self.paths[key] = path
        return self.paths[key]

    def _is_turned(self, name: str) -> bool:
        """Whether inputs are multiplied by it from the right wherever it is read."""
        return all(
            k == 1 and (n.op_type == "MatMul" or (n.op_type == "Gemm" and not _attributes(n).get(
                "transB")))
            for n, k in self.graph.readers.get(name, ())
        )  # fmt: skip

    def _biases(self) -> dict[str, tuple[str, str]]:
        """By the output of a MatMul that only an Add of a bias reads: that bias, the Add's output.

        So a layer is one dot for each neuron, as everywhere.
        """
        found = {}
        for node in self.graph.nodes:
            readers = self.graph.readers.get(node.output[0], []) if node.output else []
            right: Any = self.start.get(node.input[1]) if len(node.input) > 1 else None
            if node.op_type != "MatMul" or len(readers) != 1 or not _holds(right):
                continue
            reader, k = readers[0]
            other = reader.input[1 - k] if reader.op_type == "Add" else ""
            bias: Any = self.start.get(other)
            if _holds(bias) and bias.ndim == 1 and len(bias) == right.shape[1]:
                found[node.output[0]] = (other, reader.output[0])
        return found

    def run(self, x: Array) -> Array:
        labels = Labels()
        known = {**self.start, self.graph.input: x[None]}
        skipped = {out for _, out in self.biases.values()}
        for node in self.graph.nodes:
            if node.output[0] in skipped:
                continue
            for name, found in zip(node.output, self._outputs(node, known, labels)):
                known[name] = found
                if name in self.biases:
                    known[self.biases[name][1]] = found
        labels.write()
        found = known[self.graph.output]
        return objects(objects(found)[0])

    def _outputs(self, node: Any, known: Mapping[str, Any], labels: Labels) -> Sequence[Any]:
        """What a node makes of what is known, each output in its place."""
        inputs = [known[name] if name else None for name in node.input]
        if node.op_type == "Shape":
            return [_shape(inputs[0], _attributes(node))]
        if not any(map(_holds, inputs)):
            return self._numbers(node, known)
        if node.op_type not in OPS:
            raise _unsupported(node.op_type, node)
        named = _attributes(node)
        if node.op_type == "MatMul" and node.output[0] in self.biases:
            inputs.append(known[self.biases[node.output[0]][0]])
        if node.op_type in RECURRENT:
            named.update(labels=labels, path=path_of(inputs[1]))
        if node.op_type == "Split":
            named.update(outputs=len(node.output))
        try:
            found = OPS[node.op_type](*inputs, **named)
        except FrozenBranch:
            raise
        except (TypeError, ValueError, IndexError) as error:
            raise type(error)(f"{_where(node)}: {error}") from error
        outputs = found if isinstance(found, (list, tuple)) else [found]
        if node.op_type in UNITS:
            axis, *parameters = UNITS[node.op_type]
            arrays = [inputs[k] for k in parameters if k < len(inputs)]
            if node.op_type != "MatMul" or getattr(arrays[0], "ndim", 0) == 2:
                labels.outputs(path_of(*arrays), objects(outputs[0]), axis)
        elif node.op_type in ACTIVATIONS:
            labels.activated(inputs[0], objects(outputs[0]))
        return outputs

    def _numbers(self, node: Any, known: Mapping[str, Any]) -> Sequence[Any]:
        """A node without Values, by onnx's reference."""
        from onnx.reference import ReferenceEvaluator

        sizes = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}.get(node.op_type)
        if sizes is not None:
            wanted = math.prod(max(int(n), 1) for n in np.ravel(known[node.input[sizes]]))
            wanted *= 1 if node.op_type == "ConstantOfShape" else np.size(known[node.input[0]])
            if wanted > MOST_NUMBERS:
                raise ValueError(f"{_where(node)} makes {wanted:,} numbers of few")
        run = ReferenceEvaluator(node, opsets={"": self.graph.opset})
        feeds = {name: np.asarray(known[name]) for name in node.input if name}
        found: Sequence[Any] = run.run(None, feeds)
        return found


def _holds(x: Any) -> bool:
    """Whether an array is one of Values."""
    return isinstance(x, np.ndarray) and x.dtype == object


def _shape(x: Any, named: Mapping[str, Any]) -> Any:
    sizes = np.shape(x)
    return np.array(sizes[named.get("start", 0) : named.get("end", len(sizes))], np.int64)


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {name: x.decode() if isinstance(x, bytes) else x for name, x in found.items()}


def _where(node: Any) -> str:
    return f"{node.op_type} {clean(node.name)}".rstrip()


def _unsupported(what: str, node: Any) -> TypeError:
    return TypeError(
        f"{clean(what)} ({clean(node.name) or 'a node without a name'}) is not supported on "
        f"Values; supported are {', '.join(sorted(OPS))}. From opset 20 on, Gelu takes the place "
        "of Erf"
    )


# --- the functions, by ONNX's names and attributes -----------------------------------------------


def _gemm(
    a: Any, b: Any, c: Any = None, alpha: float = 1.0, beta: float = 1.0, transA: int = 0,
    transB: int = 0,
) -> Array:  # fmt: skip
    a = np.swapaxes(a, 0, 1) if transA else a
    weight = b if transB else b.T
    if alpha != 1.0 or beta != 1.0:
        product = objects(of.linear(a, weight) * alpha)
        return product if c is None else objects(product + objects(c) * beta)
    return of.linear(a, weight, c)


def _matmul(a: Any, b: Any, bias: Any = None) -> Array:
    return of.linear(a, b.T, bias) if bias is not None else of.matmul(a, b)


def _ends(
    sizes: Sequence[int], kernel: Sequence[int], strides: Any, dilations: Any, auto_pad: str,
    pads: Any,
) -> of.Ends:  # fmt: skip
    """Zeros before and behind each axis."""
    if auto_pad in ("NOTSET", "", "VALID"):
        pads = list(pads or [0] * 2 * len(kernel))
        return [*zip(pads[: len(kernel)], pads[len(kernel) :])]
    steps, spread = of.several(strides, len(kernel)), of.several(dilations, len(kernel))
    lacking = [
        max(0, (-(-n // step) - 1) * step + (k - 1) * d + 1 - n)
        for n, k, step, d in zip(sizes, kernel, steps, spread)
    ]
    smaller = [(n // 2, n - n // 2) for n in lacking]
    return smaller if auto_pad == "SAME_UPPER" else [(b, a) for a, b in smaller]


def _conv(
    x: Any, weight: Any, bias: Any = None, auto_pad: str = "NOTSET", dilations: Any = 1,
    group: int = 1, kernel_shape: Any = None, pads: Any = None, strides: Any = 1,
) -> Array:  # fmt: skip
    ends = _ends(x.shape[2:], weight.shape[2:], strides, dilations, auto_pad, pads)
    return of.conv(x, objects(weight), bias, strides, 0, dilations, group, ends)


def _pool(average: bool) -> Callable[..., Any]:
    def run(
        x: Any, auto_pad: str = "NOTSET", ceil_mode: int = 0, count_include_pad: int = 0,
        dilations: Any = 1, kernel_shape: Any = (), pads: Any = None, storage_order: int = 0,
        strides: Any = 1,
    ) -> Array:  # fmt: skip
        if ceil_mode:
            raise TypeError("ceil_mode is not supported")
        inside = of.average if count_include_pad else of.average_inside
        ends = _ends(x.shape[2:], kernel_shape, strides, dilations, auto_pad, pads)
        reduce = inside if average else of.largest
        return of.pool(x, reduce, kernel_shape, strides, 0, dilations, ends)

    return run


def _global(reduce: Callable[..., Array]) -> Callable[..., Any]:
    return lambda x: reduce(x, tuple(range(2, x.ndim)), True)


def _batch_norm(
    x: Any, scale: Any, bias: Any, mean: Any, var: Any, epsilon: float = 1e-5,
    momentum: float = 0.9, training_mode: int = 0, spatial: int = 1,
) -> Array:  # fmt: skip
    if training_mode:
        raise TypeError("a net in training mode is not supported; export it in evaluation mode")
    return of.batch_norm(x, mean, var, scale, bias, _shortest(epsilon))


def _layer_norm(
    x: Any, scale: Any, bias: Any = None, axis: int = -1, epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Array:  # fmt: skip
    path = path_of(scale, bias)
    return of.layer_norm(x, x.ndim - axis % x.ndim, scale, bias, _shortest(epsilon), path)


def _shortest(x: float) -> float:
    """The number that a float32 was written for: 1e-5 for 9.9999997e-06."""
    return float(str(np.float32(x)))


def _clip(x: Any, low: Any = None, high: Any = None, min: Any = None, max: Any = None) -> Array:
    ends = [low if low is not None else min, high if high is not None else max]
    low, high = (e if x is None else x for x, e in zip(ends, (-math.inf, math.inf)))
    return of.zipped(ops.clamp)(x, low, high)


def _folded(f: Callable[..., Any]) -> Callable[..., Any]:
    def run(*xs: Any) -> Any:
        found = xs[0]
        for x in xs[1:]:
            found = of.zipped(f)(found, x)
        return found

    return run


def _reduced(f: Callable[..., Array]) -> Callable[..., Any]:
    def run(
        x: Any, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0, **named: Any
    ) -> Any:
        axes = named.get("axes", axes)
        if axes is None or not np.size(axes):
            return x if noop_with_empty_axes else f(x, None, bool(keepdims))
        return f(x, [int(k) for k in np.ravel(axes)], bool(keepdims))

    return run


def _squares(x: Any, axis: Any = None, keep: bool = False) -> Array:
    return of.reduced(lambda xs: ops.dot(xs, xs), x, axis, keep)


def _flatten(x: Any, axis: int = 1) -> Any:
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _reshape(x: Any, shape: Any, allowzero: int = 0) -> Any:
    sizes = [int(n) for n in np.ravel(shape)]
    return x.reshape([x.shape[k] if n == 0 and not allowzero else n for k, n in enumerate(sizes)])


def _unsqueeze(x: Any, axes: Any) -> Any:
    return np.expand_dims(x, tuple(int(k) for k in np.ravel(axes)))


def _squeeze(x: Any, axes: Any = None) -> Any:
    return np.squeeze(x, None if axes is None else tuple(int(k) for k in np.ravel(axes)))


def _slice(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    axes = range(len(starts)) if axes is None else np.ravel(axes)
    steps = [1] * len(starts) if steps is None else np.ravel(steps)
    cut = [slice(None)] * x.ndim
    for k, start, end, step in zip(axes, np.ravel(starts), np.ravel(ends), steps):
        end = None if step < 0 and end < -x.shape[k] else int(end)
        cut[int(k)] = slice(int(start), end, int(step))
    return x[tuple(cut)]


def _split(x: Any, split: Any = None, axis: int = 0, num_outputs: int = 0, outputs: int = 1) -> Any:
    if split is None:
        width = -(-x.shape[axis] // (num_outputs or outputs))
        return np.split(x, range(width, x.shape[axis], width), axis)
    return np.split(x, np.cumsum(np.ravel(split))[:-1], axis)


def _gather(x: Any, index: Any, axis: int = 0) -> Any:
    if _holds(index):
        if axis or not all(isinstance(v, Value) for v in np.ravel(x)):
            raise TypeError("an index that is a Value is for the rows of a table of parameters")
        return of.embedding(index, x)
    return objects(np.take(x, np.asarray(index, int), axis))


def _pad(x: Any, pads: Any, value: Any = None, axes: Any = None, mode: str = "constant") -> Any:
    if mode != "constant" or axes is not None:
        raise TypeError("Pad is supported by a constant, on all axes")
    pads = [int(n) for n in np.ravel(pads)]
    ends = [*zip(pads[: x.ndim], pads[x.ndim :])]
    return np.pad(x, ends, constant_values=0.0 if value is None else float(np.ravel(value)[0]))


def _recurrent(cell: Callable[..., Any], gates: Sequence[int], states: int) -> Callable[..., Any]:
    """RNN, LSTM, GRU: gates in ONNX's order, each by its place in PyTorch's."""

    def run(
        x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, *starts: Any,
        activations: Any = None, clip: Any = None, direction: str = "forward",
        hidden_size: int = 0, layout: int = 0, linear_before_reset: int = 0,
        labels: Any, path: Any, **_: Any,
    ) -> Any:  # fmt: skip
        usual = [*map(bytes.decode, activations or ())]
        ends = {1: ["Tanh"], 3: ["Sigmoid", "Tanh"], 4: ["Sigmoid", "Tanh", "Tanh"]}[len(gates)]
        if usual and usual != ends * (len(usual) // len(ends)):
            raise TypeError(f"the activations {usual} are not supported")
        if (len(gates) == 3 and not linear_before_reset) or layout or clip or starts[2:]:
            raise TypeError("linear_before_reset=0, layout=1, clip and peepholes are not supported")
        if lengths is not None and np.any(np.ravel(lengths) != len(x)):
            raise TypeError("sequence_lens are not supported")
        ways = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
        outputs, last = [], []
        for k, back in enumerate(ways):
            own = [_ordered(m[k], gates) for m in (w, r)]
            if b is not None:
                own += [_ordered(half, gates) for half in np.split(objects(b[k]), 2)]
            zero = np.zeros((x.shape[1], hidden_size)).astype(object)
            state = [objects(s[k]) for s in starts[:states] if s is not None]
            state += [zero] * (states - len(state))
            neurons: list[tuple[Array, Array]] = []
            step = cell(lambda z, h, neurons=neurons: neurons.append((z, h)))
            found, end = of.recurrent(step, [*x], state, own, back)
            name = path if not k or path is None else f"{path}.reverse"
            for z, h in reversed(neurons) if back else neurons:  # in the order of time
                labels.outputs(name, z)
                if h is not z:
                    labels.activated(z, h)
            outputs.append(np.stack(found))
            last.append(end)
        return [np.stack(outputs, 1), *[np.stack(held) for held in zip(*last)]]

    return run


def _ordered(rows: Any, gates: Sequence[int]) -> Array:
    """The rows of a matrix, or a bias, with their gates in PyTorch's order."""
    parts = np.split(objects(rows), len(gates))
    return np.concatenate([parts[k] for k in gates])


def _elementwise(f: Callable[[Value], Value]) -> Callable[..., Any]:
    found = each(f)
    return lambda x, **_: found(x)


def _binary(ufunc: Any) -> Callable[..., Any]:
    return lambda x, y: objects(ufunc(objects(x), objects(y)))


ACTIVATIONS: dict[str, Callable[..., Any]] = {
    **{name: _elementwise(getattr(Value, name.lower())) for name in
       ("Relu", "Sigmoid", "Tanh", "Softplus", "Sin", "Cos")},
    "Gelu": of.gelu,
    "LeakyRelu": lambda x, alpha=0.01: each(of.leaky_relu(_shortest(alpha)))(x),
    "Elu": lambda x, alpha=1.0: each(of.elu(_shortest(alpha)))(x),
    "Selu": lambda x, alpha=of.SELU[0], gamma=of.SELU[1]: each(of.elu(alpha, gamma))(x),
    "Softsign": _elementwise(lambda v: v / (1.0 + abs(v))),
    "Mish": _elementwise(of.mish),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: each(
        lambda v: of.hard_sigmoid(v, _shortest(alpha), _shortest(beta)))(x),
    "Clip": _clip,
    "PRelu": of.zipped(ops.leaky_relu),
}  # fmt: skip

RECURRENT: dict[str, Callable[..., Any]] = {
    "RNN": _recurrent(lambda labelled: of.tanh_cell(of.TANH, labelled), [0], 1),
    "LSTM": _recurrent(of.lstm_cell, [0, 2, 3, 1], 2),
    "GRU": _recurrent(of.gru_cell, [1, 0, 2], 1),
}

OPS: dict[str, Callable[..., Any]] = {
    **ACTIVATIONS,
    **RECURRENT,
    **{name: _elementwise(getattr(Value, name.lower())) for name in
       ("Exp", "Log", "Sqrt", "Abs", "Neg")},
    "Reciprocal": _elementwise(lambda v: 1.0 / v),
    **dict.fromkeys(("Identity", "Dropout", "Cast"), lambda x, *_, **__: x),
    "Gemm": _gemm, "MatMul": _matmul, "Conv": _conv,
    "Add": of.add, "Sub": _binary(np.subtract), "Mul": _binary(np.multiply),
    "Div": _binary(np.divide), "Pow": _binary(np.power),
    "Max": _folded(ops.maximum), "Min": _folded(ops.minimum), "Sum": _folded(ops.add),
    "Equal": of.zipped(ops.equal), "Greater": of.zipped(of.greater),
    "Less": of.zipped(lambda x, y: of.greater(y, x)),
    "Where": of.chosen,
    "MaxPool": _pool(False), "AveragePool": _pool(True),
    "GlobalAveragePool": _global(of.mean), "GlobalMaxPool": _global(of.greatest),
    "BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm,
    "InstanceNormalization": lambda x, scale, bias, epsilon=1e-5: of.group_norm(
        x, x.shape[1], scale, bias, _shortest(epsilon)),
    "Softmax": lambda x, axis=-1: of.softmax(x, axis),
    "LogSoftmax": lambda x, axis=-1: of.log_softmax(x, axis),
    "ReduceMean": _reduced(of.mean), "ReduceSum": _reduced(of.total),
    "ReduceMax": _reduced(of.greatest), "ReduceMin": _reduced(of.least),
    "ReduceLogSumExp": _reduced(of.logsumexp), "ReduceSumSquare": _reduced(_squares),
    "Flatten": _flatten, "Reshape": _reshape,
    "Transpose": lambda x, perm=None: x.transpose(perm),
    "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Slice": _slice, "Split": _split,
    "Gather": _gather, "Pad": _pad,
    "Concat": lambda *xs, axis=0: np.concatenate([objects(x) for x in xs], axis),
    "Expand": lambda x, shape: np.broadcast_to(
        x, np.broadcast_shapes(x.shape, [int(n) for n in shape])),
    "Tile": lambda x, repeats: np.tile(x, [int(n) for n in repeats]),
}  # fmt: skip
# Those that make a layer's outputs: the axis of its units, and its parameters among the inputs.
UNITS = {
    "Gemm": (-1, 1), "MatMul": (-1, 1), "Conv": (1, 1), "BatchNormalization": (1, 1, 2),
    "LayerNormalization": (-1, 1, 2), "InstanceNormalization": (1, 1, 2),
}  # fmt: skip
