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


@pytest.mark.nightly
def test_a_variant_is_stored_recognised_and_resumed_by_its_name(bench, pytester):
    variant = "cnn[channels=(4,6),hidden=10,kernels=(3,3)]"
    asked = ("--model", variant, "--dataset", "digits", "--seeds", "2")
    assert bench(*asked, "--update-baselines").ret == 0
    stored = json.loads((pytester.path / "baselines.json").read_text())
    assert list(stored["cells"]) == [f"smoke/digits/{variant}"]
    (path,) = pytester.path.glob("results/*/records.jsonl")
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first)
    resumed = bench(*asked, "--resume", "last")
    resumed.stdout.fnmatch_lines(["1 cell, 2 runs: 1 PASS (identical)"])
    _, again = map(json.loads, path.read_text().splitlines())
    assert again["model"] == variant
    assert again["digest"] == json.loads(second)["digest"]


def test_an_unselected_variants_baseline_is_not_missing(bench, pytester):
    measured = ("--dataset", "digits", "--seeds", "2", "--update-baselines")
    assert bench("--model", "tiny", *measured).ret == 0
    path = pytester.path / "baselines.json"
    stored = json.loads(path.read_text())
    cell = stored["cells"]["smoke/digits/tiny"]
    stored["cells"]["smoke/digits/stn[warp=tps]"] = cell
    stored["cells"]["smoke/digits/stn[wrap=tps]"] = cell
    stored["cells"]["smoke/digits/timm:test_resnet[drop_rate=0.1]"] = cell
    path.write_text(json.dumps(stored))
    result = bench("--model", "tiny", "--dataset", "digits", "--plan", "--drop-vanished")
    result.stdout.fnmatch_lines(["dropped from *: smoke/digits/stn[[]wrap=tps]"])


@pytest.mark.parametrize(
    "models", ["stm", "timm:resnet19", "stn[wrap=tps]", "stn[warp=tps", "nothing_*"]
)
def test_an_unknown_model_is_one_line(bench, models):
    result = bench("--model", models, *SHORT)
    assert result.ret != 0
    result.stdout.no_fnmatch_line("*Traceback*")
    assert models.partition("[")[0].rpartition(":")[2] in result.stdout.str()


@pytest.mark.nightly
def test_other_libraries_models_are_cells_like_any_other(bench, pytester):
    asked = "timm:test_resnet[drop_rate=0.1],torchvision:shufflenet_v2_x0_5"
    result = bench("--model", asked, *SHORT, "--save-models")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*timm:test_resnet*drop_rate=0.1*NEW*", "2 cells, 4 runs: 2 NEW"], consecutive=False
    )
    (path,) = pytester.path.glob("results/*/records.jsonl")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert {record["model"] for record in records} == set(asked.split(","))
    assert {record["status"] for record in records} == {"ok"}
    assert {record["recipe"]["weight_decay"] for record in records} == {0.05}
    assert len(list(pytester.path.glob("results/*/models/*.safetensors"))) == 4
