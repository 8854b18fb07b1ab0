"""A project whose cells run on a cluster: slow models, a short budget, callbacks of its own."""

MORE_MODELS = """
from stn_core import Budget, Recipe, register_budget

register_budget(Budget("brief", ("digits",), (1, 3, 6), 2, Recipe(epochs=3, batch_size=64)))

class Sleepy(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        import time
        time.sleep(0.01)
        return self.network(images)

@register_model
def sleepy(in_shape, num_classes):
    return Sleepy(tiny(in_shape, num_classes))

@register_model
def drowsy(in_shape, num_classes):
    return Sleepy(small(in_shape, num_classes))

@register_model
def patient(in_shape, num_classes):
    import pathlib, time
    while not pathlib.Path(__file__).with_name("go").exists():
        time.sleep(0.02)
    return tiny(in_shape, num_classes)
"""
CONFTEST = """
from dataclasses import dataclass
from pathlib import Path

from stn_core.suite.plugin import results_folder
from stn_core.training.callbacks import Callback, Watcher

@dataclass(frozen=True)
class Diary(Callback):
    folder: str

    def watch(self, run):
        return Writer(Path(self.folder), run)

class Writer(Watcher):
    def __init__(self, folder, run):
        self.folder, self.run = folder, run

    def end(self):
        self.folder.mkdir(exist_ok=True)
        (self.folder / self.run.record.run_name).write_text(self.run.record.status)

def pytest_stn_callbacks(config):
    return [Diary(str(results_folder(config) / "diary"))]
"""
