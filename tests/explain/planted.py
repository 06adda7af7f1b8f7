"""Graphs with one known cause hidden in them, and what rules of thumb make of them.

`python -m tests.explain.planted` prints, for every cause, how often it is named, and how
often three common rules raise an alarm.
"""

import math
import random
from typing import NamedTuple

import microgradx as mx
from microgradx import Flow, Value, dot, logsumexp, maximum, minimum, why
from microgradx._base.text import names_parameter
from microgradx.engine import order


class Case(NamedTuple):
    """A node, its output, and all that there is to find out."""

    node: Value
    output: Value
    verdict: str
    cause: str = ""  # the first one
    where: frozenset = frozenset()
    culprits: frozenset | None = None  # None: nothing is claimed
    options: dict = {}  # for Flow
    remark: str | None = None  # its cause

    def found(self):
        """Whether the explanation says just this."""
        it = why(self.node, Flow(self.output, **self.options))
        return (
            it.verdict == self.verdict
            and (it.causes[0] if it.causes else "") == self.cause
            and frozenset(it.where) == self.where
            and (self.culprits is None or frozenset(it.culprits) == self.culprits)
            and (it.remark.cause if it.remark else None) == self.remark
        )


# --- the soil: graphs in which nothing is wrong ---------------------------------------------------


def grow(rng, h, ops=5):
    """A random graph on top of h: positive factors near 1, so nothing shrinks or cancels."""
    if h.data <= 0 or h.data > 50:
        h = h + (1.0 - h.data)
    for i in range(ops):
        w = Value(rng.uniform(0.8, 1.25), f"w{i}")
        h = rng.choice(STEPS)(rng, h, w)
    return h


STEPS = [
    lambda rng, h, w: h * w,
    lambda rng, h, w: h + w,
    lambda rng, h, w: h.relu(),
    lambda rng, h, w: dot([0.4, w], [h, h + 1.0], w),
    lambda rng, h, w: maximum(h, h.data - 1.0) * w,
    lambda rng, h, w: h * 0.6 + (h + w) * 0.5,
    lambda rng, h, w: abs(h) + dead_end(rng),
    lambda rng, h, w: mx.sum([h, w, dead_end(rng)]),
]


def dead_end(rng):
    """An off ReLU and a zero factor that no path from the node in question meets."""
    off = Value(-rng.uniform(0.1, 2.0), "other").relu()
    return off * Value(0.0, "w9")


def soil(rng):
    """A leaf, and a random graph over it."""
    x = Value(rng.uniform(0.5, 1.5), rng.choice(["x", "w"]))
    return x, grow(rng, x, rng.randrange(5))


def mlp(rng, outputs=1, activation="relu", widths=None):
    """A net whose weights are positive, with a sample: every neuron is on."""
    widths = widths or [rng.randrange(2, 5) for _ in range(rng.randrange(1, 4))]
    nin = rng.randrange(1, 4)

    def init(nin, nout, rng):
        return rng.uniform(0.5, 1.5) / nin

    model = mx.nn.MLP(nin, [*widths, outputs], activation=activation, init=init, seed=rng)
    return model, [rng.uniform(0.5, 1.5) for _ in range(nin)]


def swept(case):
    """The same after one backward()."""
    case.output.backward()
    return case


def labelled(output, label):
    """The nodes with this label."""
    return [node for node in order(output) if node.label == label]


# --- stopped --------------------------------------------------------------------------------------


def relu_off(rng, h):
    y = (h - (h.data + rng.uniform(0.01, 2.0))).relu()
    return y, y.edges


def kink(rng, h):
    y = (h - h.data).relu()
    return y, y.edges


def zero_weight(rng, h):
    w = Value(0.0, "w")
    y = h * w if rng.random() < 0.5 else dot([w, 2.0], [h, 1.0])
    return y, [e for e in y.edges if e.input is h]


def zero_input(rng, h):
    x = Value(0.0, "x")
    y = x * h if rng.random() < 0.5 else dot([h, 2.0], [x, 1.0])
    return y, [e for e in y.edges if e.input is h]


def zero_activation(rng, h):
    off = Value(-1.0, "other").relu()
    y = h * off if rng.random() < 0.5 else off * 3.0 * h
    return y, [e for e in y.edges if e.input is h]


def zero_constant(rng, h):
    y = (h * 2.0) * 0.0  # no weight itself: its bare factors are inputs
    return y, y.edges


def flat_op(rng, h):
    other = h.data + rng.uniform(0.1, 1.0)
    y = rng.choice([
        lambda: maximum(h, other), lambda: maximum(Value(other), h), lambda: h**0,
        lambda: abs(h - h.data), lambda: minimum(h, h.data - 0.5), lambda: (h - h.data).cos(),
        lambda: (h - h.data) ** 2,
    ])()  # fmt: skip
    return y, [e for e in y.edges if e.partial == 0]


def local_underflow(rng, h):
    z = h - (h.data + rng.uniform(800.0, 2000.0))
    y = rng.choice([
        lambda: z.sigmoid(), lambda: z.tanh(), lambda: z.exp(), lambda: z.softplus(),
        lambda: logsumexp([z, 0.0]), lambda: (-z).sigmoid(), lambda: (h * 1e-300 / h.data) ** 3,
    ])()  # fmt: skip
    return y, y.edges


GATES = {
    "relu off": relu_off, "kink": kink, "zero weight": zero_weight, "zero input": zero_input,
    "zero activation": zero_activation, "zero constant": zero_constant, "flat op": flat_op,
    "local underflow": local_underflow,
}  # fmt: skip


def stopped_by(cause):
    """One gate, or several side by side: each of them alone is to blame."""

    def plant(rng):
        x, h = soil(rng)
        gates = [GATES[cause](rng, h) for _ in range(rng.randrange(1, 4))]
        y = mx.sum([grow(rng, gate, 3) for gate, _ in gates])
        cut = frozenset(edge for _, edges in gates for edge in edges)
        return swept(Case(x, grow(rng, y, 3), "stopped", cause, cut, cut))

    return plant


def in_series(rng):
    x, h = soil(rng)
    first, second = rng.choice(list(GATES)), rng.choice(list(GATES))
    h, cut = GATES[first](rng, h)
    h, _ = GATES[second](rng, grow(rng, h, 3))
    return swept(Case(x, grow(rng, h), "stopped", first, frozenset(cut), frozenset()))


def dead_layer(rng):
    """All neurons of a layer off: asked about a weight of the layer before, and of itself."""
    model, xs = mlp(rng, widths=[3, 3, 2])
    k, i = rng.randrange(1, 3), rng.randrange(2)
    for layer in model.layers:
        for neuron in layer.neurons:
            neuron.bias.data = -100.0 if layer is model.layers[k] else 0.5
    loss = mx.nn.mse_loss(model(xs), -1.0)
    here = rng.random() < 0.5
    w = model.layers[k if here else k - 1].neurons[i].weight[0]
    off = [i] if here else range(len(model.layers[k].neurons))
    cut = frozenset(e for j in off for e in labelled(loss, f"layers.{k}[{j}]")[0].edges)
    return swept(Case(w, loss, "stopped", "relu off", cut, cut))


def zero_layer(rng):
    """All weights out of a neuron are 0."""
    model, xs = mlp(rng, widths=[3, 3])
    i = rng.randrange(3)
    for neuron in model.layers[1].neurons:
        neuron.weight[i].data = 0.0
    loss = mx.nn.mse_loss(model(xs), -1.0)
    h = labelled(loss, f"layers.0[{i}]")[0]
    cut = frozenset(e for z in order(loss) for e in z.edges if e.input is h)
    return swept(
        Case(model.layers[0].neurons[i].weight[0], loss, "stopped", "zero weight", cut, cut)
    )


def shadow(rng):
    """The second shadow of an off ReLU: its outgoing weights."""
    model, xs = mlp(rng, widths=[3, 3])
    i, j = rng.randrange(3), rng.randrange(3)
    model.layers[0].neurons[i].bias.data = -100.0
    loss = mx.nn.mse_loss(model(xs), -1.0)
    w = model.layers[1].neurons[j].weight[i]
    cut = frozenset(e for e in labelled(loss, f"layers.1[{j}].z")[0].edges if e.input is w)
    return swept(Case(w, loss, "stopped", "zero activation", cut, cut))


def satisfied_hinge(rng):
    model, xs = mlp(rng, outputs=rng.randrange(1, 3))
    for neuron in model.layers[-1].neurons:
        neuron.bias.data = 5.0
    scores = model(xs)
    n = len(scores) if isinstance(scores, list) else 1
    loss = mx.nn.hinge_loss(scores, [1.0] * n if n > 1 else 1.0)
    cut = frozenset(e for y in order(loss) if y.op == "relu" and not y.label for e in y.edges)
    w = model.layers[0].neurons[0].weight[0]  # every score depends on it
    return swept(Case(w, loss, "stopped", "flat loss", cut, cut))


def zero_residual(rng):
    model, xs = mlp(rng)
    score = model(xs)
    loss = mx.nn.mse_loss(score, score.data)
    cut = frozenset(loss.edges)
    return swept(Case(some_weight(rng, model), loss, "stopped", "flat loss", cut, cut))


def some_weight(rng, model):
    return rng.choice(rng.choice(model.layers).neurons).weight[0]


# --- not finite -----------------------------------------------------------------------------------


def value_not_finite(rng):
    x, h = soil(rng)
    y = rng.choice([
        lambda: (h + 800.0).exp(), lambda: (h - h.data).log(), lambda: 1.0 / (h - h.data),
        lambda: (h - h.data - 1.0).sqrt(),
    ])()  # fmt: skip
    output = rng.choice([y * y, y * 2.0, y + h, 1.0 - y])
    return swept(Case(x, output, "not finite", "value not finite", frozenset(y.edges)))


def derivative_not_finite(rng):
    x, h = soil(rng)
    z = h - h.data
    y = z.sqrt() if rng.random() < 0.5 else z**0.5
    out = grow(rng, y)
    return swept(Case(x, out, "not finite", "derivative not finite", frozenset(y.edges)))


def overflow(rng):
    x = Value(3e-308, "x")  # so that no value overflows, and only the gradient does
    h = x * rng.uniform(1e155, 2e155)
    y = grow(rng, h * rng.uniform(1e155, 2e155))
    return swept(Case(x, y, "not finite", "overflow", frozenset(h.edges)))


def zero_times_inf(rng):
    x, h = soil(rng)
    off, gate = relu_off(rng, h)
    y = off.sqrt()
    where = frozenset([*gate, *y.edges])
    return swept(Case(x, grow(rng, y), "not finite", "derivative not finite", where))


def leaf_not_finite(rng):
    x, h = soil(rng)
    bad = Value(rng.choice([math.nan, math.inf, -math.inf]), "bad")
    return swept(Case(x, h * bad, "not finite", "value not finite"))


# --- no path, no sweep ----------------------------------------------------------------------------


def disconnected(rng):
    x, _ = soil(rng)
    _, other = soil(rng)
    return swept(Case(x, grow(rng, other), "disconnected"))


def detached(rng):
    x, h = soil(rng)
    _, other = soil(rng)
    out = grow(rng, other + h.detach() * 2.0)
    return swept(Case(x, out, "detached"))


def not_run(rng):
    x, h = soil(rng)
    return Case(x, grow(rng, h), "healthy", remark="no backward()")


def stale(rng):
    case = healthy_graph(rng)
    k = rng.randrange(2, 9)
    for _ in range(k - 1):
        case.output.backward()
    return case._replace(remark=f"{k} × the gradient")


def zeroed(rng):
    case = healthy_graph(rng)
    case.node.grad = 0.0
    return case._replace(remark="zeroed")


def other_sweeps(rng):
    case = healthy_graph(rng)
    case.output.backward(seed=0.37)
    case.output.grad = 1.0
    return case._replace(remark="not this gradient")


# --- of a size ------------------------------------------------------------------------------------


def underflowed(rng):
    x, h = soil(rng)
    for _ in range(rng.randrange(3, 6)):
        h = h * Value(10 ** rng.uniform(-160, -120), "w")
    return swept(Case(x, grow(rng, h), "underflowed", "weight scale"))


def cancelled(rng):
    x, h = soil(rng)
    a, off = rng.uniform(0.5, 2.0), rng.choice([0.0, 1e-5, 1e-9])
    one, other = h * Value(a, "w1"), h * Value(-a * (1 + off), "w2")
    where = frozenset(e for y in (one, other) for e in y.edges if e.input is h)
    return swept(Case(x, grow(rng, one + other), "cancelled", "opposing paths", where))


def between_samples(rng):
    model = mx.nn.MLP(1, [1], seed=rng)
    x, r, unit = rng.choice([0.5, 1.0, 2.0]), rng.choice([0.25, 0.5]), model.layers[0].neurons[0]
    unit.weight[0].data = 0.5
    scores = [model([x]), model([x])]
    loss = mx.nn.mse_loss(scores, [scores[0].data + r, scores[0].data - r])
    where = frozenset(e for score in scores for e in score.edges if e.input is unit.weight[0])
    return swept(Case(unit.weight[0], loss, "cancelled", "opposing samples", where))


def sigmoid_chain(rng):
    x, h = soil(rng)
    for _ in range(rng.randrange(8, 40)):
        h = (h - h.data + rng.uniform(-0.3, 0.3)).sigmoid()
    return swept(Case(x, grow(rng, h, 3), "small", "sigmoid chain", culprits=frozenset()))


def saturated(rng):
    x, h = soil(rng)
    z = h + (rng.choice([-1, 1]) * rng.uniform(14, 60) - h.data)
    y = z.sigmoid() if rng.random() < 0.5 else z.tanh()
    out = grow(rng, y, 3)
    return swept(Case(x, out, "small", "saturation", culprits=frozenset(y.edges)))


def small_weight(rng):
    x, h = soil(rng)
    y = h * Value(10 ** -rng.uniform(5, 12), "w")
    culprit = frozenset(e for e in y.edges if e.input is h)
    return swept(Case(x, grow(rng, y, 3), "small", "weight scale", culprits=culprit))


def small_input(rng):
    _, h = soil(rng)
    w, x = Value(rng.uniform(0.5, 1.5), "w"), Value(10 ** -rng.uniform(5, 12), "x")
    y = w * x + h
    culprit = frozenset(e for z in y.inputs for e in z.edges if e.input is w)
    return swept(Case(w, grow(rng, y, 3), "small", "small inputs", culprits=culprit))


def near_optimum(rng):
    model, xs = mlp(rng)
    score = model(xs)
    loss = mx.nn.mse_loss(score, score.data + 10 ** -rng.uniform(6, 9))
    case = Case(some_weight(rng, model), loss, "small", "loss near its optimum",
                culprits=frozenset(loss.edges), options={"reference": 0.0})  # fmt: skip
    return swept(case)


def weight_product(rng):
    x, h = soil(rng)
    for _ in range(rng.randrange(5, 12)):
        h = h * Value(rng.uniform(5, 20), "w")
    return swept(Case(x, h, "large", "weight scale", culprits=frozenset()))


def singular(rng):
    x, h = soil(rng)
    d = 10 ** -rng.uniform(5, 8)
    z = h - (h.data - d)
    y = rng.choice([lambda: z.log(), lambda: 1.0 / z, lambda: z**-1.0])()
    out = y * 1.0 + h * 0.01
    return swept(Case(x, out, "large", "singular op", culprits=frozenset(y.edges)))


def large_input(rng):
    _, h = soil(rng)
    w, x = Value(rng.uniform(0.5, 1.5), "w"), Value(10 ** rng.uniform(5, 9), "x")
    y = w * x
    culprit = frozenset(e for e in y.edges if e.input is w)
    return swept(Case(w, y + h, "large", "inputs", culprits=culprit))


def fan_out(rng):
    x, h = soil(rng)
    y = -h
    for _ in range(2):  # R grows by the root of their number
        y = mx.sum([y * rng.uniform(0.9, 1.1) for _ in range(rng.randrange(200, 400))])
    return swept(Case(x, y, "large", "fan-out", culprits=frozenset()))


def loss_scale(rng):
    model, xs = mlp(rng)
    loss = mx.nn.mse_loss(model(xs), -1.0) * 10 ** rng.uniform(5, 8)
    culprit = frozenset(loss.edges)
    return swept(Case(some_weight(rng, model), loss, "large", "loss scale", culprits=culprit,
                      options={"reference": 0.0}))  # fmt: skip


def healthy_graph(rng):
    x, h = soil(rng)
    return swept(Case(x, grow(rng, h), "healthy"))


def healthy_mlp(rng):
    model, xs = mlp(rng)
    return swept(Case(some_weight(rng, model), mx.nn.mse_loss(model(xs), -1.0), "healthy"))


CAUSES = {
    **{f"stopped: {cause}": stopped_by(cause) for cause in GATES},
    "stopped: in series": in_series, "stopped: dead layer": dead_layer,
    "stopped: zero layer": zero_layer, "stopped: an off ReLU's weights": shadow,
    "stopped: satisfied hinge": satisfied_hinge, "stopped: zero residual": zero_residual,
    "not finite: value": value_not_finite, "not finite: derivative": derivative_not_finite,
    "not finite: overflow": overflow, "not finite: 0 × inf": zero_times_inf,
    "not finite: leaf": leaf_not_finite, "disconnected": disconnected, "detached": detached,
    "not run": not_run, "stale: k times": stale, "stale: zeroed": zeroed,
    "stale: other sweeps": other_sweeps, "underflowed": underflowed, "cancelled": cancelled,
    "cancelled: samples": between_samples, "small: sigmoid chain": sigmoid_chain,
    "small: saturation": saturated, "small: weights": small_weight, "small: inputs": small_input,
    "small: near optimum": near_optimum, "large: weights": weight_product,
    "large: singular op": singular, "large: inputs": large_input, "large: fan-out": fan_out,
    "large: loss scale": loss_scale, "healthy: graph": healthy_graph, "healthy: MLP": healthy_mlp,
}  # fmt: skip


def cases(n, names=tuple(CAUSES)):
    """n cases of each cause, as (name, case)."""
    for name in names:
        for seed in range(n):
            yield name, CAUSES[name](random.Random(f"{name} {seed}"))


# --- rules of thumb -------------------------------------------------------------------------------


def leaves(case):
    """The leaves, first layer first: the node in question, and then all that may be trained."""
    behind = [v for v in reversed(order(case.output)) if v.rule is None and v is not case.node]
    return [case.node, *(v for v in behind if names_parameter(v.label))]


def tiny_norm(case):
    """The norm of the gradient is below 1e-7."""
    return math.hypot(*(v.grad for v in leaves(case))) < 1e-7


def mostly_zero(case):
    """At least 70 % of the gradients are exactly 0."""
    grads = [v.grad for v in leaves(case)]
    return grads.count(0.0) >= 0.7 * len(grads)


def steep_ratio(case):
    """The first layer's gradient is below a thousandth of the last one's."""
    grads = [abs(v.grad) for v in leaves(case)]
    return grads[0] < 1e-3 * grads[-1]


RULES = (tiny_norm, mostly_zero, steep_ratio)


def table(n):
    """By cause: [how many are named exactly, how many each rule of thumb raises an alarm at]."""
    rows = {name: [0] * (1 + len(RULES)) for name in CAUSES}
    for name, case in cases(n):
        row = rows[name]
        row[0] += case.found()
        for i, rule in enumerate(RULES, start=1):
            row[i] += rule(case)
    return rows


if __name__ == "__main__":
    print(f"{'of 50 planted':32}   named  norm < 1e-7  zeros ≥ 70 %  first/last < 1e-3")
    for name, (named, *alarms) in table(50).items():
        print(f"{name:32}   {named:5}  {alarms[0]:11}  {alarms[1]:12}  {alarms[2]:17}")
