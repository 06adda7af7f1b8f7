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
from microgradx._base.text import clean, clip, count, fixed, kind_of, squeeze, width
from microgradx.diagnosis.gauge import Figures, Gauge
from microgradx.diagnosis.optimizers import for_parameters, words
from microgradx.diagnosis.race import loss_in_words, sentences
from microgradx.diagnosis.remedies import AS_IT_IS, Candidate, Case, candidates, copied
from microgradx.diagnosis.table import WIDTH, Table
from microgradx.diagnosis.task import Task
from microgradx.engine import order
from microgradx.interop.usage import in_use, module_of
from microgradx.nn.module import Module
from microgradx.train import History, fit
from microgradx.train.progress import Shared, in_one_line

if TYPE_CHECKING:
    from microgradx.diagnosis.result import Checkup

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
    with in_one_line() as line:
        line.title = "remedies"
        line.show("recording the net")
        _refuse_shared("the net", task.model, task)
        model = copied(task.model)
        chosen = for_parameters(optimizer, task.model, model.parameters())
        own = _own_nets(nets, task)
        case = Case(checkup, Gauge(task, model), int(copy.deepcopy(rng).integers(2**31)))
        found = [x for x in candidates(case) if x.step == 1.0 or hasattr(chosen, "lr")]
        _refuse_taken(own, found)
        runner = _Runner(task, case.gauge, optimizer, epochs, size, rng)
        trials = Trials(words(chosen), epochs, size, len(task.X), checkup.guess)
        return runner.run([*found, *own], trials, line)


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
    model: Module | None = field(default=None, repr=False, compare=False)
    history: History | None = field(default=None, repr=False, compare=False)

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
        """What follows, in sentences.

        It learns as it is if its loss falls by half or more of what the best one's does, or ends
        within 5 % of a guess's loss from it. Else the best is named, and what has half of its lead.
        A short trial finds a good choice, and ranks the others badly: hence its epochs are named.
        """
        return " ".join(sentences(self))

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
    return f"{loss_in_words(found.loss)}{accuracy}"


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


# --- running them --------------------------------------------------------------------------------


class _Runner:
    """Trains candidates one after the other, each from the same seed."""

    def __init__(
        self, task: Task, gauge: Gauge, optimizer: Any, epochs: int, size: int | None, rng: Any
    ) -> None:
        self.task, self.gauge, self.optimizer = task, gauge, optimizer
        self.epochs, self.size, self.rng = epochs, size, rng

    def run(self, found: list[Candidate], trials: Trials, line: Shared) -> Trials:
        trials.planned = len(found)
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
