"""A retry ends at once by the error of the try before, and reads the data if that is damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from quatrain.components.errors import DataError
from quatrain.components.preprocess.earlier_try import RECORD, SUFFIX, earlier_try
from tests.emulators import storage as emulator

OUT, INPUTS = "gs://b/examples", ["spec", "digest"]
URI = f"{OUT}{SUFFIX}/{RECORD}"


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[emulator.Storage]:
    """A bucket in which a try has left its error."""
    with emulator.serving() as state:
        key = emulator.write_credentials(tmp_path / "key.json", state.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", state.url)
        state.add_bucket("b")
        with pytest.raises(DataError), earlier_try(OUT, INPUTS):
            raise DataError("no rows are left")
        yield state


def tried(inputs: list[str]) -> str:
    """Returns the error of the next try, or an empty text if it came to read the data."""
    try:
        with earlier_try(OUT, inputs):
            return ""
    except DataError as error:
        return str(error)


def test_the_same_inputs_end_by_the_same_error_and_others_are_read(
    storage: emulator.Storage,
) -> None:
    assert tried(INPUTS) == "no rows are left"
    assert tried(["spec", "other digest"]) == ""


@pytest.mark.parametrize("damage", ["{", "null", "[]", "{}", "[" * 100_000, "kind", "message"])
def test_the_data_are_read_again_if_the_record_is_damaged(
    storage: emulator.Storage, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(storage.get(URI))
    without = json.dumps({key: value for key, value in record.items() if key != damage})
    storage.put(URI, (without if damage in record else damage).encode())
    assert tried(INPUTS) == ""
    assert f"preprocess: {URI} is damaged, so the data are read again" in capsys.readouterr().out
