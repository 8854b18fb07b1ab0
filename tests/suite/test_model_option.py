"""--model: the models of a session, variants with options in brackets among them."""

import json

import pytest

pytest_plugins = ["pytester"]

SHORT = ("--dataset", "digits", "--seeds", "2", "--set", "epochs=1")


def test_variants_are_cells_with_names_of_their_own(bench, pytester):
    asked = "stn[sampler=linearized,warp=tps],tiny,stn[ warp=tps, sampler=linearized ]"
    result = bench("--model", asked, *SHORT)
    assert result.ret == 0
    (path,) = pytester.path.glob("results/*/records.jsonl")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    variant = "stn[sampler=linearized,warp=tps]"
    assert {record["model"] for record in records} == {variant, "tiny"}
    result.stdout.fnmatch_lines(["2 cells, 4 runs: 2 NEW"])


def test_a_variants_baseline_is_not_missing_where_nobody_names_it(bench, pytester):
    measured = ("--dataset", "digits", "--seeds", "2", "--update-baselines")
    assert bench("--model", "tiny", *measured).ret == 0
    path = pytester.path / "baselines.json"
    stored = json.loads(path.read_text())
    cell = stored["cells"]["smoke/digits/tiny"]
    stored["cells"]["smoke/digits/stn[warp=tps]"] = cell
    stored["cells"]["smoke/digits/stn[wrap=tps]"] = cell
    path.write_text(json.dumps(stored))
    result = bench("--model", "tiny", "--dataset", "digits", "--plan", "--drop-vanished")
    result.stdout.fnmatch_lines(["dropped from *: smoke/digits/stn[[]wrap=tps]"])


@pytest.mark.parametrize("models", ["stm", "stn[wrap=tps]", "stn[warp=tps", "nothing_*"])
def test_a_model_that_there_is_not_is_one_line(bench, models):
    result = bench("--model", models, *SHORT)
    assert result.ret != 0
    result.stdout.no_fnmatch_line("*Traceback*")
    assert models.partition("[")[0] in result.stdout.str()
