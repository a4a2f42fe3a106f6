"""`quatrain rollback` moves the champion's place and the traffic of its endpoints, in one call."""

import json
from collections.abc import Callable

import pytest

from quatrain.components.storage import list_names
from tests.emulators.vertex import Refusal
from tests.quatrain.vertex.releases.conftest import ROOT, Google, Verb

ROLLBACK = ("rollback", "toy", "--reason", "late labels", "--cloud", "cloud.yaml")

Release = Callable[..., None]


def test_a_version_that_is_still_deployed_gets_all_traffic_by_one_write(
    google: Google, released: Release, quatrain: Verb
) -> None:
    released("r1")
    released("r2", "release.keep_previous=true")
    assert google.runs == {"r1": 0, "r2": 100}
    old = google.endpoint.deployed_models[0].id
    google.serving.calls.clear()

    code, out, _ = quatrain(*ROLLBACK, "--plan")
    assert (code, google.champion, google.runs) == (0, "r2", {"r1": 0, "r2": 100})
    assert out == (
        "would make run r1 the champion, in place of run r2\n"
        f"would give {old} all traffic of endpoint toy, by one call\n"
    )

    code, out, err = quatrain(*ROLLBACK)

    assert (code, google.champion, google.runs) == (0, "r1", {"r1": 100, "r2": 0}), err
    assert out == (
        "run r1 is the champion, in place of run r2\nrun r1 has all traffic of endpoint toy again\n"
    )
    assert google.serving.calls.count("update_endpoint") == 1
    assert "deploy_model" not in google.serving.calls
    (versions,) = google.serving.versions.values()
    assert "champion" in versions["1"].version_aliases


def test_a_version_that_is_deployed_no_longer_is_deployed_beside_first(
    google: Google, released: Release, quatrain: Verb
) -> None:
    released("r1")
    released("r2")
    shares: list[dict[str, int]] = []
    google.serving.on_change = lambda endpoint: shares.append(google.runs)

    code, out, _ = quatrain(*ROLLBACK, "--plan")
    assert code == 0 and not shares
    assert "would deploy run r1 at endpoint toy on 1 x n1-standard-2, beside what serves" in out

    code, out, err = quatrain(*ROLLBACK)

    assert code == 0, err
    assert [s for n, s in enumerate(shares) if not n or s != shares[n - 1]] == [
        {"r2": 100},
        {"r2": 100, "r1": 0},
        {"r2": 0, "r1": 100},
        {"r1": 100},
    ]
    assert out.endswith("run r1 has all traffic of endpoint toy again\n")


def test_a_repeated_call_changes_nothing(google: Google, released: Release, quatrain: Verb) -> None:
    released("r1")
    released("r2")
    quatrain(*ROLLBACK)
    moves = list_names(f"{ROOT}/toy/statistics/moves")
    changes: list[object] = []
    google.serving.on_change = changes.append

    assert quatrain(*ROLLBACK, "--plan") == (0, "nothing would change\n", "")
    code, out, _ = quatrain(*ROLLBACK)

    assert (code, google.champion, google.runs) == (0, "r1", {"r1": 100})
    assert out == (
        "run r1 is the champion already, in place of run r2\n"
        "run r1 has all traffic of endpoint toy already\n"
    )
    assert not changes
    assert moves == list_names(f"{ROOT}/toy/statistics/moves")
    code, out, _ = quatrain(*ROLLBACK, "--json")
    document = json.loads(out)
    assert (document["run"], document["changed"]) == ("r1", False)
    assert document["traffic"] == ["run r1 has all traffic of endpoint toy already"]


def test_a_call_that_failed_at_the_traffic_says_what_is_done_and_is_finished_by_the_next(
    google: Google, released: Release, quatrain: Verb
) -> None:
    released("r1")
    released("r2")
    google.serving.quota = 0

    code, out, err = quatrain(*ROLLBACK)

    assert (code, out, google.champion, google.runs) == (1, "", "r1", {"r2": 100})
    assert "run r1 is the champion of toy, but not all traffic is moved to it: endpoint toy" in err
    assert "gives it 0 % of its traffic (cannot deploy toy@1" in err
    again = "quatrain rollback toy --to r1 --reason TEXT --cloud cloud.yaml"
    assert f"`{again}` moves it" in err
    google.serving.quota = 9

    code, out, _ = quatrain(*again.split()[1:])

    assert (code, google.runs) == (0, {"r1": 100})
    assert "run r1 is the champion already" in out


def test_a_run_whose_image_is_gone_leaves_the_traffic_where_it_was(
    google: Google, released: Release, quatrain: Verb
) -> None:
    released("r1")
    released("r2")

    def gone(model: object) -> object:
        raise Refusal(400, "FAILED_PRECONDITION", "image quatrain@sha256:0a0a was not found")

    google.serving.start = gone

    code, _, err = quatrain(*ROLLBACK)

    assert (code, google.runs) == (1, {"r2": 100})
    assert "image quatrain@sha256:0a0a was not found" in err and "gives it 0 %" in err


def test_without_an_endpoint_the_place_alone_is_given_back(
    google: Google, promoted: Callable[[str], None], quatrain: Verb
) -> None:
    promoted("r1")
    promoted("r2")

    code, out, _ = quatrain(*ROLLBACK)

    assert (code, google.champion) == (0, "r1")
    assert out.endswith("no endpoint of my-project, europe-west1 was given to model toy\n")


@pytest.mark.parametrize("to", ["r9", "r3"])
def test_a_run_that_cannot_be_promoted_moves_nothing(
    google: Google, released: Release, quatrain: Verb, to: str
) -> None:
    released("r1")
    released("r2", "release.keep_previous=true")
    google.put_run("r3")
    google.put(f"{ROOT}/toy/r3/model/model/metadata.json", {"altered": True})

    for more in (["--plan"], []):
        code, _, err = quatrain(*ROLLBACK, "--to", to, *more)
        assert (code, google.champion, google.runs) == (1, "r2", {"r1": 0, "r2": 100})
        assert "no record of a run 'r9'" in err or "is not the one that was measured" in err
