"""--cells: a study in a file is the cells that it names, and each mistake in it is one line."""

import json

import pytest

from stn_core.errors import UsageError
from stn_core.suite.cells_file import read_cells_file

pytest_plugins = ["pytester"]

STUDY = """
[[cell]]
dataset = "digits"
model = "tiny"

[[cell]]
dataset = "digits_rts"
model = "stn[sampler=linearized]"
options = { warp = "tps", channels = [6, 8] }

[[cell]]
dataset = "digits"
model = "small"
recipe = { epochs = 1, learning_rate = 0.01 }
"""


@pytest.fixture
def study(pytester):
    """Write a file of cells, and return its name."""

    def write(text):
        (pytester.path / "study.toml").write_text(text)
        return "study.toml"

    return write


def planned(pytester):
    (path,) = pytester.path.glob("results/*/session.json")
    return json.loads(path.read_text())["cells"]


def test_its_cells_are_those_of_the_session(bench, study, pytester):
    result = bench("--cells", study(STUDY), "-k", "tiny or small", "--seeds", "2")
    assert result.ret == 0
    tiny, small = planned(pytester)
    assert (tiny["model"], tiny["is_search"], tiny["recipe"]["epochs"]) == ("tiny", False, 10)
    assert (small["model"], small["is_search"], small["recipe"]["epochs"]) == ("small", True, 1)
    assert small["recipe"]["learning_rate"] == 0.01
    assert small["recipe"]["batch_size"] == tiny["recipe"]["batch_size"]
    (path,) = pytester.path.glob("results/*/records.jsonl")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    tested = {(record["model"], record["test_accuracy"] is not None) for record in records}
    assert tested == {("tiny", True), ("small", False)}  # a search leaves the test set alone


def test_options_are_those_of_a_variants_name(bench, study):
    result = bench("--cells", study(STUDY), "--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*[[]digits_rts-stn[[]channels=(6,8),sampler=linearized,warp=tps]]"]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "study.toml: cell is missing"),
        ("cell = []", "study.toml holds no [[cell]]"),
        ("[[cell]", "study.toml is not TOML: "),
        ("cell = 3", "study.toml: cell must be a list, not 3"),
        ("[[cells]]", "study.toml: 'cells' is not a field"),
        ("[[cell]]\nmodel = 'cnn'", "study.toml: cell 1: dataset is missing"),
        ("[[cell]]\ndataset = 'digits'\nmodel = 3", "cell 1: model must be text, not 3"),
        ("[[cell]]\ndataset = 'digits'\nmodel = ''", "cell 1: dataset and model must be names"),
        ("[[cell]]\ndataset = 'd'\nmodel = 'm'\nplace = 'x'", "cell 1: 'place' is not a field"),
        ("[[cell]]\ndataset = 'd'\nmodel = 'm'\nseeds = 3", "cell 1: 'seeds' is not a field"),
        (
            "[[cell]]\ndataset = 'd'\nmodel = 'm'\n[[cell]]\ndataset = 'd'\nmodel = 'm'\n"
            "recipe = { epoch = 3 }",
            "study.toml: cell 2: unknown recipe field 'epoch'; did you mean epochs",
        ),
        (
            "[[cell]]\ndataset = 'd'\nmodel = 'm'\nrecipe = { epochs = 'many' }",
            "cell 1: bad recipe: epochs must be a whole number, not 'many'",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_entry_and_field(tmp_path, text, said):
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_cells_file(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


CELL = "[[cell]]\ndataset = 'digits'\nmodel = 'tiny'\n"


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (CELL.replace("tiny", "tinny"), (), "*study.toml: cell 1: unknown model 'tinny'*"),
        (CELL + CELL, (), "*study.toml: cell 2: tiny on digits is listed twice*"),
        (CELL + "options = { wide = 3 }", (), "*cell 1: model 'tiny' has no option 'wide'*"),
        (CELL, ("--model", "cnn"), "*--cells names datasets and models: drop --model"),
        (CELL, ("--cells", "none.toml"), "*cannot read *none.toml: No such file*"),
        (
            CELL + "recipe = { epochs = 1 }",
            ("--update-baselines",),
            "*--update-baselines takes the shipped recipes: drop the overrides",
        ),
    ],
)
def test_cells_that_the_session_cannot_run_are_a_one_line_error(
    bench, study, text, arguments, said
):
    result = bench("--cells", study(text), *arguments)
    assert result.ret != 0
    output = [*result.stdout.lines, *result.stderr.lines]
    pytest.LineMatcher(output).fnmatch_lines([said])
    assert not any("Traceback" in line for line in output)
