"""A door of Quatrain and how it is fuzzed: cases of Hypothesis, each within bounds.

A case that fails is made as small as Hypothesis can, and stands in the error. Each case is noted in
a file before it runs, so that one which hangs or kills the process is known, too.
"""

from __future__ import annotations

import faulthandler
import re
import resource
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from quatrain.components.errors import QuatrainError

CPU_S = 20.0
"""The most CPU time of a case; the slowest that are in order take 2 s."""
WALL_S = 120.0
"""A case that still runs then, perhaps asleep or in C, ends the process with its traceback."""
RISE_MB = 1500
"""How much the memory may rise at one case; the largest that are in order take 300 MB."""
_NO_SENTENCE = re.compile(r"unexpected|please report|Traceback|object at 0x|<class |\A\W*\Z")


class TooLong(BaseException):
    """A case took more CPU time than it may; no `except Exception` can swallow it."""


@dataclass(frozen=True)
class Door:
    """A door: a way by which what people bring comes in.

    Attributes:
        name: Its name on the command line.
        cases: What comes in.
        make_check: Takes a folder and returns the check of a case, which returns the outcome in a
            word, as read or refused, and raises what the door must not raise.
        n: The cases of a round: together all doors take about two minutes on two cores.
    """

    name: str
    cases: st.SearchStrategy[Any]
    make_check: Callable[[Path], Callable[[Any], str]]
    n: int


def refusal(error: BaseException) -> str:
    """Checks that an error is a sentence of ours, and returns the outcome.

    Raises:
        AssertionError: It is not a sentence for a user.
    """
    if not isinstance(error, QuatrainError):
        raise error
    assert not _NO_SENTENCE.search(str(error)), f"no sentence for a user: {error!s:.500}"
    return "refused"


def fuzz(door: Door, seed: int, n: int, notes: Path, cpu_s: float = CPU_S) -> Counter[str]:
    """Runs the cases of a door, and returns how many had each outcome.

    Args:
        door: The door.
        seed: The same seed gives the same cases.
        n: The number of cases.
        notes: The file for the case that runs.
        cpu_s: The most CPU time of a case.

    Raises:
        Exception: What the smallest case found raises that fails.
    """
    signal.signal(signal.SIGPROF, _end)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix=f"quatrain-fuzz-{door.name}-") as folder:
        check = door.make_check(Path(folder))

        def bounded(case: Any) -> None:
            notes.write_text(repr(case), encoding="utf-8", errors="backslashreplace")
            before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            faulthandler.dump_traceback_later(WALL_S, exit=True)
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            try:
                outcomes[check(case)] += 1
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                faulthandler.cancel_dump_traceback_later()
            rise_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
            assert rise_mb < RISE_MB, f"the memory rose by {rise_mb:,.0f} MB"

        bounds = settings(
            max_examples=n,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
            verbosity=Verbosity.quiet,
            report_multiple_bugs=False,
        )
        hypothesis.seed(seed)(bounds(given(door.cases)(bounded)))()
    return outcomes


def _end(_: int, __: Any) -> None:
    raise TooLong("a case took more CPU time than it may")
