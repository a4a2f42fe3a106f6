"""Recognizes by its first bytes a file that is no text, and says what makes a table of it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from quatrain.components.storage import COMPRESSION, compression_of

WITHOUT_NULS = r"tr -d '\000'"
"""The program that takes NUL bytes out of a file."""
DOUBLED_QUOTES = (
    r"""perl -pe 's/(\\+)"/"\\" x (length($1) >> 1) . (length($1) & 1 ? "\"\"" : "\"")/ge'"""
)
"""The program that writes two quotes for one that a backslash escapes, and one backslash for two
before a quote."""
_UNPACK = {"gzip": "gzip -dc", "bz2": "bzip2 -dc", "zstd": "zstd -dc"}
_UNTAR = {"gzip": "tar -xzf", "bz2": "tar -xjf", "zstd": "tar --zstd -xf", None: "tar -xf"}
_SHEETS = "save one sheet of it as CSV in UTF-8, or: {pandas:read_excel}"


@dataclass(frozen=True)
class Format:
    """A format that is neither a CSV nor JSON Lines.

    Attributes:
        start: What a file of the format starts with.
        name: What such a file is.
        way_out: What makes a table of it: {pandas:F} stands for a command with F of pandas, {path}
            for the file, and {plain} for the name of the CSV.
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
    _format(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", "a zip archive", "unpack it: unzip {path}"),
    _format(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old workbook or document", _SHEETS),
    _format(rb"\xfd7zXZ\0", "an xz file", "unpack it: xz -dc {path} > {plain}"),
    _format(rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it: 7z x {path}"),
    _format(rb"Rar!\x1a\x07", "a rar archive", "unpack it: unrar x {path}"),
    _format(rb"\x04\x22\x4d\x18", "an lz4 file", "unpack it: lz4 -dc {path} > {plain}"),
    _format(rb"\x1f[\x9d\xa0]", "a file of compress", "unpack it: gzip -dc {path} > {plain}"),
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
    _format(rb"RD[AX][23]\n|[XAB]\n\0\0\0[\x02\x03]", "an R data file", "{r}"),
    _format(rb"<stata_dta>|[\x69-\x73][\x01\x02]\x01\0", "a Stata file", "{pandas:read_stata}"),
    _format(rb"\0{12}\xc2\xea\x81\x60", "a SAS file", "{pandas:read_sas}"),
    _format(rb"HEADER RECORD\*{7}", "a SAS transport file", "{pandas:read_sas}"),
    _format(rb"\$FL[23]@\(#\)", "an SPSS file", "{pandas:read_spss}"),
    _format(rb"\x93NUMPY", "an array of NumPy", "write it as CSV with numpy.savetxt"),
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
_CONTROLS = bytes({*range(1, 9), *range(14, 27), 28, 29, 127})
"""Characters that text does not hold; some files have \\x1e or \\x1f between their values."""
_LOOKED_AT = 4096


def format_of(head: bytes) -> Format | None:
    """Returns the format of a file's first bytes, or None if they may be text."""
    return next((form for form in FORMATS if form.start.match(head)), None)


def is_binary(head: bytes, delimiter: str) -> bool:
    """Whether the first bytes of a file are no text: control characters are in the first line.

    Or they are one of fifty bytes; a few may be in the cells of a CSV.
    """
    controls = _CONTROLS.replace(delimiter.encode(), b"")
    line, head = head.partition(b"\n")[0], head[:_LOOKED_AT]
    n_controls = len(head) - len(head.translate(None, controls))
    return line != line.translate(None, controls) or n_controls > max(len(head) // 50, 16)


def way_out(form: Format, path: str) -> str:
    """Returns what makes a table of a file; empty if nothing does."""
    if not form.way_out:
        return ""
    stem, quoted = shlex.quote(_stem(path)), shlex.quote(path)
    text = form.way_out.replace("{untar}", _UNTAR[compression_of(path)])
    if pandas := re.search(r"\{pandas:(\w+)\}", text):
        read = f"pandas.{pandas[1]}({path!r}).to_parquet({_stem(path) + '.parquet'!r})"
        command = f"python -c {shlex.quote(f'import pandas; {read}')}"
        text = text.replace(
            pandas[0], f"{'' if ': {' in text else 'write it as Parquet: '}{command}"
        )
    r_line = f"write.csv(readRDS({path!r}), {_stem(path) + '.csv'!r}, row.names = FALSE)"
    sqlite = f"sqlite3 -header -csv {quoted} 'SELECT * FROM NAME' > {stem}.csv"  # noqa: S608
    text = text.replace("{sqlite}", sqlite).replace("{r}", f"write it as CSV, in R: {r_line}")
    return "; " + text.replace("{path}", quoted).replace("{plain}", f"{stem}.csv")


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
    name = PurePosixPath(path).name
    new = _stem(path) + suffix
    if new == name:  # a shell empties it before the program reads it
        new = f"new-{name}"
    if compression := compression_of(path):
        return f"{_UNPACK[compression]} {shlex.quote(path)} | {program} > {shlex.quote(new)}"
    return f"{program} < {shlex.quote(path)} > {shlex.quote(new)}"


def _stem(path: str) -> str:
    return PurePosixPath(path).name.partition(".")[0]
