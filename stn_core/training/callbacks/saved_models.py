"""Save the model of every run whose training ends well, with what it takes to use it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stn_core.models.saved_models import ModelConfiguration, save_model
from stn_core.session.store import model_path
from stn_core.training.callbacks.base import CallbackWithFolder, Run, Watcher


@dataclass(frozen=True)
class SaveModels(CallbackWithFolder):
    """Saves the model of every run whose training ends well.

    Its file is called ``<dataset>-<model>-<seed>.safetensors``. A run of another budget or recipe
    in the same folder overwrites it.

    Args:
        folder: where to.
        imports: the modules that register the user's models; the saved models name them.
    """

    imports: tuple[str, ...] = ()

    def watch(self, run: Run) -> Watcher:
        """The watcher that saves the model of one run."""
        return _ModelSaver(self, run)


class _ModelSaver(Watcher):
    def __init__(self, settings: SaveModels, run: Run) -> None:
        self._settings = settings
        self._run = run

    def end(self) -> None:
        record = self._run.record
        if record.is_trained:
            path = model_path(Path(self._settings.folder), record.run_name)
            save_model(path, self._run.model, _configuration(self._run, self._settings.imports))


def _configuration(run: Run, imports: tuple[str, ...]) -> ModelConfiguration:
    record, dataset = run.record, run.dataset
    return ModelConfiguration(
        model=record.model,
        in_shape=dataset.image_shape,
        class_names=dataset.class_names,
        background=dataset.normalised_background,
        mean=dataset.mean,
        std=dataset.std,
        dataset=record.dataset,
        data_hash=record.data_hash,
        budget=record.budget,
        seed=record.seed,
        recipe_hash=record.recipe_hash,
        kept_epoch=record.kept_epoch,
        test_accuracy=record.test_accuracy,
        stn_core=record.environment.stn_core,
        imports=imports,
    )
