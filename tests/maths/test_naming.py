"""Names of shuffled images, restated by counting every shuffle."""

from itertools import permutations

import pytest
import torch

from selfsight.maths.naming import appearance_shares, by_appearance, by_matching, doubt, lacking_shares
from selfsight.seeds import generator


def renamed_slowly(row):
    names = {}
    return [names.setdefault(owner, len(names)) for owner in row]


def test_names_are_given_in_the_order_of_appearance():
    owners = torch.stack(
        [torch.tensor([0, 0, 1, 1, 2, 2])[torch.randperm(6, generator=generator(i))] for i in range(50)]
    )
    assert by_appearance(owners, 3).tolist() == [renamed_slowly(row) for row in owners.tolist()]


@pytest.mark.parametrize(("images", "boxes"), [(1, 4), (2, 2), (2, 4), (3, 2)])
def test_shares_are_those_of_all_shuffles(images, boxes):
    rows = set(permutations([image for image in range(images) for _ in range(boxes)]))
    counted = torch.zeros(images * boxes, images, dtype=torch.float64)
    for row in rows:
        for cell, name in enumerate(renamed_slowly(row)):
            counted[cell, name] += 1 / len(rows)
    assert torch.allclose(appearance_shares(images, boxes), counted)


@pytest.mark.parametrize(("images", "boxes"), [(2, 2), (2, 4), (3, 2)])
def test_shares_where_the_last_has_every_name_as_often(images, boxes):
    rows = set(permutations([image for image in range(images) for _ in range(boxes)]))
    named = [renamed_slowly(row) for row in rows]
    last = torch.tensor([row[-1] for row in named]).bincount(minlength=images)
    counted = torch.zeros(images * boxes - 1, images, dtype=torch.float64)
    for row in named:
        for cell, name in enumerate(row[:-1]):
            counted[cell, name] += 1 / (images * last[row[-1]])
    assert torch.allclose(lacking_shares(images, boxes), counted)


def test_matching_finds_the_naming_of_least_loss_and_overlooks_hidden_cells():
    logits = torch.randn(20, 6, 3, generator=generator("logits"))
    owners = torch.randint(3, (20, 6), generator=generator("owners"))
    shown = torch.rand(20, 6, generator=generator("shown")) < 0.7
    found = by_matching(logits, owners, shown)
    for row in range(20):

        def loss(naming, row=row):
            chances = logits[row].log_softmax(-1)
            return -sum(chances[cell, naming[owners[row, cell]]] for cell in range(6) if shown[row, cell])

        best = min(permutations(range(3)), key=loss)
        mine = [best[owner] for owner in owners[row]]
        assert found[row][shown[row]].tolist() == torch.tensor(mine)[shown[row]].tolist()


def test_no_constant_answer_is_better_under_matching_than_under_appearance():
    """Descent from several starts, on every way to share eight cells between two images."""
    rows = sorted({tuple(renamed_slowly(row)) for row in set(permutations([0] * 4 + [1] * 4))})
    owners = torch.tensor(rows)
    found = []
    for start in range(6):
        logits = (2 * torch.randn(1, 8, 2, generator=generator("start", start))).requires_grad_()
        optimizer = torch.optim.Adam([logits], lr=0.1)
        for _ in range(250):
            given = logits.expand(len(owners), -1, -1)
            named = by_matching(given.detach(), owners, torch.ones_like(owners, dtype=torch.bool))
            loss = torch.nn.functional.cross_entropy(given.flatten(0, 1), named.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found.append(float(loss.detach()))
    assert min(found) == pytest.approx(doubt(2, 4) - torch.tensor(4.0).log().item(), abs=1e-3)
