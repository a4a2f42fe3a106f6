"""Colours are for a terminal, and bring no escapes that a text holds."""

import io

import pytest

from quatrain.terminal.colours import coloured, has_colours
from quatrain.terminal.plain_text import PlainStream

RED, GREEN, YELLOW, DIM, END = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("gate passed, with 2 warnings", f"{GREEN}gate passed{END}, with 2 warnings"),
        ("gate failed", f"{RED}gate failed{END}"),
        ("  MISS auc is low", f"{RED}  MISS{END} auc is low"),
        ("  ok   auc is high", f"{GREEN}  ok{END}   auc is high"),
        ("  ! few rows", f"{YELLOW}  !{END} few rows"),
        ("error: no verb 'rnu'", f"{RED}error:{END} no verb 'rnu'"),
        ("warning: no digest", f"{YELLOW}warning:{END} no digest"),
        ("warning    image        no digest", f"{YELLOW}warning{END}    image        no digest"),
        ("train  killed  0.0", f"train  {RED}killed{END}  0.0"),
        ("toy  active     0 3 * * 1", f"toy  {GREEN}active{END}     0 3 * * 1"),
        ("toy 20261201T143351-850951: x", f"toy {DIM}20261201T143351-850951{END}: x"),
        ("this one has passed its gate", "this one has passed its gate"),
        ("an error: of the table", "an error: of the table"),
    ],
)
def test_verdicts_warnings_errors_and_ids_have_a_colour(line, shown):
    assert coloured(line) == shown
    assert coloured(f"x\n{line}\ny") == f"x\n{shown}\ny"


@pytest.mark.parametrize(
    ("environment", "on_terminal", "in_pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_colours_are_for_a_terminal_unless_the_environment_says_otherwise(
    environment, on_terminal, in_pipe
):
    assert has_colours(Terminal(), environment) is on_terminal
    assert has_colours(io.StringIO(), environment) is in_pipe


def test_a_text_s_own_escapes_are_written_out_beside_our_colours(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    print("gate failed \x1b[32mpassed\x1b[2J", end="", file=PlainStream(terminal))
    assert terminal.getvalue() == f"{RED}gate failed{END} \\x1b[32mpassed\\x1b[2J"
