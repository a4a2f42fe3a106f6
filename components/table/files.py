"""Which files a source names: by paths, globs, dated windows or the uri of a BigQuery table."""

from __future__ import annotations

import datetime
import os
import re
import shlex
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as pafs

from quatrain.components.buckets import buckets_of
from quatrain.components.errors import SourceDenied, SourceError
from quatrain.components.specification.source import DATED, Source, is_table
from quatrain.components.storage import NO_CREDENTIALS, is_remote, open_filesystem
from quatrain.components.table import bigquery
from quatrain.components.table.windows import days_before, fill
from quatrain.components.wording import first_line

_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Files:
    """The files of a source, and which days of its window they are of.

    Attributes:
        found: (path or uri, bytes) of every file, in order.
        days: The days of the window, oldest first; none without a window.
        empty: Those of them that have no file.
    """

    found: tuple[tuple[str, int], ...]
    days: tuple[datetime.date, ...] = ()
    empty: tuple[datetime.date, ...] = ()

    @property
    def warning(self) -> str:
        """What to tell about days without files; empty when every day has some."""
        if not self.empty:
            return ""
        shown = ", ".join(map(str, self.empty[:5])) + (", ..." if len(self.empty) > 5 else "")
        return f"{len(self.empty)} of the {len(self.days)} days of the window have no file: {shown}"

    def as_json(self) -> dict[str, Any]:
        """What the manifest says of the window."""
        return {
            "first": str(self.days[0]),
            "last": str(self.days[-1]),
            "days": len(self.days),
            "without_files": [str(day) for day in self.empty],
        }


def find_files(source: Source, at: datetime.datetime | None = None) -> Files:
    """Finds the files of a source, with a window those of its days.

    Args:
        source: What is read.
        at: The time of the run, where a window ends.

    Raises:
        SourceError: A uri names no file, or a folder; or no day of the window has a file.
    """
    if source.window is not None and at is None:
        raise SourceError(f"source.window {source.window} ends at the run's time; give it")
    try:
        return _files_of(source, at)
    except SourceError as error:
        told = str(error)
        where = "" if told.startswith("source.") else "source.uri: "
        raise type(error)(f"{where}{told}") from error


def _files_of(source: Source, at: datetime.datetime | None) -> Files:
    if source.window is None or at is None:
        return Files(tuple(list_files(source)))
    days = tuple(days_before(at, source.window))
    found: dict[tuple[str, int], None] = {}
    filled: set[datetime.date] = set()
    for uri in source.uri:
        if not DATED.search(uri):
            found.update(dict.fromkeys(_named(uri)))
            continue
        for day in days:
            if of_day := _match(fill(uri, day)):
                filled.add(day)
                found.update(dict.fromkeys(of_day))
    if not filled:
        raise SourceError(
            f"source.window: none of the {len(days)} days from {days[0]} to {days[-1]} has a file, "
            f"as {fill(next(u for u in source.uri if DATED.search(u)), days[-1])}; is the run's "
            f"time {at:%Y-%m-%d %H:%M} UTC right? --at gives another one"
        )
    return Files(tuple(found), days, tuple(day for day in days if day not in filled))


def list_files(source: Source) -> list[tuple[str, int]]:
    """Returns the (path or uri, bytes) of every file of a source without a window, in order.

    Raises:
        SourceError: A uri names no file, or a folder; no spec is named, as there may be none.
    """
    return list(dict.fromkeys(f for uri in source.uri for f in _named(uri)))


def _named(uri: str) -> list[tuple[str, int]]:
    found = _match(uri)
    if not found and _GLOB.search(uri):
        raise SourceError(f"no file matches {uri}")
    if not found:
        raise SourceError(f"{uri} does not exist")
    return found


def _match(uri: str) -> list[tuple[str, int]]:
    """Returns the files that a uri or glob names; none when there are none."""
    if is_table(uri):
        found = bigquery.find_table(uri)
        return [(uri, found.n_bytes)] if found else []
    filesystem, path = open_filesystem(uri)
    try:
        if _GLOB.search(uri):
            return _glob(filesystem, path, uri[: len(uri) - len(path)])
        info = filesystem.get_file_info(path)
    except PermissionError as error:
        raise SourceDenied(f"{uri} may not be listed; {_permission(uri)}") from error
    except OSError as error:
        if "access token" in str(error):
            raise SourceError(f"{uri} cannot be listed: {NO_CREDENTIALS}") from error
        raise SourceError(f"{uri} cannot be listed: {first_line(error)}") from error
    if info.type == pafs.FileType.Directory:
        raise SourceError(f"{uri} is a folder; name its files, as {uri}/*.csv")
    if info.type not in (pafs.FileType.File, pafs.FileType.NotFound):
        # A pipe would be waited for without end.
        raise SourceError(f"{uri} is not a regular file; write its rows to one")
    if info.type == pafs.FileType.NotFound:
        return []
    if isinstance(filesystem, pafs.LocalFileSystem) and not os.access(path, os.R_OK):
        raise SourceDenied(f"{uri} may not be read by this account; {_permission(uri)}")
    return [(uri, info.size)]


def _permission(uri: str) -> str:
    if not is_remote(uri):
        return f"give it the right to, as by chmod u+r {shlex.quote(uri)}"
    [bucket] = buckets_of([uri])
    return (
        f"allow the account that reads it: gcloud storage buckets add-iam-policy-binding "
        f"gs://{bucket} --member=serviceAccount:ACCOUNT --role=roles/storage.objectViewer"
    )


def _glob(filesystem: pafs.FileSystem, pattern: str, prefix: str) -> list[tuple[str, int]]:
    folder = _GLOB.split(pattern, maxsplit=1)[0].rpartition("/")[0]
    deep = "/" in pattern[len(folder) + 1 :]
    infos = filesystem.get_file_info(
        pafs.FileSelector(folder or "/", recursive=deep, allow_not_found=True)
    )
    matches = re.compile(glob_regex(pattern)).fullmatch
    files = [i for i in infos if i.type == pafs.FileType.File and matches(i.path)]
    return [(prefix + i.path, i.size) for i in sorted(files, key=lambda i: i.path)]


def glob_regex(pattern: str) -> str:
    """Returns the regular expression of a glob: ** is any folders, * and ? stay in one."""
    parts = re.split(r"(\*\*/|\*|\?|\[[^\]]+\])", pattern)
    known = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        known.get(p) or (p.replace("[!", "[^") if p.startswith("[") else re.escape(p))
        for p in parts
    )
