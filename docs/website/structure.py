"""The structure of a model as a picture: its layers in the order in which an image passes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from docs.website.drawing import BLUE, ORANGE, PALE, arrow, box, picture, text
from stn_core import list_models, model_info, summarize_model
from stn_core.layers import SpatialTransformer

IMAGE = (1, 28, 28)
ROW, STEP, INDENT, WIDTH = 30, 44, 16, 560


@dataclass(frozen=True)
class Row:
    """A layer, or the beginning of a group of layers.

    Args:
        depth: how many groups it lies in.
        name: its class, and its own name in the model.
        shape: of its output, without the batch.
        parameters: its own; a group's are those of its layers.
        is_group: whether rows of a greater depth that follow belong to it.
    """

    depth: int
    name: str
    shape: str
    parameters: int
    is_group: bool


def core_models() -> list[str]:
    """The models that ``make bench`` trains."""
    return [name for name in list_models() if model_info(name).core]


def structure_picture(model: str) -> str:
    """A model's layers on an MNIST image, from top to bottom, groups around what they hold."""
    rows = list(_rows(summarize_model(model, IMAGE).summary_list[1:]))
    height = 40 + STEP * (len(rows) + 1)
    return picture(WIDTH, height, f"The layers of {model}", _parts(rows))


def _rows(layers: list[Any]) -> Iterator[Row]:
    """A row for each layer; a transformer's sampling follows its localisation network."""
    waiting: list[Row] = []
    for layer in layers:
        depth = layer.depth - 1
        while waiting and waiting[-1].depth > depth:
            yield waiting.pop()
        shape = _sizes(layer.output_size[1:])
        name = f"{layer.class_name} {layer.var_name}"
        yield Row(depth, name, shape, layer.num_params, bool(layer.children))
        if isinstance(layer.module, SpatialTransformer):
            warp, sampler = layer.module.warp.name, layer.module.sampler
            sampling = f"theta → {warp} grid → {sampler} sampler"
            waiting.append(Row(depth + 1, sampling, shape, 0, False))
    yield from reversed(waiting)


def _parts(rows: list[Row]) -> Iterator[str]:
    top = 40 + STEP
    yield text(20, 24, "image " + _sizes(IMAGE), 14)
    for number, row in enumerate(rows):
        y, x = top + STEP * (number - 1) + 20, 20 + INDENT * row.depth
        width = WIDTH - 40 - 2 * INDENT * row.depth
        if row.is_group:
            inside = _length(rows, number)
            yield box(
                x, y, width, STEP * inside + ROW + 8, fill="none", stroke=BLUE, stroke_dasharray="4"
            )
        else:
            yield arrow(WIDTH / 2, y - (STEP - ROW), WIDTH / 2, y)
            yield box(x, y, width, ROW, fill=PALE, rx=4)
        yield text(x + 10, y + 20, row.name, fill=BLUE if row.is_group else "#222222")
        yield text(x + width - 10, y + 20, _right(row), 12, text_anchor="end", fill=ORANGE)


def _length(rows: list[Row], start: int) -> int:
    """How many rows belong to the group that begins at a row."""
    depth, count = rows[start].depth, 0
    for row in rows[start + 1 :]:
        if row.depth <= depth:
            break
        count += 1
    return count


def _sizes(shape: Sequence[int]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(map(str, shape))


def _right(row: Row) -> str:
    counted = f"{row.parameters:,} parameters" if row.parameters else ""
    return "   ".join(part for part in (counted, f"→ {row.shape}") if part)
