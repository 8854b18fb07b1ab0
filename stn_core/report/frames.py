"""The numbers of a session as DataFrames, with one row per cell, per run or per epoch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from stn_core.errors import needs_extra
from stn_core.gate.best_model import p_against_best, tied_with_best
from stn_core.gate.judgement import Judgement
from stn_core.report.charts import mean_interval
from stn_core.report.results_table import all_accuracies, badness_by_dataset
from stn_core.session.cells import split_key
from stn_core.session.records import RunRecord

with needs_extra("report"):
    import pandas as pd

_LONG = ("confusion", "worst_mistakes", "validation")
"""Fields of a record that do not fit into one cell of a table."""


def statistics_frame(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """How certain the rank of each cell is: one row per cell that has an accuracy.

    Sorted by mean within each dataset. If a cell passes against its baseline, the stored runs of
    seeds that were not run again count too, as they do in the results table.

    Columns: budget, dataset, model, runs; mean_percent; sd_points (nan for one run); low_percent
    and high_percent, the mean's 95 % interval (Student's t; nan for one run); p_against_best, how
    easily chance explains that the cell is not the best of its dataset, and tied, whether it may
    be. These two are nan and False in a search, which sees no test image, for a cell with a run
    that failed, and if no cell of the dataset has two runs.
    """
    chances: dict[str, float] = {}
    tied: set[str] = set()
    for values, floors in badness_by_dataset(judgements):
        chances |= p_against_best(values, floors)
        tied |= tied_with_best(values, floors)
    frame = pd.DataFrame(
        [
            {
                **split_key(one.key)._asdict(),
                **_spread(all_accuracies(one)),
                "p_against_best": chances.get(one.key, math.nan),
                "tied": one.key in tied,
            }
            for one in judgements
            if one.accuracies
        ]
    )
    if frame.empty:
        return frame
    order = ["budget", "dataset", "mean_percent"]
    return frame.sort_values(order, ascending=[True, True, False], ignore_index=True)


def _spread(accuracies: Sequence[float]) -> dict[str, float]:
    percent = 100 * np.array(accuracies)
    mean, half = mean_interval(percent)
    several = len(percent) > 1
    return {
        "runs": len(percent),
        "mean_percent": mean,
        "sd_points": float(percent.std(ddof=1)) if several else math.nan,
        "low_percent": max(mean - half, 0.0) if several else math.nan,
        "high_percent": min(mean + half, 100.0) if several else math.nan,
    }


def runs_frame(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The records as a table, one row per run.

    Columns: the fields of `RunRecord`, those of its recipe, its environment and its metrics as
    recipe.epochs, environment.torch or metrics.macro_auc, and validation_accuracy. Left out are the
    confusion matrix and the worst mistakes, and the validation curve, which `epochs_frame` has.
    """
    rows = []
    for record in records:
        fields = dataclasses.asdict(record)
        short = {name: value for name, value in fields.items() if name not in _LONG}
        rows.append({**short, "validation_accuracy": record.validation_accuracy})
    return pd.json_normalize(rows)


def epochs_frame(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The validation curves as a table, one row per epoch of a run.

    Columns: budget, dataset, model, seed, and the record's fields of an epoch: epoch, train_loss,
    loss and accuracy.
    """
    return pd.DataFrame(
        [
            {
                "budget": record.budget,
                "dataset": record.dataset,
                "model": record.model,
                "seed": record.seed,
                **entry,
            }
            for record in records
            for entry in record.validation
        ]
    )
