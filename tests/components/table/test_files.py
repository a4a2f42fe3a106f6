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
from quatrain.draft.sample.not_a_table import check_head

Table = Callable[..., str]


@pytest.mark.parametrize("uri", ["s4://x/t.csv", "gopher://x/t.csv"])
def test_a_uri_of_no_known_file_system_is_one_sentence(uri: str) -> None:
    with pytest.raises(SourceError, match="cannot be read; write a local path or gs://"):
        list_files(Source.model_construct(uri=(uri,)))
    with pytest.raises(SourceError, match="cannot be read; write a local path or gs://"):
        check_head(uri)
    with pytest.raises(ValueError, match="cannot be read; write a local path or gs://"):
        Source(uri=(uri,))


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
    assert str(alone.value) == f"{tmp_path}/nope.csv does not exist; check its name"
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


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("**/*.csv", ["a.csv", "day=1/p.csv", "x/b.csv", "x/y/c.csv"]),
        ("**", ["a.csv", "day=1/p.csv", "x/b.csv", "x/y/c.csv"]),
        ("*", ["a.csv"]),
        ("?a.csv", []),
        (".*/*.csv", [".ipynb_checkpoints/a.csv"]),
        (".ipynb_checkpoints/*.csv", [".ipynb_checkpoints/a.csv"]),
        ("_*/*.csv", ["_day=1/p.csv", "_temporary/p.csv"]),
        ("*=1/*.csv", ["_day=1/p.csv", "day=1/p.csv"]),
        ("_temporary/p.csv", ["_temporary/p.csv"]),
        ("x/{b,y/c}.csv", []),
        ("{a,x}*/../x/[a-b].csv", ["x/b.csv"]),
        ("x/{b,d}.csv", ["x/b.csv"]),
        ("x/[!a].csv", ["x/b.csv"]),
        ("x/[^a].csv", ["x/b.csv"]),
    ],
)
def test_a_wildcard_passes_over_hidden_names_and_one_written_out_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, names: list[str]
) -> None:
    for name in (
        *("a.csv", ".a.csv", "_a.csv", "x/b.csv", "x/y/c.csv", "x/.y/c.csv"),
        *(".ipynb_checkpoints/a.csv", "_temporary/p.csv", "day=1/p.csv", "_day=1/p.csv"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    if pattern in ("**/*.csv", "**"):
        names = sorted([*names, "_day=1/p.csv"])
    for start in ("", "./", f"{tmp_path}/"):
        try:
            listing = list_files(Source(uri=(start + pattern,)))
        except SourceError:
            listing = []
        found = {os.path.relpath(os.path.normpath(path), tmp_path) for path, _ in listing}
        assert sorted(found) == names


@pytest.mark.parametrize(
    "name", ["c [1].csv", "c*.csv", "c?.csv", "c[.csv", "c[z-a].csv", "c{1,2}.csv", "d [1]/c.csv"]
)
def test_a_file_of_the_very_name_of_a_glob_is_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for each in (name, "c 1.csv", "c1.csv", "c12.csv", "d 1/c.csv"):
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    for start in ("", "./", f"{tmp_path}/"):
        assert [path for path, _ in list_files(Source(uri=(start + name,)))] == [start + name]


@pytest.mark.parametrize("pattern", ["c[z-a].csv", "c[[a].csv", "c[.csv", "[]", "c[!].csv"])
def test_a_pattern_that_matches_nothing_is_a_sentence_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="no file matches"):
        list_files(Source(uri=(pattern,)))


def test_a_glob_lists_only_the_folders_it_names_and_no_loop_of_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text("a,b\n1,2\n")
    (tmp_path / "a/up").symlink_to(tmp_path)
    assert [
        os.path.relpath(path, tmp_path)
        for path, _ in list_files(Source(uri=(f"{tmp_path}/**/t.csv",)))
    ] == ["a/t.csv", "b/t.csv"]
    monkeypatch.chdir(tmp_path / "a")
    assert [path for path, _ in list_files(Source(uri=("../[b]/*.csv",)))] == ["../b/t.csv"]
