"""The folder that the step writes, and where it keeps what only itself reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from quatrain.components import folder, storage

MANIFEST = "manifest.json"
SPILL = ".spill"
"""The folder inside the artifact for the files that only the step itself reads."""


@dataclass(frozen=True)
class Folder(folder.Folder):
    """The folder of the examples, with the one of the files that only the step itself reads.

    Attributes:
        scratch_path: A folder on this machine for those files; empty: they go to a folder inside
            this one, which every worker can reach.
    """

    scratch_path: str = ""

    @property
    def scratch(self) -> Folder:
        """The folder of the files that only the step itself reads."""
        return Folder(self.scratch_path or self.path(SPILL))


@contextmanager
def attempt(out: str, *, remote: bool) -> Iterator[Folder]:
    """Yields the folder to write the artifact `out` to, and removes it after an error.

    Files that only the step itself reads stay on a disk of this machine, unless the workers are
    elsewhere.

    Args:
        out: The artifact, a path or gs:// uri.
        remote: Whether the workers are on other machines.
    """
    with (
        folder.commit(out, MANIFEST) as target,
        TemporaryDirectory(prefix="quatrain-spill-") as scratch,
    ):
        storage.show_folder(target.path("rejected"))
        inside = remote or not storage.is_remote(target.uri)
        yield Folder(target.uri, "" if inside else scratch)
