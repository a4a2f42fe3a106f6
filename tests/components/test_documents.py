"""YAML is read within bounds: what it would expand to is counted before it is built."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quatrain.components.documents import MAX_BYTES, MAX_DEPTH, DocumentError, parse
from quatrain.components.errors import QuatrainError
from quatrain.components.tiers.prices import load_prices
from quatrain.pipelines.compiled import read_compiled
from quatrain.validation.load import load_spec
from quatrain.vertex.cloud_file import load_cloud

DOORS = [load_spec, load_cloud, read_compiled, load_prices]


def merges(form: str) -> str:
    """Returns ten levels of ten merges each: 10^10 keys to look at in 500 bytes."""
    lines = ["a0: &a0 {k: 1, l: 2, m: 3, n: 4, o: 5}"]
    for i in range(1, 11):
        aliases = ",".join([f"*a{i - 1}"] * 10)
        lines.append(f"a{i}: &a{i} {{{form}: [{aliases}]}}")
    return "\n".join(lines)


def aliases() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    return "\n".join(lines)


HOSTILE = {
    "merges": (merges("<<"), "line 2: << takes over the keys of another mapping, which is not"),
    "tagged merges": (merges("!!merge x"), "line 2: << takes over the keys of another mapping"),
    "one merge": ("a: &a {b: 1}\nc: {<<: *a}", "line 2: << takes over"),
    "aliases": (aliases(), "holds more than 1,000,000 values, each alias counted"),
    "an endless alias": ("a: &a [*a]", "holds more than 1,000,000 values, each alias counted"),
    "a large file": ("a: b\n" * 1_000_000, "is larger than 1,000,000 bytes"),
    "brackets": ("[" * 500_000, "line 1: nests deeper than 100 levels"),
    "braces": ("{a: " * 200_000, "line 1: nests deeper than 100 levels"),
    "dashes": ("- " * 400_000, "line 1: nests deeper than 100 levels"),
    "questions": ("? " * 400_000, "line 1: nests deeper than 100 levels"),
    "a whole nest": ("[" * 400_000 + "]" * 400_000, "line 1: nests deeper than 100 levels"),
    "a number": ("columns:\n  5: float", "line 2: 5: a name is a text, and YAML reads this one as"),
    "a word": (
        "columns:\n  no: float",
        "as bool",
    ),
    "nothing": ("~: float", "line 1: ~: a name is a text, and YAML reads this one as null"),
    "a date": ("2024-05-01: x", 'as timestamp: write "2024-05-01"'),
    "a list": ("[a, b]: x", "line 1: a name must be a text, not a list or a mapping"),
    "a key twice": ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands twice"),
    "a key twice, deep": ("a: [{b: 1, b: 2}]", "line 1: the key 'b' stands twice"),
    "digits": ("a: " + "9" * 5000, "is not YAML: Exceeds the limit"),
    "no such day": ("a: 2024-02-31", "is not YAML: day is out of range for month"),
    "a NUL": ("a: \x00", "is not YAML"),
    "Latin-1": (b"a: 1\nb: \xff", "line 2: byte 0xff is not valid UTF-8; save the file as UTF-8"),
    "half of a letter": (b"a: \xc3", "line 1: byte 0xc3 is not valid UTF-8"),
    "an open quote": (b"a: 1\nb: 'c", "is not YAML: line 2: found end of stream; correct that"),
    "base64": ("a: !!binary '%'", "line 1 has the tag 'tag:yaml.org,2002:binary'"),
    "a set": ("a:\n  !!set {x, y}", "line 2 has the tag 'tag:yaml.org,2002:set'"),
    "an object": ("a: !!python/name:os.system", "is not YAML as it is read here"),
}


@pytest.mark.parametrize("door", DOORS, ids=lambda d: d.__name__)
@pytest.mark.parametrize("name", HOSTILE)
def test_every_door_refuses_it_at_once(
    tmp_path: Path, door: Callable[[Path], Any], name: str
) -> None:
    text, sentence = HOSTILE[name]
    path = tmp_path / "hostile.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    start = time.process_time()
    with pytest.raises(QuatrainError) as refused:
        door(path)
    assert time.process_time() - start < 5
    assert sentence in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")


def test_a_value_of_an_option_is_read_within_the_same_bounds(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("name: m\n")
    for text in ("[" * 100_000, "{5: a}", "{a: 1, a: 2}", "&a [*a]", "9" * 5000):
        with pytest.raises(QuatrainError, match=r"^--set name=.*: the value "):
            load_spec(path, [f"name={text}"])


def test_what_is_within_the_bounds_is_read() -> None:
    assert parse("a: &a [1, 2.5, yes, ~, x]\nb: *a\n'<<': {\"5\": no}") == [
        {"a": [1, 2.5, True, None, "x"], "b": [1, 2.5, True, None, "x"], "<<": {"5": False}}
    ]
    assert parse("") == [] and parse("a\n---\nb") == ["a", "b"]
    deep = parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH):
        (deep,) = deep if deep else [None]
    assert parse(b"\xef\xbb\xbfa: 1") == [{"a": 1}]
    columns = "".join(f"c{i:05}: {{type: float}}\n" for i in range(MAX_BYTES // 30))
    assert len(parse(columns)[0]) == MAX_BYTES // 30
    with pytest.raises(DocumentError, match="nests deeper"):
        parse("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
