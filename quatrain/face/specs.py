"""The spec of a call: a file, a proposal of `init`, or the sections of a spec as a dict."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from quatrain.components.documents import MAX_DEPTH
from quatrain.components.errors import SpecError
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.wording import a_or_an
from quatrain.face.data import Data, frame_not_its_file, is_frame, replaced_source
from quatrain.local.frame_files import FrameFile, frame_file
from quatrain.validation.load import Overrides, complete, read_document
from quatrain.validation.typos import validate_with_source

if TYPE_CHECKING:
    from quatrain.draft.propose import Proposal

Spec: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Proposal"
"""The path of a spec, a proposal, or the sections of a spec with paths from the current folder."""


@dataclass(frozen=True)
class CallSpec:
    """The spec of a call.

    Attributes:
        spec: The spec, which reads a table in memory from a file that goes when the call ends.
        name: Its name in messages.
        frame: The file of a table in memory; None if the call has no such table.
    """

    spec: ModelSpec
    name: str
    frame: FrameFile | None = None

    def keep(self) -> ModelSpec:
        """Keeps the file of a table in memory, and returns the spec that reads it there."""
        if self.frame is None:
            return self.spec
        self.frame.keep()
        document = self.spec.as_document()
        document["source"]["uri"] = [str(self.frame.path)]
        return ModelSpec.model_validate(document)


def read_spec(spec: Spec, overrides: Overrides = ()) -> CallSpec:
    """Returns the spec of a call that takes its rows from the spec's own source.

    A proposal that was written is read from its file, which may have been edited since.

    Args:
        spec: The spec as it was passed.
        overrides: Settings that replace those of the spec.

    Raises:
        SpecError: It is none, or is wrong; every problem at once, each with its place.
    """
    document, name = _document(_without_proposal(spec), _overrides(overrides))
    return CallSpec(validate_with_source(document, name), name)


@contextmanager
def call_spec(
    spec: Spec, overrides: Overrides, data: Data | None, root: str | os.PathLike[str]
) -> Iterator[CallSpec]:
    """Yields the spec of a call, and leaves no file of a table in memory that it does not keep.

    Errors name such a table, as its owner never saw the file.

    Args:
        spec: The spec as it was passed.
        overrides: Settings that replace those of the spec.
        data: A table that replaces the spec's source; None keeps it.
        root: The folder of all runs, below which a table in memory is written.

    Raises:
        SpecError: As `read_spec` raises.
        FrameError: A table in memory is none, or cannot be written.
    """
    if data is None:
        yield read_spec(spec, overrides)
        return
    with frame_not_its_file(data, local_path(root)):
        document, name = _document(_without_proposal(spec), _overrides(overrides))
        from quatrain.draft.infer import model_name

        folder = local_path(root).absolute() / model_name(str(document.get("name")))
        with frame_file(data, folder) if is_frame(data) else nullcontext() as frame:
            uri = str(frame.partial) if frame else os.fspath(data)  # type: ignore[arg-type]
            document["source"] = replaced_source(document.get("source"), uri, frame is not None)
            complete(document, Path.cwd())
            yield CallSpec(validate_with_source(document, name), name, frame)


def _without_proposal(spec: Spec) -> Spec:
    """Returns the file or the sections of a proposal, and any other spec as it is."""
    if isinstance(spec, str | os.PathLike | Mapping):
        return spec
    from quatrain.draft.propose import Proposal  # only `init` needs the draft's modules

    return spec.path or spec.document if isinstance(spec, Proposal) else spec


def _document(spec: Spec, overrides: Overrides) -> tuple[dict[str, Any], str]:
    """Returns a spec as a document with absolute paths, not yet validated, and its name."""
    if isinstance(spec, Mapping):
        return complete(_plain(spec, "spec"), Path.cwd(), overrides), "spec"
    if not isinstance(spec, str | os.PathLike):
        raise SpecError(
            f"spec: {a_or_an(type(spec).__name__)} is no spec; give the path of one, what "
            f"quatrain.init returned, or a dict"
        )
    path = local_path(spec)
    return read_document(path, overrides), path.name


def local_path(value: str | os.PathLike[str]) -> Path:
    """Returns a path on this machine.

    Raises:
        SpecError: It is a uri, which would be taken for a folder named `gs:`, or holds a NUL.
    """
    if "\0" in str(value):
        raise SpecError(
            f"{str(value)!r} holds a NUL character, as no name of a file does; correct it"
        )
    if "://" in str(value):
        raise SpecError(f"{value} is a uri; name a path on this machine")
    return Path(value)


def _overrides(settings: Overrides) -> Overrides:
    """Returns the settings of a call, whose values are plain.

    Raises:
        SpecError: They are neither values by key nor texts.
    """
    if isinstance(settings, Mapping):
        return dict(_plain(settings, "set"))
    if not isinstance(settings, list | tuple):
        raise SpecError(f"set: {settings!r} is no mapping; write it as {{'train.epochs': 5}}")
    return [str(text) for text in settings]


def _plain(value: Any, at: str, depth: int = 0) -> Any:
    """Returns a copy of a value in the types that YAML has; a path is a text.

    Raises:
        SpecError: A key is no text, a value has another type, or it nests as deep as no YAML may.
    """
    if depth > MAX_DEPTH:
        raise SpecError(f"{at[:60]}: nests deeper than {MAX_DEPTH} levels; flatten it")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise SpecError(f"{at}: the key {key!r} must be a text")
        return {key: _plain(inner, f"{at}.{key}", depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, f"{at}[{i}]", depth + 1) for i, inner in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is not None and not isinstance(value, str | int | float | datetime.date):
        raise SpecError(
            f"{at}: {a_or_an(type(value).__name__)} must be a text, a number, true, false, a date, "
            f"a list or a mapping"
        )
    return value
