"""The probes, one per file. Each asks in its own way what a representation is worth."""

from selfsight.probes.clustering import Clustering
from selfsight.probes.fewshot import FewShot
from selfsight.probes.finetune import FineTune
from selfsight.probes.knn import KNN
from selfsight.probes.logistic import Logistic
from selfsight.probes.note import ProbeNote
from selfsight.probes.retrieval import Retrieval

__all__ = ["KNN", "Clustering", "FewShot", "FineTune", "Logistic", "ProbeNote", "Retrieval"]
