"""Every bucket of a run is regional, in the job's region; a refusal says what to do."""

import pytest

from quatrain.components.buckets import bucket_problems, check_buckets, source_warnings
from quatrain.components.errors import BucketError
from tests.emulators import storage as emulator

HOME = "europe-west1"


@pytest.fixture
def storage(monkeypatch):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with emulator.serving() as served:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.url)
        yield served
    assert not [line for line in served.requests if not line.startswith("GET ")]


def test_regional_buckets_in_the_job_s_region_pass(storage):
    storage.add_bucket("a", HOME)
    storage.add_bucket("b", HOME.upper())
    check_buckets(["gs://a/root", "/gcs/b/x/y", "gs://a/other"], HOME, "p")
    assert storage.requests == ["GET /storage/v1/b/a", "GET /storage/v1/b/b"]


@pytest.mark.parametrize(
    ("place", "location"),
    [
        (("us-central1", "region"), "is in us-central1, the job in europe-west1"),
        (("eu", "multi-region"), "is in eu (a multi-region), the job"),
        (("eur4", "dual-region"), "is in eur4 (a dual-region), the job"),
        (("eu", "dual-region", HOME, "europe-west4"), "is in eu (a dual-region), the job"),
        ((HOME, "zone", f"{HOME}-b"), "is in europe-west1 (a zonal bucket, in one zone"),
    ],
)
def test_another_place_is_refused_with_the_command_that_makes_the_right_bucket(
    storage, place, location
):
    storage.add_bucket("b", *place)
    with pytest.raises(BucketError) as refused:
        check_buckets(["gs://b/root"], HOME, "p")
    sentence, command = str(refused.value).splitlines()
    assert sentence.startswith("bucket gs://b ") and location in sentence
    assert "training takes regional buckets" in sentence
    assert command == (
        "  gcloud storage buckets create gs://b-europe-west1 --project=p --location=europe-west1 "
        "--uniform-bucket-level-access --public-access-prevention"
    )


def test_one_error_names_every_wrong_bucket(storage):
    storage.add_bucket("far", "us-east1")
    storage.add_bucket("shut", forbidden=True)
    problems = bucket_problems(["gs://far/r", "gs://gone/r", "gs://shut/r"], HOME, "p")
    assert [problem.bucket for problem in problems] == ["far", "gone", "shut"]
    assert [problem.unanswered for problem in problems] == [False, False, True]
    assert "gs://gone does not exist, and nothing here creates one" in problems[1].sentence
    assert "create gs://gone --project=p --location=europe-west1" in problems[1].command
    assert "lack storage.buckets.get" in problems[2].sentence
    assert "add-iam-policy-binding gs://shut " in problems[2].command
    assert "--role=roles/storage.legacyBucketReader" in problems[2].command


def test_a_long_name_leaves_room_for_the_region(storage):
    storage.add_bucket("x" * 63, "us-east1")
    (problem,) = bucket_problems(["gs://" + "x" * 63], HOME)
    name = problem.command.split()[4].removeprefix("gs://")
    assert len(name) == 63 and name.endswith("x-europe-west1")


def test_a_busy_service_gets_the_request_once_more(storage):
    storage.add_bucket("b", HOME)
    storage.fail("GET /storage/v1/b/b", 503)
    check_buckets(["gs://b"], HOME, "p")
    assert len(storage.requests) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_service_that_stays_busy_is_a_sentence(storage, status):
    storage.add_bucket("b", HOME)
    storage.fail("GET", status, times=99)
    (problem,) = bucket_problems(["gs://b"], HOME, "p", timeout_s=0.2)
    assert problem.unanswered
    assert "could not be looked up within 0.2 s" in problem.sentence
    assert "try again later" in problem.sentence


def test_without_credentials_the_error_shows_how_to_log_in(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    (problem,) = bucket_problems(["gs://b"], HOME, "p")
    assert problem.unanswered and "no Google Cloud credentials" in problem.sentence
    assert problem.command == "gcloud auth application-default login"


def test_local_runs_and_local_paths_send_no_request(storage):
    check_buckets(["gs://b/x"], "local")
    check_buckets(["/data/x", "runs"], HOME)
    assert storage.requests == []


def test_a_uri_without_a_bucket_is_refused():
    with pytest.raises(BucketError, match="'gs:///x' names no bucket"):
        check_buckets(["gs:///x"], HOME)


def test_a_source_may_be_anywhere_with_a_warning(storage):
    storage.add_bucket("here", HOME)
    storage.add_bucket("far", "us", "multi-region")
    uris = ["gs://here/*.csv", "gs://far/*.csv", "gs://gone/*.csv", "/data/*.csv"]
    far, gone = source_warnings(uris, HOME, "p")
    assert far.startswith("the source gs://far is in us (a multi-region), the job in europe-west1")
    assert gone.startswith(
        "the region of the source could not be looked up: bucket gs://gone does not"
    )
