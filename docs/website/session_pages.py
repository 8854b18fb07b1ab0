"""What the site shows of one session: its report, its mistakes, and the notebook with outputs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from stn_core.errors import UsageError
from stn_core.session.file_names import FIGURES_FOLDER, REPORT_FILE

SHOWN = {
    "confusion": "Confusion matrix: a row is the true class, a column the predicted one",
    "worst-mistakes": "The mistakes of which it was most certain",
    "first-mistakes": "The first mistakes of the test set",
    "warps": "Images before and after the warp, with the sampling grid",
    "film": "The warp during training",
}
"""Figures of a cell, by the end of their file's name."""
WITHOUT = "*This copy of the site was built without a session: `make docs` takes `RESULTS`.*"


def session_page(results: Path | None, generated: Path) -> str:
    """The report of a session, and its confusion matrices and mistakes, as Markdown.

    Args:
        results: the session's folder, None for none.
        generated: where files go that the page links, ``generated`` from the page.

    Raises:
        UsageError: the folder has no report.
    """
    if results is None:
        return WITHOUT
    report = results / REPORT_FILE
    if not report.exists():
        raise UsageError(f"{results} has no {REPORT_FILE}: run `stn report {results}` first")
    shutil.copy2(report, generated / REPORT_FILE)
    intro = f"**[The report](generated/{REPORT_FILE})** · **[the notebook](notebook.md)**"
    return "\n\n".join([intro, *_gallery(results / FIGURES_FOLDER, generated)])


def _gallery(figures: Path, generated: Path) -> Iterator[str]:
    for confusion in sorted(figures.glob("*-confusion.svg")):
        cell = confusion.name.removesuffix("-confusion.svg")
        yield f"## {cell}"
        for ending, caption in SHOWN.items():
            file = figures / f"{cell}-{ending}.svg"
            if file.exists():
                shutil.copy2(file, generated / file.name)
                yield f"**{caption}.**\n\n![{caption}, {cell}](generated/{file.name})"


def notebook_page(notebook: Path, results: Path | None, generated: Path) -> str:
    """The notebook, run on a session, as Markdown.

    Args:
        notebook: the file, without outputs.
        results: the session's folder, None for none.
        generated: where pictures go.
    """
    if results is None:
        return f"# The notebook\n\n{WITHOUT}\n"
    content = nbformat.read(notebook, as_version=4)
    content.metadata["kernelspec"] = {"display_name": "", "language": "python", "name": "python3"}
    kernels = KernelSpecManager(kernel_dirs=[])  # this environment's, whatever others exist
    manager = AsyncKernelManager(kernel_spec_manager=kernels)
    manager.kernel_spec.argv[0] = sys.executable
    client = NotebookClient(
        content, km=manager, timeout=300, resources={"metadata": {"path": str(notebook.parent)}}
    )
    client.execute(env=_environment(results))
    parts: list[str] = []
    for number, cell in enumerate(content.cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        else:
            parts.append(_folded(cell.source))
            for place, output in enumerate(cell.outputs):
                parts.append(_shown(output, generated / f"notebook-{number}-{place}"))
    return "\n\n".join(filter(None, parts)) + "\n"


def _environment(results: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STN_")}
    return {**kept, "STN_ANALYSIS": str(results.resolve())}


def _folded(source: str) -> str:
    """Code behind a line that opens it."""
    fenced = ["```python", *source.splitlines(), "```"]
    return '??? note "Code"\n\n' + "\n".join(f"    {line}".rstrip() for line in fenced)


def _shown(output: Any, stem: Path) -> str:
    """An output of a cell; a picture goes into a file of its own."""
    if output.output_type == "stream":
        return _text(output.text) if output.name == "stdout" else ""
    data = output.get("data", {})
    if "image/svg+xml" in data:
        file = stem.with_suffix(".svg")
        file.write_text(data["image/svg+xml"], encoding="utf-8")
        return f"![Figure](generated/{file.name})"
    for kind in ("text/markdown", "text/html"):
        if kind in data:
            return str(data[kind])
    return _text(data.get("text/plain", ""))


def _text(words: str) -> str:
    return f"```text\n{words.rstrip()}\n```"
