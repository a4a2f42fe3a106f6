"""Writes the spec that was inferred for a table, once it is known to suit that table."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from quatrain.components.errors import SpecError
from quatrain.components.specification.schema import ModelSpec
from quatrain.draft.draft import Draft
from quatrain.draft.infer import infer, model_name
from quatrain.draft.write import write
from quatrain.validation.load import load_spec
from quatrain.validation.sample import check


@dataclass(frozen=True)
class Proposal:
    """A spec that was written.

    Attributes:
        path: Its file.
        spec: The spec as it is read from there.
        draft: What it was made of.
        warnings: What the check of the rows found odd.
    """

    path: Path
    spec: ModelSpec
    draft: Draft
    warnings: list[str]


def default_path(data: str) -> Path:
    """Returns where the spec of a table goes: a file of its name in the current folder."""
    return Path(f"{model_name(data)}.yaml")


def propose(data: str, target: str, output: Path | None = None) -> Proposal:
    """Infers a spec, checks it against the rows and writes it, whole or not at all.

    Args:
        data: The file, glob or uri of the table.
        target: The column to predict.
        output: The spec's file; by default one named like the table.

    Raises:
        QuatrainError: The file is there already, or no spec that runs can be written: why, and the
            way out.
    """
    path = output or default_path(data)
    if path.exists():
        raise SpecError(f"{path} is there already; remove it, or write another one by -o")
    if not path.resolve().parent.is_dir():
        raise SpecError(f"{path}: there is no folder {path.parent}; make it first")
    inferred = infer(data, target)
    source = {**inferred.document["source"], "uri": _seen_from(path, data)}
    named = {"name": model_name(path.name), "source": source}
    draft = replace(inferred, document={**inferred.document, **named})
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(write(draft, path.name), encoding="utf-8")
        spec = load_spec(part)
        warnings = _checked(spec)
        os.replace(part, path)
    except SpecError as error:
        raise SpecError(f"no spec that runs can be written for {data}: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return Proposal(path, spec, draft, warnings)


def _seen_from(path: Path, data: str) -> str:
    """Returns a local path relative to the spec's folder where it is below it, else absolute."""
    if "://" in data:
        return data
    folder, file = path.resolve().parent, Path(data).resolve()
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)


def _checked(spec: ModelSpec) -> list[str]:
    found = check(spec)
    if found.problems:
        raise SpecError("; ".join(found.problems))
    return found.warnings
