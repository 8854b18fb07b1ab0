"""The sessions that .github/workflows start, in a checkout of what is committed and no more."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stn_core.suite.plugin import session_options
from tests.examples import record

pytest_plugins = ["pytester"]

REPOSITORY = Path(__file__).parents[2]
ACTION = REPOSITORY / "action.yml"
WORKFLOWS = sorted(REPOSITORY.glob(".github/workflows/*.yml"))
pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="the source distribution has no workflows")
# What GitHub puts in place of the workflows' expressions, where sessions depend on it:
EXPRESSIONS = {
    "BUDGET": "quick",
    "SHARD": "1/2",
    "DEVICE": "cpu",
    "MINUTES": "60",
    "STN_AGAINST": "",
    "STN_DATA": "data",
    "UPDATE": "--update-digests",
    "RESOLUTION": "highest",
}
SPY = '#!/bin/sh\nprintf "%s\\n" "$@" > asked\n'


def scripts(workflow):
    """What a workflow's steps run; a block goes on for as long as it is indented."""
    blocks = re.findall(r"^( *)(?:- )?run: (.+\n(?:\1  .*\n)*)", workflow.read_text(), re.MULTILINE)
    for _, text in blocks:
        style, _, block = text.partition("\n")
        folded = block.replace("\n", " ") if style == ">-" else block
        yield re.sub(r"\$\{\{.*?\}\}", "", folded if style in ("|", ">-") else style)


def constants(workflow):
    """The variables of a workflow that depend on nothing."""
    return dict(re.findall(r"^ +([A-Z_]+): ([^\s$]+)$", workflow.read_text(), re.MULTILINE))


SESSIONS = [
    pytest.param(script, constants(workflow), id=f"{workflow.stem}-{number}")
    for workflow in WORKFLOWS
    for number, script in enumerate(scripts(workflow))
    if re.search(r"pytest|make (bench|test|nightly)", script)
]


@pytest.fixture
def checkout(pytester):
    """A folder with the Makefile, with a pytest that only notes what it is asked, and one shard."""
    for name in ("Makefile", "pytest.ini", "pyproject.toml", "requirements-dev.lock"):
        shutil.copy2(REPOSITORY / name, pytester.path)
    spy = pytester.path / ".venv" / "bin" / "pytest"
    spy.parent.mkdir(parents=True)
    spy.write_text(SPY)
    spy.chmod(0o755)
    for made in (".venv/bin/uv", ".venv/.installed"):
        (pytester.path / made).touch()
    shard = pytester.path / "shards" / "shard-1"
    shard.mkdir(parents=True)
    (shard / "records.jsonl").write_text(record(0).to_json() + "\n")
    return pytester.path


def test_there_are_sessions_to_look_at():
    found = {script.split(" ARGS")[0] for session in SESSIONS for script in session.values[:1]}
    assert {"make bench", "make test", "make nightly"} <= found
    assert sum("pytest" in script for script in found) >= 2


@pytest.mark.parametrize(("script", "variables"), SESSIONS)
def test_a_fresh_checkout_takes_the_options_of_a_workflow(
    script, variables, checkout, pytester, monkeypatch
):
    for name, value in {**EXPRESSIONS, **variables}.items():
        monkeypatch.setenv(name, value)
    script = script.replace("python -m pytest", ".venv/bin/pytest")
    subprocess.run(["bash", "-euc", script], check=True, cwd=checkout, capture_output=True)
    arguments = (checkout / "asked").read_text().splitlines()
    config = pytester.parseconfigure(*arguments, "--plan")
    assert session_options(config).budget in ("smoke", "quick")
    assert not (checkout / "results").exists()


def test_the_digests_of_make_bench_are_ignored_by_git_and_kept_by_other_tools(checkout):
    command = subprocess.run(
        ["make", "--dry-run", "bench", "CI="],
        check=True,
        cwd=checkout,
        capture_output=True,
        text=True,
    ).stdout
    folder, file = command.split("--digest-cache ")[1].split()[0].split("/")
    assert file == "digests.json"
    assert f"{folder}/" in (REPOSITORY / ".gitignore").read_text().splitlines()
    assert folder != ".cache"  # which the site's builder removes


def test_the_cache_of_a_job_is_outside_the_checkout():
    """Files that git does not know make it dirty, and a dirty checkout leaves no digest."""
    for path in (ACTION, *WORKFLOWS):
        for place in re.findall(r"^ +STN_\w+_CACHE: (.+)$", path.read_text(), re.MULTILINE):
            assert place.startswith("${{ runner.temp }}/"), path.name
    kept = re.findall(r"^ +path: (.+)$", ACTION.read_text(), re.MULTILINE)
    results = "${{ inputs.working-directory }}/results/"
    assert kept == ["${{ runner.temp }}/stn"] * 2 + [results]


XARGS_OF_MACOS = '#!/bin/sh\ngiven=$(cat)\ntest -z "$given" || printf %s "$given" | {xargs} "$@"\n'


@pytest.mark.parametrize(
    ("arguments", "words"),
    [("", []), ("gate -n 2", ["gate", "-n", "2"]), ("-k 'a or b'", ["-k", "a or b"])],
)
def test_the_action_runs_pytest_also_without_arguments_of_its_own(
    arguments, words, tmp_path, monkeypatch
):
    (script,) = scripts(ACTION)
    spies = {"python": SPY, "xargs": XARGS_OF_MACOS.format(xargs=shutil.which("xargs"))}
    for name, text in spies.items():
        spy = tmp_path / "bin" / name
        spy.parent.mkdir(exist_ok=True)
        spy.write_text(text)
        spy.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    given = {"ARGUMENTS": arguments, "UPDATE": "", "STN_AGAINST_CACHE": "none"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    subprocess.run(["bash", "-euc", script], check=True, cwd=tmp_path, timeout=60)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["-m", "pytest", "--junitxml=results/junit.xml", *words]


def test_a_gate_does_not_restore_the_cache_of_another_whose_name_begins_alike():
    text = ACTION.read_text()

    def lines(name, artifact):
        found = re.findall(rf"^ +{name}: (.+)$", text, re.MULTILINE)
        named = (line.replace("${{ inputs.artifact }}", artifact) for line in found)
        return {re.sub(r"\$\{\{.*?\}\}", "X", line) for line in named}

    (restored,) = lines("restore-keys", "gate")
    (own,), (other,) = lines("key", "gate"), lines("key", "gate-X")
    assert own.startswith(restored)
    assert not other.startswith(restored)


def test_the_action_works_in_the_folder_of_the_project():
    (step,) = re.findall(r"- shell: bash\n((?: {6}.+\n)+?)      run:", ACTION.read_text())
    assert "working-directory: ${{ inputs.working-directory }}\n" in step


def test_the_workflow_that_may_write_runs_no_code_of_a_pull_request():
    (comment,) = (path for path in WORKFLOWS if path.stem == "comment")
    text = comment.read_text()
    assert "checkout" not in text
    assert "pull-requests: write" in text
    others = [path for path in WORKFLOWS if path != comment]
    assert not [path for path in others if "pull-requests: write" in path.read_text()]


GH = '#!/bin/sh\ncase "$*" in *pulls*) echo 7;; esac\n'


def test_no_file_that_a_gate_left_makes_the_comment_show_another(tmp_path, monkeypatch):
    """A pull request chooses the names of these files, and its comment is made with a token."""
    (script,) = scripts(REPOSITORY / ".github" / "workflows" / "comment.yml")
    secret = tmp_path / "secret"
    secret.write_text("the token")
    gate = tmp_path / "work" / "gate"
    several_words = f"a {secret} gate/smoke-gate"
    for name in ("smoke-gate", "linked", several_words):
        (gate / name).mkdir(parents=True)
    (gate / "a").touch()  # so that each of the words is a file
    (gate / "smoke-gate" / "changes.md").write_text("All cells pass, says @somebody.")
    (gate / "linked" / "changes.md").symlink_to(secret)
    (gate / several_words / "changes.md").write_text("Another shard.")
    spy = tmp_path / "bin" / "gh"
    spy.parent.mkdir()
    spy.write_text(GH)
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", str(spy.parent), prepend=":")
    given = {"REPOSITORY": "o/r", "HEAD": "o:b", "GATE": "checks", "COMMIT": "c"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    subprocess.run(["bash", "-euc", script], check=True, cwd=tmp_path / "work", timeout=60)
    body = (tmp_path / "work" / "body.md").read_text()
    assert body.startswith("<!-- stn-gate: checks -->\n")
    assert "All cells pass, says @\u200bsomebody." in body
    assert "Another shard." in body
    assert "the token" not in body
