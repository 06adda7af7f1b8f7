"""The study: a function of one configuration over a grid of them, on any executor."""

from __future__ import annotations

import itertools
import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from microgradx._base.arguments import members
from microgradx._base.files import WrongSuffix, write_whole
from microgradx._base.text import count, kind_of, listed
from microgradx.diagnosis.cells import Configuration, Outcome, Run, check_function
from microgradx.diagnosis.columns import ERROR, as_file, of_file, plain
from microgradx.diagnosis.table import Table
from microgradx.train.progress import ctrl_c, in_one_line

Key = tuple[Any, ...]  # a configuration, to be looked up
MOST = 3  # configurations that are named


def study(
    fn: Callable[..., Any], executor: Any = None, known: Any = None, **axes: Iterable[Any]
) -> Study:
    """A function of one configuration over a grid of them, as a table.

    fn:       fn(depth=4, gain=1.5) makes a number, which is the column "value", or a dict of them
    executor: any of `concurrent.futures`, or another library's: of Dask
              `client.get_executor(pure=False)`, of MPI mpi4py's `MPIPoolExecutor`. None: processes
              of this machine
    known:    what needs no run: a `Study`, columns of one length by name, a data frame among them,
              or the path of a saved .csv. Rows with an error are known, too; `succeeded` leaves
              them out. Rows outside of the grid are dropped
    axes:     values by name, as depth=[2, 4, 8]; the grid is their product, the last axis fastest

    Returns a `Study`, its rows in the order of the grid, however the cells have ended. A cell that
    raises has its error in the column "error", "" in all others. After Ctrl-C it has the cells that
    are known so far, and `known=` goes on from there.

    Where a process dies, the cells that it had in hand run again in other processes; a cell whose
    process has died three times has that as its error. An executor that you pass is used as it is:
    if it dies, a RuntimeWarning says so, the Study has what is known, and you go on by `known=`
    with another. If no cell has ended by then, that is a RuntimeError, and so is an executor that
    is closed. A function that can't be sent to processes, as a lambda, is a TypeError; so is what
    is no axis or no executor. No axis, an axis without values or with one twice, known columns of
    other axes are a ValueError.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> found = study(lambda x, y: x * y, executor=ThreadPoolExecutor(), x=[1, 2], y=[3, 4])
    >>> found["value"], found
    ([3, 4, 6, 8], <Study of 4 cells, x × y>)
    """
    checked = _checked(axes)
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"an executor has submit(), as those of concurrent.futures, got {kind_of(executor)}; "
            "for n processes pass ProcessPoolExecutor(n)"
        )
    grid = [dict(zip(checked, xs)) for xs in itertools.product(*checked.values())]
    before = {} if known is None else _known(known, checked)
    missing = {i: x for i, x in enumerate(grid) if _key(x.values()) not in before}
    outcomes = {i: before[_key(x.values())] for i, x in enumerate(grid) if i not in missing}
    if not missing:
        return Study(checked, outcomes)
    check_function(fn, executor)
    with ctrl_c() as pressed, in_one_line() as line:
        line.title = "study"
        run = Run(
            fn, missing, stop=lambda: bool(pressed),
            tell=lambda found: line.show(_progress({**outcomes, **found}, len(grid))),
        )  # fmt: skip
        if executor is None:
            run.in_pools()
        else:
            run.on(executor)
    if run.why and not run.found:
        remedy = (
            "an executor that is open" if executor is not None else "executor=ThreadPoolExecutor()"
        )
        raise RuntimeError(f"no cell has run: {run.why}. Pass {remedy}")
    made = Study(checked, {**outcomes, **run.found}, bool(pressed), run.why)
    if run.why:
        warnings.warn(
            f"{run.why}: {_left(made)}. Go on with study(…, known=this), and another executor",
            RuntimeWarning, stacklevel=2,
        )  # fmt: skip
    return made


class Study(Table):
    """Columns of one length by name: the axes, what the function has made, and "error".

    axes:        their values by name
    missing:     the configurations that have not run
    interrupted: whether Ctrl-C has ended it
    stopped:     in words, why its executor took no more cells; "" as a rule

    `pandas.DataFrame(study)` takes it, `rows` are its rows as dicts. A number that a cell has not
    made, as one that failed, is None. A cell that has not run has no row.
    """

    def __init__(
        self,
        axes: Mapping[str, Sequence[Any]],
        outcomes: Mapping[int, Outcome],
        interrupted: bool = False,
        stopped: str = "",
    ) -> None:
        grid = [dict(zip(axes, xs)) for xs in itertools.product(*axes.values())]
        rows = [{**grid[i], **outcomes[i]} for i in sorted(outcomes)]
        names = dict.fromkeys([*axes, *(name for row in rows for name in row if name != ERROR)])
        super().__init__({x: [row.get(x) for row in rows] for x in [*names, ERROR]})
        self.axes = {name: [*values] for name, values in axes.items()}
        self.missing: list[Configuration] = [x for i, x in enumerate(grid) if i not in outcomes]
        self.interrupted, self.stopped = interrupted, stopped

    @property
    def succeeded(self) -> Study:
        """The cells without an error: as `known`, it lets those that failed run again."""
        place = {_key(xs): i for i, xs in enumerate(itertools.product(*self.axes.values()))}
        kept = {
            place[_key(row[name] for name in self.axes)]: {
                name: x for name, x in row.items() if name not in self.axes
            }
            for row in self.rows if not row[ERROR]
        }  # fmt: skip
        return Study(self.axes, kept)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the rows to a .csv file, all or nothing; returns its Path.

        `study(…, known=path)` reads them back as they were, to the last digit. A full disk is an
        OSError, and an old file stays; a value that isn't a number, a word or a list of them is a
        TypeError.
        """
        path = Path(path)
        if path.suffix.lower() not in ("", ".csv"):
            raise WrongSuffix(f"a study is saved as .csv, got {path.name!r:.80}")
        path = path if path.suffix else path.with_suffix(".csv")
        try:
            write_whole(path, as_file(self))
        except OSError as error:
            why = f"{error.strerror or error}; nothing is lost: save the study somewhere else"
            raise OSError(error.errno, why, str(path)) from error
        return path

    def picture(
        self,
        x: str,
        y: str,
        colour: str,
        *,
        only: Mapping[str, Any] | None = None,
        axes: Any = None,
    ) -> Any:
        """A heat map by matplotlib: a column over two axes; returns matplotlib's Axes.

        only: the rows with these values, as {"activation": "relu"}
        axes: those to paint on; None makes a figure, `.figure` of what is returned

        Of several rows with one x and one y it shows the mean, of those that failed or are not
        finite nothing. An axis whose values have one ratio is logarithmic, words stand side by
        side. Colours have 0 in the middle where the column is on both its sides. More lines and
        marks go on by `.plot(…)`. A name that is no column is a ValueError; so is no row at all.
        Without matplotlib it is an ImportError.
        """
        from microgradx.diagnosis.heat import paint

        return paint(self, (x, y, colour), only or {}, axes)

    def __repr__(self) -> str:
        size = len(self[ERROR])
        facts = [f"Study of {count(size, 'cell')}", " × ".join(self.axes)]
        failed = sum(map(bool, self[ERROR]))
        facts += [f"{failed:,} failed"] * bool(failed)
        facts += [f"{len(self.missing):,} have not run"] * bool(self.missing)
        return f"<{', '.join(facts)}{', interrupted' * self.interrupted}>"

    def __str__(self) -> str:
        """The first rows, aligned; below them what failed and what has not run."""
        lines = [super().__str__()]
        errors = [x for x in self[ERROR] if x]
        if errors:
            kinds = listed([*dict.fromkeys(errors)], MOST)
            lines += [f"{count(len(errors), 'cell')} failed: {kinds}"]
        if self.missing:
            why = "Ctrl-C" if self.interrupted else self.stopped
            lines += [f"{_left(self)}{f', {why}' * bool(why)}; study(…, known=this) goes on"]
        return "\n".join(lines)


def _left(found: Study) -> str:
    whole = len(found.missing) + len(found[ERROR])
    return f"{len(found.missing):,} of {count(whole, 'cell')} have not run"


def _progress(outcomes: Mapping[int, Outcome], size: int) -> str:
    failed = sum(bool(x[ERROR]) for x in outcomes.values())
    return f"{len(outcomes):,} of {count(size, 'cell')}" + f", {failed:,} failed" * bool(failed)


# --- the grid, and what is known of it -----------------------------------------------------------


def _checked(axes: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values of each axis, as Python's own."""
    if not axes:
        raise ValueError("a study has an axis at least, as depth=[2, 4, 8]")
    found = {}
    for name, values in axes.items():
        if isinstance(values, (str, bytes)) or not _has_members(values):
            raise TypeError(
                f"the axis {name} is a list of values, got {values!r:.40}; write {name}=[…]"
            )
        found[name] = [plain(x) for x in members(values)]
        if name == ERROR:
            raise ValueError(f"no axis can be called {ERROR!r}: that column has why cells fail")
        if not found[name]:
            raise ValueError(f"the axis {name} has no values")
        keys = [_one(x) for x in found[name]]
        twice = next((x for k, x in enumerate(found[name]) if keys[k] in keys[:k]), None)
        if len({*keys}) < len(keys):
            raise ValueError(f"the axis {name} has the value {twice!r:.40} twice")
    return found


def _has_members(values: Any) -> bool:
    return hasattr(values, "__iter__") and getattr(values, "ndim", 1) > 0


def _known(known: Any, axes: Mapping[str, list[Any]]) -> dict[Key, Outcome]:
    """The outcomes that are known, by configuration."""
    columns = _columns(known)
    own = [*known.axes] if isinstance(known, Study) else [x for x in axes if x in columns]
    if {*own} != {*axes}:
        raise ValueError(
            f"what is known has other axes: {', '.join(own) or 'none of these'}, and the study is "
            f"over {', '.join(axes)}; its columns are {', '.join(columns) or 'none'}"
        )
    found: dict[Key, Outcome] = {}
    for row in Table(columns).rows:
        key = _key(row[name] for name in axes)
        if key in found:
            cell = ", ".join(f"{name}={row[name]!r:.40}" for name in axes)
            raise ValueError(f"what is known has {cell} twice; has it another axis?")
        outcome = {name: x for name, x in row.items() if name not in axes}
        error = outcome.get(ERROR)
        found[key] = {**outcome, ERROR: error if isinstance(error, str) else ""}
    return found


def _columns(known: Any) -> dict[str, list[Any]]:
    if isinstance(known, (str, os.PathLike)):
        return of_file(known)
    if not hasattr(known, "keys"):
        raise TypeError(
            "known is a Study, columns by name or the path of a saved .csv, got " + kind_of(known)
        )
    columns = {name: [plain(x) for x in known[name]] for name in known.keys()}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"known columns have one length, got {sorted(lengths)}")
    return columns


def _key(values: Iterable[Any]) -> Key:
    return tuple(map(_one, values))


def _one(x: Any) -> Any:
    """x, or what stands for it where it can't be looked up: lists, and nan."""
    try:
        hash(x)
    except TypeError:
        return repr(x)
    return x if x == x else math.nan
