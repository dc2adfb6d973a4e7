import torch

from selfsight.maths.answers import balanced, half, suited
from selfsight.seeds import generator


def test_each_answer_equally_often_and_in_another_order():
    drawn = [balanced(12, 4, generator("b", i)) for i in range(20)]
    assert all(one.bincount(minlength=4).tolist() == [3] * 4 for one in drawn)
    assert len({tuple(one.tolist()) for one in drawn}) == 20


def test_what_is_left_over_falls_on_all_alike():
    counts = sum(balanced(5, 3, generator("left", i)).bincount(minlength=3) for i in range(600))
    assert (counts - 1000).abs().max() < 60


def test_nobody_is_given_an_answer_they_cannot_have():
    can = torch.rand(60, 5, generator=generator("can")) < 0.6
    can[:, 0] |= ~can.any(1)
    answer = suited(can, generator("suited"))
    assert can[torch.arange(60), answer].all()
    assert answer.bincount().tolist() == [12] * 5
    assert not torch.equal(answer, suited(can, generator("other")))


def test_an_answer_nobody_can_have_is_left_out():
    can = torch.ones(8, 3).bool()
    can[:, 1] = False
    assert suited(can, generator("out")).bincount(minlength=3).tolist() == [4, 0, 4]
    assert suited(torch.zeros(6, 3).bool(), generator("none")).bincount(minlength=3).tolist() == [2, 2, 2]


def test_half_of_those_who_can():
    can = torch.ones(10, 3).bool()
    can[:4, 1] = False
    can[:8, 2] = False
    wanted = half(can, generator("half"))
    assert wanted.sum(0).tolist() == [5, 5, 2]
    assert not (wanted & ~can).any()
    odd = torch.stack([half(torch.ones(5, 1).bool(), generator(i)).sum() for i in range(200)])
    assert set(odd.tolist()) == {2, 3}
