"""Recall and average precision against scikit-learn and a slow restatement."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from selfsight.maths.nearest import unit
from selfsight.maths.ranking import rank_relevant


def test_same_as_scikit_learn_and_as_sorting() -> None:
    features = unit(torch.randn(60, 4, generator=torch.Generator().manual_seed(0)))
    labels = np.arange(60) % 7
    found, precision = rank_relevant(features, labels, (1, 5))
    for query in range(60):
        others = np.delete(np.arange(60), query)
        similarity = (features[others] @ features[query]).numpy()
        relevant = labels[others] == labels[query]
        ranked = relevant[np.argsort(-similarity)]
        assert precision[query] == pytest.approx(average_precision_score(relevant, similarity), abs=1e-6)
        assert found[query].tolist() == [float(ranked[:1].any()), float(ranked[:5].any())]


def test_a_query_without_relevant_images_is_not_a_number() -> None:
    found, precision = rank_relevant(unit(torch.eye(3)), np.array([0, 0, 1]), (1,))
    assert np.isnan(precision).tolist() == [False, False, True]
    assert np.isnan(found[:, 0]).tolist() == [False, False, True]


def test_a_constant_embedding_earns_no_more_than_chance() -> None:
    """Sorted by class, the worst case for ties that would go by place."""
    labels = np.repeat(np.arange(5), 20)
    found, precision = rank_relevant(unit(torch.ones(100, 3)), labels, (1, 5))
    assert np.nanmean(found) == 0
    assert np.nanmean(precision) <= 19 / 99
