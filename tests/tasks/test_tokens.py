"""How many tokens a step asks for."""

import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.seeds import generator
from selfsight.spellers import Bands, Recurrent
from selfsight.tasks import Tokens


def asked(lengths: str, step: int, n: int = 12, tokens: int = 6) -> torch.Tensor:
    images = torch.zeros(n, 3, 16, 16, dtype=torch.uint8)
    task = Tokens(lengths=lengths, speller=Recurrent(tokens=tokens))
    example = task.prepare(Batch(images, torch.arange(n)), Now(step, 100, generator("asked", step)))
    return example.extras["counts"]


def test_nested_asks_for_every_number_as_often():
    assert torch.bincount(asked("nested", 3)).tolist() == [0, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("lengths", ["uniform", "folded", "one"])
def test_the_others_ask_one_number_of_a_batch(lengths):
    counts = [asked(lengths, step) for step in range(100)]
    assert all(len(set(one.tolist())) == 1 for one in counts)
    numbers = torch.tensor([int(one[0]) for one in counts])
    assert numbers.min() >= 1 and numbers.max() <= 6
    if lengths == "one":
        assert numbers.max() == 1
    elif lengths == "uniform":
        assert set(numbers.tolist()) == {1, 2, 3, 4, 5, 6}
    else:  # few at first, nearly all from the middle on
        assert numbers[:10].float().mean() < 2.5 < 4.5 < numbers[60:].float().mean()


def test_the_default_speller_reads_any_beginning():
    assert isinstance(Tokens().speller, Bands)
