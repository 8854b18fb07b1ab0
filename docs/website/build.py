"""``python -m docs.website.build``: collects the pages, makes what is generated, runs zensical.

A page of docs/ may hold the line ``<!-- site: NAME -->``, which GitHub does not show. Here the
text of that name takes its place: a picture, a schema, the results of a session.
"""

from __future__ import annotations

import argparse
import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from docs.website.grid_picture import grid_picture
from docs.website.schemas import CLASSES, schema
from docs.website.session_pages import notebook_page, session_page
from docs.website.structure import core_models, structure_picture
from stn_core.errors import UsageError

REPOSITORY = Path(__file__).parents[2]
SITE = REPOSITORY / "site"
PAGES = SITE / "pages"
GENERATED = PAGES / "generated"
MARKER = re.compile(r"^<!-- site: ([\w-]+) -->$", re.MULTILINE)
MOVED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "LICENSE.txt",
}
"""Files beside docs/, and their names on the site."""
_LINK = re.compile(r"(?<=\]\()(?:\.\./|docs/)?([^\s():#]+)(?=[)#])")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.website.build",
        description="Build the documentation site in site/html.",
    )
    parser.add_argument("--results", type=Path, help="a session's folder: its report is published")
    return parser.parse_args(arguments)


def main() -> int:
    """Build the site; 1 where anything is wrong with it."""
    try:
        stage(parse_arguments().results)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode


def stage(results: Path | None) -> None:
    """Collect every page in site/pages, with what is generated.

    Args:
        results: the folder of the session that is published, None for none.

    Raises:
        UsageError: it is not a session's folder, or a page names a text that nothing makes.
    """
    shutil.rmtree(PAGES, ignore_errors=True)
    code = shutil.ignore_patterns("website", "*.py", "__pycache__")
    shutil.copytree(REPOSITORY / "docs", PAGES, ignore=code)
    GENERATED.mkdir()
    for name, target in MOVED.items():
        shutil.copy2(REPOSITORY / name, PAGES / target)
    makers = makers_of(results)
    for page in PAGES.glob("*.md"):
        text = on_site(page.read_text(encoding="utf-8"))
        page.write_text(MARKER.sub(lambda found: _made(found[1], makers), text), encoding="utf-8")
    notebook = REPOSITORY / "notebooks" / "result_analysis.ipynb"
    text = notebook_page(notebook, results, GENERATED)
    (PAGES / "notebook.md").write_text(text, encoding="utf-8")


def on_site(text: str) -> str:
    """A page's text with its links as they are on the site, where all pages lie in one folder."""
    return _LINK.sub(lambda found: MOVED.get(found[1], found[1]), text)


def makers_of(results: Path | None) -> dict[str, Callable[[], str]]:
    """What makes each generated text, by the name that pages use."""
    makers: dict[str, Callable[[], str]] = {
        "grid-convention": lambda: _drawn("grid-convention", "The grid convention", grid_picture()),
        "structures": lambda: "\n\n".join(map(_structure, core_models())),
        "session": lambda: session_page(results, GENERATED),
    }
    for name in CLASSES:
        makers[f"schema-{name}"] = functools.partial(_schema, name)
    return makers


def _made(name: str, makers: dict[str, Callable[[], str]]) -> str:
    if name not in makers:
        raise UsageError(f"a page asks for {name!r}, which nothing makes")
    return makers[name]()


def _drawn(name: str, title: str, svg: str) -> str:
    (GENERATED / f"{name}.svg").write_text(svg, encoding="utf-8")
    return f"![{title}](generated/{name}.svg)"


def _structure(model: str) -> str:
    drawn = _drawn(f"structure-{model}", f"The layers of {model}", structure_picture(model))
    return f"## {model}\n\n{drawn}"


def _schema(name: str) -> str:
    text = schema(name)
    (GENERATED / f"{name}.schema.json").write_text(text + "\n", encoding="utf-8")
    inside = "\n".join(f"    {line}" for line in ["```json", *text.splitlines(), "```"])
    download = f"[As a file](generated/{name}.schema.json)."
    return f'??? note "The JSON schema"\n\n    {download}\n\n{inside}'


if __name__ == "__main__":
    sys.exit(main())
