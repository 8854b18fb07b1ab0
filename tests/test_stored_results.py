"""What is claimed of the stored baselines follows from their values."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from stn_core.gate.baselines import read_baselines
from stn_core.report.published import PUBLISHED
from stn_core.session.records import Environment

BASELINES = Path(__file__).parents[1] / "baselines.json"
STORED = read_baselines(BASELINES).cells
PAPER = "STN paper"


def marks(of_the_paper):
    """The accuracies of stored full cells, each beside the best that was published for it."""
    found = []
    for (dataset, model), sources in PUBLISHED.items():
        baseline = STORED.get(f"full/{dataset}/{model}")
        values = [value for source, value in sources.items() if (source == PAPER) is of_the_paper]
        if baseline and values:
            found.append(pytest.param(baseline.accuracies, max(values), id=f"{dataset}-{model}"))
    return found


@pytest.mark.parametrize("where", ["quick/mnist_rts", "smoke/digits_rts"])
@pytest.mark.parametrize("model", ["ic_stn", "polar"])
def test_ic_stn_and_polar_beat_the_plain_cnn(where, model):
    values, plain = STORED[f"{where}/{model}"], STORED[f"{where}/cnn"]
    welch = stats.ttest_ind(values.accuracies, plain.accuracies, equal_var=False)
    low, _ = welch.confidence_interval(0.999)
    assert low > 0.05


@pytest.mark.parametrize(("accuracies", "published"), marks(of_the_paper=False))
def test_every_number_of_earlier_experiments_is_beaten(accuracies, published):
    low, _ = stats.ttest_1samp(accuracies, published).confidence_interval(0.95)
    assert low > published


@pytest.mark.parametrize(("accuracies", "published"), marks(of_the_paper=True))
def test_the_papers_networks_come_close_to_its_table(accuracies, published):
    assert np.mean(accuracies) > published - 0.002


def test_coordconv_tells_every_position_and_a_deconvolution_none_of_an_unseen_quadrant():
    for split in ("uniform", "quadrant"):
        told = STORED[f"quick/coordinates_{split}/coordinates_coordconv"].accuracies
        assert len(told) >= 10
        assert min(told) == 1.0
    assert max(STORED["quick/coordinates_quadrant/coordinates_deconv"].accuracies) < 0.05


@pytest.mark.parametrize("key", ["59423916", "bafa4dd2", "e8cfb319"])
def test_an_environment_of_stored_runs_keeps_its_key(key):
    values = read_baselines(BASELINES).environments[key]
    assert Environment(stn_core="", **values).key() == key


SECTIONS = {
    "Full, on a GPU": "full",
    "The STN paper's distorted MNIST": "full",
    "Quick, on a CPU": "quick",
    "Not-so-Clevr": "quick",
    "Smoke, on a CPU": "smoke",
}
"""The sections of the page of results whose tables show stored cells, with their budget."""


def shown_cells():
    """Of every cell that the page of results shows, its key and the text in the table."""
    page = (BASELINES.parent / "docs" / "results.md").read_text(encoding="utf-8")
    for section in page.split("\n## ")[1:]:
        title, *lines = section.split("\n")
        if title not in SECTIONS:
            continue
        rows = [[text.strip() for text in line.split("|")[1:-1]] for line in lines if "|" in line]
        (_, *columns), _, *rows = rows
        for model, *texts in rows:
            for column, text in zip(columns, texts, strict=True):
                if text and column not in ("published", "paper"):
                    split = f"coordinates_{column}" if title == "Not-so-Clevr" else column
                    yield f"{SECTIONS[title]}/{split}/{model.strip('`')}", text


def test_the_page_of_results_shows_accuracy_and_test_loss_of_every_cell_as_stored():
    shown = dict(shown_cells())
    assert len(shown) >= 140
    for key, text in shown.items():
        percent = 100 * np.array(STORED[key].accuracies)
        losses = [run.cross_entropy for run in STORED[key].runs]
        accuracies, _, loss = text.rpartition("; ")
        mean, deviation = accuracies.partition(" (")[0].split(" ± ")
        half = 0.5 + 1e-6  # of the last digit: the value may lie in the middle of two
        assert float(mean) == pytest.approx(percent.mean(), abs=half * 0.01), key
        assert float(deviation) == pytest.approx(percent.std(ddof=1), abs=half * 0.01), key
        assert float(loss) == pytest.approx(np.mean(losses), abs=half * 0.0001), key


def test_the_page_of_results_shows_invariance_wherever_it_is_stored():
    page = (BASELINES.parent / "docs" / "results.md").read_text(encoding="utf-8")
    section = page.partition("\n## Invariance\n")[2].partition("\n## ")[0]
    rows = [[text.strip() for text in line.split("|")[1:-1]] for line in section.split("\n")]
    shown = {f"smoke/{row[1]}/{row[0].strip('`')}": row[2:] for row in rows if len(row) == 5}
    stored = {key for key, cell in STORED.items() if any(run.metrics for run in cell.runs)}
    assert stored == set(shown) - {"smoke/dataset/model", "smoke/---/---"}
    columns = (("invariance", 100, 1), ("misplaced_pixels", 1, 2))
    for key in stored:
        runs, *texts = shown[key]
        assert runs == str(len(STORED[key].runs)), key
        for (name, scale, decimals), text in zip(columns, texts, strict=True):
            values = [scale * run.metrics[name] for run in STORED[key].runs if name in run.metrics]
            numbers = (np.mean(values), np.std(values, ddof=1)) if values else ()
            assert text == " ± ".join(f"{number:.{decimals}f}" for number in numbers), key
