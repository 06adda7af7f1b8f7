"""NumPy source of a program, meant to be read: a line a statement, its buffers made beforehand."""

from __future__ import annotations

import re
from typing import Any

from microgradx.replay.adjoints import Adjoints
from microgradx.replay.arrays import WIDE, Array, Arrays
from microgradx.replay.statements import (
    NUMBERS,
    comment,
    expression,
    inside,
    module,
    shape_text,
    statement,
    zeros,
)  # fmt: skip
from microgradx.replay.symbols import SHARE, Symbol
from microgradx.replay.views import Shape

STRAIGHT = re.compile(r"(\[\d+:\d+\])?(\.reshape\([^)]*\))?")  # a view without gaps
ELSEWHERE = {  # these can't write over what they read
    "dot", "reduce", "take", "pull", "assemble", "leaf", "view", "ones", "row",
}  # fmt: skip
NO_GAPS = {"dot"}  # these write into arrays without gaps alone
# With an array in place of a number these are faster, or don't take a square root for ** 0.5.
FULL = {"maximum", "minimum", "power"}
STRIDED = {"dot", "view"}  # these read what lies sample by sample as fast
CHANGING = {"take", "row", "assemble", "pull"}


class Writer:
    """The source of the buffers, and of the functions that fill them.

    statements: how many lines compute something
    """

    def __init__(self, arrays: Arrays, adjoints: Adjoints | None) -> None:
        self.arrays = arrays
        self.table = arrays.table
        self.adjoints = adjoints
        self.buffers: list[str] = []
        self.lines: list[str] = []
        self.prepared: list[str] = []  # what depends on the batch alone
        self.functions: set[str] = set()
        self.statements = 0
        self._texts: dict[Any, str] = {}
        self._held: dict[int, tuple[str, Any]] = {}  # by symbol, the buffer it has for a while
        self._free: dict[Any, list[str]] = {}
        self._uses: dict[int, int] = {}
        self._comments: dict[int, str] = {}
        self._static: dict[int, bool] = {}
        self._batch_only: dict[int, bool] = {}
        self._batch_leaves = {array.symbol.extra for array in arrays.inputs}
        self._blocks: dict[str, str] = {}  # by their text, parts of p that have a name
        self._elementwise: set[int] = set()  # what calls other than products read
        self._count = 0
        self._count_uses()
        self._beforehand()
        self.forward = self._forward()
        self.backward = self._backward()

    def _count_uses(self) -> None:
        """How often each expression is read."""
        stack = [array.value for array in self.arrays.all]
        if self.adjoints is not None:
            stack.append(self.adjoints.gradient)
        seen = set()
        while stack:
            x = stack.pop()
            if isinstance(x, Symbol):
                self._uses[id(x)] = self._uses.get(id(x), 0) + 1
                if id(x) not in seen:
                    seen.add(id(x))
                    stack += x.args
                    if x.op not in STRIDED:
                        self._elementwise |= set(map(_root, x.args))

    # --- the parts -------------------------------------------------------------------------------

    def _beforehand(self) -> None:
        """The arrays that are there before anything is computed."""
        arrays, batched = self.arrays, bool(self.arrays.tail)
        if batched:
            self.buffers.append("share = np.array(1.0 / n, dtype)")
        for array in arrays.inputs:
            self._input(array, batched)
        for name, start, ids in arrays.blocks:
            self._block(name, start, ids)
        for name in (*arrays.constants, *arrays.takes):
            self.buffers.append(f'{name} = constants["{name}"]')
        rows = 0
        lines = []
        for array in arrays.pool:
            shape, stop = array.symbol.shape, rows + array.ids.size
            text = f"{array.name} = v[{rows}:{stop}]"
            if array.ones is not None:
                stop += array.ids.size // array.ids.shape[0]
                whole = inside(array.ones.shape)
                lines.append(f"{array.name}_ones = v[{rows}:{stop}].reshape({whole})")
                text = f"{array.name} = {array.name}_ones[:-1]"
                lines.append(f"{array.name}_ones[-1] = 1.0")
                lines.append(text)
            else:
                lines.append(text + ("" if array.ids.ndim == 1 else f".reshape({inside(shape)})"))
            rows = stop
        if rows:
            self.buffers += [f"v = {zeros((rows, *arrays.tail))}", *lines]

    def _input(self, array: Array, batched: bool) -> None:
        """An input as a batch, and with its samples last, which is how the rest is computed.

        Wide samples lie one behind the other, but where they are read elementwise.
        """
        name, dims = array.variable, array.ids.shape
        if not batched or not dims:
            self.buffers.append(f"{name} = {zeros(dims if not batched else ('n',))}")
            return
        ones = array.ones is not None
        if len(dims) > 1:
            self.buffers.append(f"{name} = {zeros(('n', *dims))}")
            self.buffers.append(f"{name}T = np.moveaxis({name}, 0, -1)")
        elif id(array.symbol) in self._elementwise or dims[0] < WIDE:
            self.buffers.append(f"{name}T{'_ones' * ones} = np.ones(({dims[0] + ones}, n), dtype)")
            if ones:
                self.buffers.append(f"{name}T = {name}T_ones[:-1]")
            self.buffers.append(f"{name} = {name}T.T  # a row a sample")
        else:
            self.buffers.append(f"{name}{'_ones' * ones} = np.ones((n, {dims[0] + ones}), dtype)")
            if array.ones is not None:
                self.buffers.append(f"{name} = {name}_ones[:, :-1]")
                self.buffers.append(f"{name}T_ones = {name}_ones.T")
                rows = self.table.view(array.ones, ".T", array.ones.shape[::-1])
                self._texts[rows] = f"{name}_ones"
            self.buffers.append(f"{name}T = {name}.T  # a column a sample")

    def _block(self, name: str, start: int, ids: Any) -> None:
        """A part of the parameters, under a name."""
        stop, arrays = start + ids.size, self.arrays
        run = "" if ids.size == len(arrays.p.ids) else f"[{start}:{stop}]"
        shaped = f".reshape({inside(ids.shape)})" if ids.ndim > 1 else ""
        paths = [self._path(i) for i in ids.ravel().tolist()]
        labels = [path for path in dict.fromkeys(paths) if path]
        self.buffers.append(comment(f"{name} = p{run}{shaped}", " and ".join(labels[:3])))
        self._blocks[f"[{start}:{stop}]{shaped}"] = name
        for text in (run + shaped, f"[{start}:{stop}]{shaped}"):
            view = self.table.make("view", (arrays.p.symbol,), ids.shape, text)
            self._texts[view] = name

    def _path(self, i: int) -> str:
        return re.sub(r"\[[\d,]*\]", "", self.arrays.tape.values[i].label)

    def _forward(self) -> list[str]:
        lines: list[str] = []
        pooled = set(map(id, self.arrays.pool))
        for array in self.arrays.all:
            self._texts[array.symbol] = array.name
            if array.ones is not None and array.label == "":
                self._texts[array.ones] = f"{array.name}_ones"
            if array.value is None:
                continue
            if id(array) not in pooled:
                self._buffer(array)
            batch_only = self._is_batch_only(array.value)
            if batch_only:
                self._batch_leaves.add(array.name)
            self.lines = self.prepared if batch_only else lines
            before = len(self.lines)
            self._store(array.value, array.name, array.symbol.shape)
            if self.lines[before:]:
                self.lines[-1] = comment(self.lines[-1], self._label(array))
        return lines

    def _buffer(self, array: Array) -> None:
        if array.ones is None:
            self.buffers.append(f"{array.name} = {zeros(array.symbol.shape)}")
        else:
            shape = shape_text(array.ones.shape)
            self.buffers.append(f"{array.name}_ones = np.ones({shape}, dtype)")
            self.buffers.append(f"{array.name} = {array.name}_ones[:-1]")

    def _label(self, array: Array) -> str:
        """The part that the labels of an array's nodes share."""
        tape = self.arrays.tape
        nodes = [i for i in array.ids.ravel()[:50].tolist() if not tape.is_number(i)]
        labels = {self._path(i) for i in nodes}
        return labels.pop() if len(labels) == 1 else ""

    def _backward(self) -> list[str]:
        lines: list[str] = []
        self.lines = lines
        if self.adjoints is None or self.adjoints.gradient is None:
            return lines
        for name in self.adjoints.plans:
            self.buffers.append(f'{name} = constants["{name}"]')
        for name, symbol in self.adjoints.adjoints.items():
            if isinstance(symbol, Symbol):
                self._comments.setdefault(id(symbol), f"∂loss/∂{name}")
        for pool, symbols in self.adjoints.pools.items():
            rows = [symbol.shape[0] for symbol in symbols]
            if symbols:
                tail = self.arrays.tail if pool == "e" else ()
                self.buffers.append(f"{pool} = {zeros((sum(rows), *tail))}")
            row = 0
            for symbol in symbols:
                name = self._fresh("e")
                self.buffers.append(f"{name} = {pool}[{row}:{row + symbol.shape[0]}]")
                self._texts["row", id(symbol)] = name
                row += symbol.shape[0]
        for symbol in self.adjoints.adjoints.values():
            if isinstance(symbol, Symbol) and self._uses.get(id(symbol)):
                self.text(symbol)
        self._store(self.adjoints.gradient, "g", self.arrays.p.symbol.shape)
        return lines

    # --- expressions -----------------------------------------------------------------------------

    def text(self, x: Any) -> str:
        """The name that stands for x, once it is computed."""
        if not isinstance(x, Symbol):
            return self._number(float(x))
        name = self._texts.get(x)
        if name is not None:
            return name
        if x.op == "leaf":
            name = x.extra
        elif x.op == "ones":
            name = self._fresh("ones")
            self.buffers.append(f"{name} = np.ones({shape_text(x.shape)}, dtype)")
        elif x.op == "view":
            base = self.text(x.args[0])
            name = f"{base}T" if x.extra == ".T" and base != "p" else self._fresh("a")
            self.buffers.append(f"{name} = {base}{x.extra}")
        elif x.op == "row":
            name = self._texts["row", id(x)]
            self._store(x.args[0], name, x.shape)
        elif self._is_static(x):
            name = self._once(x)
        else:
            lines = self.lines
            if self._is_batch_only(x):
                self.lines = self.prepared
            for arg in sorted(x.args, key=lambda arg: -getattr(arg, "depth", 0)):
                self._argument(x, arg)
            name = self._target(x)
            self._compute(x, name)
            self.lines = lines
        self._texts[x] = name
        return name

    def _is_batch_only(self, x: Any) -> bool:
        """Whether x depends on the batch alone, so that it is computed once for a batch."""
        if not isinstance(x, Symbol) or self._is_static(x):
            return True
        known = self._batch_only.get(id(x))
        if known is None:
            if x.op == "leaf":
                return x.extra in self._batch_leaves  # there may be more of them later
            known = x.op not in CHANGING and all(self._is_batch_only(arg) for arg in x.args)
            self._batch_only[id(x)] = known
        return known

    def _number(self, x: float) -> str:
        """A constant, as an array without dimensions, which NumPy takes faster than a float."""
        key = repr(x)
        if key not in self._texts:
            name = NUMBERS.get(x, "") if key != "-0.0" else ""
            name = name or self._fresh("c")
            self.buffers.append(f"{name} = np.array({key}, dtype)")
            self._texts[key] = name
        return self._texts[key]

    def _is_static(self, x: Any) -> bool:
        """Whether x depends on nothing that changes from call to call."""
        if not isinstance(x, Symbol):
            return True
        known = self._static.get(id(x))
        if known is None:
            if x.op == "leaf":
                known = x.extra in (SHARE, "n") or x.extra in self.arrays.constants
            else:
                known = x.op not in CHANGING and all(self._is_static(arg) for arg in x.args)
            self._static[id(x)] = known
        return known

    def _once(self, x: Symbol) -> str:
        args = [self.text(arg) for arg in x.args]
        number = x.args[0] if x.op == "copy" and not isinstance(x.args[0], Symbol) else None
        name = self._fresh(f"{NUMBERS[number]}s" if number in NUMBERS else "k")
        self.buffers.append(f"{name} = {expression(x, args)}")
        return name

    def _is_open(self, x: Any) -> bool:
        """Whether x has yet to be computed, by a call that could write anywhere."""
        return (
            isinstance(x, Symbol) and x not in self._texts
            and x.op not in ("leaf", "view", "ones", "row") and not self._is_static(x)
        )  # fmt: skip

    def _store(self, x: Any, target: str, shape: Shape) -> None:
        """Let `target` hold x."""
        late = self.lines is not self.prepared and self._is_batch_only(x)
        if self._is_open(x) and x.shape == shape and not x.truth and not late:
            self._compute(x, target)
        elif isinstance(x, Symbol) and x.op == "view" and self._is_open(x.args[0]) and (
            x.extra.startswith(".reshape") and self._uses[id(x.args[0])] == 1 and x.shape == shape
        ):  # fmt: skip
            place = self._fresh("a")
            inner = x.args[0]
            self.buffers.append(f"{place} = {target}.reshape({inside(inner.shape)})")
            self._compute(inner, place)
        else:
            self._line("copyto", f"copyto({target}, {self.text(x)})")
            self._done(x)
        if isinstance(x, Symbol) and x.shape == shape and not late:
            self._texts.setdefault(x, target)

    def _compute(self, x: Symbol, target: str) -> None:
        """Write the statements that leave x in `target`."""
        if x.op == "assemble":
            self._assemble(x, target)
            return
        args = self._arguments(x, target)
        self._line(x.op, comment(statement(x, args, target), self._comments.get(id(x), "")))
        for arg in x.args:
            self._done(arg)

    def _arguments(self, x: Symbol, target: str) -> list[str]:
        """The texts of x's arguments; one of them may be computed in the target itself."""
        if x.op not in ELSEWHERE:
            for k, arg in enumerate(x.args):
                if (
                    self._is_open(arg) and arg.shape == x.shape and not arg.truth
                    and self._uses[id(arg)] == 1
                ):  # fmt: skip
                    others = [self.text(other) for other in x.args[:k] + x.args[k + 1 :]]
                    self._compute(arg, target)
                    return [*others[:k], target, *others[k:]]
        return [self._argument(x, arg) for arg in x.args]

    def _argument(self, x: Symbol, arg: Any) -> str:
        if x.op in FULL and not isinstance(arg, Symbol):
            return self.text(self.table.make("copy", (arg,), x.shape))
        if x.op == "copy" and not isinstance(arg, Symbol):
            return repr(arg)
        return self.text(arg)

    def _assemble(self, x: Symbol, target: str) -> None:
        for text, mode, part in zip(*x.extra, x.args):
            place = target
            if text:
                block = self._blocks.pop(text, None) if target == "g" else None
                place = f"g{block}" if block else self._fresh("a")
                self.buffers.append(f"{place} = {target}{text}")
                if block:
                    self._comments.setdefault(id(part), f"∂loss/∂{block}")
            if mode == "+":
                self._line("add", f"add({place}, {self.text(part)}, {place})")
                self._done(part)
            elif (
                self._is_open(part) and self._uses[id(part)] == 1
                and (part.op not in NO_GAPS or STRAIGHT.fullmatch(text))
            ):  # fmt: skip
                self._compute(part, place)
            else:
                self._line("copyto", f"copyto({place}, {self.text(part)})")
                self._done(part)

    def _line(self, function: str, text: str) -> None:
        self.functions.add(function)
        self.lines.append(text)
        self.statements += 1

    # --- buffers ---------------------------------------------------------------------------------

    def _target(self, x: Symbol) -> str:
        """A buffer for x: that of an argument which nothing reads after it, or one that is free."""
        kind = (x.shape, x.truth)
        if self._is_batch_only(x):  # nothing else is written there
            name = self._fresh("t")
            self.buffers.append(f"{name} = {zeros(x.shape, x.truth)}")
            return name
        if x.op not in ELSEWHERE:
            for arg in x.args:
                held = self._held.get(id(arg))
                if held and held[1] == kind and self._uses[id(arg)] == 1:
                    del self._held[id(arg)]
                    self._held[id(x)] = held
                    return held[0]
        free = self._free.get(kind)
        if free:
            name = free.pop()
        else:
            name = self._fresh("t")
            self.buffers.append(f"{name} = {zeros(x.shape, x.truth)}")
        self._held[id(x)] = name, kind
        return name

    def _done(self, x: Any) -> None:
        """One reader of x less; after the last its buffer is free."""
        if not isinstance(x, Symbol):
            return
        self._uses[id(x)] -= 1
        if self._uses[id(x)] == 0:
            held = self._held.pop(id(x), None)
            if held is not None:
                self._free.setdefault(held[1], []).append(held[0])
            if x.op == "view":
                self._done(x.args[0])

    def _fresh(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    def source(self, loss: str | None) -> str:
        """The whole module; `loss` is the mean loss in words, None if there is none."""
        functions = {"prepare": self.prepared} if self.prepared else {}
        functions |= {"forward": self.forward, "backward": self.backward}
        return module(self.functions, self.buffers, functions, loss)


def _root(x: Any) -> int:
    """The identity of what x is a view of."""
    while isinstance(x, Symbol) and x.op == "view":
        x = x.args[0]
    return id(x)
