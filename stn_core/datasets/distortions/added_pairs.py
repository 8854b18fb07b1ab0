"""Two pictures in one image, a channel each, whose label is the sum of theirs."""

from __future__ import annotations

import numpy as np
import torch

from stn_core.datasets.assembly import Sources
from stn_core.datasets.base import Split
from stn_core.datasets.keyed_random import Stream, permutation

PAIRS_VERSION = 2
"""Seed of the pairs; another version is another dataset."""


def added_pairs(sources: Sources) -> Sources:
    """The addition task of Jaderberg et al. 2015, appendix A.1, before any distortion.

    Every image is the first of one pair and the second of another, always of its own split and
    never with itself. Which pairs there are is fixed.

    Args:
        sources: splits with one channel, two images or more and K classes; label k counts as the
            number k.

    Returns:
        As many pairs as there were images in each split, with two channels and 2K - 1 classes.
    """
    train, val, test = (
        _pairs(split, index)
        for index, split in enumerate((sources.train, sources.val, sources.test))
    )
    largest_sum = 2 * (len(sources.class_names) - 1)
    class_names = tuple(str(total) for total in range(largest_sum + 1))
    digest = sources.digest and f"{sources.digest}, pairs {PAIRS_VERSION}"
    return Sources(train, val, test, class_names, digest)


def _pairs(split: Split, index: int) -> Split:
    order = permutation(len(split), PAIRS_VERSION, Stream.PAIRS, index)
    # In a random circle the next one is another: a permutation alone leaves one image in place.
    second = torch.empty(len(split), dtype=torch.int64)
    second[order] = torch.from_numpy(np.roll(order, -1))
    images = torch.cat([split.images, split.images[second]], dim=1)
    return Split(images, split.labels + split.labels[second])
