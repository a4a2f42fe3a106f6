"""Google's own clients find the emulated registry and endpoints as strict as the real ones."""

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1

from tests.emulators import vertex as emulator
from tests.emulators.serving import Serving

PARENT = "projects/my-project/locations/europe-west1"
MODEL = {
    "display_name": "sizes",
    "artifact_uri": "gs://b/model",
    "labels": {"run": "r1"},
    "container_spec": {"image_uri": "europe-docker.pkg.dev/p/r/q:1", "health_route": "/health"},
}


class Ready:
    status = 200

    def health(self):
        return self.status

    def predict(self, body):
        return 200, {"predictions": [1.5]}


@pytest.fixture
def serving():
    return Serving(lambda model: Ready())


@pytest.fixture
def clients(serving):
    with emulator.serving(serving, other=serving.monitoring) as url:
        options = {
            "transport": "rest",
            "credentials": AnonymousCredentials(),
            "client_options": {"api_endpoint": url},
        }
        yield (
            aiplatform_v1.ModelServiceClient(**options),
            aiplatform_v1.EndpointServiceClient(**options),
            aiplatform_v1.PredictionServiceClient(**options),
        )


def upload(models, **more):
    request = {"parent": PARENT, "model": {**MODEL, **more.pop("model", {})}, **more}
    return models.upload_model(request=request)


def finish(serving):
    """Lets every long operation end."""
    for operation in serving.operations.values():
        serving._look(operation)


def prepared(serving, clients):
    """Uploads two versions, and makes an endpoint with the first one."""
    models, endpoints, _ = clients
    upload(models, model_id="sizes")
    finish(serving)
    upload(models, parent_model=f"{PARENT}/models/sizes")
    endpoints.create_endpoint(
        parent=PARENT, endpoint={"display_name": "sizes"}, endpoint_id="sizes"
    )
    finish(serving)
    return f"{PARENT}/endpoints/sizes"


def deployed(version, id_=""):
    return {
        "id": id_,
        "model": f"{PARENT}/models/sizes@{version}",
        "dedicated_resources": {
            "machine_spec": {"machine_type": "n1-standard-2"},
            "min_replica_count": 1,
        },
    }


def deploy(serving, endpoints, endpoint, version, id_, split):
    endpoints.deploy_model(
        endpoint=endpoint, deployed_model=deployed(version, id_), traffic_split=split
    )
    finish(serving)


def test_versions_count_up_and_the_first_is_the_default(serving, clients):
    prepared(serving, clients)
    models = clients[0]

    versions = [*models.list_model_versions(name=f"{PARENT}/models/sizes")]

    assert [v.version_id for v in versions] == ["1", "2"]
    assert [list(v.version_aliases) for v in versions] == [["default"], []]
    models.merge_version_aliases(name=f"{PARENT}/models/sizes@2", version_aliases=["default"])
    assert models.get_model(name=f"{PARENT}/models/sizes").version_id == "2"


def test_endpoint_answers_by_the_deployed_model_that_has_traffic(serving, clients):
    endpoint = prepared(serving, clients)
    deploy(serving, clients[1], endpoint, 1, "7", {"0": 100})
    deploy(serving, clients[1], endpoint, 2, "8", {})

    answers = {
        clients[2].predict(endpoint=endpoint, instances=[{}]).deployed_model_id for _ in range(20)
    }

    assert answers == {"7"}


@pytest.mark.parametrize(
    ("split", "match"),
    [
        ({"7": 50}, "must add up to 100"),
        ({"7": 50, "9": 50}, r"The following DeployedModel ID\(s\) .* do not exist"),
    ],
)
def test_split_must_add_up_over_deployed_models(serving, clients, split, match):
    endpoint = prepared(serving, clients)
    deploy(serving, clients[1], endpoint, 1, "7", {"0": 100})

    with pytest.raises(exceptions.BadRequest, match=match):
        clients[1].update_endpoint(
            endpoint={"name": endpoint, "traffic_split": split},
            update_mask={"paths": ["traffic_split"]},
        )


def test_model_with_traffic_is_not_undeployed(serving, clients):
    endpoint = prepared(serving, clients)
    deploy(serving, clients[1], endpoint, 1, "7", {"0": 100})
    deploy(serving, clients[1], endpoint, 2, "8", {})

    with pytest.raises(exceptions.BadRequest, match="has traffic"):
        clients[1].undeploy_model(endpoint=endpoint, deployed_model_id="7")


def test_wrong_etag_is_refused(serving, clients):
    endpoint = prepared(serving, clients)

    with pytest.raises(exceptions.Conflict):
        clients[1].update_endpoint(
            endpoint={"name": endpoint, "labels": {"a": "b"}, "etag": "old"},
            update_mask={"paths": ["labels"]},
        )


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"id": "7"}, exceptions.Conflict),
        ({"id": "a"}, exceptions.BadRequest),
        ({"model": f"{PARENT}/models/sizes@9"}, exceptions.NotFound),
        ({"dedicated_resources": {"min_replica_count": 1}}, exceptions.BadRequest),
    ],
)
def test_wrong_deployment_is_refused(serving, clients, change, error):
    endpoint = prepared(serving, clients)
    deploy(serving, clients[1], endpoint, 1, "7", {"0": 100})

    with pytest.raises(error):
        clients[1].deploy_model(
            endpoint=endpoint, deployed_model={**deployed(2, "8"), **change}, traffic_split={}
        )


def test_container_that_is_not_ready_fails_the_operation(serving, clients, monkeypatch):
    endpoint = prepared(serving, clients)
    monkeypatch.setattr(Ready, "status", 503)

    operation = clients[1].deploy_model(
        endpoint=endpoint, deployed_model=deployed(1, "7"), traffic_split={}
    )
    finish(serving)

    assert (
        "never became ready"
        in serving.operations[operation.operation.name].result["error"]["message"]
    )
    assert not clients[1].get_endpoint(name=endpoint).deployed_models


def test_default_or_deployed_version_is_not_deleted(serving, clients):
    endpoint = prepared(serving, clients)
    deploy(serving, clients[1], endpoint, 2, "7", {"0": 100})

    for version in (1, 2):
        with pytest.raises(exceptions.BadRequest):
            clients[0].delete_model_version(name=f"{PARENT}/models/sizes@{version}")
