"""A watch: at which step each unit died, saturated or came back, and by which update."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Iterator, Sequence
from operator import is_
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from microgradx._base.arguments import flat, nested, whole
from microgradx._base.files import WrongSuffix, write_whole
from microgradx._base.text import count, element, few, listed, percent, short
from microgradx.engine import Value, numbers_in
from microgradx.explain.factors import of_one
from microgradx.interop.adopted import Adopted
from microgradx.interop.usage import in_use, module_of
from microgradx.pictures.show import in_html, in_page
from microgradx.replay import Replay, record
from microgradx.replay.batch import Array, samples
from microgradx.replay.sums import ARRAYS
from microgradx.replay.units import Key, flat_below, flat_share, units_in
from microgradx.train import timeline
from microgradx.train.blame import Blame, first_not_finite

ON, DEAD, SATURATED = range(3)  # what a unit is
NAMES = ("on", "dead", "saturated")
DOES = {"dead": "died", "saturated": "saturated", "on": "came back"}
ROWS = 100  # that `fit(watch=True)` looks at
CHANGED = "the model has other parameters than when the watch began; make a Watch of it now"
SHOWN = 10  # events, and rows of a batch, that are told one by one


class Event(NamedTuple):
    """A unit that is another thing than at the look before.

    step:   since which look
    since:  the step of the look before
    verdict: "dead", "saturated" or "on": what it is now; `before` is what it was
    layer, neuron: which unit, by its number in the layer
    row:    the row of X that is told of: the last one that was on, or the first that is on again
    z:      its pre-activation there at the look before, and now
    parameter: the tensor that moved z most, or of the unit's own the part that is its, such as
            "layers.0.bias[3]"
    share:  how much of the change of z that was; all tensors together are 1 (`blame.py`)
    batch:  the rows that the step was taken on; () where that isn't known
    """

    step: int
    since: int
    verdict: str
    before: str
    layer: str
    neuron: int | str
    row: int
    z: tuple[float, float]
    parameter: str
    share: float
    batch: tuple[int, ...]

    def __str__(self) -> str:
        batch = f"; the batch was {_rows(self.batch)}" if self.batch else ""
        return f"{self.layer} {self.neuron} {self.became} {self.when}: {self.why}{batch}"

    @property
    def became(self) -> str:
        """The verb: "died", "saturated", "came back"."""
        return DOES[self.verdict]

    @property
    def when(self) -> str:
        """ "at step 31"; "between steps 21 and 31" where only each tenth was looked at."""
        if self.step - self.since > 1:
            return f"between steps {self.since} and {self.step}"
        return f"at step {self.step}"

    @property
    def why(self) -> str:
        """What its z did, and by which parameter."""
        was, now = (short(x) for x in self.z)
        most = "more than all" if self.share >= 1.005 else percent(self.share)
        by = f", {most} of it by {self.parameter}" if self.parameter else ""
        return f"z of row {self.row} went from {was} to {now}{by}"


class NotFinite(NamedTuple):
    """The first number that was none.

    step:  of the look that found it
    where: the op and its label, or the parameters that are not finite
    rows:  of X, or of the batch where `batch` is known, in which it is so
    words: a sentence
    """

    step: int
    where: str
    rows: tuple[int, ...]
    words: str


class Watch:
    """Looks at every unit of a net on some rows, as often as it is called.

    model: a Module, or a net that `adopt` takes: a look reads the live net's weights again
    X:     the rows that are looked at, (n, …); a unit is dead if it is off in all of them
    every: of so many calls one is a look

    `watch(step)` after each step of a loop of one's own, `fit(…, watch=watch)` in `fit`. A look is
    a forward pass of the rows, and where something has happened two more of those that show it; it
    changes no number of the training. Bad arguments are a TypeError or a ValueError, as is a net
    that gets other parameters under the watch; what was seen stays.

    steps:   of every look, the first one being before the training, at 0
    events:  deaths, saturations and returns in turn; `deaths()`, `saturations()`, `returns()`
    updates: by tensor, of every look after the first log₁₀ of the root mean square of what it
             moved by since the look before, beside that of its numbers; about -3 is usual
    not_finite: the first nan or infinity, None where there is none
    """

    def __init__(self, model: Any, X: Any, *, every: int = 1) -> None:
        self.X = samples("X", X)
        self.model = module_of(model, self.X)
        self.every = whole("every", every)
        self.steps: list[int] = []
        self.events: list[Event] = []
        self.not_finite: NotFinite | None = None
        self._calls = 0
        self._state: Any = None
        self._record()
        self.updates: dict[str, list[float]] = {name: [] for name in self._tensors}
        self._look(0, numbers_in(self.parameters), ())

    def _record(self) -> None:
        def outputs(x: Any) -> list[Value]:
            return [*flat(nested(self.model(x)))]

        self._all = self.model.parameters()
        with in_use(self.model):
            self._replay: Replay = record(outputs, self.X[0].tolist())
        self.parameters = self._replay.parameters
        units = units_in(self._replay.nodes, self._replay.layer_of)
        self.keys: list[Key] = [key for key, _ in units]
        self._nodes = [*units.values()]
        self._kinds = self._grouped()
        self._shares = np.array([flat_share(nodes[0]) for nodes in self._nodes])
        rules = [nodes[0].rule for nodes in self._nodes]
        self._gates = np.array([rule is not None and rule.kind == "gate" for rule in rules], bool)
        self._tensors: dict[str, Any] = {}
        for k, p in enumerate(self.parameters):
            self._tensors.setdefault(element(p.label)[0] or "leaves", []).append(k)
        self._tensors = {name: np.array(places) for name, places in self._tensors.items()}
        self._buffers = self._held()
        if (live := self._live()) is not None:
            numbers = live.source_numbers()
            self._elements = {name: self._flat(name, numbers[name]) for name in self._tensors}

    def _flat(self, name: str, numbers: Any) -> Array:
        """Of a tensor's parameters, the places in the source's array, laid flat."""
        form = np.shape(numbers)
        places = [element(self.parameters[k].label)[1] for k in self._tensors[name].tolist()]
        return np.array([np.ravel_multi_index(place, form) if place else 0 for place in places])

    def _grouped(self) -> list[tuple[Value, list[Value], Array]]:
        """Of each kind of activation one, the z of all that are so, and whose each is."""
        found: dict[Any, tuple[Value, list[Value], list[int]]] = {}
        for u, nodes in enumerate(self._nodes):
            alike = nodes[0].rule, *[x for x in nodes[0].operands if not isinstance(x, Value)]
            _, zs, of = found.setdefault(alike, (nodes[0], [], []))
            zs += [x.inputs[0] for x in nodes]
            of += [u] * len(nodes)
        return [(node, zs, np.array(of)) for node, zs, of in found.values()]

    # --- looking ---------------------------------------------------------------------------------

    def __call__(self, step: int | None = None, batch: Any = ()) -> list[Event]:
        """Look, if it is time: what has changed since the look before.

        step:  counted from 1; None for one more than at the call before
        batch: the numbers of the rows that the step was taken on, to be told
        """
        due = self.due()
        step = self._calls if step is None else whole("step", step)
        if step <= self.steps[-1]:
            raise ValueError(f"step {step} is not after {self.steps[-1]}, the latest look")
        if not due:
            return []
        live = self._live()
        data = self._of_model() if live is None else self._of_source(live)
        rows = np.asarray(batch, dtype=int).ravel().tolist()
        return self._look(step, data, tuple(rows))

    def _of_model(self) -> Any:
        """The numbers that the model's parameters have."""
        now = self.model.parameters()
        if len(now) != len(self._all) or not all(map(is_, now, self._all)):
            raise ValueError(CHANGED)
        if self._buffers and self._held() != self._buffers:  # a replay has them as constants
            self._record()
        return numbers_in(self.parameters)

    def _live(self) -> Adopted | None:
        """The model where it is adopted from a net that may change."""
        model = self.model
        return model if isinstance(model, Adopted) and model.is_live else None

    def _of_source(self, model: Adopted) -> Any:
        """Those that the source of an adopted net has, taken from its arrays."""
        numbers = model.source_numbers()
        if any(np.any(np.asarray(numbers.get(name, x)) != x) for name, x in self._buffers.items()):
            model.refresh()
            self._record()
        data = np.empty(len(self.parameters))
        for name, places in self._tensors.items():
            found = np.ravel(numbers.get(name, ()))
            if len(found) <= max(self._elements[name]):
                raise ValueError(CHANGED)
            data[places] = found[self._elements[name]]
        return data

    def due(self) -> bool:
        """Whether it is time for a look, one step later."""
        self._calls += 1
        return not self._calls % self.every

    def look(self, step: int, data: Any, batch: Array) -> list[Event]:
        """A look at numbers that the model does not have yet.

        data: by parameter, in the order of `parameters`
        """
        return self._look(step, data, tuple(batch.tolist()))

    def _held(self) -> dict[str, Any]:
        """The model's state without its parameters, as the statistics of a batch norm."""
        names = {*self._tensors}
        return {name: x for name, x in self.model.state_dict().items() if name not in names}

    def _look(self, step: int, data: Any, batch: tuple[int, ...]) -> list[Event]:
        replay = self._replay
        before, now = replay.data.copy(), np.array(data, float)
        with np.errstate(all="ignore"):
            replay.data = now
            replay.load(self.X)
            every = replay.values_of([z for _, nodes, _ in self._kinds for z in nodes])
            zs = np.split(every, np.cumsum([len(nodes) for _, nodes, _ in self._kinds]))[:-1]
            slopes = [np.abs(_slopes(unit, z)) for (unit, _, _), z in zip(self._kinds, zs)]
            state = self._states(slopes)
            if self.steps:  # what is nan is nothing of these
                broken = [np.bincount(of, ~np.isfinite(z).all(axis=1), minlength=len(state))
                          for (_, _, of), z in zip(self._kinds, zs)]  # fmt: skip
                state = np.where(sum(broken) > 0, self._state, state) if broken else state
            if not self.steps:
                self.first = state
            else:
                for name, places in self._tensors.items():
                    self.updates[name].append(_log_ratio(now[places], before[places]))
                if self.not_finite is None:
                    self._look_for_nan(step, now, zs)
        found = []
        if self.steps and (changed := np.flatnonzero(state != self._state)).size:
            found = self._events(step, changed, state, zs, slopes, before, batch)
        self.steps.append(step)
        self.events += found
        self._state, self._zs, self._slopes = state, zs, slopes
        return found

    def _states(self, slopes: Sequence[Array]) -> Array:
        """By unit what it is."""
        n = len(self._nodes)
        seen, off, shut = np.zeros(n), np.zeros(n), np.zeros(n)
        for (unit, _, of), d in zip(self._kinds, slopes):
            seen += np.bincount(of, minlength=n) * d.shape[1]
            off += np.bincount(of, (d == 0).sum(axis=1), minlength=n)
            shut += np.bincount(of, (d < flat_below(unit)).sum(axis=1), minlength=n)
        saturated = (shut > 0) & (shut >= self._shares * seen)
        state: Array = np.where(saturated, SATURATED, ON).astype(np.int8)
        state[self._gates & (off == seen)] = DEAD
        return state

    def _events(
        self, step: int, changed: Array, state: Array, zs: Any, slopes: Any, before: Array,
        batch: tuple[int, ...],
    ) -> list[Event]:  # fmt: skip
        """What has become of these units, and by which update."""
        told = [
            self._told_of(int(u), state[u] == ON, zs, slopes, self._zs, self._slopes)
            for u in changed
        ]
        blame = Blame(self._replay, before, self._replay.data.copy())
        nodes = [node for node, _, _, _ in told]
        causes = blame.of(nodes, self.X[[row for _, row, _, _ in told]],
                          [after - was for _, _, was, after in told])  # fmt: skip
        found = []
        for u, (_, row, was, after), (name, share) in zip(changed, told, causes):
            layer, number = self.keys[u]
            found.append(Event(
                step, self.steps[-1], NAMES[state[u]], NAMES[self._state[u]], layer,
                int(number) if number.isdigit() else number, row, (was, after), name, share, batch,
            ))  # fmt: skip
        return found

    def _told_of(
        self, u: int, back: bool, zs: Any, slopes: Any, old: Any, old_slopes: Any
    ) -> tuple[Value, int, float, float]:
        """The z and the row that show best what became of a unit; what z was there, and is."""
        for k, (_, nodes, of) in enumerate(self._kinds):
            mine = np.flatnonzero(of == u)
            if mine.size:
                at, d = (zs[k], slopes[k]) if back else (old[k], old_slopes[k])
                open_ = np.where(d[mine] == d[mine].max(), np.abs(at[mine]), -1.0)
                i, row = divmod(int(open_.argmax()), open_.shape[1])
                place = mine[i]
                return nodes[place], row, float(old[k][place, row]), float(zs[k][place, row])
        raise AssertionError(u)

    def _look_for_nan(self, step: int, now: Array, zs: Sequence[Array]) -> None:
        wrong = np.flatnonzero(~np.isfinite(now))
        if wrong.size:
            labels = [self.parameters[k].label for k in wrong.tolist()]
            names = [*dict.fromkeys(element(label)[0] or "a leaf" for label in labels)]
            self.not_finite = NotFinite(
                step, listed(names, 3), (), f"At step {step} {count(wrong.size, 'parameter')} "
                f"became nan or infinite, of {listed(names, 3)}.",
            )  # fmt: skip
        elif not all(np.isfinite(z).all() for z in zs) and (
            found := first_not_finite(self._replay)
        ):
            self.not_finite = not_finite(step, *found)

    # --- what was seen ---------------------------------------------------------------------------

    def deaths(self) -> list[Event]:
        """The units that died, in turn."""
        return [event for event in self.events if event.verdict == "dead"]

    def saturations(self) -> list[Event]:
        """The units that saturated, in turn."""
        return [event for event in self.events if event.verdict == "saturated"]

    def returns(self) -> list[Event]:
        """Those that came back: a revival of a dead unit, or an end of a saturation."""
        return [event for event in self.events if event.verdict == "on"]

    def of(self, layer: str, neuron: int | str) -> list[Event]:
        """All that became of one unit."""
        return [e for e in self.events if e.layer == layer and e.neuron == neuron]

    @property
    def words(self) -> str:
        """What is looked at, and how often."""
        often = "each step" if self.every == 1 else f"each {self.every} steps"
        rows = count(len(self.X), "row")
        return f"{count(len(self.keys), 'unit')} on {rows}, {often}: a forward pass of them a look"

    def __str__(self) -> str:
        return "\n".join(
            textwrap.fill(line, 80, subsequent_indent="  ", break_long_words=False)
            for line in self._lines()
        )

    def _lines(self) -> Iterator[str]:
        yield f"Watch of {self.words}"
        dead, saturated = (int((self._state == k).sum()) for k in (DEAD, SATURATED))
        verb = "is" if dead == 1 else "are"
        yield f"After step {self.steps[-1]}, {dead} {verb} dead and {saturated} saturated."
        if self.not_finite:
            yield self.not_finite.words
        groups: dict[tuple[Any, ...], list[Event]] = {}
        for event in self.events:
            groups.setdefault((event.step, event.layer, event.verdict), []).append(event)
        shown, rest = few([*groups.values()], SHOWN)
        yield from map(_together, shown)
        if rest:
            yield f"and {count(rest, 'more line')}: watch.events has all"

    def __repr__(self) -> str:
        return f"<Watch of {self.words}; {count(len(self.events), 'event')}>"

    # --- the picture -----------------------------------------------------------------------------

    def svg(self) -> str:
        """A picture of all steps: a line a unit that was ever shut, a bar while it was."""
        lines = {key: timeline.Line(*key, []) for key in self.keys}
        begun = {key: (NAMES[k], 0) for key, k in zip(self.keys, self.first.tolist()) if k}
        for event in self.events:
            key = event.layer, str(event.neuron)
            if key in begun:
                verdict, start = begun.pop(key)
                lines[key].bars.append(timeline.Bar(verdict, start, event.step))
            if event.verdict != "on":
                begun[key] = event.verdict, event.step
        for key, (verdict, start) in begun.items():
            lines[key].bars.append(timeline.Bar(verdict, start, self.steps[-1]))
        return timeline.drawn([*lines.values()], self.steps[-1])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture as .svg, all or nothing; the path. Another suffix is a ValueError."""
        path = Path(path)
        if path.suffix.lower() not in ("", ".svg"):
            raise WrongSuffix(f"the picture of a watch is saved as .svg, got {path.name!r:.80}")
        path = path if path.suffix else path.with_suffix(".svg")
        write_whole(path, self.svg().encode())
        return path

    def _repr_html_(self) -> str:
        """The face in a notebook: the words, and the picture."""
        return in_html(str(self), in_page(self.svg()))


class Watched:
    """A watch of a training whose numbers lie in a replay of the loss."""

    def __init__(self, watch: Watch, replay: Replay) -> None:
        self._watch, self._replay = watch, replay
        self._own: Any = numbers_in(watch.parameters)
        self._own = np.array(self._own)
        place = {p: k for k, p in enumerate(replay.parameters)}
        pairs = [(k, place[p]) for k, p in enumerate(watch.parameters) if p in place]
        self._places, self._theirs = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        self._step = watch.steps[-1]
        self._before = replay.data.copy()

    def take_over(self) -> None:
        """Go on from the numbers that the model has now, which something may have changed."""
        self._own = np.array(numbers_in(self._watch.parameters))
        self._before = self._replay.data.copy()

    def look(self, x: Array, y: Array, start: int, order: Any) -> None:
        """After a step on a batch, which begins at a place in this order of the rows."""
        self._step += 1
        if not self._watch.due():
            return
        stop = start + len(x)
        batch = np.arange(start, stop) if order is None else order[start:stop]
        self._own[self._places] = self._replay.data[self._theirs]
        had = self._watch.not_finite
        self._watch.look(self._step, self._own, batch)
        if self._watch.not_finite is not None and had is None and self._watch.every == 1:
            self._watch.not_finite = self._origin(x, y, batch) or self._watch.not_finite
        self._before[:] = self._replay.data

    def _origin(self, x: Array, y: Array, batch: Array) -> NotFinite | None:
        """Where in the loss of this batch the first number was that is not finite."""
        replay = self._replay
        after, gradient = replay.data.copy(), replay.gradient.copy()
        try:
            replay.data = self._before
            replay.load(x, y)
            found = first_not_finite(replay)
            if found is not None:
                return not_finite(self._step, found[0], batch[found[1]].tolist())
            rows = []
            for k in range(len(x)):
                replay.load(x[k : k + 1], y[k : k + 1])
                replay.run()
                rows += [int(batch[k])] * (not np.isfinite(replay.gradient).all())
            return gradient_not_finite(self._step, rows) if rows else None
        finally:
            replay.data, replay.gradient[:] = after, gradient


def gradient_not_finite(step: int, rows: Sequence[int]) -> NotFinite:
    return NotFinite(
        step, "gradient", tuple(rows), f"At step {step} the gradient of {_rows(rows)} was not "
        "finite, though the loss was.",
    )  # fmt: skip


def _together(events: Sequence[Event]) -> str:
    """Units of a layer of which the same became at a step; of the last one on, why."""
    first = max(events, key=lambda event: abs(event.z[0]) if event.z[0] == event.z[0] else 0.0)
    shown, rest = few([event.neuron for event in events], SHOWN)
    units = " ".join(map(str, shown)) + (f" and {rest} more" if rest else "")
    what = "" if len(events) == 1 else f"of {first.neuron}, "
    return f"step {first.step}: {first.layer} {units} {DOES[first.verdict]}; {what}{first.why}"


def not_finite(step: int, node: Value, rows: Sequence[int]) -> NotFinite:
    """The finding that a node was the first that is not finite, in these rows."""
    name = f"{node.op} {node.label}".strip()
    return NotFinite(
        step, name, tuple(rows), f"At step {step} the first number that is not finite was that of "
        f"{name}, in {_rows(rows)}.",
    )  # fmt: skip


def _rows(rows: Sequence[int]) -> str:
    shown, rest = few([*rows], SHOWN)
    more = f" and {rest} more" if rest else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {' '.join(map(str, shown))}{more}"


def _slopes(unit: Value, z: Array) -> Array:
    found: Array = np.broadcast_to(of_one(ARRAYS, unit, z)[1], z.shape)
    return found


def _log_ratio(now: Array, before: Array) -> float:
    size = math.sqrt(float(np.mean(now * now)))
    moved = math.sqrt(float(np.mean((now - before) ** 2)))
    if not size or not moved:
        return -math.inf if not moved else math.inf
    return math.log10(moved / size)
