"""Reads a spec from YAML and reports everything that is wrong with it at once."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quatrain.components.documents import DocumentError, parse, read_documents
from quatrain.components.errors import SpecError
from quatrain.components.specification.messages import schema_problems
from quatrain.components.specification.schema import ModelSpec
from quatrain.components.specification.section import as_list
from quatrain.components.wording import near
from quatrain.validation.problems import cross_problems, rule_problems

Overrides = Mapping[str, Any] | Sequence[str]
"""Settings that replace those of a spec: values by their key, as `train.epochs`, or texts of the
form `train.epochs=5`, with the value in YAML."""


def load_spec(path: Path | str, overrides: Overrides = ()) -> ModelSpec:
    """Reads a spec from YAML; nothing but that file is read.

    Args:
        path: The file; a local source, request log and trainer of one's own are relative to it.
        overrides: Settings that replace those of the file.

    Raises:
        SpecError: The file is not there, is not YAML, or does not describe a model; every problem
            at once, each with its place and the nearest right word.
    """
    return validate(read_document(path, overrides), Path(path).name)


def read_document(path: Path | str, overrides: Overrides = ()) -> dict[str, Any]:
    """Returns the YAML of a spec with its overrides and absolute paths, not yet validated.

    Raises:
        SpecError: The file is not there, is not a mapping in YAML, or is larger than MAX_VALUES.
    """
    try:
        (document, *_) = [*read_documents(path), None]
    except DocumentError as error:
        raise SpecError(f"{path}: {error}") from error
    return complete(document, Path(path).resolve().parent, overrides, str(path))


def complete(
    document: Any, folder: Path, overrides: Overrides = (), where: str = "spec"
) -> dict[str, Any]:
    """Returns a document with its overrides and absolute paths, not yet validated.

    Args:
        document: The spec as YAML holds it, which is changed in place.
        folder: The absolute folder that its paths are relative to.
        overrides: Settings that replace those of the document.
        where: The name of the document in errors.

    Raises:
        SpecError: The document is not a mapping, or an override cannot be set.
    """
    if not isinstance(document, dict):
        advice = "write one with `quatrain init FILE --target COLUMN`"
        raise SpecError(f"{where}: is not a spec; {advice}")
    if isinstance(document.get("source"), str):
        document["source"] = {"uri": document["source"]}  # --set source.uri=... needs a section
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            set_value(document, key, value, f"set {key!r}")
    else:
        for text in overrides:
            override(document, text)
    _resolve_source(document, folder)
    _resolve_trainer(document, folder)
    _resolve_log(document, folder)
    return document


def validate(document: Any, where: str = "spec", problems: Sequence[str] = ()) -> ModelSpec:
    """Checks a document: its schema, then the references between its sections.

    Args:
        document: The spec as YAML holds it.
        where: The name of the document in errors, for example `flights.yaml`.
        problems: Problems that the caller knows already; they are reported first.

    Raises:
        SpecError: Every problem at once, each with its place.
    """
    spec, sentences = None, list(problems)
    try:
        spec = ModelSpec.model_validate(document)
    except ValidationError as error:
        sentences += schema_problems(error.errors(), document)
    sentences += cross_problems(document)
    if sentences:
        sentences += rule_problems(document)
    if spec is None or sentences:
        raise SpecError("\n".join(f"{where}: {sentence}" for sentence in sentences))
    return spec


def override(value: dict[str, Any], text: str, option: str = "--set") -> None:
    """Sets one key of a document by a text `a.b=value`, with the value in YAML.

    Args:
        value: The document, which is changed in place.
        text: The setting.
        option: The name of the option on the command line, for errors.

    Raises:
        SpecError: The text is no setting, or its path leads through a value that is no section.
    """
    key, equals, written = text.partition("=")
    if not equals or not key:
        raise SpecError(f"{option} {text}: write it as section.key=value")
    try:
        (written_value, *_) = [*parse(written), None]
    except DocumentError as error:
        raise SpecError(f"{option} {text}: the value {error}") from error
    set_value(value, key, written_value, f"{option} {text}")


def set_value(document: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Sets one key of a document, whose path is written with dots.

    Args:
        document: The document, which is changed in place.
        key: The path of the key, as `train.epochs`.
        value: The value.
        where: The setting as it was written, for errors.

    Raises:
        SpecError: The path leads through a value that is no section.
    """
    *parents, last = key.split(".")
    section: Any = document
    try:
        for parent, inner in pairwise([*parents, last]):
            if isinstance(section, dict):
                section = section.setdefault(parent, {})
            else:
                section = section[_place_in(section, parent)]
            if not isinstance(section, dict | list):
                raise SpecError(f"{parent} is not a section; leave out .{inner}")
        place = last if isinstance(section, dict) else _place_in(section, last)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from error
    section[place] = value


def _place_in(entries: list[Any], name: str) -> int:
    """Returns the place of a list's entry, which is named by its number or its own name.

    Raises:
        SpecError: There is no such entry.
    """
    names = [str(e.get("name")) if isinstance(e, dict) else str(e) for e in entries]
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(entries):
        return int(name)
    raise SpecError(f"the list has no entry {name!r}{near(name, names)}")


def _resolve_source(value: dict[str, Any], folder: Path) -> None:
    source = value.get("source")
    if isinstance(source, str):
        source = value["source"] = {"uri": source}
    if not isinstance(source, dict) or not isinstance(source.get("uri"), str | list):
        return
    uris = [u for u in as_list(source["uri"]) if isinstance(u, str)]
    source["uri"] = [_from(folder, u) for u in uris]


def _resolve_trainer(value: dict[str, Any], folder: Path) -> None:
    train = value.get("train")
    if isinstance(train, dict) and isinstance(train.get("trainer"), str) and train["trainer"]:
        train["trainer"] = _from(folder, train["trainer"])


def _resolve_log(value: dict[str, Any], folder: Path) -> None:
    release = value.get("release")
    if not isinstance(release, dict):
        return
    log = release.get("log")
    if isinstance(log, str):
        log = release["log"] = {"uri": log}
    if isinstance(log, dict) and isinstance(log.get("uri"), str) and log["uri"]:
        log["uri"] = _from(folder, log["uri"])


def _from(folder: Path, uri: str) -> str:
    """Returns an absolute path for one that is relative to a folder without links; a uri as it is.

    `../data.csv` is read from the parent. A `..` behind another name stays: that may be a link.
    """
    if "://" in uri:
        return uri
    path = Path(uri)
    while path.parts[:1] == ("..",):
        folder, path = folder.parent, Path(*path.parts[1:])
    return str(folder / path)
