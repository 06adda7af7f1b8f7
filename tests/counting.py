"""How much work something is, by a count that no other process on the machine can change."""

import sys

from tests.interrupting import PACKAGE


def calls(function) -> int:
    """How many functions `function()` calls, ours and Python's own."""
    count = 0

    def profile(frame, event, arg):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def lines(function) -> int:
    """How many lines of the package `function()` runs; of a loop in one line each turn counts."""
    count = 0

    def call(frame, event, arg):
        return line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def line(frame, event, arg):
        nonlocal count
        count += event == "line"
        return line

    before = sys.gettrace()
    sys.settrace(call)
    try:
        function()
    finally:
        sys.settrace(before)
    return count
