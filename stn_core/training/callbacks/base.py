"""Callbacks, which follow a run, and the watchers that each run makes from them.

A callback is plain data, a frozen dataclass that can be pickled, so that it travels to another
process. Each run makes a `Watcher` from it and calls, in this order:

1. `start`, once there is a model and before anything is trained;
2. if the run is resumed from a checkpoint, `load_state_dict` with the state it had then, and
   `replay` with each epoch in the checkpoint;
3. `epoch` after each epoch that ended with a finite loss;
4. `end`, with the finished record, also of a run that diverged or crashed.

Afterwards, `Callback.record_kept` is called in the process that keeps the record. In each step,
callbacks are called in the order in which they were passed, except those that are `last`:
checkpoints, which hold the state of all others.

No callback can change a number by accident: generators and torch's settings are restored after each
call. One that raises is not called again in its run, and costs neither the run nor its record; the
log and the run's result say why.
"""

from __future__ import annotations

import collections
import contextlib
import copy
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
        evaluation: on the test images, when the run ends; None if they were not used.
        notes: what went wrong besides: callbacks that failed, settings that the run changed, scales
            of the learning rate that nothing takes.
        state_dict: returns what it takes to resume the run, as tensors and JSON types.
        resumed_from: what `state_dict` returned in the interrupted run; set in `Watcher.start`.
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
    """Follows one run. A subclass overrides the methods it needs; the others do nothing."""

    def start(self) -> None:
        """Called when the model exists and is untrained."""

    def epoch(self, result: EpochResult) -> None:
        """Called after an epoch; the model has its weights."""

    def replay(self, result: EpochResult) -> None:
        """Called for an epoch of the interrupted run; the model is already that of the last one."""
        self.epoch(result)

    def end(self) -> None:
        """Called when the record is finished; the model has the weights that it describes."""

    def state_dict(self) -> dict[str, Any]:
        """Its state, as tensors and JSON types."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of the interrupted run's watcher."""


class Callback:
    """Follows runs: subclass it as a frozen dataclass."""

    last: ClassVar[bool] = False
    """Whether its watchers are called after all others."""
    stays: ClassVar[bool] = False
    """Whether it only follows runs on the session's own machine."""

    def watch(self, run: Run) -> Watcher:
        """The object that follows a run, made before the model; every callback defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define watch")

    def record_kept(self, record: RunRecord) -> None:
        """Called when a run's record is on the disk, in the process that keeps records."""


@dataclass(frozen=True)
class CallbackWithFolder(Callback):
    """A callback that writes files.

    Args:
        folder: where to; ``~`` is the user's home.

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
        run: the one to follow.
    """

    def __init__(self, callbacks: Iterable[Callback], run: Run) -> None:
        self._run = run
        self._watchers: dict[str, Watcher] = {}
        kinds: collections.Counter[str] = collections.Counter()
        for callback in sorted(callbacks, key=lambda one: one.last):
            kind = type(callback).__qualname__
            kinds[kind] += 1
            with self._guarded(f"{kind} {kinds[kind]}") as name:
                self._watchers[name] = callback.watch(run)

    def start(self, state: TrainingState) -> None:
        """Report the start of training, and continue where the run was interrupted."""
        run = self._run
        run.history = state.history
        run.state_dict = lambda: {"training": state.state_dict(), "watchers": self._states()}
        self._tell(Watcher.start)
        if run.resumed_from and _went_back(state, run.resumed_from["training"], run):
            self._replay(run.resumed_from["watchers"])

    def epoch(self, result: EpochResult) -> None:
        """Report the end of an epoch."""
        self._tell(Watcher.epoch, result)

    def end(self) -> None:
        """Report the end of the run, and release its training."""
        self._tell(Watcher.end)
        self._run.state_dict = dict  # or the run and its watchers would keep each other alive

    def _tell(self, event: Callable[..., None], *arguments: EpochResult) -> None:
        for name, watcher in list(self._watchers.items()):
            with self._guarded(name):
                getattr(watcher, event.__name__)(*arguments)

    def _replay(self, states: Mapping[str, Any]) -> None:
        for name, watcher in list(self._watchers.items()):
            with self._guarded(name):
                if name in states:
                    watcher.load_state_dict(states[name])
                for result in self._run.history.epochs:
                    watcher.replay(result)

    def _states(self) -> dict[str, Any]:
        return {name: watcher.state_dict() for name, watcher in self._watchers.items()}

    @contextlib.contextmanager
    def _guarded(self, name: str) -> Iterator[str]:
        """Call the watcher of that name; if it fails, it is not called again."""
        try:
            with undisturbed(self._run.device):
                yield name
        except (Exception, SystemExit) as error:  # whatever a callback does, the run goes on
            self._watchers.pop(name, None)
            note = f"{name.rpartition(' ')[0]} failed: {reason_of(error)}"
            self._run.notes.append(note)
            _LOGGER.warning("%s: %s", self._run.record.run_name, note)


def _went_back(state: TrainingState, earlier: Mapping[str, Any], run: Run) -> bool:
    """Restore an earlier state of a training; one that does not fit is ignored, with a warning."""
    beginning = copy.deepcopy(state.state_dict())
    try:
        state.load_state_dict(earlier)
    except (RuntimeError, ValueError, TypeError, LookupError) as error:  # what torch raises then
        state.load_state_dict(beginning)
        note = "its checkpoint does not fit and is not used"
        _LOGGER.warning("%s: %s: %s", run.record.run_name, note, reason_of(error))
        return False
    return True


def tell_kept(callbacks: Iterable[Callback], record: RunRecord) -> None:
    """Tell callbacks that a record is on the disk; a failure costs a line of the log."""
    for callback in callbacks:
        try:
            callback.record_kept(record)
        except Exception as error:  # the record is kept, whatever else fails
            _LOGGER.warning("%s failed: %s", type(callback).__qualname__, reason_of(error))


def reason_of(error: BaseException) -> str:
    """One line that says what happened; a user's mistake is shown without its exception's name."""
    try:
        said = str(error)
    except Exception:  # str() of the error failed, too
        said = "(its message cannot be shown)"
    sentence = one_line(" ".join(said.split()), 300)
    return sentence if isinstance(error, UsageError) else f"{type(error).__name__}: {sentence}"
