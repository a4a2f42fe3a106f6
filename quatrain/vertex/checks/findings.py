"""The findings of checks, and their lines in the terminal."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from quatrain.components.wording import counted

Severity = Literal["ok", "warning", "error", "unchecked"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: What was checked, in a word.
        severity: `error` makes the run fail; `unchecked` may.
        sentence: The result.
        fix: The commands or the setting that would fix it, one a line; empty if nothing is wrong.
    """

    check: str
    severity: Severity
    sentence: str
    fix: str = ""


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yields the findings as lines of text, the worst last, and then their counts."""
    order: tuple[Severity, ...] = ("ok", "unchecked", "warning", "error")
    for finding in sorted(findings, key=lambda f: order.index(f.severity)):
        head, *more = finding.sentence.splitlines()
        yield f"{finding.severity:<9}  {finding.check:<11}  {head}"
        yield from (f"{'':<24}{line}" for line in more)
        yield from (f"{'':<24}-> {line}" for line in finding.fix.splitlines())
    count = {s: sum(f.severity == s for f in findings) for s in order}
    yield (
        f"{counted(count['error'], 'error')}, {counted(count['warning'], 'warning')}, "
        f"{count['unchecked']} unchecked, "
        f"{count['ok']} ok; {datetime.date.today()}"
    )
