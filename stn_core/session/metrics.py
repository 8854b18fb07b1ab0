"""What is known of a metric without computing it: how its values are compared."""

from __future__ import annotations

from dataclasses import dataclass

from stn_core.errors import UsageError
from stn_core.registry import check_name

SHARE, PLAIN = "share", "plain"

ROUNDING = 1e-6
"""By how much a share may be outside of 0 to 1."""


@dataclass(frozen=True)
class MetricInfo:
    """A metric beside accuracy, test loss and speed.

    Args:
        name: of the metric.
        higher_is_better: its direction.
        floor: a smaller change neither fails nor improves a cell, in the metric's own unit, > 0.
        scale: "share" for values in [0, 1] whose best is 1, "plain" for any other.

    Raises:
        UsageError: one of them makes no sense.
    """

    name: str
    higher_is_better: bool = True
    floor: float = 0.003
    scale: str = SHARE

    def __post_init__(self) -> None:
        check_name("metric", self.name)
        if not 0 < self.floor < float("inf"):
            raise UsageError(f"the metric {self.name!r}: floor must be above 0, not {self.floor}")
        if self.scale not in (SHARE, PLAIN):
            raise UsageError(
                f"the metric {self.name!r}: scale must be {SHARE} or {PLAIN}, not {self.scale!r}"
            )
        if self.is_share and not self.higher_is_better:
            raise UsageError(f"the metric {self.name!r}: the best share is 1; use scale={PLAIN!r}")

    def check(self, value: float, where: str = "") -> None:
        """Check that a measured value is on the metric's scale.

        Raises:
            UsageError: it is not; the line begins with `where`.
        """
        if self.is_share and not -ROUNDING <= value <= 1 + ROUNDING:
            raise UsageError(
                f"{where}the metric {self.name} is {value:g}, not a share from 0 to 1; register it"
                f" with scale={PLAIN!r}"
            )

    @property
    def is_share(self) -> bool:
        """Whether values are shares."""
        return self.scale == SHARE
