"""What a checkpoint can hold comes back as it was."""

import tempfile
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stn_core.training.checkpoint import Checkpoint
from tests.training.test_checkpoint import OWNER

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@st.composite
def tensors(draw):
    """Tensors of any type and shape, dense in any order of their axes, or repeated."""
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    tensor = torch.randn(shape).mul(100).to(draw(st.sampled_from(DTYPES)))
    tensor = tensor.permute(draw(st.permutations(range(len(shape)))))
    return tensor.expand(3, *tensor.shape) if draw(st.booleans()) else tensor


TREES = st.recursive(
    SCALARS | tensors(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=10,
)


def assert_same(first, second):
    """That what was loaded is what was saved."""
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype
        assert torch.equal(first, second)
        assert first.stride() == torch.empty_like(second).stride()
    elif isinstance(first, dict):
        assert list(first) == list(second)
        assert_same(list(first.values()), list(second.values()))
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second


@given(state=st.dictionaries(st.text(), TREES, min_size=1, max_size=4))
@settings(max_examples=60)
def test_loading_gives_the_saved_state(state):
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder, "a.safetensors"), OWNER, 0)
        checkpoint.maybe_save(lambda: state)
        assert_same(checkpoint.load(), state)


def test_one_tensor_under_two_names(tmp_path):
    checkpoint = Checkpoint(tmp_path / "a.safetensors", OWNER, 0)
    tied = torch.randn(2, 3)
    checkpoint.maybe_save(lambda: {"embedding": tied, "head": tied, "row": tied[1]})
    assert_same(checkpoint.load(), {"embedding": tied, "head": tied, "row": tied[1]})
