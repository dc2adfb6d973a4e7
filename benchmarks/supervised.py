"""What labels teach in the same time: the ceiling that tasks without labels are held beside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from selfsight.batch import Batch, Example, Now, Outcome, Prediction
from selfsight.encoder import Encoder
from selfsight.images.views import Views
from selfsight.task import Constant, Model, Task, flat


@dataclass(frozen=True, kw_only=True)
class Supervised(Task):
    """Which class? No task of the package: a task cannot read labels, so they are handed over from outside."""

    codes: np.ndarray
    """(images in the store,) int: the class of each, below 0 where it has none; such images must not be trained on."""
    views: Views

    def parts(self, encoder: Encoder) -> dict[str, nn.Module]:
        return {"head": nn.Linear(encoder.dim, int(self.codes.max()) + 1)}

    def prepare(self, batch: Batch, now: Now) -> Example:
        answer = torch.from_numpy(self.codes[batch.index.cpu().numpy()].astype(np.int64)).to(batch.images.device)
        inputs = self.views(batch.images, now.generator).unsqueeze(1)
        return Example(inputs=inputs, index=batch.index, answer=answer)

    def predict(self, model: Model, example: Example) -> Prediction:
        return {"logits": model.parts["head"](model.encoder(flat(example)))}

    def loss(self, prediction: Prediction, example: Example) -> Outcome:
        assert example.answer is not None
        return Outcome(F.cross_entropy(prediction["logits"].float(), example.answer))

    def constant(self, n: int) -> Constant:
        counts = np.bincount(self.codes[self.codes >= 0])
        shares = counts[counts > 0] / counts.sum()
        return Constant(float(-(shares * np.log(shares)).sum()), "the entropy of the classes")

    def question(self) -> str:
        return "Which class is this?"
