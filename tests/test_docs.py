"""The pages say what the code does: the spec's reference, links and commands."""

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from quatrain.cli.entry import cli
from quatrain.components.evaluate.measures.metrics import METRICS
from quatrain.components.specification import schema as sections
from quatrain.components.specification.columns import Column
from quatrain.components.specification.source import Source
from quatrain.components.specification.split import ColumnSplit, FoldSplit, HashSplit, TimeSplit
from quatrain.trainer.features import FEATURES
from quatrain.trainer.settings import Hyperparameters
from quatrain.validation.problems import REASONS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/spec.md").read_text()
PAGES = sorted(
    page
    for folder in (".", "benchmarks", "deploy", "docs", "examples", "tests", "trainer")
    for page in (ROOT / folder).glob("*.md" if folder == "." else "**/*.md")
)


def tables_of(heading: str) -> list[list[list[str]]]:
    """The tables below a heading, each a list of rows of cells, without the header."""
    section = re.split(rf"^## {heading}$", PAGE, flags=re.M)[1]
    section = re.split(r"^## ", section, flags=re.M)[0]
    blocks = re.findall(r"(?:^\|.*\n)+", section, flags=re.M)
    return [
        [
            [c.strip().replace("\\|", "|") for c in r.strip("|\n").split(" | ")]
            for r in b.splitlines()[2:]
        ]
        for b in blocks
    ]


def keys_of(table: list[list[str]]) -> dict[str, str]:
    return {row[0].strip(" `"): row[1].strip(" `") for row in table}


def shown(default: Any) -> Any:
    if default in (PydanticUndefined, dataclasses.MISSING):
        return "required"
    if isinstance(default, tuple):
        default = list(default)
    if isinstance(default, BaseModel):
        # Limits are defaults worth telling; a section tells its own in its table.
        limits = sections.Limit, sections.ChampionLimit
        return default.model_dump(exclude_none=True) if isinstance(default, limits) else "{}"
    if isinstance(default, bool):
        return str(default).lower()
    return "none" if default is None else default


def same(text: str, default: Any) -> bool:
    return text == default or (text != "none" and yaml.safe_load(text) == default)


def test_the_page_lists_the_reasons_of_rejection() -> None:
    listed = re.search(r"Rows are also rejected as (.*?)\. Every", PAGE, re.S)
    assert listed is not None
    assert set(re.findall(r"`(\w+)`", listed[1])) == set(REASONS)


@pytest.mark.parametrize(
    ("heading", "number", "section"),
    [
        ("source", 0, Source),
        ("columns", 1, Column),
        ("clean", 0, sections.Clean),
        ("clean", 1, sections.Deduplicate),
        ("split", 0, HashSplit),
        ("split", 1, TimeSplit),
        ("split", 2, ColumnSplit),
        ("split", 3, FoldSplit),
        ("drift", 0, sections.Drift),
        ("train", 0, sections.Train),
        ("train", 1, sections.Tune),
        ("evaluate", 0, sections.Evaluate),
        ("evaluate", 1, sections.Importance),
        ("release", 0, sections.Release),
    ],
)
def test_every_key_of_a_section_stands_in_the_reference_with_its_default(
    heading: str, number: int, section: type[BaseModel]
) -> None:
    documented = keys_of(tables_of(heading)[number])
    coded = {n: shown(f.default) for n, f in section.model_fields.items() if n != "settings"}
    assert set(documented) == set(coded)
    assert not [n for n in coded if not same(documented[n], coded[n])]


def test_every_section_stands_in_the_reference() -> None:
    first = re.findall(r"(?:^\|.*\n)+", PAGE, flags=re.M)[0]
    documented = set(re.findall(r"^\| `(\w+)`", first, flags=re.M))
    assert documented == {f.alias or n for n, f in sections.ModelSpec.model_fields.items()}


def test_every_setting_of_the_trainer_stands_in_the_reference() -> None:
    table = tables_of("train")[2]
    documented, coded = (
        keys_of(table),
        {f.name: shown(f.default) for f in dataclasses.fields(Hyperparameters)},
    )
    assert set(documented) == set(coded)
    assert not [n for n in coded if not same(documented[n], coded[n])]
    helps = {f.name: f.metadata["help"] for f in dataclasses.fields(Hyperparameters)}
    assert not [
        r for r in table if helps[r[0].strip(" `")].lower() not in r[2].replace("`", "").lower()
    ]


def test_every_transform_and_its_settings_stand_in_the_reference() -> None:
    rows = {row[0].strip(" `"): row[3] for row in tables_of("features")[0]}
    assert set(rows) == set(FEATURES)
    for name, cls in FEATURES.items():
        hidden = {"name", "columns", "types", "transform", *cls.fitted}
        for setting in dataclasses.fields(cls):
            if setting.name not in hidden:
                assert f"`{setting.name}` ({shown(setting.default)})" in rows[name]


def test_every_transform_says_what_becomes_of_missing_unseen_and_extreme_values() -> None:
    documented = tables_of("features")[1]
    assert [row[0].strip("`") for row in documented] == list(FEATURES)
    assert {len(row) for row in documented} == {4}


def test_every_metric_of_the_gate_stands_in_the_reference() -> None:
    section = PAGE.split("## evaluate")[1]
    assert not [m.name for ms in METRICS.values() for m in ms if f"`{m.name}`" not in section]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text())
    assert not [t for t in targets if not (page.parent / t).exists()]


def blocks_of(page: Path) -> list[str]:
    """The indented blocks of a page, with their continued lines in one."""
    text = re.sub(r"\\\n *", "", page.read_text())
    return re.findall(r"(?<=\n)\n((?: {4}.*\n|\n(?= {4}))+)", text)


def commands_of(page: Path) -> list[list[str]]:
    """The words of every `quatrain` command that begins a line of a page, up to a pipe."""
    text = "".join(blocks_of(page))
    lines = re.findall(r"^ {4,}(?:\.venv/bin/)?(quatrain .*)$", text, flags=re.M)
    return [shlex.split(line.partition(" | ")[0], comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_command_of_a_page_has_a_verb_and_options_that_exist(page: Path) -> None:
    for words in commands_of(page):
        command: Any = cli
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands"), f"{words} is no verb"
        known = {name for parameter in command.params for name in parameter.opts}
        given = {word.partition("=")[0] for word in words if word[:1] == "-" != word}
        assert given <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_module_that_a_page_names_by_its_path_exists(page: Path) -> None:
    paths = re.findall(
        r"`((?:quatrain|pipelines|components|trainer|tests)/[\w./]+)`", page.read_text()
    )
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_every_make_target_that_a_page_or_workflow_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for file in (*PAGES, ROOT / ".ci/run", *ROOT.glob(".github/workflows/*.yml")):
        text = file.read_text()
        named = re.findall(r"(?:`|^ *|run: )make ([a-z-]+)", text, flags=re.M)
        assert set(named) <= targets, file
