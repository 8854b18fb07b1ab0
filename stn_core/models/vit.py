"""A small Vision Transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stn_core.errors import UsageError
from stn_core.geometry.option_values import whole_number
from stn_core.layers.attention import TransformerBlock
from stn_core.models.backbone import create_head
from stn_core.models.registry import ImageShape, register_model

USUAL_PATCHES = (7, 8, 10)
"""Sides of a patch, in the order in which they are tried where none is given."""

OTHER_PATCHES = range(4, 17)
"""What is tried after these, for images that none of them divides."""


class VisionTransformer(nn.Module):
    """Patches as tokens, pre-norm transformer blocks, logits from the class token.

    Dosovitskiy et al. 2020, *An Image is Worth 16x16 Words* (arXiv 2010.11929), with learned
    positions and without dropout.

    Args:
        in_shape: channels, height and width of an image.
        num_classes: number of logits.
        patch_hw: height and width of a patch; they divide those of the image.
        dim: width of a token.
        blocks: number of transformer blocks.
        heads: attention heads of a block.
        mlp_width: hidden width of a block's perceptron.
        head: what gives the logits: ``"dense"``, one linear layer, or ``"spinal"``.

    Raises:
        UsageError: the head is unknown; or, of a batch, its images are of another shape.
    """

    def __init__(
        self,
        in_shape: ImageShape,
        num_classes: int,
        patch_hw: tuple[int, int],
        *,
        dim: int = 64,
        blocks: int = 6,
        heads: int = 8,
        mlp_width: int = 128,
        head: str = "dense",
    ) -> None:
        super().__init__()
        channels, height, width = in_shape
        patch_height, patch_width = patch_hw
        patches = (height // patch_height) * (width // patch_width)
        self.in_shape = tuple(in_shape)
        self.patch_hw = patch_hw
        self.embed = nn.Linear(channels * patch_height * patch_width, dim)
        self.class_token = nn.Parameter(torch.empty(1, 1, dim))
        self.positions = nn.Parameter(torch.empty(1, 1 + patches, dim))
        self.blocks = nn.Sequential(
            *(TransformerBlock(dim, heads, mlp_width) for _ in range(blocks))
        )
        self.norm = nn.LayerNorm(dim)
        self.head = create_head(head, nn.Linear, dim, num_classes)
        for parameter in (self.class_token, self.positions):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to logits ``(B, K)``."""
        # Another shape may have as many patches, which would get each other's positions.
        if tuple(images.shape[1:]) != self.in_shape:
            raise UsageError(
                f"this network was made for images of {self.in_shape} (channels, height, width); "
                f"got {tuple(images.shape[1:])}"
            )
        patches: Tensor = self.embed(cut_into_patches(images, self.patch_hw))
        class_token = self.class_token.expand(images.shape[0], -1, -1)
        tokens = torch.cat((class_token, patches), dim=1) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(tokens)[:, 0]))
        return logits


def cut_into_patches(images: Tensor, patch_hw: tuple[int, int]) -> Tensor:
    """Images ``(B, C, H, W)`` to flat patches ``(B, H·W / (h·w), C·h·w)``, row by row.

    A linear layer on them is the strided convolution of the usual implementation, and quicker on a
    CPU for patches this large.
    """
    batch, channels, height, width = images.shape
    rows, columns = height // patch_hw[0], width // patch_hw[1]
    cut = images.reshape(batch, channels, rows, patch_hw[0], columns, patch_hw[1])
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def choose_patch(size_hw: tuple[int, int], patch: int | tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of a patch, each chosen separately if none is given.

    Args:
        size_hw: height and width of the image.
        patch: a side, height and width, or None for the first of 7, 8 and 10 that divides, else the
            divisor of the side that is nearest to 8, 4 to 16.

    Raises:
        UsageError: the patch is invalid, or no patch divides the image.
    """
    height, width = size_hw
    if patch is None:
        choices = (*USUAL_PATCHES, *sorted(OTHER_PATCHES, key=lambda side: abs(side - 8)))
        sides = [next((p for p in choices if side % p == 0), 0) for side in size_hw]
        if 0 in sides:
            raise UsageError(
                f"no patch of side {min(choices)} to {max(choices)} divides an image of "
                f"{height}x{width}: give the option patch, or an image whose sides one divides, "
                f"{min(choices)}x{min(choices)} or more"
            )
        return sides[0], sides[1]
    given = list(patch) if isinstance(patch, Sequence) else [patch, patch]
    if len(given) != 2:
        raise UsageError(f"a patch is a side or a height and a width, not {patch!r}")
    patch_height, patch_width = (whole_number("a patch's side", side, least=1) for side in given)
    if height % patch_height or width % patch_width:
        raise UsageError(
            f"a patch of {patch_height}x{patch_width} does not divide an image of {height}x{width}"
        )
    return patch_height, patch_width


@register_model(family="vit", source="Dosovitskiy et al. 2020, arXiv 2010.11929", core=True)
def vit(
    in_shape: ImageShape, num_classes: int, patch: int | tuple[int, int] | None = None
) -> nn.Module:
    """A ViT of six blocks, width 64, eight heads; ``patch`` is its side, or height and width."""
    return VisionTransformer(in_shape, num_classes, choose_patch(in_shape[1:], patch))


@register_model(
    family="spinal_vit",
    source="Dosovitskiy et al. 2020, arXiv 2010.11929; Kabir et al. 2020, arXiv 2007.03347",
    tags=["spinal head"],
)
def spinal_vit(
    in_shape: ImageShape, num_classes: int, patch: int | tuple[int, int] | None = None
) -> nn.Module:
    """The ViT with a spinal head on its class token; ``patch`` as there."""
    patch_hw = choose_patch(in_shape[1:], patch)
    return VisionTransformer(in_shape, num_classes, patch_hw, head="spinal")
