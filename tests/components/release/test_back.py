"""All traffic goes back to an earlier run, by one write or beside what serves, and stays there."""

import dataclasses
from collections.abc import Callable

import pytest

from quatrain.components.errors import ReleaseError
from quatrain.components.release.back import go_back
from quatrain.components.release.by_hand import empty
from quatrain.components.release.state import find_endpoint
from tests.components.release.conftest import Killed, Project
from tests.components.release.test_applier import check_invariants, first, held, kept


def undeployed(project: Project) -> None:
    """Leaves the second version alone: the first is a version, but deployed nowhere."""
    first(project)
    project.release(project.candidate("r2", 3.0))
    assert project.runs == {"r2": 100}


def under_way(project: Project) -> None:
    """Leaves the third version at its first step beside the second, and the first nowhere."""
    undeployed(project)
    project.requests_a_minute = 1
    project.release(project.candidate("r3", 4.0), min_requests=1000)
    assert project.runs == {"r2": 90, "r3": 10}
    project.requests_a_minute = 60


def aliased(project: Project) -> str:
    """Returns the run whose version has the alias of the champion."""
    (versions,) = project.serving.versions.values()
    (champion,) = (v for v in versions.values() if "champion" in v.version_aliases)
    return str(champion.labels["run"])


def serving(project: Project) -> dict[str, int]:
    return {run: share for run, share in project.runs.items() if share}


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize(
    ("prepare", "run", "writes"),
    [
        (kept, "r2", 1),
        (held, "r2", 1),
        (held, "r1", 1),
        (undeployed, "r1", None),
        (under_way, "r1", None),
        (under_way, "r2", 1),
    ],
)
def test_a_rollback_killed_at_any_call_is_finished_by_the_same_call(
    make_project: Callable[[], Project],
    prepare: Callable[[Project], None],
    run: str,
    writes: int | None,
    side: str,
) -> None:
    slopes = {"r1": 2.0, "r2": 3.0}
    counting = make_project()
    prepare(counting)
    start = counting.calls
    counting.serving.calls.clear()
    counting.roll_back(counting.candidate(run, slopes[run]))
    n_calls = counting.calls - start
    assert serving(counting) == {run: 100}
    if writes is not None:
        assert counting.serving.calls.count("update_endpoint") == writes
        assert "deploy_model" not in counting.serving.calls

    for n in range(1, n_calls + 1):
        project = make_project()
        prepare(project)
        check_invariants(project)
        candidate = project.candidate(run, slopes[run])
        project.kill_at = (project.calls + n, side)
        with pytest.raises(Killed):
            project.roll_back(candidate)
        project.kill_at = None
        assert sum(project.runs.values()) == 100, n

        (sentence,) = project.roll_back(candidate)

        assert sentence.startswith(f"run {run} has all traffic of endpoint sizes"), n
        assert serving(project) == {run: 100} and aliased(project) == run, n
        assert "release" not in project.endpoint.labels and not project.wrong, n

    project.serving.calls.clear()
    changes: list[object] = []
    project.serving.on_change = changes.append
    assert project.roll_back(candidate) == [f"run {run} has all traffic of endpoint sizes already"]
    assert not changes and "merge_aliases" not in project.serving.calls


def test_a_rollback_that_fails_leaves_the_traffic_where_it_was(project: Project) -> None:
    undeployed(project)
    project.serving.quota = 0

    with pytest.raises(ReleaseError, match="quotas are exceeded"):
        project.roll_back(project.candidate("r1", 2.0))

    assert project.runs == {"r2": 100} and "release" not in project.endpoint.labels


def test_a_version_that_was_deleted_is_registered_again(project: Project) -> None:
    undeployed(project)
    (versions,) = project.serving.versions.values()
    del versions["1"]

    project.roll_back(project.candidate("r1", 2.0))

    assert project.runs == {"r1": 100} and list(versions) == ["2", "3"]


def test_it_is_deployed_on_the_machines_of_what_serves(project: Project) -> None:
    first(project)
    machines = {"machine_type": "n1-highmem-4", "min_replicas": 2, "max_replicas": 3}
    project.release(project.candidate("r2", 3.0), **machines)

    project.roll_back(project.candidate("r1", 2.0))

    (deployed,) = project.endpoint.deployed_models
    resources = deployed.dedicated_resources
    assert resources.machine_spec.machine_type == "n1-highmem-4"
    assert (resources.min_replica_count, resources.max_replica_count) == (2, 3)
    assert "deploy run r1 at endpoint sizes on 2 x n1-highmem-4" in "".join(project.words)


def interrupted(project: Project, act: Callable[[], object]) -> None:
    """Lets someone act while the first step of a release is watched."""
    done: list[object] = []

    def sleep(seconds: float) -> None:
        if seconds > 30 and not done:
            done.append(act())
        Project.sleep(project, seconds)

    project.sleep = sleep  # type: ignore[method-assign]


def backwards(project: Project) -> str:
    service = project.service()
    endpoint = find_endpoint(service, "sizes")
    assert endpoint is not None
    return go_back(service, endpoint)


def test_going_back_ends_the_release_that_is_running(project: Project) -> None:
    first(project)
    interrupted(project, lambda: backwards(project))

    with pytest.raises(ReleaseError, match="was ended by someone who took the traffic"):
        project.release(project.candidate("r2", 3.0))

    assert project.runs == {"r1": 100}


def test_a_rollback_ends_the_release_that_is_running(project: Project) -> None:
    undeployed(project)
    candidate = project.candidate("r1", 2.0)
    interrupted(project, lambda: project.roll_back(candidate))

    with pytest.raises(ReleaseError, match="was ended by someone who took the traffic"):
        project.release(project.candidate("r3", 4.0))

    assert project.runs == {"r1": 100}


def test_emptying_an_endpoint_ends_the_release_that_is_running(project: Project) -> None:
    first(project)

    def emptied() -> None:
        service = project.service()
        endpoint = find_endpoint(service, "sizes")
        assert endpoint is not None
        list(empty(service, endpoint, True))

    interrupted(project, emptied)
    with pytest.raises(ReleaseError, match="was ended by someone who took the traffic"):
        project.release(project.candidate("r2", 3.0))

    assert project.runs == {}


@pytest.mark.parametrize("prepare", [held, kept])
def test_the_task_of_a_run_does_not_release_what_a_person_went_back_from(
    project: Project, prepare: Callable[[Project], None]
) -> None:
    prepare(project)
    backwards(project)
    task = dataclasses.replace(project.applier(project.candidate("r3", 4.0)), anew=False)

    for _ in range(2):
        with pytest.raises(ReleaseError, match="`quatrain deploy SPEC --run r3` releases it anew"):
            task.apply()
        assert serving(project) == {"r2": 100}

    project.release(project.candidate("r3", 4.0))
    assert serving(project) == {"r3": 100}
    assert "release-left" not in project.endpoint.labels


def test_going_back_from_traffic_that_someone_has_split_takes_the_larger_share_as_former(
    project: Project,
) -> None:
    kept(project)
    by_run = {d.display_name.split()[-1]: d.id for d in project.endpoint.deployed_models}
    project.endpoint.traffic_split = {by_run["r2"]: 30, by_run["r3"]: 70}

    assert backwards(project) == f"{by_run['r2']} has all traffic again, in place of {by_run['r3']}"

    assert serving(project) == {"r2": 100}
