"""Every box is from the image and the place that the answer names, and the images are named by the rule."""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch.nn.functional import one_hot

from selfsight.batch import Batch, Now
from selfsight.encoders import Small
from selfsight.images.boxes import cells
from selfsight.images.views import Views
from selfsight.maths.naming import doubt
from selfsight.optimizer import Optimization
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.tasks import Patchwork
from selfsight.train import State, train

PLAIN = {"views": Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle(), "recolour": 0.0}


def example_of(task, images, **measured):
    return task.prepare(Batch(images, torch.arange(len(images))), Now(0, 12, generator("patchwork"), measured))


def numbered(n, k, side=48):
    """Red tells the image, green the cell."""
    images = torch.zeros(n, 3, side, side, dtype=torch.uint8)
    images[:, 0] = torch.arange(n, dtype=torch.uint8)[:, None, None] * (250 // n)
    for place in range(k * k):
        row, column = (at * side // k for at in divmod(place, k))
        images[:, 1, row : row + side // k, column : column + side // k] = place * 20
    return images


def origin(box, n):
    """(image, place) of a box of `numbered` images."""
    red, green = (box[:2].mean((1, 2)) * 255).tolist()
    return round(red / (250 // n)), round(green / 20)


@pytest.mark.parametrize(("images", "k"), [(1, 2), (1, 3), (2, 2), (3, 2), (2, 3)])
def test_the_answer_names_image_and_place_of_each_box(images, k):
    n = 8
    example = example_of(Patchwork(images=images, k=k, **PLAIN), numbered(n, k))
    for i in range(n):
        names = {}
        for box, (owner, place) in zip(example.inputs[i], example.answer[i].tolist(), strict=True):
            image, cell = origin(box, n)
            assert place == cell
            assert owner == names.setdefault(image, len(names))
        assert len(names) == images
        assert i in names
        assert len({tuple(answer) for answer in example.answer[i].tolist()}) == images * k**2


def test_the_canvas_holds_the_same_boxes_in_the_same_order():
    task = Patchwork(shown="canvas", **PLAIN)
    example = example_of(task, numbered(8, 2))
    along, side = cells(8), 48
    for i in range(8):
        for cell, (_, place) in enumerate(example.answer[i].tolist()):
            row, column = ((2 * at + 1) * side // (2 * along) for at in divmod(cell, along))
            centre = example.inputs[i, 0, :, row - 2 : row + 2, column - 2 : column + 2]
            assert origin(centre, 8)[1] == place
    assert (example.inputs[:, 0, :, 34:, 34:] == 0.5).all()


def test_a_curriculum_grows_and_keeps_its_shapes():
    task = Patchwork(images=2, k=3, curriculum=True, **PLAIN)
    assert task.stages() == [(1, 2), (2, 2), (2, 3)]
    examples = [example_of(task, numbered(8, 3), stage=float(stage)) for stage in range(3)]
    assert {example.inputs.shape for example in examples} == {(8, 18, 3, 24, 24)}
    assert [int(example.extras["filled"][0].sum()) for example in examples] == [4, 8, 18]
    assert [float(example.extras["unit"][0]) for example in examples] == pytest.approx(
        [doubt(1, 4), doubt(2, 4), doubt(2, 9)]
    )
    assert (examples[0].inputs[:, 4:] == 0.5).all()
    assert set(examples[0].answer[:, :4, 1].flatten().tolist()) == {0, 1, 3, 4}


def test_what_is_mastered_leads_to_the_next_stage_and_stays_behind():
    task, images = Patchwork(images=2, curriculum=True, mastered=0.5, **PLAIN), numbered(8, 2)
    stages = {0.49: (0, 0.49), 0.51: (1, 0.0)}
    for mastery, wanted in stages.items():
        extras = example_of(task, images, stage=0.0, mastery=mastery).extras
        assert (int(extras["stage"][0]), float(extras["mastery"][0])) == pytest.approx(wanted)
    assert int(example_of(task, images, stage=1.0, mastery=0.9).extras["stage"][0]) == 1  # the last one


def test_mastery_is_0_at_chance_and_nears_1_where_all_is_right():
    task, images = Patchwork(images=2, curriculum=True, **PLAIN), numbered(8, 2)
    example = example_of(task, images, stage=1.0, mastery=0.4)
    owner, place = example.answer.unbind(-1)
    right = {"image": 9.0 * one_hot(owner, 2), "place": 9.0 * one_hot(place, 4)}
    assert float(task.loss(right, example).measures["mastery"]) == pytest.approx(0.9 * 0.4 + 0.1)
    constant = {"image": torch.zeros(8, 8, 2), "place": torch.zeros(8, 8, 4)}
    constant["image"][:, 0, 0], constant["image"][:, 1:, 1] = 1, 1  # the likelier name of each cell
    assert abs(float(task.loss(constant, example).measures["mastery"]) - 0.36) < 0.02


def test_a_curriculum_is_resumed_where_it_was(photographs):
    task = Patchwork(images=2, curriculum=True)
    whole = [dict(step.measures) for step in train(_begin(task), photographs, np.arange(48), batch=24)]
    assert {measured["stage"] for measured in whole} == {1}
    state = _begin(task)
    for _, _step in zip(range(3), train(state, photographs, np.arange(48), batch=24), strict=False):
        pass
    resumed = _begin(task)
    resumed.restore({name: value.clone() for name, value in state.tensors().items()}, 3)
    assert [dict(step.measures) for step in train(resumed, photographs, np.arange(48), batch=24)] == whole[3:]


def _begin(task):
    torch.manual_seed(0)
    encoder = Small(width=8).build(3, 32)
    engine = Fabric(accelerator="cpu")
    state = State(task, Model(encoder, task.parts(encoder)), Optimization(), engine, steps=8, seed=0)
    state.measured = {"stage": 0.0, "mastery": 0.5}
    return state


def test_cells_that_are_not_filled_have_no_say():
    task, encoder = Patchwork(images=2, curriculum=True), Small(width=8).build(3, 48)
    model = Model(encoder, task.parts(encoder)).eval()
    example = example_of(task, numbered(8, 2))
    other = type(example)(example.inputs.clone(), example.index, example.answer, example.extras)
    other.inputs[:, 4:] = 0.9
    one, two = (task.loss(task.predict(model, each), each).loss for each in (example, other))
    assert torch.allclose(one, two, atol=1e-6)


def test_matching_forgives_other_names_and_nothing_else():
    images = numbered(8, 2)
    example = example_of(Patchwork(**PLAIN), images)
    owner, place = example.answer.unbind(-1)
    prediction = {
        "image": 9.0 * one_hot(1 - owner, 2),
        "place": 9.0 * one_hot(place, 4),
    }
    assert float(Patchwork(naming="matching", **PLAIN).loss(prediction, example).measures["right"]) == 1
    assert float(Patchwork(**PLAIN).loss(prediction, example).measures["right"]) == 0
    assert float(Patchwork(**PLAIN).loss(prediction, example).measures["place"]) == 1


def test_the_caption_tells_image_and_place():
    task = Patchwork(**PLAIN)
    example = example_of(task, numbered(8, 2))
    said = task.caption(example, 3).split(" ")
    assert [("abcd".index(word[0]), int(word[1]) - 1) for word in said] == [
        tuple(a) for a in example.answer[3].tolist()
    ]


def test_bad_fields_are_refused():
    for given in ({"images": 5}, {"k": 1}, {"images": 4, "k": 4}, {"gap": 0.9}, {"recolour": 1.0}):
        with pytest.raises(ValueError, match="take"):
            Patchwork(**given)
