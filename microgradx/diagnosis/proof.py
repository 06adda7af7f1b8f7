"""A proof: what holds of a net for every input in a box around one row, and what doesn't."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgradx._base.arguments import flat, nested, whole
from microgradx._base.text import clean, count, short, span
from microgradx.diagnosis.blocks import Blocks
from microgradx.diagnosis.linear_bounds import Bounded, Ends
from microgradx.diagnosis.table import Table
from microgradx.engine import Value
from microgradx.interop.usage import in_use, module_of
from microgradx.nn.module import title
from microgradx.replay import Replay, record
from microgradx.replay.batch import Array, numbers
from microgradx.replay.units import Key, units_in

POINTS = 256  # at which a gate that isn't decided is tried
MOST = 20_000  # variables, of which some rows are followed backwards
OFF, ON, BOTH, UNKNOWN = "off", "on", "both", "unknown"


class Witness(NamedTuple):
    """Two inputs in the box: at one a gate is on, at the other off."""

    on: Array
    off: Array


def prove(model: Any, row: Any, radius: Any, *, boxes: int = 50) -> Proof:
    """What holds of a net for every input within a radius of a row.

    model:  a Module, or a net that `adopt` takes
    row:    one sample, of finite numbers
    radius: how far each input may be from it: a number, or an array in the shape of the row; 0 or
            more
    boxes:  into how many the box may be cut for the gates that are left open; 1 for none

    Returns a `Proof`. What it says is so of real numbers and of floats: each sum is widened by more
    than its rounding. "unknown" is an answer. Bad arguments are a TypeError or a ValueError, as is
    a net of more than 20,000 units and inputs.

    >>> from microgradx import nn
    >>> prove(nn.MLP(2, [3, 1], seed=0), [1.0, -1.0], 0.1)
    <Proof of MLP: 3 gates, 2 off, 1 on>
    """
    centre = numbers("the row", row).astype(float)
    around = numbers("the radius", radius).astype(float)
    if not centre.size or not np.isfinite(centre).all():
        raise ValueError("the row has a nan or an infinity, or nothing; give one sample")
    if around.shape not in ((), centre.shape):
        raise ValueError(f"the radius has the shape {around.shape}, the row {centre.shape}")
    if not (np.isfinite(around).all() and (around >= 0).all()):
        raise ValueError(f"a radius is 0 or more, and finite, got {short(float(around.min()))}")
    net = _Recorded(module_of(model, centre[None]), centre)
    return Proof(net, centre, around, whole("boxes", boxes))


class _Recorded:
    """A net, recorded: its inputs, units and outputs."""

    def __init__(self, model: Any, row: Array) -> None:
        self.model, self.inputs, self.outputs = model, list[Value](), list[Value]()

        def called(x: Any) -> list[Value]:
            found = [*flat(nested(model(x)))]
            if not self.inputs:
                self.inputs.extend(flat(nested(x)))
                self.outputs += found
            return found

        with in_use(model):
            self.replay: Replay = record(called, row.tolist())
        units = units_in(self.replay.nodes, self.replay.layer_of)
        self.keys: list[Key] = [key for key, _ in units]
        self.units = [*units.values()]
        self.zs = [x.inputs[0] for unit in self.units for x in unit]
        self.blocks = Blocks(self.replay.nodes, self.inputs, [*self.zs, *self.outputs])
        if self.blocks.size > MOST:
            raise ValueError(
                f"the net has {self.blocks.size:,} inputs and units, and every one is bounded by "
                f"all before it; up to {MOST:,} can be proved of"
            )


class Proof:
    """What is proved of a net over a box.

    low, high: the box
    units:     columns by unit: its layer, number and activation, z from where to where, and for
               gates "off" or "on" for every input, "both" where two inputs show either, "unknown";
               by how much an unknown one misses the nearer of off and on, 0 for others
    outputs:   the least and the largest that each output can be
    gradient:  (outputs, inputs), at least the size of ∂output/∂input anywhere in the box; None
               where an op of several operands lies between
    witnesses: by the place of a unit that is "both", two inputs
    boxes:     how many were looked at
    """

    def __init__(self, net: _Recorded, centre: Array, radius: Array, boxes: int) -> None:
        self._net, self.centre, self.radius = net, centre, radius
        self.low, self.high = centre - radius, centre + radius
        self._gates = [
            unit[0].rule is not None and unit[0].rule.shut_below is not None for unit in net.units
        ]
        self._bends = np.array(
            [unit[0].rule.shut_below if gate and unit[0].rule else np.nan
             for unit, gate in zip(net.units, self._gates)], float,
        )  # fmt: skip
        self._of = np.array([u for u, unit in enumerate(net.units) for _ in unit], dtype=np.int64)
        first = Bounded(net.blocks, self.low.ravel(), self.high.ravel())
        self.gradient = self._gradient(first)
        self.witnesses: dict[int, Witness] = {}
        self._try(first)
        pieces = [(self.low.ravel(), self.high.ravel(), first.targets)]
        self.boxes = 1
        while self.boxes + 2 <= boxes and (chosen := self._worst(pieces)) is not None:
            low, high, _ = pieces.pop(chosen)
            pieces += self._halves(low, high)
            self.boxes += 2
        self._ends = Ends(
            np.min([ends.low for *_, ends in pieces], axis=0),
            np.max([ends.high for *_, ends in pieces], axis=0),
        )

    def _gradient(self, bounded: Bounded) -> Array | None:
        found = bounded.gradients()
        return None if found is None else found[len(self._net.zs) :]

    # --- gates -----------------------------------------------------------------------------------

    def _by_unit(self, ends: Ends) -> tuple[Array, Array]:
        """From where to where z goes, over all positions of a unit."""
        n, zs = len(self._net.units), len(self._net.zs)
        low, high = np.full(n, np.inf), np.full(n, -np.inf)
        np.minimum.at(low, self._of, ends.low[:zs])
        np.maximum.at(high, self._of, ends.high[:zs])
        return low, high

    def _open(self, ends: Ends) -> Array:
        """The gates that are neither off nor on, and of which no two inputs are known."""
        low, high = self._by_unit(ends)
        found = (low <= self._bends) & (high > self._bends)
        found[[*self.witnesses]] = False
        return found

    def _worst(self, pieces: Sequence[tuple[Array, Array, Ends]]) -> int | None:
        """The piece that keeps the gate open which is nearest to being decided; None if none is."""
        whole_ = Ends(np.min([e.low for *_, e in pieces], axis=0),
                      np.max([e.high for *_, e in pieces], axis=0))  # fmt: skip
        undecided = self._open(whole_)
        if not undecided.any():
            return None
        low, high = self._by_unit(whole_)
        gaps = np.where(undecided, np.minimum(high - self._bends, self._bends - low), np.inf)
        u = int(np.nanargmin(gaps))
        above = high[u] - self._bends[u] <= self._bends[u] - low[u]
        far = [self._by_unit(e)[1][u] if above else -self._by_unit(e)[0][u] for *_, e in pieces]
        return int(np.argmax(far))

    def _halves(self, low: Array, high: Array) -> Iterator[tuple[Array, Array, Ends]]:
        """The two halves of a box, cut across the input that moves the first block most."""
        net = self._net.blocks
        n = len(low)
        rows = net.blocks[0].rows if net.blocks else net.targets
        weights = np.abs(rows.W[:, :n]).sum(axis=0)
        side = int(np.argmax((high - low) * weights))
        middle = (low[side] + high[side]) / 2.0
        for ends in ((low[side], middle), (middle, high[side])):
            one, other = low.copy(), high.copy()
            one[side], other[side] = ends
            yield one, other, Bounded(net, one, other).targets

    def _try(self, bounded: Bounded) -> None:
        """Look for inputs at which the open gates are on, and off."""
        undecided = np.flatnonzero(self._open(bounded.targets))
        if not undecided.size:
            return
        low, high = self.low.ravel(), self.high.ravel()
        mine = np.isin(self._of, undecided).nonzero()[0][:POINTS]
        random = np.random.default_rng(0).uniform(low, high, (POINTS, len(low)))
        corners = [bounded.corners.low[mine], bounded.corners.high[mine]]
        points = np.clip(np.concatenate([random, *corners]), low, high)
        points = points.reshape(len(points), *self.low.shape)
        self._net.replay.load(points)
        with np.errstate(all="ignore"):
            values = self._net.replay.values_of(self._net.zs)
        for u in undecided.tolist():
            z = values[self._of == u]
            on, off = (z > self._bends[u]).any(axis=0), (z <= self._bends[u]).any(axis=0)
            if on.any() and off.any():
                self.witnesses[u] = Witness(points[int(on.argmax())], points[int(off.argmax())])

    # --- what is known ---------------------------------------------------------------------------

    @property
    def outputs(self) -> tuple[Array, Array]:
        zs = len(self._net.zs)
        return self._ends.low[zs:], self._ends.high[zs:]

    @property
    def verdicts(self) -> list[str]:
        """Of every unit; "" where it is no gate."""
        low, high = self._by_unit(self._ends)
        found = []
        for u, gate in enumerate(self._gates):
            if not gate:
                found.append("")
            elif high[u] <= self._bends[u]:
                found.append(OFF)
            elif low[u] > self._bends[u]:
                found.append(ON)
            else:
                found.append(BOTH if u in self.witnesses else UNKNOWN)
        return found

    def _misses(self) -> list[tuple[str, float]]:
        """Of every unit that is unknown, what it all but is, and what is missing to prove it."""
        low, high = self._by_unit(self._ends)
        found = []
        for verdict, bend, least, most in zip(self.verdicts, self._bends, low, high):
            nearer = min((float(most - bend), OFF), (float(bend - least), ON))
            found.append((nearer[1], nearer[0]) if verdict == UNKNOWN else ("", 0.0))
        return found

    @property
    def units(self) -> Table:
        low, high = self._by_unit(self._ends)
        keys, units = self._net.keys, self._net.units
        return Table({
            "layer": [layer for layer, _ in keys],
            "neuron": [int(k) if k.isdigit() else k for _, k in keys],
            "activation": [unit[0].op for unit in units],
            "least_z": low.tolist(), "most_z": high.tolist(), "verdict": self.verdicts,
            "misses": [missing for _, missing in self._misses()],
        })  # fmt: skip

    def __repr__(self) -> str:
        return f"<Proof of {clean(title(self._net.model))}: {self._counts()}>"

    def __str__(self) -> str:
        return "\n".join(textwrap.fill(line, 80, subsequent_indent="  ") for line in self._lines())

    def _counts(self) -> str:
        verdicts = self.verdicts
        gates = [v for v in verdicts if v]
        if not gates:
            return "no gates"
        parts = [f"{gates.count(v)} {v}" for v in (OFF, ON, BOTH, UNKNOWN) if v in gates]
        return f"{count(len(gates), 'gate')}, {', '.join(parts)}"

    def _lines(self) -> Iterator[str]:
        far = " to ".join(dict.fromkeys(short(float(x)) for x in (self.radius.min(),
                                                                  self.radius.max())))  # fmt: skip
        yield (
            f"{clean(title(self._net.model))}, for every input within {far} of the row, in "
            f"{count(self.boxes, 'box', 'boxes')}: {self._counts()}."
        )
        by_layer: dict[str, list[tuple[str, str]]] = {}
        for (layer, k), verdict, (kind, missing) in zip(
            self._net.keys, self.verdicts, self._misses()
        ):
            known = f"{k} ({kind} but for {short(missing)})" if kind else k
            by_layer.setdefault(layer, []).append((verdict, known))
        for layer, of in by_layer.items():
            for verdict, words, space, shown in (
                (OFF, "off everywhere", " ", 12),
                (UNKNOWN, "unknown", ", ", 6),
            ):
                mine = [unit for v, unit in of if v == verdict]
                if mine:
                    more = f" and {len(mine) - shown} more" if len(mine) > shown else ""
                    yield f"{layer}, {words}: {space.join(mine[:shown])}{more}."
        low, high = self.outputs
        name = "The output lies" if len(low) == 1 else "The outputs lie"
        yield f"{name} in {span(float(low.min()), float(high.max()))}."
        if self.gradient is not None:
            most = short(float(self.gradient.max()))
            yield f"No gradient of an output by an input is above {most}."
