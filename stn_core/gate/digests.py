"""Digests kept beside the baselines, for environments in which no baseline was measured.

A continuous integration machine trains the main branch once and keeps what came out; a change that
alters no number is then recognised there as well, as long as the baseline is the one that the main
branch passed against.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stn_core.atomic_files import write_at_once
from stn_core.errors import UsageError
from stn_core.gate.verdict import Judgement, Verdict

DIGESTS_VERSION = 2

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
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != DIGESTS_VERSION:
            raise UsageError(
                f"{path} is a digest cache of version {content['version']!r},"
                f" not {DIGESTS_VERSION}; delete it"
            )
        return {
            (environment, key, baseline, int(seed)): _text(digest)
            for environment, cells in content["digests"].items()
            for key, baselines in cells.items()
            for baseline, seeds in baselines.items()
            for seed, digest in seeds.items()
        }
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UsageError(f"{path} is not a digest cache; delete it") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def write_digests(path: Path, judgements: Iterable[Judgement]) -> None:
    """Write, in one piece, the digests of the cells that passed against their baselines.

    What the file held of other cells and environments stays; what passed against an older baseline
    goes. An improvement is no reference: until it is accepted, a loss of it is none. The folder is
    made where there is none: a fresh checkout has no results.
    """
    digests = dict(read_digests(path))
    for judgement in judgements:
        if judgement.baseline is None or judgement.verdict not in (Verdict.PASS, Verdict.IDENTICAL):
            continue
        current = judgement.baseline.fingerprint
        digests = {
            place: digest
            for place, digest in digests.items()
            if place[1] != judgement.key or place[2] == current
        }
        for record in judgement.records:
            digests[record.environment.key(), record.key, current, record.seed] = record.digest
    nested: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for (environment, key, baseline, seed), digest in sorted(digests.items()):
        seeds = nested.setdefault(environment, {}).setdefault(key, {}).setdefault(baseline, {})
        seeds[str(seed)] = digest
    content = {"version": DIGESTS_VERSION, "digests": nested}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_at_once(path, json.dumps(content, indent=1) + "\n")
