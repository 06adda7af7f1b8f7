"""Nets with faults planted by one who knew the table of findings and none of its rules.

`python -m tests.diagnosis.independent_nets 500 [seed]` plants as many and prints figures;
`… healthy 100 [seed]` trains as many that learn.
"""

import sys
from collections import Counter, defaultdict

import numpy as np

import microgradx as mx
from microgradx import optim
from tests.diagnosis.independent_truth import Arrays, value

HIDDEN = ["relu", "tanh", "gelu", "sigmoid"]


# --- nets without a plant ------------------------------------------------------------------------


def drawn(rng, op=None, loss=None, hidden=None, width=4):
    """A net whose units all are on in some rows and off, or far from it, in others; or None."""
    depth = hidden or int(rng.integers(1, 7))
    op = op or str(rng.choice(HIDDEN))
    depth = min(depth, 2) if op == "sigmoid" and not hidden else depth
    rows, d = int(rng.integers(20, 401)), int(rng.integers(2, 17))
    loss = loss or str(rng.choice(["mse", "cross_entropy", "binary_cross_entropy", "hinge"]))
    outs = {"mse": int(rng.integers(1, 4)), "cross_entropy": int(rng.integers(2, 6))}.get(loss, 1)
    X = rng.normal(size=(rows, d)) * rng.uniform(0.5, 2, d) + rng.uniform(-1, 1, d)
    X = X.round(6)
    widths = [d, *(int(w) for w in rng.integers(width, 49, depth)), outs]
    ops = [op] * depth + [None]
    if op != "sigmoid" and rng.random() < 0.25:
        ops[2:-1] = rng.choice(HIDDEN[:3], max(depth - 2, 0)).tolist()
    net = Arrays([], [], ops, X, targets(rng, X, loss, outs), loss)
    for k, (into, out) in enumerate(zip(widths, widths[1:])):
        net.W.append(np.zeros((out, into)))
        net.b.append(np.zeros(out))
        net.W[k] = rng.normal(size=(out, into)) * net.usual(k)
        net.b[k] = -tilt(rng, net, k)
    return net


def tilt(rng, net, k):
    """The z of a row between the 20th and the 80th in a hundred, for units with a kink."""
    z = net.inputs_of(k) @ net.W[k].T if k else net.X @ net.W[0].T
    if k == net.depth:
        return z.mean(axis=0)
    share = rng.uniform(0.2, 0.8, z.shape[1])
    return np.array([np.quantile(column, q) for column, q in zip(z.T, share)])


def targets(rng, X, loss, outs):
    z = (X - X.mean(axis=0)) @ rng.normal(size=(X.shape[1], outs))
    z = np.tanh(z / z.std(axis=0)) + 0.1 * rng.normal(size=z.shape)
    z = (z - np.median(z, axis=0)) / z.std(axis=0)
    if loss == "mse":
        return z.round(6)
    if loss == "cross_entropy":
        y = z.argmax(axis=1)
        y[:outs] = np.arange(outs)
        return y
    return np.where(z[:, 0] > 0, 1, -1 if loss == "hinge" else 0)


def clean(rng, **how):
    """A net in which no definition of the table comes near to holding, and none is healthy by
    the check-up: all by `Arrays`."""
    for _ in range(200):
        net = drawn(rng, **how)
        shorts = [net.short(k) for k in range(net.depth)]
        if (
            not any(net.dead(k) or net.saturated(k, 0.03)[1] for k in range(net.depth + 1))
            and not net.worse_than_a_guess(1.5)
            and all(0.2 < net.ratio(k) < 5 for k in range(net.depth + 1))
            and max(shorts) < 1.2 and min(shorts) > -1.7
        ):  # fmt: skip
            return net
    raise AssertionError("no clean net in 200")


# --- plants --------------------------------------------------------------------------------------
# Each changes the net and returns what is to be found: (verdict, where, the units at least), which
# may be a function that is asked when all has been planted.


def some(rng, net, k, most=0.5):
    n = net.width(k)
    size = int(rng.integers(1, max(2, int(n * most)) + 1))
    return sorted(int(j) for j in rng.choice(n, min(size, n - 1), replace=False))


def layers_with(net, *ops, least=0, most=None):
    found = [k for k in range(least, net.depth) if net.ops[k] in ops]
    return found


def dead_in_box(rng, net):
    gone = some(rng, net, 0)
    low, high = net.box()
    for j in gone:
        reach = float(np.maximum(net.W[0][j] * low, net.W[0][j] * high).sum())
        net.b[0][j] = -reach - float(rng.choice([1e-6, 0.01, 1.0, 30.0]))
    return [("dead", "layers.0", lambda: {*gone} & net.dead(0))]


def dead_on_rows(rng, net):
    gone = some(rng, net, 0)
    for j in gone:
        z = net.X @ net.W[0][j]
        net.b[0][j] = -float(z.max()) - float(rng.choice([1e-9, 1e-4, 0.02]))
    return [("dead", "layers.0", lambda: {*gone} & net.dead(0))]


def dead_deep(rng, net):
    k = int(rng.choice(layers_with(net, "relu", least=1)))
    gone = some(rng, net, k)
    for j in gone:
        net.b[k][j] -= float(net.forward()[0][k][:, j].max()) + float(rng.choice([1e-6, 0.5, 40]))
    return [("dead", f"layers.{k}", lambda: {*gone} & net.dead(k))]


def dead_layer(rng, net):
    k = int(rng.choice(layers_with(net, "relu")))
    net.b[k] = net.b[k] - net.forward()[0][k].max(axis=0) - rng.uniform(0.01, 5, net.width(k))
    return [("dead", f"layers.{k}", {*range(net.width(k))})]


def saturated_by_bias(rng, net):
    k = int(rng.choice(layers_with(net, "tanh", "sigmoid")))
    gone = some(rng, net, k)
    for j in gone:
        z = net.forward()[0][k][:, j]
        far = float(np.abs(z).max()) + float(rng.choice([8.0, 30.0, 300.0, 900.0]))
        net.b[k][j] += far * float(rng.choice([-1, 1]))
    return [("saturated", f"layers.{k}", lambda: {*gone} & net.saturated(k, 0.009)[0])]


def saturated_by_weights(rng, net):
    k = int(rng.choice(layers_with(net, "tanh", "sigmoid")))
    gone = some(rng, net, k, 0.3)
    for j in gone:
        factor = float(rng.choice([200.0, 1e4]))
        net.W[k][j] *= factor
        net.b[k][j] *= factor
    return [("saturated", f"layers.{k}", lambda: {*gone} & net.saturated(k, 0.009)[0])]


def saturated_layer(rng, net):
    k = int(rng.choice(layers_with(net, "tanh", "sigmoid")))
    if rng.random() < 0.5:
        net.W[k] *= 300.0
        net.b[k] *= 300.0
    else:
        net.b[k] += np.abs(net.forward()[0][k]).max() + 7.0
    return [("saturated", f"layers.{k}", lambda: net.saturated(k, 0.009)[0])]


def copied(rng, net):
    k = int(rng.integers(0, net.depth))
    for group in ([0, 2], [1, 3, net.width(k) - 1])[: int(rng.integers(1, 3))]:
        for j in group:
            net.W[k][j], net.b[k][j] = net.W[k][group[0]], net.b[k][group[0]]
            net.W[k + 1][:, j] = net.W[k + 1][:, group[0]]
    return [("copies", f"layers.{k}", lambda: net.live_copies(k))]


def too_small(rng, net):
    """A tensor behind which there is another, so that it costs what it is too small by."""
    k = int(rng.integers(1, net.depth + 1))
    net.W[k] *= 10.0 ** -rng.uniform(1.5, 4) / net.ratio(k)
    net.b[k] *= 0.0 if k == net.depth else 1.0
    return [("small weights", f"layers.{k}.weight", None)]


def too_small_at_first(rng, net):
    net.W[0] *= 10.0 ** -rng.uniform(1.5, 4) / net.ratio(0)
    net.b[0] = np.abs(net.b[0]) * 0.1
    return [("small weights", "layers.0.weight", None)]


def too_large(rng, net):
    k = int(rng.choice([k for k in range(1, net.depth + 1) if net.ops[k] in ("relu", None)]))
    factor = 10.0 ** rng.uniform(1.5, 4) / net.ratio(k)
    while True:  # until it costs a decade beside the outputs, not only beside the usual scale
        net.W[k], net.b[k] = net.W[k] * factor, net.b[k] * factor
        if net.short(k - 1) - net.short(k) > 1.1:
            break
        factor = 10.0
    return [("large weights", f"layers.{k}.weight", None)]


def zeroed(rng, net):
    k = int(rng.integers(0, net.depth + 1))
    net.W[k][:] = 0.0
    net.b[k] = rng.normal(size=net.width(k)).round(3)
    return [("zero weights", f"layers.{k}.weight", None)]


def out_of_reach(rng, net):
    net.ops[-1] = str(rng.choice(["sigmoid", "tanh", "relu"]))
    net.b[-1] = np.full(net.width(-1), 0.3)
    if net.ops[-1] == "relu":  # on, but not far
        net.b[-1] = 0.5 - net.forward()[0][-1].min(axis=0) * float(rng.uniform(0.2, 0.6))
    at = int(rng.integers(net.width(-1)))
    share = value("sigmoid", net.y.astype(float))
    net.y = share.copy()
    net.y[:, at] = -share[:, at] if net.ops[-1] == "relu" else 1.0 + share[:, at]
    if rng.random() < 0.4:  # in some of the rows only
        net.y[::2, at] = share[::2, at]
    return [("targets out of reach", "y", None)]


def softmaxed(rng, net):
    net.ops[-1] = "softmax"
    return [("bounded logits", "outputs", None)]


def squashed(rng, net):
    net.ops[-1] = str(rng.choice(["sigmoid", "tanh"]))
    return [("bounded logits", "outputs", None)]


def scaled_input(rng, net):
    j = int(rng.integers(net.X.shape[1]))
    net.X[:, j] *= 10.0 ** rng.uniform(1.7, 6) / np.sqrt((net.X[:, j] ** 2).mean())
    return [("inputs out of scale", "X", None)]


def small_inputs(rng, net):
    net.X *= 10.0 ** -rng.uniform(2, 6)
    for k in range(net.depth):  # units stay on in some rows
        net.b[k] = -tilt(rng, net, k)
    return [("inputs out of scale", "X", None)]


def far_input(rng, net):
    j = int(np.argmin((net.X**2).mean(axis=0)))  # not one that is out of scale
    spread = net.X[:, j].std()
    net.X[:, j] += float(rng.choice([-1, 1])) * (3.5 + 12.0 * spread + rng.exponential(20.0))
    return [("inputs far from 0", "X", None)]


def far_targets(rng, net):
    net.y = (net.y * 1e3 + 7.0 if rng.random() < 0.5 else net.y + 90.0).round(6)
    return [("targets out of scale", "y", None)]


def linear_stack(rng, net):
    net.ops[:] = [None] * len(net.ops)
    return [("linear net", "layers.0", None)]


def linear_alone(rng, net):
    """One layer, for targets that no line follows."""
    net.X = net.X - net.X.mean(axis=0)
    net.X[:, :2] = np.repeat(rng.normal(size=(len(net.X) // 2 + 1, 2)), 2, axis=0)[: len(net.X)]
    net.X[::2, 0] *= -1.0
    z = (net.X[:, 0] * net.X[:, 1])[:, None]
    net.y = {"mse": z / z.std(), "hinge": np.where(z[:, 0] > 0, 1, -1)}.get(
        net.loss, (z[:, 0] > 0) + 0
    )
    outs = {"cross_entropy": 2}.get(net.loss, 1)
    net.W, net.b = [rng.normal(size=(outs, net.X.shape[1])) * 0.1], [np.zeros(outs)]
    net.ops = [None]
    return [("linear net", "outputs", None)] if net.linear_fit() > 0.91 else []


def idle(rng, net):
    net.idle = True
    return [("unused parameters", "idle", None)]


def large_step(rng, net):
    for lr in 10.0 ** np.arange(int(rng.integers(0, 3)), 9):
        net.lr = float(lr)
        if net.step_is_large():
            return [("large step", "SGD", None)]
    raise AssertionError("no step is too large")


def small_step(rng, net):
    net.lr = float(10.0 ** -rng.uniform(6, 9))
    return [("small step", "SGD", None)]


def not_a_number(rng, net):
    k = int(rng.integers(0, net.depth + 1))
    j, i = (int(rng.integers(n)) for n in net.W[k].shape)
    net.W[k][j, i] = float(rng.choice([np.nan, np.inf]))
    return [("not finite", "", None)] if net.not_finite() else [
        ("saturated", f"layers.{k}", {j})]  # fmt: skip


def chained(rng, net):
    return [("sigmoid chain", "layers.0", None)]


RELU, SQUASHING = {"op": "relu"}, [{"op": "tanh"}, {"op": "sigmoid"}]
MSE, CLASSES, DEEP = {"loss": "mse"}, {"loss": "cross_entropy"}, {"op": "relu", "hidden": 3}
PLANTS = {
    dead_in_box: [RELU], dead_on_rows: [RELU], dead_deep: [DEEP, {"op": "relu", "hidden": 5}],
    dead_layer: [RELU, DEEP], saturated_by_bias: SQUASHING, saturated_by_weights: SQUASHING,
    saturated_layer: SQUASHING, copied: [{}], too_small: [{}], too_small_at_first: [RELU, {}],
    too_large: [RELU], zeroed: [{}], out_of_reach: [MSE], softmaxed: [CLASSES],
    squashed: [CLASSES, {"loss": "binary_cross_entropy"}], scaled_input: [{}], small_inputs: [{}],
    far_input: [{}], far_targets: [MSE], linear_stack: [{}], linear_alone: [{}], idle: [{}],
    large_step: [{}], small_step: [{}], not_a_number: [{}],
}  # fmt: skip
PAIRS = [
    (dead_in_box, dead_on_rows), (dead_on_rows, dead_deep), (dead_in_box, too_small),
    (dead_deep, dead_layer), (dead_deep, copied), (copied, saturated_by_bias),
    (saturated_layer, too_small), (saturated_by_bias, idle), (dead_in_box, idle),
    (dead_in_box, scaled_input), (copied, scaled_input), (far_input, copied),
    (out_of_reach, dead_in_box), (softmaxed, copied), (squashed, far_input),
    (far_targets, copied), (too_small, small_step), (dead_deep, large_step), (zeroed, idle),
    (too_large, copied), (linear_stack, copied), (out_of_reach, saturated_by_weights),
    (scaled_input, far_input), (zeroed, copied), (softmaxed, dead_deep), (not_a_number, idle),
]  # fmt: skip
ALONE = [(plant,) for plant in PLANTS]
KINDS = [*ALONE, *PAIRS, *ALONE]  # a net of each kind stands first


def planted(kinds, seed):
    """A net with these plants, and what is to be found."""
    rng = np.random.default_rng(seed)
    how = {}
    for plant in kinds:
        choices = PLANTS[plant]
        how |= choices[int(rng.integers(len(choices)))]
    if kinds[0] is copied and kinds[1:] == (saturated_by_bias,):
        how |= {"hidden": 2}
    net = clean(rng, width=5, **how)
    before = [scaled_input, small_inputs, far_input, far_targets, copied]  # units follow from those
    wanted = [want for plant in sorted(kinds, key=lambda plant: plant not in before)
              for want in plant(rng, net)]  # fmt: skip
    wanted = [(verdict, where, least() if callable(least) else least)
              for verdict, where, least in wanted]  # fmt: skip
    return net, [want for want in wanted if want[2] != set()]  # what another plant has undone


def checked(net):
    model = net.model()
    optimizer = optim.SGD(model.parameters(), lr=net.lr) if net.lr is not None else None
    return mx.checkup(model, net.X, net.y, loss=net.loss, optimizer=optimizer)


# --- nets that are healthy by training -----------------------------------------------------------

EPOCHS, FALL = 300, 0.1  # fixed beforehand: the loss is to fall to a tenth in as many


def trained(seed, standard=True):
    """What a check-up finds in a net without a plant, and whether the net then learns.

    None where a unit is off on all rows. Half of the nets have biases of 0, as they are made.
    standard: whether the inputs have mean 0 and spread 1; else within 1 and from 0.5 to 2"""
    rng = np.random.default_rng([seed, 77])
    net = drawn(rng)
    if standard:
        net.X = (net.X - net.X.mean(axis=0)) / net.X.std(axis=0)
    if seed % 2:
        net.b = [0.0 * b for b in net.b]
    net.y = learnable(rng, net)
    if any(net.dead(k) for k in range(net.depth)):
        return None
    model = net.model()
    findings = mx.checkup(model, net.X, net.y, loss=net.loss).findings
    bar = FALL * net.losses().mean()
    y = net.y.ravel() if net.width(-1) == 1 else net.y
    history = mx.fit(model, net.X, y, loss=net.loss, epochs=EPOCHS, batch_size=32, seed=0,
                     optimizer=optim.Adam(model.parameters(), lr=0.01),
                     on_epoch=lambda epoch: epoch.loss <= bar)  # fmt: skip
    return net, findings, bool(min(history.loss) <= bar)


def learnable(rng, net):
    """Targets without noise: a bend of a line, and on which side of it a row lies."""
    z = (net.X - net.X.mean(axis=0)) @ rng.normal(size=(net.X.shape[1], net.width(-1)))
    z = z / z.std(axis=0)
    if net.loss == "mse":
        return np.tanh(z)
    if net.loss == "cross_entropy":
        return z.argmax(axis=1)
    return np.where(z[:, 0] > 0, 1, -1 if net.loss == "hinge" else 0)


def healthy(number, seed, standard):
    made, learnt, found = 0, Counter(), defaultdict(list)
    while sum(learnt.values()) < number:
        result = trained(seed + made, standard)
        made += 1
        if result and result[2]:
            net = result[0]
            kind = f"{net.depth} {'/'.join(sorted({*net.ops[:-1]}))}"
            learnt[kind] += 1
            if result[1]:
                found[kind].append(
                    (
                        seed + made - 1,
                        net.loss,
                        [(f.verdict, f.where, len(f.neurons), round(f.rows, 2)) for f in result[1]],
                    )
                )
    print(f"{made} drawn, {sum(learnt.values())} learn, of which something is found in "
          f"{sum(map(len, found.values()))}")  # fmt: skip
    for kind, n in sorted(learnt.items()):
        print(f"{kind}: {n}", *found[kind], sep="\n    ")


# --- whether a finding is true -------------------------------------------------------------------


def is_true(net, f):
    return bool(TRUE[f.verdict](net, f))


def layer_of(f):
    return int(f.where.split(".")[1])


def _saturated(net, f):
    surely, perhaps = net.saturated(layer_of(f), 0.0099)[0], net.saturated(layer_of(f), 0.0101)[1]
    return f.neurons and surely <= {*f.neurons} <= perhaps


def _tensor(least, most):
    return lambda net, f: least <= net.ratio(layer_of(f)) <= most


def _column(f):
    return int(f.where.split("[")[1][:-1]) if "[" in f.where else None


def _columns(truth):
    def check(net, f):
        found = truth(net)
        return found and (_column(f) is None or _column(f) in found)

    return check


def _chain(net, f):
    sigmoids = [op == "sigmoid" for op in net.ops]
    return sum(sigmoids) >= 3 and min(net.short(k) for k in range(net.depth)) < -1.9


TRUE = {
    "dead": lambda net, f: f.neurons and {*f.neurons} == net.dead(layer_of(f)),
    "saturated": _saturated,
    "copies": lambda net, f: f.neurons and {*f.neurons} == net.live_copies(layer_of(f)),
    "small weights": _tensor(1e-9, 0.1001),
    "large weights": _tensor(9.99, np.inf),
    "zero weights": _tensor(0.0, 0.0),
    "sigmoid chain": _chain,
    "vanishing": lambda net, f: net.short(layer_of(f)) < -2.7,
    "exploding": lambda net, f: net.short(layer_of(f)) > 1.7,
    "inputs out of scale": _columns(Arrays.out_of_scale),
    "inputs far from 0": _columns(lambda net: net.far(net.X)),
    "targets out of reach": lambda net, f: abs(f.rows - net.beyond().reshape(len(net.X), -1)
                                               .any(axis=1).mean()) < 1e-9 < f.rows,
    "targets out of scale": lambda net, f: net.loss == "mse" and (
        net.far(net.y) or (np.sqrt((net.y**2).mean(axis=0)) > 30).any()),
    "bounded logits": lambda net, f: net.ops[-1] and net.loss in (
        "cross_entropy", "binary_cross_entropy"),
    "constant outputs": lambda net, f: net.constant(),
    "worse than a guess": lambda net, f: net.worse_than_a_guess(1.001),
    "linear net": lambda net, f: not any(net.ops) and (net.depth or net.linear_fit() > 0.899),
    "large step": lambda net, f: net.step_is_large(),
    "small step": lambda net, f: net.step_is_small(),
    "unused parameters": lambda net, f: net.idle and "idle" in f.where,
    "not finite": lambda net, f: net.not_finite(),
}  # fmt: skip


# --- the check-up beside the truth ---------------------------------------------------------------


def is_found(net, want, findings):
    """At its place, with all units of the layer for which it is so, the planted ones among them."""
    verdict, where, least = want
    return any(
        f.verdict == verdict
        and f.where.startswith(where)
        and (least is None or ({*f.neurons} >= least and is_true(net, f)))
        for f in findings
    )


def first_is_right(wanted, f):
    """Of a single plant: it stands first; its own layer's weights may stand for its units."""
    verdict, where, _ = wanted[0]
    if f.verdict == verdict:
        return f.where.startswith(where)
    if verdict in FOLLOWED and f.verdict in FOLLOWED[verdict]:
        return True
    return verdict == "saturated" and (f.verdict, f.where) == ("large weights", where + ".weight")


# The consequences of a plant that may cost more than it: see `test_independent.py` for each.
FOLLOWED = {
    "small weights": ("dead", "saturated", "sigmoid chain"),
    "large weights": ("dead", "saturated"),
    "zero weights": ("dead", "saturated"),
}


def wrong_in_table(net, c):
    """Which cells of `c.neurons` aren't what NumPy says."""
    zs, _ = net.forward()
    wrong = []
    for row in rows_of(c.neurons):
        k, j = int(row["layer"].split(".")[1]), row["neuron"]
        z, op = zs[k][:, j], net.ops[k]
        h = value(op, z) if op != "softmax" else z
        true = {"mean": h.mean(), "spread": h.std(), "least_z": z.min(), "most_z": z.max()}
        wrong += [f"layers.{k} {j} {name}: {row[name]}, not {number}" for name, number in
                  true.items() if not np.isclose(row[name], number, 1e-9, 1e-9 * np.abs(z).max())
                  and op != "softmax"]  # fmt: skip
        if op == "relu" and abs(row["off"] - (z <= 0).mean()) > 1e-9:
            wrong.append(f"layers.{k} {j} off: {row['off']}")
        wrong += wrong_of_dead(net, row, k, j) if j in net.dead(k) else []
        if j not in net.dead(k) and row["verdict"] == "dead":
            wrong.append(f"layers.{k} {j} isn't dead")
    return wrong


def wrong_of_dead(net, row, k, j):
    if row["verdict"] != "dead":
        return [f"layers.{k} {j} is dead"]
    wrong = []
    if row["locked"] not in (net.locked(k), not any(g.any() for g in net.backward()[:k])):
        wrong.append(f"layers.{k} {j} locked: {row['locked']}, through {row['through']}")
    proof = row["proof"]  # of a deep one see test_proof.py; none that is proved is on anywhere
    if k and proof == "proved":
        low, high = net.box()
        rng = np.random.default_rng(0)
        other = Arrays(
            net.W, net.b, net.ops, rng.uniform(low, high, (300, len(low))), net.y, net.loss
        )
        proof = "refuted" if (other.forward()[0][k][:, j] > 0).any() else proof
    if k == 0:
        worst = net.worst(0, *net.box())[j]
        proof = "proved" if worst <= 0 else "refuted"
        if abs(worst) < 1e-12 * np.abs(net.W[0][j]).sum():
            return wrong
    if row["proof"] != proof:
        wrong.append(f"layers.{k} {j} {row['proof']}, not {proof}")
    return wrong


def rows_of(table):
    names = list(table)
    return [dict(zip(names, cells)) for cells in zip(*(table[name] for name in names))]


def compared(kinds, seed):
    """(what is wrong, the verdicts that were found beside the plants, the check-up)"""
    net, wanted = planted(kinds, seed)
    c = checked(net)
    wrong = [f"missed: {want}" for want in wanted if not is_found(net, want, c.findings)]
    wrong += [f"made up: {f}" for f in c.findings if not is_true(net, f)]
    if len(kinds) == 1 and wanted and c.findings and not first_is_right(wanted, c.findings[0]):
        wrong.append(f"first: {c.findings[0]}")
    if not net.not_finite() and np.isfinite(net.forward()[0][0]).all():
        wrong += wrong_in_table(net, c)
    verdicts = {want[0] for want in wanted}
    return wrong, [f.verdict for f in c.findings if f.verdict not in verdicts], c


def described(kinds):
    return " + ".join(plant.__name__ for plant in kinds)


def main(number, seed):
    nets, bad, behind, beside = Counter(), Counter(), Counter(), defaultdict(Counter)
    for n in range(number):
        kinds = KINDS[n % len(KINDS)]
        wrong, others, c = compared(kinds, [seed, n])
        name = described(kinds)
        nets[name] += 1
        beside[name].update(others)
        behind[name] += len(kinds) == 1 and bool(c.findings) and others[:1] == [
            c.findings[0].verdict]  # fmt: skip
        if wrong:
            bad[name] += 1
            print(f"--- {name} [{seed}, {n}]", *wrong[:6], *map(str, c.findings), sep="\n  ")
    for name, n in nets.items():
        print(
            f"{name:45} {n:4} nets {n - bad[name]:4} right, "
            f"{behind[name]} behind another; beside: {dict(beside[name])}"
        )


if __name__ == "__main__":
    if sys.argv[1] == "healthy":
        sys.exit(healthy(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] != ["raw"]))
    main(int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 7)
