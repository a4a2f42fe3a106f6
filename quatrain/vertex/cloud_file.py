"""Reads the settings of the cloud, `cloud.yaml`, and reports every problem in it at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from quatrain.components.documents import DocumentError, read_documents, requirement
from quatrain.components.errors import QuatrainError
from quatrain.components.image import LAUNCHER_IMAGE
from quatrain.components.notify.sending import SECRET, NoticeError, check_topic, check_webhook
from quatrain.components.wording import near
from quatrain.validation.load import override
from quatrain.validation.problems import PLACEHOLDER

if TYPE_CHECKING:
    from quatrain.components.tiers.tiers import Tier

LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
MAX_LABELS = 64
"""https://cloud.google.com/resource-manager/docs/labels-overview#requirements"""
OWN_LABELS = ("quatrain", "spec", "template", "image", "data", "request")
"""The labels that submit and schedule write on a job themselves."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._:-]*"
_PROJECT = r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"
_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
_IMAGE = rf"{_HOST}(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:\w[\w.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?"
_FORMS: dict[str, tuple[str, str]] = {
    "project": (_PROJECT, "my-project"),
    "location": (r"[a-z]+-[a-z]+[0-9]+", "us-central1"),
    # Google's tools take * ? [ ] for globs and # for a version
    # (https://cloud.google.com/storage/docs/objects#naming), and Dataflow's workers parse a whole
    # uri, in which % # ? are no parts of a name. Quotes would end the JSON text of a training job.
    "root": (
        r"gs://[a-z0-9][a-z0-9._-]*[a-z0-9]"
        r"(/(?!\.{1,2}(/|$))[^/?#%*\[\]\"\\\x00-\x1f\x7f-\x9f]+)*/?",
        "gs://bucket/quatrain",
    ),
    "image": (
        _IMAGE,
        "REGION-docker.pkg.dev/PROJECT/REPOSITORY/quatrain@sha256:DIGEST",
    ),
    "launcher_image": (
        _IMAGE,
        "REGION-docker.pkg.dev/PROJECT/REPOSITORY/google-cloud-pipeline-components@sha256:DIGEST",
    ),
    "service_account": (
        r"[a-z0-9][a-z0-9-]*@[a-z0-9-]+(\.[a-z0-9-]+)*\.gserviceaccount\.com",
        "trainer@my-project.iam.gserviceaccount.com",
    ),
    "network": (rf"projects/[0-9]+/global/networks/{_NAME}", "projects/12345/global/networks/vpc"),
    "psc_interface": (
        rf"projects/{_NAME}/regions/{_NAME}/networkAttachments/{_NAME}",
        "projects/my-project/regions/us-central1/networkAttachments/NAME",
    ),
    "step_memory": (r"[1-9][0-9]*(Ki?|Mi?|Gi?|Ti?)", "32G"),
    "encryption_key": (
        rf"projects/{_NAME}/locations/{_NAME}/keyRings/{_NAME}/cryptoKeys/{_NAME}",
        "projects/my-project/locations/us-central1/keyRings/RING/cryptoKeys/KEY",
    ),
    "registry": (
        rf"https://[a-z]+(-[a-z]+[0-9]+)?-kfp\.pkg\.dev/{_PROJECT}/[a-z][a-z0-9-]{{0,62}}",
        "https://us-central1-kfp.pkg.dev/my-project/templates",
    ),
    # The id of a context of Vertex ML Metadata, of 4 to 128 characters, that begins the id of each
    # run's (CreateContextRequest.context_id).
    "experiment": (r"[a-z][a-z0-9-]{3,62}", "flights-weekly"),
    "api_endpoint": (rf"https?://{_HOST}", "http://127.0.0.1:8080"),
}
"""The pattern of each text, and an example for messages. None lets a text name another host than
Google's, where credentials would go with the request; `api_endpoint` gets none."""
_TEST_REGISTRY = (rf"https?://{_HOST}(/[A-Za-z0-9._-]+)*", "http://127.0.0.1:8080/templates")
"""The form of `registry` beside an `api_endpoint`, where no credentials are sent."""
_MORE = {
    "root": '; no name in it is . or .., or holds one of ? # % * [ ] " \\',
    "experiment": "; it has 4 to 63 lower-case letters, digits and hyphens",
}
"""What an example does not show."""


def form_of(name: str, anonymous: bool = False) -> tuple[str, str]:
    """Returns the pattern of a setting and an example; without a form both are empty.

    Args:
        name: The name of the setting.
        anonymous: Whether there is an `api_endpoint`, so that no credentials are sent.
    """
    return _TEST_REGISTRY if anonymous and name == "registry" else _FORMS.get(name, ("", ""))


class CloudError(QuatrainError):
    """The cloud's settings are wrong, or the cloud refused; the message says what to do."""


class Images(BaseModel):
    """The images by what they are built for, or one image for all.

    Attributes:
        cpu: The image of the steps, and of tiers without accelerators.
        cuda: The image of the training on GPUs.
        tpu: The image of the training on TPUs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str | None = None
    cuda: str | None = None
    tpu: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"cpu": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> Images:
        if self.cpu is None and len(self.all) != 1:
            raise ValueError("name the image of the steps as image.cpu, or one image for all")
        return self

    @property
    def all(self) -> dict[str, str]:
        """The images by what they are built for."""
        return self.model_dump(exclude_none=True)

    @property
    def steps(self) -> str:
        """The image of every step but the training job."""
        return self.cpu or next(iter(self.all.values()))

    def of(self, accelerator: str) -> str | None:
        """Returns the image for cpu, cuda or tpu; the only image serves all."""
        return self.all.get(accelerator) if len(self.all) > 1 else self.steps


class Notify(BaseModel):
    """Who hears how a run ended.

    Attributes:
        webhook: An https address, or the version of a secret that holds one.
        pubsub: A topic of Pub/Sub.
        predicted: Whether a prediction that succeeds without drift sends a notice, too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    webhook: str | None = None
    pubsub: str | None = None
    predicted: bool = False

    @model_validator(mode="after")
    def _right(self) -> Notify:
        if not self.addresses:
            raise ValueError("name a webhook, a pubsub topic, or both")
        try:
            if self.webhook is not None:
                check_webhook(self.webhook)
            if self.pubsub is not None:
                check_topic(self.pubsub)
        except NoticeError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def secret(self) -> str | None:
        """The version of a secret that holds the webhook's address; None if it is no secret."""
        return self.webhook if self.webhook and SECRET.fullmatch(self.webhook) else None

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses by their kind."""
        found = {"webhook": self.webhook, "pubsub": self.pubsub}
        return {kind: address for kind, address in found.items() if address is not None}


class Cloud(BaseModel):
    """Where a job runs, under which account and in which images.

    Attributes:
        project: The project of the job.
        location: The region of the job and of every bucket it writes to.
        root: The folder of all artifacts.
        image: The image of every component and replica, by its digest; or one for each of cpu, cuda
            and tpu, of which the training job runs the one for the accelerators of its tier.
        service_account: The account that the job runs under.
        launcher_image: A copy of Google's image of the launchers, by its digest.
        network: The peered network, by the number of its project.
        reserved_ip_ranges: The reserved ranges of the peered network that jobs take addresses from.
        psc_interface: The network attachment of Private Service Connect, instead of a network.
        encryption_key: The customer-managed key for everything that the job writes.
        labels: Your own labels for every job.
        runner: Where Beam runs, unless `--runner` says; by default in the steps themselves.
        runner_options: Beam's options for that runner, such as Dataflow's `subnetwork`. Without
            `runner`, they are for any runner but local.
        failure_policy: `fast` stops a run at the first failed task; `slow` finishes the others.
        step_memory: What each step may use, such as 32G; by default, what Vertex AI gives.
        step_cpu: How many CPUs each step may use, such as 8.
        retries: How often a failed component is retried; a training job never is.
        budget_usd: `doctor` and `submit` refuse a run that may cost more.
        registry: The repository of templates.
        notify: Who hears how a run ended.
        experiment: The experiment of Vertex AI that each run is mirrored to when it has ended.
        api_endpoint: Replaces Google's addresses, without credentials; for tests.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: str
    location: str
    root: str
    image: Images
    service_account: str
    network: str | None = None
    reserved_ip_ranges: tuple[str, ...] = ()
    psc_interface: str | None = None
    encryption_key: str | None = None
    launcher_image: str | None = None
    labels: dict[str, str] = {}
    runner: str | None = None
    runner_options: dict[str, str | bool | int | float | list[str]] = {}
    failure_policy: Literal["fast", "slow"] = "fast"
    step_memory: str | None = None
    step_cpu: Annotated[int, Field(ge=1)] | None = None
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    budget_usd: Annotated[float, Field(gt=0)] | None = None
    registry: str | None = None
    notify: Notify | None = None
    experiment: str | None = None
    api_endpoint: str | None = None

    @property
    def parent(self) -> str:
        """The resource name of the project's location."""
        return f"projects/{self.project}/locations/{self.location}"

    def runner_for(self, requested: str) -> str:
        """Returns the runner of a request, which may be empty."""
        return requested or self.runner or "local"

    def options_for(self, runner: str) -> dict[str, Any]:
        """Returns the options of a runner, if these settings are for it."""
        meant = runner == self.runner if self.runner else runner != "local"
        return dict(self.runner_options) if meant else {}

    @property
    def launcher(self) -> str:
        """The image of the launchers: the copy, or Google's own."""
        return self.launcher_image or LAUNCHER_IMAGE

    def train_image(self, tier: Tier) -> str:
        """Returns the image of a tier's replicas.

        Raises:
            CloudError: There are several images, and none for this tier.
        """
        image = self.image.of(tier.accelerator)
        if image is None:
            raise CloudError(
                f"image.{tier.accelerator}: missing in the cloud's settings, and tier {tier.name} "
                f"trains in that image; build it with `make image EXTRA={tier.accelerator}`, push "
                f"it, and name it by its digest"
            )
        return image


def load_cloud(path: Path | str, overrides: Sequence[str] = (), allow_tag: bool = False) -> Cloud:
    """Reads the settings of the cloud.

    Args:
        path: The file.
        overrides: Settings of the form `a.b=value`, with the value in YAML.
        allow_tag: Whether to accept an image that is named by a tag.

    Raises:
        CloudError: The file is missing, is not YAML or is wrong. The message has every problem,
            with its place and the way out.
    """
    file = Path(path)
    try:
        (value, *_) = [*read_documents(path), None]
    except DocumentError as error:
        raise CloudError(
            f"{path}: {error}; write project, location, root, image and service_account into it"
        ) from error
    if not isinstance(value, dict):
        raise CloudError(f"{path}: is no mapping; it must be a mapping of settings")
    for text in overrides:
        override(value, text, "--set-cloud")
    problems, cloud = [], None
    try:
        cloud = Cloud.model_validate(value)
    except ValidationError as error:
        problems = [_sentence(e) for e in error.errors()]
    problems += _problems(value, allow_tag)
    if cloud is None or problems:
        raise CloudError("\n".join(f"{file.name}: {problem}" for problem in problems))
    return cloud


def _sentence(error: Any) -> str:
    """Returns an error of pydantic as a sentence with its place."""
    kind, at = error["type"], ".".join(map(str, error["loc"]))
    if kind == "missing":
        return f"{at}: missing; for example {_FORMS[at][1]}"
    if kind == "extra_forbidden":
        if error["loc"][0] == "notify" and len(error["loc"]) > 1:
            key = str(error["loc"][1])
            at = at if key.isidentifier() else "notify"  # an address in the place of a key
            return f"{at}: unknown key{near(key, Notify.model_fields)}"
        if len(error["loc"]) > 1:
            return f"{at}: unknown key; an image is for cpu, cuda (GPUs) or tpu"
        return f"{at}: unknown key{near(at, Cloud.model_fields)}"
    if kind == "model_type" and at == "notify":
        return f"{at}: write a mapping of webhook and pubsub"
    if kind == "model_type":
        return f"{at}: write one image, or a mapping of cpu, cuda and tpu, not {error['input']!r}"
    if kind == "value_error":
        return f"{at}: {error['ctx']['error']}"
    if kind == "literal_error":
        return f"{at}: unknown word {error['input']!r}{near(error['input'], ('fast', 'slow'))}"
    return f"{at}: {requirement(error)}, not {_quoted(at, error['input'])}"


def _quoted(where: str, value: Any) -> str:
    """Returns a value for a message; of an address of notices, a secret, only its type."""
    is_secret = where.partition(".")[0] == "notify"
    return f"this {type(value).__name__}" if is_secret else repr(value)


def _problems(value: Mapping[str, Any], allow_tag: bool) -> Iterator[str]:
    """Yields what the schema cannot check: the forms of texts, and settings that conflict."""
    location, images = value.get("location"), value.get("image")
    if isinstance(images, Mapping):
        places = {f"image.{accelerator}": image for accelerator, image in images.items()}
    else:
        places = {"image": images}
    places["launcher_image"] = value.get("launcher_image")
    for where, text in {**value, **places}.items():
        name = str(where).partition(".")[0]
        form, example = form_of(name, anonymous=bool(value.get("api_endpoint")))
        if form and isinstance(text, str) and not re.fullmatch(form, text):
            yield f"{where}: {text!r} has another form than {example}{_MORE.get(where, '')}"
    for where, image in places.items():
        if not isinstance(image, str) or "@sha256:" in image or allow_tag:
            continue
        yield (
            f"{where}: {image!r} can move; name it by its digest ({image}@sha256:...), which "
            f"`gcloud artifacts docker images describe {image}` prints, or "
            f"pass --allow-tag, which submit, upload and schedule apply accept"
        )
    for name, part in (("psc_interface", "regions"), ("encryption_key", "locations")):
        region = re.search(rf"/{part}/([^/]+)/", str(value.get(name)))
        if region and region[1] != location:
            yield f"{name}: it is in {region[1]}; it must be in the job's region, {location}"
    if value.get("reserved_ip_ranges") and not value.get("network"):
        yield "reserved_ip_ranges: they are ranges of a peered network; set network, too"
    if value.get("network") and value.get("psc_interface"):
        yield "psc_interface: a job takes a network or a PSC interface, not both"
    yield from _text_problems(value, "")
    labels = value.get("labels")
    yield from _label_problems(labels if isinstance(labels, Mapping) else {})


def _text_problems(value: Any, where: str) -> Iterator[str]:
    """Yields texts that a pipeline would replace, or that hold control characters."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _text_problems(str(key), where)
            yield from _text_problems(entry, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for entry in value:
            yield from _text_problems(entry, where)
    elif isinstance(value, str) and PLACEHOLDER in value:
        shown = _quoted(where, value)
        yield f"{where or 'key'}: {shown} holds {PLACEHOLDER!r}, which a pipeline replaces"
    elif isinstance(value, str) and not value.isprintable() and where not in _FORMS:
        shown = _quoted(where, value)
        yield f"{where or 'key'}: {shown} holds a control character; remove it"


def _label_problems(labels: Mapping[Any, Any]) -> Iterator[str]:
    """Yields labels that Google would refuse or that Quatrain writes itself."""
    for key, text in labels.items():
        if key in OWN_LABELS:
            yield f"labels.{key}: Quatrain writes this label; choose another key"
        elif not LABEL_KEY.fullmatch(str(key)):
            yield (
                f"labels.{key}: a key is a lower-case letter, then lower-case letters, digits, "
                f"underscores and hyphens, 63 in all"
            )
        if isinstance(text, str) and not LABEL_VALUE.fullmatch(text):
            yield (
                f"labels.{key}: {text!r} may hold lower-case letters, digits, underscores and "
                f"hyphens, 63 at most"
            )
    if len(labels) + len(OWN_LABELS) > MAX_LABELS:
        yield f"labels: {len(labels)} are too many; at most {MAX_LABELS - len(OWN_LABELS)}"
