"""The verdict on trials: whether a net learns as it is, or else what is clearly better."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from microgradx._base.text import count, fixed, short

if TYPE_CHECKING:
    from microgradx.diagnosis.trials import Trial, Trials

HALF = 0.5  # of the best fall of the loss: a net whose own is as large learns as it is
CLEAR = 0.05  # of the loss of a guess: losses that are nearer are not told apart


def loss_in_words(x: float) -> str:
    return fixed(x, 3) if 0.001 <= abs(x) < 10 else short(x, 3)


def sentences(trials: Trials) -> list[str]:
    """Whether it learns as it is, or else what helps; what doesn't; what went wrong.

    It learns as it is where its loss falls by HALF or more of what the best one's does, or ends
    within CLEAR of it. A loss falls from that of the net at first, or of a guess if this is less.
    """
    found = []
    if trials.interrupted:
        found.append(f"Interrupted at number {len(trials)} of {trials.planned}.")
    if not trials or trials[0].after is None:
        return [*found, "The net as it is has not been trained to the end; run it again."]
    race = Race(trials)
    found += race.learning() if race.learns else race.winning()
    return [*found, *_troubles(trials)]


class Race:
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
        if self.own.loss == math.inf:
            return False
        close = self.own.loss - self.best.loss <= self.scale
        return close or self.base - self.own.loss >= HALF * (self.base - self.best.loss)

    def learning(self) -> list[str]:
        """How far a net gets as it is, and what the others do beside it."""
        if self.best is None:
            return [f"Nothing that was tried has a finite loss {self.horizon}."]
        ends = f"{loss_in_words(self.own.loss)} {self.horizon}, from {loss_in_words(self.first)}"
        if self.base - self.own.loss > self.scale:
            return [f"It learns as it is: {ends}.", *self._beside(), *self._advice()]
        better = f"Nothing that was tried is clearly better{self._than_a_guess()}."
        return [f"As it is, its loss is {ends}.", *[better] * bool(self.others)]

    def _than_a_guess(self) -> str:
        assert self.best is not None
        guess = self.trials.guess
        if guess is None or guess - self.best.loss > self.scale:
            return ""
        return f", or clearly below the {loss_in_words(guess)} of a guess"

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
        own = "diverging" if self.own.loss == math.inf else loss_in_words(self.own.loss)
        found = (
            f"Best with {best.name}: {loss_in_words(best.loss)} {self.horizon}; as it is, {own}."
        )
        reach = min(self.own.loss, self.base)
        level = best.loss + (1 - HALF) * (reach - best.loss)
        rest = [t for t in self.others if t is not best]
        good = [t for t in rest if t.loss <= level]
        some = [t for t in rest if level < t.loss <= reach - self.scale]
        none = [t for t in rest if t not in good and t not in some]
        early = [t for t in none if self._was_faster(t)]
        late = [t for t in none if t not in early]
        return [found, *_groups(
            ("Good too", good), ("Some help", some),
            ("Faster at first, no better in the end", early), ("No help", late),
        )]  # fmt: skip


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
