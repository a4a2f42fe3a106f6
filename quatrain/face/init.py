"""Proposes a spec for a table."""

from __future__ import annotations

import os

from quatrain.calls import public
from quatrain.draft.propose import Proposal, propose
from quatrain.face.specs import local_path


@public
def init(
    data: str | os.PathLike[str],
    target: str,
    *,
    output: str | os.PathLike[str] | None = None,
    name: str = "",
) -> Proposal:
    """Proposes a spec for a table, of which it reads a sample, and checks the spec against it.

    Args:
        data: A CSV, JSON Lines or Parquet file, a glob of such files, or a gs:// uri.
        target: The column to predict.
        output: Where to write the spec; None writes none.
        name: The model's name; by default that of the output, or else of the data.

    Returns:
        The proposal. It shows what to look at, and `check` and `run` take it as it is.

    Raises:
        QuatrainError: The data cannot be read, no spec that runs can be made for it, or the output
            exists.
    """
    return propose(os.fspath(data), target, local_path(output) if output else None, name)
