"""A job's folders on this machine and in object stores, through pyarrow's file systems."""

from __future__ import annotations

import os
from functools import cache

from pyarrow import fs

from .settings import TrainerError
from .uris import BUCKET, MOUNT, named

_CLIENT_SETTINGS = ("CLOUD_STORAGE_EMULATOR_ENDPOINT", "GOOGLE_APPLICATION_CREDENTIALS")
"""Variables that Arrow's client reads once, when it is made."""


def open_folder(uri: str) -> tuple[fs.FileSystem, str]:
    """Returns the file system of a folder, and its path there without a trailing slash.

    Arrow never parses a uri: it has options that would send the job's credentials to any host.

    Raises:
        TrainerError: The uri is neither a path nor that of a folder in a bucket.
    """
    if uri.startswith(BUCKET):
        settings = tuple(os.environ.get(variable) for variable in _CLIENT_SETTINGS)
        return _client(settings), uri.removeprefix(BUCKET).rstrip("/")
    if "://" in uri:
        raise TrainerError(f"{uri} cannot be opened; write a local path or gs://BUCKET/FOLDER")
    return fs.LocalFileSystem(), uri.rstrip("/")


@cache
def _client(settings: tuple[str | None, ...]) -> fs.FileSystem:
    """Returns the one client of all buckets, as each fetches a token and connects anew."""
    return fs.GcsFileSystem()


def read_file(folder: str, name: str) -> bytes:
    """Reads a file of a folder."""
    files, path = open_folder(folder)
    with (
        named(f"{folder}/{name}"),
        files.open_input_stream(f"{path}/{name}", compression=None) as stream,
    ):
        return bytes(stream.read())


def write_file(folder: str, name: str, data: bytes) -> None:
    """Writes a file that is whole or absent; its folder is made if need be.

    An object of a bucket appears when it is whole. On a disk the file takes its name last; so it
    does on a mount, which publishes the part that a killed process has written.
    """
    files, path = open_folder(folder)
    target = f"{path}/{name}"
    partial = target if "://" in folder else f"{path}/.{name.rpartition('/')[2]}.tmp"
    with named(f"{folder}/{name}"):
        if "://" not in folder:  # a bucket has no folders
            files.create_dir(target.rpartition("/")[0])
        with files.open_output_stream(partial, compression=None) as stream:
            stream.write(data)
        if partial != target:
            os.replace(partial, target)


def show_folder(folder: str) -> None:
    """Makes the objects of a bucket's folder and of those it is in, where the bucket is mounted.

    Without --implicit-dirs a mount shows no other folders, and later runs read their champion by
    it. TensorFlow would leave out the folders that have files.
    """
    if folder.startswith(BUCKET) and os.path.ismount(MOUNT):
        os.makedirs(MOUNT + folder.removeprefix(BUCKET), exist_ok=True)


def remove_folder(folder: str, *, first: str) -> None:
    """Removes a folder, one of its files first; both may be absent."""
    files, path = open_folder(folder)
    with named(folder):
        infos = files.get_file_info(fs.FileSelector(path, allow_not_found=True))
        if any(info.base_name == first for info in infos):
            files.delete_file(f"{path}/{first}")
        if infos and "://" in folder:  # a bucket has no folder to delete
            files.delete_dir_contents(path, missing_dir_ok=True)
        elif infos:
            files.delete_dir(path)


def newest_first(folder: str, prefix: str) -> list[str]:
    """Returns the names of a folder's files that begin so, the last in their order first."""
    files, path = open_folder(folder)
    with named(folder):
        infos = files.get_file_info(fs.FileSelector(path, allow_not_found=True))
    names = (info.base_name for info in infos if info.type == fs.FileType.File)
    return sorted((name for name in names if name.startswith(prefix)), reverse=True)
