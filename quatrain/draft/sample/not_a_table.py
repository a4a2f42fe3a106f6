"""Recognizes a file that is not a table by its first lines, and says what would make it one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from quatrain.components.errors import SourceError
from quatrain.components.specification.source import Source, is_table
from quatrain.components.table.files import list_files
from quatrain.components.table.formats import command
from quatrain.components.table.header import DELIMITERS, values_of
from quatrain.components.uris import check_uri
from quatrain.draft.sample.sample import Sample
from quatrain.draft.sample.text_head import (
    ALIKE,
    LEAST_LINES,
    LINES,
    find_header,
    read_text_head,
)

SEPARATORS = ("::", "||", "~|~", "|~|")
"""What separates columns in some files, with more than one character."""

WORDY = 4
"""From as many words on, the first line of a text is hardly the name of its only column."""


def check_head(uri: str) -> None:
    """Refuses text that is neither a CSV nor JSON Lines before it is read as one of them.

    Raises:
        SourceError: The text is something else; the message says what would turn it into a table.
    """
    if is_table(uri):
        return
    check_uri(uri)
    path = list_files(Source(uri=(uri,)))[0][0]
    try:
        head = read_text_head(path)
    except OSError:
        return  # the reader of the source says why
    if "\0" in head.text:
        return  # not text: the reader of the source says what it is
    if problem := _other_format(head.text.lstrip(), head.lines, path) or _bad_header(
        head.lines[:LINES], path
    ):
        raise SourceError(f"{path} {problem}")


def _other_format(text: str, lines: Sequence[str], path: str) -> str | None:
    """Returns which format other than CSV and JSON Lines a text has, with the way out, or None."""
    if text[:9].lower() == "@relation":
        return "is ARFF; write the names of its attributes in one line, and its @data below, as CSV"
    if text[:1] not in ("[", "{"):
        return None
    first = _parsed(lines[0].strip())
    if text[:1] == "[" and isinstance(first, list) and len(lines) > 1:
        return 'holds a JSON array in each line; a row is an object with names, such as {"a": 1}'
    if text[:1] == "[" and (text[1:].lstrip()[:1] in ("{", "[", "]") or isinstance(first, list)):
        return (
            "is one JSON array; JSON Lines hold one object in each line, and this writes them: "
            + command("jq -c '.[]'", path, ".jsonl")
        )
    if text[:1] == "{" and text[1:].lstrip()[:1] in ('"', "}") and not isinstance(first, dict):
        return (
            "is one JSON object over several lines; JSON Lines hold a row's object in each line. "
            "If they are in a key, this command writes them: "
            + command("jq -c '.KEY[]'", path, ".jsonl")
        )
    if isinstance(first, dict) and len(lines) == 1:
        return _one_object(first, path)
    return None


def _one_object(value: dict[str, object], path: str) -> str | None:
    """Returns where the only object of a file holds the rows, or None if it may be a row."""
    lists = {key: inner for key, inner in value.items() if isinstance(inner, list)}
    for key, inner in lists.items():
        if inner and isinstance(inner[0], dict):
            program = f"jq -c {shlex.quote(f'.[{json.dumps(key)}][]')}"
            return (
                f"is one JSON object, with the rows in its key {key!r}; this writes them as JSON "
                f"Lines: {command(program, path, '.jsonl')}"
            )
    if lists and len(lists) == len(value):
        return "is one JSON object of columns; JSON Lines hold a row's object in each line"
    return None


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _long_separator(lines: Sequence[str], path: str) -> str | None:
    """Returns which separator of several characters the lines have, with the way out, or None."""
    for separator in SEPARATORS:
        parts = [line.count(separator) for line in lines]
        is_doubled = lines[0].count(separator[0]) == separator.count(separator[0]) * parts[0]
        if is_doubled and parts[0] and parts.count(parts[0]) >= ALIKE * len(parts):
            unused = ";" if any("," in line for line in lines) else ","
            program = f"sed 's/{separator}/{unused}/g'"
            return (
                f"separates its columns by {separator!r}, and a delimiter is one character; write "
                f"it so, if no value has it: {command(program, path, '.csv')}"
            )
    return None


def _bad_header(lines: Sequence[str], path: str) -> str | None:
    """Returns why the first line cannot be the header of the lines below it, or None."""
    if len(lines) < LEAST_LINES:
        return None
    if problem := _long_separator(lines, path):
        return problem
    header = find_header(lines)
    if header is not None and (not header.above or header.is_preceded):
        return None
    if header is not None:
        delimiter, n, begins = header.delimiter, len(header.rows[0]), len(header.above) + 1
        first = next(iter(values_of(lines[:1], delimiter)), [])
        width = len(first)
        differ = f"names {width} columns in its first line, and most others have {n} values"
        if width == n - 1 > 1 and all(first):
            return (
                f"{differ}; where the rows' own names stand first, write a name for them at its "
                f"beginning"
            )
        if width > n and not any(map(_is_number, first)):
            return f"{differ}; a row has a value, or nothing between two {delimiter!r}, for each"
        return (
            f"starts with {lines[0][:60]!r}, and its rows seem to begin in line {begins}; write "
            f"one line above them, with a name for each of the {n} columns, and remove what stands "
            f"there"
        )
    words = [len(line.split()) for line in lines]
    if words[0] > 1 and words.count(words[0]) >= ALIKE * len(words):
        return (
            f"separates its {words[0]} columns by blanks; if no value has a blank, write commas: "
            + command("tr -s ' ' ,", path, ".csv")
        )
    return _by_colons(lines, path) or _prose(lines)


def _by_colons(lines: Sequence[str], path: str) -> str | None:
    """Returns that lines as those of /etc/passwd have colons between values, or None."""
    colons = [line.count(":") for line in lines]
    if colons[0] < 2 or colons.count(colons[0]) < ALIKE * len(colons):
        return None
    unused = next((c for c in ",;|" if not any(c in line for line in lines)), "\t")
    return (
        f"separates its {colons[0] + 1} columns by ':'; write another delimiter, if no value has "
        f"it: " + command(f"tr : {shlex.quote(unused)}", path, ".csv")
    )


def _prose(lines: Sequence[str]) -> str | None:
    """Returns that lines without any delimiter are sentences, the first one as well, or None."""
    n_words = [len(line.split()) for line in lines if line.strip()]
    is_cut = any(delimiter in line for line in lines for delimiter in DELIMITERS)
    if is_cut or n_words[0] < WORDY or sum(n >= WORDY for n in n_words) < ALIKE * len(n_words):
        return None
    return (
        f"is no table but text: its first line is {lines[0][:60]!r}, and no line has a delimiter; "
        f"write the names of its columns in one line, and the values of each row in one below, "
        f"with commas between them"
    )


def looks_like_a_row(names: Sequence[str]) -> bool:
    """Whether the header of a CSV seems to be a row: half of its names are numbers.

    Distinct whole numbers may be names, as years and pixels are.
    """
    numbers = [n for n in names if _is_number(n)]
    return _are_odd(numbers) and 2 * len(numbers) >= len(names)


def _are_odd(numbers: Sequence[str]) -> bool:
    """Whether numbers are no names of columns: whole ones that differ may be."""
    return len(set(numbers)) < len(numbers) or not all(n.isdigit() for n in numbers)


def lacks_header(sample: Sample) -> bool:
    """Whether the names of nearly all columns look like values of theirs, as a row's do."""
    if sample.source.format != "csv" or sample.table.num_rows < LEAST_LINES:
        return False
    names = sample.table.column_names
    alike = [name for name in names if _is_alike(name, sample.table.column(name))]
    # Whole numbers that differ may count the columns, and words among the values are a row's.
    has_words = any(not _is_number(name) for name in alike)
    is_odd = has_words or _are_odd([n for n in sample.names if _is_number(n)])
    return len(sample.names) > 1 and is_odd and len(alike) >= ALIKE * len(names)


def _is_alike(name: str, column: pa.ChunkedArray) -> bool:
    """Whether a name is one of the texts of a column, or lies within its numbers."""
    if not _is_number(name):
        return bool(pc.index(pc.utf8_trim_whitespace(column), name.strip()).as_py() >= 0)
    cells = column.slice(0, LINES).drop_null().to_pylist()
    numbers = [float(cell) for cell in cells if _is_number(cell)]
    return len(numbers) > ALIKE * len(cells) and min(numbers) <= float(name) <= max(numbers)


def check_quotes(uri: str, sample: Sample) -> None:
    """Refuses a CSV whose quotes stand behind blanks, where they quote nothing.

    Raises:
        SourceError: They do so in most values of a column; the message has the command against it.
    """
    path, mark = list_files(sample.source)[0][0], sample.source.delimiter
    for name in sample.table.column_names if sample.source.format == "csv" else ():
        texts = sample.table.column(name)
        if not pa.types.is_string(texts.type) or texts.null_count == len(texts):
            continue
        quoted = pc.match_substring_regex(texts, pattern=r'\A[ \t]+"')
        if pc.mean(quoted).as_py() > 0.5:
            shown = texts.filter(pc.fill_null(quoted, False))[0].as_py()
            change = f's/[{mark}][[:blank:]]+"/{mark}"/g'
            program = f"sed -E {shlex.quote(change)}"
            raise SourceError(
                f"{uri}: the values of {name!r} have a blank before their quotes, as {shown!r}; "
                f"quotes count at the start of a value only, so remove the blanks: "
                f"{command(program, path, '.csv')}"
            )


def naming_command(uri: str, sample: Sample) -> str:
    """Returns the command that writes names above the rows of a file."""
    names = sample.source.delimiter.join(f"c{i}" for i in range(1, len(sample.names) + 1))
    program = f"(echo {shlex.quote(names)}; cat)"
    return command(program, list_files(Source(uri=(uri,)))[0][0], ".csv")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
