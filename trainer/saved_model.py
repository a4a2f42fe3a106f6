"""The path by which TensorFlow finds a SavedModel in a folder of any name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_GLOB = re.compile(r"[*?\[\\]")


@contextmanager
def path_without_glob(folder: Path | str) -> Iterator[str]:
    """Yields a path of a local folder in which nothing is a pattern, for as long as it is loaded.

    TensorFlow looks for the variables by a glob of their path, so in `runs[1]` it finds none. The
    path of such a folder is that of a link to it.
    """
    if not _GLOB.search(str(folder)):
        yield str(folder)
        return
    with TemporaryDirectory(prefix="quatrain-model-") as place:
        link = Path(place, "model")
        link.symlink_to(Path(folder).absolute())
        yield str(link)
