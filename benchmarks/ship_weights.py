"""Take trained models into the package: round their weights, test them again, and write them.

    .venv/bin/pytest benchmarks --budget full --dataset mnist,fashion_mnist -m core --seeds 0, \\
        --save-models --device cpu --data-root ~/data           # --resume last continues
    .venv/bin/python benchmarks/ship_weights.py results/*/models/*.safetensors --data-root ~/data
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from stn_core import UsageError, load_dataset
from stn_core.models.pretrained import (
    FOLDER,
    MOST_BYTES,
    rounded,
    write_pretrained,
)
from stn_core.models.saved_models import read_saved_model
from stn_core.training.evaluation import evaluate


def ship(path: Path, root: str | None, folder: Path) -> str:
    """Write one model into the package; a line that says what was lost.

    Raises:
        UsageError: the file is no saved model, or its dataset is another one here.
    """
    saved = read_saved_model(path)
    trained = saved.configuration
    dataset = load_dataset(trained.dataset, root)
    if dataset.hash != trained.data_hash:
        raise UsageError(f"{path}: trained on another {trained.dataset} ({trained.data_hash})")
    model = rounded(saved.model)
    found = evaluate(model, dataset.test.images, dataset.test.labels, saved.normalise)
    written = write_pretrained(
        model, dataclasses.replace(trained, test_accuracy=found.accuracy), folder
    )
    before = "-" if trained.test_accuracy is None else f"{100 * trained.test_accuracy:.2f}"
    size = written.stat().st_size / 1000
    return f"{written.name}: {before} % became {100 * found.accuracy:.2f} %, {size:.0f} kB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Ship every file that is named; 1 where the package would grow too large."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--data-root", default=os.environ.get("STN_DATA"), metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        for path in given.models:
            print(ship(path, given.data_root, given.out), flush=True)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 1
    num_bytes = sum(path.stat().st_size for path in given.out.glob("*.safetensors"))
    print(f"{num_bytes:,} bytes in all, of {MOST_BYTES:,}")
    return int(num_bytes > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
