"""A job's folders on this machine and in object stores, through pyarrow's file systems."""

from __future__ import annotations

from pyarrow import fs


def open_folder(uri: str) -> tuple[fs.FileSystem, str]:
    """Returns the file system of a folder, and the folder's path in it without a trailing slash."""
    if "://" in uri:
        files, path = fs.FileSystem.from_uri(uri)
    else:
        files, path = fs.LocalFileSystem(), uri
    return files, path.rstrip("/")
