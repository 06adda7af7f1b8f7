"""How much work something is, by a count that no other process on the machine can change."""

import sys


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
