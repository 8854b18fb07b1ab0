"""A trained model's results on a split: accuracy, cross-entropy, confusion, worst mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stn_core.datasets.chunks import images_at_once
from stn_core.models.without_gradients import without_gradients
from stn_core.training.logits import check_logits

BATCH_SIZE = 500
"""Images evaluated at once; fewer of large ones."""

MAX_CONFUSION_CLASSES = 256
"""With more classes there is no confusion matrix: nobody reads that many counts."""


@dataclass(frozen=True)
class Evaluation:
    """The logits of a split against its labels.

    Args:
        logits: (N, K) float32 on the CPU.
        labels: (N,) int64 on the CPU.
    """

    logits: Tensor
    labels: Tensor

    @property
    def predictions(self) -> Tensor:
        """(N,) int64: the class of the highest logit."""
        return self.logits.argmax(1)

    @property
    def accuracy(self) -> float:
        """The share of correct predictions, in [0, 1]."""
        return int((self.predictions == self.labels).sum()) / len(self.labels)

    @property
    def cross_entropy(self) -> float:
        """Mean negative log-likelihood, in nats per image."""
        return float(F.cross_entropy(self.logits.double(), self.labels))

    def confusion(self) -> list[list[int]] | None:
        """(K, K) counts: row the true class, column the predicted one.

        None above `MAX_CONFUSION_CLASSES` classes.
        """
        classes = self.logits.shape[1]
        if classes > MAX_CONFUSION_CLASSES:
            return None
        pairs = self.labels * classes + self.predictions
        return torch.bincount(pairs, minlength=classes**2).reshape(classes, classes).tolist()

    def worst_mistakes(self, count: int = 16) -> list[dict[str, float]]:
        """The most confidently wrong images: index, label, predicted, confidence in [0, 1]."""
        wrong = self._wrong()
        confidence = self.logits[wrong].softmax(1).amax(1)
        return self._described(wrong[confidence.argsort(descending=True, stable=True)][:count])

    def first_mistakes(self, count: int = 16) -> list[dict[str, float]]:
        """The first wrong images, a fair sample of all mistakes; entries as in `worst_mistakes`."""
        return self._described(self._wrong()[:count])

    def _wrong(self) -> Tensor:
        return (self.predictions != self.labels).nonzero().flatten()

    def _described(self, indices: Tensor) -> list[dict[str, float]]:
        confidence, predicted = self.logits[indices].softmax(1).max(1)
        return [
            {
                "index": int(index),
                "label": int(self.labels[index]),
                "predicted": int(guess),
                "confidence": round(float(chance), 6),
            }
            for index, guess, chance in zip(indices, predicted, confidence, strict=True)
        ]

    def calibration(self, bins: int = 15) -> list[dict[str, float]]:
        """How often a prediction of a given confidence is right (Guo et al. 2017, sec. 2).

        Args:
            bins: of equal width over confidences in [0, 1]; those without an image are left out.

        Returns:
            One entry per bin: ``count`` of its images, their mean ``confidence``, their
                ``accuracy``.
        """
        confidence, predicted = self.logits.double().softmax(1).max(1)
        right = (predicted == self.labels).double()
        places = (confidence * bins).long().clamp(max=bins - 1)
        counts = torch.bincount(places, minlength=bins)
        sums = [torch.bincount(places, values, minlength=bins) for values in (confidence, right)]
        return [
            {
                "count": int(counts[place]),
                "confidence": float(sums[0][place] / counts[place]),
                "accuracy": float(sums[1][place] / counts[place]),
            }
            for place in counts.nonzero().flatten()
        ]


@without_gradients()
def evaluate(
    model: nn.Module, images: Tensor, labels: Tensor, normalise: Callable[[Tensor], Tensor]
) -> Evaluation:
    """Run a model over a split in evaluation mode, in float32; its mode is restored.

    Args:
        model: (B, C, H, W) float32 to (B, K) logits.
        images: (N, C, H, W) uint8 on the model's device.
        labels: (N,) int64.
        normalise: uint8 images to what the model sees.

    Raises:
        UsageError: it gives something else for some of them.
    """
    batch_size = images_at_once(BATCH_SIZE, (images.shape[-2], images.shape[-1]))
    was_training = model.training
    model.eval()
    try:
        logits = [_logits(model, normalise(chunk)) for chunk in images.split(batch_size)]
    finally:
        model.train(was_training)
    return Evaluation(torch.cat(logits), labels.cpu())


def _logits(model: nn.Module, inputs: Tensor) -> Tensor:
    """(B, K) float32 on the CPU."""
    answer = model(inputs)
    check_logits(answer, len(inputs))
    logits: Tensor = answer.float().cpu()
    return logits
