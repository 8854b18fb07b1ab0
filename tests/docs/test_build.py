"""The site's pages are those of docs/ and a few files beside it, with generated parts."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from docs.website import build
from docs.website.schemas import CLASSES, schema
from docs.website.session_pages import WITHOUT, notebook_page, session_page
from stn_core.errors import UsageError
from stn_core.gate.baselines import read_baselines
from tests.examples import record
from tests.pages import DOCS, REPOSITORY

PAGES = sorted(page.name for page in DOCS.glob("*.md"))


def pages_of(nav: list[object]) -> list[str]:
    found: list[str] = []
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found += pages_of(value) if isinstance(value, list) else [str(value)]
    return found


def test_the_navigation_names_every_page_once() -> None:
    site = tomllib.loads((REPOSITORY / "zensical.toml").read_text(encoding="utf-8"))
    moved = [name for name in build.MOVED.values() if name.endswith(".md")]
    assert sorted(pages_of(site["project"]["nav"])) == sorted([*PAGES, *moved, "notebook.md"])


def test_every_generated_part_has_its_place_and_every_place_its_part() -> None:
    asked = [
        name
        for page in PAGES
        for name in build.MARKER.findall((DOCS / page).read_text(encoding="utf-8"))
    ]
    assert sorted(asked) == sorted(build.makers_of(None))


@pytest.mark.parametrize(
    ("written", "on_site"),
    [
        ("[a](docs/results.md#full)", "[a](results.md#full)"),
        ("[a](../CONTRIBUTING.md)", "[a](contributing.md)"),
        ("[a](README.md#install)", "[a](index.md#install)"),
        ("![a](docs/a.svg)", "![a](a.svg)"),
        ("[a](warps.md)", "[a](warps.md)"),
        ("[a](#here)", "[a](#here)"),
        ("[a](https://docs/results.md)", "[a](https://docs/results.md)"),
    ],
)
def test_a_link_leads_where_the_page_is_on_the_site(written: str, on_site: str) -> None:
    assert build.on_site(written) == on_site


def test_a_record_a_baseline_and_nothing_else_fit_their_schemas() -> None:
    good = json.loads(record(0).to_json())
    jsonschema.validate(good, json.loads(schema("records")))
    for wrong in ({**good, "seed": -1}, {**good, "test_accuracy": 1.5}, {**good, "model": 3}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, json.loads(schema("records")))
    text = (REPOSITORY / "baselines.json").read_text(encoding="utf-8")
    assert read_baselines(REPOSITORY / "baselines.json").cells
    for cell in list(json.loads(text)["cells"].values())[:5]:
        jsonschema.validate(cell, json.loads(schema("baselines")))
    assert set(CLASSES) == {"records", "baselines", "judgements"}


def test_without_a_session_the_pages_say_so(tmp_path: Path) -> None:
    assert session_page(None, tmp_path) == WITHOUT
    assert WITHOUT in notebook_page(tmp_path / "unread.ipynb", None, tmp_path)


def test_a_sessions_report_and_mistakes_are_copied_and_shown(tmp_path: Path) -> None:
    results, generated = tmp_path / "results", tmp_path / "generated"
    (results / "figures").mkdir(parents=True)
    generated.mkdir()
    with pytest.raises(UsageError, match=r"has no report\.html: run `stn report"):
        session_page(results, generated)
    for name in ("report.html", "figures/a-cnn-confusion.svg", "figures/a-cnn-worst-mistakes.svg"):
        (results / name).write_text(name)
    page = session_page(results, generated)
    assert "## a-cnn" in page
    for name in ("report.html", "a-cnn-confusion.svg", "a-cnn-worst-mistakes.svg"):
        assert f"(generated/{name})" in page
        assert (generated / name).exists()


def test_a_page_with_an_unknown_generated_part_is_refused() -> None:
    with pytest.raises(UsageError, match="a page asks for 'nothing'"):
        build._made("nothing", {})
