"""PyTorch's nets, adopted: outputs and gradients to 1e-12 of PyTorch's own, by its own names."""

import copy
import re

import numpy as np
import pytest

import microgradx as mx
from microgradx._base.arguments import flat
from microgradx.nn.module import tensors

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from tests.interop import torch_nets  # noqa: E402


def own_gradients(model, X):
    """The gradient of the mean over rows of the sum of all outputs, by tensor, from a replay."""
    ones = [1.0] * model.predict(X[:1]).size
    replay = mx.record(lambda x: mx.dot(list(flat(model(x))), ones), X[0])
    replay(X)
    by_parameter = dict(zip(replay.parameters, replay.gradient))
    return {
        name: np.reshape([by_parameter.get(p, 0.0) for p in flat(tensor)], np.shape(tensor))
        for name, tensor in tensors(model)
    }


def digits(model):
    """The figure in "agrees with PyTorch to 6e-16"."""
    found = re.search(r"agrees with PyTorch (?:to (\S+?)|exactly)(,|$)", model.agreement)
    return float(found[1] or 0.0)


NETS = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "LeNet" else [])
    for name in (*torch_nets.SIX, *torch_nets.OTHERS)
]


@pytest.mark.parametrize("name", NETS)
def test_outputs_and_gradients_are_pytorchs(name):
    net, X = torch_nets.build(name)
    model = mx.adopt(net, example=X)
    assert digits(model) < 1e-12
    source = copy.deepcopy(net).double().eval()
    outputs = source(torch.as_tensor(X))
    (outputs.sum() / len(X)).backward()
    assert np.abs(model.predict(X) - outputs.detach().numpy()).max() < 1e-12
    own = own_gradients(model, X)
    for name, p in source.named_parameters():
        assert np.abs(own[name] - p.grad.numpy()).max() < 1e-12, name


@pytest.mark.parametrize("name", NETS)
def test_the_state_dicts_are_each_others(name):
    net, X = torch_nets.build(name)
    model = mx.adopt(net, example=X[:2])
    source = copy.deepcopy(net).double().eval()
    other = {k: v * 1.25 if v.is_floating_point() else v for k, v in source.state_dict().items()}
    assert list(model.state_dict()) == list(other) or set(model.state_dict()) == set(other)
    model.load_state_dict(other)
    source.load_state_dict(other)
    want = source(torch.as_tensor(X[:3])).detach().numpy()
    assert np.abs(model.predict(X[:3]) - want).max() < 1e-12


ALONE = [
    "F.gelu(x)", "F.gelu(x, approximate='tanh')", "F.softplus(x, beta=2)", "F.leaky_relu(x, 0.2)",
    "F.elu(x, 0.5)", "F.celu(x, 0.5)", "F.selu(x)", "F.mish(x)", "F.silu(x)", "F.hardtanh(x)",
    "F.relu6(4 * x)", "F.hardswish(3 * x)", "F.softsign(x)", "F.logsigmoid(x)", "F.tanhshrink(x)",
    "F.softshrink(x)", "F.threshold(x, 0.1, 3.0)", "F.glu(x)", "x.clamp(-0.2, 0.3)",
    "x.clamp(min=0)", "torch.clip(x, max=0.1)", "x.sin()", "x.cos()", "(x * x + 1).log()",
    "(x * x + 1).rsqrt()", "(x.abs() + 1).reciprocal()", "x.square().log1p()",
    "(x ** 2 + 1) ** 0.5", "2.0 ** x", "torch.pow(x, 3)", "1 - x / 3", "2 / (x + 9)",
    "x.sub(x.mean(1, keepdim=True), alpha=2)", "torch.add(x, x, alpha=3)", "-x + 1",
    "torch.maximum(x, x.roll(1, 1))", "torch.minimum(x, x.flip(1))", "x.max(1)[0][:, None]",
    "x.amin(1, True)", "x.amax(dim=1)[:, None]", "x.var(1, keepdim=True)",
    "x.std(dim=1, unbiased=False)[:, None]", "x.logsumexp(1, True)",
    "torch.where(x > 0, x, 0.1 * x)", "(x >= 0) * x + (x < 0) * x.exp() + (x <= 0) * 2",
    "F.softmax(x, 1)", "F.log_softmax(x, dim=-1)", "F.softmin(x, dim=1)", "x @ self.fc.weight",
    "torch.matmul(x, self.fc.weight.t()) + self.fc.bias",
    "torch.addmm(self.fc.bias, x, self.fc.weight)", "torch.einsum('ni,oi->no', x, self.fc.weight)",
    "torch.einsum('ni,oi->n', x, self.fc.weight)[:, None]",
    "torch.einsum('nhi,nhj->nij', x.view(-1, 2, 2), x.view(-1, 2, 2)).flatten(1)",
    "torch.bmm(x.view(-1, 2, 2), x.view(-1, 2, 2)).view(x.shape[0], -1)",
    "F.linear(x, self.fc.weight * self.fc.weight)", "F.rms_norm(x, (4,))", "F.layer_norm(x, (4,))",
    "F.group_norm(x[..., None], 2, eps=0.1).squeeze(-1)", "x.unflatten(1, (2, 2)).mT.flatten(1)",
    "torch.cat([x, 2 * x], dim=1)", "torch.stack([x, x.exp()], 1).sum((1, 2))[:, None]",
    "x.chunk(2, dim=1)[1]", "x.split([1, 3], 1)[1]", "x.split(3, dim=1)[1]",
    "x.unbind(1)[2][:, None]", "x.narrow(1, 1, 2)", "x.select(1, 2).unsqueeze(-1)", "x[:, [2, 0]]",
    "x[..., None].expand(-1, -1, 3)", "x.repeat(1, 2)", "x.index_select(1, torch.tensor([3, 1]))",
    "F.pad(x, (1, 2))", "x[:, None].expand(-1, 3, -1).tril(-1)",
    "x.masked_fill(torch.tensor([True, False, True, False]), 2.5)", "torch.triu(x[:, None] * 1.0)",
    "x + torch.zeros_like(x) + x.new_ones(4)", "x.detach() * x", "F.dropout(x, 0.5, self.training)",
    "F.relu(x, inplace=True)", "x.movedim(1, 0).transpose(0, 1)", "x.permute(1, 0).permute([1, 0])",
    "F.scaled_dot_product_attention(*[x.view(-1, 2, 2)] * 3, is_causal=True)",
    "F.adaptive_avg_pool1d(x[:, None], 3)", "F.avg_pool1d(x[:, None], 3, 1, 1)",
    "F.max_pool1d(x[:, None], 2, padding=1)", "F.prelu(x, self.fc.bias)", "x.to(torch.float64)",
    "sum(torch.unbind(x, 1))[:, None]", "sum(v for v in x.t())[:, None]", "x.reshape(len(x), -1)",
]  # fmt: skip


class One(nn.Module):
    """A linear layer, and one line of Python behind it."""

    def __init__(self, line):
        super().__init__()
        self.fc, self.line = nn.Linear(4, 4), line

    def forward(self, x):
        return eval(self.line, {"F": F, "torch": torch}, {"x": self.fc(x), "self": self})


@pytest.mark.parametrize("line", ALONE)
def test_each_function_is_pytorchs(line):
    torch.manual_seed(1)
    assert digits(mx.adopt(One(line))) < 1e-12


def test_what_a_user_sees():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    model = mx.adopt(net)
    assert re.fullmatch(
        r"<Sequential of 19 parameters, agrees with PyTorch to \de-1[67], as float32 it rounds to "
        r"\de-0[78]>",
        repr(model),
    )
    tree = str(model).splitlines()
    assert tree[0].startswith("Sequential   agrees with PyTorch to ")
    assert tree[1].startswith("  0: Linear  in_features=4, out_features=3, bias=True")
    assert [name for name, _ in model.named_parameters()][:2] == ["0.weight[0,0]", "0.weight[0,1]"]
    assert isinstance(model([1, 2, 3, 4]), mx.Value)
    assert model.predict(np.zeros((2, 4))).shape == (2,)


def test_neurons_have_the_labels_of_nn():
    torch.manual_seed(0)
    model = mx.adopt(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    outputs = model([1.0, 2.0, 3.0, 4.0])
    labels = {node.label for node in mx.engine.order(*outputs) if node.rule}
    want = {f"0[{k}]{end}" for k in range(3) for end in ("", ".z")}
    assert labels == want | {"2[0]", "2[1]"}
    with torch.no_grad():
        net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
        net[0].weight.fill_(1.0), net[0].bias.fill_(-2.0)
    dead = mx.adopt(net)
    answer = str(mx.why(dead.parameters()[0], dead([1.0])))
    assert "relu off" in answer and "0[0].z = -1" in answer


def test_positions_and_time_steps_are_an_index_in_front():
    for name, label in (("RNN", "cell[4,3].z"), ("nn.RNN", "rnn[0,3].z"), ("nn.LSTM", "rnn[1,2]"),
                        ("transformer", "up[3,7].z"), ("convolution", "conv1[5,4,2].z"),
                        ("nn.LSTM of 2, both ways", "rnn.l1_reverse[2,3]")):  # fmt: skip
        net, X = torch_nets.build(name)
        nodes = mx.engine.order(*flat(mx.adopt(net, example=X)(X[0])))
        labels = [node.label for node in nodes if node.rule and node.label]
        assert label in labels and len({*labels}) == len(labels), name


def test_the_source_is_left_as_it_is():
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    mx.adopt(net)
    assert net.training and all(p.grad is None for p in net.parameters())
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert net[0].weight.dtype == torch.float32


def test_it_trains_in_copies_and_saves(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    model = mx.adopt(net)
    twin = copy.deepcopy(model)
    X = np.random.default_rng(0).normal(size=(32, 2))
    y = X[:, 0] * X[:, 1]
    before = model.predict(X)
    mx.fit(twin, X, y, loss="mse", epochs=3, seed=1)
    assert np.array_equal(model.predict(X), before)
    assert np.abs(twin.predict(X) - before).max() > 1e-4
    model.load(twin.save(tmp_path / "weights.npz"))
    assert np.array_equal(model.predict(X), twin.predict(X))


def test_words_by_index_and_half_precision():
    torch.manual_seed(0)
    words = np.random.default_rng(0).integers(0, 7, (8, 5))
    model = mx.adopt(torch_nets.Words(), example=words)
    assert digits(model) < 1e-12
    want = copy.deepcopy(model)
    assert np.array_equal(want.predict(words[:3]), model.predict(words[:3]))
    for kind in (torch.float16, torch.bfloat16):
        half = mx.adopt(nn.Sequential(nn.Linear(3, 3), nn.Tanh()).to(kind))
        assert digits(half) < 1e-12 and f"as {str(kind)[6:]} it rounds to" in half.agreement


def test_a_net_that_magnifies_rounding_is_adopted_and_says_so():
    torch.manual_seed(0)
    net = nn.Sequential(*[m for _ in range(8) for m in (nn.Linear(6, 6), nn.SiLU())])
    with torch.no_grad():
        for p in net.parameters():
            p *= 30.0
        net[-2].weight /= 1e10
        net[-2].bias.fill_(-1.0)
    assert mx.adopt(net).agreement.startswith("agrees with PyTorch to ")


def _hooked():
    net = nn.Linear(4, 3)
    net.register_forward_hook(lambda *_: None)
    return nn.Sequential(net)


def _assigned(line):
    return lambda: mx.adopt(One(line))


class Two(nn.Linear):
    def forward(self, x, y):
        return super().forward(x + y)


class Kept(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.fc, self.f = nn.Linear(4, 4), f

    def forward(self, x):
        return self.f(self.fc(x))


def _branch(y):
    return y if y.sum() > 0 else -y  # LINE


def _assign(y):
    found = torch.zeros(y.shape[0], 4)
    found[:, 0] = y[:, 0]
    return found


REFUSED = {
    "a function": (lambda: mx.adopt(One("torch.erfinv(x)")), TypeError,
                   r"erfinv is not supported on Values, <string>:1.*supported are T, abs, "),
    "its line": (lambda: mx.adopt(Kept(_branch)), TypeError,
                 rf"__bool__ is not supported on Values, .*test_pytorch.py:"
                 rf"{_branch.__code__.co_firstlineno + 1} in the net \(Kept\)"),
    "its module": (lambda: mx.adopt(nn.Sequential(nn.Linear(4, 4), nn.RReLU())), TypeError,
                   r"rrelu is not.*in 1 \(RReLU\); supported are"),
    "numpy": (_assigned("torch.tensor(x.detach().numpy())"), TypeError, "numpy is not supported"),
    "item": (_assigned("x * x.mean().item()"), TypeError, "item is not supported"),
    "assigned": (lambda: mx.adopt(Kept(_assign)), TypeError, "can't hold Values"),
    "an option": (_assigned("F.max_pool1d(x[:, None], 3, ceil_mode=True)"), TypeError, "ceil_mode"),
    "hooks": (lambda: mx.adopt(_hooked()), ValueError, r"hooks stand at 0,.*handle\.remove"),
    "two inputs": (lambda: mx.adopt(Two(4, 3)), TypeError, r"takes 2 inputs \(x, y\)"),
    "no example": (lambda: mx.adopt(nn.Conv2d(1, 2, 3)), TypeError, r"example=X\[:8\]"),
    "wrong width": (lambda: mx.adopt(nn.Linear(4, 3), np.ones((8, 5))), ValueError, r"\(8, 5\)"),
    "one sample": (lambda: mx.adopt(nn.Linear(4, 3), np.ones(4)), ValueError, r"X\[:8\]"),
    "nan": (lambda: mx.adopt(nn.Linear(1, 3), [[float("nan")]]), ValueError, "nan"),
    "strings": (lambda: mx.adopt(nn.Linear(1, 3), [["a"]]), TypeError, "numbers"),
    "no rows": (lambda: mx.adopt(nn.Linear(1, 3), np.ones((0, 1))), ValueError, "empty"),
    "a ragged example": (lambda: mx.adopt(nn.Linear(1, 3), [[1.0], [2.0, 3.0]]), ValueError,
                         "ragged"),
    "large": (lambda: mx.adopt(nn.Sequential(nn.Linear(2000, 1000), nn.Linear(1000, 1))),
              ValueError, r"2,002,001 parameters.*adopt\(model\.1, example=…\)"),
    "a large layer": (lambda: mx.adopt(nn.Conv2d(1, 8, 3, padding=1), np.ones((1, 1, 400, 400))),
                      ValueError, "1,280,000 nodes"),
    "rows that mix": (_assigned("x - x.mean(0)"), ValueError, r"differs from PyTorch by .*rows of"),
    "a wrong gradient": (_assigned("x * torch.no_grad()(torch.exp)(x)"), ValueError, "differs"),
    "time first": (lambda: mx.adopt(nn.LSTM(4, 3), torch_nets.rows(5, 4)), ValueError,
                   "batch_first"),
    "no memory": (lambda: mx.adopt(nn.Linear(4, 3, device="meta")), ValueError, "meta"),
    "no statistics": (lambda: mx.adopt(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(
        2, track_running_stats=False))), TypeError, "mix the rows"),
    "a script": (lambda: mx.adopt(torch.jit.script(nn.Linear(4, 3))), TypeError, "scripted"),
    "a tensor": (lambda: mx.adopt(torch.ones(3)), TypeError, "torch.nn.Module, got Tensor"),
    "a state dict": (lambda: mx.adopt(nn.Linear(4, 3).state_dict()), TypeError, "OrderedDict"),
    "a class": (lambda: mx.adopt(nn.Linear), TypeError, "got a type"),
    "a batch": (lambda: mx.adopt(nn.Linear(4, 3))(np.ones((2, 4))), ValueError,
                r"one sample of the shape \(4,\), got \(2, 4\)"),
    "another weight": (lambda: setattr(mx.adopt(nn.Linear(4, 3)), "weight", [mx.Value(1.0)]),
                       TypeError, "load_state_dict"),
    "a missing name": (lambda: mx.adopt(nn.Linear(4, 3)).wieght, AttributeError, "'wieght'"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_bad_input_is_one_clear_error(what):
    call, kind, words = REFUSED[what]
    with pytest.raises(kind, match=words):
        call()


class Beside(nn.Module):
    """Tensors that no PyTorch list knows: a parameter again, and plain float32."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.again, self.plain = [{"w": self.fc.weight}], torch.randn(4, 2)

    def forward(self, x):
        return F.linear(self.fc(x), self.again[0]["w"]) @ self.plain


def test_tensors_that_a_module_holds_elsewhere_are_found():
    torch.manual_seed(0)
    model = mx.adopt(Beside(), example=np.ones((2, 4)))
    assert digits(model) < 1e-14 and len(model.parameters()) == 20


class Shifted(nn.Module):
    """A parameter whose gradient is 0 but for rounding: a softmax doesn't see it."""

    def __init__(self):
        super().__init__()
        self.fc, self.shift = nn.Linear(4, 4), nn.Parameter(torch.ones(1))

    def forward(self, x):
        return F.softmax(self.fc(x) + self.shift, dim=1)


def test_a_gradient_that_is_only_rounding_has_no_digits_to_agree():
    torch.manual_seed(0)
    assert digits(mx.adopt(Shifted(), example=torch_nets.rows(4))) < 1e-12


def test_softplus_is_exact_where_pytorch_rounds_it():
    net = nn.Sequential(nn.Linear(1, 1), nn.Softplus())
    with torch.no_grad():
        net[0].weight.fill_(1.0), net[0].bias.fill_(0.0)
    model = mx.adopt(net, example=[[21.0]])
    assert model([21.0]).data - 21.0 == pytest.approx(np.exp(-21.0), rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_weights_under_a_norm_are_computed():
    from torch.nn.utils.parametrizations import weight_norm

    model = mx.adopt(nn.Sequential(weight_norm(nn.Linear(4, 3)), nn.Tanh()))
    assert digits(model) < 1e-12
    assert "0.parametrizations.weight.original1[0,0]" in dict(model.named_parameters())
