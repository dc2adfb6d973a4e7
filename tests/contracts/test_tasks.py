"""What every task promises. Add a task to selfsight.tasks, and it is held to all of this."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch

from selfsight import tasks
from selfsight.batch import Batch, Now
from selfsight.config import configure
from selfsight.corruptions import CutOut
from selfsight.drawing import draw, example_of
from selfsight.encoders import Small
from selfsight.engine import solitary
from selfsight.images.views import Views
from selfsight.optimizer import Optimization
from selfsight.recipe import Recipe, to_json
from selfsight.seeds import generator
from selfsight.sources import Folder
from selfsight.task import Model
from selfsight.together import Together
from selfsight.train import State, train
from selfsight.views import CodedViews, GeneratedViews, LearnedViews, MultiCropViews

TASKS = {name: getattr(tasks, name) for name in tasks.__all__}
TASKS["Together"] = lambda: Together(tasks=(tasks.Rotation(), tasks.VICReg()), how="summed")
TASKS["Restore, holes"] = lambda: tasks.Restore(corruption=CutOut())
TASKS["SimCLR, small pictures"] = lambda: tasks.SimCLR(views=MultiCropViews())
TASKS["BYOL, small pictures"] = lambda: tasks.BYOL(views=MultiCropViews(large=2))
TASKS["MissingBox, whose"] = lambda: tasks.MissingBox(ask="whose")

IMAGINED = {
    "two of many": lambda run: tasks.SimCLR(views=GeneratedViews(restorer=run)),
    "most different": lambda run: tasks.SimCLR(
        views=GeneratedViews(restorer=run, choose="most_different", answers=3, views=Views(crop=(0.6, 1.0)).gentle())
    ),  # the hardest pairs of full views take more than sixty steps
    "all, weighed": lambda run: tasks.SimCLR(views=GeneratedViews(restorer=run, choose="all", answers=3, weigh=1.0)),
    "all, summed": lambda run: tasks.SimCLR(views=GeneratedViews(restorer=run, choose="all"), positives="sum"),
    "BYOL of all": lambda run: tasks.BYOL(views=GeneratedViews(restorer=run, choose="all", answers=3, weigh=0.5)),
    "coded": lambda run: tasks.SimCLR(views=CodedViews(restorer=run)),
    "learned": lambda run: tasks.SimCLR(views=LearnedViews(restorer=run)),
    "VICReg, images too": lambda run: tasks.VICReg(
        views=GeneratedViews(restorer=run, choose="all", beside="image", answers=2, share=0.5, weigh=0.5)
    ),
}
"""Tasks that compare views, with imagined ones."""

LONGER = {tasks.SameOrDifferent: 150}
"""Steps for tasks that are slow to begin: one bit a pair, of pictures with other hues and tones."""

NEARLY = {tasks.Restore: 0.03, tasks.Tokens: 0.065, tasks.Decompose: 0.05, tasks.Saliency: 0.05}
"""How far the best constant may lie from what a task says. Restore's unit is the mean change over the batch, a little
worse than the best one, as answers are clamped and gradients count. Tokens' is the variance of pictures that are drawn
anew, n / (n - 1) times that about the batch's mean; here every batch holds the same sixteen, about whose mean a
constant leaves 15 / 16 of it. That of Decompose and Saliency is the deviation of pictures of which a batch is a sample;
the batches here show the same sixteen, cropped otherwise (measured: 0.967)."""


@pytest.fixture(params=[*TASKS, *IMAGINED])
def task(request):
    if request.param in IMAGINED:
        return IMAGINED[request.param](request.getfixturevalue("restorer_run"))
    return TASKS[request.param]()


def batch_of(photographs, n=16, channels=3):
    pixels = torch.from_numpy(photographs[:n]).permute(0, 3, 1, 2)
    return Batch(pixels[:, :channels], torch.arange(n))


def now(step=0, steps=10):
    return Now(step, steps, generator("contract", step))


def model_of(task, channels=3):
    encoder = Small(width=8).build(channels, 32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Model(encoder, task.parts(encoder))


def fabric():
    return solitary("32-true")


def begin(task, steps, model=None, **optimization):
    return State(task, model or model_of(task), Optimization(**optimization), fabric(), steps=steps, seed=1)


def run(state, photographs, until=None):
    steps = []
    for step in train(state, photographs, torch.arange(len(photographs)).numpy(), batch=32):
        steps.append((step.loss, dict(step.measures)))
        if step.number == until:
            break
    return steps


@pytest.mark.parametrize("channels", [1, 3])
def test_loss_is_a_finite_scalar_whose_gradient_reaches_the_encoder(task, photographs, channels):
    if channels == 1 and isinstance(getattr(task, "views", None), CodedViews | GeneratedViews | LearnedViews):
        pytest.skip("this restorer answers in colour alone")
    model = model_of(task, channels)
    example = task.prepare(batch_of(photographs, channels=channels), now())
    outcome = task.loss(task.predict(model, example), example)
    assert outcome.loss.shape == ()
    assert torch.isfinite(outcome.loss)
    assert not any(value.requires_grad for value in outcome.measures.values())
    outcome.loss.backward()
    first = next(model.encoder.parameters())
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


def test_it_is_asked_in_mixed_precision(task, photographs):
    state = State(
        task,
        model_of(task),
        Optimization(),
        solitary("bf16-mixed"),
        steps=2,
        seed=1,
    )
    assert all(math.isfinite(loss) for loss, _ in run(state, photographs))


@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 224)])
@pytest.mark.parametrize("name", TASKS)
def test_small_gray_and_large_coloured_pictures_are_asked_of(name, channels, side, photographs):
    task, few = TASKS[name](), batch_of(photographs, 4, channels).images
    images = torch.nn.functional.interpolate(few.float(), (side, side), mode="bilinear").byte()
    example = task.prepare(Batch(images, torch.arange(4)), now())
    encoder = Small(width=8).build(channels, side)
    model = Model(encoder, task.parts(encoder))
    task.loss(task.predict(model, example), example).loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert next(encoder.parameters()).grad.abs().sum() > 0


def test_prepare_is_a_function_of_its_generator(task, photographs):
    one, again, other = (task.prepare(batch_of(photographs), Now(0, 10, generator(seed))) for seed in ("a", "a", "b"))
    assert torch.equal(one.inputs, again.inputs)
    assert not torch.equal(one.inputs, other.inputs)
    assert one.inputs.shape[0] == 16
    assert one.inputs.ndim == 5
    assert one.inputs.min() >= 0
    assert one.inputs.max() <= 1
    assert torch.equal(one.index, torch.arange(16))


def test_prepare_leaves_the_batch_and_the_global_generator_alone(task, photographs):
    batch, before = batch_of(photographs), torch.random.get_rng_state()
    pixels = batch.images.clone()
    task.prepare(batch, now())
    assert torch.equal(batch.images, pixels)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_predict_and_loss_may_be_called_again(task, photographs):
    model, example = model_of(task), task.prepare(batch_of(photographs), now())
    first, second = (task.predict(model, example) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    losses = {float(task.loss(first, example).loss.detach()) for _ in range(2)}
    assert len(losses) == 1


def test_a_free_prediction_can_replace_the_models(task, photographs):
    """Every tensor that enters the loss comes from the prediction, so that the best reachable loss can be sought."""
    model, example = model_of(task), task.prepare(batch_of(photographs), now())
    free = {name: torch.randn_like(value).requires_grad_() for name, value in task.predict(model, example).items()}
    task.loss(free, example).loss.backward()
    assert any(value.grad is not None and value.grad.abs().sum() > 0 for value in free.values())


def test_constant_is_the_loss_of_a_constant_answer(task, photographs):
    """No constant does better than `constant` says: gradient descent on one answer shared by all finds that loss.

    What is fitted to some batches is too good on them and too bad on others, both by as much: their mean is not.
    """
    n, batches = 16, 16
    examples = [task.prepare(batch_of(photographs, n), Now(i, 10, generator("constant", i))) for i in range(batches)]
    shapes = {name: value.shape for name, value in task.predict(model_of(task), examples[0]).items()}
    answer = {
        name: torch.randn(1, *shape[1:], generator=generator(name)).requires_grad_() for name, shape in shapes.items()
    }

    def losses(of):
        given = {name: value.expand(shapes[name]) for name, value in answer.items()}
        return [task.loss(given, example) for example in of]

    half = batches // 2
    optimizer = torch.optim.Adam(list(answer.values()), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        sum(outcome.loss for outcome in losses(examples[:half])).backward()
        optimizer.step()
    outcomes = losses(examples)
    found = torch.tensor([float(outcome.loss.detach()) for outcome in outcomes])
    mean = (found[:half].mean() + found[half:].mean()) / 2
    chance, error = task.constant(n), float(found.std()) / batches**0.5
    assert float(mean) == pytest.approx(chance.loss, abs=NEARLY.get(type(task), 3e-3) + 3 * error)
    assert error < 0.05 * max(0.1, chance.loss)
    assert ("right" in outcomes[0].measures) == (chance.right is not None)


def test_it_is_learned(task, photographs):
    """On real patches the loss falls below the best constant answer's; where a constant is the best answer of all,
    the representation must stay apart from it while the loss falls below that of unrelated answers."""
    state = begin(task, steps=LONGER.get(type(task), 60), rate=3e-3)
    losses = [loss for loss, _ in run(state, photographs)]
    late, constant = sum(losses[-10:]) / 10, task.constant(32)
    assert late < sum(losses[:5]) / 5
    if constant.optimal:
        model = state.model.eval()
        z = torch.nn.functional.normalize(model.encoder(batch_of(photographs, 64).images.float() / 255), dim=1)
        assert z.std(0).mean() * math.sqrt(z.shape[1]) > 0.05
    else:
        assert late < constant.loss


def test_same_recipe_same_numbers_and_exact_resume(task, photographs):
    whole = run(begin(task, steps=6), photographs)
    assert whole == run(begin(task, steps=6), photographs)
    stopped = begin(task, steps=6)
    first = run(stopped, photographs, until=3)
    kept = {name: value.clone() for name, value in stopped.tensors().items()}
    fresh = model_of(task)
    for parameter in fresh.parameters():
        parameter.data.add_(1)  # what is restored must not lean on how the fresh model was made
    resumed = begin(task, steps=6, model=fresh)
    resumed.restore(kept, 3)
    assert first + run(resumed, photographs) == whole


def test_labels_are_out_of_reach(task):
    assert {field.name for field in dataclasses.fields(Batch)} == {"images", "index"}


def test_recipe_json_recipe(task, tmp_path):
    recipe = Recipe(data=Folder(str(tmp_path)), task=task, encoder=Small(width=16), steps=5)
    assert configure(to_json(recipe)) == recipe


def test_it_can_be_drawn(task, photographs):
    example = example_of(task, photographs, torch.arange(4).numpy())
    picture = draw(task, example, photographs[:4])
    assert picture.width > 300
    assert len(set(picture.resize((64, 64)).get_flattened_data())) > 50
    assert task.question().endswith((".", "?"))


def test_after_step_draws_nothing_and_moves_only_parts_without_gradient(task, photographs):
    model, example = model_of(task), task.prepare(batch_of(photographs), now())
    prediction = task.predict(model, example)
    trained = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    before = torch.random.get_rng_state()
    task.after_step(model, example, prediction, now())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(dict(model.named_parameters())[name], value) for name, value in trained.items())


def test_copies_are_independent(task):
    """A deep copy of the model (a twin, a snapshot) shares no memory with it."""
    model = model_of(task)
    twin = copy.deepcopy(model)
    shared = {p.data_ptr() for p in model.state_dict().values()} & {p.data_ptr() for p in twin.state_dict().values()}
    assert not shared
