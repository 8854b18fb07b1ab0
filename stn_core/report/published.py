"""What others reported of the same architectures, as reference marks.

One number per source, the mean if a source gives several runs; on the test set, in [0, 1]. They
were trained otherwise than here (plain SGD, mostly without a schedule), some of them chose the
epoch by the test set, and many are single runs: marks to look at, not values to judge against.
"""

from __future__ import annotations

from collections.abc import Mapping

_EXPERIMENTS: Mapping[tuple[str, str], Mapping[str, float]] = {
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
"""Earlier public experiments with spatial transformers and CoordConv."""

_DISTORTED_MNIST = ("mnist_r", "mnist_rts", "mnist_p", "mnist_e")
_PAPER_ERRORS = {
    "fcn": (2.1, 5.2, 3.1, 3.2),
    "paper_cnn": (1.2, 0.8, 1.5, 1.4),
    "st_fcn_affine": (1.2, 0.8, 1.5, 2.7),
    "st_fcn_homography": (1.3, 0.9, 1.4, 2.6),
    "st_fcn_tps": (1.1, 0.8, 1.4, 2.4),
    "st_cnn_affine": (0.7, 0.5, 0.8, 1.2),
    "st_cnn_homography": (0.8, 0.6, 0.8, 1.3),
    "st_cnn_tps": (0.7, 0.5, 0.8, 1.1),
}
"""Errors in %, means of three seeds after about 600 epochs (arXiv 1506.02025, table 1)."""


def _paper_mark(error_percent: float) -> Mapping[str, float]:
    return {"STN paper": round(1 - error_percent / 100, 4)}


PUBLISHED: Mapping[tuple[str, str], Mapping[str, float]] = {
    **_EXPERIMENTS,
    **{
        (dataset, model): _paper_mark(error)
        for model, errors in _PAPER_ERRORS.items()
        for dataset, error in zip(_DISTORTED_MNIST, errors, strict=True)
    },
    # Translated and cluttered, and sums of two digits, in the same paper.
    ("mnist_tc", "fcn"): _paper_mark(13.2),
    ("mnist_tc", "paper_cnn"): _paper_mark(3.5),
    ("mnist_add", "fcn"): _paper_mark(47.7),
    ("mnist_add", "paper_cnn"): _paper_mark(14.7),
}
"""By (dataset, model): what each source reported."""
