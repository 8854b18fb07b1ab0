"""What earlier public experiments with the same architectures reported, as reference marks.

One number a source, the mean where a source gives several runs; on the test set, in [0, 1]. They
were trained otherwise than here (plain SGD, without a schedule), some of them chose the epoch by
the test set, and most are single runs: marks to look at, not values to judge against.
"""

from __future__ import annotations

from collections.abc import Mapping

PUBLISHED: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("mnist", "cnn"): {"CoordConv study": 0.9825, "STN ablations": 0.9855},
    ("mnist", "coordconv_cnn"): {"CoordConv study": 0.9812, "STN ablations": 0.9854},
    ("mnist", "stn"): {
        "MNIST benchmark": 0.9877,
        "CoordConv study": 0.9864,
        "STN ablations": 0.9884,
        "diffeomorphic STN": 0.9869,
    },
    ("mnist", "stn_coordcls"): {
        "MNIST benchmark": 0.9825,
        "CoordConv study": 0.9841,
        "STN ablations": 0.9886,
    },
    ("mnist", "stn_coordloc"): {"STN ablations": 0.9906},
    ("mnist", "stn_coordboth"): {
        "MNIST benchmark": 0.9853,
        "STN ablations": 0.9884,
        "diffeomorphic STN": 0.9891,
    },
    ("mnist", "stn_diffeo"): {"diffeomorphic STN": 0.9898},
    ("mnist", "vit"): {"MNIST benchmark": 0.9641},
    ("mnist", "spinal"): {"MNIST benchmark": 0.9863},
    ("mnist", "spinal_stn_coordcls"): {"MNIST benchmark": 0.9882},
    ("fashion_mnist", "cnn"): {"CoordConv study": 0.8670},
    ("fashion_mnist", "coordconv_cnn"): {"CoordConv study": 0.8655},
    ("fashion_mnist", "stn"): {"CoordConv study": 0.8587},
    ("fashion_mnist", "stn_coordcls"): {"CoordConv study": 0.8644},
    ("cifar10", "stn"): {"diffeomorphic STN": 0.5920},
    ("cifar10", "stn_coordboth"): {"diffeomorphic STN": 0.5944},
}
"""By (dataset, model): what each source reported."""
