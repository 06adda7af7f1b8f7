"""Trials: each remedy on a copy of the net, trained shortly, beside the net as it is."""

from __future__ import annotations

import copy
import html
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradx._base.arguments import flat, nested, shape, whole
from microgradx._base.text import clean, clip, count, fixed, kind_of, short, squeeze, width
from microgradx.diagnosis.gauge import Figures, Gauge
from microgradx.diagnosis.optimizers import for_parameters, words
from microgradx.diagnosis.remedies import AS_IT_IS, Candidate, Case, candidates, copied
from microgradx.diagnosis.table import WIDTH, Table
from microgradx.diagnosis.task import Task, in_use, module_of
from microgradx.engine import order
from microgradx.nn.module import Module
from microgradx.train import History, fit
from microgradx.train.progress import in_one_line

if TYPE_CHECKING:
    from microgradx.diagnosis.result import Checkup

HALF = 0.5  # of the best fall of the loss: a net whose own is as large learns as it is
CLEAR = 0.05  # of the loss of a guess: losses that are nearer are not told apart
LEAST = 10  # columns that are left to names


def tried(
    checkup: Checkup,
    nets: Any = None,
    *,
    epochs: int = 3,
    optimizer: Any = None,
    batch_size: int | None = 64,
    seed: Any = 0,
) -> Trials:
    """The trials; arguments and errors as for `Checkup.try_remedies`."""
    task = checkup.task
    if task.targets is None:
        raise ValueError("a remedy is tried by training, which takes targets: checkup(model, X, y)")
    epochs, rng = whole("epochs", epochs), np.random.default_rng(seed)
    size = None if batch_size is None else whole("batch_size", batch_size)
    optimizer = checkup.optimizer if optimizer is None else optimizer
    _refuse_shared("the net", task.model, task)
    model = copied(task.model)
    chosen = for_parameters(optimizer, task.model, model.parameters())
    own = _own_nets(nets, task)
    case = Case(checkup, Gauge(task, model), int(copy.deepcopy(rng).integers(2**31)))
    found = [x for x in candidates(case) if x.step == 1.0 or hasattr(chosen, "lr")]
    _refuse_taken(own, found)
    runner = _Runner(task, case.gauge, optimizer, epochs, size, rng)
    trials = Trials(words(chosen), epochs, size, len(task.X), checkup.guess)
    return runner.run([*found, *own], trials)


# --- what was tried ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One candidate.

    name:    what was changed
    before:  its figures on all rows; third: after a third of the epochs; after: at the end; None
             where it did not get so far
    trouble: why it did not, or "diverges"; "" as a rule
    model:   what was trained; history: by `fit`
    """

    name: str
    before: Figures | None = None
    third: Figures | None = None
    after: Figures | None = None
    trouble: str = ""
    model: Module | None = field(default=None, repr=False)
    history: History | None = field(default=None, repr=False)

    @property
    def loss(self) -> float:
        """That at the end; infinite where there is none, or it is not finite."""
        found = self.after.loss if self.after else math.inf
        return found if math.isfinite(found) else math.inf


class Trials(list[Trial]):
    """What was tried, the net as it is first; print it.

    optimizer:   in words; epochs, batch_size, rows: of each trial
    third:       the epoch at which each is looked at on the way
    guess:       the loss of the best constant outputs; None where it isn't known
    planned:     how many there were to be
    interrupted: whether Ctrl-C ended the trials
    """

    def __init__(
        self, optimizer: str, epochs: int, batch_size: int | None, rows: int, guess: float | None
    ) -> None:
        super().__init__()
        self.optimizer, self.epochs, self.batch_size = optimizer, epochs, batch_size
        self.rows, self.guess = rows, guess
        self.third, self.planned, self.interrupted = max(1, epochs // 3), 0, False

    @property
    def best(self) -> Trial | None:
        """The trial with the least loss at the end; None where none has got there."""
        known = [trial for trial in self if trial.loss < math.inf]
        return min(known, key=lambda trial: trial.loss, default=None)

    @property
    def table(self) -> Table:
        """Columns by name: the loss, the accuracy and the dead ReLUs, before, on the way, after."""
        columns: dict[str, list[Any]] = {"name": [trial.name for trial in self]}
        for when in ("before", "third", "after"):
            for what in Figures._fields:
                if (when, what) != ("third", "dead"):
                    at = [getattr(trial, when) for trial in self]
                    columns[f"{what} {when}"] = [getattr(x, what, None) for x in at]
        return Table({**columns, "trouble": [trial.trouble for trial in self]})

    @property
    def verdict(self) -> str:
        """What follows, in sentences."""
        return " ".join(_sentences(self))

    def __repr__(self) -> str:
        best = self.best
        facts = [f"Trials of {count(len(self), 'net')}", *([f"best: {best.name}"] if best else [])]
        return f"<{', '.join(facts)}{', interrupted' * self.interrupted}>"

    def __str__(self) -> str:
        """The table and the verdict, in 80 columns."""
        lines = textwrap.wrap(self._title(), WIDTH) + _aligned(self._cells())
        return "\n".join([*lines, *textwrap.wrap(self.verdict, WIDTH, break_on_hyphens=False)])

    def _repr_html_(self) -> str:
        """The face in a notebook."""
        head, *rows = self._cells()
        table = "".join(_row("td", cells) for cells in rows)
        title, verdict = (f"<p>{html.escape(text)}</p>" for text in (self._title(), self.verdict))
        return f"{title}\n<table>{_row('th', head)}{table}</table>\n{verdict}"

    def _title(self) -> str:
        batches = "all in one batch" if self.batch_size is None else f"batches of {self.batch_size}"
        return f"Tried on copies, {self.optimizer}, {batches}, {count(self.rows, 'row')}:"

    def _cells(self) -> list[list[str]]:
        """The heads of the columns, then a list a trial; one that failed has its trouble only."""
        moments = {"before": "at first", "third": count(self.third, "epoch")}
        moments |= {"after": count(self.epochs, "epoch")}
        if self.third == self.epochs:
            del moments["third"]
        deaths = any(getattr(x.before, "dead", 0) or getattr(x.after, "dead", 0) for x in self)
        rows = [["", *moments.values(), *["dead"] * deaths]]
        for trial in self:
            cells = [trial.name, *[_figures(getattr(trial, when)) for when in moments]]
            cells += [_deaths(trial)] * deaths
            rows.append([trial.name, trial.trouble] if trial.before is None else cells)
        return rows


def _figures(found: Figures | None) -> str:
    """`1.136  71.6 %`, aligned with others."""
    if found is None:
        return "–"
    accuracy = "" if found.accuracy is None else f"{fixed(100 * found.accuracy, 1)} %".rjust(8)
    return f"{_loss(found.loss)}{accuracy}"


def _loss(x: float) -> str:
    return fixed(x, 3) if 0.001 <= abs(x) < 10 else short(x, 3)


def _deaths(trial: Trial) -> str:
    ends = [x.dead for x in (trial.before, trial.after) if x and x.dead is not None]
    return " → ".join(f"{n:,}" for n in ends) or "–"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Names to the left and cells to the right; names that leave no room are cut in the middle."""
    whole_rows = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(map(width, column)) for column in zip(*(row[1:] for row in whole_rows))]
    room = max(WIDTH - 2 - sum(n + 2 for n in widths), LEAST)
    room = min(room, max(width(row[0]) for row in rows))
    lines = []
    for name, *cells in rows:
        name = squeeze(name, room)
        if len(cells) == len(widths):
            cells = [" " * (n - width(x)) + x for x, n in zip(cells, widths)]
        line = "  ".join([f"  {name}{' ' * (room - width(name))}", *cells])
        lines.append(clip(line.rstrip(), WIDTH))
    return lines


def _row(kind: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{kind}>{html.escape(x)}</{kind}>' for x in cells)}</tr>"


# --- the verdict ---------------------------------------------------------------------------------


def _sentences(trials: Trials) -> list[str]:
    """Whether it learns as it is, or else what helps; what doesn't; what went wrong.

    It learns as it is where its loss falls by HALF or more of what the best one's does, or ends
    within CLEAR of it. A loss falls from that of the net at first, or of a guess if this is less.
    """
    found = []
    if trials.interrupted:
        found.append(f"Interrupted: {len(trials)} of {trials.planned} were begun.")
    if not trials or trials[0].after is None:
        return [*found, "It has not been trained as it is, so there is nothing to compare with."]
    race = _Race(trials)
    found += race.learning() if race.learns else race.winning()
    return [*found, *_troubles(trials)]


class _Race:
    """The trials that reached the end, beside the net as it is."""

    def __init__(self, trials: Trials) -> None:
        self.trials, self.own, best = trials, trials[0], trials.best
        assert self.own.before is not None
        self.first = self.own.before.loss
        guess = trials.guess
        known = [x for x in (self.first, guess) if x is not None and math.isfinite(x)]
        self.base = min(known, default=math.inf)
        self.scale = CLEAR * abs(guess if guess else self.base)
        self.others = [trial for trial in trials[1:] if trial.loss < math.inf]
        self.best = best
        self.horizon = f"after {count(trials.epochs, 'epoch')}"

    @property
    def learns(self) -> bool:
        """Whether nothing is clearly better than the net as it is."""
        if self.best is None or self.own is self.best:
            return True
        close = self.own.loss - self.best.loss <= self.scale
        return close or self.base - self.own.loss >= HALF * (self.base - self.best.loss)

    def learning(self) -> list[str]:
        if self.best is None:
            return [f"Nothing that was tried has a finite loss {self.horizon}."]
        loss = _loss(self.own.loss)
        if self.base - self.own.loss > self.scale:
            found = [f"It learns as it is: {loss} {self.horizon}, from {_loss(self.first)}."]
        else:
            found = [f"As it is, its loss is {loss} {self.horizon}, from {_loss(self.first)}."]
            if self.others:
                found.append(f"Nothing that was tried is clearly better{self._than_a_guess()}.")
            return found
        return [*found, *self._beside(), *self._advice()]

    def _than_a_guess(self) -> str:
        assert self.best is not None
        guess = self.trials.guess
        if guess is None or guess - self.best.loss > self.scale:
            return ""
        return f", or clearly below the {_loss(guess)} of a guess"

    def _beside(self) -> list[str]:
        """How the others do beside a net that learns."""
        ahead = [t for t in self.others if t.loss < self.own.loss - self.scale]
        early = [t for t in self.others if t not in ahead and self._was_faster(t)]
        rest = [t for t in self.others if t not in ahead and t not in early]
        return _groups(
            ("Ahead so far, which may not last", ahead),
            ("Faster at first, no better in the end", early),
            ("No help", rest),
        )

    def _was_faster(self, trial: Trial) -> bool:
        one, own = trial.third, self.own.third
        return bool(one and own and one.loss < own.loss - self.scale)

    def _advice(self) -> list[str]:
        dead = self.own.after.dead if self.own.after else 0
        if not dead:
            return []
        return [f"Train it; then come back for {count(dead, 'dead ReLU')}."]

    def winning(self) -> list[str]:
        """What is clearly better than the net as it is."""
        best = self.best
        assert best is not None
        own = "diverging" if self.own.loss == math.inf else _loss(self.own.loss)
        found = f"Best with {best.name}: {_loss(best.loss)} {self.horizon}; as it is, {own}."
        reach = min(self.own.loss, self.base)
        level = best.loss + (1 - HALF) * (reach - best.loss)
        rest = [t for t in self.others if t is not best]
        good = [t for t in rest if t.loss <= level]
        none = [t for t in rest if t.loss > max(level, reach - self.scale)]
        some = [t for t in rest if t not in good and t not in none]
        return [found, *_groups(("Good too", good), ("Some help", some), ("No help", none))]


def _troubles(trials: Trials) -> list[str]:
    """Those that diverge, together."""
    return _groups(("Diverging", [t for t in trials if t.after and t.trouble]))


def _groups(*groups: tuple[str, list[Trial]]) -> list[str]:
    """`No help: a, b and c.` for each group that has any."""
    return [f"{words}: {_named(trials)}." for words, trials in groups if trials]


def _named(trials: Iterable[Trial]) -> str:
    """`a`, `a and b`, `a, b and c`"""
    *some, last = [trial.name for trial in trials]
    return f"{', '.join(some)} and {last}" if some else last


# --- running them --------------------------------------------------------------------------------


class _Runner:
    """Trains candidates one after the other, each from the same seed."""

    def __init__(
        self, task: Task, gauge: Gauge, optimizer: Any, epochs: int, size: int | None, rng: Any
    ) -> None:
        self.task, self.gauge, self.optimizer = task, gauge, optimizer
        self.epochs, self.size, self.rng = epochs, size, rng

    def run(self, found: list[Candidate], trials: Trials) -> Trials:
        trials.planned = len(found)
        with in_one_line() as line:
            for k, candidate in enumerate(found, 1):
                line.title = f"{k} of {len(found)}, {squeeze(candidate.name, 30)}"
                line.show("recording")
                trials.append(self._trial(candidate, trials.third))
                if trials[-1].trouble == INTERRUPTED:
                    trials.interrupted = True
                    break
        return trials

    def _trial(self, candidate: Candidate, third: int) -> Trial:
        """Whatever happens to it, but for what the net as it is raises."""
        known: dict[str, Any] = {}
        try:
            self._train(candidate, third, known)
        except KeyboardInterrupt:
            known["trouble"] = INTERRUPTED
        except Exception as error:
            if candidate.name == AS_IT_IS:
                raise
            words = " ".join(f"{error}".split())
            known = {"trouble": clean(f"{type(error).__name__}: {words}")}
        return Trial(candidate.name, **known)

    def _train(self, candidate: Candidate, third: int, known: dict[str, Any]) -> None:
        """Note in `known` what becomes known."""
        task = self.task
        model = known["model"] = candidate.make()
        gauge = self.gauge if candidate.graph == "same" else Gauge(task, model)
        known["before"] = gauge.figures(model)
        data = (task.X, task.targets)
        history = known["history"] = fit(
            model, *data, loss=task.loss.function, epochs=self.epochs,
            optimizer=self._optimizer(candidate, model), batch_size=self.size,
            seed=copy.deepcopy(self.rng), validation=data, metrics=task.loss.metrics,
        )  # fmt: skip
        if len(history) >= third and not history[third - 1].interrupted:
            epoch = history[third - 1]
            assert epoch.validation_loss is not None
            known["third"] = Figures(epoch.validation_loss, epoch.metrics.get("accuracy"))
        if history.interrupted:
            known["trouble"] = INTERRUPTED
            return
        known["after"] = gauge.figures(model)
        known["trouble"] = "diverges" * bool(history.diverged)

    def _optimizer(self, candidate: Candidate, model: Module) -> Any:
        own = None if candidate.graph == "new" else self.task.model
        made = for_parameters(self.optimizer, own, model.parameters())
        if candidate.step != 1.0:
            made.lr *= candidate.step
        return made


INTERRUPTED = "interrupted"


# --- the reader's own nets -----------------------------------------------------------------------


def _own_nets(nets: Any, task: Task) -> list[Candidate]:
    """Candidates of a dict of nets; each must give outputs of the task's own form."""
    if nets is None:
        return []
    if not isinstance(nets, Mapping):
        raise TypeError(f"nets to try are a dict by name, {{'wider': net}}, got {kind_of(nets)}")
    form = _form(task.model, task)
    found = []
    for name, net in nets.items():
        if not isinstance(name, str) or not name.strip():
            raise TypeError(f"a net to try has a name, a str, got {name!r:.40}")
        title = f"the net {clean(name)!r}"
        module = _attempt(title, partial(module_of, net, task.X))
        if (other := _attempt(title, partial(_form, module, task))) != form:
            raise ValueError(
                f"{title} makes {_shaped(other)} of a row, the net that is checked "
                f"{_shaped(form)}; these must agree, as the targets are the same"
            )
        _refuse_shared(title, module, task)
        found.append(Candidate(clean(name), partial(copied, module), graph="new"))
    return found


def _form(model: Module, task: Task) -> Any:
    """The shape of the outputs of a row."""
    with in_use(model):
        return shape(nested(model(task.X[0].tolist())))


def _refuse_shared(title: str, net: Module, task: Task) -> None:
    """A ValueError for a net of which a copy still reads the parameters of the net itself."""
    with in_use(net):
        twin = copied(net)
    own, outputs = {*net.parameters()}, [*flat(nested(twin(task.X[0].tolist())))]
    if any(x in own for x in order(*outputs)):
        raise ValueError(
            f"{title} can't be copied: it reads its parameters from outside itself, as a function "
            "does. Write it as an nn.Module that holds them"
        )


def _shaped(form: Any) -> str:
    return (
        f"outputs of the shape {form}" if form else "one number" if form == () else "a ragged list"
    )


def _attempt(title: str, function: Callable[[], Any]) -> Any:
    """What a function returns; what it raises names the net, and is a TypeError or a ValueError."""
    try:
        return function()
    except Exception as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{title}: {error}") from error


def _refuse_taken(own: list[Candidate], found: list[Candidate]) -> None:
    names = {candidate.name for candidate in found}
    for candidate in own:
        if candidate.name in names:
            raise ValueError(
                f"the name {candidate.name!r} is taken by what is tried anyway; take another"
            )
        names.add(candidate.name)
