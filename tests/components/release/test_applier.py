"""A release moves the traffic in steps, and whatever stops it leaves the model before serving."""

import dataclasses

import pytest

from quatrain.components.errors import ReleaseError
from quatrain.components.release.back import go_back
from quatrain.components.release.by_hand import empty
from quatrain.components.release.state import find_endpoint
from tests.components.release.conftest import Killed, Project
from tests.emulators.vertex import Refusal


def first(project, **settings):
    """Releases the first version."""
    project.release(project.candidate("r1", 2.0), **settings)
    assert project.runs == {"r1": 100}


def test_first_version_gets_all_traffic_of_a_new_endpoint(project):
    candidate = project.candidate("r1", 2.0)

    assert "has all the traffic" in project.release(candidate)

    (versions,) = project.serving.versions.values()
    model = versions["1"]
    assert model.labels["metadata"] == candidate.label and model.labels["image"] == "a" * 40
    assert sorted(model.version_aliases) == ["champion", "default"]
    assert model.container_spec.predict_route == "/predict"
    (evaluations,) = project.serving.evaluations.values()
    assert dict(evaluations[0].metrics) == {"rootMeanSquaredError": 0.5}
    assert project.runs == {"r1": 100}
    assert dict(project.endpoint.labels) == {"quatrain": "sizes"}


def test_second_version_gets_it_in_steps_and_the_first_is_undeployed(project):
    first(project)
    shares = []
    project.serving.on_change = lambda endpoint: shares.append(project.runs)

    project.release(project.candidate("r2", 3.0))

    steps = [s for n, s in enumerate(shares) if n == 0 or s != shares[n - 1]]
    assert steps == [
        {"r1": 100},
        {"r1": 100, "r2": 0},
        {"r1": 90, "r2": 10},
        {"r1": 50, "r2": 50},
        {"r1": 0, "r2": 100},
        {"r2": 100},
    ]
    versions = next(iter(project.serving.versions.values()))
    assert "champion" in versions["2"].version_aliases
    assert "champion" not in versions["1"].version_aliases


def test_a_second_release_of_the_same_model_changes_nothing(project):
    candidate = project.candidate("r1", 2.0)
    project.release(candidate)
    changes = []
    project.serving.on_change = changes.append

    project.release(candidate)

    assert not changes and project.applier(candidate).plan() == []
    assert list(next(iter(project.serving.versions.values()))) == ["1"]


def test_without_an_endpoint_the_model_becomes_a_version_alone(project):
    said = project.release(project.candidate("r1", 2.0), endpoint=None)

    assert "is registered" in said and not project.serving.endpoints
    assert len(next(iter(project.serving.versions.values()))) == 1


def test_plan_makes_no_change(project):
    first(project)
    applier = project.applier(project.candidate("r2", 3.0))
    changes = []
    project.serving.on_change = changes.append

    words = applier.plan()

    assert not changes and len(next(iter(project.serving.versions.values()))) == 1
    assert [w for w in words if "% of the traffic" in w] == [
        "give it 10 % of the traffic, watch 300 s (at most 1.0% errors)",
        "give it 50 % of the traffic, watch 300 s (at most 1.0% errors)",
        "give it 100 % of the traffic, watch 300 s (at most 1.0% errors)",
    ]


def failing(project, match, candidate=None, **settings):
    """Checks that a release fails by a sentence, and that the first version serves alone."""
    with pytest.raises(ReleaseError, match=match):
        project.release(candidate or project.candidate("r2", 3.0), **settings)
    assert project.runs == {"r1": 100}
    assert "release" not in project.endpoint.labels


LOG = {"uri": "bq://my-project.serving.requests", "sampling": 0.25}


def logged(project):
    """Returns whether requests are logged, which share, and where."""
    config = project.endpoint.predict_request_response_logging_config
    return config.enabled, config.sampling_rate, config.bigquery_destination.output_uri


def test_a_new_endpoint_logs_its_requests_as_the_spec_says(project):
    candidate = project.candidate("r1", 2.0)
    plan = project.applier(candidate, log=LOG).plan()

    first(project, log=LOG)

    assert "log 25 % of the endpoint's requests to bq://my-project.serving.requests" in plan
    assert logged(project) == (True, 0.25, LOG["uri"])
    calls = project.calls
    assert project.applier(candidate, log=LOG).plan() == []
    assert "has all the traffic" in project.release(candidate, log=LOG)
    assert project.endpoint.etag and project.calls > calls


def test_the_log_of_an_endpoint_that_serves_is_changed_once_and_nothing_else(project):
    first(project)
    candidate, split = project.candidate("r1", 2.0), dict(project.endpoint.traffic_split)
    words = "log 25 % of the endpoint's requests to bq://my-project.serving.requests"
    assert project.applier(candidate, log=LOG).plan() == [words]

    project.words.clear()
    project.release(candidate, log=LOG)
    etag = project.endpoint.etag
    project.release(candidate, log=LOG)

    assert project.words == [words]
    assert (logged(project), project.endpoint.etag) == ((True, 0.25, LOG["uri"]), etag)
    assert dict(project.endpoint.traffic_split) == split


def test_a_second_version_sets_the_log_before_it_is_deployed(project):
    first(project)
    project.words.clear()
    plan = project.applier(project.candidate("r2", 3.0), log=LOG).plan()

    project.release(project.candidate("r2", 3.0), log=LOG)

    words = [w.split()[0] for w in project.words]
    assert words.index("log") < words.index("claim") < words.index("deploy")
    assert [w for w in plan if w.startswith("log")] == [plan[1]]
    assert logged(project)[0]


def test_a_spec_without_a_log_leaves_the_endpoint_logging(project):
    first(project, log=LOG)
    project.release(project.candidate("r2", 3.0))
    assert logged(project) == (True, 0.25, LOG["uri"])


def test_the_file_of_a_server_here_is_no_log_of_an_endpoint(project):
    first(project, log="requests.jsonl")
    assert not logged(project)[0]


def test_errors_above_the_bound_give_the_traffic_back(project):
    first(project)
    candidate = project.candidate("r2", 3.0)
    sleep = project.sleep

    def fail_after(seconds: float) -> None:
        project.slopes["r2"].fails = seconds > 30
        sleep(seconds)
        project.slopes["r2"].fails = False

    project.sleep = fail_after
    failing(project, "above release.max_errors, 1.0%", candidate)


def test_a_container_that_fails_on_golden_rows_gives_the_traffic_back(project):
    first(project)
    candidate = project.candidate("r2", 3.0)
    project.slopes["r2"].fails = True
    failing(project, r"6 requests with golden rows failed .* read the logs", candidate)


def test_the_same_model_in_another_image_becomes_another_version(project):
    candidate = project.candidate("r1", 2.0)
    project.release(candidate)

    project.release(
        dataclasses.replace(candidate, image=candidate.image.replace("a" * 64, "b" * 64))
    )

    assert list(next(iter(project.serving.versions.values()))) == ["1", "2"]
    (deployed,) = project.endpoint.deployed_models
    assert deployed.model_version_id == "2"


def test_slow_answers_give_the_traffic_back(project):
    first(project)
    project.serving.latency_ms = 250.0
    failing(project, "is 250 ms .* above release.max_p95_ms, 100", max_p95_ms=100)


def test_a_golden_row_that_differs_gives_the_traffic_back(project):
    first(project)
    candidate = project.candidate("r2", 3.0, artifact_slope=3.1)
    failing(project, r"answers .* to golden row \d, where the export answered", candidate)


def test_a_first_version_that_differs_leaves_the_endpoint_empty_for_the_next(project):
    with pytest.raises(ReleaseError, match="to golden row"):
        project.release(project.candidate("r1", 2.0, artifact_slope=2.1))
    assert not project.endpoint.deployed_models and not project.endpoint.traffic_split

    project.release(project.candidate("r2", 3.0))

    assert project.runs == {"r2": 100}


def test_a_version_that_was_gone_back_from_is_released_anew(project):
    first(project)
    candidate = project.candidate("r2", 3.0)
    project.release(candidate, keep_previous=True)
    service = project.service()
    go_back(service, find_endpoint(service, "sizes"))

    project.release(candidate, keep_previous=True)

    shares = sorted(
        project.endpoint.traffic_split.get(d.id, 0) for d in project.endpoint.deployed_models
    )
    assert project.runs == {"r1": 0, "r2": 100} and shares == [0, 100]


def test_a_container_that_is_never_ready_gets_no_traffic(project):
    first(project)
    candidate = project.candidate("r2", 3.0)
    project.slopes["r2"].status = 503
    failing(project, "never became ready", candidate)


def test_a_used_up_quota_leaves_the_traffic_where_it_was(project):
    first(project)
    project.serving.quota = 0
    failing(project, "quotas are exceeded.*ask for more")


def test_an_image_that_is_gone_leaves_the_traffic_where_it_was(project):
    first(project)

    def gone(model):
        raise Refusal(
            400, "FAILED_PRECONDITION", f"image {model.container_spec.image_uri} not found"
        )

    project.serving.start = gone
    failing(project, "not found")


def test_an_operation_that_never_ends_is_waited_for_by_the_next_call(project):
    first(project)
    candidate = project.candidate("r2", 3.0)
    project.applier(candidate, endpoint=None).apply()
    project.serving.looks = float("inf")
    with pytest.raises(ReleaseError, match="has not ended after 60 s; the traffic is as it was"):
        project.release(candidate, deploy_timeout_s=60)
    assert project.runs == {"r1": 100}

    project.serving.looks = 1
    for operation in project.serving.operations.values():
        operation.looks = 1
    project.release(candidate)
    assert project.runs == {"r2": 100}


def test_too_few_requests_hold_the_release_and_a_later_call_goes_on(project):
    first(project)
    candidate = project.candidate("r2", 3.0)
    project.requests_a_minute = 1

    said = project.release(candidate, min_requests=100)
    assert "held at 10 %" in said and project.runs == {"r1": 90, "r2": 10}

    project.requests_a_minute = 600
    project.sleep(600)
    project.release(candidate, min_requests=100)
    assert project.runs == {"r2": 100}


def test_a_held_release_is_superseded_by_the_next_version(project):
    first(project)
    project.requests_a_minute = 1
    project.release(project.candidate("r2", 3.0), min_requests=100)
    project.requests_a_minute = 60

    project.release(project.candidate("r3", 4.0))

    assert project.runs == {"r3": 100}


def test_two_releases_at_once_are_told_apart(project):
    first(project)
    other, candidate = project.candidate("r2", 3.0), project.candidate("r3", 4.0)
    project.kill_at = (project.calls + 25, "after")
    with pytest.raises(Killed):
        project.release(other)
    assert "release" in project.endpoint.labels
    before = project.runs

    with pytest.raises(ReleaseError, match="by another release"):
        project.release(candidate)

    assert project.runs == before


def test_an_etag_of_another_change_is_looked_at_again(project):
    first(project)
    applier = project.applier(project.candidate("r2", 3.0))
    once = []

    def interfere(method):
        if method == "get_endpoint" and not once and "release" in project.endpoint.labels:
            once.append(1)
            project.endpoint.etag = "e0-changed"

    project.serving.after_call = interfere
    applier.apply()
    assert once and project.runs == {"r2": 100}


def test_unexpected_traffic_is_refused_before_anything_is_deployed(project):
    first(project)
    project.release(project.candidate("r2", 3.0), keep_previous=True)
    old, new = (d.id for d in project.endpoint.deployed_models)
    project.endpoint.traffic_split = {old: 30, new: 70}

    with pytest.raises(ReleaseError, match="has not the expected traffic"):
        project.release(project.candidate("r3", 4.0))

    assert dict(project.endpoint.traffic_split) == {old: 30, new: 70}
    assert project.runs == {"r1": 30, "r2": 70}


def test_traffic_that_someone_moves_during_a_release_ends_it(project):
    first(project)
    candidate = project.candidate("r2", 3.0)

    def move(seconds):
        old, new = (d.id for d in project.endpoint.deployed_models)
        project.endpoint.traffic_split = {old: 20, new: 80}
        type(project).sleep(project, seconds)

    project.sleep = lambda s: move(s) if s > 30 else type(project).sleep(project, s)
    with pytest.raises(ReleaseError, match="has not the expected traffic"):
        project.release(candidate)
    assert project.runs == {"r1": 20, "r2": 80}


def test_a_version_deleted_behind_our_back_is_registered_again(project):
    first(project)
    deleted = []

    def delete(method):
        versions = next(iter(project.serving.versions.values()))
        if method == "update_endpoint" and "2" in versions and not deleted:
            deleted.append(versions.pop("2"))

    project.serving.after_call = delete
    project.release(project.candidate("r2", 3.0))
    assert deleted and project.runs == {"r2": 100}


def test_a_kept_version_gets_the_traffic_back_by_one_call(project):
    first(project)
    project.release(project.candidate("r2", 3.0), keep_previous=True)
    assert project.runs == {"r1": 0, "r2": 100}
    service = project.service()
    project.serving.calls.clear()

    go_back(service, find_endpoint(service, "sizes"))

    assert project.runs == {"r1": 100, "r2": 0}
    assert project.serving.calls == ["get_endpoint", "update_endpoint"]


def test_a_model_of_someone_else_is_never_given_a_version(project):
    project.release(project.candidate("r1", 2.0), endpoint=None)
    for versions in project.serving.versions.values():
        versions["1"].labels = {"team": "search"}

    with pytest.raises(ReleaseError, match="was not made by Quatrain"):
        project.release(project.candidate("r2", 3.0))


def check_invariants(project: Project) -> None:
    """The endpoint is never without traffic once it had some, and no two versions have it all."""

    def check(endpoint):
        split = {k: v for k, v in endpoint.traffic_split.items() if v}
        is_served = set(split) <= {d.id for d in endpoint.deployed_models}
        if sum(split.values()) != 100 or not is_served:
            project.wrong.append(dict(split))

    project.serving.on_change = check


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_release_killed_at_any_call_is_finished_by_the_next(make_project, side):
    counting = make_project()
    first(counting)
    counting.requests_a_minute = 6
    start = counting.calls
    counting.release(counting.candidate("r2", 3.0), min_requests=0)
    n_calls = counting.calls - start
    assert n_calls > 40

    for n in range(1, n_calls + 1):
        project = make_project()
        first(project)
        project.requests_a_minute = 6
        check_invariants(project)
        candidate = project.candidate("r2", 3.0)
        project.kill_at = (project.calls + n, side)
        with pytest.raises(Killed):
            project.release(candidate, min_requests=0)
        assert sum(project.runs.values()) == 100, n
        project.kill_at = None

        project.release(candidate, min_requests=0)

        assert project.runs == {"r2": 100}, n
        assert dict(project.endpoint.labels).keys() <= {"quatrain", "release-retired"}, n
        versions = next(iter(project.serving.versions.values()))
        (champion,) = (v for v in versions.values() if "champion" in v.version_aliases)
        assert champion.labels["run"] == "r2", n
        assert not project.wrong, n


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_failing_release_killed_at_any_call_leaves_the_first_serving(make_project, side):
    def disturbed():
        project = make_project()
        first(project)
        project.serving.latency_ms, project.requests_a_minute = 250.0, 6
        return project, project.candidate("r2", 3.0)

    counting, candidate = disturbed()
    start = counting.calls
    with pytest.raises(ReleaseError):
        counting.release(candidate, max_p95_ms=100, min_requests=0)
    n_calls = counting.calls - start

    for n in range(1, n_calls + 1):
        project, candidate = disturbed()
        check_invariants(project)
        project.kill_at = (project.calls + n, side)
        with pytest.raises((Killed, ReleaseError)):
            project.release(candidate, max_p95_ms=100, min_requests=0)
        project.kill_at = None
        if project.runs != {"r1": 100}:
            with pytest.raises(ReleaseError, match="max_p95_ms"):
                project.release(candidate, max_p95_ms=100, min_requests=0)
        assert project.runs == {"r1": 100}, n
        assert not project.wrong, n


def held(project):
    """Leaves a release at its first step; the version before that is kept, too."""
    first(project)
    project.release(project.candidate("r2", 3.0), keep_previous=True)
    project.requests_a_minute = 1
    project.release(project.candidate("r3", 4.0), keep_previous=True, min_requests=1000)
    assert project.runs == {"r1": 0, "r2": 90, "r3": 10}
    project.requests_a_minute = 60


def kept(project):
    """Leaves two versions, of which one is kept without traffic."""
    first(project)
    project.release(project.candidate("r2", 3.0), keep_previous=True)
    project.release(project.candidate("r3", 4.0), keep_previous=True)
    assert project.runs == {"r2": 0, "r3": 100}


def back(project):
    service = project.service()
    return go_back(service, find_endpoint(service, "sizes"))


def emptied(project):
    service = project.service()
    return list(empty(service, find_endpoint(service, "sizes"), True))


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("prepare", [held, kept])
def test_going_back_killed_at_any_call_goes_back_once(make_project, prepare, side):
    counting = make_project()
    prepare(counting)
    start = counting.calls
    back(counting)
    n_calls = counting.calls - start

    for n in range(1, n_calls + 1):
        project = make_project()
        prepare(project)
        check_invariants(project)
        project.kill_at = (project.calls + n, side)
        with pytest.raises(Killed):
            back(project)
        project.kill_at = None

        back(project)
        assert "has all traffic already" in back(project), n

        assert {run: share for run, share in project.runs.items() if share} == {"r2": 100}, n
        assert not project.wrong, n

    project.release(project.candidate("r4", 5.0))
    assert project.runs["r4"] == 100 and "release-back" not in project.endpoint.labels


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("prepare", [held, kept])
def test_emptying_killed_at_any_call_is_finished_by_the_next(make_project, prepare, side):
    counting = make_project()
    prepare(counting)
    start = counting.calls
    emptied(counting)
    n_calls = counting.calls - start
    assert n_calls >= 6

    for n in range(1, n_calls + 1):
        project = make_project()
        prepare(project)
        project.kill_at = (project.calls + n, side)
        with pytest.raises(Killed):
            emptied(project)
        project.kill_at = None

        emptied(project)

        assert project.runs == {}, n
        project.release(project.candidate("r4", 5.0))
        assert project.runs == {"r4": 100}, n
