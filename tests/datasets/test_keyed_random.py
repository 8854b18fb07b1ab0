"""Random numbers by key: the same for ever, and never shared between two keys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_core.datasets.keyed_random import Stream, permutation, raw_bits, uniform

KEYS = st.tuples(st.integers(0, 2**70), st.sampled_from(Stream), st.integers(0, 2**32 - 1))


def test_the_bits_are_those_of_every_earlier_version() -> None:
    # A change here changes every split and every stored test set: raise their versions instead.
    assert raw_bits(2, 1, Stream.SPLIT).tolist() == [1440539538398214616, 8847832558346359665]


@given(KEYS, KEYS)
@settings(deadline=None)
def test_two_keys_share_no_numbers(key_a: tuple, key_b: tuple) -> None:
    # Four words of 64 bits agree by chance once in 2^256.
    assert (raw_bits(4, *key_a).tolist() == raw_bits(4, *key_b).tolist()) == (key_a == key_b)


@pytest.mark.parametrize("seed", [5, 2**32 + 5])
def test_a_long_seed_is_not_mistaken_for_a_seed_and_an_index(seed: int) -> None:
    drawn = [
        raw_bits(4, *key).tolist()
        for key in [(seed, Stream.VAL, 0), (seed, Stream.VAL, 1), (seed - 5, Stream.VAL, 5)]
    ]
    assert len({tuple(row) for row in drawn}) == 3


@given(KEYS, st.integers(1, 50), st.integers(1, 50))
@settings(deadline=None)
def test_a_longer_draw_of_a_key_begins_with_the_shorter_one(
    key: tuple, few: int, more: int
) -> None:
    assert np.array_equal(uniform((few + more, 3), *key)[:few], uniform((few, 3), *key))


def test_uniform_numbers_fill_the_unit_interval_evenly() -> None:
    numbers = uniform((100, 100), 3, Stream.TEST)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # Counts in ten bins are binomial, 1000 ± 30; the draw is fixed, so five deviations are safe.
    counts = np.histogram(numbers, bins=10, range=(0, 1))[0]
    assert np.abs(counts - 1000).max() < 150


@given(KEYS, st.integers(0, 200))
@settings(deadline=None)
def test_a_permutation_holds_every_index_once(key: tuple, count: int) -> None:
    assert sorted(permutation(count, *key).tolist()) == list(range(count))
