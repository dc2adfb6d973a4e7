"""Every check the doctor has, one file each, in the order in which they are asked: from the data to what came of it."""

from __future__ import annotations

from selfsight.check import Check
from selfsight.checks.activation_twice import ActivationTwice
from selfsight.checks.answer_range import AnswerRange
from selfsight.checks.batch_variety import BatchVariety
from selfsight.checks.collapse import Collapse
from selfsight.checks.constant_answer import ConstantAnswer
from selfsight.checks.criterion_contract import CriterionContract
from selfsight.checks.degenerate_optimum import DegenerateOptimum
from selfsight.checks.downhill import Downhill
from selfsight.checks.faded_rate import FadedRate
from selfsight.checks.fresh_randomness import FreshRandomness
from selfsight.checks.frozen_batch import FrozenBatch
from selfsight.checks.gradient_accounting import GradientAccounting
from selfsight.checks.ignored_input import IgnoredInput
from selfsight.checks.ignored_targets import IgnoredTargets
from selfsight.checks.index_contract import IndexContract
from selfsight.checks.label_map import LabelMap
from selfsight.checks.loss_invariances import LossInvariances
from selfsight.checks.masks import Masks
from selfsight.checks.mixed_examples import MixedExamples
from selfsight.checks.modes import Modes
from selfsight.checks.other_rate import OtherRate
from selfsight.checks.pair_signs import PairSigns
from selfsight.checks.paired_views import PairedViews
from selfsight.checks.reachable_loss import ReachableLoss
from selfsight.checks.repeated_input import RepeatedInput
from selfsight.checks.same_batch import SameBatch
from selfsight.checks.same_seed import SameSeed
from selfsight.checks.shape_honesty import ShapeHonesty
from selfsight.checks.shortcut import Shortcut
from selfsight.checks.signal_depth import SignalDepth
from selfsight.checks.step_landed import StepLanded
from selfsight.checks.step_size import StepSize
from selfsight.checks.swapped_component import SwappedComponent
from selfsight.checks.targets import Targets
from selfsight.checks.teacher import Teacher
from selfsight.checks.term_balance import TermBalance
from selfsight.checks.turned_masks import TurnedMasks
from selfsight.checks.unrelated_labels import UnrelatedLabels
from selfsight.checks.what_it_sees import WhatItSees
from selfsight.checks.who_moves import WhoMoves

CHECKS: tuple[Check, ...] = (
    IndexContract(),
    WhatItSees(),
    FreshRandomness(),
    PairedViews(),
    BatchVariety(),
    TurnedMasks(),
    LabelMap(),
    Targets(),
    RepeatedInput(),
    MixedExamples(),
    IgnoredInput(),
    ShapeHonesty(),
    SignalDepth(),
    Modes(),
    ReachableLoss(),
    CriterionContract(),
    LossInvariances(),
    Downhill(),
    PairSigns(),
    TermBalance(),
    IgnoredTargets(),
    ConstantAnswer(),
    DegenerateOptimum(),
    ActivationTwice(),
    AnswerRange(),
    WhoMoves(),
    StepLanded(),
    StepSize(),
    FadedRate(),
    GradientAccounting(),
    SameBatch(),
    Teacher(),
    Collapse(),
    Masks(),
    Shortcut(),
    FrozenBatch(),
    SwappedComponent(),
    OtherRate(),
    UnrelatedLabels(),
    SameSeed(),
)

__all__ = ["CHECKS"]
