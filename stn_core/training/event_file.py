"""A run's TensorBoard events: how it was trained, its losses, its accuracy and its warps."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stn_core.errors import needs_extra
from stn_core.session.records import RunRecord
from stn_core.training.callbacks.base import Run, Watcher
from stn_core.training.film import Film
from stn_core.training.history import EpochResult, History

with needs_extra("tensorboard"):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import RecordWriter
    from torch.utils.tensorboard.summary import hparams, image, scalar

STEP_LOSS = "train/loss"
VALIDATION_LOSS = "validation/loss"
VALIDATION_ACCURACY = "validation/accuracy"
BATCH = "warp/before"
WARPED = "warp/after"


class EventFile(Watcher):
    """Writes a run into an event file, which TensorBoard can show from epoch to epoch.

    The global step of `train/loss` is the optimiser's, from 1; that of everything else is the
    epoch, from 1, where 0 is the untrained model. A run that is resumed is written again, from its
    first epoch.

    The file is only open while something is written, in the caller's thread: torch's
    `SummaryWriter` writes in a thread of its own, where the error of a full disk could not be
    caught.

    Args:
        folder: the run's; event files of an earlier attempt are deleted.
        run: the one to write.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        # A new name, because a running TensorBoard has read half of the file that it replaces.
        self._path = folder / f"events.out.tfevents.{time.time_ns()}"
        self._run = run
        self._film = Film(run)
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in folder.glob("events.out.tfevents.*"):
            earlier.unlink()
        self._append([Event(wall_time=time.time(), file_version="brain.Event:2")])

    def start(self) -> None:
        """Film the untrained model."""
        self._film.take(0)

    def epoch(self, result: EpochResult) -> None:
        """Film and write an epoch."""
        self._film.take(result.epoch)
        self.replay(result)

    def replay(self, result: EpochResult) -> None:
        """Write an epoch."""
        self._append(
            itertools.chain(
                _step_losses(self._run.history, result.epoch),
                _validation(result),
                self._pictures(result.epoch),
            )
        )

    def end(self) -> None:
        """Write the run's settings and, if it ended well, its results."""
        record, history = self._run.record, self._run.history
        if len(history.step_losses) > len(history.epochs):  # the last epoch diverged
            self._append(_step_losses(history, len(history.step_losses)))
        self._append(_event(summary, record.kept_epoch) for summary in _outcome(record))

    def state_dict(self) -> dict[str, Any]:
        """The film; everything else is written again."""
        return self._film.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the film of the interrupted run."""
        self._film.load_state_dict(state)

    def _pictures(self, epoch: int) -> Iterator[Event]:
        frames = self._film.frames
        if epoch == 1 and frames:
            yield _event(image(BATCH, in_a_row(self._film.batch), dataformats="CHW"), 0)
        for moment in (0, 1) if epoch == 1 else (epoch,):
            if moment in frames:
                frame = in_a_row(frames[moment])
                yield _event(image(WARPED, frame, dataformats="CHW"), moment)

    def _append(self, events: Iterable[Event]) -> None:
        with self._path.open("ab") as file:
            writer = RecordWriter(file)
            for event in events:
                writer.write(event.SerializeToString())


def in_a_row(pixels: Tensor) -> Tensor:
    """Images side by side, as one image.

    Args:
        pixels: (B, C, h, w).

    Returns:
        (3, h, B w) if C is 3, else (1, C h, B w), the channels in grey one below the other.
    """
    channels, height = pixels.shape[1:3]
    row = torch.cat(list(pixels), dim=2)
    return row if channels == 3 else row.reshape(1, channels * height, -1)


def _event(summary: Summary, step: int) -> Event:
    return Event(wall_time=time.time(), step=step, summary=summary)


def _step_losses(history: History, epoch: int) -> Iterator[Event]:
    steps_before = sum(len(losses) for losses in history.step_losses[: epoch - 1])
    losses = history.step_losses[epoch - 1].tolist()
    for step, loss in enumerate(losses, start=steps_before + 1):
        yield _event(scalar(STEP_LOSS, loss), step)


def _validation(result: EpochResult) -> Iterator[Event]:
    yield _event(scalar(VALIDATION_LOSS, result.validation_loss), result.epoch)
    yield _event(scalar(VALIDATION_ACCURACY, result.validation_accuracy), result.epoch)


def _outcome(record: RunRecord) -> Iterator[Summary]:
    """Hyperparameters and, for a run that ended well, its metrics and the fact that it did."""
    metrics = _metrics(record)
    experiment, start, end = hparams(_hyperparameters(record), dict.fromkeys(metrics, 0.0))
    yield from (experiment, start)
    if record.status == "ok":
        yield end
        yield from (scalar(tag, value) for tag, value in metrics.items() if value is not None)


def _hyperparameters(record: RunRecord) -> dict[str, object]:
    """The cell, the seed and the recipe; TensorBoard leaves out what is None."""
    scales = json.dumps(record.recipe["learning_rate_scales"])
    cell = {name: getattr(record, name) for name in ("model", "dataset", "budget", "seed")}
    return {**cell, **record.recipe, "learning_rate_scales": scales}


def _metrics(record: RunRecord) -> dict[str, float | None]:
    """The results, by tag; None if not measured."""
    kept = record.validation[record.kept_epoch - 1] if record.kept_epoch else {}
    return {
        "final/test_accuracy": record.test_accuracy,
        "final/test_loss": record.test_cross_entropy,
        "final/validation_accuracy": kept.get("accuracy"),
        "final/validation_loss": kept.get("loss"),
        "final/parameters": record.parameters,
        "final/train_seconds": record.train_seconds,
    }
