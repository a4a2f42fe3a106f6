"""Infers a spec for a table, checks it against the table's rows, and writes it."""

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
    """A spec that was drafted, checked and written.

    Attributes:
        path: The file.
        spec: The spec, as `run` reads it from there.
        draft: The draft that the file was written from.
        warnings: The warnings of the check against the rows.
    """

    path: Path
    spec: ModelSpec
    draft: Draft
    warnings: list[str]


def default_path(data: str) -> Path:
    """Returns the default path of a table's spec: a file of its name in the current folder."""
    return Path(f"{model_name(data)}.yaml")


def propose(data: str, target: str, output: Path | None = None) -> Proposal:
    """Infers a spec, checks it against the rows and writes it, whole or not at all.

    Args:
        data: The file, glob or uri of the table.
        target: The column to predict.
        output: The spec's file; by default `default_path(data)`.

    Raises:
        QuatrainError: The file exists, or no spec that runs can be written; the message says why,
            and the way out.
    """
    path = output or default_path(data)
    draft = infer(data, target)  # first, since a wrong target is the nearer mistake
    if path.exists():
        raise SpecError(f"{path} already exists; remove it, or name another file with -o")
    if not path.resolve().parent.is_dir():
        raise SpecError(f"{path}: there is no folder {path.parent}; create it first")
    source = {**draft.document["source"], "uri": _uri_from(path, data)}
    document = {**draft.document, "name": model_name(path.name), "source": source}
    draft = replace(draft, document=document)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(write(draft, path.name), encoding="utf-8")
        spec = load_spec(part)
        warnings = _check(spec)
        os.replace(part, path)
    except SpecError as error:
        raise SpecError(f"no spec that runs can be written for {data}: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return Proposal(path, spec, draft, warnings)


def _uri_from(path: Path, data: str) -> str:
    """Returns the data's path as the spec names it: from the spec's folder.

    An absolute path outside of that folder stays absolute.
    """
    if "://" in data:
        return data
    folder, file = path.resolve().parent, Path(data).parent.resolve() / Path(data).name
    if Path(data).is_absolute() and not file.is_relative_to(folder):
        return str(file)
    return Path(os.path.relpath(file, folder)).as_posix()


def _check(spec: ModelSpec) -> list[str]:
    report = check(spec)
    if report.problems:
        raise SpecError("; ".join(report.problems))
    return report.warnings
