"""The notebook is committed without results, and shows those of any session."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from stn_core.session.file_names import RECORDS_FILE
from stn_core.session.records import append_record
from tests.examples import record
from tests.suite.sessions import GATE, MODELS, command, exactly

REPOSITORY = Path(__file__).parents[1]
NOTEBOOK = REPOSITORY / "notebooks" / "result_analysis.ipynb"
ANY_PYTHON = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
FIGURE, TABLE = "image/svg+xml", "text/html"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with notebooks/, and results/ of a session that trained two models for an epoch."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "notebooks").mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_bench.py").write_text(GATE)
    (folder / "my_models.py").write_text(MODELS)
    cells = ("--dataset", "digits", "-k", exactly("cnn", "stn"), "--seeds", "2")
    search = ("--epochs", "1", "--final", "--save-models")
    stored = f"--baselines={REPOSITORY / 'baselines.json'}"
    others = {name: value for name, value in os.environ.items() if not name.startswith("STN_")}
    others.pop("GITHUB_STEP_SUMMARY", None)
    session = command(*cells, *search, stored)
    subprocess.run(session, check=True, cwd=folder, env=others, capture_output=True)
    return folder


@pytest.fixture
def run_notebook(tmp_path, monkeypatch):
    """Run the notebook in a kernel of this environment, whatever others are installed."""
    for name in [name for name in os.environ if name.startswith("STN_")]:
        monkeypatch.delenv(name)
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))

    def run(folder=NOTEBOOK.parent):
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        kernel = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
        assert kernel.kernel_spec.argv[0] == sys.executable
        place = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, km=kernel, resources=place, timeout=120).execute(cleanup_kc=True)
        return notebook

    return run


def sections(notebook):
    """By heading: the code of a section, and its outputs."""
    found = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            title = cell.source.splitlines()[0]
            found[title] = ("", [])
        elif cell.cell_type == "code" and found:
            code, outputs = found[title]
            found[title] = (code + cell.source, outputs + cell.outputs)
    return found


def kinds(outputs):
    return {kind for output in outputs for kind in output.get("data", ())}


def test_it_is_committed_without_results():
    """`jupyter nbconvert --clear-output --ClearMetadataPreprocessor.enabled=True` makes it so."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata == ANY_PYTHON
    assert all(cell.metadata == {} for cell in notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.nightly
def test_every_section_has_a_paragraph_and_shows_what_it_speaks_of(run_notebook, workplace):
    notebook = run_notebook(workplace / "notebooks")
    pairs = len(notebook.cells) // 2
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code"] * pairs
    found = sections(notebook)
    assert len(found) == pairs - 1  # the first pair is the title and what is imported
    for title, (code, outputs) in found.items():
        wanted = FIGURE if "show(" in code else TABLE
        assert wanted in kinds(outputs), title


@pytest.mark.nightly
def test_a_section_without_data_says_so(run_notebook, tmp_path, monkeypatch):
    """Records alone: a search of one model, whose pictures nobody kept, and a run that crashed."""
    search = {"is_search": True, "test_images": 0, "test_accuracy": None}
    append_record(tmp_path / RECORDS_FILE, record(0, **search, test_cross_entropy=None))
    append_record(tmp_path / RECORDS_FILE, record(1, status="crashed", message="made of glass"))
    monkeypatch.setenv("STN_ANALYSIS", str(tmp_path))
    for title, (_, outputs) in sections(run_notebook()).items():
        said = "".join(output.get("text", "") for output in outputs)
        assert said.strip() or {FIGURE, TABLE} & kinds(outputs), title


@pytest.mark.nightly
def test_a_session_without_a_good_run_is_shown_too(run_notebook, tmp_path, monkeypatch):
    append_record(tmp_path / RECORDS_FILE, record(0, status="crashed", message="made of glass"))
    monkeypatch.setenv("STN_ANALYSIS", str(tmp_path))
    for title, (_, outputs) in sections(run_notebook()).items():
        assert outputs, title


@pytest.mark.nightly
@pytest.mark.parametrize("named", [True, False])
def test_a_folder_without_results_is_one_line(run_notebook, tmp_path, monkeypatch, named):
    (tmp_path / "notebooks").mkdir()
    if named:
        monkeypatch.setenv("STN_ANALYSIS", str(tmp_path))
    with pytest.raises(CellExecutionError) as failure:
        run_notebook(tmp_path / "notebooks")
    line = f"{tmp_path} holds no results: " if named else "there is no session in results/: run"
    assert failure.value.evalue.startswith(line)
    assert failure.value.traceback.strip().splitlines()[-1].startswith(line)
    assert "Traceback" not in failure.value.traceback
