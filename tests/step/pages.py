"""Graphs for the tests of the page, each a page in a browser when asked for."""

import json
import math
import random
import re
import struct

import pytest

import microgradx as mx
from microgradx import Value, nn, page
from microgradx._base.text import name_of
from microgradx.engine import order
from microgradx.pictures.style import BLUES
from microgradx.step.moments import Moment, Timeline
from tests.explain.test_paths import random_graph

HOSTILE = [
    "</script><img src=x onerror=document.title='owned'>",
    '"><svg onload="document.title=\'owned\'">',
    "<!--<script>document.title='owned'</script>",
    "]]></style><iframe srcdoc=x>",
    "{{data}} {{svg}} {{script}} $& \\1",
    "\\N \\G \\n &lt;b&gt; &#92;",
    "line\u2028separator\u2029\r\n\ttab",
    "\x00\x01\x1b[31m\x7f\u202eevil\ud800",
    "x" * 10_000,
]


def neuron():
    """The lecture's neuron; x2 = 0 stops w2's gradient."""
    x1, x2 = Value(2.0, "x1"), Value(0.0, "x2")
    w1, w2, b = Value(-3.0, "w1"), Value(1.0, "w2"), Value(6.8813735870195432, "b")
    o = (x1 * w1 + x2 * w2 + b).tanh()
    o.label = "o"
    return o


def hostile():
    result = Value(1.0, "out")
    for i, label in enumerate(HOSTILE):
        result = result * Value(1.0 + i / 8, label)
        result.label = label
    return result


def square():
    x = Value(3.0, "x")
    return x * x + x


def rows():
    xs = [Value(0.1 * i, f"x{i}") for i in range(5)]
    ws = [Value(1.0 - 0.3 * i, f"w{i}") for i in range(5)]
    return mx.logsumexp([mx.dot(ws, xs, Value(0.5, "b")), mx.sum(xs), mx.mean(ws), xs[0]])


def spoilt():
    x, y = Value(math.inf, "x"), Value(0.0, "y")
    return (x * y + Value(2.0, "u") * x).tanh() + y + Value(-math.inf, "v")


def detached():
    x = Value(0.2, "x")
    y = x * 3.0
    y.label = "y"
    return (y.detach() * x + (Value(1.0, "lost") * 2.0).detach()).tanh()


def shades():
    """Gradients of as many decades as there are shades, and one of 0."""
    h = Value(1.0, "x")
    for i in range(len(BLUES) - 1):
        h = h * 0.1
        h.label = f"h{i}"
    return h + (Value(-1.0, "off").relu() * Value(1.0, "w"))


def fan_out():
    """x.grad is 0.123 before it is 1: what was widest is not what is final."""
    x = Value(2.0, "x")
    return x * 0.123 + x * 0.877


def dead():
    """A classifier of the flowers, one of whose ReLUs is off."""
    model = nn.MLP(4, [3, 3], seed=3)
    model.layers[0].neurons[0].bias.data = -20.0
    names = ["sepal length", "sepal width", "petal length", "petal width"]
    inputs = [Value(x, name) for x, name in zip([7.7, 2.6, 6.9, 2.3], names)]
    loss = nn.cross_entropy(model(inputs), 2)
    loss.label = "loss"
    return loss


def many():
    """About 300 nodes, each drawn by itself."""
    return mx.sum([Value(0.01 * i, f"a{i}").tanh() for i in range(149)])


def network(width=15):
    """More than 300 nodes, folded; an input is read by folds and by single nodes."""
    random.seed(1)
    xs = [Value(x, f"x{i}") for i, x in enumerate([1.0, 0.5, -1.0])]
    return nn.MLP(3, [width, width, 1])(xs)


GRAPHS = {
    "neuron": neuron,
    "square": square,
    "rows": rows,
    "spoilt": spoilt,
    "detached": detached,
    "shades": shades,
    "hostile": hostile,
    "leaf": lambda: Value(3.0, "leaf"),
    "tiny": lambda: Value(1e-300, "x") * Value(1e-20, "y") * 1e308,
    **{f"random{seed}": lambda seed=seed: random_graph(seed, 20) for seed in range(3)},
}


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def bits(x):
    return struct.pack("<d", x)


def data_of(text):
    return json.loads(re.search(r' id="data">(.*?)</script>', text)[1])


def swept(output):
    """The grads after a backward() of a graph that had none, by node."""
    for node in order(output):
        node.grad = 0.0
    output.backward()
    return {node: node.grad for node in order(output)}


class Told(Timeline):
    """The moments as a page has them: the first gives all leaves, which the others follow."""

    def __init__(self, output):
        super().__init__(output)
        made = [moment for moment in self.moments[: self.turn] if moment.node.rule]
        self.given = [node for node in self.nodes if node.rule is None]
        shift = self.turn - len(made) - 1
        self.moments = [Moment(self.given[0]), *made, *self.moments[self.turn :]]
        self.turn -= shift
        self.along = {edge: k - shift for edge, k in self.along.items()}
        self.growth = {node: [k - shift for k in ks] for node, ks in self.growth.items()}
        self.born = {moment.node: k for k, moment in enumerate(self.moments[: self.turn])}
        self.born.update(dict.fromkeys(self.given, 0))


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """The page of each graph, written when first asked for; with its output."""
    folder, known = tmp_path_factory.mktemp("pages"), {}

    def save(name, make=None, **options):
        if name not in known:
            output = (make or GRAPHS[name])()
            known[name] = page(output, **options).save(folder / f"{name}.html"), output
        return known[name]

    return save


@pytest.fixture
def at(open_page, saved):
    """at(name) is the page of that graph, opened; more options are the browser's."""

    def at(name, make=None, visit="", save_options=(), **options):
        path, output = saved(name, make, **dict(save_options))
        it = open_page(**options)
        it.goto(path.as_uri() + (visit if isinstance(visit, str) else f"#visit={visit}"))
        it.output, it.told = output, Told(output)
        return it

    return at


def now(it):
    """The moment that the page shows, by its slider, and by its counter beside it."""
    value, end, count = it.evaluate("""() => [...["value", "max"].map((x) =>
      Number(document.getElementById("slider")[x])), document.getElementById("count").innerText]""")
    assert count == f"{value} / {end}"
    return value


def last(it):
    return int(it.locator("#slider").get_attribute("max"))


def node(it, name):
    """The node of that name in the picture."""
    index = [name_of(x) for x in it.told.nodes].index(name)
    return it.locator(f"#n{index}"), it.told.final(it.told.nodes[index])


def each_moment(it, what):
    """The results of the JavaScript function `what` at every moment, by way of the slider."""
    return it.evaluate(f"""() => {{
      const slider = document.getElementById("slider"), found = [], what = {what};
      for (let k = 0; k <= slider.max; k++) {{
        slider.value = k;
        slider.dispatchEvent(new Event("input"));
        found.push(what(k));
      }}
      return found;
    }}""")


GRADS = "() => [...document.querySelectorAll('td[data-grad]')].map((cell) => cell.dataset.grad)"
