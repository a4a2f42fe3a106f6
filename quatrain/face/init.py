"""Proposes a spec for a table."""

from __future__ import annotations

import os

from quatrain.calls import public
from quatrain.components.errors import SpecError
from quatrain.components.uris import DEFAULT_ROOT
from quatrain.components.wording import a_or_an
from quatrain.draft.infer import model_name
from quatrain.draft.propose import Proposal, propose
from quatrain.face.data import Data, uri_of
from quatrain.face.specs import local_path


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
    folder = local_path(root) / model_name(name)
    uri, is_frame = uri_of(data, folder)
    return propose(uri, target, path, name or (folder.name if is_frame else ""))
