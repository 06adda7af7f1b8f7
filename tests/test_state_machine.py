"""All that a user does, in any order, beside a plain model of what the engine promises.

The model is a list of nodes: op, operands by number, data, partials as they were when the node was
made, grad. Its numbers are small whole ones, so that every sum is exact and compared as it is.
"""

import collections
import copy
import itertools
import threading

import pytest

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import microgradx as mx
from microgradx.engine import Value
from tests.interrupting import interrupted

LARGEST = 1000.0  # of a node that others may be made of
OPS = {  # by name, the op and its value and partials, in plain numbers
    "add": (lambda x, y: x + y, lambda x, y: (x + y, (1, 1))),
    "mul": (lambda x, y: x * y, lambda x, y: (x * y, (y, x))),
    "neg": (lambda x, y: -x, lambda x, y: (-x, (-1, None))),
    "relu": (lambda x, y: x.relu(), lambda x, y: (max(x, 0), (1 if x > 0 else 0, None))),
    "abs": (lambda x, y: abs(x), lambda x, y: (abs(x), ((x > 0) - (x < 0), None))),
    "detach": (lambda x, y: x.detach(), lambda x, y: (x, (None, None))),
    "where": (
        lambda x, y: mx.where(x, y, 5.0),
        lambda x, y: (y, (None, 1)) if x > 0 else (5, (None, None)),
    ),
    "dot": (
        lambda x, y: mx.dot([x, y], [y, 2.0], x),
        lambda x, y: (x * y + 2 * y + x, (y + 1, x + 2)),
    ),
}
Node = collections.namedtuple("Node", "inputs partials")


class User(RuleBasedStateMachine):
    """`values` are the engine's, and the lists beside it the model's."""

    def __init__(self):
        super().__init__()
        self.values, self.nodes, self.data, self.grads = [], [], [], []
        self.leaf(2)
        self.leaf(-3)

    def add(self, value, node, data, grad=0.0):
        self.values.append(value)
        self.nodes.append(node)
        self.data.append(float(data))
        self.grads.append(grad)

    def pick(self, k, small=False):
        """A node by any number."""
        fit = [i for i, x in enumerate(self.data) if not small or abs(x) <= LARGEST]
        return fit[k % len(fit)] if fit else 0

    # --- the model's sweep ---

    def reached(self, output):
        """The nodes that a sweep visits, and the adjoint of each."""
        adjoints = {output: 1.0}
        for i in range(output, -1, -1):
            if i in adjoints:
                for j, d in zip(self.nodes[i].inputs, self.nodes[i].partials):
                    if d is not None:
                        adjoints[j] = adjoints.get(j, 0.0) + d * adjoints[i]
        return adjoints

    def visited(self, output):
        """All that the sweep of `output` may set, those that a where leaves among them."""
        found, stack = set(), [output]
        while stack:
            i = stack.pop()
            if i not in found:
                found.add(i)
                value = self.values[i]
                stack += [j for j in self.nodes[i].inputs
                          if any(self.values[j] is x for x in value.inputs)]  # fmt: skip
        return found

    def sweep(self, output):
        adjoints = self.reached(output)
        for i in self.visited(output):
            leaf = not self.nodes[i].inputs
            self.grads[i] = adjoints.get(i, 0.0) + (self.grads[i] if leaf else 0.0)

    # --- what a user does ---

    @rule(x=st.integers(-5, 5))
    def leaf(self, x):
        self.add(Value(x), Node((), ()), x)

    @rule(op=st.sampled_from(sorted(OPS)), a=st.integers(0, 99), b=st.integers(0, 99))
    def combine(self, op, a, b):
        a, b = self.pick(a, small=True), self.pick(b, small=True)
        ours, plain = OPS[op]
        data, partials = plain(self.data[a], self.data[b])
        value = ours(self.values[a], self.values[b])
        self.add(value, Node((a, b), partials), data)

    @rule(k=st.integers(0, 99))
    def backward(self, k):
        k = self.pick(k)
        self.values[k].backward()
        self.sweep(k)

    @rule(k=st.integers(0, 99))
    def step_through(self, k):
        k = self.pick(k)
        for _ in self.values[k].backward_steps():
            pass
        self.sweep(k)

    @rule(k=st.integers(0, 99), n=st.integers(1, 4))
    def step_half_way(self, k, n):
        k = self.pick(k)
        steps = self.values[k].backward_steps()
        taken = list(itertools.islice(steps, n))
        steps.close()
        self.sweep(k) if len(taken) < n else self.forget_interior(k)

    @rule(k=st.integers(0, 99), line=st.integers(1, 200))
    def interrupt(self, k, line):
        k = self.pick(k)
        if interrupted(self.values[k].backward, line):
            self.forget_interior(k)
        else:
            self.sweep(k)

    def forget_interior(self, output):
        """A sweep that was left off promises leaves alone: the rest is as it is found."""
        for i in self.visited(output):
            if self.nodes[i].inputs:
                self.grads[i] = self.values[i].grad

    @rule(k=st.integers(0, 99))
    def zero(self, k):
        k = self.pick(k)
        self.values[k].grad = self.grads[k] = 0.0

    @rule(k=st.integers(0, 99), x=st.integers(-5, 5))
    def assign(self, k, x):
        leaves = [i for i, node in enumerate(self.nodes) if not node.inputs]
        k = leaves[k % len(leaves)]
        self.values[k].data = x  # an int, which is kept as a float
        self.data[k] = float(x)

    @rule(k=st.integers(0, 99), x=st.sampled_from(["1", None, [1.0], 1j]))
    def assign_wrong(self, k, x):
        for name in ("data", "grad"):
            with pytest.raises(TypeError):
                setattr(self.values[self.pick(k)], name, x)

    @rule()
    def copy_all(self):
        self.values = copy.deepcopy(self.values)

    @rule(k=st.integers(0, 99), leaf=st.integers(0, 99))
    def ask(self, k, leaf):
        k, leaf = self.pick(k), self.pick(leaf)
        why = mx.why(self.values[leaf], self.values[k])
        wanted = self.reached(k).get(leaf, 0.0)
        assert str(why) and (why.flow.g if why.flow else 0.0) == wanted

    @rule(k=st.integers(0, 99))
    def lift(self, k):
        k = self.pick(k)
        leaves = [i for i in self.reached(k) if not self.nodes[i].inputs]
        fresh = all(self.data[i] == self.values[i].data for i in self.visited(k))
        if self.nodes[k].inputs and leaves and fresh and not self.stale(k):
            replay = mx.lift(self.values[k])
            assert replay() == self.data[k]
            places = {p: n for n, p in enumerate(replay.parameters)}
            wanted = self.reached(k)
            for i in leaves:
                assert replay.gradient[places[self.values[i]]] == wanted[i]

    def stale(self, output):
        """Whether a leaf behind it was assigned to since: a replay reads the new number."""
        again = {}
        for i, node in enumerate(self.nodes[: output + 1]):
            again[i] = self.data[i]
            if node.inputs:
                made = OPS[self.values[i].op][1](*[again[j] for j in node.inputs])
                if made != (self.data[i], node.partials):
                    return True
        return False

    @rule(a=st.integers(0, 99), b=st.integers(0, 99))
    def two_threads(self, a, b):
        """Each builds and sweeps a graph of its own, while the other does."""
        found = {}

        def work(name, x):
            leaf = Value(x)
            for _ in range(3):
                (leaf * leaf + leaf).backward()
            found[name] = leaf.grad

        threads = [threading.Thread(target=work, args=x) for x in (("a", a), ("b", b))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {"a": 3.0 * (2 * a + 1), "b": 3.0 * (2 * b + 1)}

    @invariant()
    def all_is_as_the_model_says(self):
        assert [x.data for x in self.values] == self.data
        assert [x.grad for x in self.values] == self.grads
        assert {type(x.data) for x in self.values} | {type(x.grad) for x in self.values} == {float}
        assert all(x._readers == 0 for x in self.values)


def test_whatever_a_user_does_in_any_order_is_what_the_model_says(many):
    few = settings(
        max_examples=many(40, 3_000), stateful_step_count=many(25, 60), deadline=None,
        derandomize=True, suppress_health_check=list(HealthCheck), database=None,
    )  # fmt: skip
    run_state_machine_as_test(User, settings=few)
