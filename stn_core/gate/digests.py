"""A cache of runs that passed, for environments in which no baseline was measured.

A continuous integration machine trains the main branch once and keeps its digests. A change that
alters no number is then recognised there too, as long as the main branch passed against the same
baseline.

A cell that only this cache recognises may already be a little worse than its baseline. So its
groups are judged with the values of its runs, which are kept beside their digests, and digests
count only in a session all of whose cells were judged together before. Otherwise a change that
costs every cell a little could pass cell by cell, one session after the other.

The digests of cells that passed are kept even if another cell failed, as long as all groups passed:
the failed cell leaves none, so it is judged again next time, and with it every group that it is in,
with the remembered values of the others. The groups that it is not in have been judged.

What passed by other seeds or limits says nothing about the present ones. So digests count only in a
session of the same rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stn_core.atomic_files import write_at_once
from stn_core.errors import TooOldError, UsageError, is_missing
from stn_core.gate.baselines import baseline_run
from stn_core.gate.judgement import Judgement, Verdict
from stn_core.schema import Amount, Share, checked, read_versioned

DIGESTS_VERSION = 5


@dataclass(frozen=True)
class PassedRun:
    """A run of a cell that passed.

    Args:
        digest: the run's.
        accuracy, cross_entropy: on the test set, as in a baseline.
    """

    digest: str
    accuracy: Share
    cross_entropy: Amount


Digests = Mapping[tuple[str, str, str, int], PassedRun]
"""By environment, cell, fingerprint of its baseline, and seed."""


@dataclass(frozen=True)
class PassedSession:
    """The digests of one session, or of several with the same rules and cells.

    Args:
        rules: that it was judged by, as of `Rules.in_words`.
        cells: keys of all planned cells.
        digests: of the cells that passed.
    """

    rules: str
    cells: frozenset[str]
    digests: Digests


@dataclass(frozen=True)
class _Session:
    """The same in the file: runs by environment, cell, baseline and seed."""

    rules: str
    cells: list[str]
    digests: dict[str, dict[str, dict[str, dict[str, PassedRun]]]]


@dataclass(frozen=True)
class _Content:
    """The whole file."""

    version: int
    sessions: list[_Session]


def read_digests(path: Path) -> tuple[list[PassedSession], list[str]]:
    """The sessions of a file, and a sentence if it is of an older version.

    Such a file counts as empty, as does one that does not exist.

    Raises:
        UsageError: the file is not what `write_digests` writes, or is of a newer version.
    """
    if is_missing(path):
        return [], []
    try:
        content = read_versioned(path, DIGESTS_VERSION, "a digest cache")
        found = checked(_Content, content, f"{path}: ")
        sessions = [
            PassedSession(one.rules, frozenset(one.cells), _flat(one.digests))
            for one in found.sessions
        ]
    except TooOldError:
        return [], [f"{path} is a digest cache of an older version and counts as empty"]
    except UsageError as error:
        raise UsageError(f"{error}; delete it") from None
    except ValueError:
        raise UsageError(f"{path}: a seed is not a number; delete it") from None
    return sessions, []


def known_digests(sessions: Iterable[PassedSession], rules: str, cells: Iterable[str]) -> Digests:
    """The digests that count in a session.

    Args:
        sessions: the latest last.
        rules: of the session, as of `Rules.in_words`.
        cells: keys of the cells with a baseline that the session judges.
    """
    asked = frozenset(cells)
    known: Digests = {}
    for session in sessions:
        if session.rules == rules and asked <= session.cells:
            known = _renewed(known, session.digests)
    return known


def write_digests(path: Path, rules: str, judgements: Sequence[Judgement]) -> None:
    """Write, in one piece, the digests of the cells that passed against their baselines.

    Digests of other sessions and environments stay; those that passed against an older baseline are
    removed. Improved cells are left out: until an improvement is accepted, losing it again is not a
    regression. The folder is created if it is missing, as in a fresh checkout.

    Args:
        path: the file.
        rules: of the session, as of `Rules.in_words`.
        judgements: of all the cells of a session all of whose groups passed; with all good runs of
            each, including those that a group of cells asked for.
    """
    passed = [
        (judgement, judgement.baseline.fingerprint)
        for judgement in judgements
        if judgement.baseline and judgement.verdict in (Verdict.PASS, Verdict.IDENTICAL)
    ]
    digests = {
        (run.environment, judgement.key, fingerprint, run.seed): PassedRun(
            run.digest, run.accuracy, run.cross_entropy
        )
        for judgement, fingerprint in passed
        for run in map(baseline_run, judgement.records)
    }
    cells = frozenset(judgement.key for judgement in judgements)
    current = {judgement.key: fingerprint for judgement, fingerprint in passed}
    earlier = _without_older(read_digests(path)[0], current)
    sessions = _with(PassedSession(rules, cells, digests), earlier)
    content = {
        "version": DIGESTS_VERSION,
        "sessions": [
            {"rules": one.rules, "cells": sorted(one.cells), "digests": _nested(one.digests)}
            for one in sessions
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_at_once(path, json.dumps(content, indent=1) + "\n")


def _without_older(
    sessions: Iterable[PassedSession], current: Mapping[str, str]
) -> list[PassedSession]:
    """The sessions without digests that passed against a baseline other than the current one."""
    return [
        replace(
            session,
            digests={
                place: digest
                for place, digest in session.digests.items()
                if current.get(place[1], place[2]) == place[2]
            },
        )
        for session in sessions
    ]


def _with(new: PassedSession, sessions: Iterable[PassedSession]) -> list[PassedSession]:
    """The sessions and a new one, which replaces those that add nothing to it."""
    kept = []
    for session in sessions:
        if session.rules != new.rules:
            kept.append(session)
        elif new.cells <= session.cells and new.digests.items() <= session.digests.items():
            new = session
        elif session.cells == new.cells:
            new = replace(new, digests=_renewed(session.digests, new.digests))
        elif not (session.cells < new.cells and session.digests.keys() <= new.digests.keys()):
            kept.append(session)
    return [session for session in (*kept, new) if session.digests]


def _renewed(older: Digests, newer: Digests) -> Digests:
    """Digests, and those of a newer session in their place.

    A cell that left none in the newer session, because it improved or failed, loses the older
    ones of that session's environments: they never passed together with the newer ones of others.
    A cell that has changed since loses its older ones too: all runs of a cell are of the same code.
    """
    environments = {environment for environment, *_ in newer}
    shared = [place for place in newer if place in older]
    changed = {place[:3] for place in shared if older[place].digest != newer[place].digest}
    same = {place[:3] for place in shared} - changed
    kept = {
        place: run
        for place, run in older.items()
        if place[0] not in environments or place[:3] in same
    }
    return {**kept, **newer}


def _flat(nested: Mapping[str, Mapping[str, Mapping[str, Mapping[str, PassedRun]]]]) -> Digests:
    return {
        (environment, key, baseline, int(seed)): run
        for environment, cells in nested.items()
        for key, baselines in cells.items()
        for baseline, seeds in baselines.items()
        for seed, run in seeds.items()
    }


def _nested(digests: Digests) -> dict[str, dict[str, dict[str, dict[str, dict[str, Any]]]]]:
    nested: dict[str, dict[str, dict[str, dict[str, dict[str, Any]]]]] = {}
    for place in sorted(digests):
        environment, key, baseline, seed = place
        seeds = nested.setdefault(environment, {}).setdefault(key, {}).setdefault(baseline, {})
        seeds[str(seed)] = asdict(digests[place])
    return nested
