"""The answer can be found again in the picture."""

import math

import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.seeds import generator
from selfsight.tasks import WhichTransform


def asked(task, images, word="which"):
    return task.prepare(Batch(images, torch.arange(len(images))), Now(0, 1, generator(word)))


@pytest.fixture
def corners() -> torch.Tensor:
    """(32, 3, 32, 32): the upper left quarter is red, the upper right blue, below it is dark."""
    image = torch.full((3, 32, 32), 25, dtype=torch.uint8)
    image[0, :16, :16] = 230
    image[2, :16, 16:] = 230
    return image.expand(32, -1, -1, -1)


def where(pictures, channel):
    """(N,): the quarter in which this channel is brightest: 0 1 above, 2 3 below."""
    quarters = torch.stack(
        [pictures[:, 0, channel, y : y + 8, x : x + 8].mean((1, 2)) for y in (4, 20) for x in (4, 20)], 1
    )
    return quarters.argmax(1).tolist()


def test_the_answer_is_in_the_picture(corners):
    task = WhichTransform(among=("mirror", "flip", "turn", "colours"))
    example = asked(task, corners)
    assert example.answer.bincount().tolist() == [8] * 4
    places = zip(where(example.inputs, 0), where(example.inputs, 2), strict=True)
    for i, (answer, (red, blue)) in enumerate(zip(example.answer.tolist(), places, strict=True)):
        assert example.extras["asked"][i]
        if answer == 0:
            assert (red, blue) == (1, 0)
        elif answer == 1:
            assert (red, blue) == (2, 3)
        elif answer == 2:
            assert (red, blue) in ((2, 0), (1, 3))
        else:
            assert (red, blue) != (0, 1)


def test_several_answers_are_in_the_picture(corners):
    task = WhichTransform(among=("mirror", "flip"), several=True)
    example = asked(task, corners)
    assert example.answer.sum(0).tolist() == [16.0, 16.0]
    for (mirror, flip), red in zip(example.answer.tolist(), where(example.inputs, 0), strict=True):
        assert red == mirror + 2 * flip


def test_a_symmetric_image_is_never_asked_for_its_mirroring():
    images = torch.zeros(20, 3, 32, 32, dtype=torch.uint8)
    images[:, :, :12] = 200
    images[10:, 0, :, :9] = 200
    example = asked(WhichTransform(among=("mirror", "flip")), images)
    assert (example.answer[:10] == 1).all()
    assert example.answer.sum() == 10
    several = asked(WhichTransform(among=("mirror", "flip"), several=True), images)
    assert several.answer[:10, 0].sum() == 0
    assert several.answer.sum(0).tolist() == [10.0, 10.0]


def test_what_changed_nothing_is_not_asked():
    """A blank image cannot be answered: it has no weight, whatever the network says of it."""
    images = torch.full((8, 3, 32, 32), 90, dtype=torch.uint8)
    images[:6] = torch.randint(0, 256, (6, 3, 32, 32), generator=generator("images"), dtype=torch.uint8)
    task = WhichTransform(among=("flip", "mirror"))
    example = asked(task, images)
    assert example.extras["asked"].tolist() == [True] * 6 + [False] * 2
    assert task.caption(example, 7) == "nothing to be seen: not asked"
    logits = torch.zeros(8, 2)
    logits[6:] = 50.0 * torch.tensor([1.0, -1.0])
    assert float(task.loss({"logits": logits}, example).loss) == pytest.approx(math.log(2))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("shape", [(1, 28), (3, 48)])
def test_every_transform_works_on_gray_and_colour(several, shape):
    channels, side = shape
    images = torch.randint(0, 256, (26, channels, side, side), generator=generator("noise"), dtype=torch.uint8)
    names = ("flip", "turn", "shear", "zoom", "elastic", "colours", "blur", "median", "jpeg", "posterise", "solarise",
             "noise", "sharpen")  # fmt: skip
    task = WhichTransform(among=names, several=several)
    example = asked(task, images)
    assert example.inputs.shape == (26, 1, channels, side, side)
    prediction = {"logits": torch.zeros(26, len(names))}
    assert float(task.loss(prediction, example).loss) == pytest.approx(task.constant(26).loss, rel=1e-5)
    assert len(task.caption(example, 0)) > 3


@pytest.mark.parametrize("among", [("flip",), ("flip", "flop"), ("flip", "flip")])
def test_impossible_lists_are_refused(among):
    with pytest.raises(ValueError, match="at least two different"):
        WhichTransform(among=among)
    with pytest.raises(ValueError, match="leave one of them out"):
        WhichTransform(among=("mirror", "flip", "turn"), several=True)
