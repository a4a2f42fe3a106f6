"""A proof is taken from its record while all that it depends on is the same."""

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from quatrain.components import storage
from quatrain.components.artifacts import sha256_of, write_json
from quatrain.components.errors import PackageError
from quatrain.components.installation import installed_distributions
from quatrain.components.package import proof_record, publishing
from quatrain.components.package.proof import WAYS_OUT
from quatrain.components.package.proof_record import (
    FOLDER,
    Proof,
    proof_key,
    read_proof,
    shape_of_examples,
    write_proof,
)
from quatrain.components.package.sdist import build_sdist
from quatrain.trainer.features import FEATURES
from tests.components.handmade import make_transform

CHECKS = [*WAYS_OUT]
PROOF = Proof("run-1", "2026-12-01", [{"name": n, "passed": True, "detail": n} for n in CHECKS])
KEY = "k" * 64
BROKEN_TASK = """
import sys
if "--help" in sys.argv:
    sys.exit("no help")
"""


def write_transform(folder, transform):
    """Writes what the key reads of examples: the manifest and the fitted transform."""
    folder.mkdir(exist_ok=True)
    (folder / "transform.json").write_text(transform.to_json())
    files = {"transform.json": sha256_of(folder / "transform.json")}
    write_json(folder / "manifest.json", {"files": files})
    return str(folder)


@pytest.fixture
def examples(tmp_path):
    return write_transform(tmp_path / "examples", make_transform())


def shape_with(tmp_path, **changes):
    return shape_of_examples(
        write_transform(tmp_path / "other", replace(make_transform(), **changes))
    )


def with_tokens(*tokens):
    delay, carrier = make_transform().features
    return (delay, replace(carrier, tokens=tokens))


@pytest.mark.parametrize("root", ["{tmp}", "gs://b"])
def test_a_recorded_proof_is_read_again_here_and_in_a_bucket(root, served, tmp_path):
    root = root.format(tmp=tmp_path)
    assert read_proof(root, KEY, CHECKS) is None
    write_proof(root, KEY, PROOF)
    assert read_proof(root, KEY, CHECKS) == PROOF
    assert read_proof(root, "j" * 64, CHECKS) is None


def test_the_shape_stays_when_the_rows_are_new(examples, tmp_path):
    delay, carrier = make_transform().features
    fitted = (replace(delay, mean=3.0, fill=1.0), replace(carrier, tokens=("B6", "DL")))
    assert shape_with(tmp_path, features=fitted) == shape_of_examples(examples)


@pytest.mark.parametrize(
    "changes",
    [
        {"weight": "w"},
        {"task": "regression"},
        {"features": make_transform().features[:1]},
        {"features": with_tokens(*map(str, range(100)))},
        {"inputs": (replace(make_transform().inputs[0], type="int"), make_transform().inputs[1])},
        {"label": replace(make_transform().label, classes=("no", "yes"))},
        {
            "features": (
                FEATURES["robust"](name="delay", columns=("delay",), types=("float",)),
                make_transform().features[1],
            )
        },
    ],
    ids=lambda changes: "".join(changes),
)
def test_the_shape_changes_with_what_a_trainer_sees(changes, examples, tmp_path):
    assert shape_with(tmp_path, **changes) != shape_of_examples(examples)


def test_the_key_changes_with_the_package_the_model_and_what_is_installed(
    examples, tmp_path, monkeypatch
):
    key = proof_key("a" * 64, examples, "auto")
    assert proof_key("a" * 64, examples, "auto") == key
    others = {proof_key("b" * 64, examples, "auto"), proof_key("a" * 64, examples, "linear")}
    (tmp_path / "site" / "xgboost-3.1.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "site")
    others.add(proof_key("a" * 64, examples, "auto"))
    (tmp_path / "site" / "xgboost-3.1.dist-info").rename(tmp_path / "site/xgboost-3.2.dist-info")
    others.add(proof_key("a" * 64, examples, "auto"))
    assert len(others - {key}) == 4


def test_every_library_of_the_proof_is_among_the_distributions():
    names = {name.rpartition("-")[0] for name in installed_distributions(sys.path)}
    assert {"tensorflow", "keras", "numpy", "pyarrow", "lightgbm", "setuptools", "pip"} <= names


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("run-1", "run-2"),
        lambda text: text.replace('"passed": true', '"passed": false'),
        lambda text: text.replace(KEY, "j" * 64),
        lambda _: "[]",
        lambda _: "\xff",
        lambda _: json.dumps({"sha256": "", "key": KEY}),
    ],
)
def test_a_damaged_record_is_not_taken(damage, tmp_path, capsys):
    write_proof(str(tmp_path), KEY, PROOF)
    path = tmp_path / FOLDER / f"{KEY}.json"
    path.write_text(damage(path.read_text()), encoding="latin-1")
    assert read_proof(str(tmp_path), KEY, CHECKS) is None
    assert "is not taken" in capsys.readouterr().out


def test_a_record_of_other_checks_is_not_taken(tmp_path):
    write_proof(str(tmp_path), KEY, replace(PROOF, checks=PROOF.checks[:-1]))
    assert read_proof(str(tmp_path), KEY, CHECKS) is None


def test_a_root_that_cannot_be_written_to_stops_no_run(tmp_path, capsys):
    (tmp_path / ".cache").write_text("a file in the way")
    write_proof(str(tmp_path), KEY, PROOF)
    assert "the proof is not recorded" in capsys.readouterr().out
    assert read_proof(str(tmp_path), KEY, CHECKS) is None


def test_the_records_that_were_written_first_make_room(tmp_path, monkeypatch):
    write_proof(str(tmp_path), KEY, PROOF)
    size = (tmp_path / FOLDER / f"{KEY}.json").stat().st_size
    monkeypatch.setattr(proof_record, "MAX_BYTES", 2 * size)
    for letter in "lm":
        write_proof(str(tmp_path), letter * 64, PROOF)
    assert storage.list_names(f"{tmp_path}/{FOLDER}") == {f"{'l' * 64}.json", f"{'m' * 64}.json"}


def test_runs_at_once_write_and_read_whole_records(tmp_path, capsys):
    def use(number):
        write_proof(str(tmp_path), KEY, replace(PROOF, run=f"run-{number}"))
        return read_proof(str(tmp_path), KEY, CHECKS)

    with ThreadPoolExecutor(8) as pool:
        proofs = list(pool.map(use, range(100)))
    assert None not in proofs
    assert not capsys.readouterr().out


@pytest.fixture
def broken_trainer(tmp_path):
    """A trainer that fails its check `help`."""
    folder = tmp_path / "mine"
    folder.mkdir()
    text = (publishing.default_trainer_dir() / "pyproject.toml").read_text()
    text = re.sub(r"readme = .*\n|packages = .*\n", "", text) + 'packages = ["trainer"]\n'
    (folder / "pyproject.toml").write_text(text)
    for name, content in {"__init__.py": "", "task.py": BROKEN_TASK, "model.py": ""}.items():
        (folder / name).write_text(content)
    return folder


def test_a_proof_is_taken_unless_the_run_wants_it_done_again(examples, broken_trainer, tmp_path):
    root, out = str(tmp_path / "runs"), tmp_path / "out"
    built = build_sdist(broken_trainer, tmp_path)
    write_proof(root, proof_key(built.sha256, examples, "auto"), PROOF)
    publishing.publish(examples, out, str(broken_trainer), root=root, run="run-2")
    record = json.loads((out / "package.json").read_text())
    assert record["cached"] == {"proof": "run-1"}
    assert record["proof"] == {"run": "run-1", "created": "2026-12-01"}
    assert record["checks"] == PROOF.checks
    assert sha256_of(out / record["file"]) == record["sha256"] == built.sha256
    with pytest.raises(PackageError, match="failed its check 'help'"):
        publishing.publish(examples, out, str(broken_trainer), root=root, cached=False)
    (broken_trainer / "model.py").write_text("x = 1\n")
    with pytest.raises(PackageError, match="failed its check 'help'"):
        publishing.publish(examples, out, str(broken_trainer), root=root)
    assert len(storage.list_names(f"{root}/{FOLDER}")) == 1  # a proof that failed leaves none
