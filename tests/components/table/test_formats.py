"""Files that are no text are named for what they are, with what makes a table of them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import random
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.orc as orc
import pytest

from quatrain.components.errors import QuatrainError, SourceError
from quatrain.components.specification.source import Source
from quatrain.components.table.ranges import plan_ranges
from quatrain.draft.infer import infer

PLAIN = b"id,x,y\n" + b"r1,2,3\n" * 40
TABLE = pa.table({"x": [1, 2]})


def _written(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _tar(mode: str) -> bytes:
    def write(buffer: io.BytesIO) -> None:
        with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
            entry = tarfile.TarInfo("k.csv")
            entry.size = len(PLAIN)
            archive.addfile(entry, io.BytesIO(PLAIN))

    return _written(write)


def _zip(*names: str) -> bytes:
    def write(buffer: io.BytesIO) -> None:
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in names:
                archive.writestr(name, "application/vnd.oasis.opendocument.spreadsheet")

    return _written(write)


CASES = {
    "k.csv.tar.gz": (_tar("w:gz"), "is a tar archive, not a CSV; take the table out: tar -xzf "),
    "k.csv.tar.bz2": (_tar("w:bz2"), "take the table out: tar -xjf "),
    "k.csv": (_tar("w"), "take the table out: tar -xf "),
    "k.tgz": (_tar("w:gz"), "is a tar archive, not a CSV; take the table out: tar -xzf "),
    "z.csv": (_zip("k.csv"), "is a zip archive, not a CSV; unpack it: unzip "),
    "b.csv": (_zip("[Content_Types].xml", "xl/workbook.xml"), "is a workbook, not a CSV; save "),
    "b.ods": (_zip("mimetype"), "pandas.read_excel('"),
    "b.xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "is an old workbook or document"),
    "g.csv": (
        gzip.compress(PLAIN),
        "is a gzip file, not a CSV; if it holds a CSV, compressed, ",
    ),
    "b2.csv": (bz2.compress(PLAIN), "name it .csv.bz2"),
    "x.csv": (lzma.compress(PLAIN), " > new-x.csv"),
    "x.csv.xz": (lzma.compress(PLAIN), " > x.csv"),
    "f.csv": (_written(lambda b: feather.write_feather(TABLE, b)), "pandas.read_feather('"),
    "o.csv": (_written(lambda b: orc.write_table(TABLE, b)), "is an ORC file"),
    "p.pkl": (pickle.dumps({"a": 1}), "is a pickle of Python, not a CSV; write it as Parquet: "),
    "p2.csv": (pickle.dumps([1], 2), "is a pickle of Python"),
    "n.csv": (_written(lambda b: np.save(b, np.arange(3))), "is an array of NumPy"),
    "n.npz": (_written(lambda b: np.savez(b, a=np.arange(3))), "is an archive of NumPy"),
    "r.rds": (gzip.compress(b"X\n\0\0\0\3" + bytes(99)), "in R: write.csv(readRDS('"),
    "r.RData": (gzip.compress(b"RDX3\nX\n\0\0\0\3" + bytes(99)), "in R: load('"),
    "d.dta": (b"<stata_dta><header><release>118", "is a Stata file"),
    "s.csv": (bytes(12) + b"\xc2\xea\x81\x60" + bytes(99), "is a SAS file"),
    "s.sav": (b"$FL2@(#) SPSS DATA FILE" + bytes(99), "is an SPSS file"),
    "h.csv": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
    "a.csv": (b"Obj\x01\x04\x14avro.codec" + bytes(50), "is an Avro file"),
    "pdf.csv": (b"%PDF-1.4\n%\xe2\xe3\n" + bytes(99), "is a PDF"),
    "i.csv": (b"\xff\xd8\xff\xe0" + bytes(50), "is an image"),
    "t.csv": (b"<!DOCTYPE html>\n<html><table>" + b"<tr>\n" * 9, "is HTML or XML"),
    "rtf.csv": (b"{\\rtf1\\ansi a,b\n" + b"1,2\n" * 9, "is a document in RTF"),
    "j.csv": (b'[{"id": 1},\n{"id": 2}]\n', "is one JSON array; "),
    "elf.csv": (b"\x7fELF\x02\x01\x01" + bytes(99), "is not text, and so not a CSV"),
    "0.csv": (bytes(999), "is not text, and so not a CSV"),
    "any.csv": (random.Random(1).randbytes(9999), "is not text, and so not a CSV"),  # noqa: S311
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_another_format_is_named_at_every_door(name: str, tmp_path: Path) -> None:
    data, sentence = CASES[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(QuatrainError) as at_init:
        infer(str(path), "y")
    with pytest.raises(SourceError) as at_run:
        plan_ranges(Source(uri=(str(path),)), {"x": "float"})
    for refused in (at_init, at_run):
        assert sentence in str(refused.value)
        assert "UTF-8 text" not in str(refused.value)


def test_a_database_is_named_with_the_command_that_writes_a_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (a)")
    connection.commit()
    connection.close()
    with pytest.raises(SourceError, match=r"is an SQLite database, .* sqlite3 -header -csv "):
        plan_ranges(Source(uri=(str(path),)), {"x": "float"})


def test_a_header_in_angle_brackets_is_a_header(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("<TICKER>,<PER>\nA,1\n")
    assert plan_ranges(Source(uri=(str(tmp_path / "t.csv"),)), {"<PER>": "int"})


@pytest.mark.parametrize(
    "head",
    [
        "都市,y\n東京,1\n",
        "π,y\nλψ,1\n",
        "id,y\n1,2\n",
        "a",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_characters_without_a_mark_are_told_apart(
    head: str, encoding: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_bytes(head.encode(encoding))
    with pytest.raises(SourceError, match=f"set source.encoding: {encoding}"):
        plan_ranges(Source(uri=(str(tmp_path / "t.csv"),)), {"y": "int"})
