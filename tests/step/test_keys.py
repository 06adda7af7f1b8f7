"""Keys without Enter: where one key ends, and what a key means; the sessions are in test_walk."""

import os
import sys
import types

import pytest

from microgradx.step import keys


@pytest.fixture
def terminal():
    """The two ends of a pipe, for what a terminal sends."""
    read, write = os.pipe()
    yield read, write
    os.close(read)


@pytest.mark.parametrize("sent, pressed", [
    (b"nn", ["n", "n"]),
    ("é∂x😀".encode(), ["é", "∂", "x", "😀"]),
    (b"\x1b[C\x1bOD\x1b[1;5Cn", ["\x1b[C", "\x1bOD", "\x1b[1;5C", "n"]),
    (b"\x1b[15~b\x1bqs", ["\x1b[15~", "b", "\x1bq", "s"]),
    (b"\x80n", ["\ufffd", "n"]),
    (b"n\xe2", ["n", "\ufffd"]),
    (b"\x1b", ["\x1b"]),
])  # fmt: skip
def test_where_a_key_ends(terminal, sent, pressed):
    read, write = terminal
    os.write(write, sent)
    assert [keys._key(read) for _ in pressed] == pressed
    os.close(write)
    with pytest.raises(EOFError):
        keys._key(read)


def typed(pressed, line=""):
    return keys._command(lambda: pressed, lambda prompt: line)


@pytest.mark.parametrize("pressed, line, command", [
    ("n", "", "n"), ("\r", "", "\r"), ("\x1b[C", "", "next"), ("\x1bOA", "", "back"),
    ("\x1b[H", "", "first"), ("\xe0M", "", "next"), ("j", "w1", "jump w1"),
    (":", "why w1", ":why w1"),
])  # fmt: skip
def test_what_a_key_means(pressed, line, command, capsys):
    assert typed(pressed, line) == command
    assert capsys.readouterr().out == "> "


@pytest.mark.parametrize("sent, command", [
    ("n", "n"), ("\xe0M", "next"), ("\x00K", "back"), ("\x03", KeyboardInterrupt),
    ("\x1a", EOFError), ("\x04", EOFError),
])  # fmt: skip
def test_on_windows(monkeypatch, sent, command):
    waiting = list(sent)
    console = types.SimpleNamespace(getwch=lambda: waiting.pop(0))
    monkeypatch.setitem(sys.modules, "msvcrt", console)
    monkeypatch.setattr(sys, "platform", "win32")
    with keys.commands(single=True) as next_command:
        if isinstance(command, str):
            assert next_command() == command
        else:
            with pytest.raises(command):
                next_command()
    assert not waiting
