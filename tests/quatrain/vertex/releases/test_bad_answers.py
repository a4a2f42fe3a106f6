"""Whatever the service answers: a sentence, an exit code, and the traffic where it was."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.emulators.vertex import Refusal
from tests.quatrain.vertex.releases.conftest import Container, Google, Verb
from tests.quatrain.vertex.releases.test_rollback import ROLLBACK

DEPLOY = ("deploy", "toy.yaml", "--set", "release.keep_previous=true")
TRAFFIC = ("traffic", "toy.yaml")

Change = Callable[[Google], object]


def refuses(method: str, code: int, status: str, message: str) -> Change:
    """The service refuses a method."""

    def change(google: Google) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise Refusal(code, status, message)

        setattr(google.serving, method, refuse)

    return change


def denied(method: str) -> Change:
    return refuses(method, 403, "PERMISSION_DENIED", "Permission denied on resource")


def container(run: str, **changes: Any) -> Change:
    """The container of a run is another one than its export."""

    def change(google: Google) -> None:
        google.containers[run] = Container()
        vars(google.containers[run]).update(changes)

    return change


def quota(google: Google) -> None:
    google.serving.quota = 0


def hangs(google: Google) -> None:
    """Deployments never end."""
    deploy = google.serving.deploy_model

    def hang(*arguments: Any, **named: Any) -> Any:
        google.serving.looks = float("inf")
        return deploy(*arguments, **named)

    google.serving.deploy_model = hang  # type: ignore[method-assign]


def image_is_gone(google: Google) -> None:
    refuses("start", 400, "FAILED_PRECONDITION", "image quatrain@sha256:0a was not found")(google)


def split_by_hand(google: Google) -> None:
    old, new = (d.id for d in google.endpoint.deployed_models)
    google.endpoint.traffic_split = {old: 40, new: 60}


def other_release(google: Google) -> None:
    stamp = str(int(google.now.timestamp()))
    labels = {"release": "2", "release-claimed": stamp, "release-since": stamp}
    google.endpoint.labels = {**google.endpoint.labels, **labels, "release-before": "none"}


def version_is_deleted(google: Google) -> None:
    (versions,) = google.serving.versions.values()
    for number in [n for n, v in versions.items() if v.labels["run"] == "r1"]:
        del versions[number]


DEPLOYMENTS: dict[str, tuple[Change, str]] = {
    "the quota is used up": (quota, "quotas are exceeded.*ask for more of that quota"),
    "the image is gone": (image_is_gone, "image quatrain@sha256:0a was not found"),
    "the container is never ready": (container("r3", status=503), "never became ready"),
    "a golden row differs": (
        container("r3", slope=2.1),
        r"answers 2.1 to golden row 0, where the export answered 2.0.*export the model again",
    ),
    "an operation never ends": (hangs, r"has not ended after 3,600 s; the traffic is as it was"),
    "models cannot be read": (denied("get_model"), "cannot read model toy.*needs roles/aiplatform"),
    "models cannot be uploaded": (denied("upload_model"), "cannot register run r3.*needs roles/"),
    "the endpoint cannot be changed": (denied("update_endpoint"), "cannot claim endpoint toy"),
    "nothing can be deployed": (denied("deploy_model"), "cannot deploy toy@3.*needs roles/"),
    "no answer of the service": (
        refuses("get_endpoint", 503, "UNAVAILABLE", "try later"),
        "cannot read endpoint toy: try later; the service is busy",
    ),
    "the traffic was split by hand": (split_by_hand, "has not the expected traffic: no deployed"),
    "another release is under way": (other_release, "given version 2 by another release"),
}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_release_that_fails_leaves_the_traffic_where_it_was(
    google: Google, released: Callable[..., None], promoted: Any, quatrain: Verb, name: str
) -> None:
    change, sentence = DEPLOYMENTS[name]
    released("r1")
    released("r2", "release.keep_previous=true")
    promoted("r3")
    change(google)
    before = {run: share for run, share in google.runs.items() if share}

    code, _, err = quatrain(*DEPLOY)

    assert code == 1 and "Traceback" not in err
    assert err.startswith("error: ") and matches(sentence, err), err
    assert {run: share for run, share in google.runs.items() if share} == before


def matches(pattern: str, text: str) -> bool:
    return re.search(pattern, " ".join(text.split())) is not None


ROLLBACKS: dict[str, tuple[Change, str]] = {
    "the quota is used up": (quota, "quotas are exceeded"),
    "the image is gone": (image_is_gone, "image quatrain@sha256:0a was not found"),
    "the container is never ready": (container("r1", status=503), "never became ready"),
    "a golden row differs": (container("r1", slope=2.1), "to golden row 0"),
    "an operation never ends": (hangs, "has not ended after 3,600 s"),
    "endpoints cannot be listed": (denied("list_endpoints"), "cannot list endpoints: Permission"),
    "versions cannot be listed": (denied("list_versions"), "cannot list versions of toy"),
    "the endpoint cannot be changed": (denied("update_endpoint"), "cannot claim endpoint toy"),
    "nothing can be deployed": (denied("deploy_model"), "cannot deploy toy@1"),
    "the version was deleted, and none can be uploaded": (
        lambda google: (version_is_deleted(google), denied("upload_model")(google)),
        "cannot register run r1",
    ),
}


@pytest.mark.parametrize("name", ROLLBACKS)
def test_a_rollback_that_fails_leaves_the_traffic_where_it_was(
    google: Google, released: Callable[..., None], quatrain: Verb, name: str
) -> None:
    change, sentence = ROLLBACKS[name]
    released("r1")
    released("r2")
    change(google)

    code, out, err = quatrain(*ROLLBACK)

    assert (code, out, google.champion) == (1, "", "r1") and "Traceback" not in err
    assert matches(sentence, err), err
    assert "run r1 is the champion of toy, but not all traffic is moved to it" in err
    assert {run: share for run, share in google.runs.items() if share} == {"r2": 100}


def test_cloud_monitoring_that_may_not_be_read_gives_the_traffic_back(
    google: Google, released: Callable[..., None], promoted: Any, quatrain: Verb
) -> None:
    released("r1")
    promoted("r2")
    denied("_series")(google)

    code, _, err = quatrain(*DEPLOY)

    assert code == 1 and "roles/monitoring.viewer for what is watched" in err
    assert google.runs == {"r1": 100}


def test_an_endpoint_that_was_deleted_is_named(
    google: Google, released: Callable[..., None], quatrain: Verb
) -> None:
    released("r1")
    google.serving.endpoints.clear()

    code, _, err = quatrain(*TRAFFIC, "--back")

    assert code == 1 and "endpoint toy does not exist" in err and "`quatrain deploy`" in err


def test_going_back_while_a_release_runs_ends_it(
    google: Google, released: Callable[..., None], promoted: Any, quatrain: Verb
) -> None:
    released("r1")
    promoted("r2")
    backs: list[int] = []
    google.on_sleep = lambda: backs.append(quatrain(*TRAFFIC, "--back")[0])

    code, _, err = quatrain(*DEPLOY)

    assert (code, backs) == (1, [0])
    assert "was ended by someone who took the traffic of endpoint toy away from it" in err
    assert google.runs == {"r1": 100}


def test_a_second_release_while_one_runs_is_refused_and_the_first_goes_on(
    google: Google, released: Callable[..., None], promoted: Any, quatrain: Verb
) -> None:
    released("r1")
    google.put_run("r3")
    promoted("r2")
    others: list[tuple[int, str, str]] = []
    google.on_sleep = lambda: others.append(quatrain(*DEPLOY, "--run", "r3"))

    code, out, err = quatrain(*DEPLOY)

    ((other, _, refusal),) = others
    assert other == 1 and "is being given version 2 by another release" in refusal
    assert code == 0, err
    assert google.runs == {"r1": 0, "r2": 100} and "has all the traffic of endpoint toy" in out
