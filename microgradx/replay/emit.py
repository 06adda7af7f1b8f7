"""NumPy source of a program, meant to be read: a line a statement, its buffers made beforehand."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from microgradx.replay.adjoints import Adjoints
from microgradx.replay.arrays import WIDE, Array, Arrays
from microgradx.replay.statements import NUMBERS, comment, inside, module, shape_text, statement
from microgradx.replay.symbols import SHARE, WHOLE, Symbol
from microgradx.replay.views import Ids, Shape

# When something is computed: for a batch's size, for a rate, for a batch, in a step.
ONCE, RATE, BATCH, STEP = range(4)
STRAIGHT = re.compile(r"(\[\d+:\d+\])?(\.reshape\([^)]*\))?")  # a view without gaps
CALLED_BY_NAME = {"leaf", "view", "row", "full"}  # what no statement computes
NO_GAPS = {"dot", "dot_where"}  # these write into arrays without gaps alone
ELSEWHERE = {*NO_GAPS, "reduce", "take", "pull", "assemble"}  # and these not over what they read
# With an array in place of a number these are faster, or don't take a square root for ** 0.5.
FULL = {"maximum", "minimum", "power"}
STRIDED = {"dot", "dot_where", "view"}  # these read what lies sample by sample as fast
NESTED = 50  # calls in one expression; below that a part is written first, or Python's stack ends


class Writer:
    """The source of the buffers, and of the functions that fill them.

    statements: how many lines compute something
    """

    def __init__(self, arrays: Arrays, adjoints: Adjoints | None) -> None:
        self.arrays = arrays
        self.table = arrays.table
        self.adjoints = adjoints
        self.buffers: list[str] = []
        self.prepared: list[str] = []
        self.scaled: list[str] = []
        # by when they run; the last changes
        self._parts = [self.buffers, self.scaled, self.prepared, []]
        self._now = STEP  # the part that is being written
        self._texts: dict[Any, str] = {}  # by symbol or number, its name
        # by symbol, or by the name of a leaf
        self._when: dict[Any, int] = {SHARE: RATE, WHOLE: RATE, "n": ONCE}
        self._uses: Counter[Symbol] = Counter()
        self._held: dict[Symbol, tuple[str, Any]] = {}  # the buffer that one has for a while
        self._free: dict[Any, list[str]] = {}
        self._comments: dict[Any, str] = {}
        self._blocks: dict[str, str] = {}  # by their text, parts of p that have a name
        self._elementwise: set[Any] = set()  # what calls other than products read
        self._nested: dict[Symbol, int] = {}  # by symbol, the calls till what is written first
        self._count = 0
        self._count_uses()
        self._beforehand()
        self.forward = self._forward()
        self.backward = self._backward()
        self.statements = len(self.prepared) + len(self.forward) + len(self.backward)
        if adjoints is not None:
            self.forward.append(f"return {self._mean(adjoints.loss)}")

    def source(self) -> str:
        """The whole module."""
        parts = {"prepare": self.prepared, "forward": self.forward, "backward": self.backward}
        if self.adjoints is not None and self.arrays.tail:
            step = ("loss = forward()", "backward()", "subtract(p, g, p)", "return loss")
            parts["descend"] = [*step]
        if self.scaled:
            parts = {"scale": self.scaled, **parts}
        return module(self.buffers, parts)

    def _count_uses(self) -> None:
        """How often each expression is read."""
        stack = [array.value for array in self.arrays.all]
        if self.adjoints is not None:
            stack.append(self.adjoints.gradient)
        while stack:
            x = stack.pop()
            if isinstance(x, Symbol):
                if x not in self._uses:
                    stack += x.args
                    if x.op not in STRIDED:
                        self._elementwise |= set(map(_root, x.args))
                self._uses[x] += 1

    # --- the parts -------------------------------------------------------------------------------

    def _beforehand(self) -> None:
        """The arrays that are there before anything is computed."""
        arrays = self.arrays
        if arrays.tail:
            self.buffers.append("share = np.array(1.0 / n, dtype)")
        for array in arrays.inputs:
            self._input(array)
            self._when[array.name] = BATCH
        for name, start, ids in arrays.blocks:
            self._block(name, start, ids)
        for name in arrays.constants:
            self.buffers.append(f'{name} = constants["{name}"]')
            self._when[name] = ONCE
        if arrays.pool:
            self._make("v", (arrays.pool, *arrays.tail))

    def _input(self, array: Array) -> None:
        """An input as a batch, and with its samples last, which is how the rest is computed.

        Wide samples lie one behind the other, but where they are read elementwise.
        """
        name, dims = array.variable, array.ids.shape
        if name == array.name:  # which is so where it has no samples, or one number in each
            self._buffer(array)
        elif len(dims) == 1 and (dims[0] < WIDE or array.symbol in self._elementwise):
            self._buffer(array)
            self.buffers.append(f"{name} = {name}T.T  # a row a sample")
        elif array.ones is None:
            self._make(name, ("n", *dims))
            self.buffers.append(f"{name}T = np.moveaxis({name}, 0, -1)  # a column a sample")
        else:
            self._make(f"{name}_ones", ("n", dims[0] + 1))
            self.buffers += [
                f"{name}_ones[:, -1] = 1.0",
                f"{name} = {name}_ones[:, :-1]",
                f"{name}T_ones = {name}_ones.T",
                f"{name}T = {name}.T  # a column a sample",
            ]

    def _block(self, name: str, start: int, ids: Ids) -> None:
        """A part of the parameters, under a name."""
        stop, p = start + ids.size, self.arrays.p
        text = "" if ids.size == p.ids.size else f"[{start}:{stop}]"
        text += f".reshape({inside(ids.shape)})" if ids.ndim > 1 else ""
        values = self.arrays.tape.values
        paths = _path("\0".join([values[i].label for i in ids.ravel().tolist()])).split("\0")
        labels = [path for path in dict.fromkeys(paths) if path]
        self.buffers.append(comment(f"{name} = p{text}", " and ".join(labels[:3])))
        self._blocks[text] = name
        self._texts[self.table.view(p.symbol, text, ids.shape)] = name

    def _forward(self) -> list[str]:
        for array in self.arrays.all:
            if array.value is None:
                continue
            self._buffer(array)
            self._deep_parts(array.value)
            self._now = self._when[array.name] = self._time(array.value)
            self._store(array.value, array.name, array.symbol.shape)
            lines = self._parts[self._now]
            lines[-1] = comment(lines[-1], self._label(array))
        return self._parts[STEP]

    def _backward(self) -> list[str]:
        lines = self._parts[STEP] = []
        self._now = STEP
        if self.adjoints is None or self.adjoints.gradient is None:
            return lines
        for pool, rows in self.adjoints.pools.items():
            if rows:
                self._make(pool, (rows, *self.arrays.tail) if pool == "e" else (rows,))
        symbols = {
            name: x for name, x in self.adjoints.adjoints.items()
            if isinstance(x, Symbol) and self._uses[x]
        }  # fmt: skip
        for name, x in symbols.items():
            self._comments.setdefault(x, f"∂loss/∂{name}")
        for name, x in self.adjoints.came.items():
            if isinstance(x, Symbol) and self._uses[x]:
                self._comments.setdefault(x, f"not 0 where something comes to {name}")
        for x in symbols.values():
            self._deep_parts(x)
            self.text(x)
        self._deep_parts(self.adjoints.gradient)
        self._store(self.adjoints.gradient, "g", self.arrays.p.symbol.shape)
        return lines

    def _mean(self, loss: int) -> str:
        """The mean loss."""
        array, place = self.arrays.at(loss)
        text = f"{array.name}[{', '.join(map(str, place))}]" if place else array.name
        if not array.tail:
            return f"{text}.item()"
        self.buffers.append("shares = np.full(n, share, dtype)")
        return f"{text}.dot(shares)"

    def _label(self, array: Array) -> str:
        """The part that the labels of an array's nodes share."""
        tape = self.arrays.tape
        nodes = [i for i in array.ids.ravel()[:50].tolist() if not tape.is_number(i)]
        labels = {_path(tape.values[i].label) for i in nodes}
        return labels.pop() if len(labels) == 1 else ""

    # --- expressions -----------------------------------------------------------------------------

    def _deep_parts(self, x: Any) -> None:
        """Write what lies deep in x, so that the rest is no deep recursion."""
        inside = [x] if isinstance(x, Symbol) and x not in self._nested else []
        for part in inside:  # which grows meanwhile
            fresh = [arg for arg in part.args if isinstance(arg, Symbol)]
            fresh = [arg for arg in dict.fromkeys(fresh) if arg not in self._nested]
            self._nested.update(dict.fromkeys(fresh, 0))
            inside += fresh
        for part in sorted(inside, key=lambda part: part.depth):
            self._time(part)
            open_args = [arg for arg in part.args if arg in self._nested and arg not in self._texts]
            self._nested[part] = 1 + max([self._nested[arg] for arg in open_args], default=0)
            if self._nested[part] > NESTED:
                self.text(part)

    def text(self, x: Any) -> str:
        """The name that stands for x, once it is computed."""
        if not isinstance(x, Symbol):
            x = repr(float(x))
        if x not in self._texts:
            self._texts[x] = self._named(x) if isinstance(x, Symbol) else self._number(x)
        return self._texts[x]

    def _number(self, x: str) -> str:
        """A constant, as an array without dimensions, which NumPy takes faster than a float."""
        name = NUMBERS.get(x) or self._fresh("c")
        self.buffers.append(f"{name} = np.array({x}, dtype)")
        return name

    def _named(self, x: Symbol) -> str:
        if x.op == "leaf":
            if x.extra == WHOLE:
                self.buffers.append("whole = np.array(1.0, dtype)")
            return str(x.extra)
        if x.op == "full":
            (number,) = map(float, x.args)
            name = self._fresh(f"{NUMBERS.get(repr(number), 'c')}s")
            self.buffers.append(f"{name} = np.full({shape_text(x.shape)}, {number!r}, dtype)")
        elif x.op == "view":
            base = self.text(x.args[0])
            name = f"{base}T" if x.extra == ".T" and base != "p" else self._fresh("a")
            self.buffers.append(f"{name} = {base}{x.extra}")
        elif x.op == "row":
            pool, start = x.extra
            name = self._fresh("e")
            self.buffers.append(f"{name} = {pool}[{start}:{start + x.shape[0]}]")
            self._store(x.args[0], name, x.shape)
        else:
            before, self._now = self._now, self._time(x)
            for arg in sorted(x.args, key=lambda arg: -getattr(arg, "depth", 0)):
                self._argument(x, arg)
            name = self._target(x)
            self._compute(x, name)
            self._now = before
        return name

    def _time(self, x: Any) -> int:
        """When x can be computed: once, for each batch or in each step."""
        if not isinstance(x, Symbol):
            return ONCE
        if x.op == "leaf":
            return self._when.get(x.extra, STEP)
        if x not in self._when:
            self._when[x] = STEP if x.op == "row" else max(map(self._time, x.args))
        return self._when[x]

    def _is_open(self, x: Any) -> bool:
        """Whether x has yet to be computed now, by a call that could write anywhere."""
        return (
            isinstance(x, Symbol) and x not in self._texts
            and x.op not in CALLED_BY_NAME and self._time(x) == self._now
        )  # fmt: skip

    def _store(self, x: Any, target: str, shape: Shape) -> None:
        """Let `target` hold x."""
        fits = isinstance(x, Symbol) and x.shape == shape
        if fits and self._is_open(x) and not x.truth:
            self._compute(x, target)
        elif fits and self._is_reshaped(x):
            place = self._fresh("a")
            self.buffers.append(f"{place} = {target}.reshape({inside(x.args[0].shape)})")
            self._compute(x.args[0], place)
        else:
            self._copy(x, target)
        if fits:
            self._texts.setdefault(x, target)

    def _is_reshaped(self, x: Symbol) -> bool:
        """Whether x is in another shape what only x reads, and what has yet to be computed."""
        if x.op != "view" or not x.extra.startswith(".reshape"):
            return False
        return self._is_open(x.args[0]) and self._uses[x.args[0]] == 1

    def _compute(self, x: Symbol, target: str) -> None:
        """Write the statements that leave x in `target`."""
        if x.op == "assemble":
            self._assemble(x, target)
            return
        args = self._arguments(x, target)
        self._line(comment(statement(x, args, target), self._comments.get(x, "")))
        for arg in x.args:
            self._done(arg)

    def _arguments(self, x: Symbol, target: str) -> list[str]:
        """The texts of x's arguments; one of them may be computed in the target itself."""
        for k, arg in enumerate(x.args if x.op not in ELSEWHERE else ()):
            if (
                self._is_open(arg) and arg.shape == x.shape and not arg.truth
                and self._uses[arg] == 1
            ):  # fmt: skip
                others = [self.text(other) for other in x.args[:k] + x.args[k + 1 :]]
                self._compute(arg, target)
                return [*others[:k], target, *others[k:]]
        return [self._argument(x, arg) for arg in x.args]

    def _argument(self, x: Symbol, arg: Any) -> str:
        if x.op in FULL and not isinstance(arg, Symbol):
            arg = self.table.make("full", (arg,), x.shape)
        return self.text(arg)

    def _assemble(self, x: Symbol, target: str) -> None:
        for text, mode, part in zip(*x.extra, x.args):
            place = self._part(text, target, part) if text else target
            if mode == "+":
                self._line(f"add({place}, {self.text(part)}, {place})")
                self._done(part)
            elif (
                self._is_open(part) and self._uses[part] == 1
                and (part.op not in NO_GAPS or STRAIGHT.fullmatch(text))
            ):  # fmt: skip
                self._compute(part, place)
            else:
                self._copy(part, place)

    def _part(self, text: str, target: str, part: Any) -> str:
        """A name for a view of `target`, which will hold `part`."""
        block = self._blocks.pop(text, None) if target == "g" else None
        if block:
            self._comments.setdefault(part, f"∂loss/∂{block}")
        place = f"g{block}" if block else self._fresh("a")
        self.buffers.append(f"{place} = {target}{text}")
        return place

    def _copy(self, x: Any, target: str) -> None:
        self._line(f"copyto({target}, {self.text(x)})")
        self._done(x)

    def _line(self, text: str) -> None:
        self._parts[self._now].append(text)

    # --- buffers ---------------------------------------------------------------------------------

    def _make(self, name: str, shape: Shape, truth: bool = False) -> None:
        """A buffer, of numbers or of truths."""
        kind = "bool" if truth else "dtype"
        self.buffers.append(f"{name} = np.zeros({shape_text(shape)}, {kind})")

    def _buffer(self, array: Array) -> None:
        """Where an array is: in the pool, if it is gathered from; before its row of ones."""
        whole = array.symbol if array.ones is None else array.ones
        if array.row is None:
            self._make(whole.extra, whole.shape)
        else:
            stop = array.row + array.ids.size + (array.ones is not None and array.ids[0].size)
            rows = f"v[{array.row}:{stop}]"
            self.buffers.append(f"{whole.extra} = {rows}.reshape({inside(whole.shape)})")
        if array.ones is not None:
            self.buffers += [f"{whole.extra}[-1] = 1.0", f"{array.name} = {whole.extra}[:-1]"]

    def _target(self, x: Symbol) -> str:
        """A buffer for x: that of an argument which nothing reads after it, or one that is free.

        An array that is computed less often than in each step has one of its own.
        """
        kind = (x.shape, x.truth)
        for arg in x.args if x.op not in ELSEWHERE else ():
            held = self._held.get(arg) if isinstance(arg, Symbol) else None
            if held and held[1] == kind and self._uses[arg] == 1:
                self._held[x] = self._held.pop(arg)
                return held[0]
        free = self._free.get(kind) if self._now == STEP else None
        if free:
            name = free.pop()
        else:
            name = self._fresh("t")
            self._make(name, *kind)
        if self._now == STEP:
            self._held[x] = name, kind
        return name

    def _done(self, x: Any) -> None:
        """One reader of x less; after the last its buffer is free."""
        if not isinstance(x, Symbol):
            return
        self._uses[x] -= 1
        if self._uses[x] == 0:
            name, kind = self._held.pop(x, ("", None))
            if name:
                self._free.setdefault(kind, []).append(name)
            if x.op == "view":
                self._done(x.args[0])

    def _fresh(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"


def _path(label: str) -> str:
    """A label without its numbers."""
    return re.sub(r"\[[\d,]*\]", "", label)


def _root(x: Any) -> Any:
    """The array that x is a view of."""
    while isinstance(x, Symbol) and x.op == "view":
        x = x.args[0]
    return x
