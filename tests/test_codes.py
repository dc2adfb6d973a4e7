"""The rule of Adaptive IMLE on numbers made by hand; what is remembered survives saving."""

from __future__ import annotations

import pytest
import torch

from selfsight.codes import CodeCache, Refresh


def visit(cache, index, distance, seed=1):
    """One visit, as a training makes it -> who chose."""
    index = torch.tensor(index)
    due = cache.due(index)
    fresh = torch.full((len(index), 2), seed)
    seeds = torch.where(due[:, None].cpu(), fresh, cache.kept(index))
    cache.update(index, seeds, torch.tensor(distance).view(-1, 1).expand(-1, 2) / 2, due)
    return due.tolist()


def test_a_new_image_chooses_and_then_waits_until_it_is_stale():
    cache = CodeCache(10, 2, Refresh(staleness=3, forced=100, shrink=0.1))
    assert visit(cache, [4], [1.0]) == [True]
    assert [visit(cache, [4], [1.0])[0] for _ in range(4)] == [False, False, False, True]


def test_the_threshold_falls_with_each_choice_and_holds_back_who_got_no_nearer():
    cache = CodeCache(10, 2, Refresh(staleness=0, forced=100, shrink=0.1))
    assert visit(cache, [0, 1], [1.0, 1.0]) == [True, True]  # no threshold yet
    assert visit(cache, [0, 1], [1.0, 1.0]) == [True, True]  # any distance is below it; it becomes 0.9
    assert cache.threshold[:2].tolist() == pytest.approx([0.9, 0.9])
    assert visit(cache, [0, 1], [0.89, 0.91]) == [False, False]  # 1.0 was not below 0.9
    assert visit(cache, [0, 1], [0.5, 0.5]) == [True, False]
    assert cache.threshold[:2].tolist() == pytest.approx([0.9 * 0.89, 0.9])


def test_the_first_threshold_can_be_given():
    cache = CodeCache(10, 2, Refresh(staleness=0, forced=100, threshold=0.7))
    visit(cache, [0, 1], [0.6, 0.8])
    assert visit(cache, [0, 1], [0.6, 0.8]) == [True, False]


def test_after_enough_visits_it_chooses_whatever_its_distance():
    cache = CodeCache(10, 2, Refresh(staleness=1, forced=3, threshold=0.1))
    assert [visit(cache, [2], [5.0])[0] for _ in range(9)] == [True, False, False, False] * 2 + [True]


def test_the_code_it_has_competes_unless_told_otherwise():
    fresh = torch.arange(12).view(2, 2, 3) + 100
    for keeps in (True, False):
        cache = CodeCache(10, 2, Refresh(keeps=keeps))
        visit(cache, [3], [1.0], seed=7)
        found = cache.candidates(torch.tensor([3, 4]), fresh)
        wanted = fresh.clone()
        if keeps:
            wanted[0, :, 0] = 7
        assert torch.equal(found, wanted)


def test_the_share_of_codes_that_changed_is_of_those_that_chose_and_had_one():
    cache = CodeCache(10, 2, Refresh(staleness=0, forced=1))
    index, distance = torch.tensor([0, 1, 2, 3]), torch.ones(4, 2)
    had, chose = torch.tensor([[1, 1], [2, 2], [3, 3], [4, 4]]), torch.tensor([[1, 1], [2, 9], [3, 3], [8, 8]])
    assert float(cache.update(index, had, distance, cache.due(index))) == 0
    assert float(cache.update(index, chose, distance, torch.tensor([True, True, True, False]))) == pytest.approx(1 / 3)
    assert float(cache.update(index, chose, distance, torch.zeros(4, dtype=torch.bool))) == 0
    assert torch.equal(cache.kept(index), chose)


def test_images_that_share_a_row_do_not_get_each_others_codes():
    cache = CodeCache(4, 2, Refresh())
    visit(cache, [1], [1.0], seed=5)
    assert cache.knows(torch.tensor([1, 5, 2])).tolist() == [True, False, False]
    assert visit(cache, [5], [1.0], seed=6) == [True]
    assert cache.knows(torch.tensor([1, 5])).tolist() == [False, True]
    index = torch.tensor([9, 2, 1])  # 9 and 1 share a row: the later has it
    cache.update(index, torch.tensor([[9, 9], [2, 2], [1, 1]]), torch.ones(3, 2), torch.ones(3, dtype=torch.bool))
    assert cache.knows(index).tolist() == [False, True, True]
    assert cache.kept(torch.tensor([1, 2])).tolist() == [[1, 1], [2, 2]]


def test_it_goes_on_from_what_was_saved():
    rule = Refresh(staleness=1, forced=4, shrink=0.2)
    whole, part = CodeCache(8, 2, rule), CodeCache(8, 2, rule)
    g = torch.Generator().manual_seed(0)
    visits = [(torch.randperm(8, generator=g)[:5].tolist(), torch.rand(5, generator=g).tolist(), i) for i in range(12)]
    said = [visit(whole, *one) for one in visits]
    assert [visit(part, *one) for one in visits[:6]] == said[:6]
    resumed = CodeCache(8, 2, rule)
    resumed.load_state_dict(part.state_dict())
    assert [visit(resumed, *one) for one in visits[6:]] == said[6:]
    assert all(
        torch.equal(x, y) for x, y in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"shrink": 1.0}, "share in"),
        ({"staleness": 9, "forced": 8}, "at least staleness"),
        ({"threshold": 0.0}, "above 0"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(words, told):
    with pytest.raises(ValueError, match=told):
        Refresh(**words)
    with pytest.raises(ValueError, match="at least one row, not 0"):
        CodeCache(0, 2)
