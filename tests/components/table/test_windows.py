"""A window is the whole UTC days before the run's, with a warning of days without files."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from quatrain.components.errors import BucketError, SourceError
from quatrain.components.preprocess.run import preprocess
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.source import Source
from quatrain.components.table.files import days_before, fill, find_files
from quatrain.components.table.ranges import plan_ranges
from quatrain.components.times import run_time
from quatrain.validation import sample
from tests.components.conftest import HEADER, delays
from tests.emulators import storage as emulator

JULY = datetime.datetime(2013, 7, 1, 3, tzinfo=datetime.UTC)
DAY = datetime.date(2013, 6, 30)


def test_a_window_ends_with_the_day_before_the_run() -> None:
    days = days_before(JULY, "90d")
    assert (days[0], days[-1], len(days)) == (datetime.date(2013, 4, 2), DAY, 90)
    assert days_before(JULY.replace(hour=23), "90d") == days
    assert days_before(run_time("2013-07-01T01:00:00+09:00"), "1d") == [datetime.date(2013, 6, 29)]


@pytest.mark.parametrize(
    ("uri", "filled"),
    [
        ("gs://b/dt={date}/*.csv", "gs://b/dt=2013-06-30/*.csv"),
        ("gs://b/{date:%Y/%m/%d}.csv", "gs://b/2013/06/30.csv"),
        ("y={date:%Y}/m={date:%m}/d={date:%d}/*", "y=2013/m=06/d=30/*"),
        ("b/{x}.csv", "b/{x}.csv"),
    ],
)
def test_a_date_becomes_its_day(uri: str, filled: str) -> None:
    assert fill(uri, DAY) == filled


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"uri": "d/{date}.csv"}, "has a date, so say which days: add window: 90d"),
        ({"uri": "d/x.csv", "window": "90d"}, "no uri has a date; write {date} where"),
        ({"uri": "d/{date:%Y-%m}.csv", "window": "9d"}, "must name one day, by %Y, %m and %d"),
        ({"uri": "d/{date:%Y%m%d%H}", "window": "9d"}, "they have %Y, %m, %d, %H"),
        ({"uri": "d/{date:x}.csv", "window": "9d"}, "they have none"),
        ({"uri": "d/{date}.csv", "window": "90 days"}, "'90 days' is no number of days"),
        ({"uri": "d/{date}.csv", "window": 90}, "90 is no number of days; write it as 90d"),
        ({"uri": "d/{date}.csv", "window": "0d"}, "'0d' is no number of days"),
    ],
)
def test_a_wrong_window_is_a_sentence(source: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Source.model_validate(source)
    assert sentence in str(refused.value)


@pytest.fixture
def june(tmp_path: Path) -> Path:
    """Two files of 28 June and one of the 30th; the 29th has none. One of July."""
    for name in ("2013-06-28/a", "2013-06-28/b", "2013-06-30/a", "2013-07-01/a"):
        path = tmp_path / f"dt={name}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("a,b\n1,2\n")
    (tmp_path / "fixed.csv").write_text("a,b\n3,4\n")
    return tmp_path


def test_a_window_lists_its_files_and_warns_of_days_without_any(june: Path) -> None:
    uris = (f"{june}/dt={{date}}/*.csv", f"{june}/fixed.csv")
    files = find_files(Source(uri=uris, window="3d"), JULY)
    names = [str(Path(path).relative_to(june)) for path, _ in files.listing]
    assert names[:3] == ["dt=2013-06-28/a.csv", "dt=2013-06-28/b.csv", "dt=2013-06-30/a.csv"]
    assert names[3:] == ["fixed.csv"]
    assert files.warning == "1 of the 3 days of the window has no file: 2013-06-29"
    assert files.as_json() == {
        "first": "2013-06-28",
        "last": "2013-06-30",
        "days": 3,
        "without_files": ["2013-06-29"],
    }


def test_a_window_without_any_file_is_an_error_that_shows_what_was_looked_for(june: Path) -> None:
    source = Source(uri=(f"{june}/dt={{date}}/a.csv", f"{june}/fixed.csv"), window="2d")
    with pytest.raises(SourceError) as refused:
        find_files(source, JULY.replace(month=5))
    assert str(refused.value) == (
        f"source.window: none of the 2 days from 2013-04-29 to 2013-04-30 has a file, as "
        f"{june}/dt=2013-04-30/a.csv; is the run's time 2013-05-01 03:00 UTC right? Give "
        f"another one with --at"
    )


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[emulator.Storage]:
    """Cloud Storage on loopback, for pyarrow."""
    with emulator.serving() as served:
        key = emulator.write_credentials(tmp_path / "key.json", served.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", served.url)
        yield served


def test_absent_credentials_are_a_sentence_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for uri in ("gs://b/x.csv", "gs://b/*.csv", "bq://p.d.t"):
        source = Source(uri=(uri,), format="bigquery" if uri.startswith("bq") else "csv")
        with pytest.raises(SourceError, match=r"read: there are no credentials .* run gcloud"):
            find_files(source)


def test_refused_credentials_are_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with emulator.serving() as served:
        key = emulator.write_credentials(tmp_path / "key.json", f"{served.url}/nowhere")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        with pytest.raises(SourceError, match=r"gs://b/x\.csv cannot be read: Google refuses"):
            find_files(Source(uri=("gs://b/x.csv",)))


@pytest.mark.parametrize("name", ["x.csv", "*.csv", "{date}.csv"])
def test_a_source_that_may_not_be_read_is_a_sentence(storage: emulator.Storage, name: str) -> None:
    storage.add_bucket("shut", forbidden=True)
    window = "9d" if "date" in name else None
    with pytest.raises(SourceError, match=r"may not be listed; allow .* gs://shut --member=") as e:
        find_files(Source(uri=(f"gs://shut/{name}",), window=window), JULY)
    assert "roles/storage.objectViewer" in str(e.value)
    with pytest.raises(SourceError, match=r"does not exist|no file matches|has a file"):
        find_files(Source(uri=(f"gs://gone/{name}",), window=window), JULY)


def test_a_window_over_a_bucket_lists_each_day(storage: emulator.Storage) -> None:
    storage.add_bucket("b")
    for day in ("2013-06-28", "2013-06-30", "2013-07-01"):
        storage.put(f"gs://b/dt={day}/x.csv", b"a,b\n1,2\n")
    source = Source(uri=("gs://b/dt={date}/*.csv",), window="3d")
    files = find_files(source, JULY)
    ranges = plan_ranges(source, {"a": "int", "b": "int"}, files=files.listing)
    uris = ["gs://b/dt=2013-06-28/x.csv", "gs://b/dt=2013-06-30/x.csv"]
    assert [path for path, _ in files.listing] == uris
    assert [(r.path, r.start, r.stop) for r in ranges] == [(uri, 4, 8) for uri in uris]


def test_the_name_of_an_object_is_taken_as_it_is_written(storage: emulator.Storage) -> None:
    storage.add_bucket("b")
    names = ["city=S%C3%A3o Paulo/é #1.csv", "a/x1.csv", "a/x22.csv"]
    for name in names:
        storage.put(f"gs://b/{name}", b"a,b\n1,2\n")
    for uri, matches in (
        (f"gs://b/{names[0]}", names[:1]),
        ("gs://b/*/* #?.csv", names[:1]),
        ("gs://b/a/x?.csv", names[1:2]),
    ):
        files = find_files(Source(uri=(uri,))).listing
        assert [path for path, _ in files] == [f"gs://b/{name}" for name in matches]
        [span] = plan_ranges(Source(uri=(uri,)), {"a": "int"}, files=files)
        assert (span.start, span.stop) == (4, 8)


@pytest.fixture
def windowed(delays_spec: Callable[..., ModelSpec], tmp_path: Path) -> ModelSpec:
    """The small table, cut into two days of a window of three."""
    rows = delays().splitlines()[1:]
    for day, part in (("28", rows[:200]), ("30", rows[200:]), ("31", ["1,x,x,x,x"] * 9)):
        (tmp_path / f"2013-06-{day}.csv").write_text("\n".join([HEADER, *part, ""]))
    return delays_spec(source={"uri": f"{tmp_path}/{{date}}.csv", "window": "3d"})


def test_a_run_reads_its_window_and_the_manifest_says_which(
    windowed: ModelSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "examples"
    spec, at = windowed.as_json(), "2013-07-01"
    assert preprocess(spec, runner="local", out=str(out), at=at) == 400
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["window"]["first"], manifest["window"]["last"]) == ("2013-06-28", "2013-06-30")
    assert "warning: 1 of the 3 days of the window has no file: 2013-06-29" in (
        capsys.readouterr().out
    )


def test_check_looks_at_the_window_of_a_time(windowed: ModelSpec) -> None:
    assert sample.check(windowed, JULY).problems == []
    (finding,) = sample.check(windowed).problems
    assert "has a file, as" in finding


def test_a_wrong_bucket_is_refused_before_a_byte_is_read(
    windowed: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with emulator.serving() as storage:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        storage.add_bucket("b", "eu", "multi-region")
        gone = json.dumps({**windowed.as_document(), "source": {"uri": "/gone.csv"}})
        with pytest.raises(BucketError, match="gs://b is in eu"):
            preprocess(gone, runner="local", out="gs://b/x", project="p", location="europe-west1")
        options = {"temp_location": "gs://gone/tmp"}
        with pytest.raises(BucketError, match="gs://gone does not exist"):
            preprocess(
                gone, runner="local", out="/x", location="europe-west1", runner_options=options
            )
        assert {line.split()[0] for line in storage.requests} == {"GET"}


def test_ranges_are_of_the_files_in_the_listing(june: Path) -> None:
    source = Source(uri=(f"{june}/dt={{date}}/*.csv",), window="3d")
    files = find_files(source, JULY).listing
    assert len(plan_ranges(source, {"a": "int", "b": "int"}, files=files)) == 3
