"""What a planter found who knew the table of findings, none of the rules, and NumPy's truth.

Plants of 24 kinds alone and 26 pairs of them; nets that learn; the survey's case without PyTorch;
locked and revivable units under training; single nets that the check-up was once wrong about.
"""

import numpy as np
import pytest

import microgradx as mx
from microgradx import optim
from tests.diagnosis import independent_nets as nets
from tests.diagnosis.independent_truth import LARGEST, Arrays, slope

SEED = 4_700  # those of development were others


# --- plants --------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
def test_plants_are_found_at_their_place_and_nothing_is_made_up(part, many):
    """60 nets, one of each kind at least, or 500."""
    for n in range(part, many(60, 500), 10):
        kinds = nets.KINDS[n % len(nets.KINDS)]
        wrong, _, c = nets.compared(kinds, [SEED, n])
        assert not wrong, f"{nets.described(kinds)} {n}: {wrong}\n{c}"


@pytest.mark.long
def test_nets_that_learn_have_no_finding(many):
    """Inputs of mean 0 and spread 1. Of two sigmoid layers see below."""
    learnt, seed = 0, SEED
    while learnt < many(20, 100):
        seed += 1
        net, findings, learns = nets.trained(seed) or (None, None, False)
        if learns and net.ops.count("sigmoid") < 2:
            learnt += 1
            assert findings == [], seed


def test_the_planter_would_see_a_plant_that_is_missed_or_made_up():
    """Its own check fails where a finding is taken away, or said of other neurons."""
    net, wanted = nets.planted((nets.dead_on_rows,), [SEED, 1])
    [f] = nets.checked(net).findings
    assert nets.is_found(net, wanted[0], [f]) and not nets.is_found(net, wanted[0], [])
    assert nets.is_true(net, f)
    alive = next(j for j in range(net.width(0)) if j not in f.neurons)
    assert not nets.is_true(net, f.__class__(f.verdict, f.where, (*f.neurons, alive), because=""))


def test_the_planter_s_gradients_are_those_of_the_net():
    for seed in range(8):
        net = nets.clean(np.random.default_rng([SEED, seed]))
        model, lr = net.model(), 0.01
        y = net.y.ravel() if net.width(-1) == 1 else net.y
        mx.fit(model, net.X, y, loss=net.loss, epochs=1, batch_size=None,
               optimizer=optim.SGD(model.parameters(), lr=lr))  # fmt: skip
        after = net.stepped(lr)
        for layer, w, b in zip(model.layers, after.W, after.b):
            ours = [[p.data for p in neuron.weight] for neuron in layer.neurons]
            assert np.allclose(ours, w, rtol=1e-9, atol=1e-12)
            assert np.allclose([neuron.bias.data for neuron in layer.neurons], b, atol=1e-12)


# --- the survey's case, on strokes that NumPy draws ----------------------------------------------

PROVED = [3, 9, 17, 22, 31, 40, 52, 60]  # off on the whole box
ON_DATA = [5, 28, 33, 44, 54, 57]  # off on every row, on somewhere in the box


def strokes(rng, rows):
    """8 × 8 images of ten kinds in 17 shades, and their kind."""
    at = rng.uniform(1.5, 5.5, (10, 4, 2))
    y = rng.integers(0, 10, rows)
    dots = at[y] + 0.4 * rng.normal(size=(rows, 4, 2))
    r, c = np.mgrid[:8, :8]
    far = (r - dots[..., 0, None, None]) ** 2 + (c - dots[..., 1, None, None]) ** 2
    shade = 14 * np.exp(-far / 1.2).sum(axis=1) + rng.normal(size=(rows, 8, 8))
    return np.clip(shade.round(), 0, 16).reshape(rows, 64) / 16.0, y


@pytest.fixture(scope="module")
def sick():
    rng = np.random.default_rng(0)
    X, y = strokes(rng, 400)
    W = [rng.uniform(-1, 1, (n, 64)) / 8 for n in (64, 64, 10)]
    b = [rng.uniform(-1, 1, n) / 8 for n in (64, 64, 10)]
    b[0] += 0.05  # so that none dies by chance
    b[0][PROVED] = -np.maximum(W[0][PROVED], 0).sum(axis=1) - 0.1
    b[0][ON_DATA] = -(X @ W[0][ON_DATA].T).max(axis=0) - 0.02
    W[1] *= 300
    W[2] = rng.normal(size=(10, 64)) * 1e-4
    net = Arrays(W, b, ["relu", "sigmoid", None], X, y, "cross_entropy")
    return net, nets.checked(net), mx.checkup(net.model(), X, y, loss="cross_entropy", box=(0, 1))


def test_the_dead_of_the_case(sick):
    net, *checkups = sick
    assert net.dead(0) == {*PROVED, *ON_DATA}
    for c in checkups:
        dead = [row for row in nets.rows_of(c.neurons) if row["verdict"] == "dead"]
        assert [row["neuron"] for row in dead] == sorted(PROVED + ON_DATA)
        assert [row["neuron"] for row in dead if row["proof"] == "proved"] == PROVED
        assert all(row["locked"] for row in dead)
        assert [f.verdict for f in c.findings] == ["saturated", "small weights", "dead"]


def test_the_prices_of_the_case(sick):
    """Of the saturated layer: the mean of -log₁₀ 4σ′(z). Of the small one: the mean decades of its
    weights over the paths on, by their squares, and half of their fan-out."""
    net, c, _ = sick
    shut, small, _ = c.findings
    slopes = slope("sigmoid", net.forward()[0][1])
    assert (shut.where, len(shut.neurons)) == ("layers.1", 64)
    assert shut.decades == pytest.approx(-np.log10(4 * slopes).mean(), abs=1e-9)
    assert shut.rows == pytest.approx((slopes < 0.01 * LARGEST["sigmoid"]).mean(), abs=1e-12)
    squares = net.slope_of_loss()[:, :, None] ** 2 * net.W[2] ** 2
    q = squares / squares.sum(axis=1, keepdims=True)
    decades = (q * (np.log10(np.abs(net.W[2])) - np.log10(q) / 2)).sum(axis=1).mean()
    assert small.where == "layers.2.weight"
    assert small.decades == pytest.approx(-decades, abs=0.05)


# --- locked, revivable, proved, refuted ----------------------------------------------------------


def with_deaths(seed):
    """A net with deaths in several layers: in the box, on the rows, deep, or of a whole layer."""
    plants = [(nets.dead_in_box, nets.dead_deep), (nets.dead_deep, nets.dead_layer),
              (nets.dead_on_rows, nets.dead_deep)]  # fmt: skip
    net, _ = nets.planted(plants[seed % 3], [SEED, seed])
    net.ops = ["tanh" if op == "gelu" else op for op in net.ops]  # whose erf is slow in NumPy
    if seed % 4 == 3:  # every margin is satisfied: no gradient at all
        net.loss, net.y = "hinge", np.ones((len(net.X), net.width(-1)), int)
        net.b[-1] += 2.0 - net.forward()[1].min(axis=0)
        net.y = net.y[:, 0] if net.width(-1) == 1 else net.y
    c = nets.checked(net)
    rows = enumerate(nets.rows_of(c.neurons))
    return net, c, [(u, row) for u, row in rows if row["verdict"] == "dead"]


def place(row):
    return int(row["layer"].split(".")[1]), row["neuron"]


@pytest.mark.long
def test_locked_units_do_not_move_in_a_thousand_steps(many):
    locked = 0
    for seed in range(many(12, 60)):
        net, _, dead = with_deaths(seed)
        after = net
        for _ in range(1000):
            after = after.stepped(0.003)
        for _, row in dead:
            k, j = place(row)
            if row["locked"]:
                locked += 1
                kept = net.W[k][j].tolist(), net.b[k][j], net.forward()[0][k][:, j].tolist()
                now = after.W[k][j].tolist(), after.b[k][j], after.forward()[0][k][:, j].tolist()
                assert kept == now, (seed, row)
    assert locked >= 30


@pytest.mark.long
def test_revivable_units_follow_each_tensor_that_is_named(many):
    revivable = 0
    for seed in range(many(20, 60)):
        net, _, dead = with_deaths(seed)
        gradients = net.backward()
        for _, row in dead:
            if row["locked"]:
                continue
            revivable += 1
            k, j = place(row)
            before = net.forward()[0][k][:, j]
            for name in row["through"].split(", "):
                m, kind = int(name.split(".")[1]), name.split(".")[2]
                tensor = {"weight": net.W, "bias": net.b}[kind][m]
                assert m < k and (gradients[m].any() or not any(g.any() for g in gradients[:k]))
                kept = tensor.copy()
                tensor += 0.01
                assert (net.forward()[0][k][:, j] != before).any(), (seed, row)
                tensor[...] = kept
    assert revivable >= 20


@pytest.mark.long
def test_proofs_hold_in_the_box_and_witnesses_in_it_turn_units_on(many):
    counts = {"proved": 0, "refuted": 0, "unknown": 0}
    for seed in range(many(15, 60)):
        net, c, dead = with_deaths(seed)
        low, high = net.box()
        points = np.random.default_rng(seed).uniform(low, high, (10_000, len(low)))
        for u, row in dead:
            k, j = place(row)
            counts[row["proof"]] += 1
            if k:
                continue
            assert row["proof"] != "unknown"
            if row["proof"] == "proved":
                assert (points @ net.W[0][j] + net.b[0][j] <= 0).all()
                assert net.worst(0, low, high)[j] <= 0
            if row["proof"] == "refuted":
                witness = np.asarray(c.verdicts.proofs[u].witness)
                assert (low <= witness).all() and (witness <= high).all()
                assert witness @ net.W[0][j] + net.b[0][j] > 0
    assert min(counts["proved"], counts["refuted"]) >= 5, counts


# --- what was once said wrongly, or stood behind what follows from it -----------------------------


def small(ops, widths, seed=0, d=3):
    """A small net with the usual scales, biases of 0, and targets that follow the first input."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, d))
    shapes = list(zip(widths, [d, *widths]))
    net = Arrays([np.zeros(form) for form in shapes], [np.zeros(n) for n in widths], ops, X,
                 np.tanh(X[:, :1]), "mse")  # fmt: skip
    for k, form in enumerate(shapes):
        net.W[k] = rng.normal(size=form) * net.usual(k)
    return net


def dead_behind_zeros(seed):
    """One dead unit in the second layer, and a third whose weights all are 0."""
    net = small(["relu", "relu", None], [6, 5, 1], seed)
    net.b[0] += 0.5
    net.b[1] += 1.0
    net.b[1][2] -= net.forward()[0][1][:, 2].max() + 0.01
    net.W[2][:] = 0.0
    return net


def test_a_unit_that_revives_is_not_called_locked():
    """Its ancestors have no gradient at the first step, and one from the second on."""
    revived = 0
    for seed in range(12):
        net = dead_behind_zeros(seed)
        [row] = [r for r in nets.rows_of(nets.checked(net).neurons)
                 if place(r) == (1, 2)]  # fmt: skip
        after = net
        for _ in range(1000):
            after = after.stepped(0.05)
        if after.forward()[0][1][:, 2].max() > 0:
            revived += 1
            assert not row["locked"], seed
    assert revived


def test_a_pruned_unit_that_is_off_is_locked():
    """All weights of it are 0: its z is its bias, which has no gradient, and nothing else's."""
    net = small(["relu", "relu", None], [6, 5, 1])
    net.b[0] += 1.0
    net.b[1] += 1.0
    net.W[1][2], net.b[1][2] = 0.0, -0.5
    [row] = [r for r in nets.rows_of(nets.checked(net).neurons) if place(r) == (1, 2)]
    assert row["verdict"] == "dead"
    assert row["locked"], row["through"]


@pytest.mark.parametrize("number", [12.91, 5.3])
def test_constant_columns_are_judged_alike(number):
    """7.0 is found nothing with; 12.91 has a mean that is "1.21e15 times its spread"."""
    found = []
    for constant in (7.0, number):
        net = small(["tanh", None], [12, 1])
        net.W[0][:, 0] *= 0.05
        net.X[:, 0] = constant
        found.append([f.verdict for f in nets.checked(net).findings])
    assert found[0] == found[1]


def test_a_hinge_loss_is_beside_its_own_loss_without_an_opinion():
    """1.48 is less than twice 1, which a margin of 0 costs."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(100, 3)), np.where(np.arange(100) < 10, 1, -1)
    net = Arrays([rng.normal(size=(6, 3)), rng.normal(size=(1, 6)) * 0.1],
                 [np.zeros(6) + 0.3, np.array([0.6])], ["tanh", None], X, y, "hinge")  # fmt: skip
    assert 1.4 < net.losses().mean() < 1.9
    assert "worse than a guess" not in [f.verdict for f in nets.checked(net).findings]


def test_two_layers_without_an_activation_between_them():
    net = small(["tanh", None, "tanh", None], [8, 8, 8, 1])
    assert "linear net" in [f.verdict for f in nets.checked(net).findings]


def test_copies_of_units_without_an_activation():
    net = small(["tanh", None, None], [8, 8, 1])
    net.W[1][2], net.W[2][:, 2] = net.W[1][1], net.W[2][:, 1]
    assert "copies" in [f.verdict for f in nets.checked(net).findings]


def test_a_last_layer_that_is_30_times_too_large():
    """Of one output: usual weights lose 0.5 decades there, so these bring 1.0, and cost 1.5."""
    net = small(["relu", None], [24, 1])
    net.b[0] += 0.5
    usual = net.short(0)
    net.W[1] *= 30.0 / net.ratio(1)
    assert net.short(0) - usual > 1.2
    assert "large weights" in [f.verdict for f in nets.checked(net).findings]


def saturated_sigmoids():
    net = small(["sigmoid", "sigmoid", None], [6, 24, 1])
    net.b[0] += 12.0
    return net, "saturated", "layers.0"


def large_before_tanh():
    net = small(["relu", "relu", "tanh", None], [12, 12, 12, 1])
    net.W[1] *= 1000.0
    return net, "large weights", "layers.1.weight"


def zeros_with_biases():
    net = small(["relu", None], [12, 1])
    net.b[0] = np.where(np.arange(12) < 6, -0.5, 0.5)
    net.W[0][:] = 0.0
    return net, "zero weights", "layers.0.weight"


def large_and_few():
    net = small(["relu", "relu", None], [3, 24, 1], seed=8, d=2)
    net.b[0] += 0.7
    net.b[1] += 0.3
    net.W[1] *= 20.0
    return net, "large weights", "layers.1.weight"


CAUSES = [saturated_sigmoids, large_before_tanh, zeros_with_biases, large_and_few]


@pytest.mark.parametrize("made", CAUSES, ids=lambda made: made.__name__)
def test_the_only_plant_stands_first(made):
    net, verdict, where = made()
    f = nets.checked(net).findings[0]
    assert (f.verdict, f.where) == (verdict, where)


@pytest.mark.parametrize("made", CAUSES, ids=lambda made: made.__name__)
def test_the_only_plant_is_found_wherever_it_stands(made):
    net, *plant = made()
    assert plant in [[f.verdict, f.where] for f in nets.checked(net).findings]


@pytest.mark.long
def test_two_sigmoid_layers_that_learn_have_no_finding():
    """At four times Glorot's scale, which the check-up takes for a sigmoid's."""
    for seed in (1508, 1513, 1522):
        net, findings, learns = nets.trained(seed)
        assert learns
        assert findings == []
