"""What a session says of a user's own data, and of models that do not fit them: once, wherever."""

import shutil

import numpy as np
import pytest

from tests.nightly import IN_ONE_PROCESS_AND_WITH_WORKERS

pytest_plugins = ["pytester"]

DATA = ("--dataset", "mine", "--data-root", "data", "--seeds", "1", "--epochs", "1")


@pytest.fixture
def own_data(pytester):
    """A file of 8×8 images, too small for most models, with an array that is not used."""
    drawn = np.random.default_rng(0)
    pytester.mkdir("data")
    np.savez(
        pytester.path / "data" / "mine.npz",
        x_train=drawn.integers(0, 256, (60, 8, 8), dtype=np.uint8),
        y_train=np.arange(60) % 3,
        x_test=drawn.integers(0, 256, (20, 8, 8), dtype=np.uint8),
        y_test=np.arange(20) % 3,
        comment=np.array("from a microscope"),
    )


def lines_about_data(result):
    return [line for line in result.outlines if line.startswith("mine: ")]


@pytest.mark.parametrize("workers", IN_ONE_PROCESS_AND_WITH_WORKERS)
def test_data_and_models_that_do_not_fit_are_named_once(pytester, bench, own_data, workers):
    result = bench(*DATA, "--model", "tiny,small,stn", *workers)
    assert result.ret == 0
    (line,) = lines_about_data(result)
    assert "54 / 6 / 20 images (train / val / test) of 3 classes" in line
    assert "6 of train set aside for val" in line
    assert "not read: comment" in line
    (left_out,) = [line for line in result.outlines if line.startswith("left out on mine: ")]
    assert "stn" in left_out
    (folder,) = (pytester.path / "results").iterdir()
    from stn_core.report.session_page import write_report

    write_report([folder], folder / "report.html")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("not read: comment") == 1
    assert page.count("left out on mine: ") == 1


def test_models_that_are_left_out_are_named_even_if_nothing_is_left_to_run(bench, own_data):
    result = bench(*DATA, "--model", "stn")
    assert result.ret == 0
    assert len(lines_about_data(result)) == 1
    result.stdout.fnmatch_lines(["left out on mine: *stn*"])


def test_a_plan_names_what_is_left_out(bench, own_data):
    result = bench(*DATA, "--model", "tiny,stn", "--plan")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["left out on mine: *stn*", "*tiny*"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("open('images.bin')", "dataset 'own': FileNotFoundError: *No such file*'images.bin'"),
        ("pass", "the function of the dataset 'own' returned NoneType, not a Dataset"),
    ],
)
def test_a_dataset_function_that_fails_is_one_line(pytester, bench, body, said):
    register = "from stn_core.datasets import register_dataset\n\n@register_dataset('own')\n"
    pytester.makepyfile(my_data=f"{register}def own(root, download):\n    {body}\n")
    result = bench("--import", "my_models,my_data", "--dataset", "own")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([said])
    result.stdout.no_fnmatch_line("*.py:*")


def test_only_tags_of_models_that_run_are_said_to_have_too_few_cells(pytester, bench):
    """A project that runs its own model need not know the tags of others."""
    pytester.makepyfile(
        acme="""
        from stn_core.models import register_model

        for name in ("acme", "other"):
            register_model(name=name, tags=f"{name} nets")(print)
        """
    )
    result = bench("--import", "my_models,acme", "--dataset", "digits", "--plan", "-k", "acme")
    assert result.ret == 0
    (line,) = [line for line in result.outlines if line.startswith("tag ")]
    assert line == "tag 'acme nets': 2 cells; a group is judged only if it has 4 or more"


def test_models_that_were_left_out_are_not_missing_when_records_are_judged(
    pytester, bench, own_data
):
    """Also where another session, which was asked for other models, left out others."""
    for models in ("tiny,stn", "small,stn_tps"):
        assert bench(*DATA, "--model", models).ret == 0
    folders = ",".join(map(str, sorted((pytester.path / "results").iterdir())))
    shutil.rmtree(pytester.path / "data")
    models = ("--dataset", "mine", "--model", "tiny,small,stn,stn_tps", "--seeds", "1")
    judged = bench(*models, "--epochs", "1", "--from-records", folders)
    assert judged.ret == 0
    judged.stdout.fnmatch_lines_random(
        ["left out on mine: *'stn'*", "left out on mine: *'stn_tps'*", "2 cells, 2 runs: 2 NEW"]
    )


def test_a_librarys_model_that_cannot_take_a_registered_dataset_is_left_out(bench):
    models = "tiny,torchvision:vit_b_16,timm:convnext_atto"
    result = bench("--dataset", "digits", "--model", models, "--seeds", "1", "--epochs", "1")
    result.assert_outcomes(passed=1)
    name = "left out on digits: model '{}': it {} images of (1, 28, 28): *"
    result.stdout.fnmatch_lines_random(
        [
            name.format("torchvision:vit_b_16", "cannot be made for"),
            name.format("timm:convnext_atto", "does not take"),
        ]
    )
    assert "CRASHED" not in result.stdout.str()


def test_a_sessions_table_is_made_once(pytester, run_here, monkeypatch):
    from stn_core.report import results_table, session_page
    from stn_core.suite import reporting
    from tests.suite.sessions import GATE, MODELS, session

    made = []

    def count(*arguments, **options):
        made.append(arguments)
        return results_table.results_table(*arguments, **options)

    for module in (session_page, reporting):
        monkeypatch.setattr(module, "results_table", count)
    pytester.makepyfile(my_models=MODELS, test_bench=GATE)
    asked = session("--model", "tiny,small", "--dataset", "digits", "--seeds", "1", "--epochs", "1")
    result = run_here(*(word for word in asked if word != "--no-report"))
    assert result.ret == 0
    assert list(pytester.path.glob("results/*/report.html"))
    assert len(made) == 1
