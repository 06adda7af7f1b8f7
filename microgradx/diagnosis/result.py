"""The check-up: a whole net over its whole data, in one call."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from microgradx._base.text import count, kind_of
from microgradx.diagnosis import words
from microgradx.diagnosis.box import Box, box_of
from microgradx.diagnosis.findings import Facts, Finding, findings_of
from microgradx.diagnosis.ledger import Ledger
from microgradx.diagnosis.steps import Steps
from microgradx.diagnosis.survey import Survey
from microgradx.diagnosis.table import Table
from microgradx.diagnosis.task import Task, task_of
from microgradx.diagnosis.trials import Trials, tried
from microgradx.diagnosis.units import Verdicts, table_of
from microgradx.engine import Value
from microgradx.explain import why
from microgradx.explain.explanation import Explanation
from microgradx.train.history import History
from microgradx.train.progress import ctrl_c, in_one_line
from microgradx.train.watch import Watch

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path


def checkup(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = None,
    box: Any = "data",
    rows: int = 10_000,
    watch: History | Watch | None = None,
) -> Checkup:
    """What is wrong with a net on its data, at its present numbers, and what that costs.

    model:     a Module, or whatever `adopt` takes: a net of PyTorch, scikit-learn or Keras, the
               path of an .onnx file, a function of one sample
    X, y:      one entry a row; y are whole numbers for classes, names for a scikit-learn
               classifier, else in the shape of the outputs. None asks about the mean output
    loss:      as for `fit`, or one of PyTorch's; None: cross-entropy of classes, binary for one
               output of 0 and 1, hinge for -1 and 1, else the mean squared error; outputs that are
               probabilities are taken for such
    optimizer: its step is looked at too: an `optim` object of the model's parameters, a function
               that makes one of them, or PyTorch's
    box:       the inputs for which a dead unit is proved so: "data", the range of each column, or a
               pair (low, high) of numbers or of arrays in the shape of a row
    rows:      at most so many are looked at, evenly spaced
    watch:     a `Watch` of the net, or the history of a `fit` with one: units that are dead or
               saturated then say since which step, and by which parameter

    Returns a `Checkup`, which prints as a page. Nothing is changed, and the net is looked at as in
    `eval()`. Data that isn't finite, of another width than the net takes, empty or of words,
    targets of another kind than the loss takes, a box with low > high are a TypeError or
    ValueError; so is a net that can't be adopted or recorded. After Ctrl-C it is of the rows that
    have been looked at so far.
    """
    task = task_of(model, X, y, loss, rows)
    seen = _watch(watch)
    chosen = box_of(box, task.X)
    survey = None
    with ctrl_c() as pressed, in_one_line() as line:
        line.title = "check-up"
        survey = Survey(task, stop=lambda: bool(pressed), tell=line.show)
    if survey is None:  # pressed twice
        raise KeyboardInterrupt
    return Checkup(survey, chosen, optimizer, bool(pressed) and survey.done < len(task.X), seen)


def _watch(watch: Any) -> Watch | None:
    if isinstance(watch, History):
        if watch.watch is None:
            raise ValueError("the history has no watch; call fit(…, watch=True)")
        return watch.watch
    if watch is None or isinstance(watch, Watch):
        return watch
    raise TypeError(f"watch is a Watch, or the history of a fit with one, got {kind_of(watch)}")


class Checkup:
    """What a walk over all rows has found; print it.

    task:      the net, its rows and its loss
    findings:  what is wrong, the dearest first; empty where nothing was found
    layers:    columns by layer: how many of its nodes a gradient comes to, the mean decades of it,
               their median, the parts of the budget
    neurons:   columns by unit: how often it is off or saturated, z from where to where, dead,
               proved dead, locked, and through which tensors it could be revived
    inputs:    columns by input: its mean and spread, and from where to where it goes
    loss:      the mean over the rows; guess: that of the best constant outputs, if it is known
    agreement: how well the adopted net agrees with its source; "" for a Module
    ledger:    the lines by layer
    step:      the optimiser's: `step.table` by tensor, and at which lengths of it the loss rises
               and units die or saturate; None without an optimizer
    trials:    those of the latest `try_remedies`, None before; a saved report has them too
    interrupted: whether Ctrl-C has ended the walk
    """

    def __init__(
        self,
        survey: Survey,
        box: Box,
        optimizer: Any,
        interrupted: bool,
        watch: Watch | None = None,
    ) -> None:
        self.survey, self.box, self.optimizer = survey, box, optimizer
        self.task: Task = survey.task
        self.interrupted = interrupted
        self.verdicts = Verdicts(survey, box)
        self.ledger = Ledger(survey)
        self.loss, self.guess = float(np.mean(survey.losses)), self.task.guess
        self.agreement: str = getattr(self.task.model, "agreement", "")
        self.step: Steps | None = None
        self.trials: Trials | None = None
        if optimizer is not None:
            try:
                self.step = Steps(survey, optimizer)
            except KeyboardInterrupt:  # what is known so far is kept
                self.interrupted = True
        facts = Facts(survey, self.verdicts, self.ledger, box, self.step, watch)
        self.findings: list[Finding] = findings_of(facts)

    @cached_property
    def layers(self) -> Table:
        return self.ledger.table()

    @cached_property
    def neurons(self) -> Table:
        return table_of(self.survey, self.verdicts)

    @cached_property
    def inputs(self) -> Table:
        """The inputs as columns, in the order of a row that is laid flat."""
        x = self.task.X.reshape(len(self.task.X), -1)
        facts = (x.mean(axis=0), x.std(axis=0), x.min(axis=0), x.max(axis=0))
        names = ("mean", "spread", "least", "most")
        numbers = {name: fact.tolist() for name, fact in zip(names, facts)}
        return Table({"input": [*range(x.shape[1])], **numbers})

    @cached_property
    def widths(self) -> dict[str, int]:
        """By layer, how many units it has."""
        return self.survey.widths

    def sample(self, finding: Finding | int) -> Value:
        """The scalar graph of the row that shows a finding, for `draw`, `why`, `page`.

        It leads to the net's own parameters, and no backward() has been called on it.

        finding: one of `findings`, or its place there
        """
        row = self._asked(finding).row
        task = self.task
        sample = [task.X[row]] if task.targets is None else [task.X[row], task.targets[row]]
        return self.survey.replay.played(*sample)

    def why(self, finding: Finding | int) -> Explanation:
        """Why the gradient of a parameter that a finding concerns is what it is, in that row."""
        found, loss = self._asked(finding), self.sample(finding)
        node = next((p for p in self.survey.replay.parameters if p.label == found.node), None)
        if node is None:
            raise ValueError(f"{found.verdict} is about no gradient; its `because` is all there is")
        explanation: Explanation = why(node, loss)
        explanation.remark = None  # on .grad, which this graph leaves alone
        return explanation

    def _asked(self, finding: Finding | int) -> Finding:
        if isinstance(finding, int) and not isinstance(finding, bool):
            if not -len(self.findings) <= finding < len(self.findings):
                raise IndexError(f"finding {finding} of {len(self.findings)}")
            return self.findings[finding]
        if not isinstance(finding, Finding):
            raise TypeError(f"ask for one of the findings, or its place, got {kind_of(finding)}")
        return finding

    def try_remedies(
        self,
        remedies: Mapping[str, Any] | None = None,
        *,
        epochs: int = 3,
        optimizer: Any = None,
        batch_size: int | None = 64,
        seed: Any = 0,
    ) -> Trials:
        """Train the net as it is, and copies with a remedy each for what was found; see `Trials`.

        remedies:   nets of your own to be tried beside them, by name: {"wider": net}
        epochs:     how long each is trained
        optimizer:  as for `checkup`, and None is the check-up's own; Adam, if that has none
        batch_size, seed: as for `fit`; all meet the same batches in the same order

        The net, its optimiser and the data stay as they are. A terminal or a notebook shows how far
        it is; after Ctrl-C it has what is known so far. A copy that can't be trained says so in its
        row. No targets, epochs below 1, a net of your own with other outputs or inputs, or a name
        that is taken are a ValueError, what is no net a TypeError, before anything is trained.
        """
        self.trials = tried(
            self, remedies, epochs=epochs, optimizer=optimizer, batch_size=batch_size, seed=seed
        )
        return self.trials

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the report to an .html file, or the figures to a .json file; returns its Path."""
        from microgradx.diagnosis.report import write

        return write(self, path)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """The face in a notebook: the page of a terminal, and the pictures."""
        from microgradx.diagnosis.report import face

        return face(self)

    def __repr__(self) -> str:
        verdicts = ", ".join(dict.fromkeys(f.verdict for f in self.findings)) or "nothing found"
        return f"<Checkup of {count(len(self.task.X), 'row')}: {verdicts}>"

    def __str__(self) -> str:
        return words.page(self)
