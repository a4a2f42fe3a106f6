"""The ways in which people name a pipeline job: its id, its resource name or its page."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from quatrain.vertex.cloud_file import Cloud, CloudError

JOB_ID = re.compile(r"[a-z][a-z0-9-]{0,127}")
"""The pattern that google-cloud-aiplatform checks (pipeline_constants._VALID_NAME_PATTERN)."""

_RESOURCE = re.compile(r"projects/([^/]+)/locations/([^/]+)/pipelineJobs/([^/]+)")
_PAGES = (
    re.compile(r"/vertex-ai/locations/([^/]+)/pipelines/runs/([^/;]+)"),
    re.compile(r"/vertex-ai/pipelines/locations/([^/]+)/runs/([^/;]+)"),
)
"""The paths of a job's page in Google's console, of today and of before."""


def job_id_of(text: str, cloud: Cloud) -> str:
    """Returns the id of a pipeline job.

    Args:
        text: The id, the resource name, or the address of the job's page in Google's console.
        cloud: The project and the location, in which the job must be.

    Raises:
        CloudError: The text is none of these, or names another project or location.
    """
    project, location, job_id = _parts(text)
    if not JOB_ID.fullmatch(job_id):
        raise CloudError(
            f"{text!r} names no pipeline job; give its id, as `submit` printed it, its resource "
            f"name, or the link of its page"
        )
    # An API names a project by its number, which does not say which project it is.
    others = {"project": "" if project.isdigit() else project, "location": location}
    others = {k: v for k, v in others.items() if v not in ("", getattr(cloud, k))}
    if others:
        where = ", ".join(f"{key} {value}" for key, value in others.items())
        own = ", ".join(f"{key} {getattr(cloud, key)}" for key in others)
        settings = " ".join(f"--set-cloud {key}={value}" for key, value in others.items())
        raise CloudError(
            f"{job_id} is in {where}, and the cloud's settings name {own}; add {settings}"
        )
    return job_id


def _parts(text: str) -> tuple[str, str, str]:
    """Returns the project, the location and the id in a text; the first two may be empty."""
    text = text.strip()
    if text.startswith("https://console.cloud.google.com/"):
        address = urlsplit(text)
        project = parse_qs(address.query).get("project", [""])[0]
        for page in _PAGES:
            if match := page.match(address.path):
                return project, match[1], match[2]
    if match := _RESOURCE.fullmatch(text):
        return match[1], match[2], match[3]
    return "", "", text
