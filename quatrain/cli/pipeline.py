"""The verbs for the compiled pipeline: compile writes it to a file, upload to a registry."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from quatrain.cli.options import CLOUD, PATH, TRUST, with_options


@click.command("compile")
@click.option(
    "-o",
    "--output",
    default=None,
    type=PATH,
    help="Where to write the pipeline.  [default: training.yaml or prediction.yaml]",
)
@click.option("--predict", "predicts", is_flag=True, help="Write the pipeline that predicts.")
@click.option(
    "--image",
    default="",
    metavar="REF",
    help="Image of every component and, by default, of the training. Vertex AI needs its digest.",
)
@click.option(
    "--launcher-image",
    default="",
    metavar="REF",
    help="Your copy of the image by which Google's components start jobs.",
)
def compile_verb(output: Path | None, predicts: bool, image: str, launcher_image: str) -> None:
    """Write the pipeline file, which serves every spec.

    The same code and image give the same bytes. The spec is a parameter of each run.

    \b
    Example:
      quatrain compile --image REGION-docker.pkg.dev/P/R/quatrain@sha256:...
    """  # noqa: D301
    from quatrain.components.image import IMAGE, LAUNCHER_IMAGE
    from quatrain.pipelines.compiled import compile_pipeline, read_compiled

    output = output or Path("prediction.yaml" if predicts else "training.yaml")
    if output.suffix not in (".yaml", ".json"):
        raise click.UsageError(f"{output} must end in .yaml or .json")
    path = compile_pipeline(
        output,
        image or IMAGE,
        launcher_image=launcher_image or LAUNCHER_IMAGE,
        predicts=predicts,
    )
    compiled = read_compiled(path)
    click.echo(f"{output}  sha256 {compiled.sha256}  steps {' -> '.join(compiled.steps)}")


@click.command()
@with_options(*CLOUD)
@click.option(
    "--pipeline",
    type=PATH,
    metavar="FILE",
    help="Upload this compiled file instead of compiling one.",
)
@TRUST
@click.option("--tag", "tags", multiple=True, help="A tag for the template. Repeatable.")
@click.option("--allow-tag", is_flag=True, help="Accept an image named by a tag, not a digest.")
def upload(
    cloud: Path,
    set_cloud: tuple[str, ...],
    pipeline: Path | None,
    trust: bool,
    tags: tuple[str, ...],
    allow_tag: bool,
) -> None:
    """Upload the compiled pipeline to the template registry.

    Prints the digest that `quatrain submit --template` takes.

    \b
    Example:
      quatrain upload --cloud cloud.yaml --tag 2026-11
      quatrain submit flights.yaml --template sha256:...
    """  # noqa: D301
    from quatrain.vertex import submission
    from quatrain.vertex.cloud_file import load_cloud
    from quatrain.vertex.registry import Registry

    settings = load_cloud(cloud, set_cloud, allow_tag)
    registry = Registry(settings)
    with tempfile.TemporaryDirectory(prefix="quatrain-upload-") as folder:
        compiled = submission.compile_for(settings, pipeline, Path(folder), trust)
        template = registry.upload(compiled, tags)
    click.echo(f"digest {template.version}")
    click.echo(f"uri    {template.uri}")
    if tags:
        click.echo(f"tags   {', '.join(tags)}")
