"""Which files a source names: by paths, globs, dated windows or the uri of a BigQuery table."""

from __future__ import annotations

import datetime
import fnmatch
import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as pafs

from quatrain.components.buckets import buckets_of
from quatrain.components.errors import SourceDenied, SourceError
from quatrain.components.specification.source import DATED, DAY, Source, is_table
from quatrain.components.storage import is_remote, open_filesystem
from quatrain.components.table import bigquery
from quatrain.components.wording import counted, first_line

_BRACES = re.compile(r"\{([^{}/]*,[^{}/]*)\}")
_GLOB = re.compile(rf"[*?\[]|{_BRACES.pattern}")

ListFolder = Callable[[str], "list[pafs.FileInfo]"]


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
        have = "has" if n == 1 else "have"
        return f"{n} of the {counted(len(self.days), 'day')} of the window {have} no file: {listed}"

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
            f"source.window: none of the {counted(len(days), 'day')} from {days[0]} to {days[-1]} "
            f"has a file, as {fill(next(u for u in source.uri if DATED.search(u)), days[-1])}; is "
            f"the run's time {at:%Y-%m-%d %H:%M} UTC right? Give another one with --at"
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
        raise SourceError(f"no file matches {uri}; check its pattern")
    if not matches:
        raise SourceError(f"{uri} does not exist; check its name")
    return matches


def is_glob(uri: str) -> bool:
    """Whether a uri is a pattern, unless a file has that very name."""
    return not is_table(uri) and _GLOB.search(uri) is not None


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
        raise SourceError(
            f"{uri} cannot be listed: {first_line(error)}; try again later"
        ) from error
    if info.type == pafs.FileType.Directory:
        raise SourceError(f"{uri} is a folder; name its files, as {uri.rstrip('/')}/*.csv")
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
    """Returns the (path, bytes) of each file that a glob matches, sorted by path."""
    list_folder = _lister(filesystem, pattern)
    found = _walk_from_start(list_folder, pattern)  # braces may be part of a name
    for alternative in () if found else _alternatives(pattern):
        found |= _walk_from_start(list_folder, alternative)
    return [(path, found[path]) for path in sorted(found)]


def _alternatives(pattern: str) -> list[str]:
    """Returns the patterns that one with braces stands for: a1 and a2 of a{1,2}."""
    match = _BRACES.search(pattern)
    if match is None:
        return []
    before, after = pattern[: match.start()], pattern[match.end() :]
    each = [f"{before}{word}{after}" for word in match[1].split(",")]
    return [p for one in each for p in _alternatives(one) or [one]]


def _lister(filesystem: pafs.FileSystem, pattern: str) -> ListFolder:
    """Returns what lists a folder: of a disk one by one, of a bucket all by a single listing."""
    if isinstance(filesystem, pafs.LocalFileSystem):
        return lambda folder: filesystem.get_file_info(
            pafs.FileSelector(folder or ".", allow_not_found=True)
        )
    folder = _GLOB.split(pattern, maxsplit=1)[0].rpartition("/")[0]
    deep = "/" in pattern[len(folder) + 1 :]
    infos = filesystem.get_file_info(
        pafs.FileSelector(folder, recursive=deep, allow_not_found=True)
    )
    folders: dict[str, dict[str, pafs.FileInfo]] = {}
    for info in infos:
        path = info.path
        if info.type != pafs.FileType.File:
            continue
        folders.setdefault(path.rpartition("/")[0], {})[path] = info
        while (path := path.rpartition("/")[0]) and len(path) > len(folder):
            parent = folders.setdefault(path.rpartition("/")[0], {})
            parent[path] = pafs.FileInfo(path, pafs.FileType.Directory)
    return lambda folder: list(folders.get(folder, {}).values())


def _walk_from_start(list_folder: ListFolder, pattern: str) -> dict[str, int]:
    """Walks from the working folder, or from the root if the pattern begins with a slash."""
    parts = pattern.split("/")
    return _walk(list_folder, "", parts) if parts[0] else _walk(list_folder, "/", parts[1:])


def _walk(
    list_folder: ListFolder, folder: str, parts: Sequence[str], above: frozenset[str] = frozenset()
) -> dict[str, int]:
    """Returns the bytes by path of the files below a folder that the parts of a pattern match.

    As in a shell, in Hive and in Spark, a wildcard passes over names that begin with a dot, and
    over those that begin with _ unless they are a partition, as `_day=1`. A file or folder whose
    name is that very part is taken literally.

    Args:
        list_folder: Returns what is in a folder.
        folder: The folder; empty for the working one.
        parts: The rest of the pattern, cut at its slashes.
        above: The folders that `**` goes through: a link to one of them would be a loop.
    """
    part, *rest = parts
    path = f"{folder.rstrip('/')}/{part}" if folder else part
    if rest and not _GLOB.search(part):
        return _walk(list_folder, path, rest, above)
    infos = {i.base_name: i for i in list_folder(folder)}
    if part == "**":
        above |= {os.path.realpath(folder or ".")}
    if part in infos:
        infos = {part: infos[part]}
    elif part == "**":
        infos = {n: i for n, i in infos.items() if not _is_hidden(n)}
    else:
        # Shells and Spark also take [^a] for [!a].
        matches = re.compile(fnmatch.translate(part.replace("[^", "[!"))).match
        infos = {n: i for n, i in infos.items() if matches(n) and not _is_hidden(n, part)}
    found = _walk(list_folder, folder, rest, above) if part == "**" and rest else {}
    for name, info in infos.items():
        path = f"{folder.rstrip('/')}/{name}" if folder else name
        if info.type == pafs.FileType.File and not rest:
            found[path] = info.size
        elif info.type != pafs.FileType.Directory:
            continue
        elif part != "**" and rest:
            found |= _walk(list_folder, path, rest, above)
        elif part == "**" and os.path.realpath(path) not in above:
            found |= _walk(list_folder, path, parts, above)
    return found


def _is_hidden(name: str, part: str = "*") -> bool:
    """Whether a wildcard passes over a name: unless it writes the first character itself."""
    is_hidden = name.startswith(".") or (name.startswith("_") and "=" not in name)
    return is_hidden and not part.startswith(name[0])


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
