"""A table in memory becomes one file, whose name is its digest."""

import hashlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quatrain.components.errors import ArtifactError, FrameError
from quatrain.components.specification.source import Source
from quatrain.local.frame_files import GROUP_ROWS, frame_digests, frame_file, write_frame

ROWS = [{"size": i % 97 / 7, "colour": "red" if i % 3 else None, "n": i} for i in range(200)]


def source_of(path: Path) -> Source:
    return Source(uri=(str(path),), format="parquet")


def test_the_name_is_the_digest_of_the_bytes(tmp_path: Path) -> None:
    path = write_frame(ROWS, tmp_path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path == tmp_path / "data" / f"{sha256}.parquet"
    assert frame_digests(source_of(path)) == {str(path): sha256}
    assert pq.read_table(path).to_pylist() == ROWS


def test_the_same_rows_are_the_same_file_however_they_are_held(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    chunks = pa.concat_tables([table.slice(0, 7), table.slice(7, 100), table.slice(107)])
    frames = [ROWS, table, chunks, table.to_reader(30), table.to_pandas(), pl.DataFrame(ROWS)]
    frames.append(table.to_pandas().astype({"colour": "category"}))
    assert len({write_frame(frame, tmp_path) for frame in frames}) == 1
    assert len([*(tmp_path / "data").iterdir()]) == 1


def test_the_same_rows_leave_their_file_as_it_is(tmp_path: Path) -> None:
    one, two = (write_frame(ROWS, tmp_path).stat() for _ in range(2))
    assert (one.st_ino, one.st_ctime_ns) == (two.st_ino, two.st_ctime_ns)


def test_runs_that_write_the_same_rows_at_once_share_one_file(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    ready = threading.Barrier(8)

    def write(number: int) -> int:
        inode = 0
        with frame_file(ROWS, root / "model") as file:
            ready.wait()
            if number % 2:
                file.keep()
                inode = file.path.stat().st_ino
        return inode

    with ThreadPoolExecutor(8) as threads:
        for _ in range(6):
            inodes = {inode for inode in threads.map(write, range(8)) if inode}
            assert len(inodes) == 1
            shutil.rmtree(root)


def test_a_run_that_leaves_nothing_does_not_take_the_folder_of_another(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for _ in range(40):
            with frame_file(ROWS[:number], tmp_path / "runs/model"):
                pass

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(1, 9)))
    assert not (tmp_path / "runs").exists() or not [*tmp_path.rglob("*.parquet")]


def test_a_large_table_has_row_groups_that_can_be_read_apart(tmp_path: Path) -> None:
    n = GROUP_ROWS + 5
    path = write_frame(pd.DataFrame({"x": np.arange(n)}), tmp_path)
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
    assert groups == [GROUP_ROWS, 5]


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    path = write_frame(ROWS, tmp_path)
    path.write_bytes(write_frame(ROWS[1:], tmp_path).read_bytes())
    with pytest.raises(ArtifactError, match="was altered since its table was written there; pass"):
        frame_digests(source_of(path))
    assert frame_digests(source_of(write_frame(ROWS, tmp_path)))


def test_other_files_have_no_digest_here(tmp_path: Path) -> None:
    assert frame_digests(source_of(tmp_path / "rows.parquet")) == {}
    gone = tmp_path / "data" / f"{'0' * 64}.parquet"
    assert frame_digests(source_of(gone)) == {}


def test_a_table_that_no_file_can_hold_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="column 'a': row 0 holds int 1 and row 1 holds str 'x'"):
        write_frame(pd.DataFrame({"a": [1, "x"]}), tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_table_that_is_not_kept_leaves_what_was_there(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    with frame_file(ROWS, root / "model") as file:
        assert pq.read_table(file.partial).to_pylist() == ROWS
    assert not root.exists()
    path = write_frame(ROWS, root / "model")
    with frame_file(ROWS, root / "model") as file:
        assert file.path == path
    assert [*path.parent.iterdir()] == [path]
