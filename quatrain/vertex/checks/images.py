"""Checks that the images of a run suit its machines, by what the registry says of each.

Doctor, submit, schedule and `check --cloud` ask the same questions here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from quatrain.components.tiers.tiers import Tier
from quatrain.vertex.checks.findings import Finding
from quatrain.vertex.cloud_file import Cloud, CloudError
from quatrain.vertex.google_apis import GoogleApis, NoAnswer, find_credentials

PLATFORM = "linux/amd64"
"""What every machine of Vertex AI and Dataflow that a tier names runs."""

ACCELERATOR = "quatrain.accelerator"
"""The label of an image that says what it is built for."""

SUITS = {"cpu": ("cpu",), "cuda": ("cuda", "cpu"), "tpu": ("tpu",)}
"""The machines that an image suits, by its label. TensorFlow with CUDA also runs without a GPU, but
the one for TPUs first looks for a TPU for minutes."""

VERSIONS = {"quatrain": "org.opencontainers.image.version", "apache-beam": "quatrain.beam"}
"""Packages whose version stands in a label of the image; both must match this machine's."""

_OCI = "application/vnd.oci.image."
_DOCKER = "application/vnd.docker.distribution.manifest."
_MANIFESTS = f"{_OCI}manifest.v1+json, {_OCI}index.v1+json, {_DOCKER}v2+json, {_DOCKER}list.v2+json"


@dataclass(frozen=True)
class ContainerImage:
    """What a registry says of an image.

    Attributes:
        reference: The image as the cloud's settings name it.
        platforms: The platforms it is built for; only linux/amd64 if that is one of them.
        labels: The labels of the image for linux/amd64.
    """

    reference: str
    platforms: tuple[str, ...]
    labels: Mapping[str, str]


def image_findings(
    apis: GoogleApis, cloud: Cloud, tier: Tier | None, *, of_versions: bool = True
) -> Iterator[Finding]:
    """Yields what is wrong with each image of a run, or that nothing is.

    Args:
        apis: The way to the registry.
        cloud: The settings that name the images.
        tier: The tier of the training; None if it is wrong.
        of_versions: Whether to compare the versions in the image with this machine's.
    """
    for reference, machines in machines_of(cloud, tier).items():
        try:
            image = read_image(apis, reference)
        except NoAnswer as error:
            sentence = f"{reference}: {error}; {_MAY_LACK}"
            yield Finding("image", "unchecked", sentence, describe(reference))
            continue
        if image is None:
            name = reference.partition("@")[0]
            yield Finding(
                "image",
                "error",
                f"{reference} is not in the registry; push it and name the digest this prints:",
                f"docker push {name} && {describe(name)}",
            )
            continue
        wrong = list(_problems(image, machines))
        wrong += _versions(image) if of_versions else []
        yield from wrong or [
            Finding("image", "ok", f"{reference} is there, built for {image.labels[ACCELERATOR]}")
        ]


def launcher_finding(apis: GoogleApis, cloud: Cloud) -> Finding:
    """Returns whether the registry has the launchers' image, which a run pulls after two steps."""
    reference = cloud.launcher
    try:
        image = read_image(apis, reference)
    except NoAnswer as error:
        sentence = f"whether the registry has the launchers' image {reference}: {error}"
        return Finding("launcher", "unchecked", sentence, describe(reference))
    copy = "copy it into your registry, and name the copy as launcher_image: docs/operations.md"
    if image is None:
        sentence = f"{reference}, the launchers' image, is not in the registry"
        return Finding("launcher", "error", sentence, copy)
    if PLATFORM not in image.platforms:
        platforms = " and ".join(image.platforms)
        sentence = f"{reference}, the launchers' image, is built for {platforms}, not {PLATFORM}"
        return Finding("launcher", "error", sentence, copy)
    of_google = "" if cloud.launcher_image else ", by a tag of Google's, outside of your project"
    return Finding("launcher", "ok", f"{reference} is there{of_google}")


def check_images(cloud: Cloud, tier: Tier) -> list[str]:
    """Checks the images of a run, and returns sentences about what could not be checked.

    Raises:
        CloudError: An image is absent, or does not suit the machines that would run it.
    """
    cloud.train_image(tier)
    try:
        apis = GoogleApis(cloud, None if cloud.api_endpoint else find_credentials()[0])
    except NoAnswer as error:
        return [f"image: not checked, as {error}"]
    findings = list(image_findings(apis, cloud, tier, of_versions=False))
    findings.append(launcher_finding(apis, cloud))
    if wrong := [finding for finding in findings if finding.severity == "error"]:
        raise CloudError("\n".join(f"{f.check}: {f.sentence}\n{f.fix}" for f in wrong))
    unchecked = (finding for finding in findings if finding.severity == "unchecked")
    return [f"{finding.check}: not checked: {finding.sentence}" for finding in unchecked]


def machines_of(cloud: Cloud, tier: Tier | None) -> dict[str, dict[str, str]]:
    """Returns who runs each image of a run, by what the machine has: cpu, cuda or tpu."""
    machines = {cloud.image.steps: {"cpu": "the steps (on CPUs)"}}
    if tier and (image := cloud.image.of(tier.accelerator)):
        machines.setdefault(image, {}).setdefault(tier.accelerator, f"tier {tier.name}")
    return machines


def read_image(apis: GoogleApis, reference: str) -> ContainerImage | None:
    """Returns what the registry says of an image, or None if the image is not there.

    Raises:
        NoAnswer: The registry did not answer, or not as registries do.
    """
    host, _, rest = reference.partition("/")
    name, _, digest = rest.partition("@")
    name, _, tag = name.partition(":")
    # These hosts get the credentials of this machine.
    at_google = bool(re.fullmatch(r"[a-z0-9-]+\.pkg\.dev|gcr\.io", host))
    scheme = "http" if host.split(":")[0] in ("localhost", "127.0.0.1") else "https"
    base = f"{scheme}://{host}"
    if at_google and apis.cloud.api_endpoint:
        base = apis.cloud.api_endpoint

    def read(path: str) -> Any:
        url, headers = f"{base}/v2/{name}/{path}", {"Accept": _MANIFESTS}
        answer = apis.fetch(url, authorized=at_google, headers=headers)
        return None if answer is None else answer.json()

    try:
        manifest = read(f"manifests/{digest or tag or 'latest'}")
        if manifest is None:
            return None
        if "manifests" in manifest:
            digests = {_platform(m.get("platform", {})): m["digest"] for m in manifest["manifests"]}
            if PLATFORM not in digests:
                return ContainerImage(reference, tuple(sorted(digests)), {})
            manifest = read(f"manifests/{digests[PLATFORM]}")
        config = read(f"blobs/{manifest['config']['digest']}")
        labels = config.get("config", {}).get("Labels") or {}
        return ContainerImage(reference, (_platform(config),), labels)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoAnswer(
            f"{host} answered with another thing than an image; check the name of the image"
        ) from error


def _platform(value: Mapping[str, str]) -> str:
    return f"{value.get('os', 'unknown')}/{value.get('architecture', 'unknown')}"


def _problems(image: ContainerImage, machines: Mapping[str, str]) -> Iterator[Finding]:
    """Yields why an image does not suit the machines that would run it."""
    built_for = image.labels.get(ACCELERATOR, "")
    if PLATFORM not in image.platforms:
        platforms = " and ".join(image.platforms)
        yield Finding(
            "image",
            "error",
            f"{image.reference} is built for {platforms}, but Vertex AI runs {PLATFORM}, where no "
            f"step of it would start (exec format error)",
            _rebuild(image, built_for or next(iter(machines))),
        )
        return
    if not built_for:
        yield Finding(
            "image",
            "unchecked",
            f"whether {image.reference} suits {' and '.join(machines.values())}: it has no label "
            f"{ACCELERATOR}",
            _rebuild(image, next(iter(machines))),
        )
        return
    for accelerator, who in machines.items():
        if accelerator not in SUITS.get(built_for, ()):
            yield Finding(
                "image",
                "error",
                f"{image.reference} is built for {built_for} by its label {ACCELERATOR}, which "
                f"does not suit {who}: take one built for {accelerator}",
                f"{_rebuild(image, accelerator)}\nname it as image.{accelerator} in the cloud's "
                f"settings",
            )


def _versions(image: ContainerImage) -> list[Finding]:
    """Compares the versions in an image's labels with those that compile and submit here."""
    here = {package: metadata.version(package) for package in VERSIONS}
    differ = [
        f"{package} is {image.labels.get(label) or 'not labelled'} there and {here[package]} here"
        for package, label in VERSIONS.items()
        if image.labels.get(label) != here[package]
    ]
    if not differ or PLATFORM not in image.platforms:
        return []
    return [
        Finding(
            "image",
            "error",
            f"{image.reference} is there, but {' and '.join(differ)}",
            _rebuild(image, image.labels.get(ACCELERATOR, "cpu")),
        )
    ]


def _rebuild(image: ContainerImage, accelerator: str) -> str:
    """Returns the commands that build an image, push it and print its digest."""
    host, _, path = image.reference.partition("@")[0].partition("/")
    name = f"{host}/{path.partition(':')[0]}:{metadata.version('quatrain')}-{accelerator}"
    return (
        f"docker build --platform {PLATFORM} --build-arg EXTRA={accelerator} --tag {name} .\n"
        f"docker push {name} && {describe(name)}"
    )


def describe(reference: str) -> str:
    """Returns the command that prints what Google's registry knows of an image."""
    return f"gcloud artifacts docker images describe {reference}"


_MAY_LACK = (
    "these credentials may lack roles/artifactregistry.reader, or the registry is not Google's"
)
