"""A template goes to the registry under its digest and comes back as the same bytes."""

import dataclasses
import socket

import pytest
from kfp.registry import ApiAuth, RegistryClient

from quatrain.pipelines.compiled import read_compiled
from quatrain.vertex.cloud_file import Cloud, CloudError
from quatrain.vertex.registry import Registry
from tests.emulators import registry as emulator

CLOUD = {
    "project": "my-project",
    "location": "europe-west1",
    "root": "gs://b/r",
    "image": "host/p/quatrain@sha256:" + "0a" * 32,
    "service_account": "t@my-project.iam.gserviceaccount.com",
    "api_endpoint": "http://127.0.0.1:1",
}


@pytest.fixture
def repository():
    return emulator.Registry()


@pytest.fixture
def registry(repository):
    with emulator.serving(repository) as url:
        yield Registry(Cloud(**CLOUD, registry=url))


@pytest.fixture
def compiled(toy_path):
    return read_compiled(toy_path)


def test_the_digest_of_a_template_is_that_of_the_file(registry, repository, compiled, tmp_path):
    template = registry.upload(compiled, ["v1", "latest"])
    assert (template.package, template.version) == ("toy", f"sha256:{compiled.sha256}")
    assert template.uri.endswith(f"/my-project/templates/toy/sha256:{compiled.sha256}")
    assert repository.tags == dict.fromkeys([("toy", "v1"), ("toy", "latest")], template.version)
    by_digest = registry.find(template.version, "toy")
    assert by_digest == template
    path = registry.download(by_digest, tmp_path / "training.yaml")
    assert path.read_bytes() == compiled.path.read_bytes()


def test_kfp_s_own_client_gets_what_ours_sent_and_sends_what_ours_gets(
    registry, repository, compiled, tmp_path
):
    template = registry.upload(compiled)
    with emulator.serving(repository) as url:
        kfp = RegistryClient(url, auth=ApiAuth("token"))
        path = kfp.download_pipeline("toy", version=template.version, file_name=tmp_path / "a.yaml")
        assert path.read_bytes() == compiled.path.read_bytes()
        assert kfp.upload_pipeline(str(compiled.path), tags=["t"]) == ("toy", template.version)


def test_a_tag_is_no_digest(registry):
    with pytest.raises(CloudError, match="as a tag can move between two runs"):
        registry.find("latest", "toy")


def test_a_tag_that_the_registry_would_refuse_is_refused_here(registry, repository, compiled):
    with pytest.raises(CloudError, match="--tag 'a b'"):
        registry.upload(compiled, ["a b"])
    assert not repository.files


def test_altered_bytes_are_refused(registry, repository, compiled, tmp_path):
    template = registry.upload(compiled)
    repository.files["toy", template.version] += b"\n"
    with pytest.raises(CloudError, match="the registry altered them"):
        registry.download(template, tmp_path / "training.yaml")
    assert not (tmp_path / "training.yaml").exists()
    absent = dataclasses.replace(template, uri=template.uri[:-64] + "0" * 64)
    with pytest.raises(CloudError, match="cannot fetch template sha256"):
        registry.download(absent, tmp_path / "training.yaml")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (403, "roles/artifactregistry.writer"),
        (401, "gcloud auth application-default login"),
        (404, "is it in project my-project"),
        (429, "a quota of project my-project is used up"),
        (503, "the service did not answer; try again in a while"),
    ],
)
def test_a_refusal_comes_with_advice(registry, repository, compiled, code, advice):
    repository.fault = code
    with pytest.raises(CloudError, match="cannot upload the template") as raised:
        registry.upload(compiled)
    assert advice in str(raised.value)


def test_a_registry_that_does_not_answer_is_a_sentence(compiled):
    registry = Registry(Cloud(**CLOUD, registry="http://127.0.0.1:9/p/r"))
    with pytest.raises(CloudError, match="the service did not answer; try again in a while"):
        registry.upload(compiled)


def test_without_a_registry_the_error_names_the_command_that_creates_one():
    with pytest.raises(CloudError, match="--repository-format=kfp --location=europe-west1"):
        Registry(Cloud(**CLOUD))


@pytest.mark.parametrize(
    "host", ["http://127.0.0.1:{port}/x", "https://europe-west1-kfp.pkg.dev@127.0.0.1:{port}/p/t"]
)
def test_no_host_but_google_s_gets_the_credentials(host):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        url = host.format(port=listener.getsockname()[1])
        with pytest.raises(CloudError, match=r"registry: .* must have the form https://"):
            Registry(Cloud(**{**CLOUD, "api_endpoint": None}, registry=url))
        with pytest.raises(TimeoutError):
            listener.accept()
