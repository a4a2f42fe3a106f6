"""Files: what is wrong with a source is one sentence with the way out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from quatrain.components.errors import SourceDenied, SourceError
from quatrain.components.specification.source import Source
from quatrain.components.table.files import find_files, list_files
from quatrain.components.table.versions import find_versions

Table = Callable[..., str]


@pytest.mark.parametrize("uri", ["s4://x/t.csv", "gopher://x/t.csv"])
def test_a_uri_of_no_known_file_system_is_one_sentence(uri: str) -> None:
    with pytest.raises(SourceError, match=r"cannot be read .*; use a local path or gs://"):
        list_files(Source(uri=(uri,)))


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(SourceError, match=r"t\.csv is not a regular file"):
        list_files(Source(uri=(str(tmp_path / "t.csv"),)))


def test_globs_name_files_in_order_and_an_empty_one_is_an_error(table: Table) -> None:
    for name in ("2013-02.csv", "2013-01.csv", "2013-01.txt"):
        folder = Path(table("a,b\n1,2\n", name)).parent
    listing = list_files(Source(uri=(f"{folder}/2013-*.csv",)))
    assert [Path(f).name for f, _ in listing] == ["2013-01.csv", "2013-02.csv"]
    assert list_files(Source(uri=(f"{folder}/**/2013-0[12].csv",))) == listing
    with pytest.raises(SourceError, match=r"no file matches .*/2014-\*\.csv"):
        list_files(Source(uri=(f"{folder}/2014-*.csv",)))
    with pytest.raises(SourceError, match=r"nothing\.csv does not exist"):
        list_files(Source(uri=(f"{folder}/nothing.csv",)))
    with pytest.raises(SourceError, match=r"is a folder; name its files"):
        list_files(Source(uri=(str(folder),)))


@pytest.mark.parametrize("name", ["t?y=1.csv", "t[1].csv", "t*.csv", "t %41#ü.csv"])
@pytest.mark.parametrize("form", [str, lambda path: path.as_uri()], ids=["path", "uri"])
def test_a_file_s_own_name_is_no_glob(table: Table, name: str, form: Callable[[Path], str]) -> None:
    for other in ("t1.csv", "tay=1.csv"):
        table("c\n1\n", other)
    path = table("a,b\n1,2\n", name)
    source = Source(uri=(form(Path(path)),))
    assert list_files(source) == [(path, 8)]
    assert list(find_versions([path for path, _ in list_files(source)])) == [path]


def test_an_error_names_the_key_of_a_spec_only_where_there_is_one(tmp_path: Path) -> None:
    source = Source(uri=(f"{tmp_path}/nope.csv",))
    with pytest.raises(SourceError) as alone:
        list_files(source)
    assert str(alone.value) == f"{tmp_path}/nope.csv does not exist"
    with pytest.raises(SourceError) as of_spec:
        find_files(source)
    assert str(of_spec.value) == f"source.uri: {alone.value}"


def test_a_file_that_may_not_be_read_is_one_plain_sentence(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table("a,b\n1,2\n")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read anything
    with pytest.raises(SourceDenied) as raised:
        list_files(Source(uri=(path,)))
    assert str(raised.value) == (
        f"{path} may not be read by this account; give it the right to, as by chmod u+r {path}"
    )
