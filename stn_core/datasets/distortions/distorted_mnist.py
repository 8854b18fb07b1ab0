"""The distorted sets of MNIST and Fashion-MNIST, among the datasets that are listed."""

from __future__ import annotations

from stn_core.datasets.registry import register_distorted
from stn_core.datasets.sources import torchvision_sets  # noqa: F401 (it registers what is distorted here)

for _plain in ("mnist", "fashion_mnist"):
    register_distorted(_plain)
