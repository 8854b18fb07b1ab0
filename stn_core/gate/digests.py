"""Digests kept beside the baselines, for environments in which no baseline was measured.

A continuous integration machine trains the main branch once and keeps what came out; a change that
alters no number is then recognised there as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from stn_core.errors import UsageError
from stn_core.gate.verdict import Judgement
from stn_core.writing import write_at_once

DIGESTS_VERSION = 1

Digests = Mapping[tuple[str, str, int], str]
"""By environment, cell and seed."""


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
            raise UsageError(f"{path} holds digests of version {content['version']!r}")
        return {
            (environment, key, int(seed)): str(digest)
            for environment, cells in content["digests"].items()
            for key, seeds in cells.items()
            for seed, digest in seeds.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a digest cache: {error!r}; delete it") from None


def write_digests(path: Path, judgements: Iterable[Judgement]) -> None:
    """Write, in one piece, the digests of every run of a session that passed.

    What the file held of other cells and environments stays.
    """
    digests = dict(read_digests(path))
    for judgement in judgements:
        for record in judgement.records:
            if record.status == "ok" and not record.is_search:
                digests[record.environment.key(), record.key, record.seed] = record.digest
    nested: dict[str, dict[str, dict[str, str]]] = {}
    for (environment, key, seed), digest in sorted(digests.items()):
        nested.setdefault(environment, {}).setdefault(key, {})[str(seed)] = digest
    content = {"version": DIGESTS_VERSION, "digests": nested}
    write_at_once(path, json.dumps(content, indent=1) + "\n")
