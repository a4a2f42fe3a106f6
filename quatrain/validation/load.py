"""Reads a spec, from YAML or from the pipeline's parameter, and tells all that is wrong with it."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from quatrain.components.errors import SpecError
from quatrain.components.specification.schema import ORDERED, ModelSpec, as_list, section_of
from quatrain.validation.problems import cross_problems, rule_problems, schema_problems

MAX_VALUES = 100_000
"""The largest spec; YAML's aliases can write a list of 10^9 values in a few lines."""


def is_bounded(value: Any) -> bool:
    """Tells whether a parsed document has at most MAX_VALUES values, each alias counted."""
    waiting, count = [value], 0
    while waiting:
        at = waiting.pop()
        count += 1
        if count > MAX_VALUES:
            return False
        if isinstance(at, Mapping):
            waiting += at.values()
        elif isinstance(at, list):
            waiting += at
    return True


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys: a rule would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuses a mapping that names a key twice."""
        seen = set()
        for key in [k for k, _ in node.value if isinstance(k, yaml.ScalarNode)]:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_parameter(value: Mapping[str, Any]) -> ModelSpec:
    """Reads a spec as the pipeline carries it, or as YAML would hold it.

    Whole numbers that KFP turned into 3.0 come back as 3.

    Raises:
        SpecError: Every problem at once, each with its place.
    """
    merged = copy.deepcopy(dict(value))
    for *sections, key in ORDERED:
        at = section_of(merged, sections)
        if isinstance(at.get(key), list) and all(isinstance(e, dict) for e in at[key]):
            at[key] = {name: entry for pair in at[key] for name, entry in pair.items()}
    return _checked(merged, "spec")


def load_spec(path: Path | str, overrides: Sequence[str] = ()) -> ModelSpec:
    """Reads a spec from YAML.

    Args:
        path: The file; a local source and a trainer of one's own are relative to it.
        overrides: `a.b=value` settings, the value in YAML.

    Raises:
        SpecError: The file is not there, is not YAML, or does not describe a model; every problem
            at once, each with its place and the nearest right word.
    """
    where = Path(path)
    try:
        value = yaml.load(where.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506 - safe
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: is not YAML: {error}") from error
    if not isinstance(value, dict):
        raise SpecError(f"{path}: is {type(value).__name__}, not a mapping of the spec's sections")
    if isinstance(value.get("source"), str):
        value["source"] = {"uri": value["source"]}  # so that --set source.uri=... finds a section
    for text in overrides:
        override(value, text)
    _resolve_source(value, where.resolve().parent)
    _resolve_trainer(value, where.resolve().parent)
    return _checked(value, where.name)


def override(value: dict[str, Any], text: str, option: str = "--set") -> None:
    """Sets one key of a document as `a.b=value` says, the value in YAML.

    Args:
        value: The document; it is changed.
        text: The setting.
        option: How the command line names it, for errors.

    Raises:
        SpecError: It is no setting, or goes through something that is no section.
    """
    key, equals, written = text.partition("=")
    if not equals or not key:
        raise SpecError(f"{option} {text}: write it as section.key=value")
    *parents, last = key.split(".")
    for parent in parents:
        value = value.setdefault(parent, {})
        if not isinstance(value, dict):
            raise SpecError(f"{option} {text}: {parent} is not a section")
    try:
        value[last] = yaml.safe_load(written)
    except yaml.YAMLError as error:
        raise SpecError(f"{option} {text}: the value is not YAML: {error}") from error


def _resolve_source(value: dict[str, Any], folder: Path) -> None:
    source = value.get("source")
    if isinstance(source, str):
        source = value["source"] = {"uri": source}
    if not isinstance(source, dict) or not isinstance(source.get("uri"), str | list):
        return
    uris = [u for u in as_list(source["uri"]) if isinstance(u, str)]
    source["uri"] = [u if "://" in u else str(folder / u) for u in uris]


def _resolve_trainer(value: dict[str, Any], folder: Path) -> None:
    train = value.get("train")
    if isinstance(train, dict) and isinstance(train.get("trainer"), str):
        own = train["trainer"]
        train["trainer"] = own if "://" in own else str(folder / own)


def _typos(value: Any) -> dict[str, tuple[str, str]]:
    """Returns the entries of `columns` that are a typo, where the spec names what it lacks."""
    if not any("unknown column" in problem for problem in cross_problems(value)):
        return {}
    from quatrain.validation.typos import column_typos

    return column_typos(value)


def _checked(value: Any, where: str) -> ModelSpec:
    """Checks a parsed spec.

    Args:
        value: What the YAML or the pipeline parameter holds.
        where: What to name in errors, for example `flights.yaml`.

    Raises:
        SpecError: Every problem at once, each with its place.
    """
    if not is_bounded(value):
        raise SpecError(f"{where}: holds more than {MAX_VALUES:,} values, each alias counted")
    spec, found = None, []
    if typos := _typos(value):
        value = {
            **value,
            "columns": {typos.get(n, (n,))[0]: c for n, c in value["columns"].items()},
        }
        found = [
            f"columns.{name}: the source has no such column; write {meant!r}, which it has and "
            f"{place} names"
            for name, (meant, place) in typos.items()
        ]
    try:
        spec = ModelSpec.model_validate(value)
    except ValidationError as error:
        found += schema_problems(error.errors(), value)
    found += cross_problems(value)
    if found:
        found += rule_problems(value)
    if spec is None or found:
        raise SpecError("\n".join(f"{where}: {problem}" for problem in found))
    return spec
