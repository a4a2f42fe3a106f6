"""Doctor finds what makes a cloud run fail, how to fix it, and what it could not check."""

import datetime
import json
import re
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from quatrain.components import image
from quatrain.components.tiers import prices
from quatrain.vertex.checks import images
from quatrain.vertex.doctor import examination
from quatrain.vertex.doctor.examination import Examination, examine
from quatrain.vertex.doctor.roles import ACCOUNT_ROLES, PROJECT_ROLES, REPOSITORY_ROLE
from tests.emulators import iam as iam_emulator
from tests.emulators import storage as storage_emulator
from tests.emulators import vertex as vertex_emulator
from tests.emulators.images import HERE as HERE_LABELS
from tests.emulators.images import Images
from tests.quatrain.cli.test_entry import quatrain
from tests.quatrain.conftest import SPEC

DAY = datetime.date(2026, 11, 20)
DIGEST = "sha256:" + "0a" * 32
BEAM, HERE = metadata.version("apache-beam"), metadata.version("quatrain")
CLOUD = {
    "project": "my-project",
    "location": "europe-west1",
    "root": "gs://my-bucket/quatrain",
    "image": f"europe-west1-docker.pkg.dev/my-project/r/quatrain@{DIGEST}",
    "service_account": "trainer@my-project.iam.gserviceaccount.com",
}


QUOTA = {"europe-west1": 2200, "us-west2": 20}


@dataclass
class Google:
    """The services on loopback, and the settings that lead to them."""

    storage: storage_emulator.Storage
    iam: iam_emulator.Iam
    images: Images
    settings: dict[str, Any]


@pytest.fixture
def files(tmp_path):
    """Writes spec and cloud, with changes; returns the examination."""

    def write(spec=None, offline=True, prices=None, pipeline=None, tier="", today=DAY, **cloud):
        source = {"source": {"uri": "gs://data/*.csv"}}
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump({**SPEC, **source, **(spec or {})}))
        (tmp_path / "cloud.yaml").write_text(yaml.safe_dump({**CLOUD, **cloud}))
        examination = Examination(tmp_path / "toy.yaml", tmp_path / "cloud.yaml", offline=offline)
        changes = {"prices": prices, "pipeline": pipeline, "tier": tier, "today": today}
        return replace(examination, **{k: v for k, v in changes.items() if v})

    return write


def findings_of(examination, check):
    """The findings of a check."""
    return [finding for finding in examine(examination) if finding.check == check]


def of(findings, check):
    (finding,) = [f for f in findings if f.check == check]
    return finding


def test_offline_nothing_is_wrong_and_what_was_not_checked_is_listed(files):
    findings = list(examine(files(spec={"train": {"max_seconds": 600}})))
    assert {f.severity for f in findings} == {"ok", "unchecked"}
    unchecked = {f.check: f.fix for f in findings if f.severity == "unchecked"}
    assert set(unchecked) == {
        *("credentials", "project", "buckets", "image", "launcher", "roles", "hardware", "quota")
    }
    assert "gcloud storage buckets describe gs://my-bucket " in unchecked["buckets"]
    assert f"describe {CLOUD['image']}" in unchecked["image"]


@pytest.mark.parametrize(
    ("changes", "check", "severity", "sentence"),
    [
        ({"spec": {"lable": "y"}}, "spec", "error", "lable: unknown key; did you mean 'label'"),
        ({"image": "r.pkg.dev/p/r/quatrain:latest"}, "cloud", "error", "can move; name it by its"),
        ({"location": "EU"}, "cloud", "error", "'EU' has another form than us-central1"),
        ({"location": "europe-wset1"}, "region", "warning", "did you mean 'europe-west1'"),
        (
            {"service_account": "123-compute@developer.gserviceaccount.com"},
            "account",
            "warning",
            "default Compute account, which may usually edit the whole project",
        ),
        ({"service_account": "t@o.iam.gserviceaccount.com"}, "account", "warning", "another proj"),
        ({"tier": "BASIK"}, "tier", "error", "did you mean 'BASIC'"),
        (
            {"spec": {"train": {"tier": "CUSTOM", "pools": [{"machine_type": "n1-highcpu-8"}]}}},
            "tier",
            "error",
            "its support ended on 2025-01-31; use n1-standard-8",
        ),
        (
            {"spec": {"source": {"uri": "toy.csv"}}},
            "parameters",
            "error",
            "toy.csv is on this machine, which Vertex cannot read",
        ),
    ],
)
def test_what_would_fail_is_found_without_a_query(files, changes, check, severity, sentence):
    (finding,) = findings_of(files(**changes), check)
    assert finding.severity == severity
    assert sentence in finding.sentence


def test_a_pipeline_of_another_signature_is_a_finding(files, toy_path):
    (finding,) = findings_of(files(pipeline=toy_path), "parameters")
    assert finding.severity == "error"
    assert "toy.yaml" in finding.sentence


def test_hardware_that_ends_soon_is_a_warning(files):
    (finding,) = findings_of(files(tier="BASIC_GPU", today=datetime.date(2027, 7, 2)), "ends")
    assert finding.severity == "warning"
    assert "support of NVIDIA_TESLA_T4 ends on 2027-08-01" in finding.sentence


def price(files, seconds=0, **cloud):
    spec = {"train": {"max_seconds": seconds}}
    return of(examine(files(spec=spec, **cloud)), "price")


def test_the_price_is_a_range_with_the_date_of_the_table(files):
    finding = price(files, 3600)
    low, high = map(float, re.search(r"about ([\d.]+) to ([\d.]+) USD", finding.sentence).groups())
    # 1.1 for the region; a step machine 0.154 for 0.25 to 2 h, 2 attempts; 0.218 for 1.5 h; 0.03.
    assert (low, high) == (pytest.approx(0.097, abs=0.01), pytest.approx(1.07, abs=0.01))
    assert "train.max_seconds 3600, whose job ends after 5400 s" in finding.sentence
    # 168 h of 0.24 USD
    assert "a job that hangs ends after seven days, at 40 USD" in price(files).sentence
    assert "list prices of 2026-09-08" in finding.sentence and finding.severity == "ok"
    assert price(files).severity == "warning"


def test_a_run_above_the_budget_is_refused_with_the_time_that_fits(files):
    assert price(files, 3600, budget_usd=2).severity == "ok"
    for seconds, words in ((0, "has no time limit"), (360_000, "may cost more")):
        finding = price(files, seconds, budget_usd=2)
        assert finding.severity == "error" and words in finding.sentence
        fits = int(finding.fix.removeprefix("--set train.max_seconds="))
        assert price(files, fits, budget_usd=2).severity == "ok"
        assert price(files, fits + 60, budget_usd=2).severity == "error"
    assert "take a smaller tier" in price(files, 60, budget_usd=0.5).fix


def test_the_version_of_a_release_is_in_the_price_and_in_the_budget(files):
    spec = {"train": {"max_seconds": 3600}, "release": {"endpoint": "toys", "max_replicas": 2}}
    finding = of(examine(files(spec=spec)), "price")
    # 1.07 for the run; at most two machines of 0.1095 x 1.1 USD for 3 600 + 3 x 600 s.
    assert " to 1.43 USD a run" in finding.sentence
    assert "0.36 USD of it for its version at endpoint toys until the release" in finding.sentence
    assert "which then costs 0.12 to 0.24 USD an hour" in finding.sentence
    within = of(examine(files(spec=spec, budget_usd=1.5)), "price")
    beyond = of(examine(files(spec=spec, budget_usd=1.3)), "price")
    assert (within.severity, beyond.severity) == ("ok", "error")
    assert beyond.fix.startswith("--set train.max_seconds=")


def test_a_job_that_hangs_is_within_the_price(files):
    spec = {"train": {"max_seconds": 600, "tier": "H100_8"}}
    finding = of(examine(files(spec=spec, location="us-central1", budget_usd=60)), "price")
    # 2 400 s of 101 USD an hour are 67 USD.
    assert finding.severity == "error"
    assert "to 67.98 USD" in finding.sentence


def test_a_price_table_can_be_replaced_and_a_missing_machine_is_named(files, tmp_path):
    own = tmp_path / "prices.yaml"
    table = yaml.safe_load(prices.OWN.read_text())
    own.write_text(yaml.safe_dump({**table, "machines": {"n1-standard-4": 10.0}}))
    assert "11.00 USD" in price(files, 60, prices=own).sentence
    own.write_text(yaml.safe_dump({**table, "families": {}}))
    assert "n1-standard-4 is not in the table of prices" in price(files, 60, prices=own).sentence
    assert price(files, 60, prices=own, budget_usd=9).severity == "error"
    own.write_text("checked: 1")
    assert "has another form than prices.yaml (" in price(files, 60, prices=own).sentence
    own.unlink()
    assert price(files, 60, prices=own).severity == "error"


def test_an_old_table_of_prices_is_a_warning(files):
    checked = prices.load_prices().checked
    a_year_after = checked + datetime.timedelta(days=365)
    assert price(files, 60, budget_usd=9, today=a_year_after).severity == "ok"
    finding = price(files, 60, budget_usd=9, today=a_year_after + datetime.timedelta(days=1))
    assert finding.severity == "warning"
    assert finding.fix == "write a newer table by prices.yaml and give --prices FILE"


def test_versions_other_than_the_required_ones_are_a_finding(monkeypatch):
    monkeypatch.setattr(
        examination.metadata, "requires", lambda _: ["kfp<1", "gone>=1", "x; extra=='y'"]
    )
    (finding,) = [f for f in examination._versions() if f.severity == "error"]
    assert "kfp is 2." in finding.sentence and "gone is none" in finding.sentence


def test_the_image_s_python_and_beam_are_those_that_a_launch_compares_with():
    dockerfile = (Path(examination.__file__).parents[3] / "Dockerfile").read_text()
    assert set(re.findall(r"python:?(3\.\d+)", dockerfile)) == {image.PYTHON}
    assert set(re.findall(r"sdk:(2\.\d+\.\d+)", dockerfile)) == {image.BEAM}


def test_the_labels_of_the_image_are_the_versions_that_are_installed():
    dockerfile = (Path(examination.__file__).parents[3] / "Dockerfile").read_text()
    labels = dict(re.findall(r'([a-z.]+)="([^"]+)"', dockerfile))
    for package, label in images.VERSIONS.items():
        assert labels[label] == metadata.version(package)


@pytest.fixture
def google(monkeypatch):
    """Cloud Storage, Vertex AI, IAM and Compute Engine on loopback."""
    roles = {
        "projects/my-project": PROJECT_ROLES,
        CLOUD["service_account"]: ACCOUNT_ROLES,
        "gs://my-bucket": ["roles/storage.admin"],
        "gs://data": ["roles/storage.objectViewer"],
        "projects/my-project/locations/europe-west1/repositories/r": [REPOSITORY_ROLE],
    }
    zones = {
        "europe-west1-b": ["n1-standard-4", "n1-standard-8", "nvidia-tesla-t4"],
        "europe-west4-a": ["n1-standard-4", "n1-standard-8", "ct5lp-hightpu-8t"],
    }
    vertex = vertex_emulator.Vertex()
    iam = iam_emulator.Iam(roles, f"serviceAccount:{CLOUD['service_account']}", zones)
    iam.quotas = {
        "CustomModelTrainingCPUsPerProjectPerRegion custom_model_training_cpus": QUOTA,
        "CustomModelTrainingTotalSsd custom_model_training_pd_ssd": QUOTA,
    }
    with (
        storage_emulator.serving() as storage,
        vertex_emulator.serving(vertex, iam.answer) as url,
    ):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        storage.add_bucket("data")
        storage.add_bucket("my-bucket")
        yield Google(storage, iam, vertex.images, {"api_endpoint": url, "offline": False})


def test_online_every_question_is_answered(files, google):
    findings = list(examine(files(**google.settings)))
    assert {f.check for f in findings if f.severity != "ok"} == {"price"}
    for check in ("project", "buckets", "image", "roles"):
        assert of(findings, check).severity == "ok"
    assert of(findings, "hardware").sentence == "n1-standard-4 is in europe-west1-b"


def test_online_a_wrong_bucket_project_and_image_are_errors(files, google, capsys):
    google.storage.buckets["my-bucket"].location = "eu"
    google.storage.buckets["my-bucket"].location_type = "multi-region"
    google.storage.buckets["data"].location = "us-east1"
    google.iam.policies["projects/other-project"] = PROJECT_ROLES
    google.images.status = 404
    examination = files(**google.settings, project="other-project")
    findings = list(examine(examination))
    code, out, _ = quatrain(capsys, "doctor", examination.spec, "--cloud", examination.cloud)
    errors = {f.check: f for f in findings if f.severity == "error"}
    assert set(errors) == {"project", "buckets", "image", "launcher", "roles"}
    assert "service-12345@gcp-sa-aiplatform-cc.iam" in errors["roles"].sentence
    assert "is in eu (a multi-region)" in errors["buckets"].sentence
    assert "create gs://my-bucket-europe-west1" in errors["buckets"].fix
    assert "is not in the registry" in errors["image"].sentence
    assert "the source gs://data is in us-east1" in of(findings, "source").sentence
    assert code == 1
    assert out.splitlines()[-1].startswith("5 errors, ")


def test_an_image_of_other_versions_is_an_error(files, google):
    google.images.labels[DIGEST] = {
        "org.opencontainers.image.version": "0.0.9",
        "quatrain.accelerator": "cpu",
    }
    google.images.platforms[DIGEST] = ["linux/amd64"]
    (finding,) = findings_of(files(**google.settings), "image")
    assert finding.severity == "error"
    assert finding.sentence.endswith(
        f"but quatrain is 0.0.9 there and {HERE} here and apache-beam is not labelled there and "
        f"{BEAM} here"
    )


def test_an_image_for_another_platform_is_an_error_with_the_command_that_builds_it(files, google):
    google.images.build(DIGEST, "cpu", "linux/arm64")
    (finding,) = findings_of(files(**google.settings), "image")
    assert finding.severity == "error"
    assert finding.sentence == (
        f"{CLOUD['image']} is built for linux/arm64, but Vertex AI runs linux/amd64, where no step "
        f"of it would start (exec format error)"
    )
    name = f"europe-west1-docker.pkg.dev/my-project/r/quatrain:{HERE}-cpu"
    assert finding.fix.splitlines() == [
        f"docker build --platform linux/amd64 --build-arg EXTRA=cpu --tag {name} .",
        f"docker push {name} && gcloud artifacts docker images describe {name}",
    ]


COPY = f"us-central1-docker.pkg.dev/p/q/google-cloud-pipeline-components@sha256:{'1c' * 32}"


@pytest.mark.parametrize(
    ("launcher", "platforms", "severity", "words"),
    [
        (
            None,
            ["linux/amd64"],
            "ok",
            "2.22.0 is there, by a tag of Google's, outside of your proj",
        ),
        (COPY, ["linux/amd64"], "ok", f"{COPY} is there"),
        (
            COPY,
            ["linux/arm64"],
            "error",
            "the launchers' image, is built for linux/arm64, not linux",
        ),
    ],
)
def test_the_image_of_the_launchers_is_asked_for(
    files, google, launcher, platforms, severity, words
):
    google.images.build(COPY.partition("@")[2], "cpu", *platforms)
    settings = {"launcher_image": launcher} if launcher else {}
    (finding,) = findings_of(files(**google.settings, **settings), "launcher")
    assert finding.severity == severity
    assert words in finding.sentence


@pytest.mark.parametrize(
    ("platforms", "severity", "words"),
    [
        (("linux/arm64", "linux/amd64"), "ok", "is there, built for cpu"),
        (("linux/amd64", "unknown/unknown"), "ok", "is there, built for cpu"),
        (("linux/arm64", "windows/amd64"), "error", "for linux/arm64 and windows/amd64, but Ver"),
    ],
)
def test_an_index_stands_for_its_image_of_linux_amd64(files, google, platforms, severity, words):
    google.images.build(DIGEST, "cpu", *platforms)
    (finding,) = findings_of(files(**google.settings), "image")
    assert finding.severity == severity
    assert words in finding.sentence


@pytest.mark.parametrize(
    ("label", "tier", "wrong"),
    [
        ("cpu", "BASIC", []),
        ("cpu", "BASIC_GPU", ["tier BASIC_GPU: take one built for cuda"]),
        ("cpu", "BASIC_TPU", ["tier BASIC_TPU: take one built for tpu"]),
        ("cuda", "BASIC", []),
        ("cuda", "BASIC_GPU", []),
        ("cuda", "BASIC_TPU", ["tier BASIC_TPU: take one built for tpu"]),
        ("tpu", "BASIC", ["the steps (on CPUs): take one built for cpu"]),
        ("tpu", "BASIC_TPU", ["the steps (on CPUs): take one built for cpu"]),
        ("rocm", "BASIC", ["the steps (on CPUs): take one built for cpu"]),
    ],
)
def test_one_image_for_all_must_suit_the_steps_and_the_tier(files, google, label, tier, wrong):
    google.images.build(DIGEST, label)
    findings = findings_of(files(**google.settings, tier=tier), "image")
    errors = [f.sentence for f in findings if f.severity == "error"]
    assert len(errors) == len(wrong)
    for sentence, words in zip(errors, wrong, strict=True):
        assert (
            f"is built for {label} by its label quatrain.accelerator, which does not suit {words}"
            in sentence
        )


def test_each_image_is_compared_with_the_machines_that_run_it(files, google):
    other = "sha256:" + "0b" * 32
    images = {kind: CLOUD["image"].replace(DIGEST, other) for kind in ("cuda", "tpu")}
    google.images.build(other, "cuda")
    settings = {**google.settings, "image": {"cpu": CLOUD["image"], **images}}
    steps, training = findings_of(files(**settings, tier="BASIC_GPU"), "image")
    assert (steps.severity, training.severity) == ("ok", "ok")
    steps, training = findings_of(files(**settings, tier="BASIC_TPU"), "image")
    assert (steps.severity, training.severity) == ("ok", "error")
    assert "--build-arg EXTRA=tpu" in training.fix


def test_an_image_without_its_label_is_unchecked(files, google):
    google.images.build(DIGEST)
    google.images.labels[DIGEST] = {**HERE_LABELS}
    (finding,) = findings_of(files(**google.settings, tier="BASIC_GPU"), "image")
    assert finding.severity == "unchecked"
    assert "suits the steps (on CPUs) and tier BASIC_GPU: it has no label" in (finding.sentence)


def test_a_tier_without_an_image_of_its_own_is_found_offline(files):
    image = {"cpu": CLOUD["image"], "cuda": CLOUD["image"]}
    (finding,) = findings_of(files(image=image, tier="BASIC_TPU"), "parameters")
    assert finding.severity == "error"
    assert "image.tpu: missing in the cloud's settings, and tier BASIC_TPU" in finding.sentence


def test_roles_that_the_account_lacks_come_with_the_commands_that_give_them(files, google):
    google.iam.policies["projects/my-project"] = {"roles/editor"}
    google.iam.policies["gs://my-bucket"] = {"roles/storage.objectUser"}
    google.iam.policies[CLOUD["service_account"]] = set()
    (finding,) = findings_of(files(**google.settings), "roles")
    assert finding.severity == "error"
    assert finding.sentence == (
        "trainer@my-project.iam.gserviceaccount.com lacks roles/iam.serviceAccountUser on itself, "
        "roles/storage.legacyBucketReader on gs://my-bucket, unless a group or a folder gives it"
    )
    assert finding.fix.splitlines()[1] == (
        "gcloud storage buckets add-iam-policy-binding gs://my-bucket "
        "--member=serviceAccount:trainer@my-project.iam.gserviceaccount.com "
        "--role=roles/storage.legacyBucketReader"
    )


@pytest.mark.parametrize("from_cloud", [False, True])
def test_dataflow_needs_roles_of_its_own(files, google, from_cloud):
    settings = {**google.settings, "runner": "dataflow"} if from_cloud else google.settings
    runner = "" if from_cloud else "dataflow"
    (finding,) = findings_of(replace(files(**settings), runner=runner), "roles")
    assert finding.sentence == (
        "trainer@my-project.iam.gserviceaccount.com lacks roles/dataflow.developer on project "
        "my-project, roles/dataflow.worker on project my-project, unless a group or a folder "
        "gives it"
    )


def test_a_missing_account_is_an_error(files, google):
    del google.iam.policies[CLOUD["service_account"]]
    (finding,) = findings_of(files(**google.settings), "roles")
    assert finding.fix == "gcloud iam service-accounts create trainer --project=my-project"


def test_policies_that_may_not_be_read_are_unchecked(files, google):
    google.iam.forbidden = True
    findings = findings_of(files(**google.settings), "roles")
    assert {f.severity for f in findings} == {"unchecked"}
    assert all(f.sentence.endswith("answered 403 to these credentials") for f in findings)
    assert [f.fix.partition(" --")[0] for f in findings] == [
        "gcloud projects get-iam-policy my-project",
        f"gcloud iam service-accounts get-iam-policy {CLOUD['service_account']}",
        "gcloud storage buckets get-iam-policy gs://my-bucket",
        "gcloud storage buckets get-iam-policy gs://data",
    ]


def test_hardware_that_the_region_lacks_is_an_error_that_says_where_it_is(files, google):
    (finding,) = findings_of(files(**google.settings, tier="BASIC_TPU"), "hardware")
    assert finding.severity == "error"
    assert finding.sentence == (
        "no zone of europe-west1 has ct5lp-hightpu-8t; it is in europe-west4"
    )
    machine, accelerator = findings_of(files(**google.settings, tier="BASIC_GPU"), "hardware")
    assert machine.sentence == "n1-standard-8 is in europe-west1-b"
    assert accelerator.sentence == "nvidia-tesla-t4 is in europe-west1-b"


def test_without_credentials_the_rest_is_unchecked(files, monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    findings = list(examine(files(offline=False)))
    credentials = [f for f in findings if f.check == "credentials"]
    assert [f.severity for f in credentials] == ["error"]
    assert credentials[0].fix == "gcloud auth application-default login"
    assert of(findings, "buckets").severity == "unchecked"


def test_the_verb_prints_findings_and_exits_by_the_worst(capsys, files, tmp_path):
    examination = files(spec={"train": {"max_seconds": 600}})
    table = yaml.safe_load(prices.OWN.read_text())
    new = tmp_path / "prices.yaml"
    new.write_text(yaml.safe_dump({**table, "checked": datetime.date.today()}))
    arguments = [
        "doctor",
        examination.spec,
        "--cloud",
        examination.cloud,
        "--offline",
        "--prices",
        new,
    ]
    code, out, _ = quatrain(capsys, *arguments)
    assert code == 0
    assert out.splitlines()[-1].startswith("0 errors, 0 warnings, 9 unchecked, ")
    code, out, _ = quatrain(capsys, *arguments, "--set", "label=z", "--set-cloud", "location=EU")
    assert code == 1
    assert "error      spec" in out and "error      cloud" in out
    _, printed, _ = quatrain(capsys, *arguments, "--set", "label=z", "--json")
    errors = [finding for finding in json.loads(printed) if finding["severity"] == "error"]
    assert [(finding["check"], finding["fix"]) for finding in errors] == [("spec", "")]
    assert "label" in errors[0]["sentence"]
    assert "the rest was not checked: spec and cloud must be right first" in out


def test_the_verb_reports_queries_only_where_it_makes_them(capsys, files, tmp_path):
    code, out, err = quatrain(capsys, "doctor", files().spec, "--cloud", tmp_path / "absent.yaml")
    assert code == 1
    assert "error      cloud" in out
    assert "querying" not in err


def test_a_line_is_reported_before_the_queries(files, google):
    lines = []
    findings = list(examine(files(**google.settings), lines.append))
    assert lines == ["querying Google Cloud ..."]
    assert of(findings, "project").severity == "ok"
