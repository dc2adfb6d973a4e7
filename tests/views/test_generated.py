"""Imagined views: what they are made of, which are shown, and that they are kept as they are made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import selfsight
from selfsight import answerer, checkpoint
from selfsight.answerer import Answerer
from selfsight.batch import Batch, Now
from selfsight.choice import compared, looking
from selfsight.config import configure, parse, recipe_of, recipe_parser
from selfsight.corruptions import Blur, CowMask, CutOut, Decolour
from selfsight.encoders import Small
from selfsight.errors import UserError
from selfsight.images.views import Views
from selfsight.plan import reads, require_unchanged
from selfsight.recipe import Recipe, to_json
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.tasks import Rotation, SimCLR
from selfsight.together import Together
from selfsight.views import CodedViews, GeneratedViews, LearnedViews
from selfsight.views.generated import imagine

SAME = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()
PLAIN = {"views": SAME, "precision": "32-true"}


def batch_of(photographs, n=8):
    return Batch(torch.from_numpy(photographs[:n]).permute(0, 3, 1, 2), torch.arange(n))


def example(views, photographs, n=8, seed="x"):
    return views.example(batch_of(photographs, n), generator(seed))


def test_views_are_answers_to_what_the_corruption_left(restorer_run, photographs):
    """Made again by hand: corrupt, answer by the encoder's embedding and fresh codes, round to eight bits."""
    found = example(GeneratedViews(restorer=restorer_run, **PLAIN), photographs)
    draws, restorer = generator("x"), Answerer.open(restorer_run)
    images = batch_of(photographs).images.float() / 255
    seed = int(torch.randint(2**31, (1,), generator=draws))
    seeds = restorer.stack.seeds(8, 2, draws)
    left = restorer.corruption(images, torch.Generator().manual_seed(seed)).images
    for k in range(2):
        answer = restorer.stack(left, restorer.stack.codes(seeds[:, :, k]), restorer.encoder(left))[-1]
        assert torch.allclose(found.inputs[:, k], (answer * 255).round() / 255, atol=1.01 / 255)
    assert found.inputs.shape == (8, 2, 3, 32, 32)
    assert (found.inputs[:, 0] - found.inputs[:, 1]).abs().mean() > 0.01
    assert found.extras["removed"].mean() > 0.05


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (GeneratedViews, {}),
        (CodedViews, {"before": SAME}),
        (LearnedViews, {"before": SAME, "actions": (CutOut(), CowMask())}),
    ],
)
def test_of_holes_what_is_not_hidden_stands_in_every_answer(filler_run, photographs, kind, settings):
    """All views of a restorer that is told where: between the holes each is the image, in the holes no two are one."""
    task = SimCLR(views=kind(restorer=filler_run, **PLAIN, **settings))
    batch = batch_of(photographs)
    model = Model(Small(width=4).build(3, 32), {})
    model.parts.update(task.parts(model.encoder))
    seen = task.prepare(batch, Now(0, 10, generator("x")))
    pictures = seen.inputs if kind is GeneratedViews else task.views.pictures(model.parts, seen)[0]
    one, other = ((pictures[:, k] - batch.images / 255).abs() > 1.01 / 255 for k in range(2))
    for view in (one, other):
        assert 0.02 < view.any(1).float().mean() < 0.9
    assert ((pictures[:, 0] - pictures[:, 1]).abs() > 0.01)[one].float().mean() > 0.3


def test_a_restorer_that_has_learned_on_stops_a_resume(restorer_run, tmp_path):
    run = Path(shutil.copytree(restorer_run, tmp_path / "g"))
    recipe = Recipe(
        data=str(tmp_path), task=Together(tasks=(Rotation(), SimCLR(views=GeneratedViews(restorer=str(run)))))
    )
    known = reads(recipe.task)
    assert list(known) == ["task.tasks[1].views"]
    require_unchanged(recipe, known)
    tensors, about = checkpoint.read_weights(str(next((run / "checkpoints").iterdir())))
    changed = {name: value + 1 for name, value in tensors.items()}
    checkpoint.write_tensors(run / "checkpoints" / "step-000000001.safetensors", changed, {**about, "step": 1})
    with pytest.raises(UserError, match="reads has changed since this run began"):
        require_unchanged(recipe, known)


def test_no_gradient_and_no_training_of_the_restorer(restorer_run, photographs):
    found = example(GeneratedViews(restorer=restorer_run), photographs)
    assert not found.inputs.requires_grad
    kept = answerer.kept(restorer_run)
    assert not any(p.requires_grad for net in (kept.stack, kept.encoder) for p in net.parameters())
    assert not kept.encoder.training
    assert answerer.kept(restorer_run) is kept


def test_another_corruption_may_be_named(restorer_run, photographs):
    cut, gray = (
        example(GeneratedViews(restorer=restorer_run, corruption=one, **PLAIN), photographs)
        for one in (CutOut(), Decolour())
    )
    assert not torch.allclose(cut.extras["removed"], gray.extras["removed"], atol=0.01)


def test_beside_the_image_and_ordinary_ones(restorer_run, photographs):
    images = batch_of(photographs).images.float() / 255
    beside = example(GeneratedViews(restorer=restorer_run, beside="image", **PLAIN), photographs)
    assert torch.allclose(beside.inputs[:, 0], images, atol=1e-5)
    assert not torch.allclose(beside.inputs[:, 1], images, atol=0.05)
    some = example(GeneratedViews(restorer=restorer_run, share=0.5, **PLAIN), photographs)
    ordinary = some.extras["ordinary"]
    assert 0 < ordinary.sum() < 8
    same = (some.inputs - images[:, None]).abs().amax((1, 2, 3, 4)) < 1e-5
    assert torch.equal(same, ordinary)


def test_weights_fall_with_how_far_an_answer_is_from_what_was_left(restorer_run, photographs):
    found = example(GeneratedViews(restorer=restorer_run, weigh=2.0, answers=3, choose="all"), photographs)
    weight = found.extras["weight"]
    assert weight.shape == (8, 3)
    restorer = Answerer.open(restorer_run)
    far = imagine(restorer, restorer.corruption, batch_of(photographs).images, 3, generator("x")).far
    assert torch.allclose(weight, torch.exp(-2 * far / far.mean()))
    assert (far > 0).all()
    perfect = imagine(restorer, Blur(chance=0.0), batch_of(photographs).images, 3, generator("x"))
    assert perfect.removed.max() < 1e-5
    truth = batch_of(photographs).images.float()
    far = ((perfect.answers[:, 0] - truth) / 255).square().mean((1, 2, 3))
    assert torch.allclose(perfect.far[:, 0], far, atol=1e-5)


@pytest.mark.parametrize("beside", ["answer", "image"])
def test_the_most_different_are_shown(restorer_run, photographs, beside):
    """Of four pictures the two whose embeddings are farthest apart in the batch's own statistics, found by comparing all."""
    source = GeneratedViews(restorer=restorer_run, choose="most_different", answers=4, beside=beside)
    given = example(source, photographs)
    encoder = Small(width=8).build(3, 32)
    encoder.train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    shown, _ = compared(source, encoder, torch.nn.ModuleDict(), given)
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    with torch.no_grad():
        z = F.normalize(encoder(given.inputs.flatten(0, 1)), dim=1).unflatten(0, given.inputs.shape[:2])
    for i in range(8):
        pairs = [(a, b) for b in range(z.shape[1]) for a in range(b) if beside == "answer" or a == 0]
        a, b = min(pairs, key=lambda pair: float(z[i, pair[0]] @ z[i, pair[1]]))
        assert torch.equal(shown[i], given.inputs[i, [a, b]])


def test_looking_leaves_each_module_as_it_was():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout())
    net[0].eval()
    with looking(net):
        assert not net[1].training
    assert net[1].training
    assert not net[0].training


def test_how_many_are_shown_and_the_constant(restorer_run):
    assert SimCLR().constant(8).loss == pytest.approx(torch.tensor(15.0).log().item())
    every = SimCLR(views=GeneratedViews(restorer=restorer_run, choose="all", answers=3, beside="image"))
    assert every.constant(8).loss == pytest.approx(torch.tensor(31.0).log().item())
    assert "31 candidates" in every.constant(8).meaning


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"answers": 1}, "at least 2 beside answer, not 1"),
        ({"answers": 2, "choose": "most_different"}, "most_different needs a choice: give answers of 3 or more"),
        ({"share": 0.0}, "share is a chance"),
        ({"weigh": -1.0}, "weigh a number of at least 0"),
    ],
)
def test_settings_that_cannot_be(settings, says):
    with pytest.raises(ValueError, match=says):
        GeneratedViews(**settings)


def test_a_summed_loss_knows_no_weights():
    with pytest.raises(ValueError, match="knows no weights"):
        SimCLR(positives="sum", views=GeneratedViews(weigh=1.0))


def test_restorers_that_cannot_be(restorer_run, photographs, tmp_path):
    with pytest.raises(UserError, match="Whose views"):
        example(GeneratedViews(), photographs)
    with pytest.raises(UserError, match="is not a run"):
        example(GeneratedViews(restorer=str(tmp_path)), photographs)
    small = Batch(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), torch.arange(2))
    with pytest.raises(UserError, match="3 channels and 32 x 32 pixels, and these have 3 and 16 x 16: give --size 32"):
        GeneratedViews(restorer=restorer_run).example(small, generator("x"))


def read(*words):
    parser = recipe_parser()
    return recipe_of(parse(parser, ["--data", ".", *words]), parser)


def test_the_short_form(restorer_run):
    """--views and --restorer are settings of the task, wherever they stand; a corruption beside them is the views'."""
    plain = read("--task", "SimCLR", "--views", "generated", "--restorer", restorer_run)
    assert plain.task == SimCLR(views=GeneratedViews(restorer=restorer_run))
    assert plain == read("--views=generated", f"--restorer={restorer_run}")
    nested = read("--task", "SimCLR", "--task.views", "GeneratedViews", "--task.views.restorer", restorer_run)
    assert nested == plain
    words = [
        "--views",
        "generated",
        "--corruption",
        "blur",
        "--task.views.answers",
        "4",
        "--task.views.views.flip",
        "0",
    ]
    full = read("--task", "BYOL", *words, "--restorer", restorer_run, "--task.views.choose", "all")
    assert full.task.views == GeneratedViews(
        restorer=restorer_run, corruption=Blur(), answers=4, choose="all", views=Views(flip=0.0)
    )
    both = read("--task", "Rotation", "--task", "SimCLR", "--views", "generated", "--restorer", restorer_run)
    assert both.task.tasks[1] == plain.task
    assert read("--task", "BYOL", "--views", "ordinary").task.views == Views(crop=(0.4, 1.0))


def test_recipes_come_back(restorer_run, tmp_path):
    recipe = read("--task", "VICReg", "--views", "generated", "--restorer", restorer_run, "--corruption", "blur")
    assert configure(to_json(recipe)) == recipe
    more = configure(to_json(recipe), {"task": {"init_args": {"views": {"answers": 3}}}})
    assert more.task.views == GeneratedViews(restorer=restorer_run, corruption=Blur(), answers=3)
    old = {"class_path": "SimCLR", "init_args": {"views": {"flip": 0.1}}}
    assert configure({"data": ".", "task": old}).task == SimCLR(views=Views(flip=0.1))
    assert "class_path" not in to_json(Recipe(data="."))["task"]["init_args"]["views"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--views", "generatd"], "no views 'generatd' .did you mean 'generated'"),
        (["--restorer", "runs/g"], "A restorer makes views"),
        (["--task", "Rotation", "--views", "generated"], "compares no views of one image"),
        (["--views", "generated", "--corruption", "blur,noise"], "Views take one corruption"),
    ],
)
def test_words_that_cannot_be(words, says):
    with pytest.raises(UserError, match=says):
        read(*words)


def test_crops_at_edges():
    """With edge = 1 each crop of a picture whose border is lit shows some of it; without, small ones often do not."""
    picture = torch.zeros(64, 1, 32, 32, dtype=torch.uint8)
    picture[:, :, [0, -1]] = picture[:, :, :, [0, -1]] = 255
    for edge, least in ((1.0, 1.0), (0.0, 0.0)):
        views = Views(crop=(0.1, 0.1), ratio=(1.0, 1.0), edge=edge).gentle()
        seen = (views(picture, generator("edge")).amax((1, 2, 3)) > 0.2).float().mean()
        assert seen == 1.0 if least else seen < 0.8


def test_a_training_is_the_same_again(restorer_run, photo_folder, tmp_path):
    from rich.console import Console

    task = SimCLR(views=GeneratedViews(restorer=restorer_run, choose="most_different", answers=3))
    given = {"task": task, "size": 32, "batch": 24, "steps": 2, "doctor": "off", "encoder": Small(width=8)}
    given["precision"] = "32-true"  # by itself it is chosen by the clock, which may choose otherwise the second time
    lines = [
        selfsight.pretrain(photo_folder, out=tmp_path / name, console=Console(quiet=True), **given).lines("series")
        for name in "ab"
    ]
    assert lines[0] == lines[1]
