"""What a file of claims may say."""

from __future__ import annotations

import pytest

from stn_core.errors import UsageError
from stn_core.gate.contrasts import Direction
from stn_core.report.claims import check_names
from tests.report.claiming import CLAIM, claims_of


def test_a_claim_is_what_its_entry_says(tmp_path):
    (claim,) = claims_of(tmp_path).claims
    (contrast,) = claim.contrasts
    assert (claim.id, claim.source, claim.sentence) == ("better", "a paper", "A is better.")
    assert claim.budgets == {"trained": "smoke"}
    assert (contrast.models, contrast.expectation.direction) == (("a", "b"), Direction.HIGHER)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('source = "a paper"', ""), "source is missing"),
        (('metric = "accuracy"', 'metric = "acuracy"'), "did you mean accuracy"),
        (('expected = "higher"', 'expected = "upper"'), "unknown expected 'upper'"),
        (('than = ["b"]', ""), "name either the models"),
        (('than = ["b"]', 'than = ["b"]\nvalue = 1.0'), "name either the models"),
        (('than = ["b"]', 'than = "b"'), "than must be a list of models"),
        (('trained = "smoke"', ""), "name a budget"),
        (('trained = "smoke"', 'traind = "smoke"'), "unknown field 'traind'"),
        (('expected = "higher"', 'expected = "equal"'), "a margin above 0"),
        (('model = "a"', "model = 3"), "model must be text, not 3"),
        (('expected = "higher"', 'expected = "higher"\nsize = -1'), "size must be 0 or more"),
        (('metric = "accuracy"', 'metric = "epochs"'), "target is missing"),
        (('metric = "accuracy"', 'metric = "epochs"\ntarget = 970'), "target must be an accuracy"),
        (('than = ["b"]', 'than = ["b"]\ntarget = 90'), "target is only for metric = 'epochs'"),
        (('than = ["b"]', 'than = ["b", "a"]'), "a model is compared with itself: a, b, a"),
        (('than = ["b"]', 'than = ["b", "b"]'), "a model is compared with itself: a, b, b"),
        (('than = ["b"]', "value = 101"), "value must be an accuracy in per cent, not 101"),
        (('than = ["b"]', "value = -0.5"), "value must be an accuracy in per cent, not -0.5"),
        (('metric = "accuracy"', 'metric = "epochs"\ntarget = 0'), "target must be above 0"),
        (('than = ["b"]', "value = nan"), "value must be finite, not nan"),
        (('"higher"', '"equal"\nmargin = inf'), "margin must be finite, not inf"),
        (('"higher"', '"higher"\nsize = nan'), "size must be finite, not nan"),
        (
            ('"accuracy"\nmodel = "a"\nthan = ["b"]', '"loss"\nmodel = "a"\nvalue = 1.0'),
            "only accuracy can be compared with a number, not loss",
        ),
        (('"A is better."', '"A is\\nbetter."'), "sentence must be one line of printable text"),
    ],
)
def test_a_wrong_entry_is_one_line_and_the_others_are_judged(tmp_path, change, complaint):
    other = CLAIM.replace('"better"', '"other"')
    claims = claims_of(tmp_path, CLAIM.replace(*change) + other)
    assert [claim.id for claim in claims.claims] == ["other"]
    ((name, line),) = claims.refused
    assert name == "better"
    assert complaint in line
    assert "better" in line
    assert "\n" not in line


def test_a_name_of_an_entry_that_breaks_the_line_is_escaped(tmp_path):
    ((name, line),) = claims_of(tmp_path, CLAIM.replace('"better"', '"bet\\nter"')).refused
    assert "\n" not in name + line
    assert "id must be one line of printable text" in line


@pytest.mark.parametrize("value", [0, 100])
def test_a_published_number_may_be_no_image_or_every_one(tmp_path, value):
    claims = claims_of(tmp_path, CLAIM.replace('than = ["b"]', f"value = {value}"))
    assert claims.claims[0].contrasts[0].value == value
    assert not claims.refused


def test_an_id_that_comes_twice_is_refused(tmp_path):
    claims = claims_of(tmp_path, CLAIM + CLAIM)
    assert len(claims.claims) == 1
    assert "same id" in claims.complaints[0]


@pytest.mark.parametrize("text", ["", "claim = 3", "[[claim", '[[claim]]\n[other]\na = "b"'])
def test_a_file_without_claims_is_one_line(tmp_path, text):
    with pytest.raises(UsageError, match=r"claims\.toml"):
        claims_of(tmp_path, text)


def test_names_that_do_not_exist_are_reported_with_their_claim(tmp_path):
    claims = claims_of(tmp_path).claims
    assert check_names(claims, ["a", "b"], ["digits"], ["smoke"]) == []
    (line,) = check_names(claims, ["a", "bb"], ["digits"], ["smoke"])
    assert line.startswith("better: unknown model 'b'")
    assert "dataset" in check_names(claims, ["a", "b"], ["mnist"], ["smoke"])[0]
    assert "budget" in check_names(claims, ["a", "b"], ["digits"], ["full"])[0]


def test_a_model_that_does_not_suit_the_dataset_is_a_cell_that_is_not_there(tmp_path):
    claims = claims_of(tmp_path).claims
    names = (["a", "b"], ["digits"], ["smoke"])
    (line,) = check_names(
        claims, *names, lambda model, dataset: (model, dataset) != ("b", "digits")
    )
    assert line == "better: there is no cell of b on digits"
