"""The rules of a session: seeds, looks, levels and limits, the same for all of its cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stn_core.errors import UsageError
from stn_core.gate.baselines import Baselines
from stn_core.gate.difference import SIDE_LOOKS
from stn_core.gate.metrics import MIN_DROP_POINTS, VALUES, AnyMetric, RegisteredMetric
from stn_core.gate.statistics import CELLS_FALSE_ALARM_RATE, GROUPS_FALSE_ALARM_RATE
from stn_core.registry import fits
from stn_core.schema import Amount, Count, CountFrom1, shown
from stn_core.session.budgets import are_looks
from stn_core.session.cells import split_key
from stn_core.session.metrics import MetricInfo

LEAST_RUNS = 3
"""Fewer say too little about a cell without a baseline, and about the speed of training."""


@dataclass(frozen=True)
class Rules:
    """The rules by which a session judges, whichever cells are selected.

    Args:
        seeds: in the order in which they train; `Judge.seeds` puts stored ones first.
        looks: rising numbers of seeds after which a cell is judged; the last is all of them.
        matrix_size: how many cells the budget's whole matrix has, for the correction.
        group_count: how many groups of cells it has, likewise, in all the shards of a session.
        min_drop_points: a smaller drop never fails.
        min_drops: the same for some cells, by shell patterns of ``dataset/model``; the last match
            counts.
        must_detect_points: a cell that could not have shown such a drop does not pass; None
            disables it.
        metrics: that can fail a cell in addition to accuracy and loss.
        settles_identical: a digest that repeats the stored one settles a cell.
        gates_speed: a slower training fails too.
        are_named: the user asked for exactly these seeds.

    Raises:
        UsageError: there are no seeds or repeated ones, or looks do not rise to their number.
    """

    seeds: tuple[Count, ...]
    looks: tuple[CountFrom1, ...]
    matrix_size: CountFrom1
    group_count: Count = 0
    min_drop_points: Amount = MIN_DROP_POINTS
    min_drops: Mapping[str, Amount] = field(default_factory=dict)
    must_detect_points: Amount | None = None
    metrics: tuple[MetricInfo, ...] = ()
    settles_identical: bool = True
    gates_speed: bool = False
    are_named: bool = False

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < max(len(self.seeds), 1):
            raise UsageError(f"seeds must be one or more, all different, not {shown(self.seeds)}")
        if not are_looks(self.looks) or self.looks[-1] != len(self.seeds):
            raise UsageError(
                f"looks must rise to the number of seeds, {len(self.seeds)}, not"
                f" {shown(self.looks)}"
            )

    @property
    def level(self) -> float:
        """The probability of a false alarm for each metric of each cell (Bonferroni)."""
        judged = len(self.judged) + self.gates_speed
        return CELLS_FALSE_ALARM_RATE / (self.matrix_size * judged)

    @property
    def judged(self) -> tuple[AnyMetric, ...]:
        """The metrics that can fail a cell, except speed."""
        return (*VALUES, *map(RegisteredMetric, self.metrics))

    @property
    def group_level(self) -> float:
        """The same for each metric of each group."""
        return GROUPS_FALSE_ALARM_RATE / (max(self.group_count, 1) * len(VALUES))

    @property
    def side_looks(self) -> tuple[int, ...]:
        """Numbers of seeds of both sides after which a cell is compared with another commit."""
        return tuple(sorted({min(look, self.looks[-1]) for look in SIDE_LOOKS}))

    @property
    def in_words(self) -> str:
        """What decides how large a drop passes, except the level: seeds and limits.

        The level falls as models are added, which lets no cell lose much more than before.
        """
        drops = {"*": self.min_drop_points, **self.min_drops}
        limits = ", ".join(f"{points:g} in {pattern}" for pattern, points in drops.items())
        must = "any" if self.must_detect_points is None else f"{self.must_detect_points:g}"
        looks = ", ".join(map(str, self.looks))
        return f"looks at {looks} seeds; least drop {limits}; detects {must}"

    def check_stored(self, baselines: Baselines, budget: str) -> None:
        """Check that the metrics had the scales that they have now when a budget was measured.

        Raises:
            UsageError: a stored value is not on the scale of its metric.
        """
        for metric in map(RegisteredMetric, self.metrics):
            for key, cell in baselines.cells.items():
                if split_key(key).budget == budget:
                    metric.check(cell.runs, f"the baseline of {key}: ")

    def min_drop(self, key: str) -> float:
        """The smallest drop of a cell, in points, that can fail."""
        name = split_key(key)
        place = f"{name.dataset}/{name.model}"
        matching = [drop for pattern, drop in self.min_drops.items() if fits(place, pattern)]
        return matching[-1] if matching else self.min_drop_points

    @property
    def runs_without_baseline(self) -> int:
        """How many runs a cell without a baseline gets."""
        return self.with_least_runs().looks[0]

    def with_least_runs(self) -> Rules:
        """These rules without looks before LEAST_RUNS runs, or before the last look."""
        least = min(LEAST_RUNS, self.looks[-1])
        return replace(self, looks=tuple(sorted({max(look, least) for look in self.looks})))

    @property
    def seeds_to_settle(self) -> int:
        """How many runs must repeat the stored ones: one is enough, unless more are requested.

        A digest covers every step's loss, the predictions and the metrics, and all seeds run the
        same code: if one run repeats, the others would too. No digest covers speed.
        """
        if self.are_named:
            return len(self.seeds)
        return self.looks[0] if self.gates_speed else 1
