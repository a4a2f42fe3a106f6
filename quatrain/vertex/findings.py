"""What doctor finds, and how it is told."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "warning", "error", "unasked"]


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        check: What was looked at, in a word.
        severity: `error` makes the run fail, `unasked` may.
        sentence: What is so.
        mend: The commands or the setting that mend it, one a line; empty where nothing is to mend.
    """

    check: str
    severity: Severity
    sentence: str
    mend: str = ""


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yields findings as text: the worst last, where they are read, and a sum."""
    order: tuple[Severity, ...] = ("ok", "unasked", "warning", "error")
    for finding in sorted(findings, key=lambda f: order.index(f.severity)):
        head, *more = finding.sentence.splitlines()
        mark = "not asked" if finding.severity == "unasked" else finding.severity
        yield f"{mark:<9}  {finding.check:<11}  {head}"
        yield from (f"{'':<24}{line}" for line in more)
        yield from (f"{'':<24}-> {line}" for line in finding.mend.splitlines())
    count = {s: sum(f.severity == s for f in findings) for s in order}
    yield (
        f"{count['error']} errors, {count['warning']} warnings, {count['unasked']} not asked, "
        f"{count['ok']} ok; {datetime.date.today()}"
    )
