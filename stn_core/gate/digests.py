"""Digests kept beside the baselines, for environments in which no baseline was measured.

A continuous integration machine trains the main branch once and keeps what came out; a change that
alters no number is then recognised there as well, as long as the baseline is the one that the main
branch passed against.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stn_core.atomic_files import write_at_once
from stn_core.errors import UsageError
from stn_core.gate.verdict import Judgement, Verdict
from stn_core.schema import checked, read_versioned

DIGESTS_VERSION = 2


@dataclass(frozen=True)
class _Content:
    """What stands in the file: by environment, cell, baseline and seed."""

    version: int
    digests: dict[str, dict[str, dict[str, dict[str, str]]]]


Digests = Mapping[tuple[str, str, str, int], str]
"""By environment, cell, fingerprint of its baseline, and seed."""


def read_digests(path: Path) -> Digests:
    """The digests of a file; none where there is no such file.

    Raises:
        UsageError: the file is not what `write_digests` writes.
    """
    if not path.exists():
        return {}
    try:
        content = read_versioned(path, DIGESTS_VERSION, "a digest cache")
        found = checked(_Content, content, f"{path}: ")
        return {
            (environment, key, baseline, int(seed)): digest
            for environment, cells in found.digests.items()
            for key, baselines in cells.items()
            for baseline, seeds in baselines.items()
            for seed, digest in seeds.items()
        }
    except UsageError as error:
        raise UsageError(f"{error}; delete it") from None
    except ValueError:
        raise UsageError(f"{path}: a seed is not a number; delete it") from None


def write_digests(path: Path, judgements: Iterable[Judgement]) -> None:
    """Write, in one piece, the digests of the cells that passed against their baselines.

    What the file held of other cells and environments stays; what passed against an older baseline
    goes. An improvement is no reference: until it is accepted, a loss of it is none. The folder is
    made where there is none: a fresh checkout has no results.
    """
    passed = [
        (judgement, judgement.baseline.fingerprint)
        for judgement in judgements
        if judgement.baseline and judgement.verdict in (Verdict.PASS, Verdict.IDENTICAL)
    ]
    current = {judgement.key: fingerprint for judgement, fingerprint in passed}
    digests = {
        place: digest
        for place, digest in read_digests(path).items()
        if current.get(place[1], place[2]) == place[2]
    }
    for judgement, fingerprint in passed:
        for record in judgement.records:
            digests[record.environment.key(), record.key, fingerprint, record.seed] = record.digest
    nested: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for (environment, key, baseline, seed), digest in sorted(digests.items()):
        seeds = nested.setdefault(environment, {}).setdefault(key, {}).setdefault(baseline, {})
        seeds[str(seed)] = digest
    content = {"version": DIGESTS_VERSION, "digests": nested}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_at_once(path, json.dumps(content, indent=1) + "\n")
