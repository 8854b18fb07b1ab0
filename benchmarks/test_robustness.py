"""How much rotation, scale, translation and shear a trained model bears, and whether it follows.

    pytest benchmarks/test_robustness.py -m robustness -k "digits-stn] or digits-cnn]" -n 2

Nothing here judges a model; ``--gate-metrics invariance,misplaced_pixels`` does. Each is trained
once a seed with the session's recipe and looks at the test images changed by rising amounts; where
the command line overrides the recipe, at the validation images, unless it says --final. Tables of
means go to the terminal, every value to robustness.csv in the results folder.
"""

import csv

import pytest
import torch
from filelock import FileLock

from stn_core.datasets import Split
from stn_core.errors import UsageError
from stn_core.models import model_info
from stn_core.models.normaliser import Normaliser
from stn_core.suite.checkout import describe_checkout
from stn_core.suite.matrix import plan_cells
from stn_core.suite.plugin import results_folder, session_options
from stn_core.suite.session_options import import_users_modules
from stn_core.training import train
from stn_core.training.isolation import isolated
from stn_core.training.robustness import CHANGES, robustness
from stn_core.training.run_cell import cached_dataset, prepare_model

SEEDS = (0, 1, 2)

pytestmark = pytest.mark.robustness


def pytest_generate_tests(metafunc):
    """Every cell of the session, where they are asked for."""
    if "robustness" not in metafunc.config.getoption("-m"):  # test_accuracy tells what is wrong
        metafunc.parametrize("cell", [])
        return
    try:
        import_users_modules(metafunc.config)
        cells, _ = plan_cells(session_options(metafunc.config))
    except UsageError as error:
        raise pytest.Collector.CollectError(str(error)) from None
    metafunc.parametrize("cell", [pytest.param(cell, id=cell.id) for cell in cells])


def test_robustness(cell, pytestconfig, device, keep):
    options = session_options(pytestconfig)
    dataset = cached_dataset(cell.dataset, options.data_root, options.download, options.image_size)
    normalise = Normaliser.of(dataset, device, model_info(cell.model).memory_format)
    images = "validation" if options.is_search and not options.final else "test"
    judged = dataset.val if images == "validation" else dataset.test
    judged = Split(judged.images.to(device), judged.labels)
    for seed in options.seeds if options.names_seeds else SEEDS:
        with isolated(seed, device, options.threads):
            model = prepare_model(cell.model, dataset, device)
            training = train(model, dataset, cell.recipe, seed, normalise)
            if training.divergence:
                pytest.fail(f"seed {seed}: {training.divergence}", pytrace=False)
            found = list(robustness(model, judged, normalise, dataset.background))
        assert len(found) == sum(len(change.amounts) for change in CHANGES)
        run = {"dataset": cell.dataset, "data_hash": dataset.hash, "model": cell.model}
        run |= {"budget": cell.budget, "recipe_hash": cell.recipe.hash(), "seed": seed}
        run["images"] = images
        keep([run | vars(one) for one in found])


@pytest.fixture
def keep(pytestconfig, device):
    """Writes rows to the session's robustness.csv, whatever process they are from."""
    path = results_folder(pytestconfig) / "robustness.csv"
    commit, dirty = describe_checkout(pytestconfig.rootpath, [path.parent.parent])
    where = {"device": str(device), "torch": torch.__version__, "commit": commit, "dirty": dirty}

    def write(rows):
        with FileLock(path.with_name(".robustness.csv.lock")), path.open("a", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0], *where])
            if file.tell() == 0:
                writer.writeheader()
            writer.writerows(row | where for row in rows)

    return write
