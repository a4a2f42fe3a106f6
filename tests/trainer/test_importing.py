"""Large libraries are imported without those that only notebooks need."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from quatrain.trainer import importing
from quatrain.trainer.importing import NOTEBOOK, unnamed, without

CODE = Path(__file__).parents[2]
FAKE = "import sys\nprint('imported', __name__)\n"


def test_a_library_is_hidden_only_inside_the_block(tmp_path, monkeypatch):
    (tmp_path / "drawing.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with without(("drawing",)):
        with pytest.raises(ModuleNotFoundError, match="No module named 'drawing': it is hidden"):
            import drawing
        assert importlib.util.find_spec("json") is not None
    import drawing

    with without(("drawing",)):
        assert importlib.import_module("drawing") is drawing  # it is imported already
    del sys.modules["drawing"]


def test_what_a_trainer_of_one_s_own_names_is_not_hidden(tmp_path, monkeypatch):
    assert unnamed() == NOTEBOOK
    monkeypatch.setattr(importing, "__file__", str(tmp_path / "importing.py"))
    (tmp_path / "importing.py").write_text("'IPython', 'pandas'")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model.py").write_text("frame = table.to_pandas()\n")
    assert unnamed() == ("IPython", "matplotlib", "sklearn")


@pytest.mark.parametrize("library", ["tensorflow", "lightgbm", "apache_beam"])
def test_the_large_libraries_do_without_them(library, tmp_path):
    for name in NOTEBOOK:
        (tmp_path / f"{name}.py").write_text(FAKE)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from quatrain.trainer.importing import NOTEBOOK, without\n"
        f"with without(NOTEBOOK):\n    import {library}\n"
        "print([n for n in NOTEBOOK if n in sys.modules])\n"
    )
    completed = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(CODE), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout == "[]\n"


@pytest.mark.parametrize(("library", "freed"), [("duckdb", True), ("pyarrow.compute", False)])
def test_what_was_imported_without_the_collector_is_freed_at_the_end_for_duckdb_alone(
    library, freed
):
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count() == 0))\n"
        "from quatrain.trainer.importing import uncollected\n"
        f"with uncollected():\n    import {library}\n"
    )
    completed = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(CODE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout == f"{freed}\n"
    assert completed.stderr == ""  # DuckDB would report leaks
