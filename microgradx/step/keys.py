"""The reader's next command at a terminal: one key without Enter, or a line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 0.05  # seconds that the bytes of one key may lie apart
# A key that is one character, or the escape sequence of an arrow and the like.
WHOLE = re.compile(
    rb"[\x00-\x1a\x1c-\xbf]|[\xc0-\xdf].|[\xe0-\xef]..|[\xf0-\xff]..."
    rb"|\x1b(\[[^@-~]*[@-~]|O.|[^\[O])", re.DOTALL,
)  # fmt: skip
NAMES = {"C": "next", "B": "next", "D": "back", "A": "back", "H": "first", "F": "last"}
ARROWS = {start + end: name for start in ("\x1b[", "\x1bO") for end, name in NAMES.items()}
ARROWS |= {
    "\xe0M": "next", "\xe0P": "next", "\xe0K": "back", "\xe0H": "back", "\xe0G": "first",
    "\xe0O": "last",
}  # fmt: skip
LINES = {"j": "jump ", ":": ":"}  # the keys that the rest of a line follows


@contextmanager
def commands(single: bool) -> Iterator[Callable[[], str]]:
    """A function that waits for a command; afterwards the terminal is as it was before.

    single: whether a key is a command by itself; else it is a line
    """
    if not single:
        yield lambda: input("> ")
    elif sys.platform == "win32":
        yield lambda: _command(_windows_key, input)
    else:
        import termios
        import tty

        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)

        def line(prompt: str) -> str:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
            try:
                return input(prompt)
            finally:
                tty.setcbreak(terminal, termios.TCSADRAIN)

        try:
            tty.setcbreak(terminal, termios.TCSADRAIN)
            yield lambda: _command(lambda: _key(terminal), line)
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _command(key: Callable[[], str], line: Callable[[str], str]) -> str:
    print("> ", end="", flush=True)
    pressed = key()
    if pressed in LINES:
        return LINES[pressed] + line(LINES[pressed])
    return ARROWS.get(pressed, pressed)


def _key(terminal: int) -> str:
    """The text that one key sends; an EOFError for Ctrl-D."""
    import select

    sent = more = os.read(terminal, 1)
    while more and not WHOLE.fullmatch(sent) and select.select([terminal], [], [], PATIENCE)[0]:
        more = os.read(terminal, 1)
        sent += more
    if sent in (b"", b"\x04"):
        raise EOFError
    return sent.decode(errors="replace")


def _windows_key() -> str:
    """The same on Windows, where Ctrl-C is a key too."""
    import msvcrt

    key: str = msvcrt.getwch()  # type: ignore[attr-defined, unused-ignore]
    if key in "\x00\xe0":
        key = "\xe0" + msvcrt.getwch()  # type: ignore[attr-defined, unused-ignore]
    if key == "\x03":
        raise KeyboardInterrupt
    if key in "\x04\x1a":
        raise EOFError
    return key
