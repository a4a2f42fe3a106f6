"""The emulated metadata store accepts and refuses what the real one does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1

from tests.emulators import vertex
from tests.emulators.metadata_store import MAX_PARENTS, MetadataStores

STORE = "projects/my-project/locations/europe-west1/metadataStores/default"
CANONICAL = STORE.replace("my-project", vertex.PROJECT_NUMBER)
CONTEXT = {"schema_title": "system.Experiment", "schema_version": "0.0.1"}
ARTIFACT = {**CONTEXT, "schema_title": "system.Artifact"}
EXECUTION = {**CONTEXT, "schema_title": "system.ContainerExecution"}


@pytest.fixture
def client() -> Iterator[Any]:
    with vertex.serving(MetadataStores()) as url:
        yield aiplatform_v1.MetadataServiceClient(
            transport="rest",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": url},
        )


def create(client: Any, id_: str, **changes: Any) -> Any:
    return client.create_context(parent=STORE, context={**CONTEXT, **changes}, context_id=id_)


@pytest.mark.parametrize("id_", ["abc", "Abcd", "ab_cd", "x" * 129])
def test_an_id_has_4_to_128_characters_of_a_few_kinds(client: Any, id_: str) -> None:
    with pytest.raises(exceptions.BadRequest, match="context_id"):
        create(client, id_)
    assert create(client, "abcd").name == f"{CANONICAL}/contexts/abcd"


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"schema_title": "system.Model"}, exceptions.NotFound, "MetadataSchema"),
        ({"schema_version": "9"}, exceptions.NotFound, "MetadataSchema"),
        ({"display_name": "x" * 129}, exceptions.BadRequest, "128"),
        ({"metadata": {"x": "y" * 200_001}}, exceptions.BadRequest, "200KB"),
    ],
)
def test_a_schema_must_exist_and_metadata_is_bounded(
    client: Any, changes: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        create(client, "abcd", **changes)


def test_a_second_of_the_same_id_exists_already(client: Any) -> None:
    create(client, "abcd", metadata={"a": 1})
    with pytest.raises(exceptions.Conflict):
        create(client, "abcd", metadata={"a": 2})
    assert client.get_context(name=f"{STORE}/contexts/abcd").metadata["a"] == 1
    with pytest.raises(exceptions.NotFound):
        client.get_context(name=f"{STORE}/contexts/other")


def test_children_are_added_once_without_a_circle_and_to_ten_parents_at_most(client: Any) -> None:
    names = [create(client, f"context-{n}").name for n in range(MAX_PARENTS + 2)]
    for _ in range(2):
        for parent in names[1:-1]:
            client.add_context_children(context=parent, child_contexts=[names[0]])
    assert list(client.get_context(name=names[0]).parent_contexts) == names[1:-1]
    with pytest.raises(exceptions.BadRequest, match="10 parents"):
        client.add_context_children(context=names[-1], child_contexts=[names[0]])
    for parent, child in ((names[0], names[1]), (names[0], names[0])):
        with pytest.raises(exceptions.BadRequest, match="cycle"):
            client.add_context_children(context=parent, child_contexts=[child])


def test_an_event_between_two_is_made_once(client: Any) -> None:
    execution = client.create_execution(parent=STORE, execution=EXECUTION, execution_id="run-1")
    artifact = client.create_artifact(parent=STORE, artifact=ARTIFACT, artifact_id="data")
    for type_ in ("INPUT", "OUTPUT"):
        events = [{"artifact": artifact.name, "type_": type_}]
        client.add_execution_events(execution=execution.name, events=events)
    graph = client.query_execution_inputs_and_outputs(execution=execution.name)
    assert [(e.artifact, e.type_.name) for e in graph.events] == [(artifact.name, "INPUT")]
    for events, error in (
        ([{"artifact": artifact.name}], exceptions.BadRequest),
        ([{"artifact": f"{artifact.name}-2", "type_": "INPUT"}], exceptions.NotFound),
    ):
        with pytest.raises(error):
            client.add_execution_events(execution=execution.name, events=events)


def test_lists_are_filtered_by_schema_parent_and_context(client: Any) -> None:
    parent, child = (create(client, id_).name for id_ in ("parent", "child"))
    artifact = client.create_artifact(parent=STORE, artifact=ARTIFACT, artifact_id="data").name
    client.add_context_children(context=parent, child_contexts=[child])
    client.add_context_artifacts_and_executions(context=child, artifacts=[artifact] * 2)

    def names(method: str, text: str) -> list[str]:
        return [n.name for n in getattr(client, method)(request={"parent": STORE, "filter": text})]

    assert names("list_contexts", f'parent_contexts:"{parent}"') == [child]
    assert names("list_contexts", 'schema_title="system.Pipeline"') == []
    assert names("list_artifacts", f'in_context("{child}")') == [artifact]
    assert names("list_artifacts", f'in_context("{parent}")') == []
    with pytest.raises(exceptions.BadRequest, match="not understood"):
        names("list_contexts", "labels.a=b")
