"""A step that trains on a sample, and the error of a model.py that cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quatrain.components.errors import PackageError
from quatrain.components.specification.schema import ModelSpec
from quatrain.face.check import check
from tests.components.conftest import delays, model_of

OWN = Path(__file__).parents[3] / "examples/own-model/model.py"
PREDICTED = "head.predicted(network([numbers, indices])[:, None])"
BROKEN = {
    "an exception": (
        'network.compile("adam", loss)',
        'network.compile("adam", los)',
        r"'trains': exit code 1:\nmine\.py:37, in train: network\.compile.*\nNameError: ",
    ),
    "no export": (
        "export(job, predictor, head, join_cluster(job.strategy), examples)",
        "pass",
        r"'trains': it ended well, but model/metadata\.json is not there",
    ),
    "two rows for one": (
        PREDICTED,
        f"tf.tile({PREDICTED}, [2, 1])",
        r"'answers': exit code 1:\nValueError: \w+ has the shape \[2",
    ),
}


@pytest.fixture
def spec_of(tmp_path: Path) -> Callable[[str], ModelSpec]:
    """Gives the spec of a small table whose trainer is a file of this text."""

    def make(text: str) -> ModelSpec:
        (tmp_path / "delays.csv").write_text(delays(400))
        (tmp_path / "mine.py").write_text(text)
        return model_of(str(tmp_path / "delays.csv"), train={"trainer": str(tmp_path / "mine.py")})

    return make


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_model_is_found_with_its_place(
    case: str, spec_of: Callable[[str], ModelSpec], capsys: pytest.CaptureFixture[str]
) -> None:
    before, after, message = BROKEN[case]
    assert before in OWN.read_text()
    with pytest.raises(PackageError, match=message):
        check(spec_of(OWN.read_text().replace(before, after, 1)).as_document(), train=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("training a step on a sample of the rows ...\n")
