"""The files of one folder below a root: their sizes, and their deletion, here or in a bucket.

No symbolic link is followed: it counts as a file of its own, and is deleted as one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from quatrain.components.storage import is_remote, open_filesystem, remove_file
from quatrain.trainer.uris import named

MANIFESTS = (
    *("version.json", "metrics.json", "metadata.json", "manifest.json", "package.json"),
    *("drift.json", "tuning.json"),
)
"""What makes a version or an artifact count; they are deleted before all other files."""
RUN = "run.json"
"""What makes a folder here that of a run; it is deleted last, so that a rest is known as one."""


@dataclass(frozen=True)
class Files:
    """What is in a folder.

    Attributes:
        n_bytes: The size of each file, by its name relative to the folder.
        newest_s: When the file that changed last was written, in seconds since 1970; 0 for none.
    """

    n_bytes: dict[str, int]
    newest_s: float

    @property
    def total_bytes(self) -> int:
        """The size of all files."""
        return sum(self.n_bytes.values())

    @property
    def at_top(self) -> set[str]:
        """The names in the folder itself."""
        return {name.partition("/")[0] for name in self.n_bytes}


def files_in(folder: str) -> Files:
    """Returns the files in a folder; none if it is absent.

    Raises:
        OSError: It cannot be read.
    """
    found = list(_objects(folder) if is_remote(folder) else _local_files(folder))
    times = [time for _, _, time in found]
    return Files({name: size for name, size, _ in found}, max(times, default=0.0))


def _objects(folder: str) -> Iterator[tuple[str, int, float]]:
    import pyarrow.fs as pafs

    filesystem, path = open_filesystem(folder)
    selector = pafs.FileSelector(path, recursive=True, allow_not_found=True)
    with named(folder):
        infos = filesystem.get_file_info(selector)
    for info in infos:
        if info.type == pafs.FileType.File and not info.path.endswith("/"):
            yield info.path.removeprefix(f"{path}/"), info.size or 0, info.mtime_ns / 1e9


def _local_files(folder: str) -> Iterator[tuple[str, int, float]]:
    for above, folders, files in os.walk(folder):  # which follows no link to a folder
        links = [name for name in folders if os.path.islink(os.path.join(above, name))]
        for name in (*files, *links):
            path = os.path.join(above, name)
            status = os.lstat(path)
            yield os.path.relpath(path, folder), status.st_size, status.st_mtime


def is_linked(root: str, place: str) -> bool:
    """Returns whether a link leads to a place here, so that it may lie outside of the root."""
    if is_remote(root):
        return False
    inside = os.path.relpath(place, root)
    return os.path.realpath(place) != os.path.join(os.path.realpath(root), inside)


def delete_folder(folder: str) -> None:
    """Deletes a folder with everything in it, the manifests first.

    A call that was killed leaves no artifact that counts, and the next call finishes.

    Raises:
        OSError: A file cannot be deleted.
    """
    names = files_in(folder).n_bytes
    for name in sorted(n for n in names if n.rpartition("/")[2] in MANIFESTS):
        delete_file(f"{folder}/{name}")
    if is_remote(folder):
        remove_objects(folder)
        return
    for above, folders, files in os.walk(folder, topdown=False):
        links = [name for name in folders if os.path.islink(os.path.join(above, name))]
        for name in (*files, *links):
            if (above, name) != (folder, RUN):
                delete_file(os.path.join(above, name))
        if above != folder:
            os.rmdir(above)
    if os.path.lexists(os.path.join(folder, RUN)):
        delete_file(os.path.join(folder, RUN))
    if os.path.isdir(folder):
        os.rmdir(folder)


def remove_objects(folder: str) -> None:
    """Deletes all objects of a folder, those that stand for it and for its folders included."""
    filesystem, path = open_filesystem(folder)
    with suppress(FileNotFoundError), named(folder):
        filesystem.delete_dir(path)


def delete_file(path: str) -> None:
    """Deletes a file, or a link, if it is there."""
    if is_remote(path):
        remove_file(path)
    else:
        Path(path).unlink(missing_ok=True)
