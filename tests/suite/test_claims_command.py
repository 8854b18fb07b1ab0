"""The command that judges the claims of this repository, and the page that it wrote."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from stn_core.errors import UsageError
from stn_core.gate.contrasts import Finding
from stn_core.report.claims import read_claims
from stn_core.report.claims_chart import claims_picture
from stn_core.report.claims_text import (
    CLAIMS_PICTURE,
    EXCERPT_BEGINS,
    EXCERPT_ENDS,
    claims_document,
    claims_excerpt,
    with_excerpt,
)
from stn_core.suite.claims import judge_file, with_known_names
from stn_core.suite.commands import main

REPOSITORY = Path(__file__).parents[2]
CLAIMS = Path("benchmarks", "claims.toml")


def test_every_claim_names_what_exists_and_the_page_says_what_the_stored_values_say():
    claims = read_claims(REPOSITORY / CLAIMS)
    assert not with_known_names(claims).refused
    assert len(claims.claims) >= 20
    evidence = REPOSITORY / "evidence.jsonl.gz"
    judged = judge_file(claims, REPOSITORY / "baselines.json", evidence)
    page = (REPOSITORY / "docs" / "claims.md").read_text(encoding="utf-8")
    assert page == claims_document(judged, f"stn claims {CLAIMS.as_posix()}")
    assert sum(map(is_decided_by_five_seeds, judged)) >= 12
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert readme == with_excerpt(readme, claims_excerpt(judged), "README.md")
    picture = (REPOSITORY / "docs" / CLAIMS_PICTURE).read_text(encoding="utf-8")
    assert words_of(picture) == words_of(claims_picture(judged))


def is_decided_by_five_seeds(one):
    """Whether a claim has a verdict in some way, and each side five runs (a number has none)."""
    return any(
        one.finding(way) is not Finding.OPEN
        and all(min(diff.seeds[0], diff.seeds[1] or diff.seeds[0]) >= 5 for diff in differences)
        for way, differences in one.ways.items()
    )


def words_of(picture):
    """The text of an SVG, whose lines depend on matplotlib's version."""
    return re.findall(r"<text[^>]*>([^<]+)", picture)


def test_the_readme_keeps_what_is_around_the_claims():
    text = f"before\n{EXCERPT_BEGINS}\nold\n{EXCERPT_ENDS}\nafter\n"
    assert with_excerpt(text, "new", "") == text.replace("old", "\nnew\n")
    assert with_excerpt(with_excerpt(text, "old", ""), "new", "") == with_excerpt(text, "new", "")


@pytest.mark.parametrize(
    "text",
    ["", f"{EXCERPT_BEGINS}\n", f"{EXCERPT_ENDS}\n{EXCERPT_BEGINS}\n", f"{EXCERPT_BEGINS}\n" * 3],
)
def test_a_readme_without_a_place_for_the_claims_is_refused(text):
    with pytest.raises(UsageError, match=r"^page\.md needs one line <!-- claims --> and after it"):
        with_excerpt(text, "new", "page.md")


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ('metric = "accuracy"', 'metric = "size"', "wrong-spinal"),
        ('"vit"', '"vitt"', "wrong-spinal_stn_coordcls-best-of-five: unknown model 'vitt'"),
    ],
)
def test_a_wrong_claim_fails_the_command_and_only_the_others_are_on_the_page(
    tmp_path, capsys, monkeypatch, right, wrong, complaint
):
    good = (REPOSITORY / CLAIMS).read_text(encoding="utf-8").split("[[claim]]")[1]
    bad = good.replace('id = "', 'id = "wrong-').replace(right, wrong)
    (tmp_path / "claims.toml").write_text(f"[[claim]]{good}[[claim]]{bad}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    baselines = str(REPOSITORY / "baselines.json")
    assert main(["claims", "claims.toml", "--baselines", baselines]) == 1
    said = capsys.readouterr()
    assert "1 claim;" in said.out
    assert complaint in said.err
    page = (tmp_path / "claims.md").read_text(encoding="utf-8")
    assert "wrong-" not in page
    assert "vitt" not in page
    assert f"`stn claims claims.toml --baselines {baselines}` writes this page" in page
    assert (tmp_path / "claims.html").exists()


def test_claims_may_be_about_models_that_a_module_registers(tmp_path, capsys, monkeypatch):
    (tmp_path / "own_claimed_model.py").write_text(
        "from stn_core import register_model\nregister_model(name='own_claimed_model')(print)\n",
        encoding="utf-8",
    )
    good = (REPOSITORY / CLAIMS).read_text(encoding="utf-8").split("[[claim]]")[1]
    own = good.replace('"vit"', '"own_claimed_model"')
    (tmp_path / "claims.toml").write_text(f"[[claim]]{own}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    command = ["claims", "claims.toml", "--baselines", str(REPOSITORY / "baselines.json")]
    assert main(command) == 1
    assert "unknown model 'own_claimed_model'" in capsys.readouterr().err
    assert main([*command, "--import", "own_claimed_model.py"]) == 0
    page = (tmp_path / "claims.md").read_text(encoding="utf-8")
    assert "--import own_claimed_model.py` writes this page" in page


def test_variants_and_other_libraries_models_may_be_claimed_about():
    named = {"cnn", "stn[warp=tps]", "timm:test_resnet", "stn[wrap=tps]", "tim:resnet"}
    claims = read_claims(REPOSITORY / CLAIMS)
    contrast = replace(claims.claims[0].contrasts[0], than=tuple(sorted(named)))
    claim = replace(claims.claims[0], contrasts=(contrast,))
    ((name, said),) = with_known_names(replace(claims, claims=(claim,))).refused
    assert name == claim.id
    wrong = said.split("; ")
    assert "stn[wrap=tps]" in wrong[0]
    assert any("'tim:resnet'" in one for one in wrong[1:])
    assert not any("'cnn'" in one or "'timm:test_resnet'" in one for one in wrong)


def test_a_variant_has_the_name_of_its_records_however_a_claim_spells_it():
    claims = read_claims(REPOSITORY / CLAIMS)
    same = replace(claims.claims[0].contrasts[0], model="cnn", than=("stn[warp=affine]", "stn"))
    other = replace(same, model="stn[ warp=tps, sampler=linearized ]", than=("stn[warp=affine]",))
    given = [
        replace(claims.claims[0], id=name, contrasts=(contrast,))
        for name, contrast in (("same", same), ("other", other))
    ]
    known = with_known_names(replace(claims, claims=tuple(given)))
    assert known.claims[0].contrasts[0].models == ("stn[sampler=linearized,warp=tps]", "stn")
    assert known.refused == (("same", "same: a model is compared with itself: cnn, stn, stn"),)
