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
from quatrain.components.specification.source import DATED, DAY, Source, is_table
from quatrain.components.storage import NO_CREDENTIALS, is_remote, open_filesystem
from quatrain.components.table import bigquery
from quatrain.components.wording import first_line

_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Files:
    """The files of a source, and the days of its window.

    Attributes:
        listing: The (path or uri, bytes) of every file, in order.
        days: The days of the window, oldest first; empty without a window.
        empty_days: The days that have no file.
    """

    listing: tuple[tuple[str, int], ...]
    days: tuple[datetime.date, ...] = ()
    empty_days: tuple[datetime.date, ...] = ()

    @property
    def warning(self) -> str:
        """A sentence about the days without files; empty when every day has some."""
        n, empty = len(self.empty_days), self.empty_days
        if not n:
            return ""
        listed = ", ".join(map(str, empty[:5])) + (", ..." if n > 5 else "")
        return f"{n} of the {len(self.days)} days of the window have no file: {listed}"

    def as_json(self) -> dict[str, Any]:
        """Returns what the manifest says about the window."""
        return {
            "first": str(self.days[0]),
            "last": str(self.days[-1]),
            "days": len(self.days),
            "without_files": [str(day) for day in self.empty_days],
        }


def find_files(source: Source, at: datetime.datetime | None = None) -> Files:
    """Finds the files of a source, or of the days of its window if it has one.

    Args:
        source: The source of a spec.
        at: The time of the run, where a window ends.

    Raises:
        SourceError: A uri names no file, or a folder; or no day of the window has a file.
    """
    if source.window is not None and at is None:
        raise SourceError(f"source.window {source.window} ends at the run's time; give it")
    try:
        return _files_of(source, at)
    except SourceError as error:
        where = "" if str(error).startswith("source.") else "source.uri: "
        raise type(error)(f"{where}{error}") from error


def _files_of(source: Source, at: datetime.datetime | None) -> Files:
    """Finds the files of a source; `find_files` adds the spec's key to the errors raised here."""
    if source.window is None or at is None:
        return Files(tuple(list_files(source)))
    days = tuple(days_before(at, source.window))
    listing: dict[tuple[str, int], None] = {}  # in order, and each file once
    days_with_files: set[datetime.date] = set()
    for uri in source.uri:
        if not DATED.search(uri):
            listing.update(dict.fromkeys(_files_at(uri)))
            continue
        for day in days:
            if matches := _match(fill(uri, day)):
                days_with_files.add(day)
                listing.update(dict.fromkeys(matches))
    if not days_with_files:
        raise SourceError(
            f"source.window: none of the {len(days)} days from {days[0]} to {days[-1]} has a file, "
            f"as {fill(next(u for u in source.uri if DATED.search(u)), days[-1])}; is the run's "
            f"time {at:%Y-%m-%d %H:%M} UTC right? --at gives another one"
        )
    empty_days = tuple(day for day in days if day not in days_with_files)
    return Files(tuple(listing), days, empty_days)


def list_files(source: Source) -> list[tuple[str, int]]:
    """Returns the (path or uri, bytes) of every file of a source without a window, in order.

    Raises:
        SourceError: A uri names no file, or a folder. The message names no key of a spec, since
            there may be no spec.
    """
    return list(dict.fromkeys(f for uri in source.uri for f in _files_at(uri)))


def _files_at(uri: str) -> list[tuple[str, int]]:
    """Returns the (path or uri, bytes) of each file that a uri names; there must be one."""
    matches = _match(uri)
    if not matches and _GLOB.search(uri):
        raise SourceError(f"no file matches {uri}")
    if not matches:
        raise SourceError(f"{uri} does not exist")
    return matches


def _match(uri: str) -> list[tuple[str, int]]:
    """Returns the files that a uri or glob names, which may be none at all."""
    if is_table(uri):
        table = bigquery.find_table(uri)
        return [(uri, table.n_bytes)] if table else []
    filesystem, path = open_filesystem(uri)
    local = isinstance(filesystem, pafs.LocalFileSystem)
    # Arrow's options stand behind the path. A file:// uri is quoted, so its path stands for it.
    before, _, after = ("", "", "") if local else uri.rpartition(path)
    try:
        if _GLOB.search(path):
            return [(before + name + after, size) for name, size in _glob(filesystem, path)]
        info = filesystem.get_file_info(path)
    except PermissionError as error:
        raise SourceDenied(f"{uri} may not be listed; {_way_to_allow(uri)}") from error
    except OSError as error:
        if "access token" in str(error):
            raise SourceError(f"{uri} cannot be listed: {NO_CREDENTIALS}") from error
        raise SourceError(f"{uri} cannot be listed: {first_line(error)}") from error
    if info.type == pafs.FileType.Directory:
        raise SourceError(f"{uri} is a folder; name its files, as {uri}/*.csv")
    if info.type not in (pafs.FileType.File, pafs.FileType.NotFound):
        # Reading a pipe would wait for its writer, perhaps forever.
        raise SourceError(f"{uri} is not a regular file; write its rows to one")
    if info.type == pafs.FileType.NotFound:
        return []
    if local and not os.access(path, os.R_OK):
        raise SourceDenied(f"{uri} may not be read by this account; {_way_to_allow(uri)}")
    return [(path if local else uri, info.size)]


def _way_to_allow(uri: str) -> str:
    """Returns the way out if an account may not read a file: the command that allows it."""
    if not is_remote(uri):
        return f"give it the right to, as by chmod u+r {shlex.quote(uri)}"
    [bucket] = buckets_of([uri])
    return (
        f"allow the account that reads it: gcloud storage buckets add-iam-policy-binding "
        f"gs://{bucket} --member=serviceAccount:ACCOUNT --role=roles/storage.objectViewer"
    )


def _glob(filesystem: pafs.FileSystem, pattern: str) -> list[tuple[str, int]]:
    """Returns the (path, bytes) of each file that matches a glob, sorted by path.

    If a file has the very name, it alone is meant: `t[1].csv` is no glob beside such a file.
    """
    folder = _GLOB.split(pattern, maxsplit=1)[0].rpartition("/")[0]
    recursive = "/" in pattern[len(folder) + 1 :]
    infos = filesystem.get_file_info(
        pafs.FileSelector(folder or "/", recursive=recursive, allow_not_found=True)
    )
    matches = re.compile(glob_regex(pattern)).fullmatch
    files = {i.path: i.size for i in infos if i.type == pafs.FileType.File}
    if pattern in files:
        return [(pattern, files[pattern])]
    return [(path, files[path]) for path in sorted(filter(matches, files))]


def glob_regex(pattern: str) -> str:
    """Returns the regular expression of a glob: ** spans folders, * and ? stay within one."""
    parts = re.split(r"(\*\*/|\*|\?|\[[^\]]+\])", pattern)
    known = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        known.get(p) or (p.replace("[!", "[^") if p.startswith("[") else re.escape(p))
        for p in parts
    )


def days_before(at: datetime.datetime, window: str) -> list[datetime.date]:
    """Returns the days of a window, oldest first.

    The last day is the one before the run's, as the run's own day is not over.

    Args:
        at: The time of the run.
        window: The number of days, as 90d.
    """
    last = at.astimezone(datetime.UTC).date()
    return [last - datetime.timedelta(days=n) for n in range(int(window[:-1]), 0, -1)]


def fill(uri: str, day: datetime.date) -> str:
    """Returns the uri of one day: {date} is 2013-06-30, {date:%Y/%m/%d} is 2013/06/30."""
    return DATED.sub(lambda match: day.strftime(match["form"] or DAY), uri)
