"""The optimisers against PyTorch's formulas, written in NumPy, and against PyTorch itself."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from microgradx.engine import Value
from microgradx.nn import MLP
from microgradx.optim import SGD, Adam

START = [1.0, -2.0, 0.5]

# Made with torch==2.13.0 by, for each row,
#     p = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
#     optimizer = getattr(torch.optim, name)([p], **options)
#     for t in range(5):
#         optimizer.zero_grad()
#         (torch.sin(p).sum() + 0.1 * (t + 1) * (p**2).sum()).backward()
#         optimizer.step()
#     print(p.tolist())
FROM_TORCH = [
    (SGD, {"lr": 0.1},
     [0.43726781529081993, -1.3819992430585928, -0.03861664078788672]),
    (SGD, {"lr": 0.1, "momentum": 0.9},
     [-0.311907631517553, -0.6997189497501823, -0.7956623560120015]),
    (SGD, {"lr": 0.1, "weight_decay": 0.05},
     [0.4179526283478811, -1.3519372924924862, -0.0446512939064563]),
    (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05},
     [-0.3591301364445578, -0.628486856288581, -0.8077499045986797]),
    (Adam, {},
     [0.9949929768704641, -1.9950393950302587, 0.494978130493413]),
    (Adam, {"lr": 0.1},
     [0.4993474333129504, -1.4994973520213055, -0.0012893336189990223]),
    (Adam, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-4},
     [0.4946783245271622, -1.494626500575744, -0.0023230460583450185]),
    (Adam, {"lr": 0.1, "weight_decay": 0.05},
     [0.4989709112923152, -1.498899497250907, -0.0011631114467515746]),
]  # fmt: skip

# Likewise after 100 steps, with lr / 50: the objective stiffens with t.
A_HUNDRED_FROM_TORCH = [
    [0.07199935405310252, -0.2957029545817612, 0.002375110125734058],
    [-0.04395537497356651, -0.058542782230583124, -0.04629652834971349],
    [0.07080430404788328, -0.293202847426872, 0.0019060831627548533],
    [-0.04373649726277722, -0.058549352664784046, -0.046176874354710254],
    [0.9973409694506589, -1.9973255389916726, 0.4974032331497259],
    [0.7399679891944282, -1.7353591915495006, 0.253990049090813],
    [0.7674821200465582, -1.7647830175938959, 0.27542169951911477],
    [0.7402313902646166, -1.7355737777153095, 0.2542487068939822],
]

each_case = pytest.mark.parametrize("kind, options, expected", FROM_TORCH)


def objective(parameters, t):
    """Σ sin p + (t + 1)/10 · Σ p²"""
    terms = [p.sin() + 0.1 * (t + 1) * p**2 for p in parameters]
    return terms[0] + terms[1] + terms[2]


def run(kind, options, steps):
    parameters = [Value(x) for x in START]
    optimizer = kind(parameters, **({"lr": 1e-3} | options))
    for t in range(steps):
        optimizer.zero_grad()
        objective(parameters, t).backward()
        optimizer.step()
    return [p.data for p in parameters]


def in_numpy(kind, options, steps):
    """The same, with the optimisers as their papers write them."""
    o = {"lr": 1e-3, "momentum": 0, "weight_decay": 0, "betas": (0.9, 0.999), "eps": 1e-8} | options
    p = np.array(START)
    m = v = np.zeros(3)
    for t in range(steps):
        g = np.cos(p) + 0.2 * (t + 1) * p + o["weight_decay"] * p
        if kind is SGD:
            m = o["momentum"] * m + g
            p = p - o["lr"] * m
        else:
            beta1, beta2 = o["betas"]
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            m_hat, v_hat = m / (1 - beta1 ** (t + 1)), v / (1 - beta2 ** (t + 1))
            p = p - o["lr"] * m_hat / (np.sqrt(v_hat) + o["eps"])
    return p


@each_case
def test_five_steps_are_pytorchs(kind, options, expected):
    assert run(kind, options, 5) == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("case, expected", list(zip(FROM_TORCH, A_HUNDRED_FROM_TORCH)))
def test_a_hundred_steps_are_pytorchs(case, expected):
    kind, options, _ = case
    options = options | {"lr": options.get("lr", 0.001) / 50}
    assert run(kind, options, 100) == pytest.approx(expected, rel=0, abs=1e-12)


@each_case
def test_a_hundred_steps_are_those_of_the_formula(kind, options, expected):
    options = options | {"lr": options.get("lr", 0.001) / 50}
    reference = in_numpy(kind, options, 100)
    assert run(kind, options, 100) == pytest.approx(reference, rel=0, abs=1e-12)


@each_case
def test_arrays_move_as_numbers_do_and_in_place(kind, options, expected):
    flat = SimpleNamespace(data=np.array(START), grad=np.zeros(3))
    optimizer = kind([Value(x) for x in START], **({"lr": 1e-3} | options))
    state = {name: [np.zeros(3)] for name in optimizer.state}
    data = flat.data
    for t in range(5):
        flat.grad[:] = np.cos(data) + 0.2 * (t + 1) * data
        optimizer.move(np, [flat], state)
    assert flat.data is data
    assert data.tolist() == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("kind, kept", [(SGD, ["velocity"]), (Adam, ["means", "squares"])])
def test_the_state_has_a_number_for_each_parameter(kind, kept):
    optimizer = kind([Value(1.0), Value(2.0)], lr=0.1)
    assert optimizer.state == {name: [0.0, 0.0] for name in kept}


@each_case
def test_a_hundred_steps_of_a_network_are_pytorchs(kind, options, expected):
    torch = pytest.importorskip("torch")
    model, xs, ys = MLP(2, [4, 1], "tanh", seed=3), [[0.5, -1.0], [1.5, 2.0]], [1.0, -1.0]
    twin = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    twin.double()
    state = {name: torch.tensor(x, dtype=torch.float64) for name, x in model.state_dict().items()}
    names = {"layers.0": "0", "layers.1": "2"}
    twin.load_state_dict({names[name[:8]] + name[8:]: x for name, x in state.items()})
    optimizer = kind(model.parameters(), **({"lr": 1e-3} | options))
    twin_optimizer = getattr(torch.optim, kind.__name__)(twin.parameters(), **options)
    for _ in range(100):
        optimizer.zero_grad()
        sum((model(x) - y) ** 2 for x, y in zip(xs, ys)).backward()
        optimizer.step()
        twin_optimizer.zero_grad()
        outputs = twin(torch.tensor(xs, dtype=torch.float64)).squeeze(1)
        ((outputs - torch.tensor(ys, dtype=torch.float64)) ** 2).sum().backward()
        twin_optimizer.step()
    twins = [x for p in twin.parameters() for x in p.detach().flatten().tolist()]
    assert [p.data for p in model.parameters()] == pytest.approx(twins, rel=0, abs=1e-12)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_lr_can_be_changed_between_steps_and_data_stays_a_float(kind):
    p = Value(1.0)
    optimizer = kind([p], lr=0.5)
    p.grad = 2.0
    optimizer.lr = 0
    optimizer.step()
    assert p.data == 1.0
    optimizer.lr = np.float64(0.25)
    optimizer.step()
    assert p.data == pytest.approx({SGD: 0.5, Adam: 0.75}[kind], rel=1e-8)
    assert type(p.data) is float


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_zero_grad_is_for_its_own_parameters(kind):
    p, q = Value(1.0), Value(1.0)
    p.grad = q.grad = 3.0
    kind((v for v in [p]), lr=0.1).zero_grad()
    assert (p.grad, q.grad) == (0.0, 3.0)


def test_adam_does_not_move_without_gradient_and_first_steps_by_lr_whatever_the_gradient():
    still, small, large = Value(1.0), Value(1.0), Value(1.0)
    small.grad, large.grad = 1e-3, -1e6
    Adam([still, small, large], lr=0.01).step()
    assert still.data == 1.0
    assert small.data == pytest.approx(0.99, abs=1e-6)
    assert large.data == pytest.approx(1.01, abs=1e-6)


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({"lr": -0.1}, ValueError, "lr must be at least 0 and finite, got -0.1"),
        ({"lr": math.nan}, ValueError, "lr must be at least 0 and finite, got nan"),
        ({"lr": math.inf}, ValueError, "lr must be at least 0 and finite, got inf"),
        ({"lr": "fast"}, TypeError, "got the str 'fast'"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be at least 0"),
        ({"parameters": []}, ValueError, "no parameters; pass model.parameters()"),
        ({"parameters": 3.0}, TypeError, "takes a list of Values, got a float"),
        ({"parameters": MLP(1, [1])}, TypeError, "takes a list of Values, got a MLP"),
        ({"parameters": [*MLP(1, [1]).named_parameters()]}, TypeError, "parameter 0 is a tuple"),
        ({"parameters": [Value(1.0) + 1.0]}, ValueError, "parameter 0 is computed"),
        ({"parameters": [Value(1.0)] * 2}, ValueError, "listed twice"),
    ],
)
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_bad_arguments_say_so(kind, options, error, text):
    arguments = {"parameters": [Value(1.0)], "lr": 0.1} | options
    with pytest.raises(error) as caught:
        kind(**arguments)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "kind, options, text",
    [
        (SGD, {"momentum": -0.9}, "momentum must be at least 0"),
        (Adam, {"betas": (1.0, 0.9)}, "betas[0] must be at least 0 and below 1, got 1.0"),
        (Adam, {"betas": (0.9, -0.1)}, "betas[1] must be at least 0 and below 1, got -0.1"),
        (Adam, {"eps": 0.0}, "eps must be above 0"),
        (Adam, {"eps": -1e-8}, "eps must be at least 0"),
    ],
)
def test_bad_options_say_so(kind, options, text):
    with pytest.raises(ValueError) as caught:
        kind([Value(1.0)], lr=0.1, **options)
    assert text in str(caught.value)


@pytest.mark.parametrize("betas", [0.9, (0.9,), (0.9, 0.99, 0.999), None])
def test_betas_are_two_numbers(betas):
    with pytest.raises(TypeError, match="betas are two numbers"):
        Adam([Value(1.0)], betas=betas)
