"""deploy, traffic and undeploy on the emulated Vertex AI, with a champion in a bucket."""

import hashlib
import json

import pytest
import yaml

from quatrain.cli import main
from quatrain.components.storage import read_file
from tests.emulators import storage as storage_emulator
from tests.emulators import vertex as emulator
from tests.emulators.serving import Serving
from tests.quatrain.vertex.conftest import CLOUD

ROOT = "gs://bucket/quatrain"
SIZES = [1.0, 2.5]


class Container:
    def health(self):
        return 200

    def predict(self, body):
        instances = json.loads(body)["instances"]
        return 200, {"predictions": [{"prediction": 2 * i["x"]} for i in instances]}


def put(storage, uri, document):
    data = json.dumps(document).encode()
    storage.put(uri, data)
    return hashlib.sha256(data).hexdigest()


def put_champion(storage, run):
    """Writes the model, the measurements and the records of a run that was promoted."""
    artifacts = {k: f"{ROOT}/toy/{run}/{k}" for k in ("model", "evaluation", "examples")}
    folder = f"{artifacts['model']}/model"
    put(
        storage,
        f"{folder}/golden.json",
        {"inputs": {"x": SIZES}, "output": "prediction", "answers": [2 * s for s in SIZES]},
    )
    put(storage, f"{folder}/transform.json", {"text": {"columns": {}}})
    digest = put(
        storage,
        f"{folder}/metadata.json",
        {
            "inputs": [{"name": "x", "type": "float", "argument": "x"}],
            "classes": [],
            "files": {"golden.json": "0"},
            "run": run,
        },
    )
    metrics = {"made_by": {"metadata": digest}, "metrics": {"rmse": {"value": 0.5}}}
    put(storage, f"{artifacts['evaluation']}/metrics.json", metrics)
    base = {"version": 1, "run": run, "made": "2026-12-01T00:00:00Z"}
    measured = {k: {} for k in ("spec", "rows", "data", "code", "metrics")}
    place = f"{ROOT}/toy/statistics"
    put(storage, f"{place}/runs/{run}.json", {**base, **measured, "artifacts": artifacts})
    put(storage, f"{place}/champion.json", {**base, "split": {}, "statistics": {}})


@pytest.fixture
def serving(monkeypatch, tmp_path, spec):
    serving = Serving(lambda model: Container())
    monkeypatch.chdir(tmp_path)
    with (
        emulator.serving(serving, serving.monitoring) as url,
        storage_emulator.serving() as storage,
    ):
        for variable in ("STORAGE_EMULATOR_HOST", "CLOUD_STORAGE_EMULATOR_ENDPOINT"):
            monkeypatch.setenv(variable, storage.url)
        key = storage_emulator.write_credentials(tmp_path / "key.json", storage.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        storage.add_bucket("bucket")
        serving.storage = storage
        (tmp_path / "cloud.yaml").write_text(yaml.safe_dump({**CLOUD, "api_endpoint": url}))
        document = {**spec.as_document(), "name": "toy", "release": {"endpoint": "toy"}}
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump(document))
        yield serving


@pytest.fixture
def quatrain(serving, capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


def test_champion_is_planned_deployed_shown_and_undeployed(serving, quatrain):
    put_champion(serving.storage, "r1")

    code, out, _ = quatrain("deploy", "toy.yaml", "--plan")
    assert code == 0 and "would register run r1 as a version of model toy" in out
    assert "an hour of a deployed version costs about 0.1" in out
    assert not serving.versions and not serving.endpoints

    code, out, err = quatrain("deploy", "toy.yaml")
    assert code == 0, err
    assert out.endswith("version 1 of model toy has all the traffic of endpoint toy\n")

    code, out, _ = quatrain("traffic", "toy.yaml")
    assert code == 0 and out.startswith("100 %  ") and "version 1  quatrain toy r1" in out

    code, out, _ = quatrain("deploy", "toy.yaml", "--plan")
    assert (code, out) == (0, "run r1 of toy is released\n")

    code, out, _ = quatrain("undeploy", "toy.yaml")
    assert (code, out) == (0, "endpoint toy has nothing to undeploy\n")
    code, out, _ = quatrain("undeploy", "toy.yaml", "--all", "--yes")
    assert code == 0 and out.startswith("undeployed quatrain toy r1")
    (endpoint,) = serving.endpoints.values()
    assert not endpoint.deployed_models and not endpoint.traffic_split


def test_schemata_of_instances_are_written_beside_the_model(serving, quatrain):
    put_champion(serving.storage, "r1")

    quatrain("deploy", "toy.yaml", "--set", "release.endpoint=null")

    (versions,) = serving.versions.values()
    uri = versions["1"].predict_schemata.instance_schema_uri
    schema = yaml.safe_load(read_file(uri))
    assert schema["properties"] == {"x": {"type": "number", "nullable": True}}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["deploy", "toy.yaml"], "has no champion, since no run passed its gate"),
        (["deploy", "toy.yaml", "--run", "r9"], "has no record of a run 'r9'"),
        (["traffic", "toy.yaml"], "endpoint toy does not exist"),
        (["traffic", "toy.yaml", "--set", "release=null"], "names no release.endpoint"),
        (["deploy", "toy.yaml", "--set", "release.traffic=[50,10]"], "must rise"),
        (["deploy", "toy.yaml", "--set", "release.endpoint=A_b"], "is no id of an endpoint"),
    ],
)
def test_what_cannot_be_done_ends_in_a_sentence(quatrain, arguments, sentence):
    code, _, err = quatrain(*arguments)
    assert code == 1 and sentence in err


def test_going_back_without_a_version_before_is_refused(serving, quatrain):
    put_champion(serving.storage, "r1")
    quatrain("deploy", "toy.yaml")

    code, _, err = quatrain("traffic", "toy.yaml", "--back")

    assert code == 1 and "has no version before that is still deployed" in err
