"""Published claims of a file, held together with the models, the datasets and the stored values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stn_core.atomic_files import write_at_once
from stn_core.errors import UsageError, check_regular
from stn_core.gate.baselines import read_baselines
from stn_core.report.claims import Claims, check_names
from stn_core.report.claims_text import claims_excerpt, with_excerpt
from stn_core.report.judged_claims import JudgedClaim, judge_claims
from stn_core.report.stored_cells import stored_cells
from stn_core.session.budgets import list_budgets
from stn_core.session.evidence import read_evidence


def unknown_names(claims: Claims) -> list[str]:
    """A message for every claim that names a model, dataset or budget that does not exist."""
    from stn_core.datasets import list_datasets
    from stn_core.models import list_models, model_info

    def exists(name: str) -> bool:
        try:
            return bool(model_info(name))
        except UsageError:
            return False

    named = {model for claim in claims.claims for _, _, model in claim.cells}
    models = {*list_models(), *filter(exists, named)}  # variants and other libraries' among them
    return check_names(claims.claims, sorted(models), list_datasets(), list_budgets())


def judge_file(claims: Claims, baselines: Path, evidence: Path) -> list[JudgedClaim]:
    """The claims, judged by the values of a baselines file and the records of an evidence file.

    Raises:
        UsageError: one of the files is damaged, or there is no baselines file.
    """
    stored = stored_cells(read_baselines(baselines), read_evidence(evidence))
    return judge_claims(claims.claims, stored)


def update_readme(file: Path, judged: Sequence[JudgedClaim]) -> None:
    """Put the most telling claims into a Markdown file, between its two markers.

    Raises:
        UsageError: the file cannot be read, or has no place for them.
    """
    check_regular(file)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 text: byte {error.start}") from None
    write_at_once(file, with_excerpt(text, claims_excerpt(judged), str(file)))
