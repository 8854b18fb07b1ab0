"""The texts and the page that show how claims were judged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stn_core.report.claims_page import samples_of, write_claims_page
from stn_core.report.claims_text import (
    claims_document,
    claims_excerpt,
    claims_table,
    tally_line,
)
from tests.report.claiming import CLAIM, HIGH, LOW, MIDDLE, judged, runs


def test_a_bar_in_a_sentence_does_not_end_a_cell_of_the_table(tmp_path):
    found = judged(tmp_path, [], CLAIM.replace("A is better.", "A|B is better."))
    (row,) = [line for line in claims_document(found, "").splitlines() if "is better." in line]
    assert r"| A\|B is better. | a paper |" in row


def test_table_document_and_page_tell_the_same_verdict(tmp_path):
    found = judged(tmp_path, runs("a", HIGH) + runs("b", LOW))
    assert "holds (a - b: +7.00 points" in claims_table(found)
    assert "**holds**: a - b: +7.00 points" in claims_document(found, "stn claims claims.toml")
    assert "1 hold" in tally_line(found)
    write_claims_page(found, tmp_path / "claims.html", "stn claims claims.toml")
    page = (tmp_path / "claims.html").read_text()
    assert "A is better." in page
    assert "stn claims claims.toml" in page
    assert page.count("<svg") == 1


@pytest.mark.parametrize(("as_published", "rows"), [(HIGH, 1), (LOW, 2)])
def test_a_claim_with_the_same_finding_in_both_ways_is_listed_once(tmp_path, as_published, rows):
    text = CLAIM.replace('trained = "smoke"', 'published = "predecessor"\ntrained = "smoke"')
    found = [*runs("a", HIGH), *runs("b", MIDDLE)]
    found += runs("a", as_published, budget="predecessor")
    found += runs("b", MIDDLE, budget="predecessor")
    assert claims_excerpt(judged(tmp_path, found, text)).count("A is better.") == rows


def test_the_page_shows_every_model_on_every_dataset_of_a_claim(tmp_path):
    text = CLAIM.replace('dataset = "digits"\n', "")
    text += "contrasts = [{ dataset = 'digits' }, { dataset = 'mnist' }]\n"
    found = [*runs("a", HIGH), *runs("b", LOW)]
    found += [dataclasses.replace(run, dataset="mnist", test_accuracy=0.9) for run in found]
    (one,) = judged(tmp_path, found, text)
    samples = samples_of(one.ways["trained"])
    assert list(samples) == ["a", "b", "a, mnist", "b, mnist"]
    assert samples["b"] == pytest.approx(100 * np.array(LOW))


def test_a_claim_on_parameters_and_accuracy_shows_the_accuracy_of_every_seed(tmp_path):
    text = CLAIM.replace('metric = "accuracy"\n', "")
    text += "contrasts = [{ metric = 'parameters' }, { metric = 'accuracy' }]\n"
    found = judged(tmp_path, [*runs("a", HIGH), *runs("b", LOW)], text)
    assert samples_of(found[0].ways["trained"])["b"] == pytest.approx(100 * np.array(LOW))
    write_claims_page(found, tmp_path / "claims.html", "stn claims claims.toml")
    assert "test accuracy, %" in (tmp_path / "claims.html").read_text()


def test_an_open_claim_that_no_number_of_seeds_settles_says_so(tmp_path):
    found = judged(tmp_path, runs("a", HIGH) + runs("b", HIGH))
    assert "; even 1,000 seeds per model would not settle it" in claims_table(found)
    lone = judged(tmp_path, runs("a", HIGH[:1]) + runs("b", HIGH[:1]))
    assert "would not settle it" not in claims_table(lone)


def test_a_claim_s_id_may_hold_any_characters(tmp_path):
    text = CLAIM.replace('"better"', r"'\d & \g<0>'")
    found = judged(tmp_path, runs("a", HIGH) + runs("b", LOW), text)
    write_claims_page(found, tmp_path / "claims.html", "stn claims claims.toml")
    assert r'aria-label="\d &amp; \g&lt;0&gt;, with' in (tmp_path / "claims.html").read_text()
