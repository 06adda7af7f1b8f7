"""A stand-in for PyTorch where that is not installed: its protocol, and derivatives on NumPy.

A tensor's class is asked, by `__torch_function__`, before any function or property of it runs; so
it is in PyTorch. Everything else is the least that a few nets need.
"""

import types

import numpy as np


def dispatched(f, name=None):
    """A function that asks the classes of its tensors first."""

    def asked(*args, **named):
        flat = [a for x in args for a in (x if isinstance(x, (list, tuple)) else [x])]
        kinds = [type(a) for a in [*flat, *named.values()] if isinstance(a, Tensor)]
        other = next((k for k in kinds if k is not Tensor and k is not Parameter), None)
        if other is None:
            return f(*args, **named)
        return other.__torch_function__(asked, kinds, args, named)

    asked.__name__, asked.plain = name or f.__name__, f
    return asked


class Read:
    """A property that asks first; its getter is called `__get__`, as PyTorch's are."""

    def __init__(self, name, f):
        self.__name__, self.f = name, f

    def __get__(self, x, kind=None):
        if x is None:
            return self
        getter = types.SimpleNamespace(__name__="__get__", __self__=self, plain=self.f)
        if type(x) in (Tensor, Parameter):
            return self.f(x)
        return type(x).__torch_function__(getter, [type(x)], (x,), {})


class Tensor:
    def __init__(self, data, before=(), back=None):
        self.array, self.before, self.back, self.grad = np.asarray(data), before, back, None

    @classmethod
    def __torch_function__(cls, func, kinds, args=(), named=None):
        return func.plain(*args, **(named or {}))

    shape = Read("shape", lambda x: tuple(x.array.shape))
    ndim = Read("ndim", lambda x: x.array.ndim)
    dtype = Read("dtype", lambda x: x.array.dtype)
    requires_grad = Read("requires_grad", lambda x: True)

    def as_subclass(self, cls):
        found = object.__new__(cls)
        Tensor.__init__(found, self.array)
        return found

    def backward(self):
        order, seen = [], set()

        def visit(x):
            if id(x) not in seen:
                seen.add(id(x))
                for y in x.before:
                    visit(y)
                order.append(x)

        visit(self)
        for x in order:
            x.grad = Tensor(np.zeros(x.array.shape))
        self.grad = Tensor(np.ones(()))
        for x in reversed(order):
            for y, g in zip(x.before, x.back(x.grad.array) if x.back else ()):
                extra = g.ndim - y.array.ndim
                g = g.sum(tuple(range(extra)))
                y.grad = Tensor(y.grad.array + g)

    def requires_grad_(self, on):
        return self

    def __len__(self):
        return len(self.array)


def method(f):
    setattr(Tensor, f.__name__, dispatched(f))


METHODS = {
    "numel": lambda x: x.array.size,
    "detach": lambda x: x,
    "cpu": lambda x: x,
    "double": lambda x: Tensor(x.array.astype(float)),
    "numpy": lambda x: x.array,
    "is_floating_point": lambda x: x.array.dtype.kind == "f",
}
for _name, _method in METHODS.items():
    setattr(Tensor, _name, dispatched(_method, _name))


class Parameter(Tensor):
    pass


def _of(x):
    return x if isinstance(x, Tensor) else Tensor(x)


@method
def __add__(x, y):
    x, y = _of(x), _of(y)
    return Tensor(x.array + y.array, (x, y), lambda g: (g, g))


@method
def __mul__(x, y):
    x, y = _of(x), _of(y)
    return Tensor(x.array * y.array, (x, y), lambda g: (g * y.array, g * x.array))


@method
def sum(x):
    return Tensor(x.array.sum(), (x,), lambda g: (g * np.ones(x.array.shape),))


@method
def exp(x):
    y = np.exp(x.array)
    return Tensor(y, (x,), lambda g: (g * y,))


@method
def erfinv(x):
    return x


@dispatched
def linear(x, weight, bias):
    return Tensor(
        x.array @ weight.array.T + bias.array,
        (x, weight, bias),
        lambda g: (g @ weight.array, g.T @ x.array, g),
    )


@dispatched
def relu(x):
    return Tensor(np.maximum(x.array, 0), (x,), lambda g: (g * (x.array > 0),))


@dispatched
def tanh(x):
    y = np.tanh(x.array)
    return Tensor(y, (x,), lambda g: (g * (1 - y * y),))


class Module:
    training = True

    def __init__(self):
        self.__dict__.update(_parameters={}, _buffers={}, _modules={})

    def __setattr__(self, name, x):
        kinds = ((Parameter, "_parameters"), (Module, "_modules"))
        slot = next((slot for kind, slot in kinds if isinstance(x, kind)), None)
        (vars(self)[slot] if slot else vars(self))[name] = x

    def __getattr__(self, name):
        for slot in ("_parameters", "_modules"):
            if name in vars(self).get(slot, {}):
                return vars(self)[slot][name]
        raise AttributeError(name)

    def __call__(self, x):
        return self.forward(x)

    def named_modules(self, path=""):
        yield path, self
        for name, m in self._modules.items():
            yield from m.named_modules(f"{path}.{name}" if path else name)

    def modules(self):
        return (m for _, m in self.named_modules())

    def named_parameters(self):
        for path, m in self.named_modules():
            for name, p in m._parameters.items():
                yield (f"{path}.{name}" if path else name), p

    def parameters(self, recurse=True):
        return (p for _, p in self.named_parameters()) if recurse else self._parameters.values()

    def named_buffers(self):
        return iter(())

    def state_dict(self):
        return dict(self.named_parameters())

    def cpu(self):
        return self

    def double(self):
        for p in self.parameters():
            p.array = p.array.astype(float)
        return self

    def eval(self):
        for m in self.modules():
            vars(m)["training"] = False
        return self

    def extra_repr(self):
        return ""


class Linear(Module):
    def __init__(self, nin, nout):
        super().__init__()
        self.in_features = nin
        rng = np.random.default_rng(nin + 7 * nout)
        self.weight = Parameter(rng.normal(size=(nout, nin)))
        self.bias = Parameter(rng.normal(size=nout))

    def forward(self, x):
        return linear(x, self.weight, self.bias)


class no_grad:
    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


def module():
    """The stand-in as a module called torch."""
    made = types.ModuleType("torch")
    made.__file__ = __file__
    made.Tensor, made.relu, made.tanh, made.no_grad = Tensor, relu, tanh, no_grad
    made.nn = types.SimpleNamespace(Module=Module, Linear=Linear)
    made.jit = types.SimpleNamespace()
    made.float64 = np.dtype(float)
    made.as_tensor = lambda x, dtype=None: Tensor(np.asarray(x, dtype))
    made.empty = lambda sizes, dtype=None: Tensor(np.empty(sizes))
    return made


for _kind in (Module, Linear, Tensor, Parameter):
    _kind.__module__ = "torch.standin"
