from __future__ import annotations

import numpy as np
import pytest
import torch

from selfsight.batch import Batch, Now
from selfsight.codes import Refresh
from selfsight.corruptions import Decolour, Jpeg
from selfsight.encoders import Small
from selfsight.findings import doubts, plain_findings, renewed
from selfsight.policy import Policy
from selfsight.recipe import Recipe, to_json
from selfsight.restorers import CamNet
from selfsight.run import Run
from selfsight.seeds import generator
from selfsight.selection import Selection
from selfsight.task import Model
from selfsight.tasks import Restore, SimCLR
from selfsight.views import LearnedViews


@pytest.fixture
def run(tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    made = Run(tmp_path)
    made.write("plan", {"constant": 4.0, "constant_is_optimal": False})
    return made


def told(run, losses, low=0.6, across=0):
    for step, loss in enumerate(losses, 1):
        run.append("series", {"step": step, "loss": loss})
    run.append(
        "probes", {"step": 1, "name": "kNN accuracy", "value": 0.65, "low": low, "high": 0.7, "n": 50, "untrained": 0.5}
    )
    return {finding["code"] for finding in plain_findings(run, across)}


def test_a_healthy_run_has_none(run):
    assert told(run, [4.2] * 30 + [3.0] * 30) == set()


def test_a_loss_at_the_constant_is_found_however_it_began(run):
    assert told(run, [9.0] * 30 + [4.001] * 30) == {"L001"}


def test_where_a_constant_is_the_best_answer_the_loss_says_nothing(run):
    run.write("plan", {"constant": 0.0, "constant_is_optimal": True})
    assert told(run, [3.0] * 30) == set()


def test_a_probe_that_is_no_better_and_shared_images_are_found(run):
    assert told(run, [1.0] * 30, low=0.45, across=3) == {"R001", "D001"}


def test_an_empty_run_has_none(run):
    assert plain_findings(run, 0) == []


def codes(run):
    """Of findings about restorers and policies."""
    return {finding["code"] for finding in plain_findings(run, 0)} - {"L001"}


def restored(run, photographs, sick="", ways=True, steps=30, judged=False, codes_tried=4, **settings):
    """A short training of the smallest restorer, healthy or made sick, told in the run's series; judged: told by other
    images alone, once it has ended."""
    task = Restore(restorer=CamNet(width=8, ways=ways), selection=Selection(codes=(codes_tried,)), **settings)
    (run.path / "data").mkdir()
    run.write("recipe", to_json(Recipe(data=str(run.path / "data"), task=task)))
    torch.manual_seed(0)
    encoder = Small(width=8).build(3, 32)
    model = Model(encoder, task.parts(encoder))
    stack = model.parts["restorer"]
    code, level = stack.code, stack.level
    if sick == "codes ignored":
        stack.code = lambda l, seeds: torch.zeros_like(code(l, seeds))
    if sick == "noise":
        stack.level = lambda *given: noisy(*level(*given))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    batch = Batch(torch.from_numpy(photographs[:16]).permute(0, 3, 1, 2), torch.arange(16))
    for step in range(steps):
        example = task.prepare(batch, Now(step, steps, generator("restored", step)))
        outcome = task.loss(task.predict(model, example), example)
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
        measures = {name: float(value) for name, value in outcome.measures.items()}
        if not judged:
            run.append("series", {"step": step + 1, "loss": float(outcome.loss.detach()), **measures})
    if judged:
        others = torch.from_numpy(photographs[16:48]).permute(0, 3, 1, 2)
        rows = task.judged(model.eval(), others).items()
        run.write("scores", {"answers": [{"name": name, "train": None, "val": value} for name, value in rows]})
    return codes(run)


def noisy(answers, state):
    return 0 * answers + torch.rand(answers.shape, generator=generator("noise", answers.shape[0])), state


def test_a_healthy_restorer_has_none(run, photographs):
    assert restored(run, photographs) == set()


def test_codes_that_are_ignored_are_found(run, photographs):
    assert restored(run, photographs, "codes ignored", steps=22) == {"G001"}


def test_noise_for_answers_is_found(run, photographs):
    assert restored(run, photographs, "noise", steps=20) == {"G002"}


def test_nothing_to_restore_is_found_and_nothing_else_said(run, photographs):
    gray = np.repeat(photographs.mean(3, keepdims=True).round().astype(np.uint8), 3, 3)
    assert restored(run, gray, corruption=Decolour(), steps=20) == {"G003"}
    losses = [line["loss"] for line in run.lines("series")]
    assert max(losses) < 20_000  # 11,000 in the first step; without a floor to the unit ten times as much


def test_of_one_code_comes_one_answer_and_it_is_found_on_other_images(run, photographs):
    assert restored(run, photographs, judged=True, codes_tried=1, steps=150) == {"G001"}
    (found,) = [one for one in plain_findings(run, 0) if one["code"] == "G001"]
    assert found["sentence"].startswith("On images it did not learn from two answers lie 0.")
    run.write("findings", [found])
    assert doubts(run) == [f"G001: {found['sentence']} {found['cure']}"]


def test_what_a_run_said_of_itself_before_is_said_anew_or_not_at_all(run):
    before = [
        {"code": "G001", "sentence": "All are one.", "cure": ""},
        {"code": "L310", "sentence": "Twice.", "cure": ""},
    ]
    run.write("findings", before)
    assert [one["code"] for one in renewed(run, 0)] == ["L310"]
    assert [one["code"] for one in renewed(run, 3)] == ["L310", "D001"]


def test_noise_is_found_on_other_images(run, photographs):
    assert restored(run, photographs, "noise", steps=2, judged=True) == {"G001", "G002"}  # the same noise for all codes


def test_answers_that_are_worse_than_none_are_found(run, photographs):
    """An untrained restorer's answers to what lacks next to nothing."""
    assert restored(run, photographs, judged=True, steps=0, corruption=Jpeg()) == {"G004"}
    (found,) = [one for one in plain_findings(run, 0) if one["code"] == "G004"]
    assert found["sentence"].startswith("On images it did not learn from even the nearest of 8 answers is ")


@pytest.mark.parametrize(("ways", "remember"), [(True, None), (True, Refresh()), (False, None)])
def test_what_is_healthy_on_other_images_has_none(run, photographs, ways, remember):
    assert restored(run, photographs, ways=ways, judged=True, remember=remember) == set()
    assert doubts(run) == []


def test_a_restorer_of_one_answer_on_purpose_has_none(run, photographs):
    assert restored(run, photographs, ways=False, steps=22) == set()


def chosen(run, pays, reward="progress", budget=0.4, rate=0.2, steps=120, least=0.0):
    """A policy of four actions whose reward is made by hand, told in the run's series."""
    (run.path / "data").mkdir()
    source = LearnedViews(reward=reward, budget=budget)
    run.write("recipe", to_json(Recipe(data=str(run.path / "data"), task=SimCLR(views=source))))
    torch.manual_seed(0)
    agent = Policy(3, 4, rate, budget)
    costs = torch.tensor([0.1, 0.2, 0.3, 0.6]).clamp(min=least).expand(64, 4)
    for step in range(steps):
        draws = generator("chosen", step)
        bright = (torch.arange(64) % 2)[:, None, None, None]
        images = 0.3 * torch.rand(64, 3, 4, 4, generator=draws) + 0.7 * bright
        action = agent.choose(images, costs, torch.rand(64, generator=draws))
        told = {
            "removed": float(costs.gather(1, action[:, None]).mean()),
            "most frequent choice": float(action.bincount().max() / 64),
            "evenness": float(agent.evenness(images).mean()),
        }
        run.append("series", {"step": step + 1, "loss": 1.0, **told})
        agent.learn(images, action, pays(bright[:, 0, 0, 0], action, draws), costs)
    return codes(run)


def test_a_policy_that_looks_at_the_image_has_none(run):
    assert chosen(run, lambda bright, action, draws: (action == bright).float(), rate=1.0) == set()


def test_a_policy_at_its_bound_is_found(run):
    assert chosen(run, lambda bright, action, draws: (action == 1).float(), rate=1.0) == {"P001"}


def test_a_reward_without_signal_is_found_unless_it_is_meant(run, tmp_path):
    def noise(bright, action, draws):
        return torch.randn((), generator=draws)

    assert chosen(run, noise, rate=0.05) == {"P002"}
    run.write("recipe", {"task": {"views": {"reward": "none"}}})
    assert codes(run) == set()


def test_a_budget_that_cannot_be_held_is_found(run):
    assert chosen(run, lambda bright, action, draws: (action == bright).float(), "loss", 0.1, 1.0, least=0.2) == {
        "P003"
    }


def test_a_policy_is_not_judged_before_it_has_tried(run):
    assert chosen(run, lambda bright, action, draws: torch.zeros(()), steps=50) == set()


def test_a_policy_among_several_tasks_is_judged_as_well(run):
    assert chosen(run, lambda bright, action, draws: (action == 1).float(), rate=1.0) == {"P001"}
    alone = run.lines("series")
    recipe = run.json("recipe")
    (run.path / "series.jsonl").unlink()
    for line in alone:  # in turns: every other step is another task's
        own = {f"SimCLR {name}": value for name, value in line.items() if name not in ("step", "loss")}
        run.append("series", {"step": 2 * line["step"] - 1, "loss": 1.0, "Rotation right": 0.5})
        run.append("series", {"step": 2 * line["step"], "loss": 1.0, **own})
    rotation = {"class_path": "Rotation", "init_args": {}}
    run.write("recipe", {"task": {"class_path": "Together", "init_args": {"tasks": [rotation, recipe["task"]]}}})
    assert codes(run) == {"P001"}
