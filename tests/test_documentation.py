"""What the README and the documentation say can be done: commands parse, code runs, links lead.

A command is parsed by the parser that it would meet: pytest's with this plugin's options, that of
``stn``, the Makefile. What only somebody else's program can read is in `NOT_PARSED`, with a reason.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import shlex
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.mark.expression import Expression

import stn_core
from stn_core.models.pretrained import list_pretrained
from stn_core.suite.commands import make_parser
from stn_core.suite.options import OPTIONS, PREFIX
from tests.pages import (
    DOCS,
    LINKED,
    PAGES,
    REPOSITORY,
    Code,
    Command,
    anchors,
    command_of,
    commands,
    indented_blocks,
    links,
    python_blocks,
    spans,
)

NOT_PARSED = {
    "pip uv": "need a package index; the extras in their lines are checked",
    "docker": "needs Docker: the nightly workflow builds and runs both images; what follows `train`"
    " is parsed",
    "nvidia-cuda-mps-control echo": "NVIDIA's, for machines with its cards",
    "jupyter": "JupyterLab is not among the development tools; a test runs the notebook",
    "tensorboard": "starts a server; tests read the event files",
    "apt-get": "the system's, as root",
    "git mkdir chmod export": "version control and the shell",
    "ray": "starts clusters; the session in its line is parsed",
    "sbatch kubectl slurm-submit.sh": "need a scheduler; the session's options are parsed",
}
"""Programs that read their own command lines, and why no test asks them."""
OTHERS_OPTIONS = {
    "--collect-only --lf --maxfail --junitxml --help": "pytest",
    "--node-ip-address --object-store-memory": "ray start",
    "--dependency --exclusive": "sbatch",
    "--no-deps": "podman-compose",
    "--table": "benchmarks.mutation_trial",
}
COMMANDS = list({one.words: one for page in PAGES for one in commands(page)}.values())
BLOCKS = [block for page in PAGES for block in python_blocks(page)]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OUTPUT = re.compile(
    r"-{4,}|REGRESSED|^stn_core/ |^All |^digits|^report: |passed|^dataset|^ {6,}", re.MULTILINE
)
"""What the indented blocks hold that are not commands: tables, verdicts, folders."""


def place(item: Command | Code) -> str:
    name = item.page.stem
    return f"{name}-{item.number}" if isinstance(item, Code) else f"{name}: {item.line}"


def parse_pytest(config: pytest.Config, arguments: list[str], *, short: bool = True) -> None:
    """Read a command line of pytest as this session's own would be; an error is a UsageError."""
    known = config._parser.parse(arguments)
    for expression in (known.keyword, known.markexpr):
        Expression.compile(expression)
    if not short:
        written = [word for word in arguments if word.startswith("--")]
        assert all(word.startswith(("--stn-", "--junitxml")) for word in written), written
    for path in known.file_or_dir:
        file = REPOSITORY / path.partition("::")[0]
        assert file.exists(), f"{path} does not exist"
        for name in path.split("::")[1:]:
            assert f"def {name.partition('[')[0]}(" in file.read_text(encoding="utf-8")


def parse_make(config: pytest.Config, words: tuple[str, ...]) -> None:
    for word in words:
        variable, _, value = word.partition("=")
        if "=" not in word:
            assert re.search(rf"^{re.escape(word)}:", MAKEFILE, re.MULTILINE), f"no target {word}"
            continue
        assert re.search(rf"\$\(.*\b{variable}\b.*\)", MAKEFILE), f"no variable {variable}"
        if variable == "ARGS":
            given = shlex.split(value)  # `make test` loads the plugin that shuffles
            parse_pytest(config, [word for word in given if "--randomly-seed=" not in word])


def parse_stn(config: pytest.Config, words: tuple[str, ...]) -> None:
    if len(words) == 1:  # a command is named, not shown
        words = (*words, "--help")
    if words[1:] == ("--help",):
        with pytest.raises(SystemExit) as ended:
            make_parser().parse_args(words)
        assert ended.value.code == 0
        return
    _, rest = make_parser().parse_known_args(list(words))
    if words[0] == "plan":
        parse_pytest(config, rest)
    else:
        assert not rest, f"unknown: {rest}"


def parse_module(name: str, arguments: list[str]) -> None:
    """Read a command line as the module or package does that ``python -m`` runs."""
    package = importlib.import_module(name)
    module = (
        importlib.import_module(f"{name}.__main__") if hasattr(package, "__path__") else package
    )
    module.parse_arguments(arguments)


def parse_others(config: pytest.Config, name: str, words: list[str]) -> None:
    """What can be checked of another program's line: files, extras, and a session's options."""
    assert any(name in names.split() for names in NOT_PARSED), f"nothing parses {name}"
    for word in words:
        for extras in re.findall(r"^stn-core\[([\w,]+)\]", word):
            assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
        if word.endswith((".yaml", ".sh")):
            assert (REPOSITORY / word).exists(), word
        if ".venv/bin/pytest " in word:
            parse_pytest(config, shlex.split(word.partition(".venv/bin/pytest ")[2]))
    if name == "docker" and "train" in words:
        parse_pytest(config, words[words.index("train") + 1 :])
    if "slurm" in " ".join([name, *words]):
        parse_pytest(config, words[next(i for i, word in enumerate(words) if word[:2] == "--") :])


@pytest.mark.parametrize("command", COMMANDS, ids=place)
def test_the_program_takes_a_command_as_it_is_written(
    command: Command, pytestconfig: pytest.Config
) -> None:
    program, *rest = command.words
    name = Path(program).name
    if name == "python" and rest[:1] == ["-m"] and rest[1] in ("pytest", "pip"):
        name, *rest = rest[1:]
    if name == "pytest":
        parse_pytest(pytestconfig, rest, short=program.startswith(".venv"))
    elif name == "stn":
        parse_stn(pytestconfig, tuple(rest))
    elif name == "make":
        parse_make(pytestconfig, tuple(rest))
    elif name == "python":
        assert rest[0] == "-m"
        parse_module(rest[1], rest[2:])
    else:
        parse_others(pytestconfig, name, rest)


def test_what_nothing_parses_is_a_short_list_without_entries_that_no_page_needs() -> None:
    assert len(NOT_PARSED) < 10
    found = {Path(word).name for command in COMMANDS for word in command.words}
    assert set(" ".join(NOT_PARSED).split()) <= found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_an_indented_block_is_commands_or_what_a_command_prints(page: Path) -> None:
    for block in indented_blocks(page):
        lines = [line for line in block if line.strip()]
        is_command = [command_of(page, line) is not None for line in lines]
        text = "\n".join(lines)
        assert all(is_command) or (not any(is_command) and OUTPUT.search(text)), text


def known_options() -> set[str]:
    """Every option of the suite's and of ``stn``, and those of others."""
    names = {f"--{prefix}{name}" for name in OPTIONS for prefix in ("", PREFIX)}
    for action in make_parser()._actions:
        choices = action.choices if isinstance(action.choices, dict) else {}
        for inner in choices.values():
            names |= {name for each in inner._actions for name in each.option_strings}
    return names | set(" ".join(OTHERS_OPTIONS).split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_an_option_that_is_named_alone_exists(page: Path) -> None:
    named = [span for span in spans(page) if span.startswith("--") and span != f"--{PREFIX}"]
    for span in named:
        assert set(re.findall(r"(?:^|\s)(--[a-z][\w-]*)", span)) <= known_options(), span


RUN_ELSEWHERE = {
    "spatial-transformer": "tests/layers/test_examples_of_the_docs.py runs them",
    "results-tools": "needs a saved model: tests/suite/test_saving_models.py",
}
GIVEN = """
import torch
from stn_core import *
from stn_core.models import create_model as _create
model = _create("stn", (1, 28, 28), 10).eval()
images = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
"""
"""What a fragment may take for granted: the public names, a model and a batch."""


@pytest.mark.parametrize("block", BLOCKS, ids=place)
def test_a_python_block_compiles_and_what_it_imports_exists(block: Code) -> None:
    for node in ast.walk(ast.parse(block.source)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert not missing
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.page.stem not in RUN_ELSEWHERE], ids=place
)
def test_a_python_block_runs(block: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "torch.export" in block.source:
        pytest.skip("tests/models/test_export.py exports every model")
    if "pretrained" in block.source and not list_pretrained():
        pytest.skip("no trained weights are stored")
    module = ModuleType("block_of_a_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(GIVEN, vars(module))
    code = compile(block.source, f"{block.page.name}-{block.number}", "exec", dont_inherit=True)
    try:
        exec(code, vars(module))
    except Exception as error:
        pytest.fail(f"{block.page.name}: {type(error).__name__}: {error}")


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.stem)
def test_a_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in links(page):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert file.is_relative_to(REPOSITORY)
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


@pytest.mark.parametrize("package", ["", ".layers", ".datasets", ".training.callbacks"])
def test_every_public_name_is_on_the_api_page_and_has_a_docstring(package: str) -> None:
    listed = set(
        re.findall(r"^::: stn_core\.(\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.M)
    )
    module = importlib.import_module(f"stn_core{package}")
    for name in module.__all__:
        value = getattr(module, name)
        assert {name, f"{package}.{name}".lstrip(".")} & listed, f"{name} is not on the page"
        assert inspect.getdoc(value), name
        if inspect.isclass(value):
            own = [member for member in vars(value) if not member.startswith("_")]
            methods = [member for member in own if inspect.isfunction(vars(value)[member])]
            assert all(inspect.getdoc(getattr(value, member)) for member in methods), name


def test_the_api_page_lists_no_name_twice_and_none_that_does_not_exist() -> None:
    listed = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.M)
    assert len(listed) == len(set(listed))
    for path in listed:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path
    assert {name for name in listed if name.count(".") == 1} == {
        f"stn_core.{name}" for name in stn_core.__all__
    }


def test_a_full_name_in_a_docstring_exists() -> None:
    for module in (REPOSITORY / "stn_core").rglob("*.py"):
        for name in re.findall(r"`(stn_core[.\w]*\w)`", module.read_text(encoding="utf-8")):
            pkgutil.resolve_name(name)


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
