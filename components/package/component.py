"""The KFP doorway of the package step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def package(
    examples: dsl.Input[dsl.Dataset],
    package: dsl.Output[dsl.Artifact],
    trainer_dir: str = "",
) -> str:
    """Builds the trainer's sdist, proves it and publishes it under its digest.

    Args:
        examples: Engineered rows; a handful of them trains the proof.
        package: The sdist and package.json with the checks it passed.
        trainer_dir: The trainer's sources; empty for those of the image.

    Returns:
        The sha256 of the package.
    """
    from pathlib import Path

    from components.package import publishing

    return publishing.publish(Path(examples.path), Path(package.path), trainer_dir)
