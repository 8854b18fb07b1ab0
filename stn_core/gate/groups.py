"""Verdicts on groups of cells, for drops that are too small to fail any cell alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stn_core.gate.group_members import Group, Member, largest_group, passed_before
from stn_core.gate.judge import Judge
from stn_core.gate.judgement import Judgement, Verdict
from stn_core.gate.metrics import VALUES, Metric
from stn_core.gate.rules import Rules
from stn_core.gate.sequential import Decision, Outcome
from stn_core.session.cells import Cell
from stn_core.session.records import RunRecord

LEAST_CELLS = 4
"""A group needs this many cells of the whole matrix: fewer show little more than each alone."""
CARRIERS_NAMED = 5
_JUDGED = (Verdict.PASS, Verdict.IMPROVED, Verdict.REGRESSED, Verdict.BLIND)
_FAILED = (Verdict.DIVERGED, Verdict.CRASHED, Verdict.MISSING)

Groups = Mapping[str, Sequence[str]]
"""By name, the keys of a group's cells in the whole matrix, whatever the session selects."""


def groups_of_tags(tags: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The groups of cells that share a tag.

    Args:
        tags: of every cell of a matrix, by key.

    Returns:
        Sorted keys by tag, without tags of fewer than LEAST_CELLS cells. Of several tags with the
        same cells, only the first is kept.
    """
    groups: dict[str, list[str]] = {}
    for key in sorted(tags):
        for tag in dict.fromkeys(tags[key]):
            groups.setdefault(tag, []).append(key)
    chosen: dict[tuple[str, ...], str] = {}
    for tag, keys in groups.items():
        if len(keys) >= LEAST_CELLS:
            chosen.setdefault(tuple(keys), tag)
    return {tag: list(keys) for keys, tag in chosen.items()}


@dataclass(frozen=True)
class GroupJudgement:
    """A group's verdict.

    Args:
        name: of the group.
        verdict: PASS, IMPROVED or REGRESSED.
        message: why, in one sentence; "" if it passes.
        members: keys of the cells that were judged together; none if it is about speed.
        seeds: how many seeds of each decided.
        seeds_needed: by key, seeds that must run before there is a verdict.
        reference_seeds_needed: those that must run with the code of the compared commit.
    """

    name: str
    verdict: Verdict
    message: str = ""
    members: tuple[str, ...] = ()
    seeds: int = 0
    seeds_needed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    reference_seeds_needed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The verdict in one line."""
        return f"{self.verdict} (group)  {self.name}: {self.message}"


def judge_groups(
    judge: Judge,
    groups: Groups,
    cells: Iterable[Cell],
    judgements: Iterable[Judgement],
    by_key: Mapping[str, Sequence[RunRecord]],
) -> list[GroupJudgement]:
    """The verdicts on all groups with two or more cells that were judged by their values.

    A cell that only the digest cache recognises was judged when it passed before, and may be worse
    than its baseline by too little to fail. So as soon as another cell of its group is judged, it
    belongs to the group with its remembered runs: small changes of one cell after the other add up.

    If several groups have the same such cells, only the one with the fewest cells in all is judged.

    A replay, as for a cell: more records never change what fewer decided.

    Args:
        judge: of the session.
        groups: of the plan.
        cells: of the session.
        judgements: of these cells.
        by_key: the records of each cell; some may have run only for a group's verdict.
    """
    planned = {cell.key: cell for cell in cells}
    verdicts = {judgement.key: judgement.verdict for judgement in judgements}
    judged_now = {key for key in planned if verdicts.get(key) in _JUDGED}
    members = {
        key: Member.of(judge, cell, by_key[key])
        for key, cell in planned.items()
        if key in judged_now
        or (verdicts.get(key) is Verdict.IDENTICAL and passed_before(judge, cell, by_key[key]))
    }
    found = {
        name: group
        for name, keys in groups.items()
        if (group := largest_group([members[key] for key in keys if key in members], judge.rules))
        and any(one.key in judged_now for one in group.members)
    }
    judged = []
    for name in _telling_names(groups, found):
        failed = [key for key in groups[name] if verdicts.get(key) in _FAILED and key in planned]
        few = _few_stored_seeds(
            [members[key] for key in groups[name] if key in members], found[name]
        )
        judged.append(_judge_group(judge.rules, name, found[name], _left_out(failed, few)))
    return judged


def _telling_names(groups: Groups, found: Mapping[str, Group]) -> list[str]:
    """The groups to judge: of several with the same members, the one with the fewest cells.

    Its name says most about what the members have in common.
    """
    by_members: dict[frozenset[str], str] = {}
    for name in sorted(found, key=lambda name: len(groups[name])):
        by_members.setdefault(frozenset(one.key for one in found[name].members), name)
    chosen = set(by_members.values())
    return [name for name in found if name in chosen]


def _few_stored_seeds(candidates: Sequence[Member], group: Group) -> list[str]:
    """The candidates that a group of cells with more stored seeds leaves out."""
    keys = {one.key for one in group.members if not one.other}
    return [one.key for one in candidates if keys and not one.other and one.key not in keys]


def _left_out(failed: Sequence[str], few: Sequence[str]) -> str:
    """Which cells of a group are not judged with the others, and why; "" if all are."""
    reasons = {"as they failed": failed, "as they have fewer stored seeds": few}
    return "".join(f"; left out, {why}: {', '.join(keys)}" for why, keys in reasons.items() if keys)


def _judge_group(rules: Rules, name: str, group: Group, left_out: str) -> GroupJudgement:
    keys = tuple(one.key for one in group.members)
    decisions = {metric: group.decide(metric, rules) for metric in VALUES}
    for outcome, verdict in ((Outcome.ROSE, Verdict.REGRESSED), (Outcome.FELL, Verdict.IMPROVED)):
        moved = {
            metric: decision
            for metric, decision in decisions.items()
            if decision.outcome is outcome and _matters(rules, group, metric, decision)
        }
        unclear = any(one.outcome is Outcome.UNCLEAR for one in decisions.values())
        if moved and (verdict is Verdict.REGRESSED or not unclear):
            message = _message(group, moved) + left_out
            seeds = max(decision.looked_at for decision in moved.values())
            return GroupJudgement(name, verdict, message, keys, seeds)
    asked = max(decision.seeds_needed for decision in decisions.values())
    needed = group.missing(asked)
    looked_at = max(decision.looked_at for decision in decisions.values())
    return GroupJudgement(name, Verdict.PASS, "", keys, looked_at, *needed)


def _matters(rules: Rules, group: Group, metric: Metric, decision: Decision) -> bool:
    """Whether a mean change is large enough to matter in practice."""
    change = group.change(metric, decision.looked_at)
    least = float(np.mean([rules.min_drop(one.key) for one in group.members]))
    return abs(change) >= metric.least_group_change(least)


def _message(group: Group, decisions: Mapping[Metric, Decision]) -> str:
    reasons = []
    for metric, decision in decisions.items():
        change = group.change(metric, decision.looked_at)
        chance = max(min(decision.p_value, 1 - decision.p_value), 1e-99)
        reasons.append(
            f"{metric.in_words(change)} on average (p = {chance:.0e}, {decision.looked_at}"
            f" seed{'s' * (decision.looked_at != 1)})"
        )
    metric, decision = next(iter(decisions.items()))
    sign = 1 if decision.rise > 0 else -1
    carriers = _carriers(group, metric, decision.looked_at, sign)
    more = len(carriers) - CARRIERS_NAMED
    named = ", ".join(carriers[:CARRIERS_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{', '.join(reasons)} over {len(group.members)} cells, most in {named}"


def _carriers(group: Group, metric: Metric, look: int, sign: int) -> list[str]:
    """The members that moved further than their mean, furthest first."""
    moved = sign * group.moves(metric, look)
    order = np.argsort(-moved)
    return [group.members[place].key for place in order if moved[place] >= np.mean(moved)]
