"""Every healthy but odd program learns, and is as odd as it says."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from doctor_odd import ODD, Odd
from doctor_odd.joint import MoCo
from doctor_odd.odd import measured
from doctor_odd.pictures import digits, textures
from doctor_odd.shared import sorting
from doctor_odd.training import batches, kept_randomness, one_step, train
from doctor_rivals.calls import RELU, Watch
from torch import Tensor

from selfsight.program import Program

BY_ID = {odd.id: odd for odd in ODD}
START_TRAINED = {"H07", "H08", "H18"}


def first_losses(program: Program, steps: int) -> list[float]:
    """The loss before each of the first steps; programs of these tests return it from no step of their own."""
    with kept_randomness(0):
        model = program.model()
        optimizer = program.optimizer(model)
        passing = batches(program, model, optimizer, steps)
        return [float(one_step(program, model, optimizer, batch).detach()) for batch in passing]


def test_the_list_is_whole() -> None:
    assert len(BY_ID) == len(ODD)
    assert {f"H{number:02}" for number in range(1, 25)} <= set(BY_ID)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.id)
def test_learns(odd: Odd) -> None:
    assert odd.score() > odd.floor()


@pytest.mark.parametrize("odd", [odd for odd in ODD if odd.id not in START_TRAINED], ids=lambda odd: odd.id)
def test_nothing_stands_above_the_baseline_untrained(odd: Odd) -> None:
    assert measured(odd.metric, odd.fresh()) <= odd.floor()


def test_training_repeats_and_leaves_the_random_states() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first, second, other = (train(BY_ID["H11"].program(), 5, seed).state_dict() for seed in (0, 0, 1))
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_pictures_held_out_are_not_those_trained_on() -> None:
    trained, _, held, _ = digits()
    assert len(trained) == 1297 and len(held) == 500
    assert not set(map(bytes, textures()[0].numpy())) & set(map(bytes, textures(count=240, held_out=True)[0].numpy()))


def test_a_frozen_encoder_is_in_no_group() -> None:
    program = BY_ID["H01"].program()
    model = program.model()
    optimizer = program.optimizer(model)
    assert optimizer.param_groups[0]["lr"] == 30.0
    assert {id(p) for p in optimizer.param_groups[0]["params"]} == {id(model.fc.weight)}
    losses = first_losses(program, 30)
    assert np.mean(losses[-5:]) < losses[0] / 2


def test_a_queue_makes_the_loss_rise() -> None:
    losses = first_losses(BY_ID["H06"].program(), 10)
    assert np.mean(losses[-3:]) > losses[0] + 0.3
    assert MoCo().queue.abs().sum() == 0


def test_the_plateau_is_flat_and_low() -> None:
    losses = first_losses(BY_ID["H07"].program(), 10)
    assert max(losses) < -0.75 and abs(np.mean(losses[5:]) - np.mean(losses[:5])) < 0.05


def test_features_have_collapsed_to_the_classes() -> None:
    program = BY_ID["H08"].program()
    with torch.no_grad(), kept_randomness(0):
        model = program.model().eval()
        z = program.embed(model, [digits()[0], digits()[1]])
    along = torch.linalg.svdvals(z - z.mean(0)).square()
    assert z.shape[1] == 64 and float(along[:9].sum() / along.sum()) > 0.9
    assert max(first_losses(program, 5)) < 0.1


def test_most_batches_hold_one_class() -> None:
    with kept_randomness(0):
        alone = [bool((answer == 0).all()) for _, answer in BY_ID["H10"].program().batches()]
    assert np.mean(alone) > 0.5


def test_units_are_silent() -> None:
    program = BY_ID["H12"].program()
    with kept_randomness(0), Watch() as watch:
        program.loss(program.model(), next(iter(program.batches())))
    assert next(call.not_positive for call in watch.calls if call.name in RELU) > 0.7


def test_nothing_moves_for_two_dozen_calls() -> None:
    program = BY_ID["H14"].program()
    still = train(program, 24)
    with kept_randomness(0):
        fresh = program.model()
    assert all(torch.equal(a, b) for a, b in zip(still.parameters(), fresh.parameters(), strict=True))


def test_some_parameters_never_get_a_gradient() -> None:
    program = BY_ID["H15"].program()
    with kept_randomness(0):
        model = program.model()
        program.loss(model, next(iter(program.batches()))).backward()
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.grad is None} == {
        "mask_token",
        "aux_head",
        "decoder",
    }


def test_most_triplets_are_satisfied_and_far_from_zero() -> None:
    program = BY_ID["H18"].program()
    with kept_randomness(0), torch.no_grad():
        model = sorting()
        a, p, n = (model(images) for images in next(iter(program.batches())).values())

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).norm(dim=1)

    assert float((distance(a, n) > distance(a, p) + 0.5).float().mean()) > 0.7
    assert a.mean(0).norm() > 2 * (a - a.mean(0)).norm(dim=1).mean()


def test_the_last_batch_may_be_smaller() -> None:
    with kept_randomness(0):
        sizes = [len(batch["kind"]) for batch in BY_ID["H26"].program().batches()]
    assert len(set(sizes)) > 2 and sum(sizes) == 309
