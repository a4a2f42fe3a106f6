"""The folder of the predictions of a table: its shards, and the manifest that makes them count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from quatrain.components.errors import SourceError
from quatrain.components.folder import Folder, commit
from quatrain.components.serve.output_files import is_same
from quatrain.components.storage import is_remote, list_names, remove_contents
from quatrain.components.uris import check_uri

Format = Literal["parquet", "csv"]
FORMATS = ("parquet", "csv")
MANIFEST = "manifest.json"
SCRATCH = ".scratch"
"""The folder in that of the predictions for what only the job itself reads."""
PREDICTIONS, REJECTED_ROWS = "predictions", "rejected"
"""How the names of shards begin."""
_OWN = re.compile(
    rf"(?:.*/)?(?:{PREDICTIONS}|{REJECTED_ROWS})-\d{{5}}-of-\d{{5}}\.(?:parquet|csv)"
    rf"|\.?{MANIFEST}(?:\.\w+\.tmp)?|{SCRATCH}/.*"
)


def shard_name(stem: str, index: int, n_shards: int, form: str) -> str:
    """Returns a shard's name, for example predictions-00000-of-00004.parquet."""
    return f"{stem}-{index:05d}-of-{n_shards:05d}.{form}"


def check_folders(out: str, rejected: str | None, form: str) -> None:
    """Checks that a prediction may write to its folders, which it first empties.

    Args:
        out: The folder of the predictions, by its path or gs:// uri.
        rejected: The folder of the rejected rows; None without one.
        form: The format of the shards.

    Raises:
        SourceError: A folder holds other files, or is a file; both are one; or there is no such
            format.
    """
    if form not in FORMATS:
        raise SourceError(f"shards of {form!r} are not written; choose one of {list(FORMATS)}")
    folders = [(out, "predictions"), *([(rejected, "rejected rows")] if rejected else [])]
    for folder, what in folders:
        check_uri(folder)
        if not is_remote(folder) and Path(folder).is_file():
            raise SourceError(f"{folder} is a file; name a folder for the {what}")
        others = (name for name in sorted(list_names(folder)) if not _OWN.fullmatch(name))
        if other := next(others, None):
            raise SourceError(
                f"{folder} holds {other}, which no prediction wrote; name another folder for the "
                f"{what}, since theirs is emptied first"
            )
    if rejected and (is_same(out, rejected) or out.startswith(f"{rejected}/")):
        raise SourceError(
            f"the predictions go to {out}, and the rejected rows cannot go to {rejected}; name "
            f"another folder for the rows"
        )


@contextmanager
def attempt(out: str, rejected: str | None) -> Iterator[Folder]:
    """Yields the emptied folder of the predictions; the block writes its manifest last.

    The one manifest names the shards of rejected rows too, so those of a job that was killed do not
    count either. If the block fails, both folders are emptied.
    """
    with commit(out, MANIFEST) as folder:
        if rejected:
            remove_contents(rejected)
        try:
            yield folder
        except BaseException:
            if rejected:
                remove_contents(rejected)
            raise
