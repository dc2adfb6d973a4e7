"""Several tasks teach one encoder."""

from dataclasses import dataclass

import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.config import configure, parse, recipe_of, recipe_parser
from selfsight.encoders import Small
from selfsight.errors import UserError
from selfsight.images.views import Views
from selfsight.recipe import Recipe, to_json
from selfsight.restorers import CamNet
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.tasks import BYOL, Restore, Rotation, SimCLR
from selfsight.together import Together

BOTH = (Rotation(), BYOL())


def ask(task, step, pixels):
    now = Now(step, 10, generator("together", step))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Small(width=8).build(3, 32)
        model = Model(encoder, task.parts(encoder))
    example = task.prepare(Batch(pixels, torch.arange(len(pixels))), now)
    return model, example, task.predict(model, example)


@pytest.fixture
def pixels(photographs):
    return torch.from_numpy(photographs[:16]).permute(0, 3, 1, 2)


def test_in_turns_each_step_asks_one(pixels):
    task = Together(tasks=BOTH)
    for step, (views, names) in enumerate([(1, {"0"}), (2, {"1"}), (1, {"0"})]):
        _, example, prediction = ask(task, step, pixels)
        assert example.inputs.shape[1] == views
        assert {name.split("_")[0] for name in prediction} == names


def test_a_turn_is_the_task_alone_in_units_of_its_constant(pixels):
    task = Together(tasks=BOTH)
    _, example, prediction = ask(task, 0, pixels)
    alone = BOTH[0].loss({"logits": prediction["0_logits"]}, next(iter(task._asked(example)))[2])
    assert torch.isclose(task.loss(prediction, example).loss, alone.loss / BOTH[0].constant(16).loss)


def test_each_task_is_told_its_own_measures(pixels):
    told = []

    @dataclass(frozen=True, kw_only=True)
    class Listening(Rotation):
        def prepare(self, batch, now):
            told.append(dict(now.measured))
            return super().prepare(batch, now)

    task = Together(tasks=(Listening(), BYOL()))
    now = Now(0, 10, generator("together"), {"Listening right": 0.5, "BYOL spread": 1.0})
    task.prepare(Batch(pixels, torch.arange(len(pixels))), now)
    assert told == [{"right": 0.5}]


def test_weights_are_what_each_loss_counts(pixels):
    even = Together(tasks=(Rotation(), SimCLR()), how="summed")
    _, example, prediction = ask(even, 0, pixels)
    rotation, simclr = (
        float(task.loss({k[2:]: v for k, v in prediction.items() if k[0] == str(i)}, one).loss.detach())
        / task.constant(16).loss
        for i, task, one in even._asked(example)
    )
    uneven = Together(tasks=(Rotation(), SimCLR()), how="summed", weights=(3.0, 1.0))
    assert float(even.loss(prediction, example).loss.detach()) == pytest.approx((rotation + simclr) / 2)
    assert float(uneven.loss(prediction, example).loss.detach()) == pytest.approx((3 * rotation + simclr) / 4)


def test_a_twin_moves_in_its_own_turn_only(pixels):
    task = Together(tasks=BOTH)
    for step in (0, 1):
        model, example, prediction = ask(task, step, pixels)
        twin = dict(model.named_modules())["parts.1_twin.encoder"]
        with torch.no_grad():
            for parameter in model.encoder.parameters():
                parameter.add_(1.0)
        before = [parameter.clone() for parameter in twin.parameters()]
        task.after_step(model, example, prediction, Now(step, 10, generator("after")))
        moved = any(not torch.equal(p, q) for p, q in zip(twin.parameters(), before, strict=True))
        assert moved == (step == 1)


def test_bad_fields_are_told():
    with pytest.raises(ValueError, match="two or more, not 1"):
        Together(tasks=(Rotation(),))
    with pytest.raises(ValueError, match="2 numbers above 0"):
        Together(tasks=BOTH, weights=(1.0,))


def test_the_command_line_names_tasks_one_after_the_other(tmp_path, photo_folder):
    parser = recipe_parser()
    words = ["--data", str(photo_folder), "--task", "Rotation", "--task.views.flip", "0.1", "--steps", "3"]
    words += ["--task", "SimCLR", "--task.temperature=0.5", "--task.how", "summed", "--task.weights", "[2, 1]"]
    recipe = recipe_of(parse(parser, words), parser)
    rotation = Rotation(views=Views(crop=(0.5, 1.0), flip=0.1).gentle())
    assert recipe.task.tasks[0] == rotation
    assert recipe.task.tasks[1] == SimCLR(temperature=0.5)
    assert (recipe.task.how, recipe.task.weights, recipe.steps) == ("summed", (2.0, 1.0), 3)


def test_together_alone_is_told_how(photo_folder):
    parser = recipe_parser()
    with pytest.raises(UserError, match="one after the other"):
        parse(parser, ["--data", photo_folder, "--task", "Together"])


def test_a_recipe_of_several_tasks_is_read_back(photo_folder):
    recipe = Recipe(data=str(photo_folder), task=Together(tasks=(Rotation(), SimCLR(hidden=7))))
    assert configure(to_json(recipe)) == recipe


def test_a_restorer_among_several_is_judged_by_its_answers(pixels):
    """As it would be alone, its parts having other names."""
    task = Together(tasks=(Rotation(), Restore(restorer=CamNet(width=8))))
    encoder = Small(width=8).build(3, 32)
    model = Model(encoder, task.parts(encoder)).eval()
    own = Model(encoder, {"restorer": model.parts["1_restorer"]}).eval()
    told = task.judged(model, pixels)
    assert told == task.tasks[1].judged(own, pixels)
    assert "distance of a random answer" in told
    assert Together(tasks=(Rotation(), SimCLR())).judged(model, pixels) == {}
