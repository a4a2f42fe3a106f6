"""Infers a spec for a table, checks it against the table's rows, and writes it."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quatrain.components.artifacts import write_whole
from quatrain.components.documents import parse
from quatrain.components.errors import SpecError
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.wording import counted
from quatrain.draft.draft import Draft
from quatrain.draft.infer import infer, model_name
from quatrain.draft.write import WIDTH, write
from quatrain.validation.load import complete, validate
from quatrain.validation.sample import check


@dataclass(frozen=True, repr=False)
class Proposal:
    """A spec that `init` proposes for a table; `check` and `run` take it as it is.

    Attributes:
        spec: The spec.
        draft: The draft that its file is written from, with the questions and remarks.
        warnings: The warnings of the check against the rows.
        path: The spec's file; None before it is written.
        is_relative: Whether the file names the table by a relative path.
    """

    spec: ModelSpec
    draft: Draft
    warnings: list[str]
    path: Path | None = None
    is_relative: bool = True

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    @property
    def text(self) -> str:
        """The spec as commented YAML."""
        return write(self.draft, self.path.name if self.path else "")

    @property
    def document(self) -> dict[str, Any]:
        """The sections of the spec, as its YAML holds them."""
        (document,) = parse(self.text)
        return dict(document)

    def lines(self) -> Iterator[str]:
        """Yields a summary of the spec, and what to check in it."""
        spec, draft = self.spec, self.draft
        used = f"{len(spec.inputs)} of {counted(len(draft.columns), 'column')}"
        yield (
            f"{self.path or spec.name}: {spec.label} ({spec.task}) from {used}, "
            f"{counted(len(spec.features), 'feature')}, split by {spec.split.by}"
        )
        for question in draft.questions:
            yield from _wrapped(f"look at: {question.text}")
            yield from (f"    {line}" for line in question.lines)
        for remark in [*draft.remarks, *self.warnings]:
            yield from _wrapped(f"also: {remark}")

    def write(self, path: Path | str) -> Proposal:
        """Writes the spec, whole or not at all, and returns the proposal with its path.

        The table's path is relative to the file's folder. Only one that was absolute and leads out
        of that folder stays absolute.

        Raises:
            SpecError: The file exists, or its folder does not.
        """
        path = Path(path)
        check_place(path)
        source = self.draft.document["source"]
        source = {**source, "uri": _uri_from(path, source["uri"], self.is_relative)}
        draft = replace(self.draft, document={**self.draft.document, "source": source})
        text = write(draft, path.name)
        spec = _read(text, path.resolve().parent)
        write_whole(path, text.encode())
        return replace(self, spec=spec, draft=draft, path=path)


def default_path(data: str) -> Path:
    """Returns the default path of a table's spec: a file of its name in the current folder."""
    return Path(f"{model_name(data)}.yaml")


def propose(
    data: str, target: str, output: Path | None = None, name: str = "", *, uri: str = ""
) -> Proposal:
    """Infers a spec and checks it against the rows; with `output`, also writes it.

    Args:
        data: The file, glob or uri of the table.
        target: The column to predict.
        output: The spec's file; None writes none.
        name: The model's name; by default that of the output, or else of the data.
        uri: Where the spec is to find the table, if not where it is now.

    Raises:
        QuatrainError: The file exists, or no spec that runs can be written; the message says why,
            and the way out.
    """
    draft = infer(data, target)  # first, since a wrong target is the nearer mistake
    if output:
        check_place(output)
    source = {**draft.document["source"], "uri": _absolute(uri or data)}
    name = name or (output.name if output else data)
    document = {**draft.document, "name": model_name(name), "source": source}
    draft = replace(draft, document=document)
    try:
        spec = _read(write(draft), Path.cwd())
        now = spec.source.model_copy(update={"uri": [_absolute(data)]}) if uri else spec.source
        report = check(spec.model_copy(update={"source": now}))
        if report.problems:
            raise SpecError("; ".join(report.problems))
    except SpecError as error:
        raise SpecError(f"no spec that runs can be written for {data}: {error}") from error
    proposal = Proposal(spec, draft, report.warnings, None, not Path(data).is_absolute())
    return proposal.write(output) if output else proposal


def check_place(path: Path) -> None:
    """Checks that a spec can be written to a new file.

    Raises:
        SpecError: The file exists, or its folder does not.
    """
    if path.exists():
        raise SpecError(f"{path} already exists; remove it, or choose another name")
    if not path.resolve().parent.is_dir():
        raise SpecError(f"{path}: there is no folder {path.parent}; create it first")


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(
        sentence, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _read(text: str, folder: Path) -> ModelSpec:
    """Returns the spec of a text, as `run` would read it from a file in the folder."""
    (document,) = parse(text)
    return validate(complete(document, folder))


def _absolute(data: str) -> str:
    return data if "://" in data else str(Path(data).parent.resolve() / Path(data).name)


def _uri_from(path: Path, uri: str, is_relative: bool) -> str:
    """Returns the path of the data as the spec names it: from the spec's folder.

    An absolute path outside of that folder stays absolute.
    """
    folder = path.resolve().parent
    if "://" in uri or not (is_relative or Path(uri).is_relative_to(folder)):
        return uri
    return Path(os.path.relpath(uri, folder)).as_posix()
