"""What the shell offers for arguments that click cannot know: specs, tiers and runs.

Each function takes what click gives it, and returns values that begin with the incomplete word, or
an item that lets the shell complete the names of files. Nothing here may be slow: the shell waits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quatrain.components.uris import DEFAULT_ROOT

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def specs(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers the YAML files in the folder of the word, or any file where there are none."""
    return _or_files(_below(incomplete, ".yaml", ".yml"))


def tiers(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Offers the names of tiers."""
    from quatrain.components.tiers.rules import load

    return [name for name in load()["tiers"] if name.startswith(incomplete.upper())]


def settings(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Offers the keys of the spec that stands before, and those that its sections may have."""
    from quatrain.components.documents import read_documents
    from quatrain.components.errors import QuatrainError
    from quatrain.components.specification.schema import ModelSpec

    # click reads no argument of a line that ends in an option without its value.
    file: Any = context.params.get("spec") or next(iter(context.args), None)
    document: Any = None
    if file:
        with suppress(QuatrainError):
            document = next(iter(read_documents(file)), None)
    keys = {*_keys_of_schema(ModelSpec), *_keys_of_document(document)}
    offered = (f"{key}=" for key in sorted(keys) if key and _is_offered(key))
    return [key for key in offered if key.startswith(incomplete)]


def _keys_of_document(value: Any, path: str = "") -> Iterator[str]:
    """Yields the path of each value of a spec; the entries of a list are known by their names."""
    if isinstance(value, list) and all(isinstance(v, dict) and "name" in v for v in value):
        value = {entry["name"]: entry for entry in value}
    if not (isinstance(value, dict) and value):
        yield path.removesuffix(".")
        return
    for key, child in value.items():
        yield from _keys_of_document(child, f"{path}{key}.")


def _keys_of_schema(section: Any, path: str = "") -> Iterator[str]:
    """Yields the path of each value that a section may have, in the sections below it too."""
    from dataclasses import fields, is_dataclass
    from types import UnionType
    from typing import get_args, get_origin

    for name, field in section.model_fields.items():
        is_optional = get_origin(field.annotation) is UnionType
        types = get_args(field.annotation) if is_optional else (field.annotation,)
        inner = next((t for t in types if hasattr(t, "model_fields")), None)
        if is_dataclass(field.annotation):  # the hyperparameters, which YAML writes beside it
            yield from (f"{path}{setting.name}" for setting in fields(field.annotation))
        elif inner:
            yield from _keys_of_schema(inner, f"{path}{field.alias or name}.")
        else:
            yield f"{path}{field.alias or name}"


def runs(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers the folders of models below the root; of one that is named in full, its runs."""
    folders = _folders(Path(_root(context)))
    model = next((folder for folder in folders if incomplete.startswith(f"{folder}/")), None)
    offered = map(str, _folders(model, newest_first=True) if model else folders)
    return _or_files(folder for folder in offered if folder.startswith(incomplete))


def models(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Offers the names of models below the root."""
    names = (folder.name for folder in _folders(Path(_root(context))))
    return [name for name in names if name.startswith(incomplete)]


def _root(context: click.Context) -> str:
    root: Any = context.params.get("root")
    return str(root or DEFAULT_ROOT)


def _folders(parent: Path, newest_first: bool = False) -> list[Path]:
    """Returns the visible folders in a folder, links included; none if it cannot be read."""
    try:
        found = [entry.name for entry in os.scandir(parent) if entry.is_dir()]
    except OSError:
        return []
    names = sorted(filter(_is_offered, found), reverse=newest_first)
    return [parent / name for name in names]


def _below(incomplete: str, *suffixes: str) -> Iterator[str]:
    """Yields the visible files whose path begins with a word."""
    folder, slash, begin = incomplete.rpartition("/")
    try:
        names = sorted(os.listdir(f"{folder}/" if slash else "."))
    except OSError:
        return
    for name in names:
        if name.startswith(begin) and name.endswith(suffixes) and _is_offered(name):
            yield f"{folder}{slash}{name}"


def _is_offered(name: str) -> bool:
    """Whether a name is not hidden and would not move the cursor of the terminal."""
    return name.isprintable() and not name.startswith(".")


def _or_files(names: Iterator[str]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return list(map(CompletionItem, names)) or [CompletionItem("", type="file")]
