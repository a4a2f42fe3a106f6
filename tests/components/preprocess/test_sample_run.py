"""A sample of the rows through the whole step: the same files for any number of workers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.errors import DataError
from quatrain.components.preprocess.run import preprocess
from quatrain.components.specification.schema import ModelSpec
from tests.components.conftest import delays

Spec = Callable[..., ModelSpec]
CODE = str(Path(__file__).parents[3])


def prepare(spec: ModelSpec, out: Path, **options: Any) -> dict[str, Any]:
    """Preprocesses a sample of 1000 rows; returns the manifest, after counting its shards."""
    n_read = preprocess(spec.as_json(), runner="local", out=str(out), sample_rows=1000, **options)
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    assert manifest["rows"]["read"] == n_read
    return manifest


def test_a_sample_has_the_same_files_in_this_process_as_by_any_number_of_beam_s_workers(
    delays_spec: Spec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = delays_spec(delays(20_000))
    here = prepare(spec, tmp_path / "here")
    printed = capsys.readouterr().out
    one = prepare(spec, tmp_path / "one", runner_options={"direct_num_workers": 1})
    assert capsys.readouterr().out == printed
    two = prepare(spec, tmp_path / "two", runner_options={"direct_num_workers": 2})
    assert here == one == two  # the digest of each file is in the manifest


def test_a_sample_is_preprocessed_without_beam(delays_spec: Spec, tmp_path: Path) -> None:
    spec = delays_spec(delays(20_000)).as_json()
    arguments = {"spec": spec, "out": f"{tmp_path}/out", "gcp_resources": f"{tmp_path}/resources"}
    program = (
        "import sys\n"
        "from quatrain.components.preprocess.run import preprocess\n"
        f"preprocess(**{arguments!r}, runner='local', sample_rows=1000)\n"
        "sys.exit('apache_beam' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], env={"PYTHONPATH": CODE}, check=True)
    assert json.loads((tmp_path / "resources").read_text()) == {"resources": []}


def test_the_rows_of_a_sample_reconcile_and_the_manifest_says_that_they_are_one(
    delays_spec: Spec, tmp_path: Path
) -> None:
    manifest = prepare(delays_spec(delays(20_000)), tmp_path / "out")
    rows = manifest["rows"]
    assert rows["read"] == 1000
    assert rows["read"] == sum(n for name, n in rows.items() if name != "read")
    assert min(rows.values()) > 0
    assert manifest["sample"] == {"rows": 1000, "of": pytest.approx(20_000, rel=0.01)}


def test_a_run_of_all_rows_has_no_sample_in_its_manifest(delays_spec: Spec, tmp_path: Path) -> None:
    preprocess(delays_spec().as_json(), runner="local", out=str(tmp_path / "out"))
    assert "sample" not in json.loads((tmp_path / "out/manifest.json").read_text())


def test_duplicates_are_removed_within_a_sample(delays_spec: Spec, tmp_path: Path) -> None:
    clean = {"derive": {"late": "arrival >= 15"}, "deduplicate": {"keys": ["day", "delay"]}}
    spec = delays_spec(delays(20_000), clean={**clean, "max_rejected": 0.99})
    manifest = prepare(spec, tmp_path / "out")
    assert manifest["rows"]["read"] == 1000
    assert manifest["reasons"]["duplicate"]["rows"] > 0


def test_a_split_that_the_sample_lacks_is_named_with_the_sample_s_size(
    delays_spec: Spec, tmp_path: Path
) -> None:
    split = {"by": "hash", "keys": ["arrival"], "train": 0.998, "validation": 0.001, "test": 0.001}
    with pytest.raises(DataError) as raised:
        prepare(delays_spec(delays(20_000), split=split), tmp_path / "out")
    assert str(raised.value).startswith("in a sample of 1,000 of about 20,000 rows: the ")
    assert "split has no rows (train " in str(raised.value)
    assert str(raised.value).endswith(", with which only a sample is read")
