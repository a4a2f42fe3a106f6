"""The remarks of a draft: what a reader of the spec should look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quatrain.components.specification.encodings import is_utf8
from quatrain.components.table.files import list_files
from quatrain.components.table.line_numbers import LineNumbers
from quatrain.components.wording import counted
from quatrain.draft.draft import TableProfile
from quatrain.draft.features import MOSTLY_UNSEEN
from quatrain.draft.leaks import find_twins
from quatrain.draft.profile.column_profile import ColumnProfile
from quatrain.draft.profile.nulls import Nulls
from quatrain.draft.sample.sample import Sample

LISTED_ROWS, SHOWN = 3, 60
"""How many rows a remark names, and how many bytes of each."""
LISTED_TWINS = 3
"""With more pairs of columns that may be the same, a single remark counts them."""
RECODE = "save it as UTF-8; for a file from Windows: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT"


def remarks_on(table: TableProfile, nulls: Nulls) -> list[str]:
    """Returns the remarks on a table, the most important first."""
    remarks: list[str] = []
    inputs = {n: c for n, c in table.columns.items() if n != table.target}
    not_compared = ("empty", "constant", "text", "identifier")
    compared = [c for c in inputs.values() if c.kind not in not_compared]
    remarks += _twins(list(find_twins(compared)))
    remarks += nulls.remarks
    if drifting := _drifting_label(table):
        remarks.append(drifting)
    remarks += [f"{c.name!r}: {odd}" for c in inputs.values() if (odd := _sentinel(c))]
    if headers := table.sample.headers:
        remarks.append(_repeated_headers(table.sample, headers))
    if listed := rejected_rows(table.sample):
        is_mixed = table.sample.rejected["bad_encoding"] and is_utf8(table.sample.source.encoding)
        recode = f"; {RECODE}" if is_mixed else ""
        places = "".join(f"; {place}" for place in _places(table.sample))
        remarks.append(
            f"rows of the sample that do not parse: {listed}; they are rejected{places}{recode}"
        )
    remarks += _footers(table)
    return remarks


def _places(sample: Sample) -> Iterator[str]:
    """Yields the lines of the first rows that do not parse and of the last, if they are known."""
    rows = sample.rejected_rows.to_pylist()
    if not sample.whole or len(list_files(sample.source)) > 1:
        return
    shown = rows[: LISTED_ROWS - 1] + rows[-1:] if len(rows) > LISTED_ROWS else rows
    lines = LineNumbers(sample.source.encoding)
    for row in shown:
        [line] = lines.at(row["source"], [row["position"]])
        yield f"line {line:,} is {row['row'][:SHOWN].decode(errors='replace')!r}"
    lines.close()


def _footers(table: TableProfile) -> Iterator[str]:
    """Yields a remark on the rows at the end that sum up the others, or are notes."""
    if footers := table.sample.footers:
        listed = ", ".join(f"{text!r} in {name!r}" for name, text in footers[:LISTED_ROWS])
        rows = counted(len(footers), "row", "is")
        yield f"at the end of the table, {rows} no row like the others, and is rejected: {listed}"


def _twins(twins: list[tuple[str, str, str]]) -> Iterator[str]:
    """Yields a remark on the pairs of columns that may hold the same information."""
    if len(twins) <= LISTED_TWINS:
        for first, second, how in twins:
            yield f"{first!r} and {second!r} may hold the same information: {how}"
        return
    listed = "; ".join(f"{first!r} and {second!r}" for first, second, _ in twins[:LISTED_TWINS])
    yield (
        f"{counted(len(twins), 'pair')} of columns may hold the same information, since their "
        f"values or ranks tell each other: {listed}; and {len(twins) - LISTED_TWINS} more"
    )


def _repeated_headers(sample: Sample, headers: tuple[int, ...]) -> str:
    """Returns a remark on rows that repeat the header, with their lines where these are known."""
    are = "is" if len(headers) == 1 else "are"
    source, is_whole = sample.source, sample.whole and not sample.rejected.total()
    if not is_whole or source.quoted_newlines or len(list_files(source)) > 1:
        return f"{counted(len(headers), 'row')} of the sample repeat the header, and {are} rejected"
    first = 2 + source.skip_rows + source.skip_rows_after_header
    lines = ", ".join(f"{row + first:,}" for row in headers[:5])
    lines += f" and {len(headers) - 5} more" if len(headers) > 5 else ""
    repeat = "line {} repeats" if len(headers) == 1 else "lines {} repeat"
    return f"{repeat.format(lines)} the header, and {are} rejected"


def rejected_rows(sample: Sample) -> str:
    """Returns a list in words of the rows that do not parse, by reason; empty if all do."""
    return ", ".join(f"{n:,} {reason}" for reason, n in sorted(sample.rejected.items()) if n)


def _drifting_label(table: TableProfile) -> str | None:
    """Returns a remark if most test labels lie outside the range of train labels, or None."""
    if table.goal.task != "regression" or table.split.document["by"] != "time":
        return None
    parts, values = table.split.parts, table.goal.values
    train, test = (values[table.goal.known & (parts == part)] for part in (0, 2))
    beyond = float(np.mean((test < train.min()) | (test > train.max())))
    if beyond <= MOSTLY_UNSEEN:
        return None
    return (
        f"{beyond:.0%} of the test rows have a label outside the range of train, so perhaps no "
        f"model beats the mean; the change since the previous row, or a ratio, is easier to predict"
    )


def _sentinel(column: ColumnProfile) -> str | None:
    """Returns a remark on a frequent number far from all others, such as -1 or 999, or None."""
    if not column.is_number or column.kind != "number" or column.n_distinct < 10:
        return None
    x = np.sort(column.numbers[~np.isnan(column.numbers)])
    for value in (x[0], x[-1]):
        others = x[x != value]
        nines = (value == round(value) and set(f"{abs(value):.0f}") == {"9"}) or value == -1
        alone = value < 0 <= others[0]  # the only number below 0
        # Farther from its neighbour than all other numbers are from each other.
        far = min(abs(others - value)) > np.ptp(others) or alone
        if nines and far and len(x) - len(others) > 0.005 * len(x):
            share = 1 - len(others) / len(x)
            return f"{value:g} in {share:.1%} of the rows may stand for a missing value"
    return None
