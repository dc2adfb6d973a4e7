"""Views whose codes a policy chooses."""

from __future__ import annotations

import pytest
import torch

from selfsight.answerer import Answerer
from selfsight.batch import Batch, Now
from selfsight.corruption import Corrupted
from selfsight.encoders import Small
from selfsight.errors import UserError
from selfsight.images.views import Views
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.tasks import SimCLR
from selfsight.views import CodedViews

SAME = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()
PLAIN = {"before": SAME, "views": SAME, "precision": "32-true"}


def asked(task, photographs):
    torch.manual_seed(0)
    encoder = Small(width=4).build(3, 32).train()
    batch = Batch(torch.from_numpy(photographs[:8]).permute(0, 3, 1, 2), torch.arange(8))
    return Model(encoder, task.parts(encoder)), task.prepare(batch, Now(0, 10, generator("x")))


def test_the_second_answer_has_the_code_that_was_chosen(restorer_run, photographs):
    views = CodedViews(restorer=restorer_run, codes=4, **PLAIN)
    model, example = asked(SimCLR(views=views), photographs)
    made, more = views.pictures(model.parts, example)
    restorer, draws = Answerer.open(restorer_run), torch.Generator().manual_seed(int(example.extras["seed"][0]))
    left = restorer.taken(example.inputs[:, 0], draws)
    levels = restorer.stack.levels
    for i, action in enumerate(more["action"].long()):
        seeds = (action * levels + torch.arange(levels))[None, :, None]
        one = Corrupted(left.images[i : i + 1], left.where[i : i + 1], left.removed[i : i + 1])
        answer = restorer.answered(one, seeds)[0, 0]
        assert torch.allclose(made[i, 1], (answer * 255).round() / 255, atol=1.01 / 255)
    assert len(more["action"].unique()) > 1
    assert torch.equal(more["removed"], left.removed)
    again, _ = views.pictures(model.parts, example)
    assert torch.equal(made, again)


@pytest.mark.parametrize("reward", ["progress", "loss", "none"])
def test_it_learns_by_its_reward_alone(restorer_run, photographs, reward):
    task = SimCLR(views=CodedViews(restorer=restorer_run, codes=3, reward=reward, **PLAIN))
    model, example = asked(task, photographs)
    policy = model.parts["policy"]
    before = [p.clone() for p in policy.parameters()]
    for step in range(3):
        prediction = task.predict(model, example)
        assert set(task.loss(prediction, example).measures) >= {"removed", "most frequent choice", "evenness"}
        task.views.learn(model.parts, example, prediction, torch.tensor(float(step**2)))
    moved = any(not torch.equal(old, new) for old, new in zip(before, policy.parameters(), strict=True))
    assert moved == (reward != "none")


def test_what_cannot_be_is_refused(photographs):
    with pytest.raises(ValueError, match="codes are at least 2"):
        CodedViews(codes=1)
    task = SimCLR(views=CodedViews())
    model, example = asked(task, photographs)
    with pytest.raises(UserError, match="Whose views"):
        task.predict(model, example)
