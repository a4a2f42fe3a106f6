"""A verb that prints nothing for a while reports that it is still at work."""

import io
import threading

from quatrain.terminal import heartbeat as module
from quatrain.terminal.heartbeat import Heartbeat, heartbeat
from quatrain.terminal.plain_text import PlainStream


def beats(stream, times):
    """Returns the lines that are due at some times, in seconds since the verb began."""
    now = [stream.last_write_s]
    beat = Heartbeat("init", [stream], clock=lambda: now[0])
    lines = []
    for time_s in times:
        now[0] = stream.last_write_s + time_s
        lines.append(beat.line())
    return lines


def test_a_silent_verb_has_a_line_after_ten_seconds_and_then_fewer():
    assert beats(PlainStream(io.StringIO()), [9.0, 10.0, 29.0, 30.0, 69.0, 70.0, 130.0, 190.0]) == [
        "",
        "init: still at work after 10 s",
        "",
        "init: still at work after 30 s",
        "",
        "init: still at work after 70 s",
        "init: still at work after 130 s",
        "init: still at work after 190 s",
    ]


def test_what_a_verb_prints_is_word_enough():
    stream = PlainStream(io.StringIO())
    now = [stream.last_write_s]
    beat = Heartbeat("init", [stream], clock=lambda: now[0])
    now[0] += 15.0
    stream.last_write_s = now[0] - 6.0
    assert beat.line() == ""
    now[0] += 4.0
    assert beat.line() == "init: still at work after 19 s"


def test_nothing_is_printed_where_a_console_draws_its_progress():
    stream = PlainStream(io.StringIO())
    stream.unfiltered.write("[1/4] preprocess")
    assert beats(stream, [100.0]) == [""]


def test_a_call_within_a_verb_prints_no_second_line(monkeypatch):
    monkeypatch.setattr(module, "POLL_S", 0.01)
    monkeypatch.setattr(module, "FIRST_S", 0.0)
    beat, inner = Signal(), Signal()
    with heartbeat("init", beat), heartbeat("check", inner):
        assert beat.printed.wait(30)
    with heartbeat("check", inner):
        assert inner.printed.wait(30)
    assert beat.getvalue().startswith("init: still at work after 0 s\n")
    assert "check: " not in beat.getvalue() and "init: " not in inner.getvalue()


class Signal(io.StringIO):
    """A stream that knows when something was printed."""

    def __init__(self):
        super().__init__()
        self.printed = threading.Event()

    def flush(self):
        self.printed.set()
