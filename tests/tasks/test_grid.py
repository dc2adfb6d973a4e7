"""Each box is from the place that the answer names, and from an image of its own."""

import math

import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.encoders import Small
from selfsight.images.views import Views
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.tasks import Grid

PLAIN = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


def example_of(task, images):
    return task.prepare(Batch(images, torch.arange(len(images))), Now(0, 1, generator("grid")))


def numbered(n, k, side=48):
    """Red tells the image, green the cell."""
    images = torch.zeros(n, 3, side, side, dtype=torch.uint8)
    images[:, 0] = torch.arange(n, dtype=torch.uint8)[:, None, None] * (250 // n)
    for place in range(k * k):
        row, column = (at * side // k for at in divmod(place, k))
        images[:, 1, row : row + side // k, column : column + side // k] = place * 20
    return images


@pytest.mark.parametrize("shown", ["boxes", "canvas"])
@pytest.mark.parametrize("places", ["each", "same"])
@pytest.mark.parametrize("k", [2, 3])
def test_the_answer_names_the_place_of_each_box(k, places, shown):
    n = 18
    example = example_of(Grid(k=k, places=places, shown=shown, views=PLAIN), numbered(n, k))
    side = 48 // k
    for i in range(n):
        images, found = [], []
        for cell in range(k * k):
            row, column = (at * side + side // 2 for at in divmod(cell, k))
            if shown == "canvas":
                box = example.inputs[i, 0, :, row - 2 : row + 2, column - 2 : column + 2]
            else:
                box = example.inputs[i, cell]
            images.append(round(float(box[0].mean()) * 255 / (250 // n)))
            found.append(round(float(box[1].mean()) * 255 / 20))
        assert len(set(images)) == k * k
        assert found == example.answer[i].expand(k * k).tolist()
        assert len(set(found)) == (k * k if places == "each" else 1)


def test_every_place_is_the_common_one_equally_often():
    answer = example_of(Grid(places="same"), numbered(40, 2)).answer
    assert answer.shape == (40, 1)
    assert answer.flatten().bincount().tolist() == [10] * 4
    assert answer.flatten().tolist() != sorted(answer.flatten().tolist())


def test_answers_follow_the_boxes():
    images = torch.randint(0, 256, (8, 3, 32, 32), generator=generator("pixels"), dtype=torch.uint8)
    order = torch.tensor([3, 1, 0, 2])
    for places in ("each", "same"):
        task, encoder = Grid(places=places), Small(width=8).build(3, 32)
        model = Model(encoder, task.parts(encoder)).eval()
        example = example_of(task, images)
        moved = type(example)(example.inputs[:, order], example.index)
        logits = task.predict(model, example)["logits"]
        expected = logits[:, order] if places == "each" else logits
        assert torch.allclose(task.predict(model, moved)["logits"], expected, atol=1e-5)


def test_chance_is_that_of_as_many_places():
    assert Grid(k=3).constant(8).loss == pytest.approx(math.log(9))
    assert Grid(k=3).constant(8).right == pytest.approx(1 / 9)


def test_bad_fields_are_refused():
    for given in ({"k": 1}, {"scale": 1.5}, {"gap": 0.6}):
        with pytest.raises(ValueError, match="take"):
            Grid(**given)
    with pytest.raises(ValueError, match="take a larger batch"):
        example_of(Grid(k=3), numbered(8, 3))
