"""The spec: what it refuses, and how it says so."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from quatrain.components.errors import SpecError
from quatrain.face.specs import read_spec
from quatrain.trainer.features import Input
from quatrain.validation.load import load_spec, read_document, validate

GOOD: dict[str, Any] = {
    "name": "toys",
    "source": {"uri": "toys.csv"},
    "columns": {"id": "string", "size": "float", "colour": "string", "sold": "timestamp"},
    "clean": {"derive": {"big": "size > 3"}},
    "label": "big",
    "task": "binary",
    "split": {"by": "hash", "keys": "id"},
    "features": [
        {"name": "colour", "from": "colour", "transform": "vocabulary", "top_k": 5},
        {"name": "sold", "from": "sold", "transform": "cyclic", "part": "month"},
    ],
    "train": {"epochs": 3, "hidden_units": [8, 4]},
    "evaluate": {"gate": {"auc": {"min": 0.5}}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    spec: Any = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    at = spec
    for parent in parents:
        at = at[int(parent)] if parent.isdigit() else at[parent]
    at[int(last) if last.isdigit() else last] = value
    return spec


def refusal(value: Any) -> str:
    with pytest.raises(SpecError) as caught:
        validate(value)
    return str(caught.value)


def test_a_run_keeps_the_spec_as_it_was_written(tmp_path: Path) -> None:
    document = validate(GOOD).as_document()
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({**document, "source": {"uri": "toys.csv"}}, sort_keys=False))
    assert load_spec(path).as_document()["clean"] == document["clean"]
    assert document["columns"] == GOOD["columns"]


def test_inputs_are_the_columns_of_the_features_in_the_order_of_the_columns() -> None:
    spec = validate(GOOD)
    assert spec.inputs == (Input("colour", "string"), Input("sold", "timestamp"))


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("sorce", 1, "spec: sorce: unknown key; did you mean 'source'?"),
        ("task", "binry", "spec: task: unknown task 'binry'; did you mean 'binary'?"),
        ("name", "My Toys", "spec: name: must be lower-case letters, digits and hyphens"),
        ("columns.size", "flot", "spec: columns.size: unknown type 'flot'; did you mean 'float'?"),
        ("label", "bg", "spec: label: unknown column 'bg'; did you mean 'big'?"),
        ("split.kys", ["id"], "spec: split.kys: unknown key; did you mean 'keys'?"),
        ("split.keys", ["di"], "spec: split.keys[0]: unknown column 'di'; did you mean 'id'?"),
        ("split.by", "hsh", "spec: split: unknown split 'hsh'; did you mean 'hash'?"),
        ("split.train", 0.9, "spec: split: train + validation + test is 1.1; it must be 1"),
        ("features", [], "spec: features: must hold at least one"),
        ("features.0.transform", "vocab", "features[0].transform: unknown transform 'vocab'; did"),
        ("features.0.topk", 3, "spec: features[0].topk: unknown key; did you mean 'top_k'?"),
        ("features.0.tokens", ["a"], "features[0].tokens: unknown key"),
        ("features.0.top_k", "x", "features[0].top_k: must be a whole number, not 'x'"),
        ("features.0.top_k", 0, "spec: features[0]: top_k is 0; it must be at least 1"),
        ("features.0.from", ["id", "size"], "features[0].from: vocabulary takes one column, not 2"),
        ("features.0.from", "size", "'size' is float; vocabulary takes bool, int, string"),
        ("features.0.from", "big", "'big' is derived by SQL, which the serving signature cannot"),
        ("features.0.from", "colur", "unknown column 'colur'; did you mean 'colour'?"),
        ("features.0.name", "weight", "features[0].name: 'weight' is reserved"),
        ("features.0.name", "raw_x", "features[0].name: 'raw_x' is reserved"),
        ("features.0.name", "a-b", "'a-b' may hold letters, digits and underscores only"),
        ("features.0.name", "sold_sin", "features[0] gives a column 'sold_sin' already"),
        ("features.1.part", None, "a time takes `part`: hour, day_of_week or month"),
        ("train.epoch", 3, "spec: train.epoch: unknown key; did you mean 'epochs'?"),
        ("train.pools", [{"machine": "x"}], "train.pools[0].machine: unknown key; did you mean 'm"),
        ("train.pools", [{"machine_type": "a"}, {}], "spec: train.pools[1].machine_type: missing"),
        ("train.pools", [{"machine_type": ""}], "pools[0].machine_type: must hold text, not ''"),
        ("train.class_weights", "balance", "class_weights is 'balance'; it must be balanced, or"),
        ("train.class_weights", {"true": 0}, "class_weights is {'true': 0}; it must be balanced"),
        ("train.class_weights", {"true": True}, "a number above 0 for each class, as {yes: 5}"),
        ("train.class_weights", {}, "class_weights is {}; it must be balanced, or a number"),
        ("train.tune", {"space": {"class_weights": ["balanced"]}}, "no setting to tune"),
        ("train.replicas", 0, "train.replicas: must be greater than or equal to 1, not 0"),
        ("train.replicas", 1.5, "train.replicas: must be a whole number, not 1.5"),
        ("train.replicas", True, "train.replicas: must be a whole number, not 'true'"),
        ("train.epochs", True, "train.epochs: must be a whole number, not 'true'"),
        ("train.learning_rate", False, "train.learning_rate: must be a number, not 'false'"),
        ("clean.max_rejected", True, "clean.max_rejected: must be a number, not 'true'"),
        ("drift", {"psi": {"warn": True}}, "drift.psi.warn: must be a number, not 'true'"),
        ("features.0.oov_buckets", True, "features[0].oov_buckets: must be a whole number"),
        ("label", None, "spec: label: "),
        ("evaluate.gate", {"acu": {"min": 1}}, "evaluate.gate.acu: no metric of a binary model"),
        ("evaluate.gate.auc", {}, "spec: evaluate.gate.auc: give min, max or both"),
        (
            "evaluate.gate.auc",
            {"min": 0.9, "max": 0.8},
            "auc: min 0.9 is above max 0.8, so no",
        ),
        ("evaluate.gate.auc.min", float("nan"), "gate.auc.min: must be a finite number, not nan"),
        ("evaluate.skew_tolerance", float("inf"), "skew_tolerance: must be a finite number"),
        ("evaluate.slices", ["id", "id"], "spec: evaluate.slices[1]: 'id' stands twice"),
        ("source.delimiter", "é", "source.delimiter: must be one ASCII character, and neither"),
        ("source.delimiter", "\0", "source.delimiter: must be one ASCII character, and neither"),
        ("source.delimiter", '"', "source.delimiter: must be one ASCII character, and neither"),
        ("source.delimiter", "\n", "source.delimiter: must be one ASCII character, and neither"),
        ("task", ["binary"], "spec: task: unknown task ['binary']; "),
        ("features.0.transform", ["log"], "features[0].transform: unknown transform ['log']"),
        ("features.0.from", None, "features[0].from: name the column, or list the columns of"),
        ("features.0.oov_buckets", 10**12, "must be between 1 and 16777216"),
        ("features.1.period", float("inf"), "features[1].period: must be a finite number"),
        ("split", "id", "spec: split: must be a mapping, not 'id'"),
        ("clean.derive", {"size": "1"}, "clean.derive.size: a column has this name already"),
        ("clean.reject", {"short_row": "size > 1"}, "reject.short_row: rows are rejected for this"),
        ("clean.reject", {"a b": "1"}, "clean.reject.a b: a name holds letters, digits"),
        (
            "release",
            {"log": "gs://b/log.jsonl"},
            "release.log.uri: 'gs://b/log.jsonl' is no request",
        ),
        (
            "release",
            {"log": ""},
            "spec: release.log.uri: '' is no request log: name a table, as bq",
        ),
        (
            "release",
            {"endpoint": "e", "log": "bq://p.d"},
            "release.log.uri: 'bq://p.d' is no table",
        ),
        (
            "release",
            {"log": "bq://p.d.t"},
            "release: log bq://p.d.t is written by an endpoint; name",
        ),
        (
            "release",
            {"log": {"uri": "log.jsonl", "sampling": 0}},
            "release.log.sampling: must be greater than 0, not 0",
        ),
        (
            "release",
            {"log": {"uri": "log.jsonl", "rate": 0.5}},
            "release.log.rate: unknown key; choose one of uri, sampling",
        ),
    ],
)
def test_a_wrong_spec_is_refused_with_its_place(path: str, value: Any, sentence: str) -> None:
    assert sentence in refusal(changed(path, value))


def test_a_request_log_of_this_machine_is_relative_to_the_spec(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({**GOOD, "release": {"log": "served/requests.jsonl"}}))
    log = load_spec(path).release.log
    assert log.uri == str(tmp_path / "served/requests.jsonl")
    table = {**GOOD, "release": {"endpoint": "e", "log": {"uri": "bq://p.d.t", "sampling": 0.1}}}
    path.write_text(yaml.safe_dump(table))
    assert load_spec(path).release.log.uri == "bq://p.d.t"


def test_class_weights_name_classes() -> None:
    of_column = {**GOOD, "columns": {**GOOD["columns"], "sale": "bool"}, "label": "sale"}
    spec = {**of_column, "train": {"class_weights": {"yes": 5, "true": 2}}}
    sentence = "spec: train.class_weights.yes: no class of a bool label; choose one of"
    assert sentence in refusal(spec)
    regression = {**GOOD, "label": "size", "task": "regression", "evaluate": {}}
    spec = {**regression, "train": {"class_weights": "balanced"}}
    assert "spec: train.class_weights: a regression has no classes; leave it out" in refusal(spec)


SIZED = {"name": "size", "from": "size", "transform": "log", "monotone": "increasing"}


def test_an_order_that_a_model_keeps_is_taken_and_written() -> None:
    spec = validate({**GOOD, "features": [SIZED, *GOOD["features"]]})
    assert spec.as_document()["features"][0]["monotone"] == "increasing"


@pytest.mark.parametrize(
    ("entry", "changes", "sentence"),
    [
        (
            {"name": "colour", "from": "colour", "transform": "vocabulary"},
            {},
            "features[0].monotone: vocabulary does not keep the order of one number; use standard",
        ),
        (
            {"name": "size", "from": "size", "transform": "bucketize", "buckets": 3},
            {},
            "features[0].monotone: bucketize does not keep the order of one number; use",
        ),
        ({"monotone": "rising"}, {}, "features[0].monotone: unknown monotone 'rising'; did you"),
        ({}, {"task": "multiclass"}, "features[0].monotone: a multiclass model has no answer that"),
        (
            {},
            {"train": {"model": "tabm"}},
            "train.model: tabm cannot keep features[0].monotone; choose auto or trees, or remove",
        ),
        (
            {},
            {"train": {"tune": {"space": {"model": ["trees", "blend"]}}}},
            "train.tune.space.model: blend cannot keep features[0].monotone; choose auto or trees",
        ),
    ],
)
def test_an_order_that_no_model_keeps_is_refused(
    entry: dict[str, Any], changes: dict[str, Any], sentence: str
) -> None:
    spec = {**GOOD, "evaluate": {}, **changes, "features": [{**SIZED, **entry}]}
    assert sentence in refusal(spec)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (
            {"transform": "robust"},
            "features[0].monotone: features[1] takes 'size' too, and could break it; remove that "
            "feature, or give it the same monotone",
        ),
        (
            {"transform": "bucketize", "buckets": 4},
            "features[1] takes 'size' too, and could break it; remove that feature",
        ),
        ({"transform": "robust", "monotone": "increasing"}, ""),
    ],
)
def test_no_other_feature_of_the_column_may_break_the_order(
    other: dict[str, Any], sentence: str
) -> None:
    spec = {**GOOD, "features": [SIZED, {"name": "again", "from": "size", **other}]}
    if sentence:
        assert sentence in refusal(spec)
    else:
        validate(spec)


def test_class_weights_are_set_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "toys.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    spec = read_spec(path, ["train.class_weights.true=5", "train.class_weights.false=0.5"]).spec
    assert spec.train.settings.class_weights == {"true": 5, "false": 0.5}
    assert spec.as_document()["train"]["class_weights"] == {"true": 5, "false": 0.5}
    plain = read_spec(path).spec
    assert "class_weights" not in plain.as_document()["train"]


def test_sql_and_tier_are_reported_along_with_other_problems() -> None:
    wrong = changed("features.0.transform", None)
    wrong["evaluate"]["gate"] = {"auc": 0.9}
    wrong["clean"]["reject"] = {"odd": "sze > 3"}
    wrong["train"]["tier"] = "BASIK"
    wrong["split"]["keys"] = ["big"]
    lines = refusal(wrong).splitlines()
    assert "spec: evaluate.gate.auc: must say min or max, as {min: 0.9}, not 0.9" in lines
    assert "spec: split.keys[0]: 'big' is the label; each class would fall into one split" in lines
    assert any("clean.reject.odd" in line and "sze" in line for line in lines)
    assert "spec: train.tier: unknown tier 'BASIK'; did you mean 'BASIC'?" in lines
    assert any(
        "features[0].transform: missing; choose one of standardize" in line for line in lines
    )


def test_the_label_itself_cannot_be_a_feature() -> None:
    wrong = changed("label", "colour")
    assert "'colour' is the label; a feature made of it would give the answer" in refusal(wrong)


def test_every_problem_is_reported_at_once() -> None:
    wrong = changed("features.0.transform", "vocab")
    wrong["label"] = "bg"
    wrong["train"]["epoch"] = 3
    assert len(refusal(wrong).splitlines()) == 3


@pytest.mark.parametrize("value", [{}, {"features": 3, "columns": [], "train": 1, "split": None}])
def test_a_spec_of_another_shape_is_refused_without_a_crash(value: Any) -> None:
    assert "name: missing" in refusal(value)


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "toys.yaml"
    path.write_text(yaml.safe_dump(GOOD) + "extra: {a: 1, a: 2}\n")
    with pytest.raises(SpecError, match=r"toys.yaml: line \d+: the key 'a' stands twice; remove"):
        load_spec(path)


def test_a_split_that_names_no_kind_is_by_hash() -> None:
    assert validate(changed("split", {"keys": ["id"]})) == validate(GOOD)


def test_times_of_a_split_may_stand_without_quotes(tmp_path: Path) -> None:
    path = tmp_path / "toys.yaml"
    times = "by: time, column: sold, validation_from: 2013-10-01, test_from: 2013-11-01 12:00:00"
    path.write_text(
        yaml.safe_dump({**GOOD, "split": None}).replace("split: null", f"split: {{{times}}}")
    )
    split = load_spec(path).split
    assert (split.validation_from, split.test_from) == ("2013-10-01", "2013-11-01T12:00:00")  # type: ignore[union-attr]


def test_a_file_names_itself_in_its_errors_and_sources_are_relative_to_it(tmp_path: Path) -> None:
    path = tmp_path / "toys.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    assert load_spec(path).source.uri == (str(tmp_path / "toys.csv"),)
    path.write_text(yaml.safe_dump(changed("task", "x")))
    with pytest.raises(SpecError, match=r"^toys\.yaml: task: unknown task 'x'"):
        load_spec(path)


@pytest.mark.parametrize("place", ["features.0.name", "features.sold_cos.name"])
def test_an_override_reaches_a_feature_by_its_number_or_name(tmp_path: Path, place: str) -> None:
    path = tmp_path / "toys.yaml"
    first = {"name": "sold_cos", "from": "size", "transform": "log"}
    path.write_text(yaml.safe_dump(changed("features", [first])))
    spec = load_spec(path, [f"{place}=other", "features.other.transform=standardize"])
    assert [(f.name, f.transform) for f in spec.features] == [("other", "standardize")]
    with pytest.raises(SpecError, match="the list has no entry 'othr'; choose one of sold_cos"):
        load_spec(path, ["features.othr.name=x"])


def test_a_problem_with_the_name_of_a_feature_is_reported_once() -> None:
    twins = [{"name": "f", "from": "size", "transform": "log"}] * 2
    assert refusal(changed("features", twins)).count("gives a column") == 1


def test_a_split_by_no_column_is_not_taken_for_one_by_the_label() -> None:
    document = changed("split", {"by": "column"})
    del document["label"]
    assert "None" not in refusal(document)


def test_an_override_changes_one_setting(tmp_path: Path) -> None:
    path = tmp_path / "toys.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    spec = load_spec(path, ["name=other", "train.epochs=7", "evaluate.slices=[colour]"])
    assert spec.name == "other"
    assert spec.train.settings.epochs == 7
    assert spec.evaluate.slices == ("colour",)


@pytest.mark.parametrize("override", ["train.epochs", "=3", "name.x=1", "train.epochs=["])
def test_a_malformed_override_is_refused(tmp_path: Path, override: str) -> None:
    path = tmp_path / "toys.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    with pytest.raises(SpecError, match="--set"):
        load_spec(path, [override])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("- a\n", "is not a spec; write one with `quatrain init"),
        ("a: [", "is not YAML"),
        ("a: !!python/object/apply:os.system [ls]", "is not YAML"),
    ],
)
def test_a_file_that_is_no_spec_is_refused(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "toys.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=word):
        load_spec(path)


def test_a_missing_spec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        load_spec(tmp_path / "none.yaml")


def test_a_fold_may_be_a_number_and_a_wrong_one_is_a_sentence() -> None:
    fold = {"by": "fold", "column": "id", "validation": 3, "test": 4}
    split = validate(changed("split", fold)).split
    assert (split.validation, split.test) == ("3", "4")  # type: ignore[union-attr]
    assert "split.tst: unknown key" in refusal(changed("split", {**fold, "tst": 1}))
    stratified = {"keys": ["id"], "stratify": "bg"}
    assert "split.stratify: unknown column 'bg'; did you mean" in refusal(
        changed("split", stratified)
    )
    assert validate(changed("split.stratify", "big")).split.stratify == "big"


def typo(folder: Path, header: str, columns: dict[str, str], *rules: str) -> str:
    (folder / "toys.csv").write_text(f"{header}\n")
    clean = {**GOOD["clean"], "reject": {f"rule_{i}": sql for i, sql in enumerate(rules)}}
    document = {**GOOD, "columns": columns, "clean": clean}
    (folder / "toys.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(SpecError) as caught:
        read_spec(folder / "toys.yaml")
    return str(caught.value)


def test_a_declared_column_is_the_typo_where_the_source_has_what_a_feature_names(
    tmp_path: Path,
) -> None:
    columns = {**GOOD["columns"], "color": "string"}
    del columns["colour"]
    problems = typo(tmp_path, "id,size,colour,sold", columns)
    assert problems == (
        "toys.yaml: columns.color: the source has no such column; write 'colour', which it has and "
        "features[0].from names"
    )
    # A source that has what is declared, or neither, or cannot be read: the feature is the typo.
    for header in ("id,size,color,sold", "id,size,sold", ""):
        problems = typo(tmp_path, header, columns)
        assert "features[0].from: unknown column 'colour'; did you mean 'color'?" in problems
    # So it is where the declared column is used itself, here by SQL.
    problems = typo(tmp_path, "id,size,colour,sold", columns, "color = 'red'")
    assert "features[0].from: unknown column 'colour'; did you mean 'color'?" in problems


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("rows.csv", "{0}/a/b/rows.csv"),
        ("./rows.csv", "{0}/a/b/rows.csv"),
        ("../rows.csv", "{0}/a/rows.csv"),
        ("../../[1]*/rows.csv", "{0}/[1]*/rows.csv"),
        ("./../b/rows.csv", "{0}/a/b/rows.csv"),
        ("link/../rows.csv", "{0}/a/b/link/../rows.csv"),  # the parent of what it links to
        ("/x/rows.csv", "/x/rows.csv"),
        ("gs://b/../rows.csv", "gs://b/../rows.csv"),
    ],
)
def test_a_path_that_leads_up_is_named_as_it_is_read(
    tmp_path: Path, written: str, read: str
) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    document = {"source": {"uri": written}, "train": {"trainer": written}}
    (tmp_path / "a/b/spec.yaml").write_text(yaml.safe_dump(document))
    resolved = read_document(tmp_path / "a/b/spec.yaml")
    absolute = read.format(tmp_path.resolve())
    assert resolved["source"]["uri"] == [absolute]
    assert resolved["train"]["trainer"] == absolute
