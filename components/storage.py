"""Opens files on this machine, below the mount `/gcs/` and in buckets (`gs://`) in one way.

An object of Cloud Storage has both names. Vertex mounts all buckets below `/gcs/` in its containers
(https://cloud.google.com/vertex-ai/docs/training/cloud-storage-file-system); a worker elsewhere has
no mount and uses the uri.
"""

from __future__ import annotations

import datetime
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from quatrain.components.artifacts import write_whole
from quatrain.components.buckets import open_client
from quatrain.components.errors import SourceError
from quatrain.components.login import check_login
from quatrain.components.uris import PATIENCE, SCHEME, parse
from quatrain.components.wording import first_line
from quatrain.trainer.uris import named

if TYPE_CHECKING:  # its import takes 0.1 s, which a reader of a local file need not wait for
    import pyarrow as pa
    import pyarrow.fs as pafs

MOUNT = "/gcs/"
PATIENCE_S = 60
"""How long requests to a bucket are repeated if it does not answer; Arrow's default is 900."""
COMPRESSION = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
"""pyarrow's name of the compression that a suffix stands for."""
_CLIENT_SETTINGS = ("CLOUD_STORAGE_EMULATOR_ENDPOINT", "GOOGLE_APPLICATION_CREDENTIALS")
"""Environment variables that Arrow's client reads once, when it is created."""


def is_remote(uri: str) -> bool:
    """Returns whether a uri names an object of a bucket, not a file on this machine or a mount."""
    return uri.startswith(SCHEME)


def mounted(uri: str) -> str:
    """Returns the path of a gs:// uri below the mount; any other path or uri as it is."""
    return MOUNT + uri.removeprefix(SCHEME) if is_remote(uri) else uri


def unmounted(path: str) -> str:
    """Returns the gs:// uri of a path below the mount; any other path or uri as it is."""
    return SCHEME + path.removeprefix(MOUNT) if path.startswith(MOUNT) else path


def compression_of(path: str) -> str | None:
    """Returns the compression that a file's name stands for: gzip, bz2, zstd or None."""
    return next((c for suffix, c in COMPRESSION.items() if path.endswith(suffix)), None)


def plain_name(path: str) -> str:
    """Returns a path without the suffixes of compression: t.csv of t.csv.gz."""
    while suffix := next((s for s in COMPRESSION if path.endswith(s)), None):
        path = path.removesuffix(suffix)
    return path


def open_filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """Returns the file system of a uri or local path, and the path in it.

    The name of an object is taken literally: blanks, %41 and # are parts of it.

    Raises:
        SourceError: The uri is neither a path nor that of an object in a bucket.
    """
    import pyarrow.fs as pafs

    match = parse(uri)
    if match is None:
        return pafs.FileSystem.from_uri(uri) if "://" in uri else (pafs.LocalFileSystem(), uri)
    check_login(uri)
    patience = PATIENCE.fullmatch(match["options"] or "")
    settings = tuple(os.environ.get(variable) for variable in _CLIENT_SETTINGS)
    client = _client(bool(match["account"]), int(patience[1]) if patience else PATIENCE_S, settings)
    return client, match["path"]


@cache
def _client(anonymous: bool, patience_s: int, settings: tuple[str | None, ...]) -> pafs.FileSystem:
    """Returns the one client of all buckets: each new one fetches a token and connects again."""
    import pyarrow.fs as pafs

    return pafs.GcsFileSystem(
        anonymous=anonymous, retry_time_limit=datetime.timedelta(seconds=patience_s)
    )


def open_stream(
    uri: str, compression: str | None = None, buffer_bytes: int | None = None
) -> pa.NativeFile:
    """Opens a file for reading from its start.

    Args:
        uri: A path or uri.
        compression: The compression to undo. By default the bytes come as they are stored:
            pyarrow's own default unpacks by the suffix, so a *.tar.gz would have another digest.
        buffer_bytes: How much to read ahead; by default nothing.
    """
    filesystem, path = open_filesystem(uri)
    with named(uri):
        return filesystem.open_input_stream(path, compression=compression, buffer_size=buffer_bytes)


def open_file(uri: str) -> pa.NativeFile:
    """Opens a file for reading at any position."""
    filesystem, path = open_filesystem(uri)
    with named(uri):
        return filesystem.open_input_file(path)


def create_stream(uri: str, content_type: str = "") -> pa.NativeFile:
    """Opens a new file for writing, and creates the folder of a local one.

    An object of a bucket appears when the stream is closed, and never if the process dies before.

    Args:
        uri: A path or uri.
        content_type: How a browser takes the object of a bucket; by default as a download.
    """
    filesystem, path = open_filesystem(uri)
    metadata = {"Content-Type": content_type} if content_type else None
    with named(uri):
        if not is_remote(uri):  # a bucket has no folders
            filesystem.create_dir(path.rpartition("/")[0] or ".")
        return filesystem.open_output_stream(path, compression=None, metadata=metadata)


def write_file(uri: str, data: bytes, content_type: str = "") -> None:
    """Writes a file so that it is either whole or as it was before, and makes its folder.

    Two calls replace an object of a bucket; through a mount, a list, a stat, an upload and a rename
    of the partial file would.
    """
    with named(uri):
        if is_remote(uri):
            with create_stream(uri, content_type) as stream:
                stream.write(data)
            return
        path = Path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)


def read_file(uri: str) -> bytes:
    """Returns the content of a file: an object of a bucket as it is now, by one call.

    A mount shows an old file for a minute, or answers ESTALE when the file that it has found is
    replaced before it is read; then it is found again.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: The file cannot be read, or was replaced at each of four attempts.
    """
    if "://" in uri:
        with named(uri), open_stream(uri) as stream:
            return bytes(stream.read())
    attempts = 4
    while True:
        attempts -= 1
        try:
            with named(uri):
                return Path(uri).read_bytes()
        except OSError as error:
            if error.errno != errno.ESTALE or not attempts:
                raise


def list_names(folder: str) -> set[str]:
    """Returns the names of the files below a folder, relative to it; none if it is absent."""
    import pyarrow.fs as pafs

    filesystem, path = open_filesystem(folder.rstrip("/"))
    selector = pafs.FileSelector(path, recursive=True, allow_not_found=True)
    with named(folder):
        files = (i for i in filesystem.get_file_info(selector) if i.type == pafs.FileType.File)
        return {info.path.removeprefix(f"{path}/") for info in files}


def list_times(folder: str) -> dict[str, float]:
    """Returns when each file in a folder was written, in seconds since 1970, by its name.

    Folders in it are left out; there are no files if it is absent.
    """
    import pyarrow.fs as pafs

    filesystem, path = open_filesystem(folder.rstrip("/"))
    selector = pafs.FileSelector(path, allow_not_found=True)
    with named(folder):
        entries = filesystem.get_file_info(selector)
    files = (entry for entry in entries if entry.type == pafs.FileType.File)
    return {entry.base_name: entry.mtime_ns / 1e9 for entry in files}


def list_folders(folder: str) -> list[str]:
    """Returns the names of the folders in a folder, sorted; none if there is no such folder."""
    folder = folder.rstrip("/")
    if is_remote(folder):
        return sorted(_prefixes(folder))
    try:
        with named(folder), os.scandir(folder or "/") as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _prefixes(folder: str) -> set[str]:
    """Returns the names of the folders in a folder of a bucket, by a call for each 1 000.

    Arrow's listing leaves out those that have no object of their own.
    """
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.retry import DEFAULT_RETRY

    bucket, _, path = open_filesystem(folder)[1].partition("/")
    begin = f"{path}/" if path else ""
    try:
        blobs = open_client("").list_blobs(
            bucket,
            prefix=begin,
            delimiter="/",
            fields="prefixes,nextPageToken",
            timeout=PATIENCE_S,
            retry=DEFAULT_RETRY.with_timeout(PATIENCE_S),
        )
        for _ in blobs.pages:
            pass  # each adds its own to `prefixes`
    except (GoogleAPICallError, RetryError, GoogleAuthError) as error:
        raise OSError(errno.EIO, first_line(error), folder) from error
    return {prefix.removeprefix(begin).rstrip("/") for prefix in blobs.prefixes}


def show_folder(uri: str) -> None:
    """Makes the objects that stand for a folder and those it is in, where its bucket is mounted.

    Without --implicit-dirs a mount shows no other folders. The mount itself makes the objects:
    Arrow takes those of a mount for files, and refuses to make a folder inside one.
    """
    if is_remote(uri) and os.path.ismount(MOUNT):
        os.makedirs(mounted(uri), exist_ok=True)


def exists(uri: str) -> bool:
    """Returns whether a file or folder exists."""
    import pyarrow.fs as pafs

    filesystem, path = open_filesystem(uri)
    with named(uri):
        return filesystem.get_file_info(path).type != pafs.FileType.NotFound


def remove_file(uri: str) -> None:
    """Removes a file if it exists."""
    filesystem, path = open_filesystem(uri)
    with suppress(FileNotFoundError), named(uri):
        filesystem.delete_file(path)


def remove_oldest(folder: str, max_bytes: int) -> None:
    """Removes the files in a folder that were written first, until the rest takes `max_bytes`."""
    import pyarrow.fs as pafs

    filesystem, path = open_filesystem(folder)
    with named(folder):
        infos = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    files = [info for info in infos if info.type == pafs.FileType.File]
    total = sum(info.size for info in files)
    for info in sorted(files, key=lambda info: info.mtime_ns):
        if total <= max_bytes:
            return
        remove_file(f"{folder}/{info.base_name}")
        total -= info.size


def remove_folder(uri: str) -> None:
    """Removes a folder with everything in it; a bucket has only the objects."""
    remove_contents(uri)
    if not is_remote(uri) and os.path.isdir(uri):
        os.rmdir(uri)


def remove_contents(uri: str, *, first: str = "") -> None:
    """Removes everything in a folder, which may be absent.

    Args:
        uri: The folder.
        first: The name of the file that is removed before all others, if it is there.
    """
    if is_remote(uri):
        import pyarrow.fs as pafs

        filesystem, path = open_filesystem(uri)
        selector = pafs.FileSelector(path, recursive=True, allow_not_found=True)
        with named(uri):
            files = {info.path for info in filesystem.get_file_info(selector)}
            if (head := f"{path}/{first}") in files:
                filesystem.delete_file(head)
            if files - {head}:
                filesystem.delete_dir_contents(path, missing_dir_ok=True)
        return
    folder = Path(uri)
    if first:
        (folder / first).unlink(missing_ok=True)
    for file in sorted(folder.rglob("*"), reverse=True):  # files before their folder
        with suppress(FileNotFoundError):  # a bucket's folder may vanish with its last file
            file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()


def read_head(path: str, n_bytes: int, compression: str | None = None) -> bytes:
    """Returns the first bytes of a file, up to `n_bytes`.

    Raises:
        SourceError: The file cannot be read.
    """
    with readable(path), open_stream(path, compression) as stream:
        return bytes(stream.read(n_bytes))


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Names the file in whose reading an error of the system occurs.

    Raises:
        SourceError: The file cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror or first_line(error)}; check its name and "
            "rights"
        ) from error
