"""The spec of a call: a file, a proposal of `init`, or the sections of a spec as a dict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quatrain.components.errors import SpecError
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.wording import a_or_an
from quatrain.draft.propose import Proposal
from quatrain.validation.load import Overrides, complete, read_document
from quatrain.validation.typos import validate_with_source

Spec = str | os.PathLike[str] | Mapping[str, Any] | Proposal
"""The path of a spec, a proposal, or the sections of a spec with paths from the current folder."""


def read_spec(spec: Spec, overrides: Overrides = ()) -> tuple[ModelSpec, str]:
    """Returns the spec of a call and its name in messages.

    A proposal that was written is read from its file, which may have been edited since.

    Raises:
        SpecError: It is none, or is wrong; every problem at once, each with its place.
    """
    if isinstance(spec, Proposal):
        spec = spec.path or spec.document
    if isinstance(spec, Mapping):
        document = complete(_copy(spec), Path.cwd(), overrides)
        return validate_with_source(document, "spec"), "spec"
    if not isinstance(spec, str | os.PathLike):
        raise SpecError(
            f"spec: {a_or_an(type(spec).__name__)} is no spec; give the path of one, what "
            f"quatrain.init returned, or a dict"
        )
    path = local_path(spec)
    return validate_with_source(read_document(path, overrides), path.name), path.name


def local_path(value: str | os.PathLike[str]) -> Path:
    """Returns a path on this machine.

    Raises:
        SpecError: It is a uri, which would be taken for a folder named `gs:`.
    """
    if "://" in str(value):
        raise SpecError(f"{value} is a uri; name a path on this machine")
    return Path(value)


def _copy(value: Any) -> Any:
    """Returns a document of its own, whose paths are texts."""
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(inner) for inner in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
