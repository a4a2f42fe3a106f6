"""The report of a run, which shows itself in a notebook."""

from __future__ import annotations

import os
import tempfile
import webbrowser
from dataclasses import dataclass
from html import escape
from pathlib import Path

from quatrain.calls import public
from quatrain.components.artifacts import run_again
from quatrain.components.errors import ArtifactError
from quatrain.components.storage import is_remote, read_file
from quatrain.terminal.printouts import short_path
from quatrain.trainer.failure import Failure

HEIGHT_PX = 640
"""How high a notebook shows the report; it scrolls inside."""


@dataclass(frozen=True, repr=False)
class Report:
    """A page of the run's verdict, its warnings, what changed, inputs, curves and slices.

    Attributes:
        path: Where report.html is, by its path or uri.
    """

    path: str

    def __repr__(self) -> str:
        place = self.path if is_remote(self.path) else short_path(Path(self.path))
        return f"Report(path={place!r})"

    @property
    @public
    def html(self) -> str:
        """The page, which needs no other file.

        Raises:
            ArtifactError: It is gone or cannot be read.
        """
        try:
            return read_file(self.path).decode()
        except FileNotFoundError as error:
            raise ArtifactError(f"{self.path} is absent; {run_again('evaluate')}") from error
        except OSError as error:
            raise ArtifactError(str(Failure.of(error))) from error

    def _repr_html_(self) -> str:
        """Returns the page in a frame of its own: neither its styles nor the notebook's leak."""
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox title="Quatrain report" '
            f'style="width:100%;height:{HEIGHT_PX}px;border:1px solid #8884;border-radius:6px;'
            f'resize:vertical"></iframe>'
        )

    @public
    def open(self) -> None:
        """Opens the page in a browser; of one in a bucket, a copy."""
        path = self.path
        if is_remote(path):
            handle, path = tempfile.mkstemp(suffix=".html", prefix="quatrain-report-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.html)
        webbrowser.open(Path(path).resolve().as_uri())
