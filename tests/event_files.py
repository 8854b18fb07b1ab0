"""What TensorBoard reads in a run's folder."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
    IMAGES,
    SCALARS,
    EventAccumulator,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

EVERYTHING = {SCALARS: 0, IMAGES: 0}  # else a sample of the points


def read_events(folder):
    """All of a run's events; there is one file, or a point could be shown twice."""
    (path,) = Path(folder).iterdir()
    return EventAccumulator(str(path), EVERYTHING).Reload()


def scalars(folder):
    """By tag, the (step, value) pairs in the order in which they were written."""
    events = read_events(folder)
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def images(folder, tag):
    """By step, the pictures of a tag as uint8 (height, width, 3)."""
    return {
        event.step: np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB"))
        for event in read_events(folder).Images(tag)
    }


def hyperparameters(folder):
    """What the run was asked for, the tags of its metrics, and whether it says that it ended."""
    found = read_events(folder).PluginTagToContent("hparams")
    parts = {tag: HParamsPluginData.FromString(content) for tag, content in found.items()}
    start = parts["_hparams_/session_start_info"].session_start_info.hparams
    experiment = parts["_hparams_/experiment"].experiment
    asked = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.items()}
    tags = {metric.name.tag for metric in experiment.metric_infos}
    return asked, tags, "_hparams_/session_end_info" in parts
