"""The record of one run, and the append-only file that keeps it from being lost."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from stn_core.atomic_files import signals_wait
from stn_core.errors import UsageError, check_regular, is_missing, needs_extra
from stn_core.registry import check_name
from stn_core.schema import (
    Amount,
    Count,
    CountFrom1,
    NotJsonError,
    Number,
    Share,
    check_version,
    checked,
    json_object,
    parse_json,
    shown,
)
from stn_core.session.cells import CellKey
from stn_core.session.file_names import file_stem

with needs_extra("suite"):
    from filelock import FileLock

RECORD_VERSION = 1
_CODE = ("stn_core", "commit", "dirty")
_NO_RECORD = "not a run record: "
_EPOCH = {"epoch", "train_loss", "loss", "accuracy"}
_MISTAKE = {"index", "label", "predicted", "confidence"}
STATUSES = ("ok", "diverged", "crashed")


class Machine(NamedTuple):
    """A kind of machine: what decides how long the same code takes. Fields as in `Environment`."""

    device_type: str
    device_name: str
    instruction_set: str
    threads: int


@dataclass(frozen=True)
class Environment:
    """Where a run took place: all that decides whether its numbers can repeat to the last bit.

    Args:
        stn_core, python, torch, numpy: versions.
        platform: operating system and machine, "Linux-x86_64".
        device_type: "cpu", "cuda" or "mps".
        device_name: the processor's or the card's own name.
        instruction_set: the CPU capability that torch dispatches on, "AVX512".
        threads: torch's threads.
        nondeterministic: operations on this device whose result may differ from run to run.
        commit: the checkout's commit, None outside one.
        dirty: whether the checkout had uncommitted changes, None outside one.
        torch_settings: torch's process-wide settings, by name, that were not torch's defaults.
    """

    stn_core: str
    python: str
    torch: str
    numpy: str
    platform: str
    device_type: str
    device_name: str
    instruction_set: str
    threads: CountFrom1
    nondeterministic: list[str] = field(default_factory=list)
    commit: str | None = None
    dirty: bool | None = None
    torch_settings: dict[str, str] = field(default_factory=dict)

    def place(self) -> dict[str, Any]:
        """The fields that say where, without those that say which code.

        torch's settings are included only if one differs from its default, so that environments
        of records from before this field existed keep their keys.
        """
        values = dataclasses.asdict(self)
        left_out = _CODE if self.torch_settings else (*_CODE, "torch_settings")
        return {name: values[name] for name in values if name not in left_out}

    @property
    def machine(self) -> Machine:
        """The kind of machine."""
        return Machine(self.device_type, self.device_name, self.instruction_set, self.threads)

    def is_like(self, other: Environment) -> bool:
        """Whether the same code takes about the same time in both."""
        return self.machine == other.machine

    def key(self) -> str:
        """Eight hexadecimal digits, equal if the same code must give the same digest."""
        return self._key

    @functools.cached_property
    def _key(self) -> str:
        values = self.place()
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class RunRecord:
    """One seed of one cell: what was asked, what came out, where. JSON types only.

    Args:
        model, dataset, budget: the cell.
        seed: the seed of initialisation, data order, distortions and dropout.
        is_search: the recipe was overridden.
        recipe: its fields; `recipe_hash` its hash.
        data_hash: the dataset's.
        environment: where.
        status: "ok", "diverged" (the loss was not finite) or "crashed".
        message: the reason if the status is not "ok".
        parameters: trainable ones of the model.
        test_images: how many the accuracy was measured on; 0 if the test set was not used.
        test_accuracy: in [0, 1], None if the test set was not used or the run failed before.
        test_cross_entropy: in nats per image, likewise.
        confusion: counts, row the true class, column the predicted one; None above 256 classes.
        worst_mistakes: the most confidently wrong test images: index, label, predicted, confidence.
        validation: one entry per epoch: epoch, train_loss, loss, accuracy.
        kept_epoch: the epoch, from 1, whose weights were evaluated.
        train_seconds, evaluate_seconds: wall clock; training without its validation, and everything
            that is measured on the test images.
        images_per_second: trained images over train_seconds.
        peak_memory_mb: on CUDA what torch allocated, elsewhere the process's resident set.
        digest: hash of every step's loss, the final predictions and the metrics.
        metrics: values of further metrics by name; not in the file if there are none, as in records
            from before this field existed.
        other_load: how many cores other processes kept busy during training, on average; None if
            unknown, and then not in the file, as in records from before this field existed.
        version: of this schema.
    """

    model: str
    dataset: str
    budget: str
    seed: Count
    is_search: bool
    recipe: dict[str, Any]
    recipe_hash: str
    data_hash: str
    environment: Environment
    status: str = "ok"
    message: str = ""
    parameters: Count = 0
    test_images: Count = 0
    test_accuracy: Share | None = None
    test_cross_entropy: Amount | None = None
    confusion: list[list[Count]] | None = field(default_factory=list)
    worst_mistakes: list[dict[str, Number]] = field(default_factory=list)
    validation: list[dict[str, Number]] = field(default_factory=list)
    kept_epoch: Count = 0
    train_seconds: Amount = 0.0
    evaluate_seconds: Amount = 0.0
    images_per_second: Amount = 0.0
    peak_memory_mb: Amount = 0.0
    digest: str = ""
    metrics: dict[str, Number] = field(default_factory=dict)
    other_load: Amount | None = None
    version: int = RECORD_VERSION

    @property
    def key(self) -> str:
        """The cell's name in baselines.json, ``budget/dataset/model``."""
        return str(CellKey(self.budget, self.dataset, self.model))

    @property
    def run_name(self) -> str:
        """Its name among the runs of a session, which has one budget: ``dataset-model-seed``."""
        return file_stem(self.dataset, self.model, str(self.seed))

    @property
    def is_trained(self) -> bool:
        """Whether its training ended well; in a run that crashed after it, a metric failed."""
        return self.status == "ok" or self.test_accuracy is not None

    @property
    def run_seconds(self) -> float:
        """Wall clock of training and evaluation together."""
        return self.train_seconds + self.evaluate_seconds

    @property
    def validation_accuracy(self) -> float | None:
        """Accuracy on the validation images with the weights that were kept, in [0, 1]."""
        return self.validation[self.kept_epoch - 1]["accuracy"] if self.kept_epoch else None

    def without_details(self, shared: dict[str, Any]) -> RunRecord:
        """The record as far as a verdict and the table need it, a twentieth of it in memory.

        Confusion and mistakes are gone, and of the epochs all values but those of the one kept.

        Args:
            shared: environments and recipes of other records, which equal ones take the place of.
        """
        epochs: list[dict[str, float]] = [{}] * len(self.validation)
        if self.kept_epoch:
            epochs[self.kept_epoch - 1] = self.validation[self.kept_epoch - 1]
        return replace(
            self,
            environment=shared.setdefault(repr(self.environment), self.environment),
            recipe=shared.setdefault(repr(self.recipe), self.recipe),
            confusion=None,
            worst_mistakes=[],
            validation=epochs,
        )

    def to_json(self) -> str:
        """The record as one line of JSON."""
        values = dataclasses.asdict(self)
        if not self.metrics:
            del values["metrics"]
        if self.other_load is None:
            del values["other_load"]
        return json.dumps(values, sort_keys=True, allow_nan=False)

    @classmethod
    def from_dict(cls, values: Any) -> RunRecord:
        """The record of a JSON object.

        Raises:
            UsageError: it is something else, of another version, or a field is not a record's.
        """
        values = json_object(values, _NO_RECORD)
        check_version(values.get("version"), RECORD_VERSION, "not a run record")
        record = checked(cls, values, _NO_RECORD)
        _check_values(record)
        return record


def _check_values(record: RunRecord) -> None:
    """What the fields' types leave open."""
    if record.status not in STATUSES:
        raise UsageError(
            f"{_NO_RECORD}status must be one of {', '.join(STATUSES)}, not {shown(record.status)}"
        )
    for kind in ("model", "dataset", "budget"):
        try:
            check_name(kind, getattr(record, kind))
        except UsageError as error:
            raise UsageError(f"{_NO_RECORD}{error}") from None
    for epoch, values in enumerate(record.validation, start=1):
        if missing := _EPOCH - values.keys():
            raise UsageError(f"{_NO_RECORD}validation, epoch {epoch}: {min(missing)} is missing")
    if record.kept_epoch > len(record.validation):
        epochs = len(record.validation)
        raise UsageError(
            f"{_NO_RECORD}kept_epoch is {record.kept_epoch}, but there are {epochs} epochs"
        )
    for mistake in record.worst_mistakes:
        if missing := _MISTAKE - mistake.keys():
            raise UsageError(f"{_NO_RECORD}worst_mistakes: {min(missing)} is missing")
    confusion = record.confusion or []
    if any(len(row) != len(confusion) for row in confusion):
        raise UsageError(f"{_NO_RECORD}confusion is not square")
    _check_results(record)


def _check_results(record: RunRecord) -> None:
    """A good run has a digest and a recipe, and, unless it is a search, results on test images."""
    if record.status != "ok":
        return
    results = ("test_images", "test_accuracy", "test_cross_entropy")
    for name in ("digest",) if record.is_search else ("digest", *results):
        value = getattr(record, name)
        if value is None or value == "" or (name == "test_images" and value == 0):
            raise UsageError(f"{_NO_RECORD}{name} is missing")
    if type(epochs := record.recipe.get("epochs")) is not int:
        raise UsageError(f"{_NO_RECORD}recipe: epochs must be a whole number, not {shown(epochs)}")


def append_record(path: Path, record: RunRecord) -> None:
    """Append a record as one line, on the disk when this returns; safe with several writers.

    Ctrl-C waits: the run is over, and would have to be trained again.
    """
    with signals_wait(), FileLock(f"{path}.lock"), path.open("ab") as file:
        if file.tell() and not _ends_with_newline(path):
            file.write(b"\n")  # a torn line stays alone, and does not tear this one
        file.write(record.to_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


class RecordsFollower:
    """Reads what is appended to a file of records from now on, as it comes.

    Args:
        path: the file; it may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = path.stat().st_size if path.exists() else 0

    def new(self) -> list[RunRecord]:
        """The records that were appended since the last time; other lines are skipped silently."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            appended = file.read()
        whole = appended[: appended.rfind(b"\n") + 1]
        self._read += len(whole)
        records = []
        for line in whole.splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                records.append(RunRecord.from_dict(json.loads(line)))
        return records


def read_records(path: Path, *, with_details: bool = True) -> tuple[list[RunRecord], list[str]]:
    """The records of a file, and a message for every line that is not a record (a torn one, say).

    Args:
        path: the file; one that does not exist holds no records.
        with_details: records are whole; else as `RunRecord.without_details` leaves them.

    Raises:
        UsageError: it cannot be read.
    """
    records: list[RunRecord] = []
    shared: dict[str, Any] = {}
    complaints: list[str] = []
    for found in record_lines(path):
        if isinstance(found, UsageError):
            complaints.append(str(found))
        else:
            records.append(found if with_details else found.without_details(shared))
    return records, complaints


def record_lines(path: Path) -> Iterator[RunRecord | UsageError]:
    """The record on each line of a file, or why there is none; no lines if there is no file.

    Raises:
        UsageError: it cannot be read.
    """
    if is_missing(path):
        return
    try:
        check_regular(path)
        opened = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    with opened as file:
        for number, line in enumerate(file, start=1):  # a line ends at a newline and nowhere else
            try:
                yield RunRecord.from_dict(parse_json(line.decode(errors="replace"), ""))
            except NotJsonError:
                yield NotJsonError(f"{path}, line {number}: incomplete, skipped")
            except UsageError as error:
                yield type(error)(f"{path}, line {number}: {error}")
