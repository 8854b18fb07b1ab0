"""Results folders that no training wrote."""

import json

from stn_core.gate.judgement import Judgement, Verdict
from stn_core.gate.judgement_files import write_judgements
from stn_core.session.artifacts import artifacts_path, write_artifacts
from stn_core.session.file_names import ARTIFACTS_FOLDER, JUDGEMENTS_FILE, PLAN_FILE, RECORDS_FILE
from stn_core.session.records import append_record
from tests.examples import artifacts, record

COURSE = [
    {"epoch": epoch, "train_loss": 2.0 / epoch, "loss": 2.2 / epoch, "accuracy": 1 - 0.5 / epoch}
    for epoch in (1, 2, 3)
]


def a_run(seed=0, model="stn", dataset="digits", **changes):
    """A record with everything in it that a page shows."""
    values = {
        "model": model,
        "dataset": dataset,
        "accuracy": 0.9 + 0.01 * seed,
        "validation": COURSE,
        "kept_epoch": 3,
        "confusion": [[8, 1, 0], [0, 9, 2], [0, 0, 10]],
        "worst_mistakes": [{"index": 7, "label": 0, "predicted": 1, "confidence": 0.75}],
    }
    return record(seed, **{**values, **changes})


def write_session(folder, records, *, judgements=None, pictures=True):
    """A folder as a session leaves it: a PASS for each cell unless other judgements are given."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = {"command": ["/usr/bin/pytest", "benchmarks", "-k", "stn or cnn"], "options": {}}
    (folder / PLAN_FILE).write_text(json.dumps(plan))
    for number, run in enumerate(records):
        append_record(folder / RECORDS_FILE, run)
        if pictures:
            path = artifacts_path(folder / ARTIFACTS_FOLDER, run.run_name)
            write_artifacts(path, artifacts(seed=number, digest=run.digest))
    if judgements is None:
        keys = dict.fromkeys(run.key for run in records)
        judgements = [
            Judgement(key, Verdict.PASS, records=tuple(r for r in records if r.key == key))
            for key in keys
        ]
    write_judgements(folder / JUDGEMENTS_FILE, judgements)
    return folder
