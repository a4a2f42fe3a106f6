"""Recognizes by its first bytes a file that is no text, and says what makes a table of it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from quatrain.components.storage import COMPRESSION, compression_of

LINE_FEEDS = r"tr '\r' '\n'"
"""The program that writes line feeds for carriage returns."""
WITHOUT_NULS = r"tr -d '\000'"
"""The program that takes NUL bytes out of a file."""
DOUBLED_QUOTES = (
    r"""perl -pe 's/(\\+)"/"\\" x (length($1) >> 1) . (length($1) & 1 ? "\"\"" : "\"")/ge'"""
)
"""The program that writes two quotes for one that a backslash escapes, and one backslash for two
before a quote."""
_UNPACK = {"gzip": "gzip -dc", "bz2": "bzip2 -dc", "zstd": "zstd -dc"}
_UNTAR = {"gzip": "tar -xzf", "bz2": "tar -xjf", "zstd": "tar --zstd -xf", "": "tar -xf"}
_SHEETS = "save one sheet of it as CSV in UTF-8, or: {pandas:read_excel}"


@dataclass(frozen=True)
class Format:
    """A format that is neither a CSV nor JSON Lines.

    Attributes:
        start: What a file of the format starts with.
        name: What such a file is.
        way_out: What makes a table of it: {pandas:F} stands for a command with F of pandas, {to:P}
            for one that sends the file through a program, and {path} for the file.
        compression: pyarrow's name of the compression; empty for all else.
    """

    start: re.Pattern[bytes]
    name: str
    way_out: str = ""
    compression: str = ""


def _format(start: bytes, name: str, way_out: str = "", compression: str = "") -> Format:
    return Format(re.compile(start, re.DOTALL), name, way_out, compression)


FORMATS = (
    _format(rb"PAR1", "a Parquet file"),
    _format(rb"\x1f\x8b", "a gzip file", "", "gzip"),
    _format(rb"BZh[1-9]", "a bzip2 file", "", "bz2"),
    _format(rb"\x28\xb5\x2f\xfd", "a Zstandard file", "", "zstd"),
    _format(rb".{257}ustar", "a tar archive", "take the table out: {untar} {path}"),
    _format(
        rb"PK\x03\x04.{26}(?:\[Content_Types\]\.xml|_rels/|xl/|docProps/)", "a workbook", _SHEETS
    ),
    _format(rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis", "a workbook", _SHEETS),
    _format(
        rb"PK\x03\x04.{26}[^\0]{1,60}\.npy",
        "an archive of NumPy",
        "write an array as CSV: numpy.savetxt",
    ),
    _format(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", "a zip archive", "unpack it: unzip {path}"),
    _format(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old workbook or document", _SHEETS),
    _format(rb"\xfd7zXZ\0", "an xz file", "unpack it: {to:xz -dc}"),
    _format(rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it: 7z x {path}"),
    _format(rb"Rar!\x1a\x07", "a rar archive", "unpack it: unrar x {path}"),
    _format(rb"\x04\x22\x4d\x18", "an lz4 file", "unpack it: {to:lz4 -dc}"),
    _format(rb"\x1f[\x9d\xa0]", "a file of compress", "unpack it: {to:gzip -dc}"),
    _format(rb"(?:ARROW1\0|FEA1)", "an Arrow or Feather file", "{pandas:read_feather}"),
    _format(rb"\xff\xff\xff\xff.{2}\0\0", "a stream of Arrow", "write it as Parquet with pyarrow"),
    _format(rb"Obj\x01", "an Avro file", "write it as Parquet, for example with DuckDB"),
    _format(rb"ORC[\0-\x1f\x80-\xff]", "an ORC file", "{pandas:read_orc}"),
    _format(rb"\x89HDF\r\n\x1a\n", "an HDF5 file", "{pandas:read_hdf}"),
    _format(rb"SQLite format 3\0", "an SQLite database", "write a table of it: {sqlite}"),
    _format(
        rb".{8}DUCK", "a database of DuckDB", "write a table of it with COPY ... TO 't.parquet'"
    ),
    _format(rb"%PDF-", "a PDF", "ask for the table as CSV"),
    _format(rb"\x80[\x02-\x05][\x80-\xff\]}(\]cKX]", "a pickle of Python", "{pandas:read_pickle}"),
    _format(rb"RD[ABX][23]\n", "an R data file", "write a table of it as CSV, in R: {load}"),
    _format(rb"[XB]\n\0\0\0[\x02\x03]", "an R data file", "write it as CSV, in R: {readRDS}"),
    _format(rb"<stata_dta>|[\x69-\x73][\x01\x02]\x01\0", "a Stata file", "{pandas:read_stata}"),
    _format(rb"\0{12}\xc2\xea\x81\x60", "a SAS file", "{pandas:read_sas}"),
    _format(rb"HEADER RECORD\*{7}", "a SAS transport file", "{pandas:read_sas}"),
    _format(rb"\$FL[23]@\(#\)", "an SPSS file", "{pandas:read_spss}"),
    _format(rb"\x93NUMPY", "an array of NumPy", "{numpy}"),
    _format(rb"MATLAB 5\.0 MAT-file", "a MATLAB file", "write its table with writetable"),
    _format(rb"\0\x01\0\0Standard (?:Jet|ACE) DB", "an Access database", "export a table as CSV"),
    _format(rb"\{\\rtf", "a document in RTF", "write its table as CSV"),
    _format(rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*|RIFF....WEBP", "an image"),
    _format(
        rb"(?i:(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|table|script|div|\?xml|!--))",
        "HTML or XML",
        "write its table as CSV",
    ),
)
"""The first that matches is the format."""
_CONTROLS = bytes({*range(2, 9), *range(14, 27), 28, 29, 127})
"""Characters that text does not hold; some files have \\x01, \\x1e or \\x1f between values."""
_LOOKED_AT = 4096


def format_of(head: bytes) -> Format | None:
    """Returns the format of a file's first bytes, or None if they may be text."""
    return next((form for form in FORMATS if form.start.match(head)), None)


def is_binary(head: bytes, delimiter: str) -> bool:
    """Whether the first bytes of a file are no text.

    The first line has a control character, or is mostly NUL bytes; or one byte of fifty is such a
    character: a few may be in the cells of a CSV, or in the first row of JSON Lines.
    """
    controls = _CONTROLS.replace(delimiter.encode(), b"")
    line, head = head.partition(b"\n")[0], head[:_LOOKED_AT]
    n_controls = len(head) - len(head.translate(None, controls))
    is_odd = line != line.translate(None, controls) or 2 * line.count(0) > len(line)
    return (is_odd and not line.startswith(b"{")) or n_controls > max(len(head) // 50, 16)


def way_out(form: Format, path: str, compression: str = "") -> str:
    """Returns what makes a table of a file; empty if nothing does.

    Args:
        form: The format of the file, or of what is compressed in it.
        path: The file.
        compression: pyarrow's name of its compression; empty if there is none.
    """
    csv, parquet = (repr(new_name(path, suffix)) for suffix in (".csv", ".parquet"))
    sqlite = f"sqlite3 -header -csv {shlex.quote(path)} 'SELECT * FROM NAME' > {csv}"  # noqa: S608
    r_line = f"write.csv(readRDS({path!r}), {csv}, row.names = FALSE)"
    ways = {
        "{untar}": _UNTAR[compression],
        "{sqlite}": sqlite,
        "{readRDS}": r_line,
        "{load}": f"load({path!r}); {r_line.replace(f'readRDS({path!r})', 'NAME')}",
        "{numpy}": f"write it as CSV with numpy.savetxt({csv}, numpy.load({path!r}))",
        "{path}": shlex.quote(path),
    }
    text = form.way_out
    for place, way in ways.items():
        text = text.replace(place, way)
    text = re.sub(r"\{to:(.*?)\}", lambda m: command(m[1], path, ".csv"), text)
    if pandas := re.search(r"\{pandas:(\w+)\}", text):
        line = f"import pandas; pandas.{pandas[1]}({path!r}).to_parquet({parquet})"
        is_plain = re.search(r'["$`\\]', line) is None
        python = f'python -c "{line}"' if is_plain else f"python -c {shlex.quote(line)}"
        text = text[: pandas.start()] + python
        text = text if ": " in text[: pandas.start()] else f"write it as Parquet: {text}"
    return f"; {text}" if text else ""


def naming_hint(form: Format, kind: str) -> str:
    """Returns how a compressed file has to be named; empty for other formats."""
    suffix = next((s for s, c in COMPRESSION.items() if c == form.compression), None)
    plain = ".csv" if kind == "a CSV" else ".jsonl"
    return f"; if it holds {kind}, compressed, name it {plain}{suffix}" if suffix else ""


def command(program: str, path: str, suffix: str) -> str:
    """Returns the command that sends a file, unpacked, through a program into another file.

    Args:
        program: The program and its options.
        path: The file.
        suffix: That of the new file.
    """
    new = new_name(path, suffix)
    if compression := compression_of(path):
        return f"{_UNPACK[compression]} {shlex.quote(path)} | {program} > {shlex.quote(new)}"
    return f"{program} < {shlex.quote(path)} > {shlex.quote(new)}"


def new_name(path: str, suffix: str) -> str:
    """Returns the name of the file that a command writes: never that of the file which it reads.

    A shell empties a file before the program reads it.
    """
    name = PurePosixPath(path).name
    new = name.partition(".")[0] + suffix
    return f"new-{name}" if new == name else new
