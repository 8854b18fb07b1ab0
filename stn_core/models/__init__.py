"""Every architecture by name: ``create_model("stn", in_shape=(1, 28, 28), num_classes=10)``."""

from __future__ import annotations

# Importing a family registers its models.
from stn_core.models import cnn as cnn
from stn_core.models import coordinates as coordinates
from stn_core.models import deformable as deformable
from stn_core.models import inverse_compositional as inverse_compositional
from stn_core.models import libraries as libraries
from stn_core.models import paper as paper
from stn_core.models import polar as polar
from stn_core.models import resnext as resnext
from stn_core.models import shared as shared
from stn_core.models import spinal as spinal
from stn_core.models import stn as stn
from stn_core.models import vit as vit
from stn_core.models.backbone import convnet
from stn_core.models.creation import create_model
from stn_core.models.registry import (
    Background,
    ImageShape,
    ModelInfo,
    is_of_library,
    is_registered,
    list_models,
    model_info,
    model_name,
    register_model,
    untrained_name,
)
from stn_core.models.summary import summarize_model
from stn_core.models.transformed import TransformedClassifier, TransformsImages
from stn_core.models.variants import looks_like_variant

__all__ = [
    "Background",
    "ImageShape",
    "ModelInfo",
    "TransformedClassifier",
    "TransformsImages",
    "convnet",
    "create_model",
    "is_of_library",
    "is_registered",
    "list_models",
    "looks_like_variant",
    "model_info",
    "model_name",
    "register_model",
    "summarize_model",
    "untrained_name",
]
