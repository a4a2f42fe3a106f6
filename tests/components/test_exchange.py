"""Of many writers of one file at once, one wins, and the others hear of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from quatrain.components.errors import ArtifactError
from quatrain.components.exchange import Content, Overtaken, read_content, replace_content
from tests.emulators import storage as emulator


@pytest.fixture(params=["disk", "bucket"])
def uri(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    served: emulator.Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
    return f"{tmp_path}/a/b.json" if request.param == "disk" else "gs://b/a/b.json"


def test_a_file_is_created_and_replaced_as_it_was_read(uri: str) -> None:
    absent = read_content(uri)
    assert absent == Content(None)
    replace_content(uri, b"1", absent)
    first = read_content(uri)
    assert first.data == b"1"
    replace_content(uri, b"2", first)
    for stale in (absent, first):
        with pytest.raises(Overtaken, match=r"a/b.json was replaced by another process"):
            replace_content(uri, b"3", stale)
    assert read_content(uri).data == b"2"


@pytest.mark.parametrize("exists", [False, True])
def test_of_eight_writers_at_once_one_wins(uri: str, exists: bool) -> None:
    if exists:
        replace_content(uri, b"old", Content(None))
    n = 8
    start = Barrier(n)

    def write(number: int) -> bool:
        former = read_content(uri)
        start.wait()
        try:
            replace_content(uri, str(number).encode(), former)
        except Overtaken:
            return False
        return True

    with ThreadPoolExecutor(n) as pool:
        won = list(pool.map(write, range(n)))
    assert sum(won) == 1
    assert read_content(uri).data == str(won.index(True)).encode()


def test_a_write_whose_answer_was_lost_counts_when_it_is_repeated(
    served: emulator.Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
    replace_content("gs://b/x.json", b"1", Content(None))
    replace_content("gs://b/x.json", b"1", Content(None))  # as Google's client would


def test_a_bucket_that_refuses_is_named(
    served: emulator.Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
    with pytest.raises(ArtifactError, match=r"gs://not-there/x.json cannot be replaced: .*404"):
        replace_content("gs://not-there/x.json", b"1", Content(None))
