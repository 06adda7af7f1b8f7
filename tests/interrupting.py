"""An exception at any line of the package, as Ctrl-C makes it."""

import sys
from pathlib import Path

import microgradx

PACKAGE = str(Path(microgradx.__file__).parent)


class Interrupt:
    """Raises KeyboardInterrupt at the n-th line that runs in the package."""

    def __init__(self, n):
        self.left = n

    def call(self, frame, event, arg):
        return self.line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def line(self, frame, event, arg):
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self.line


def interrupted(action, n):
    """Whether `action` was interrupted, at the n-th line of the package, or else came through."""
    before = sys.gettrace()
    sys.settrace(Interrupt(n).call)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False
