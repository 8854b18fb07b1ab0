"""Self-attention against its equation, and the transformer block's shortcuts."""

from __future__ import annotations

import pytest
import torch

from stn_core.errors import UsageError
from stn_core.layers.attention import SelfAttention, TransformerBlock


def test_attention_is_the_softmax_of_scaled_products() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(12, heads=3).double()
    tokens = torch.randn(2, 5, 12, dtype=torch.float64)
    query, key, value = (tokens @ attention.qkv.weight.mT + attention.qkv.bias).split(12, dim=2)
    heads = []
    for head in range(3):
        q, k, v = (part[..., 4 * head : 4 * head + 4] for part in (query, key, value))
        heads.append((q @ k.mT / 2).softmax(2) @ v)
    expected = torch.cat(heads, 2) @ attention.project.weight.mT + attention.project.bias
    # Sums of a dozen products in float64, in another order.
    torch.testing.assert_close(attention(tokens), expected, rtol=1e-12, atol=1e-12)


def test_a_block_without_branches_is_the_identity() -> None:
    block = TransformerBlock(8, heads=2, mlp_width=16)
    for layer in (block.attention.project, block.mlp[-1]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    tokens = torch.randn(2, 5, 8)
    assert torch.equal(block(tokens), tokens)


def test_a_block_normalises_before_its_branches() -> None:
    torch.manual_seed(0)
    block, tokens = TransformerBlock(8, heads=2, mlp_width=16).double(), torch.randn(2, 5, 8)
    tokens = tokens.double()
    attended = tokens + block.attention(block.attention_norm(tokens))
    expected = attended + block.mlp(block.mlp_norm(attended))
    assert torch.equal(block(tokens), expected)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(UsageError, match="3 attention heads do not divide a width of 64"):
        SelfAttention(64, heads=3)
    with pytest.raises(UsageError, match="attention heads must be a whole number of at least 1"):
        SelfAttention(64, heads=0)
