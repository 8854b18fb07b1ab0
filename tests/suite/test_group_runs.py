"""Groups at the end of a session: what leans is trained further, and what failed is said."""

import dataclasses
import json
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from stn_core.datasets import load_dataset
from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines, write_baselines
from stn_core.gate.judge import Judge
from stn_core.gate.judgement import SeedsNeeded, Verdict
from stn_core.gate.judgement_files import read_group_judgements
from stn_core.gate.rules import Rules
from stn_core.models import list_models, model_info
from stn_core.report.session_page import write_report
from stn_core.session.budgets import get_budget
from stn_core.session.cells import Cell
from stn_core.suite import group_training
from stn_core.suite.command_line import XDIST_SESSION
from stn_core.suite.group_runs import judge_speed, settle_groups
from stn_core.suite.judging import judge_session
from stn_core.suite.matrix import budget_matrix, cell_groups
from stn_core.suite.plan import Plan
from stn_core.suite.process_context import context_of
from stn_core.suite.time_limit import TimeLimit
from tests.examples import baseline, environment, record
from tests.gate.test_groups import CELLS, DATA_HASH, KEYS, LOOKS, NOISE, fresh_runs, stored_values
from tests.platforms import needs_posix_signals

pytest_plugins = ["pytester"]

RULES = Rules(seeds=tuple(range(8)), looks=LOOKS, matrix_size=9, group_count=4)
PLAN = Plan(tuple(CELLS), RULES, "cpu", None, {"digits": DATA_HASH}, {}, groups={"all": KEYS})


STORED = Baselines(dict(zip(KEYS, stored_values(), strict=True)), {})
JUDGE = Judge(RULES, STORED, "smoke", "cpu")


class Trainer:
    """Brings the runs that it is asked for, and starts with as many as settle each cell."""

    def __init__(self, brings=True, fails=False):
        self.everything = fresh_runs(drop=0.0058, noise=NOISE / 30)
        self.runs = {cell.key: self.settling_runs(cell) for cell in CELLS}
        self.asked, self.brings, self.fails = [], brings, fails

    def settling_runs(self, cell):
        runs = self.everything[cell.key]
        answers = {look: JUDGE.judge(cell, runs[:look], DATA_HASH) for look in LOOKS}
        return runs[: min(look for look in LOOKS if not isinstance(answers[look], SeedsNeeded))]

    def __call__(self, tasks, reference_tasks):
        assert not reference_tasks
        self.asked.append([(cell.key, seed) for cell, seed in tasks])
        if self.fails:
            raise UsageError("disk full")
        for cell, seed in tasks if self.brings else ():
            self.runs[cell.key] = [*self.runs[cell.key], self.everything[cell.key][seed]]


def settle(trainer, *, trains=True):
    judgements = judge_session(PLAN, JUDGE, trainer.runs, {}, {})
    assert {one.verdict for one in judgements} == {Verdict.PASS}
    groups, remarks = settle_groups(
        PLAN,
        JUDGE,
        judgements,
        dict(trainer.runs),
        lambda: trainer.runs,
        trainer,
        "" if trains else "because",
    )
    assert judge_session(PLAN, JUDGE, trainer.runs, {}, {}) == judgements
    return groups, remarks


def test_a_group_that_leans_trains_its_members_until_it_is_settled():
    trainer = Trainer()
    (group,), remarks = settle(trainer)
    assert group.verdict is Verdict.REGRESSED
    assert remarks == []
    assert {len(runs) for runs in trainer.runs.values()} == {group.seeds}
    assert len(trainer.asked) > 1


def test_a_leaning_group_passes_with_a_note_if_nothing_may_be_trained():
    trainer = Trainer()
    (group,), remarks = settle(trainer, trains=False)
    assert trainer.asked == []
    assert group.verdict is Verdict.PASS
    assert remarks == ["more seeds would settle these groups of cells: all (because)"]


@pytest.mark.parametrize(
    ("trainer", "why"), [(Trainer(fails=True), " (disk full)"), (Trainer(brings=False), "")]
)
def test_seeds_that_do_not_come_are_asked_for_once(trainer, why):
    (group,), remarks = settle(trainer)
    assert group.verdict is Verdict.PASS
    assert remarks == [f"more seeds would settle these groups of cells: all{why}"]
    assert len(trainer.asked) == 1


def test_a_run_for_a_group_that_fails_is_named():
    trainer = Trainer()
    trainer.everything[KEYS[0]][1] = record(
        1, None, cell=CELLS[0], status="diverged", message="because"
    )
    (group,), remarks = settle(trainer)
    assert group.seeds_needed == {KEYS[0]: (1,)}
    assert remarks == [
        f"more seeds would settle these groups of cells: all ({KEYS[0]}: seed 1 diverged: because)"
    ]


def test_speed_that_should_be_judged_against_a_commit_and_cannot_be_is_said():
    strict = dataclasses.replace(PLAN, rules=dataclasses.replace(RULES, gates_speed=True))
    slow, fast = ({key: [record(train_seconds=t)] for key in KEYS} for t in (20.0, 2.0))
    cached = {key: [record(train_seconds=0.0)] for key in KEYS}
    one_cell = {KEYS[0]: slow[KEYS[0]]}
    for runs, references in ((one_cell, fast), (slow, cached)):
        said, failures = judge_speed(strict, runs, references)
        assert (len(said), failures) == (1, [])
        assert said[0].startswith("not judged by speed: fewer than two cells were timed")
        assert judge_speed(PLAN, runs, references) == ([], [])
    assert [one.verdict for one in judge_speed(strict, slow, fast)[1]] == [Verdict.REGRESSED]


def test_groups_are_of_the_whole_matrix_whatever_is_selected():
    stored = Baselines({"smoke/digits/gone": baseline([0.9, 0.8])}, {})
    groups = cell_groups(budget_matrix([], stored, "smoke"))
    planned = Cell("stn", "digits", "smoke", get_budget("smoke").recipe_for("digits", "stn"))
    assert cell_groups(budget_matrix([planned], stored, "smoke")) == groups
    assert "smoke/digits/gone" in groups["dataset digits"]
    for key in groups["transformer"]:
        assert model_info(key.split("/")[2]).starts_at_identity
    coord = {key.split("/")[2] for key in groups["CoordConv"]}
    # The names say it, the tags do not know of the names.
    assert coord == {name for name in list_models("*coord*") if model_info(name).suits("digits")}


CORE = [name for name in list_models() if model_info(name).core]


def store_core_models(path, **changes):
    """Baselines of the core models on digits, and a function that runs one with some gain."""
    noise = np.random.default_rng(5).normal(0, 0.006, (len(CORE), 40))
    recipes = [get_budget("smoke").recipe_for("digits", model_info(name).family) for name in CORE]
    cells = [Cell(name, "digits", "smoke", r) for name, r in zip(CORE, recipes, strict=True)]
    stored = {
        cell.key: baseline(list(0.95 + values[:20]), cell=cell, **changes)
        for cell, values in zip(cells, noise, strict=True)
    }
    place = environment()
    write_baselines(path, Baselines(stored, {place.key(): place.place()}))
    fresh = {cell: 0.95 + 0.3 * values[20:] for cell, values in zip(cells, noise, strict=True)}
    return fresh


@pytest.fixture
def judged_records(bench, pytester):
    """A session that judges records of the core models on digits, whose accuracy has changed."""

    def judge(gain, *arguments):
        fresh = store_core_models(pytester.path / "baselines.json")
        runs = [record(s, gain + fresh[cell][s], cell=cell) for cell in fresh for s in range(14)]
        (pytester.path / "runs.jsonl").write_text("\n".join(run.to_json() for run in runs))
        selected = ["--dataset", "digits", "--from-records", "runs.jsonl", *arguments]
        return bench("-m", "core", *selected), max((pytester.path / "results").iterdir())

    return judge


def test_a_small_drop_everywhere_fails_a_session_above_its_table(judged_records, pytester):
    judged, folder = judged_records(-0.0065, "--digest-cache", "passed.json", "--update-digests")
    assert judged.ret == 1
    judged.stdout.fnmatch_lines(["*passed.json was not updated: cells dropped together"])
    assert not (pytester.path / "passed.json").exists()
    judged.stdout.fnmatch_lines(
        [
            "*Cells dropped together: group dataset digits*",
            "REGRESSED (group)  dataset digits: 0.* points lost on average (p = *)"
            " over 9 cells, most in *",
            "dataset * model *",
            "9 cells, * runs: 9 PASS*",
        ]
    )
    kept = read_group_judgements(folder / "judgements.json")
    assert "dataset digits" in [one.name for one in kept if one.verdict is Verdict.REGRESSED]
    assert "- REGRESSED (group)" in (folder / "table.md").read_text()
    changes = (folder / "changes.md").read_text()
    assert "- REGRESSED (group)" in changes
    assert "| PASS" not in changes
    plan = json.loads((folder / "session.json").read_text())
    assert plan["rules"]["group_count"] == len(plan["groups"])


@pytest.mark.usefixtures("pictures_left_out")
def test_a_group_that_dropped_is_on_the_page(judged_records):
    _, folder = judged_records(-0.0065)
    missing = write_report([folder], folder / "report.html")
    page = (folder / "report.html").read_text()
    assert "<p>REGRESSED (group)" in page
    assert 'class="answer fails"' in page
    assert not [line for line in missing if "no verdict" in line]


def test_a_small_gain_everywhere_passes_and_is_said(judged_records):
    judged, _ = judged_records(+0.0065)
    assert judged.ret == 0
    line = "IMPROVED (group)  dataset digits: 0.* points gained on average *"
    judged.stdout.fnmatch_lines([line])


def test_no_group_is_mentioned_if_nothing_changed(judged_records):
    judged, _ = judged_records(0.0)
    assert judged.ret == 0
    judged.stdout.no_fnmatch_line("*(group)*")


def test_a_selection_is_judged_at_the_level_of_the_whole_matrix(judged_records):
    plans = []
    for selection in ((), ("-k", "stn")):
        judged, folder = judged_records(-0.0065, *selection)
        judged.stdout.fnmatch_lines(["REGRESSED (group) *"])
        plans.append(json.loads((folder / "session.json").read_text()))
    everything, some = plans
    assert (everything["groups"], everything["rules"]) == (some["groups"], some["rules"])
    assert len(everything["cells"]) > len(some["cells"])


def test_what_records_lack_is_said_and_not_trained(judged_records, pytester):
    judged_records(-0.0065)
    runs = (pytester.path / "runs.jsonl").read_text().splitlines()
    few = [run for run in runs if json.loads(run)["seed"] < 2]
    (pytester.path / "few.jsonl").write_text("\n".join(few))
    judged, folder = judged_records(-0.0065, "--from-records", "few.jsonl")
    assert judged.ret == 1  # since two cells lack seeds, too
    assert not (folder / "records.jsonl").exists()
    line = "more seeds would settle these groups of cells: * (--from-records trains none)"
    judged.stdout.fnmatch_lines([line])


CLUSTER = """
import json

from stn_core.engines.away import Returned
from stn_core.engines.cluster import Cluster
from stn_core.training.run_cell import RunResult
from tests.engines.fake_executor import FakeExecutor
from tests.examples import record

def compute(task):
    with open("fresh.json") as file:
        accuracy = json.load(file)[task.cell.model][task.seed]
    return Returned(RunResult(record(task.seed, accuracy, task.cell, data_hash=task.data_hash)), {})

def pytest_stn_engine(config, surroundings):
    return Cluster(FakeExecutor(compute))
"""


@pytest.fixture
def trained_elsewhere(bench, pytester):
    """A session of the core models on digits, whose runs on a cluster lost some accuracy."""
    hashes = {"data_hash": load_dataset("digits").hash}
    fresh = store_core_models(pytester.path / "baselines.json", **hashes)
    values = {cell.model: list(runs - 0.0065) for cell, runs in fresh.items()}
    (pytester.path / "fresh.json").write_text(json.dumps(values))
    pytester.makeconftest(CLUSTER)
    return lambda *arguments: bench("-m", "core", "--dataset", "digits", *arguments)


def test_the_first_process_of_several_trains_nothing_itself(pytester):
    """Its runs are computed in processes that import the user's modules, however often it asks."""
    config = pytester.parseconfigure("-p", "stn_core.suite.plugin", "--stn-device", "cpu")
    config.stash[XDIST_SESSION] = "a session of xdist's"
    context = context_of(config)
    assert context.settings.device == "cpu"
    assert not context.has_engine


GROUP_FAILS = ["groups of cells need * more runs", "REGRESSED (group) *", "9 cells, *: 9 PASS*"]


def test_the_seeds_that_a_group_needs_are_trained_where_the_others_were(trained_elsewhere):
    failed = trained_elsewhere()
    assert failed.ret == 1
    failed.stdout.fnmatch_lines(GROUP_FAILS)


@needs_posix_signals
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 2), (signal.SIGTERM, 143)])
def test_a_session_can_be_stopped_while_groups_train(
    trained_elsewhere, monkeypatch, number, status
):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # not that of a shell's "&"
    with monkeypatch.context() as patched:
        patched.setattr(group_training, "_train_all", lambda *_: signal.raise_signal(number))
        stopped = trained_elsewhere()
    signal.signal(signal.SIGINT, before)
    assert stopped.ret == status
    unsettled = "more seeds would settle these groups of cells: *"
    stopped.stdout.fnmatch_lines(
        [
            f"{unsettled} (the session was stopped: --resume last continues)",
            "interrupted: the same command with --resume last *",
            "9 cells, *: 9 PASS*",
        ]
    )
    trained_elsewhere("--resume", "last").stdout.fnmatch_lines(GROUP_FAILS)


def test_a_session_of_limited_time_trains_for_groups_as_long_as_there_is_time(
    trained_elsewhere, monkeypatch
):
    with monkeypatch.context() as patched:
        patched.setattr(TimeLimit, "allows_all", lambda self, cells, workers: False)
        late = trained_elsewhere("--minutes", "600")
    assert late.ret == 0
    continues = "* (--minutes 600: --resume last continues)"
    late.stdout.fnmatch_lines([f"more seeds would settle these groups of cells: {continues}"])
    trained_elsewhere("--minutes", "600", "--resume", "last").stdout.fnmatch_lines(GROUP_FAILS)


def test_runs_for_groups_are_spread_over_the_cards(monkeypatch, pytester):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    config = pytester.parseconfigure("-p", "stn_core.suite.plugin", "--stn-device", "cuda")
    config.stash[XDIST_SESSION] = "a session of xdist's"
    context = context_of(config)
    context.plan = dataclasses.replace(PLAN, device="cuda")
    submitted = []

    class Engine:
        is_elsewhere = False
        submit = staticmethod(submitted.append)
        cancel = staticmethod(submitted.clear)

        @staticmethod
        def next_outcome():
            seen.append(submitted.pop(0).settings.device)
            return SimpleNamespace(result=None)

    seen = []
    group_training._train_all(context, [(CELLS[0], seed) for seed in range(3)], Engine())
    assert seen == ["cuda:0", "cuda:1", "cuda:0"]
