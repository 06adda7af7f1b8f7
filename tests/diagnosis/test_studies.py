"""The study: the grid's own table however its cells end, nothing lost, and files that read back."""

import errno
import io
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import microgradx as mx
from microgradx._base import files
from microgradx.diagnosis import Study, cells, columns
from microgradx.train import progress

ROOT = Path(__file__).parents[2]
no_sigkill = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")

# --- functions that processes can load -----------------------------------------------------------


def square(x, y=0):
    return x * x + y


def slow_first(x, y):
    """The first cells end last."""
    time.sleep(0.02 * (3 - x))
    return {"sum": x + y, "place": f"{x}/{y}", "even": (x + y) % 2 == 0}


def picky(x, y):
    if x == y:
        raise ValueError(f"x is y,\nboth {x}")
    if (x, y) == (0, 1):
        sys.exit("no more")
    return {"sum": x + y}


def counted(x, folder):
    """A file for each call."""
    Path(folder, f"{x}.{os.urandom(4).hex()}").touch()
    return {"square": x * x}


def killed_once(x, folder, at=5):
    """The worker that has cell `at` in hand is killed, the first time."""
    marker = Path(folder, "killed")
    if x == at and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return counted(x, folder)


def deadly(x):
    if x % 4 == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def beside(x):
    """The odd ones kill their process while the even ones are at work."""
    time.sleep(0.02 if x % 2 else 0.15)
    if x % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def slow(x, folder):
    time.sleep(1.0)
    Path(folder, "ended").touch()


def deaf(x):
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def dies():
    os._exit(1)


def odd_error(x):
    raise Odd(x, "cannot be unpickled")


class Odd(Exception):
    def __init__(self, x, word):
        super().__init__(f"{word} {x}")


class Here:
    """An executor that does all at once, in the order that it is asked."""

    def __init__(self, takes=math.inf):
        self.takes = takes

    def submit(self, fn, /, *arguments):
        self.takes -= 1
        if self.takes < 0:
            raise RuntimeError("cannot schedule new futures")
        future = Future()
        try:
            future.set_result(fn(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future


def times(folder):
    """How often each cell was run."""
    found = {}
    for path in Path(folder).glob("[0-9]*.*"):
        x = int(path.name.split(".")[0])
        found[x] = found.get(x, 0) + 1
    return found


# --- the table -----------------------------------------------------------------------------------


def test_the_rows_are_in_the_order_of_the_grid_on_any_executor():
    axes = {"x": range(3), "y": np.array([10, 20])}
    serial = mx.study(slow_first, executor=Here(), **axes)
    assert serial == {
        "x": [0, 0, 1, 1, 2, 2],
        "y": [10, 20, 10, 20, 10, 20],
        "sum": [10, 20, 11, 21, 12, 22],
        "place": ["0/10", "0/20", "1/10", "1/20", "2/10", "2/20"],
        "even": [True, True, False, False, True, True],
        "error": [""] * 6,
    }
    assert [*serial] == ["x", "y", "sum", "place", "even", "error"]
    assert {type(y) for y in serial["y"]} == {int}
    assert [*serial.rows][3] == {
        "x": 1, "y": 20, "sum": 21, "place": "1/20", "even": False, "error": "",
    }  # fmt: skip
    with ThreadPoolExecutor(3) as threads:
        assert mx.study(slow_first, executor=threads, **axes) == serial
    assert mx.study(slow_first, **axes) == serial
    assert serial.missing == [] and not serial.interrupted and serial.stopped == ""
    assert repr(serial) == "<Study of 6 cells, x × y>"


def test_one_number_is_the_column_value_and_numbers_are_pythons():
    kinds = [np.float64(0.5), np.int64(3), np.bool_(True), np.array(2.0), Fraction(1, 4), None, "w"]
    found = mx.study(lambda x: kinds[x], executor=Here(), x=range(len(kinds)))
    assert found["value"] == [0.5, 3, True, 2.0, 0.25, None, "w"]
    types = [float, int, bool, float, float, type(None), str]
    assert [type(x) for x in found["value"]] == types


def test_a_cell_that_fails_keeps_its_error_and_the_others_stay():
    found = mx.study(picky, x=range(2), y=range(3))
    assert found["sum"] == [None, None, 2, 1, None, 3]
    assert found["error"] == [
        "ValueError: x is y, both 0", "SystemExit: no more", "",
        "", "ValueError: x is y, both 1", "",
    ]  # fmt: skip
    assert "3 failed" in repr(found)
    assert "3 cells failed: ValueError: x is y, both 0, SystemExit: no more" in str(found)
    assert [*found.succeeded] == [*found] and found.succeeded["sum"] == [2, 1, 3]
    assert found.succeeded.missing == [{"x": 0, "y": 0}, {"x": 0, "y": 1}, {"x": 1, "y": 1}]


@pytest.mark.parametrize(
    "made, words",
    [
        ([1.0], r"TypeError: .* a number is a list"),
        ({"a": {}}, r"TypeError: .* a number in 'a' is a dict"),
        ({1: 2.0}, r"TypeError: .* a str, got 1"),
        ({"x": 2.0}, r"ValueError: .* 'x', which is the name of an axis"),
        ({"error": 2.0}, r"ValueError: .* 'error', which is the name of errors"),
    ],
)
def test_what_is_no_number_is_an_error_of_its_cell(made, words):
    [error] = mx.study(lambda x: made, executor=Here(), x=[1])["error"]
    assert re.fullmatch(words, error)


def test_an_error_that_cannot_travel_is_told():
    assert mx.study(odd_error, x=[3])["error"] == ["Odd: cannot be unpickled 3"]


def test_a_data_frame_takes_it():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(mx.study(square, executor=Here(), x=[1, 2], y=[0.5]))
    assert frame["value"].tolist() == [1.5, 4.5]
    assert mx.study(square, known=frame, x=[1, 2], y=[0.5])["value"] == [1.5, 4.5]


# --- workers that die ----------------------------------------------------------------------------


@no_sigkill
def test_a_worker_that_is_killed_loses_no_cell(tmp_path):
    folder = [str(tmp_path)]
    found = mx.study(killed_once, x=range(12), folder=folder, at=[5])
    assert (tmp_path / "killed").exists()
    assert found == mx.study(killed_once, executor=Here(), x=range(12), folder=folder, at=[99]) | {
        "at": [5] * 12
    }
    assert found.missing == [] and set(found["error"]) == {""}


@no_sigkill
def test_finished_cells_do_not_run_again_when_a_pool_dies(tmp_path, monkeypatch):
    monkeypatch.setattr(cells.os, "cpu_count", lambda: 1)
    mx.study(killed_once, x=range(12), folder=[str(tmp_path)], at=[9])
    assert times(tmp_path) == dict.fromkeys(range(12), 1)


@no_sigkill
def test_cells_that_kill_their_process_are_given_up_and_the_others_end():
    found = mx.study(deadly, x=range(12))
    assert [x for x, error in zip(found["x"], found["error"]) if error] == [1, 5, 9]
    assert found["error"][1] == "BrokenProcessPool: its process died 3 times"
    assert found["value"] == [None if x % 4 == 1 else x for x in range(12)]


@no_sigkill
def test_who_was_only_beside_a_cell_that_kills_is_not_given_up(monkeypatch):
    monkeypatch.setattr(cells.os, "cpu_count", lambda: 2)
    found = mx.study(beside, x=range(6))
    assert found["value"] == [0, None, 2, None, 4, None]


def test_what_cannot_be_sent_is_an_error_of_its_cell():
    found = mx.study(square, x=[threading.Lock(), 2])
    assert found["error"] == ["TypeError: cannot pickle '_thread.lock' object", ""]
    assert found["value"] == [None, 4]


def test_pools_that_take_nothing_end_it(monkeypatch):
    def refuse(pool, fn, /, *arguments):
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr(cells.ProcessPoolExecutor, "submit", refuse)
    with pytest.raises(RuntimeError, match="no cell has run: .*interpreter shutdown"):
        mx.study(square, x=[1])


@no_sigkill
def test_where_all_cells_kill_their_process_each_says_so():
    found = mx.study(deadly, x=[1, 5])
    assert found["error"] == ["BrokenProcessPool: its process died 3 times"] * 2


@no_sigkill
def test_a_pool_of_the_readers_that_dies_keeps_what_is_known(tmp_path):
    axes = {"x": range(12), "folder": [str(tmp_path)], "at": [5]}
    with ProcessPoolExecutor(1) as pool, pytest.warns(RuntimeWarning) as warned:
        found = mx.study(killed_once, executor=pool, **axes)
    assert found["x"] == [0, 1, 2, 3, 4] and len(found.missing) == 7
    assert found.stopped.startswith("BrokenProcessPool: ") and not found.interrupted
    [said] = [str(x.message) for x in warned]
    assert "7 of 12 cells have not run. Go on with study(…, known=this)" in said
    assert "7 of 12 cells have not run, BrokenProcessPool" in str(found)
    before = times(tmp_path)
    assert before == dict.fromkeys(range(5), 1)
    with ProcessPoolExecutor(1) as pool:
        whole = mx.study(killed_once, executor=pool, known=found, **axes)
    assert times(tmp_path) == dict.fromkeys(range(12), 1)
    assert whole["square"] == [x * x for x in range(12)] and not whole.missing


def test_an_executor_that_is_closed_is_refused():
    for pool in (ThreadPoolExecutor(1), ProcessPoolExecutor(1)):
        pool.shutdown()
        with pytest.raises(RuntimeError, match="no cell has run: .*after shutdown.* that is open"):
            mx.study(square, executor=pool, x=[1, 2])


def test_an_executor_that_is_closed_on_the_way_keeps_what_is_known():
    executor = Here(takes=2)
    with pytest.warns(RuntimeWarning, match="cannot schedule new futures: 3 of 5 cells"):
        found = mx.study(square, executor=executor, x=range(5))
    assert found["value"] == [0, 1]
    assert executor.takes == -1  # it isn't asked again


def test_futures_that_are_called_off_are_missing():
    class Off(Here):
        def submit(self, fn, /, *arguments):
            future = super().submit(fn, *arguments)
            if arguments[1]["x"] == 1:
                future = Future()
                future.cancel()
                future.set_running_or_notify_cancel()
            return future

    with pytest.warns(RuntimeWarning, match="CancelledError: 1 of 3 cells"):
        assert mx.study(square, executor=Off(), x=range(3))["x"] == [0, 2]


def test_processes_that_cannot_load_the_function_end_it(monkeypatch):
    monkeypatch.setattr(cells, "_deaf_to_ctrl_c", dies)
    with pytest.raises(RuntimeError, match="No process can load the function: .*__main__"):
        mx.study(square, x=range(100))


def test_a_machine_without_processes_says_so(monkeypatch):
    def none(workers):
        raise OSError(errno.ENOSYS, "no semaphores")

    monkeypatch.setattr(cells, "_pool", none)
    with pytest.raises(RuntimeError, match="no semaphores. Pass executor=ThreadPool"):
        mx.study(square, x=[1])


# --- Ctrl-C --------------------------------------------------------------------------------------

INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
import microgradx as mx

def cell(x, folder):
    if x == 3 and not Path(folder, "pressed").exists():
        Path(folder, "pressed").touch()
        os.killpg(0, signal.SIGINT)  # as a terminal does
        time.sleep(10)
        Path(folder, "slept").touch()
    Path(folder, f"{x}.{os.urandom(4).hex()}").touch()
    return x * x

if __name__ == "__main__":
    axes = dict(x=range(8), folder=[sys.argv[1]])
    found = mx.study(cell, **axes)
    print(found.interrupted, len(found.missing) + len(found["x"]), 3 in found["x"])
    found.save(sys.argv[1] + "/some.csv")
    before = len([*Path(sys.argv[1]).glob("[0-9].*")])
    whole = mx.study(cell, known=sys.argv[1] + "/some.csv", **axes)
    ran = len([*Path(sys.argv[1]).glob("[0-9].*")]) - before
    print(whole["value"], whole.interrupted, ran == len(found.missing))
"""


@no_sigkill
def test_ctrl_c_keeps_what_is_known_and_the_rest_runs_later(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
    )  # fmt: skip
    assert done.stderr == "" and not (tmp_path / "slept").exists()
    assert done.stdout.splitlines() == [
        "True 8 False", f"{[x * x for x in range(8)]} False True",
    ]  # fmt: skip


def test_ctrl_c_on_the_readers_executor_calls_off_what_has_not_begun():
    ran, gate = [], threading.Event()

    def pressed_at_two(x):
        ran.append(x)
        if x == 2:
            signal.raise_signal(signal.SIGINT)
        if x > 2:
            gate.wait(10)
        return x

    with ThreadPoolExecutor(1) as pool:
        found = mx.study(pressed_at_two, executor=pool, x=range(50))
        gate.set()
    assert found.interrupted and found["value"] == [0, 1][: len(found["value"])]
    assert "have not run, Ctrl-C; study(…, known=this) goes on" in str(found)
    assert "interrupted" in repr(found)
    assert len(ran) < 50 and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    whole = mx.study(square, executor=Here(), known=found, x=range(50))
    assert whole["value"] == [*found["value"], *(x * x for x in whole["x"][len(found["value"]) :])]


def test_what_ends_after_ctrl_c_may_have_been_cut_short_and_is_not_noted():
    pressed = []
    run = cells.Run(square, {}, stop=lambda: bool(pressed), tell=lambda found: None)
    hand = cells._Hand(Here(), square)
    for place in range(2):
        hand.take(place, {"x": 3})
        run._note(hand)
        pressed.append(signal.SIGINT)
    assert run.found == {0: {"value": 9, "error": ""}}


def test_processes_of_a_study_do_not_hear_ctrl_c():
    assert mx.study(deaf, x=[1])["value"] == [True]


@no_sigkill
def test_ctrl_c_twice_leaves_no_process_at_work(tmp_path, monkeypatch):
    def pressed(run, hand):
        raise KeyboardInterrupt

    monkeypatch.setattr(cells.Run, "_note", pressed)
    found = mx.study(slow, x=[1, 2], folder=[str(tmp_path)])
    assert found.interrupted and len(found.missing) == 2 and not [*tmp_path.iterdir()]


def test_a_training_in_a_cell_shows_nothing(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)

    def trained(width):
        model = mx.nn.MLP(1, [width, 1], seed=0)
        sgd = mx.optim.SGD(model.parameters(), lr=0.01)
        return mx.fit(model, [[1.0], [2.0]], [1.0, 2.0], loss="mse", optimizer=sgd, epochs=2)[
            -1
        ].loss

    with ThreadPoolExecutor(1) as pool:
        mx.study(trained, executor=pool, width=[1, 2, 3])
    shown = screen.getvalue()
    assert "epoch" not in shown and re.search(r"study: \d of 3 cells", shown)
    assert progress._shared.get() is None


# --- what is known -------------------------------------------------------------------------------


def test_only_the_missing_cells_run(tmp_path):
    folder = [str(tmp_path)]
    first = mx.study(counted, executor=Here(), x=[1, 2, 3], folder=folder)
    first.save(tmp_path / "known")
    for known in (first, dict(first), tmp_path / "known.csv", str(tmp_path / "known.csv")):
        before = times(tmp_path)
        found = mx.study(counted, executor=Here(), known=known, x=[4, 3, 2.0, 1], folder=folder)
        assert found["square"] == [16, 9, 4, 1]
        assert times(tmp_path) == {**before, 4: before.get(4, 0) + 1}
    before = times(tmp_path)
    assert mx.study(None, known=first, x=[3, 1], folder=folder)["square"] == [9, 1]
    assert times(tmp_path) == before


def test_failed_cells_are_known_and_run_again_where_they_are_left_out():
    mood = {"bad": True}

    def moody(x):
        if x and mood["bad"]:
            raise ValueError("bad mood")
        return 10 * x

    found = mx.study(moody, executor=Here(), x=[0, 1])
    mood["bad"] = False
    assert mx.study(moody, executor=Here(), known=found, x=[0, 1]) == found
    again = mx.study(moody, executor=Here(), known=found.succeeded, x=[0, 1])
    assert again == {"x": [0, 1], "value": [0, 10], "error": ["", ""]}


def test_nan_and_lists_are_known_too(tmp_path):
    axes = {"x": [math.nan, 1.0], "widths": [[4, 4], [2], (2,)]}
    found = mx.study(lambda x, widths: sum(widths), executor=Here(), **axes)
    again = mx.study(None, known=found.save(tmp_path / "x.csv"), **axes)
    assert repr([*again.items()]) == repr([*found.items()])


@pytest.mark.parametrize(
    "known, words",
    [
        (
            {"x": [1], "value": [1]},
            "other axes: x, and the study is over x, y; its columns are x, v",
        ),
        ({"value": [1]}, "other axes: none of these"),
        ({"x": [1, 1], "y": [2, 2.0], "seed": [0, 1]}, "x=1, y=2.0 twice; has it another axis"),
        ({"x": [1, 1], "y": [2]}, "one length, got .1, 2."),
        ({}, "its columns are none"),
    ],
)
def test_columns_of_another_study_are_refused(known, words):
    with pytest.raises(ValueError, match=words):
        mx.study(square, known=known, x=[1], y=[2])


def test_a_study_of_other_axes_is_refused_though_its_columns_would_do():
    other = mx.study(square, executor=Here(), x=[1], y=[2])
    with pytest.raises(ValueError, match="other axes: x, y, and the study is over x"):
        mx.study(square, known=other, x=[1])


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(TypeError, match="known is a Study, .*, got an int"):
        mx.study(square, known=3, x=[1])
    with pytest.raises(FileNotFoundError):
        mx.study(square, known=tmp_path / "none.csv", x=[1])
    for text, words in {
        "": "no line of names", "x,x\n1,2\n": "no line of names",
        "x,y\n1,2\n1\n": "1 cell in row 2",
    }.items():  # fmt: skip
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(ValueError, match=words):
            mx.study(square, known=tmp_path / "bad.csv", x=[1])


# --- files ---------------------------------------------------------------------------------------

ODD = [
    0.1 + 0.2, 1e-320, -0.0, 1e22, math.nan, math.inf, -math.inf, 1 / 3, 0, -7, 10**30, True, False,
    None, "", "relu", "1", "1.0", "nan", "inf", "True", "None", "a,b", 'say "no"', "'", "'x'",
    " 1 ", "1_0", "two\nlines", "\r", "(1, 2)", "[", "σ", "\ud800", "\0",
    (1, 2), [0.5, "x"], (), {"a": 1},
]  # fmt: skip


def test_a_file_reads_back_what_was_saved_to_the_last_bit(tmp_path):
    made = mx.study(lambda i: {"y": None}, executor=Here(), i=range(len(ODD)))
    made["y"][:] = ODD
    path = made.save(tmp_path / "folder" / "odd.csv")
    back = columns.of_file(path)
    assert list(map(repr, back["y"])) == list(map(repr, ODD))
    assert back["error"] == [""] * len(ODD) and back["i"] == [*range(len(ODD))]
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 2**63, 2000).view(float).tolist()
    path.write_bytes(columns.as_file({"x": numbers, "error": ["a,\nb"] * 2000}))
    assert list(map(repr, columns.of_file(path)["x"])) == list(map(repr, numbers))
    assert columns.of_file(path)["error"][0] == "a,\nb"


def test_a_spreadsheets_file_is_read(tmp_path):
    (tmp_path / "x.csv").write_bytes("\ufeffx,value\r\n1,0.50\r\n2,\r\n".encode())
    found = mx.study(square, known=tmp_path / "x.csv", x=[1, 2])
    assert found == {"x": [1, 2], "value": [0.5, None], "error": ["", ""]}


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    old = mx.study(square, executor=Here(), x=[1])
    path = old.save(tmp_path / "x.csv")
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    words = r"^\[Errno \d+\] No space left on device; nothing is lost"
    with pytest.raises(OSError, match=words) as raised:
        mx.study(square, executor=Here(), x=[1, 2]).save(path)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == before and [x.name for x in tmp_path.iterdir()] == ["x.csv"]


def test_what_a_file_cannot_hold_is_named(tmp_path):
    found = mx.study(lambda f: 1, executor=Here(), f=[print])
    with pytest.raises(TypeError, match="the column 'f' has a builtin_function.*can't hold"):
        found.save(tmp_path / "x.csv")
    with pytest.raises(TypeError, match="'f' has an ndarray.*can't hold"):
        mx.study(lambda f: 1, executor=Here(), f=[np.ones(2)]).save(tmp_path / "x.csv")
    with pytest.raises(ValueError, match="saved as .csv, got 'x.xlsx'"):
        found.save(tmp_path / "x.xlsx")
    assert not [*tmp_path.iterdir()]


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "axes, kind, words",
    [
        ({}, ValueError, "an axis at least"),
        ({"x": []}, ValueError, "the axis x has no values"),
        ({"x": [1, 2, 1.0]}, ValueError, r"x has the value 1\.0 twice"),
        ({"x": [math.nan, math.nan]}, ValueError, "nan twice"),
        ({"x": "relu"}, TypeError, r"list of values, got 'relu'; write x=\[…\]"),
        ({"x": 3}, TypeError, "list of values, got 3"),
        ({"x": np.array(3)}, TypeError, "list of values"),
        ({"x": {1, 2}}, TypeError, "a set is no list"),
        ({"error": [1]}, ValueError, "no axis can be called 'error'"),
    ],
)
def test_axes_that_make_no_grid_are_refused(axes, kind, words):
    with pytest.raises(kind, match=words):
        mx.study(square, executor=Here(), **axes)


def test_a_function_that_cannot_be_sent_says_what_to_do(monkeypatch):
    def inner(x):
        return x

    for fn, name in ((lambda x: x, "<lambda>"), (inner, "inner")):
        remedy = f"{name} can't be sent .* top level of a module, or pass executor=ThreadPool"
        with pytest.raises(TypeError, match=remedy):
            mx.study(fn, x=[1])
        with ProcessPoolExecutor(1) as pool, pytest.raises(TypeError, match=remedy):
            mx.study(fn, executor=pool, x=[1])
    monkeypatch.setattr(square, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "square", square, raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "<stdin>", raising=False)
    monkeypatch.setattr(cells.multiprocessing, "get_start_method", lambda: "spawn")
    with pytest.raises(TypeError, match="square can't be sent .*typed into a notebook"):
        mx.study(square, x=[1])


def test_what_is_no_function_or_no_executor_is_refused():
    with pytest.raises(TypeError, match="a function of one configuration, got an int"):
        mx.study(3, x=[1])
    with pytest.raises(TypeError, match="got an int; for n processes pass ProcessPoolExecutor"):
        mx.study(square, executor=4, x=[1])

    class Client:
        def submit(self, fn, *arguments):
            return "a future of its own"

    with pytest.raises(TypeError, match="this one's made a str; .*get_executor"):
        mx.study(square, executor=Client(), x=[1])


# --- the picture ---------------------------------------------------------------------------------


def shades(axes):
    [mesh] = axes.collections
    return np.ma.filled(mesh.get_array(), np.nan)


def test_a_picture_has_the_numbers_in_their_places():
    pytest.importorskip("matplotlib")
    found = mx.study(
        lambda depth, gain, seed: {"decades": depth * math.log10(gain) + seed, "on": True},
        executor=Here(), depth=[4, 2], gain=[0.1, 1.0, 10.0], seed=[-1, 1],
    )  # fmt: skip
    axes = found.picture("depth", "gain", "decades")
    assert shades(axes).tolist() == [[-2, -4], [0, 0], [2, 4]]
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("depth", "gain")
    assert axes.collections[0].get_clim() == (-4, 4)
    np.testing.assert_allclose(axes.get_ylim(), [10**-1.5, 10**1.5])
    assert tuple(axes.get_xlim()) == (1, 5)
    axes.plot([2, 4], [1.0, 1.0])
    only = found.picture("depth", "gain", "decades", only={"seed": 1})
    assert shades(only).tolist() == [[-1, -3], [1, 1], [3, 5]]
    assert only.collections[0].get_clim() == (-5, 5)
    assert axes.figure.axes[1].get_ylabel() == "decades"


def test_a_picture_of_words_leaves_what_failed_blank():
    figure = pytest.importorskip("matplotlib.figure").Figure()

    def cell(op, on):
        if op == "tanh" and on:
            raise ValueError
        return -math.inf if on else 2.0

    found = mx.study(cell, executor=Here(), op=["tanh", "relu"], on=[True, False])
    [mine] = [figure.subplots()]
    axes = found.picture("op", "on", "value", axes=mine)
    assert axes is mine and axes.figure is figure
    np.testing.assert_equal(shades(axes), [[np.nan, np.nan], [2.0, 2.0]])
    assert [x.get_text() for x in axes.get_xticklabels()] == ["tanh", "relu"]
    assert [x.get_text() for x in axes.get_yticklabels()] == ["True", "False"]


def test_a_picture_that_cannot_be_made_says_why(monkeypatch):
    found = mx.study(lambda x, y: {"v": 1.0, "w": "word"}, executor=Here(), x=[1], y=[2])
    with pytest.raises(ValueError, match="no column 'z'; there are x, y, v, w, error"):
        found.picture("x", "z", "v")
    with pytest.raises(ValueError, match="'w' has words, as 'word'"):
        found.picture("x", "y", "w")
    with pytest.raises(ValueError, match="no row has x=3"):
        found.picture("x", "y", "v", only={"x": 3})
    with pytest.raises(ValueError, match="no cell has run"):
        Study({"x": [1], "y": [2]}, {}).picture("x", "y", "x")
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install"):
        found.picture("x", "y", "v")


# --- many machines -------------------------------------------------------------------------------


@no_sigkill
@pytest.mark.slow
@pytest.mark.long
def test_on_dask_a_worker_that_is_killed_loses_no_cell(tmp_path):
    distributed = pytest.importorskip("distributed")
    axes = {"x": range(40), "folder": [str(tmp_path)], "at": [20]}
    serial = mx.study(counted, executor=Here(), x=range(40), folder=[str(tmp_path)])
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        found = mx.study(killed_once, executor=client.get_executor(pure=False), **axes)
        with pytest.raises(TypeError, match="made a Future; of a client of Dask pass"):
            mx.study(square, executor=client, x=[1])
    assert (tmp_path / "killed").exists() and not found.missing
    assert {name: found[name] for name in serial} == serial
