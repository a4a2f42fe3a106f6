"""deploy, traffic and undeploy on the emulated Vertex AI, with a champion in a bucket."""

import pytest
import yaml

from quatrain.components.storage import read_file


def test_champion_is_planned_deployed_shown_and_undeployed(google, promoted, quatrain):
    promoted("r1")

    code, out, _ = quatrain("deploy", "toy.yaml", "--plan")
    assert code == 0 and "would register run r1 as a version of model toy" in out
    assert "an hour of a deployed version costs about 0.1" in out
    assert not google.serving.versions and not google.serving.endpoints

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
    (endpoint,) = google.serving.endpoints.values()
    assert not endpoint.deployed_models and not endpoint.traffic_split


def test_schemata_of_instances_are_written_beside_the_model(google, promoted, quatrain):
    promoted("r1")

    quatrain("deploy", "toy.yaml", "--set", "release.endpoint=null")

    (versions,) = google.serving.versions.values()
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


def test_going_back_without_a_version_before_is_refused(google, promoted, quatrain):
    promoted("r1")
    quatrain("deploy", "toy.yaml")

    code, _, err = quatrain("traffic", "toy.yaml", "--back")

    assert code == 1 and "has no version before that is still deployed" in err
