"""The Slurm scripts of the docs: every cell is in one share, and all records reach the judge."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stn_core.gate.baselines import Baselines
from stn_core.session.cells import Cell
from stn_core.session.recipe import Recipe
from stn_core.suite.matrix import share
from stn_core.suite.options import read_shard
from tests.platforms import needs_posix_signals

SCRIPTS = Path(__file__).parents[1] / "docs" / "clusters"
pytestmark = [
    needs_posix_signals,
    pytest.mark.skipif(not SCRIPTS.exists() or not shutil.which("bash"), reason="needs the docs"),
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a pytest and an sbatch that only say how they are called."""
    says = '#!/usr/bin/env bash\nprintf "%s\\n" "$@" "SHARES=${SHARES-}" "ARRAY=${ARRAY-}"\n'
    for program in (".venv/bin/pytest", "bin/sbatch"):
        path = tmp_path / program
        path.parent.mkdir(parents=True)
        path.write_text(says)
        path.chmod(0o755)
    return tmp_path


def run(checkout: Path, script: str, *arguments: str, **variables: str) -> list[str]:
    environment = {**os.environ, "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}", **variables}
    done = subprocess.run(
        ["bash", str(SCRIPTS / script), *arguments],
        cwd=checkout,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


@pytest.mark.parametrize("shares", [1, 3, 16])
def test_the_jobs_of_an_array_have_every_cell_once(checkout: Path, shares: int) -> None:
    cells = [Cell(f"model{n}", "digits", "smoke", Recipe()) for n in range(10)]
    found = []
    for number in range(1, shares + 1):
        words = run(
            checkout,
            "slurm-share.sh",
            *("--budget", "full"),
            SLURM_ARRAY_TASK_ID=str(number),
            SLURM_ARRAY_TASK_COUNT=str(shares),
            SLURM_ARRAY_JOB_ID="77",
        )
        assert words[-4:-2] == ["--budget", "full"]
        assert after(words, "--results-dir") == "results/shares-77"
        shard = read_shard(after(words, "--shard"))
        found += share(cells, Baselines({}, {}), "cpu", shard)
    assert sorted(found, key=str) == sorted(cells, key=str)


def test_a_share_that_is_submitted_again_is_the_same_one(checkout: Path) -> None:
    words = run(
        checkout,
        "slurm-share.sh",
        SHARES="16",
        ARRAY="77",
        SLURM_ARRAY_TASK_ID="2",
        SLURM_ARRAY_TASK_COUNT="2",
        SLURM_ARRAY_JOB_ID="78",
    )
    assert after(words, "--shard") == "2/16"
    assert after(words, "--results-dir") == "results/shares-77"  # where the judge looks


def test_an_array_and_a_judge_are_submitted_and_the_judge_waits(checkout: Path) -> None:
    (checkout / "bin" / "sbatch").write_text(
        '#!/usr/bin/env bash\nprintf "%s\\n" "$*" >>calls\necho "77;cluster"\n'
    )
    run(checkout, "slurm-submit.sh", "16", "--budget", "full")
    array, judge = (checkout / "calls").read_text().splitlines()
    assert "--array=1-16 --export=ALL,SHARES=16,ARRAY= " in array
    assert array.endswith("slurm-share.sh --budget full")
    assert "--dependency=afterany:77 --export=ALL,ARRAY=77" in judge
    assert judge.endswith("slurm-judge.sh --budget full")


def test_the_judge_gets_the_records_of_every_share(checkout: Path) -> None:
    paths = [f"results/shares-77/2026-01-0{day}/records.jsonl" for day in (1, 2)]
    for path in (*paths, "results/shares-78/2026-01-01/records.jsonl"):
        (checkout / path).parent.mkdir(parents=True)
        (checkout / path).touch()
    words = run(checkout, "slurm-judge.sh", "--budget", "full", ARRAY="77")
    assert after(words, "--from-records") == ",".join(paths)


def test_the_judge_is_not_asked_for_what_only_training_gives(checkout: Path) -> None:
    (checkout / "results/shares-77/a").mkdir(parents=True)
    (checkout / "results/shares-77/a/records.jsonl").touch()
    words = run(
        checkout, "slurm-judge.sh", "--save-models", "-k", "a b", "--tensorboard", ARRAY="77"
    )
    options = words[words.index("--from-records") + 2 : words.index("SHARES=")]
    assert options == ["-k", "a b"]
    assert "--from-records" in run(checkout, "slurm-judge.sh", ARRAY="77")
