"""Early stopping against a plain reading of its definition."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from stn_core.training import EarlyStopping

LOSSES = st.lists(st.floats(0, 2, allow_nan=False), min_size=1, max_size=12)


def stop_epoch_by_definition(losses, patience, min_delta):
    best, since = math.inf, 0
    for epoch, loss in enumerate(losses, start=1):
        best, since = (loss, 0) if loss < best - min_delta else (best, since + 1)
        if since >= patience:
            return epoch
    return None


@given(losses=LOSSES, patience=st.integers(1, 5), min_delta=st.sampled_from([0.0, 0.25]))
def test_stops_and_restores_as_defined(losses, patience, min_delta):
    model = nn.Linear(1, 1, bias=False)
    stopping = EarlyStopping(patience, min_delta)
    stopped = None
    for epoch, loss in enumerate(losses, start=1):
        nn.init.constant_(model.weight, epoch)
        stopping.update(epoch, loss, model)
        if stopping.should_stop:
            stopped = epoch
            break
    assert stopped == stop_epoch_by_definition(losses, patience, min_delta)
    stopping.restore(model)
    assert model.weight.item() == stopping.best_epoch
    seen = losses[: stopped or len(losses)]
    assert stopping.best_loss == losses[stopping.best_epoch - 1]
    assert min(seen) >= stopping.best_loss - min_delta


def test_restoring_without_a_kept_epoch_changes_nothing():
    model = nn.Linear(1, 1)
    before = model.weight.clone()
    EarlyStopping(1, 0.0).restore(model)
    assert torch.equal(model.weight, before)
