"""Published claims of a file: their names checked, judged by stored values, written as pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stn_core.atomic_files import write_at_once, write_output
from stn_core.errors import UsageError, check_regular
from stn_core.gate.baselines import read_baselines
from stn_core.report.claims import Claim, Claims, check_names
from stn_core.report.claims_text import (
    CLAIMS_PICTURE,
    claims_document,
    claims_excerpt,
    with_excerpt,
)
from stn_core.report.judged_claims import JudgedClaim, judge_claims
from stn_core.report.stored_cells import stored_cells
from stn_core.session.budgets import get_budget, list_budgets
from stn_core.session.cells import Cell, split_key
from stn_core.session.evidence import read_evidence


@dataclass(frozen=True)
class ClaimEntry:
    """One entry of a claims file.

    Args:
        name: its id, or its number in the file.
        claim: the claim, None if the entry is wrong.
        complaint: what is wrong with it, "" if nothing is.
    """

    name: str
    claim: Claim | None
    complaint: str = ""


def claim_entries(claims: Claims) -> list[ClaimEntry]:
    """The entries of a file, the wrong ones last."""
    good = [ClaimEntry(claim.id, claim) for claim in claims.claims]
    return good + [ClaimEntry(name, None, complaint) for name, complaint in claims.refused]


def with_known_names(claims: Claims) -> Claims:
    """The claims with the names of models that records have, however a variant was spelled.

    Those that name something that does not exist are among the refused ones.
    """
    known = _known_names(claims)
    good = []
    refused = list(claims.refused)
    for claim in claims.claims:
        if unknown := check_names([claim], *known, _suits):
            refused.append((claim.id, "; ".join(unknown)))
            continue
        try:
            good.append(_with_names_of_records(claim))
        except UsageError as error:
            refused.append((claim.id, f"{claim.id}: {error}"))
    return Claims(tuple(good), tuple(refused))


def _with_names_of_records(claim: Claim) -> Claim:
    """A claim with one name per model.

    Raises:
        UsageError: it compares a model with itself.
    """
    from stn_core.models import model_name
    from stn_core.models.variants import looks_like_variant

    def name(model: str) -> str:
        return model_name(model) if looks_like_variant(model) else model

    contrasts = (
        replace(one, model=name(one.model), than=tuple(map(name, one.than)))
        for one in claim.contrasts
    )
    return replace(claim, contrasts=tuple(contrasts))


def _suits(model: str, dataset: str) -> bool:
    from stn_core.models import model_info

    return model_info(model).suits(dataset)


def shipped_cell(budget: str, dataset: str, model: str) -> Cell:
    """A cell with the recipe that its budget has now.

    Raises:
        UsageError: there is no such budget or model.
    """
    from stn_core.models import model_info

    recipe = get_budget(budget).recipe_for(dataset, model_info(model).family, model)
    return Cell(model, dataset, budget, recipe)


def shipped_recipe(key: str) -> str:
    """The hash of the recipe that a cell has now, "" if there is no such cell."""
    try:
        return shipped_cell(*split_key(key)).recipe.hash()
    except UsageError:
        return ""


def _known_names(claims: Claims) -> tuple[list[str], list[str], list[str]]:
    """The names of models, as far as the claims ask for them, of datasets and of budgets."""
    from stn_core.datasets import list_datasets
    from stn_core.models import list_models, model_info

    def exists(name: str) -> bool:
        try:
            return bool(model_info(name))
        except UsageError:
            return False

    named = {model for claim in claims.claims for _, _, model in claim.cells}
    # A claim may name variants and other libraries' models.
    models = {*list_models(), *filter(exists, named)}
    return sorted(models), list_datasets(), list_budgets()


def judge_file(claims: Claims, baselines: Path, evidence: Path) -> list[JudgedClaim]:
    """The claims, judged by the values of a baselines file and the records of an evidence file.

    Raises:
        UsageError: one of the files is damaged, or there is no baselines file.
    """
    stored = stored_cells(read_baselines(baselines), read_evidence(evidence), shipped_recipe)
    return judge_claims(claims.claims, stored)


def write_claims(
    judged: Sequence[JudgedClaim],
    folder: Path,
    command: str,
    command_of: Callable[[str], str] | None = None,
) -> Path:
    """Write claims.md, its picture and claims.html into a folder; returns the path of claims.html.

    Args:
        judged: the claims.
        folder: created if needed.
        command: writes these pages again.
        command_of: the command that measures and judges a single claim, by id; None without one.

    Raises:
        UsageError: they cannot be written.
    """
    from stn_core.report.claims_chart import claims_picture
    from stn_core.report.claims_page import write_claims_page

    write_output(folder / "claims.md", claims_document(judged, command))
    write_output(folder / CLAIMS_PICTURE, claims_picture(judged))
    write_claims_page(judged, folder / "claims.html", command, command_of)
    return folder / "claims.html"


def update_readme(file: Path, judged: Sequence[JudgedClaim]) -> None:
    """Put the most telling claims into a Markdown file, between its two markers.

    Raises:
        UsageError: the file cannot be read, or lacks the markers.
    """
    check_regular(file)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 text: byte {error.start}") from None
    write_at_once(file, with_excerpt(text, claims_excerpt(judged), str(file)))
