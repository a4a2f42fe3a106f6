"""Proposes a spec for a table."""

from __future__ import annotations

import os
from pathlib import Path

from quatrain.calls import public
from quatrain.components.errors import SpecError
from quatrain.components.uris import DEFAULT_ROOT
from quatrain.components.wording import a_or_an
from quatrain.draft.infer import model_name
from quatrain.draft.propose import Proposal, propose
from quatrain.face.data import Data, Frame, frame_not_its_file
from quatrain.face.specs import local_path
from quatrain.local.frame_files import frame_file
from quatrain.terminal.console import progress_stream
from quatrain.terminal.heartbeat import heartbeat


@public
def init(
    data: Data,
    target: str,
    *,
    output: str | os.PathLike[str] | None = None,
    name: str = "",
    root: str | os.PathLike[str] = DEFAULT_ROOT,
) -> Proposal:
    """Proposes a spec for a table, of which it reads a sample, and checks the spec against it.

    Args:
        data: A CSV, JSON Lines or Parquet file, a glob of such files, a gs:// uri, or a table in
            memory: a DataFrame of pandas or polars, an Arrow table or reader, a list of dicts.
        target: The column to predict.
        output: Where to write the spec; None writes none.
        name: The model's name; by default that of the output, or else of the data's file; `model`
            for a table in memory.
        root: The folder of all runs. A table in memory is written there, as
            `<root>/<name>/data/<sha256>.parquet`.

    Returns:
        The proposal. It shows what to look at, and `check` and `run` take it as it is.

    Raises:
        QuatrainError: The data cannot be read, no spec that runs can be made for it, or the output
            exists.
    """
    if not isinstance(target, str):  # a column itself, as y in fit(X, y), or a list of names
        kind = a_or_an(type(target).__name__)
        raise SpecError(
            f"target: {kind} is no name of a column; give the name of one column of data"
        )
    path = local_path(output) if output else None
    name = name or (path.name if path else "")
    with heartbeat("init", progress_stream()):
        if isinstance(data, str | os.PathLike):
            return propose(os.fspath(data), target, path, name)
        place = local_path(root)
        with frame_not_its_file(data, place):
            return _of_frame(data, target, path, place / model_name(name))


def _of_frame(data: Frame, target: str, path: Path | None, folder: Path) -> Proposal:
    """Proposes a spec for a table in memory, whose file stays only if that succeeds."""
    with frame_file(data, folder) as file:
        uri = str(file.path)
        proposal = propose(str(file.partial), target, path, folder.name, uri=uri)
        file.keep()
    return proposal
