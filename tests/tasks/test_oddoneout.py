"""One box is turned, or from a place, unlike all the others; nothing else sets it apart."""

import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.encoders import Small
from selfsight.images.views import Views
from selfsight.seeds import generator
from selfsight.task import Model
from selfsight.tasks import OddOneOut

WHOLE = Views(crop=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0).gentle()


def example_of(task, images):
    return task.prepare(Batch(images, torch.arange(len(images))), Now(0, 1, generator("odd")))


def pictures(n, side=32):
    """Each cell of the 2 x 2 has a tone of its own and a white upper edge, so that a box tells its place and turn."""
    images = torch.zeros(n, 1, side, side)
    for place in range(4):
        row, column = (at * side // 2 for at in divmod(place, 2))
        images[:, :, row : row + side // 2, column : column + side // 2] = 40.0 * place
        images[:, :, row : row + 5, column : column + side // 2] = 255
    return images.byte()


def turn_of(box):
    """The quarters by which the white edge was turned."""
    edges = [box[0, 0].mean(), box[0, :, 0].mean(), box[0, -1].mean(), box[0, :, -1].mean()]
    return int(torch.stack(edges).argmax())


def odd_of(kinds):
    """The one place whose kind no other has, or None."""
    single = [place for place, kind in enumerate(kinds) if kinds.count(kind) == 1]
    return single[0] if len(single) == 1 and len(set(kinds)) == 2 else None


@pytest.mark.parametrize("boxes", [3, 4, 6])
@pytest.mark.parametrize("by", ["turn", "place"])
def test_the_answer_is_the_box_unlike_all_the_others(by, boxes):
    example = example_of(OddOneOut(by=by, k=2, boxes=boxes, views=WHOLE, gap=0.0), pictures(24))
    for shown, answer in zip(example.inputs, example.answer, strict=True):
        if by == "turn":
            kinds = [turn_of(box) for box in shown]
        else:
            kinds = [round(float(box[0, 8:].median()) * 255 / 40) for box in shown]
        assert odd_of(kinds) == int(answer)


def test_boxes_of_an_example_are_of_different_images():
    images = torch.arange(8, dtype=torch.uint8).mul(30).view(8, 1, 1, 1).expand(8, 1, 32, 32)
    shown = example_of(OddOneOut(views=WHOLE), images).inputs.mean((2, 3, 4)).mul(255 / 30).round().int()
    assert all(len(set(row)) == 4 for row in shown.tolist())


def test_every_box_is_the_odd_one_equally_often():
    answers = example_of(OddOneOut(), pictures(40)).answer
    assert answers.bincount().tolist() == [10] * 4
    assert answers.tolist() != sorted(answers.tolist())


def test_scores_follow_the_boxes_and_no_other_example_has_a_say():
    task, encoder = OddOneOut(), Small(width=8).build(3, 32)
    model = Model(encoder, task.parts(encoder)).eval()
    example = example_of(task, torch.randint(0, 256, (8, 3, 32, 32), generator=generator("p"), dtype=torch.uint8))
    scores, order = task.predict(model, example)["scores"], torch.tensor([2, 0, 3, 1])
    moved = type(example)(inputs=example.inputs[:, order], index=example.index)
    assert torch.allclose(task.predict(model, moved)["scores"], scores[:, order], atol=1e-5)
    alone = type(example)(inputs=example.inputs[:1], index=example.index[:1])
    assert torch.allclose(task.predict(model, alone)["scores"], scores[:1], atol=1e-5)


def test_bad_fields_are_refused():
    for given, told in (
        ({"boxes": 2}, "at least 3"),
        ({"by": "place", "k": 1}, "places want k of 2 or more"),
        ({"scale": 0.0}, r"scale is in \(0, 1\]"),
    ):
        with pytest.raises(ValueError, match=told):
            OddOneOut(**given)
    with pytest.raises(ValueError, match="take a larger batch"):
        example_of(OddOneOut(), pictures(3))
