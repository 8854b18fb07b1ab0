"""What follows a run: callbacks, and the objects that each run makes of them.

A callback is plain data, a frozen dataclass that can be pickled, so that it travels to another
process. Each run makes a `Watcher` of it and tells it, in this order:

1. `start`, once the model is there and before anything is trained;
2. where the run is resumed from a checkpoint, `load_state_dict` with what it remembered then, and
   `replay` with each epoch that is in the checkpoint;
3. `epoch` after each epoch that ended with a finite loss;
4. `end`, with the finished record, also of a run that diverged or crashed.

Afterwards `Callback.record_kept` is called where the record is kept. Within each of these steps the
callbacks take their turns as they were passed, but for those that are `last`: checkpoints, which
hold what all others remember.

No callback can change a number by accident: generators and torch's settings are put back after each
call. One that raises is left out for the rest of its run, and costs neither the run nor its record:
the log says why, and so does the run's result.
"""

from __future__ import annotations

import collections
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from stn_core.datasets import Dataset
from stn_core.errors import UsageError, one_line, user_path
from stn_core.models.normaliser import Normaliser
from stn_core.session.records import RunRecord
from stn_core.training.evaluation import Evaluation
from stn_core.training.history import EpochResult, History
from stn_core.training.isolation import undisturbed

if TYPE_CHECKING:
    from stn_core.training.training_state import TrainingState

_LOGGER = logging.getLogger(__name__)


@dataclass(eq=False)
class Run:
    """A run as its watchers see it; they read it, and leave its model as it is.

    Args:
        record: what is run, and where; when the run ends, what came out.
        dataset: that it trains on.
        device: where.
        model, normalise: the network and what makes its input of images; from `Watcher.start` on.
        history: of the training so far.
        evaluation: on the test images, when the run ends; None where they were not looked at.
        notes: what went wrong beside the run: callbacks that failed, settings that it changed.
        state_dict: gives all that it takes to resume the run, of tensors and JSON types.
        resumed_from: what `state_dict` gave in an interrupted run; set in `Watcher.start`.
    """

    record: RunRecord
    dataset: Dataset
    device: torch.device
    model: nn.Module = field(init=False)
    normalise: Normaliser = field(init=False)
    history: History = field(default_factory=History)
    evaluation: Evaluation | None = None
    notes: list[str] = field(default_factory=list)
    state_dict: Callable[[], dict[str, Any]] = dict
    resumed_from: Mapping[str, Any] | None = None


class Watcher:
    """Follows one run. A subclass overrides what it needs; nothing happens in the others."""

    def start(self) -> None:
        """The model is there, and untrained."""

    def epoch(self, result: EpochResult) -> None:
        """An epoch is over; the model has its weights."""

    def replay(self, result: EpochResult) -> None:
        """An epoch of the interrupted run; the model is already that of the last of them."""
        self.epoch(result)

    def end(self) -> None:
        """The run is over and its record is finished; the model has the weights it is of."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, of tensors and JSON types."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what the watcher of the interrupted run remembered."""


class Callback:
    """What is to follow runs: subclass it as a frozen dataclass."""

    last: ClassVar[bool] = False
    """Whether its watchers take their turns after those of all others."""
    stays: ClassVar[bool] = False
    """Whether it follows only the runs of the session's own machine."""

    def watch(self, run: Run) -> Watcher:
        """The object that follows a run, made before the model; every callback defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define watch")

    def record_kept(self, record: RunRecord) -> None:
        """A run's record is safe. Called in the process that keeps records."""


@dataclass(frozen=True)
class CallbackWithFolder(Callback):
    """A callback that writes files.

    Args:
        folder: where; ``~`` is the user's home.

    Raises:
        UsageError: no user of that name has a home here.
    """

    folder: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", str(user_path(self.folder)))


class Watchers:
    """The watchers of one run.

    Args:
        callbacks: in the order in which they were passed.
        run: that is followed.
    """

    def __init__(self, callbacks: Iterable[Callback], run: Run) -> None:
        self._run = run
        self._watchers: dict[str, Watcher] = {}
        kinds: collections.Counter[str] = collections.Counter()
        for callback in sorted(callbacks, key=lambda one: one.last):
            kind = type(callback).__qualname__
            kinds[kind] += 1
            with self._spared(f"{kind} {kinds[kind]}") as name:
                self._watchers[name] = callback.watch(run)

    def start(self, state: TrainingState) -> None:
        """Tell of a training that starts, and take it up where it was interrupted."""
        run = self._run
        run.history = state.history
        run.state_dict = lambda: {"training": state.state_dict(), "watchers": self._states()}
        self._tell(Watcher.start)
        if run.resumed_from:
            state.load_state_dict(run.resumed_from["training"])
            self._replay(run.resumed_from["watchers"])

    def epoch(self, result: EpochResult) -> None:
        """Tell of an epoch that is over."""
        self._tell(Watcher.epoch, result)

    def end(self) -> None:
        """Tell of the end of the run."""
        self._tell(Watcher.end)

    def _tell(self, event: Callable[..., None], *arguments: EpochResult) -> None:
        for name, watcher in list(self._watchers.items()):
            with self._spared(name):
                getattr(watcher, event.__name__)(*arguments)

    def _replay(self, states: Mapping[str, Any]) -> None:
        for name, watcher in list(self._watchers.items()):
            with self._spared(name):
                if name in states:
                    watcher.load_state_dict(states[name])
                for result in self._run.history.epochs:
                    watcher.replay(result)

    def _states(self) -> dict[str, Any]:
        return {name: watcher.state_dict() for name, watcher in self._watchers.items()}

    @contextlib.contextmanager
    def _spared(self, name: str) -> Iterator[str]:
        """Where the watcher of that name fails, it is left out from then on."""
        try:
            with undisturbed(self._run.device):
                yield name
        except (Exception, SystemExit) as error:  # whatever a callback does, the run goes on
            self._watchers.pop(name, None)
            note = f"{name.rpartition(' ')[0]} failed: {reason_of(error)}"
            self._run.notes.append(note)
            _LOGGER.warning("%s: %s", self._run.record.run_name, note)


def tell_kept(callbacks: Iterable[Callback], record: RunRecord) -> None:
    """Tell callbacks that a record is safe; one that fails costs a line of the log."""
    for callback in callbacks:
        try:
            callback.record_kept(record)
        except Exception as error:  # the record is safe, whatever else fails
            _LOGGER.warning("%s failed: %s", type(callback).__qualname__, reason_of(error))


def reason_of(error: BaseException) -> str:
    """One line that says what happened; a user's own mistake needs no name of an exception."""
    sentence = one_line(" ".join(str(error).split()), 300)
    return sentence if isinstance(error, UsageError) else f"{type(error).__name__}: {sentence}"
