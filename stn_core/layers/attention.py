"""Self-attention, and the transformer block around it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.geometry.option_values import whole_number


class SelfAttention(nn.Module):
    """Multi-head self-attention: every token asks every token (arXiv 1706.03762, section 3.2).

    Queries, keys and values come from one linear layer with bias; a head's dot products are scaled
    by the root of its width.

    Args:
        dim: width of a token.
        heads: number of heads; it divides ``dim``.

    Raises:
        UsageError: there are no heads, or they do not divide the width.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        heads = whole_number("the number of attention heads", heads, least=1)
        if dim % heads:
            raise UsageError(f"{heads} attention heads do not divide a width of {dim}")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens ``(B, N, dim)`` to tokens ``(B, N, dim)``."""
        batch, count, dim = tokens.shape
        by_head = self.qkv(tokens).reshape(batch, count, 3, self.heads, dim // self.heads)
        query, key, value = by_head.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.project(attended.transpose(1, 2).flatten(2))
        return mixed


class TransformerBlock(nn.Module):
    """Attention, then a two-layer perceptron, each after a LayerNorm and around a shortcut.

    The pre-norm encoder block of the Vision Transformer (arXiv 2010.11929, equations 2 and 3).

    Args:
        dim: width of a token.
        heads: attention heads.
        mlp_width: hidden width of the perceptron, whose activation is GELU.
    """

    def __init__(self, dim: int, heads: int, mlp_width: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_width), nn.GELU(), nn.Linear(mlp_width, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens ``(B, N, dim)`` to tokens ``(B, N, dim)``."""
        tokens = tokens + self.attention(self.attention_norm(tokens))
        result: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return result
