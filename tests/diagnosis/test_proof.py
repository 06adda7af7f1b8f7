"""What is proved of a box holds at every point that is tried in it; "unknown" is an answer."""

import re

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn
from microgradx.diagnosis import prove
from microgradx.diagnosis.proof import BOTH, OFF, ON
from tests.diagnosis.regions import enumerated
from tests.diagnosis.tightness import SETTINGS, by_intervals, by_proof, by_samples, trained

ACTIVATIONS = ["relu", "tanh", "sigmoid", "leaky_relu", "gelu", "softplus", "elu"]


class Skips(nn.Module):
    def __init__(self, width, size, seed):
        self.first, self.second = (
            nn.Layer(width, size, seed=seed),
            nn.Layer(size, size, seed=seed + 1),
        )
        self.last = nn.Layer(size, 2, "linear", seed=seed + 2)

    def __call__(self, x):
        h = self.first(x)
        return self.last([a + 0.5 * b for a, b in zip(h, self.second(h))])


class Soft(nn.Module):
    """A softmax and a product lie between, which only intervals bound."""

    def __init__(self, width, size, seed):
        self.first, self.last = nn.Layer(width, size, seed=seed), nn.Layer(size, 2, seed=seed + 1)

    def __call__(self, x):
        h = self.first(x)
        es = [z.exp() for z in h]
        total = mx.sum(es)
        return self.last([a * e / total for a, e in zip(h, es)])


class Odd(Soft):
    """Ops to some of whose operands no gradient goes."""

    def __call__(self, x):
        h = self.first(x)
        h = [mx.where(a.relu(), a.detach() + b, mx.equal(b, 0.0) - a) for a, b in zip(h, h[1:] + h)]
        return self.last(h)


def drawn(rng, seed, soft=True):
    width, size = int(rng.integers(1, 5)), int(rng.integers(2, 9))
    kind = rng.random()
    if kind < 0.2:
        model = Skips(width, size, seed)
    elif kind < 0.35 and soft:
        model = (Soft if kind < 0.28 else Odd)(width, size, seed)
    else:
        model = nn.MLP(width, [size] * int(rng.integers(1, 4)) + [2], seed=seed)
        for layer in model.layers[:-1]:
            op = getattr(mx.Value, str(rng.choice(ACTIVATIONS)))
            for neuron in layer.neurons:
                neuron.activation = op
    for p in model.parameters():
        p.data = p.data * float(rng.choice([0.5, 1, 3])) + 0.3 * float(rng.normal())
    return model, rng.normal(size=width) * float(rng.choice([0.1, 1, 10]))


def points_in(rng, p, n=300):
    """Random ones, corners, and what was found by the proof itself."""
    d = len(p.low)
    points = [rng.uniform(p.low, p.high, (n, d)),
              np.where(rng.random((n // 4, d)) < 0.5, p.low, p.high)]  # fmt: skip
    points += [np.array(w) for w in p.witnesses.values()]
    return np.concatenate(points)


def test_no_proof_is_unsound(many):
    """Every z and output of random nets, every verdict, at points of the box."""
    proved = 0
    for seed in range(many(60, 10_000)):
        rng = np.random.default_rng([seed, 5])
        model, row = drawn(rng, seed)
        p = prove(
            model, row, float(rng.choice([0.0, 1e-3, 0.1, 1, 5])), boxes=int(rng.choice([1, 9]))
        )
        net = p._net
        points = points_in(rng, p)
        net.replay.load(points)
        with np.errstate(all="ignore"):
            z = net.replay.values_of([*net.zs, *net.outputs])
        assert (z >= p._ends.low[:, None]).all() and (z <= p._ends.high[:, None]).all(), seed
        for u, verdict in enumerate(p.verdicts):
            own = z[: len(net.zs)][p._of == u]
            if verdict == OFF:
                assert (own <= 0).all(), (seed, u)
            if verdict == ON:
                assert (own > 0).all(), (seed, u)
            if verdict == BOTH:
                assert (own > 0).any() and (own <= 0).any(), (seed, u)
            proved += verdict in (OFF, ON)
    assert proved > many(60, 10_000)


def test_no_gradient_is_above_its_bound(many):
    for seed in range(many(25, 500)):
        rng = np.random.default_rng([seed, 6])
        model, row = drawn(rng, seed, soft=False)
        p = prove(model, row, float(rng.choice([1e-3, 0.1, 1])), boxes=1)
        assert p.gradient is not None
        for point in points_in(rng, p, 12):
            xs = [mx.Value(x) for x in point]
            for k, y in enumerate(model(xs)):
                for x in xs:
                    x.grad = 0.0
                y.backward()
                found = np.abs([x.grad for x in xs])
                assert (found <= p.gradient[k] * (1 + 1e-12)).all(), (seed, k)


def test_one_input_is_exact_but_for_what_is_unknown():
    """On a line every kink can be looked up: a gate is called open only if it is, or left open."""
    for seed in range(20):
        rng = np.random.default_rng([seed, 7])
        model = nn.MLP(1, [4, 4, 1], "relu", seed=seed)
        for p in model.parameters():
            p.data += 0.4 * float(rng.normal())
        proof = prove(model, [0.2], 0.5, boxes=200)
        proof._net.replay.load(np.linspace(-0.3, 0.7, 20_001)[:, None])
        z = proof._net.replay.values_of(proof._net.zs)
        for u, verdict in enumerate(proof.verdicts):
            on, off = (z[u] > 0).any(), (z[u] <= 0).any()
            assert verdict in ({OFF} if not on else {ON} if not off else {BOTH}) | {"unknown"}
        assert "unknown" not in proof.verdicts


def test_small_nets_beside_all_their_regions(many):
    """In real numbers, exactly: no end is passed, no verdict false, no gradient above its bound."""
    told, decided, known = 0, 0, 0
    for seed in range(many(40, 2_000)):
        rng = np.random.default_rng([seed, 8])
        model = nn.MLP(2, [int(rng.integers(2, 6))] * int(rng.integers(1, 4)) + [1], seed=seed)
        for p in model.parameters():
            p.data = round(16 * p.data + 4 * float(rng.normal())) / 16
        row, radius = rng.integers(-16, 17, 2) / 16, float(rng.choice([0.125, 0.5, 1.0]))
        proof = prove(model, row, radius, boxes=int(rng.choice([1, 60])))
        layers, regions = enumerated(model, proof.low, proof.high)
        ends = [end for layer in layers[:-1] for end in layer]
        for k, (least, most) in enumerate([*ends, *layers[-1]]):
            assert proof._ends.low[k] <= least and most <= proof._ends.high[k], (seed, k)
        for verdict, (least, most) in zip(proof.verdicts, ends):
            truth = OFF if most <= 0 else ON if least > 0 else BOTH
            assert verdict in (truth, "unknown"), seed
            told, decided = told + 1, decided + (verdict == truth)
        for region in regions:
            for k in (0, 1):
                assert abs(region.rows[0][k]) <= proof.gradient[0, k], seed
        known += len(regions)
    assert decided > 0.9 * told and known > many(300, 15_000)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_as_much_is_proved_as_by_auto_lirpa(setting):
    net = *trained(setting), setting
    (off, on), steepest = by_samples(*net)
    plain, by_plain = by_intervals(*net)
    lines, by_lines = by_proof(*net, boxes=1)
    assert (plain, lines) == (setting.ibp, setting.crown)
    assert lines.off <= off and lines.on <= on and steepest <= by_lines < by_plain


def test_what_is_missing_stands_beside_every_unknown():
    model, row = trained(SETTINGS[1])
    proof = prove(model, row, 0.1, boxes=5)
    units, text = proof.units, " ".join(str(proof).split())
    assert "unknown" in proof.verdicts
    ends = zip(proof.verdicts, units["least_z"], units["most_z"], units["misses"])
    for verdict, low, high, missing in ends:
        assert missing == (min(high, -low) if verdict == "unknown" else 0.0)
    kinds = re.findall(r"(\d+) \((off|on) but for ([\d.e-]+)\)", text)
    assert len(kinds) >= 3
    rows = [row for row in units.rows if row["verdict"] == "unknown"]
    for k, kind, missing in kinds:
        [row] = [row for row in rows if row["neuron"] == int(k)]
        assert float(missing) == pytest.approx(row["misses"], rel=5e-3)
        assert kind == ("off" if row["most_z"] < -row["least_z"] else "on")


def test_lines_are_tighter_than_intervals_and_pieces_than_one_box():
    model = nn.MLP(4, [16, 16, 16, 3], "relu", init="he", seed=1)
    row = [0.1, 0.2, 0.3, 0.4]
    one, more = prove(model, row, 0.3, boxes=1), prove(model, row, 0.3, boxes=100)
    undecided = [p.verdicts.count("unknown") for p in (one, more)]
    assert undecided[1] <= undecided[0] and one.boxes == 1 < more.boxes <= 100
    low, high = more.outputs
    assert (low >= one.outputs[0]).all() and (high <= one.outputs[1]).all()
    x = [mx.Value(v, f"x{k}") for k, v in enumerate(row)]
    outputs = model(x)
    plain = mx.bounds.Bounds(outputs[0], {v: (v.data - 0.3, v.data + 0.3) for v in x})
    assert one.outputs[0][0] >= plain[outputs[0]].lo and one.outputs[1][0] <= plain[outputs[0]].hi


def test_a_radius_of_0_decides_everything():
    p = prove(nn.MLP(3, [8, 8, 1], seed=0), [0.5, -1.0, 2.0], 0.0)
    assert {*p.verdicts} <= {OFF, ON} and p.boxes == 1
    assert p.outputs[1] - p.outputs[0] < 1e-12


def test_the_page_and_the_table():
    model = nn.MLP(2, [3, 3, 1], "relu", seed=0)
    model.layers[1].neurons[2].bias.data = -50.0
    p = prove(model, [1.0, -1.0], 0.1)
    assert "layers.1, off everywhere: 2" in str(p)
    assert str(p).startswith("MLP, for every input within 0.1 of the row, in 1 box: 6 gates")
    assert "No gradient of an output by an input is above" in str(p)
    rows = [*p.units.rows]
    assert [(r["layer"], r["neuron"]) for r in rows][:4] == [
        ("layers.0", 0), ("layers.0", 1), ("layers.0", 2), ("layers.1", 0)]  # fmt: skip
    assert rows[5]["verdict"] == "off" and rows[5]["most_z"] < -40
    assert max(map(len, str(p).splitlines())) <= 80 and repr(p).startswith("<Proof of MLP: 6 gates")
    tanh = prove(nn.MLP(2, [3, 1], "tanh", seed=0), [1.0, -1.0], 0.1)
    assert tanh.verdicts == [""] * 3 and "no gates" in str(tanh)
    assert mx.prove is prove


def test_a_number_that_no_gradient_goes_to_varies_all_the_same():
    """A detach, and the condition of a `where`, are no constants of the box."""
    net = Soft(2, 3, 0)

    class Cut(nn.Module):
        def __init__(self, f):
            self.layer, self.f = net.first, f

        def __call__(self, x):
            return [self.f(z) for z in self.layer(x)]

    for f in (lambda z: z.detach() * 2.0, lambda z: mx.where(z, 1.0, -1.0 + 0.0 * z)):
        p = prove(Cut(f), [0.5, -0.5], 2.0)
        low, high = p.outputs
        p._net.replay.load(points_in(np.random.default_rng(0), p))
        y = p._net.replay.values_of(p._net.outputs)
        assert (y.min(axis=1) >= low).all() and (y.max(axis=1) <= high).all()
        assert (np.ptp(y, axis=1) > 0).any()
    assert (prove(Cut(lambda z: z.detach()), [0.5, -0.5], 2.0).gradient == 0).all()


def test_factors_that_cancel_prove_nothing():
    """1e16 x + 0.7 x - 1e16 x is 0.7 x in truth, and 0 in floats."""

    class Cancels(nn.Module):
        def __init__(self):
            self.w, self.v = mx.Value(1e16), mx.Value(-1e16)

        def __call__(self, x):
            return [((x[0] * self.w + 0.7 * x[0]) + x[0] * self.v - 0.5).relu()]

    assert prove(Cancels(), [1.0], 0.0).verdicts == ["unknown"]
    assert prove(Cancels(), [1e-20], 0.0).verdicts == ["off"]


def test_a_parameter_that_is_not_used_is_no_hindrance():
    class Part(nn.Module):
        def __init__(self):
            self.layer = nn.Layer(2, 3, seed=0)

        def __call__(self, x):
            return self.layer(x)[0]

    assert len(prove(Part(), [0.5, 1.0], 0.1).verdicts) == 1
    assert len(mx.Watch(Part(), [[0.5, 1.0]]).keys) == 1


def test_what_lies_between_by_several_operands_has_no_gradient_bound():
    assert prove(Soft(2, 3, 0), [0.1, 0.2], 0.1).gradient is None


def test_mistakes_are_named():
    model = nn.MLP(2, [3, 1], seed=0)
    for arguments, error, words in (
        (([1.0, float("nan")], 0.1), ValueError, "nan"),
        (([1.0, 2.0], -0.1), ValueError, "a radius is 0 or more, and finite, got -0.1"),
        (([1.0, 2.0], [0.1] * 3), ValueError, "the radius has the shape (3,), the row (2,)"),
        (([1.0, 2.0], "far"), TypeError, "the radius"),
        (([1.0, 2.0, 3.0], 0.1), ValueError, "3"),
    ):
        with pytest.raises(error, match=re.escape(words)):
            prove(model, *arguments)
    with pytest.raises(ValueError, match="boxes"):
        prove(model, [1.0, 2.0], 0.1, boxes=0)


def test_the_checkup_proves_of_deep_units_too():
    """Off by far on the whole box, and off on the rows alone."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (60, 3))
    model = nn.MLP(3, [6, 6, 1], "relu", init="he", seed=3)
    model.layers[1].neurons[1].bias.data = -50.0
    c = mx.checkup(model, X, X[:, 0])
    row = next(r for r in c.neurons.rows if (r["layer"], r["neuron"]) == ("layers.1", 1))
    assert (row["verdict"], row["proof"]) == ("dead", "proved")
    z = [z for z, key in zip(c.survey.units.nodes, c.survey.units.keys)
         if key == ("layers.1", "4")][0][0].inputs[0]  # fmt: skip
    most = c.survey.values_of([z]).max()
    model.layers[1].neurons[4].bias.data -= float(most) + 1e-6
    c = mx.checkup(model, X, X[:, 0], box=(-1, 1))
    row = next(r for r in c.neurons.rows if (r["layer"], r["neuron"]) == ("layers.1", 4))
    assert row["verdict"] == "dead" and row["proof"] in ("refuted", "unknown")
    u = next(u for u, key in enumerate(c.survey.units.keys) if key == ("layers.1", "4"))
    if row["proof"] == "refuted":
        witness = c.verdicts.proofs[u].witness
        values = c.survey.values_at(witness[None], [c.survey.units.nodes[u][0].inputs[0]])
        assert values[0, 0] > 0 and (np.abs(witness) <= 1).all()
