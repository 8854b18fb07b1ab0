"""What stands in the README and the documentation: commands, code, links and headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
LINKED = [*PAGES, REPOSITORY / "CHANGELOG.md"]

PROGRAMS = {
    ".venv/bin/pytest",
    ".venv/bin/python",
    ".venv/bin/ray",
    ".venv/bin/stn",
    ".venv/bin/tensorboard",
    "apt-get",
    "chmod",
    "docker",
    "docs/clusters/slurm-submit.sh",
    "echo",
    "export",
    "git",
    "jupyter",
    "kubectl",
    "make",
    "mkdir",
    "nvidia-cuda-mps-control",
    "pip",
    "pytest",
    "python",
    "ray",
    "sbatch",
    "stn",
    "uv",
}
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")


@dataclass(frozen=True)
class Command:
    """A command line of a page.

    Args:
        page: its file.
        words: without variables before it.
    """

    page: Path
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        """As one types it."""
        return shlex.join(self.words)


@dataclass(frozen=True)
class Code:
    """A Python block of a page; `number` counts them from 0."""

    page: Path
    number: int
    source: str


def command_of(page: Path, line: str) -> Command | None:
    """The command that a line is, None where it is something else."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        del words[0]
    return Command(page, tuple(words)) if words and words[0] in PROGRAMS else None


def fenced(page: Path, language: str) -> Iterator[str]:
    """The fenced blocks of a language, without their indentation."""
    for indent, found, body in _FENCE.findall(page.read_text(encoding="utf-8")):
        if found == language:
            yield re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)


def without_fences(page: Path) -> str:
    """The text of a page, its fenced blocks left out."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def indented_blocks(page: Path) -> list[list[str]]:
    """The blocks of lines that begin with four blanks after an empty line, outside of lists."""
    blocks: list[list[str]] = []
    before = ""
    for line in without_fences(page).splitlines():
        if line.startswith("    ") and blocks and blocks[-1] and before.startswith("    "):
            blocks[-1].append(line[4:])
        elif line.startswith("    ") and not before.strip():
            blocks.append([line[4:]])
        before = line
    return blocks


def spans(page: Path) -> list[str]:
    """The texts between single backquotes, each on one line."""
    return [" ".join(found.split()) for found in _SPAN.findall(without_fences(page))]


def commands(page: Path) -> Iterator[Command]:
    """Every command line of a page: in blocks, in workflows, and between backquotes."""
    lines = [line for block in indented_blocks(page) for line in block]
    for workflow in fenced(page, "yaml"):
        lines += re.findall(r"run: (.+)$", workflow, re.MULTILINE)
    for language in ("sh", "bash", "console"):
        lines += [line for body in fenced(page, language) for line in body.splitlines()]
    lines += [span for span in spans(page) if " " in span]
    for line in lines:
        command = command_of(page, line)
        if command:
            yield command


def python_blocks(page: Path) -> list[Code]:
    """The Python blocks of a page."""
    return [Code(page, number, body) for number, body in enumerate(fenced(page, "python"))]


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures."""
    text = re.sub(r"`[^`]*`", "", without_fences(page))
    return re.findall(r"\]\(([^\s()]+)\)", text)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+)$", without_fences(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found.add(slug)
    return found
