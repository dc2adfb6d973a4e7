"""The blank is the box that the answer tells of, and nothing but the other boxes tells whose it is."""

import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.head import Tally
from selfsight.images.views import Views
from selfsight.maths.naming import by_appearance
from selfsight.seeds import generator
from selfsight.tasks import MissingBox

PLAIN = {"views": Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle(), "recolour": 0.0}


def example_of(task, images, seed="missing"):
    return task.prepare(Batch(images, torch.arange(len(images))), Now(0, 1, generator(seed)))


def numbered(n, k, side=48):
    """Red tells the image, green the cell."""
    images = torch.zeros(n, 3, side, side, dtype=torch.uint8)
    images[:, 0] = torch.arange(n, dtype=torch.uint8)[:, None, None] * (250 // n)
    for place in range(k * k):
        row, column = (at * side // k for at in divmod(place, k))
        images[:, 1, row : row + side // k, column : column + side // k] = place * 20
    return images


def origin(box, n):
    red, green = (box[:2].mean((1, 2)) * 255).tolist()
    return round(red / (250 // n)), round(green / 20)


def lacking(shown, n, k):
    """(number of the image that lacks a box, the image, the place), found from the boxes that are there."""
    found = [origin(box, n) for box in shown]
    images = list(dict.fromkeys(image for image, _ in found))
    short = [image for image in images if len([1 for each, _ in found if each == image]) < k * k]
    assert len(short) == 1
    (place,) = set(range(k * k)) - {place for image, place in found if image == short[0]}
    return images.index(short[0]), short[0], place


@pytest.mark.parametrize(("images", "k"), [(2, 2), (3, 2), (2, 3)])
def test_the_answer_is_the_image_that_lacks_a_box(images, k):
    n = 12
    example = example_of(MissingBox(ask="whose", images=images, k=k, **PLAIN), numbered(n, k))
    assert (example.inputs[:, -1] == 0.5).all()
    found = [lacking(shown[:-1], n, k)[0] for shown in example.inputs]
    assert found == example.answer.tolist()
    assert example.answer.bincount().tolist() == [n // images] * images


@pytest.mark.parametrize("images", [1, 2])
def test_what_is_to_be_restored_is_the_box_that_lacks(images):
    n = 12
    example = example_of(MissingBox(images=images, **PLAIN), numbered(n, 2))
    for shown, box in zip(example.inputs, example.answer, strict=True):
        assert box.shape == (3, 8, 8)
        assert origin(box, n) == lacking(shown[:-1], n, 2)[1:]


def test_the_others_order_does_not_tell_whose_it_is():
    """Whether the second box is of the first one's image is as likely for either answer, but for the box that lacks."""
    task = MissingBox(ask="whose", **PLAIN)
    many = [example_of(task, numbered(32, 2, 16), seed) for seed in range(60)]
    owners, answers = torch.cat([e.extras["owner"] for e in many]), torch.cat([e.answer for e in many])
    alike = (owners[:, 1] == owners[:, 0]).float()
    assert float(alike[answers == 0].mean()) == pytest.approx(1 / 3, abs=0.06)
    assert float(alike[answers == 1].mean()) == pytest.approx(1 / 2, abs=0.06)


def test_whose_follows_from_the_images_that_were_named():
    """One who names every box that is there has told, by counting, which image lacks one."""
    task = MissingBox(ask="whose", images=3, **PLAIN)
    example = example_of(task, numbered(12, 2))
    named = by_appearance(example.extras["owner"], 3)[:, :-1]
    told = Tally()(20 * torch.nn.functional.one_hot(named, 3).float())
    assert (told.argmax(1) == example.answer).all()
    place = 20 * torch.nn.functional.one_hot(example.extras["place"][:, :-1], 4).float()
    given = {"right": told, "image": 20 * torch.nn.functional.one_hot(named, 3).float(), "place": place}
    assert {name: float(value) for name, value in task.loss(given, example).measures.items()} == {
        "right": 1.0, "image": 1.0, "place": 1.0
    }  # fmt: skip


def test_zero_explains_nothing_and_the_truth_all():
    task = MissingBox(**PLAIN)
    example = example_of(task, numbered(12, 2))
    flat = example.answer.flatten(1)
    truth = {"what": (flat - flat.mean(0)) / (flat - flat.mean(0)).square().mean().sqrt()}
    assert float(task.loss(truth, example).measures["explained"]) == pytest.approx(1)
    assert float(task.loss({"what": torch.zeros_like(flat)}, example).loss) == pytest.approx(1)


def test_the_caption_tells_what_is_missing():
    task = MissingBox(ask="whose", **PLAIN)
    example = example_of(task, numbered(12, 2))
    for i in range(12):
        number, _, place = lacking(example.inputs[i, :-1], 12, 2)
        assert task.caption(example, i).endswith(f"missing {'abcd'[number]}{place + 1}")


def test_bad_fields_are_refused():
    for given in ({"ask": "whose", "images": 1}, {"images": 5}, {"k": 1}, {"scale": 0.0}):
        with pytest.raises(ValueError, match="take"):
            MissingBox(**given)
