"""`import quatrain` is cheap, and offers what it lists."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import quatrain


def test_importing_quatrain_imports_nothing_else():
    code = "import sys; before = {*sys.modules}; import quatrain; print({*sys.modules} - before)"
    command = [sys.executable, "-c", code]
    completed = subprocess.run(command, check=True, capture_output=True, text=True)
    assert completed.stdout == "{'quatrain'}\n"


def test_the_version_is_the_distribution_s():
    assert quatrain.__version__ == version("quatrain")
    assert "__version__" in dir(quatrain)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'quatrain' has no attribute 'runn'"):
        quatrain.runn  # noqa: B018
