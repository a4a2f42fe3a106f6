"""Forty wrong set-ups, as first runs have them: each ends with a sentence and its command."""

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from quatrain.vertex.doctor.roles import (
    ACCOUNT_ROLES,
    ATTACHMENT_ROLE,
    BUCKET_ROLES,
    DATASET_ROLE,
    KEY_ROLE,
    LOAD_ROLE,
    PROJECT_ROLES,
    READ_SESSION,
    RELEASE_ROLES,
    REPOSITORY_ROLE,
    RUNNER_ROLES,
    SECRET_ROLE,
    SOURCE_ROLE,
    TABLE_ROLE,
    TOPIC_ROLE,
)
from tests.emulators import iam as iam_emulator
from tests.emulators import storage as storage_emulator
from tests.emulators import vertex as vertex_emulator
from tests.quatrain.cli.test_entry import quatrain
from tests.quatrain.conftest import SPEC

TRAINER = "trainer@my-project.iam.gserviceaccount.com"
AGENT = "serviceAccount:service-12345@gcp-sa-aiplatform.iam.gserviceaccount.com"
IMAGE = "europe-west4-docker.pkg.dev/my-project/quatrain/quatrain@sha256:"
CPU, CUDA, TPU, ELSEWHERE = (f"sha256:{digit * 64}" for digit in "0123")
REPOSITORIES = "projects/my-project/locations/europe-west4/repositories"
KEY = "projects/my-project/locations/europe-west4/keyRings/r/cryptoKeys/k"
NETWORK = "projects/12345/global/networks/vpc"
ATTACHMENT = "projects/my-project/regions/europe-west4/networkAttachments/a"
SUBNET = "/compute/v1/projects/my-project/regions/europe-west4/subnetworks"
TABLE = "projects/my-project/datasets/d/tables/t"
PREDICTIONS = "/bigquery/v2/projects/my-project/datasets/answers"
LOGS = "/bigquery/v2/projects/other-project/datasets/answers"
TOPIC, SECRET = "projects/my-project/topics/runs", "projects/my-project/secrets/chat"
VERSION = f"{SECRET}/versions/latest"
NOTIFY = {"webhook": VERSION, "pubsub": TOPIC}
TRAINING = "CustomModelTraining{}PerProjectPerRegion custom_model_training_{}"
OTHER_IMAGE = IMAGE.replace("my-project", "other-project") + ELSEWHERE.partition(":")[2]


@dataclass
class Project:
    """A project in which everything is right, on loopback."""

    storage: storage_emulator.Storage
    iam: iam_emulator.Iam
    vertex: vertex_emulator.Vertex
    cloud: dict[str, Any]
    spec: dict[str, Any]
    arguments: list[str] = field(default_factory=list)

    def write(self):
        with open("cloud.yaml", "w") as cloud, open("toy.yaml", "w") as spec:
            yaml.safe_dump(self.cloud, cloud)
            yaml.safe_dump(self.spec, spec)


@pytest.fixture
def project(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    roles = {
        "projects/my-project": (
            *PROJECT_ROLES,
            *RUNNER_ROLES["dataflow"],
            *RELEASE_ROLES,
            READ_SESSION,
            LOAD_ROLE,
        ),
        TRAINER: ACCOUNT_ROLES,
        "gs://my-bucket": BUCKET_ROLES,
        "gs://data": [SOURCE_ROLE],
        f"{REPOSITORIES}/quatrain": [REPOSITORY_ROLE],
        f"{REPOSITORIES}/templates": [REPOSITORY_ROLE],
        TABLE: [TABLE_ROLE],
        TOPIC: [TOPIC_ROLE],
        SECRET: [SECRET_ROLE],
    }
    machines = ["n1-standard-4", "n1-standard-8", "g2-standard-8", "a3-highgpu-1g"]
    zones = {"europe-west4-a": [*machines, "nvidia-l4", "nvidia-tesla-t4", "nvidia-h100-80gb"]}
    zones["us-west2-a"] = zones["europe-west4-a"]
    iam = iam_emulator.Iam(roles, f"serviceAccount:{TRAINER}", zones)
    storage_agent = "serviceAccount:service-12345@gs-project-accounts.iam.gserviceaccount.com"
    iam.others = {
        KEY: {AGENT: {KEY_ROLE}, storage_agent: {KEY_ROLE}},
        "projects/my-project": {AGENT: {ATTACHMENT_ROLE}},
    }
    peering = {"name": "servicenetworking-googleapis-com", "state": "ACTIVE"}
    iam.resources = {
        f"/compute/v1/{NETWORK}": {"name": "vpc", "peerings": [peering]},
        f"/compute/v1/{ATTACHMENT}": {"name": "a"},
        f"{SUBNET}/default": {"name": "default", "privateIpGoogleAccess": True},
        f"/v1/{KEY}": {"name": KEY, "primary": {"state": "ENABLED"}},
        f"/v1/{REPOSITORIES}/templates": {"format": "KFP"},
        "/bigquery/v2/projects/my-project/datasets/d": {"access": []},
        PREDICTIONS: {
            "location": "europe-west4",
            "access": [{"role": "WRITER", "userByEmail": TRAINER}],
        },
        f"/v1/{TOPIC}": {"name": TOPIC},
        f"/v1/{VERSION}": {"name": f"{SECRET}/versions/3", "state": "ENABLED"},
    }
    limits = {"europe-west4": 2200, "us-west2": 2200}
    names = {
        "CPUs": "cpus",
        "L4GPUs": "nvidia_l4_gpus",
        "G2CPUs": "g2_cpus",
        "T4GPUs": "nvidia_t4_gpus",
    }
    names |= {"PreemptibleH100GPUs": "preemptible_nvidia_h100_gpus"}
    iam.quotas = {TRAINING.format(*name): dict(limits) for name in names.items()}
    iam.quotas["Disk custom_model_training_pd_ssd"] = dict(limits)
    vertex = vertex_emulator.Vertex(location="europe-west4")
    for digest, accelerator in ((CPU, "cpu"), (CUDA, "cuda"), (TPU, "tpu"), (ELSEWHERE, "cpu")):
        vertex.images.build(digest, accelerator)
    with storage_emulator.serving() as storage, vertex_emulator.serving(vertex, iam.answer) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        storage.add_bucket("data", "europe-west4")
        storage.add_bucket("my-bucket", "europe-west4")
        cloud = {
            "project": "my-project",
            "location": "europe-west4",
            "root": "gs://my-bucket/quatrain",
            "image": {
                "cpu": f"{IMAGE}{'0' * 64}",
                "cuda": f"{IMAGE}{'1' * 64}",
                "tpu": f"{IMAGE}{'2' * 64}",
            },
            "service_account": TRAINER,
            "api_endpoint": url,
        }
        train = {"tier": "BASIC", "max_seconds": 600}
        spec = {**copy.deepcopy(SPEC), "source": {"uri": "gs://data/*.csv"}, "train": train}
        yield Project(storage, iam, vertex, cloud, spec)


def cloud(**changes):
    return lambda p: p.cloud.update(changes)


def train(**changes):
    return lambda p: p.spec["train"].update(changes)


def source(uri):
    return lambda p: p.spec.update(source={"uri": uri})


def predicts(p):
    p.spec.update(predict={"table": "bq://my-project.answers.t"})


def logs(uri="bq://my-project.answers.t"):
    return lambda p: p.spec.update(release={"endpoint": "toy", "log": uri})


def elsewhere(p):
    """The dataset of the log is in another project, and lets the run's account read it."""
    p.iam.resources[LOGS] = {"access": [{"role": "READER", "userByEmail": TRAINER}]}


def lacks(resource, *roles):
    """The run's account does not have roles."""
    return lambda p: p.iam.policies[resource].difference_update(roles)


def lost(path):
    return lambda p: p.iam.resources.pop(path)


def has(path, **document):
    return lambda p: p.iam.resources[path].update(document)


def limit(quota, value):
    def change(p):
        (name,) = [
            n for n in p.iam.quotas if n.startswith((f"CustomModelTraining{quota}Per", f"{quota} "))
        ]
        p.iam.quotas[name]["europe-west4"] = value

    return change


def bucket(name, **attributes):
    def change(p):
        for attribute, value in attributes.items():
            setattr(p.storage.buckets[name], attribute, value)

    return change


def agents_lose(resource):
    return lambda p: p.iam.others.pop(resource)


def platform(p):
    p.vertex.images.build(CPU, "cpu", "linux/arm64")


def dataflow(p):
    p.arguments += ["--runner", "dataflow"]


def gone_bucket(name):
    return lambda p: p.storage.buckets.pop(name)


def silent(*names):
    return lambda p: p.iam.silent.update(names)


BQ = "bq://my-project.d.t"
WRONG = {
    # images
    "image for arm64": ([platform], "built for linux/arm64", "--platform linux/amd64"),
    "GPU tier, CPU image": (
        [cloud(image=f"{IMAGE}{'0' * 64}"), train(tier="L4")],
        "does not suit tier L4: take one built for cuda",
        "EXTRA=cuda",
    ),
    "TPU tier, GPU image": (
        [
            cloud(
                image={"cpu": f"{IMAGE}{'0' * 64}", "tpu": f"{IMAGE}{'1' * 64}"},
                location="us-west4",
            ),
            train(tier="V5E"),
        ],
        "does not suit tier V5E: take one built for tpu",
        "EXTRA=tpu",
    ),
    "tier without an image": (
        [
            cloud(image={"cpu": f"{IMAGE}{'0' * 64}", "cuda": f"{IMAGE}{'1' * 64}"}),
            train(tier="V5E"),
        ],
        "image.tpu: missing",
        "make image EXTRA=tpu",
    ),
    "image by tag": (
        [cloud(image="r.pkg.dev/p/r/q:latest")],
        "can move; name it by its digest",
        "describe",
    ),
    "image in another project": (
        [cloud(image={"cpu": OTHER_IMAGE})],
        "service-12345@gcp-sa-aiplatform-cc.iam.gserviceaccount.com lacks "
        "roles/artifactregistry.reader on repository other-project/quatrain",
        "gcloud artifacts repositories add-iam-policy-binding quatrain --location=europe-west4 "
        "--project=other-project",
    ),
    # tiers and regions
    "L4 in europe-west1": (
        [cloud(location="europe-west1"), train(tier="L4")],
        "does not train in europe-west1",
        "quatrain tiers",
    ),
    "v5e in europe-west4": (
        [train(tier="V5E")],
        "ct5lp, with which Vertex AI does not train in europe-west4",
        "quatrain tiers",
    ),
    "region that does not exist": (
        [cloud(location="europe-wset4")],
        "no zone of europe-wset4 has n1-standard-4",
        "quatrain tiers",
    ),
    "tuning on SPOT": (
        [train(tier="BASIC_SPOT", tune={"trials": 2})],
        "trains by SPOT, but Vertex AI runs the trials",
        "--set train.scheduling=STANDARD",
    ),
    "tuning on H100_SPOT": (
        [train(tier="H100_SPOT", tune={"trials": 2})],
        "tier H100_SPOT trains by SPOT",
        "--tier T",
    ),
    "tuning by FLEX_START": (
        [train(tier="H100_FLEX", tune={"trials": 2})],
        "trains by FLEX_START",
        "--tier T",
    ),
    "tuning with an attachment": (
        [cloud(psc_interface=ATTACHMENT), train(tune={"trials": 2})],
        "train.tune and psc_interface do not go together",
        "train.tune=null",
    ),
    # quotas
    "no L4": (
        [train(tier="L4"), limit("L4GPUs", 0)],
        "tier L4 needs 1 of custom_model_training_nvidia_l4_gpus, but the limit of project "
        "my-project in europe-west4 is 0",
        "--quota-id=CustomModelTrainingL4GPUsPerProjectPerRegion --preferred-value=1",
    ),
    "no H100 to spare": (
        [train(tier="H100_SPOT"), limit("PreemptibleH100GPUs", 0)],
        "needs 1 of custom_model_training_preemptible_nvidia_h100_gpus",
        "--preferred-value=1",
    ),
    "20 CPUs for STANDARD_1": (
        [train(tier="STANDARD_1"), limit("CPUs", 20)],
        "tier STANDARD_1 needs 40 of custom_model_training_cpus, but the limit of",
        "--quota-id=CustomModelTrainingCPUsPerProjectPerRegion --preferred-value=40",
    ),
    "450 GB for STANDARD_1": (
        [train(tier="STANDARD_1"), limit("Disk", 450)],
        "needs 500 of custom_model_training_pd_ssd",
        "--quota-id=Disk --preferred-value=500",
    ),
    "4 trials at once": (
        [train(tune={"trials": 8, "parallel": 4}), limit("CPUs", 12)],
        "needs 16 of custom_model_training_cpus",
        "--preferred-value=16",
    ),
    # buckets and sources
    "root's bucket absent": (
        [gone_bucket("my-bucket")],
        "gs://my-bucket does not exist",
        "gcloud storage buckets create",
    ),
    "root in another region": (
        [bucket("my-bucket", location="us-east1")],
        "is in us-east1, the job in europe-west4",
        "buckets create",
    ),
    "retention policy": (
        [bucket("my-bucket", retention_s=86400)],
        "has a retention policy of 86,400 s",
        "update gs://my-bucket --clear-retention-period",
    ),
    "object holds": (
        [bucket("my-bucket", is_held=True)],
        "has a default event-based hold",
        "--no-default-event-based-hold",
    ),
    "source's bucket absent": (
        [gone_bucket("data")],
        "the source's bucket gs://data does not exist",
        "gcloud storage buckets list --project=my-project",
    ),
    "source not for the account": (
        [lacks("gs://data", SOURCE_ROLE)],
        f"{TRAINER} lacks roles/storage.objectViewer on gs://data",
        "add-iam-policy-binding gs://data --member=serviceAccount:" + TRAINER,
    ),
    "table not for the account": (
        [source(BQ), lacks(TABLE, TABLE_ROLE)],
        f"lacks roles/bigquery.dataViewer on {BQ}",
        "bq add-iam-policy-binding",
    ),
    "no read sessions": (
        [source(BQ), lacks("projects/my-project", READ_SESSION)],
        "lacks roles/bigquery.readSessionUser on project my-project",
        "--role=roles/bigquery.readSessionUser",
    ),
    "dataset absent": (
        [source(BQ), lost("/bigquery/v2/projects/my-project/datasets/d")],
        "there is no dataset my-project.d",
        "bq ls --project_id=my-project",
    ),
    "dataset of predictions absent": (
        [predicts, lost(PREDICTIONS)],
        "there is no dataset my-project.answers",
        "bq mk --location=europe-west4 my-project:answers",
    ),
    "dataset of predictions elsewhere": (
        [predicts, has(PREDICTIONS, location="asia-east1")],
        "dataset my-project.answers is in asia-east1, and predictions are loaded into it from a",
        "bq mk --location=europe-west4 my-project:answers",
    ),
    "dataset of predictions not for the account": (
        [predicts, has(PREDICTIONS, access=[{"role": "READER", "userByEmail": TRAINER}])],
        f"lacks {DATASET_ROLE} on dataset my-project.answers",
        f'GRANT `{DATASET_ROLE}` ON SCHEMA `my-project.answers` TO "serviceAccount:{TRAINER}"',
    ),
    "no dataset for the request log": (
        [logs(), lost(PREDICTIONS)],
        "there is no dataset my-project.answers",
        "bq mk --location=europe-west4 my-project:answers",
    ),
    "request log not for the account": (
        [logs(), has(PREDICTIONS, access=[])],
        f"lacks {TABLE_ROLE} on dataset my-project.answers",
        f'GRANT `{TABLE_ROLE}` ON SCHEMA `my-project.answers` TO "serviceAccount:{TRAINER}"',
    ),
    "request log in another project": (
        [logs("bq://other-project.answers.t"), elsewhere],
        f"gcp-sa-aiplatform.iam.gserviceaccount.com lacks {DATASET_ROLE} on dataset "
        "other-project.answers",
        f'GRANT `{DATASET_ROLE}` ON SCHEMA `other-project.answers` TO "{AGENT}"',
    ),
    "no load jobs": (
        [predicts, lacks("projects/my-project", LOAD_ROLE)],
        "lacks roles/bigquery.jobUser on project my-project",
        "--role=roles/bigquery.jobUser",
    ),
    "source on this machine": (
        [source("toy.csv")],
        "toy.csv is on this machine",
        "gcloud storage cp",
    ),
    # accounts
    "account absent": (
        [lambda p: p.iam.policies.pop(TRAINER)],
        f"there is no account {TRAINER}",
        "gcloud iam service-accounts create trainer",
    ),
    "account may not act as itself": (
        [lacks(TRAINER, *ACCOUNT_ROLES)],
        "lacks roles/iam.serviceAccountUser on itself",
        "service-accounts add-iam",
    ),
    "account may not create jobs": (
        [lacks("projects/my-project", "roles/aiplatform.user")],
        "lacks roles/aiplatform.user on project my-project",
        "roles/aiplatform.user",
    ),
    "account may not watch a release": (
        [
            lambda p: p.spec.update(release={"endpoint": "toys"}),
            lacks("projects/my-project", *RELEASE_ROLES),
        ],
        "lacks roles/monitoring.viewer on project my-project",
        "--role=roles/monitoring.viewer",
    ),
    "account may not write": (
        [lacks("gs://my-bucket", "roles/storage.objectUser")],
        "lacks roles/storage.objectUser on gs://my-bucket",
        "roles/storage.objectUser",
    ),
    "templates not for the account": (
        [
            cloud(registry="https://europe-west4-kfp.pkg.dev/my-project/templates"),
            lacks(f"{REPOSITORIES}/templates", REPOSITORY_ROLE),
        ],
        "lacks roles/artifactregistry.reader on repository my-project/templates",
        "repositories add-iam-policy-binding templates",
    ),
    # networks, keys, registries
    "templates' registry absent": (
        [
            cloud(registry="https://europe-west4-kfp.pkg.dev/my-project/templates"),
            lost(f"/v1/{REPOSITORIES}/templates"),
        ],
        "there is no registry europe-west4/my-project/templates",
        "--repository-format=kfp",
    ),
    "registry of another format": (
        [
            cloud(registry="https://europe-west4-kfp.pkg.dev/my-project/templates"),
            has(f"/v1/{REPOSITORIES}/templates", format="DOCKER"),
        ],
        "is a repository of format DOCKER",
        "--repository-format=kfp",
    ),
    "key absent": (
        [cloud(encryption_key=KEY), lost(f"/v1/{KEY}")],
        f"there is no key {KEY}",
        "gcloud kms keys create k",
    ),
    "key disabled": (
        [cloud(encryption_key=KEY), has(f"/v1/{KEY}", primary={"state": "DISABLED"})],
        "is disabled, so nothing can be encrypted",
        "gcloud kms keys versions list",
    ),
    "key not for the agents": (
        [cloud(encryption_key=KEY), agents_lose(KEY)],
        "service-12345@gcp-sa-aiplatform.iam.gserviceaccount.com lacks "
        "roles/cloudkms.cryptoKeyEncrypterDecrypter on the key",
        f"gcloud kms keys add-iam-policy-binding {KEY} --member={AGENT}",
    ),
    "network absent": (
        [cloud(network=NETWORK), lost(f"/compute/v1/{NETWORK}")],
        f"there is no network {NETWORK}",
        "gcloud compute networks create vpc",
    ),
    "network without a peering": (
        [cloud(network=NETWORK), has(f"/compute/v1/{NETWORK}", peerings=[])],
        "has no active peering with Google's services",
        "gcloud services vpc-peerings connect",
    ),
    "attachment absent": (
        [cloud(psc_interface=ATTACHMENT), lost(f"/compute/v1/{ATTACHMENT}")],
        f"there is no attachment {ATTACHMENT}",
        "network-attachments create a",
    ),
    "attachment not for the agent": (
        [cloud(psc_interface=ATTACHMENT), agents_lose("projects/my-project")],
        "lacks roles/compute.networkAdmin on project my-project",
        "--role=roles/compute.networkAdmin",
    ),
    "Dataflow without Private Google Access": (
        [dataflow, has(f"{SUBNET}/default", privateIpGoogleAccess=False)],
        "subnetwork default of europe-west4 has no Private Google Access",
        "subnets update default --region=europe-west4 --project=my-project "
        "--enable-private-ip-google-access",
    ),
    "Dataflow in a subnetwork that is not there": (
        [dataflow, cloud(runner_options={"subnetwork": "regions/europe-west4/subnetworks/x"})],
        "there is no subnetwork projects/my-project/regions/europe-west4/subnetworks/x",
        "subnets create x",
    ),
    "Dataflow may not pull the image": (
        [dataflow, lacks(f"{REPOSITORIES}/quatrain", REPOSITORY_ROLE)],
        "lacks roles/artifactregistry.reader on repository my-project/quatrain",
        "repositories add-iam-policy-binding quatrain",
    ),
    # notices
    "topic absent": (
        [cloud(notify=NOTIFY), lost(f"/v1/{TOPIC}")],
        f"there is no topic {TOPIC}",
        "gcloud pubsub topics create runs --project=my-project",
    ),
    "topic not for the account": (
        [cloud(notify=NOTIFY), lacks(TOPIC, TOPIC_ROLE)],
        "lacks roles/pubsub.publisher on topic runs",
        "gcloud pubsub topics add-iam-policy-binding runs --project=my-project --member=",
    ),
    "secret absent": (
        [cloud(notify=NOTIFY), lost(f"/v1/{VERSION}")],
        f"there is no secret {VERSION}",
        "gcloud secrets create chat --project=my-project",
    ),
    "secret disabled": (
        [cloud(notify=NOTIFY), has(f"/v1/{VERSION}", state="DISABLED")],
        "is disabled, so no notice can be sent",
        "gcloud secrets versions add chat --project=my-project --data-file=FILE",
    ),
    "secret not for the account": (
        [cloud(notify=NOTIFY), lacks(SECRET, SECRET_ROLE)],
        "lacks roles/secretmanager.secretAccessor on secret chat",
        "gcloud secrets add-iam-policy-binding chat --project=my-project --member=",
    ),
    "webhook without https": (
        [cloud(notify={"webhook": "http://example.com/T0K3N"})],
        "the webhook 'http://example.com/...' cannot be used",
        "write https://HOST/PATH",
    ),
    "misspelt runner option": (
        [cloud(runner_options={"subnetwrok": "x"})],
        "runner_options: runner option 'subnetwrok' is none of Beam's; did you mean 'subnetwork'",
        "correct runner_options",
    ),
}


def doctor(project, capsys, *arguments):
    project.write()
    code, out, err = quatrain(capsys, "doctor", "toy.yaml", *project.arguments, *arguments)
    return code, out + err


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [train(tier="L4")],
        [train(tier="H100_SPOT")],
        [source(BQ)],
        [predicts],
        [logs()],
        [dataflow],
        [cloud(network=NETWORK, encryption_key=KEY)],
        [cloud(psc_interface=ATTACHMENT)],
        [cloud(registry="https://europe-west4-kfp.pkg.dev/my-project/templates")],
        [cloud(notify=NOTIFY)],
    ],
)
def test_nothing_is_wrong_with_a_right_set_up(project, capsys, changes):
    for change in changes:
        change(project)
    code, printed = doctor(project, capsys, "--strict")
    assert (code, "0 errors" in printed, " 0 unchecked" in printed) == (0, True, True), printed
    asked = project.vertex.user_projects
    assert not [path for path in asked if path.endswith((":publish", ":access"))]


def test_an_address_that_is_no_secret_is_a_warning_without_its_path(project, capsys):
    project.cloud["notify"] = {"webhook": "https://hooks.example.com/services/T0K3N?key=T0K3N"}
    code, printed = doctor(project, capsys, "--strict")
    assert code == 0 and "T0K3N" not in printed
    assert "the address of https://hooks.example.com/... stands in the parameters of" in printed


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_set_up_ends_with_a_sentence_and_its_command(project, capsys, wrong):
    changes, sentence, command = WRONG[wrong]
    for change in changes:
        change(project)
    code, printed = doctor(project, capsys)
    assert code == 1, printed
    assert sentence in printed
    assert command in printed


def test_a_role_on_the_project_holds_for_its_buckets(project, capsys):
    for bucket_name, role in (("gs://data", "objectViewer"), ("gs://my-bucket", "objectUser")):
        lacks(bucket_name, f"roles/storage.{role}")(project)
    project.iam.policies["projects/my-project"].add("roles/storage.objectUser")
    assert doctor(project, capsys)[0] == 0


def test_there_are_forty():
    assert len(WRONG) >= 40


@pytest.mark.parametrize(
    "name", ["projects/my-project", TRAINER, "gs://my-bucket", "gs://data", "quotas"]
)
def test_what_may_not_be_asked_hides_nothing_else_and_is_an_error_if_strict(project, capsys, name):
    silent(name)(project)
    bucket("my-bucket", retention_s=60)(project)
    if name != "gs://data":
        lacks("gs://data", SOURCE_ROLE)(project)
    code, printed = doctor(project, capsys)
    assert code == 1
    # The project's policy may give the role, too.
    is_known = name not in ("gs://data", "projects/my-project")
    assert ("lacks roles/storage.objectViewer on gs://data" in printed) == is_known
    assert "has a retention policy of 60 s" in printed
    bucket("my-bucket", retention_s=0)(project)
    project.iam.policies["gs://data"].add(SOURCE_ROLE)
    code, printed = doctor(project, capsys)
    assert (code, "\n0 errors" in printed) == (0, True), printed
    code, printed = doctor(project, capsys, "--strict")
    assert code == 1
    assert "unchecked  " in printed


def test_a_bucket_that_may_not_be_asked_is_an_error_only_if_strict(project, capsys):
    project.storage.buckets["my-bucket"].forbidden = True
    assert doctor(project, capsys)[0] == 0
    code, printed = doctor(project, capsys, "--strict")
    assert code == 1
    assert "they lack storage.buckets.get" in printed


def test_every_question_names_the_project_whose_quota_it_uses(project, capsys):
    for change in (dataflow, cloud(network=NETWORK, encryption_key=KEY), source(BQ)):
        change(project)
    assert doctor(project, capsys)[0] == 0
    asked = {
        path: user_project
        for path, user_project in project.vertex.user_projects.items()
        if not path.endswith("/schedules") and "/launcher" not in path
    }
    assert len(asked) > 15
    google_s = {p for p in asked if not p.startswith("/v2/")}
    assert {asked[path] for path in google_s} == {"my-project"}
