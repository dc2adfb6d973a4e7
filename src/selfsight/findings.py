"""What a run's own numbers already say against it, without looking any further.

Kept in findings.json: each with a code, a grade (NOTE: worth knowing, no alarm), one sentence and a cure. Torch-free.
"""

from __future__ import annotations

from typing import Any

from selfsight.run import Run

NEAREST, RANDOM, APART = (
    "distance of the nearest of 8 answers",
    "distance of a random answer",
    "distance between two answers",
)
"""Of a trained restorer, in units of the distance of what was left: what scores.json says under "answers"."""
DOUBTS = ("G001", "G002", "G003", "G004")
"""Codes of findings that a restorer's answers are not to be used."""
POLICIES = ("P001", "P002", "P003")
"""Codes of findings that a policy chose nothing worth its name, or over its budget."""
PLAIN = ("L001", "R001", "D001", *DOUBTS, *POLICIES)
"""All codes of this file."""
LATE = 20
"""Steps at the end that the loss is averaged over."""
ALIKE = 0.01
"""The nearest of a picture's answers is nearer than their mean by a smaller share. Where codes reach nothing it is 0
but for rounding; after 30 steps of the smallest restorer with 4 codes, on photographs of 32 pixels, it was 0.13."""
ONE = 0.01
"""Distance between two answers in units of that of what was left. Trained on one code for 400 steps, which leads to one
answer, it was 0.0004 to 0.0047; on five and eight, 0.039 and more (benchmarks/results/restore.json);
four times smaller and with softer codes, on eight, 0.031 and more (restore_x4.json), untrained 0.042."""
NOTHING = 0.001
"""Share of a picture that is removed, in the mean of LATE steps: gray pictures lose none of it with their colour."""
NOISE = 5.0
"""Distance of a random answer in units of that of what was left. An untrained restorer's was at 2; of all that were
trained, for few steps with 50 codes on colour, the worst at 3.0."""
ANOTHERS = 2.0
"""Distance of a random answer in units of the usual change's. What is drawn from all that could be true is at most
twice as far as their mean; that restorer's was at 1.5, and answers of noise above 40."""
EVEN, BOUND, MOST = 0.98, 0.2, 0.8
"""Evenness of a policy's choices: 150 steps of a reward of noise left it above 0.98; where log-odds are at their bound
it is 0.07 of ten actions and 0.04 of four. A tenth of choices is random, so that the most frequent has about 0.9."""
OVER = 0.02
"""What is removed may exceed the budget by so much in the mean of LATE steps: choices are drawn, and corruptions of 32
pixels deviate by 0.16, so that the mean of 20 batches of 64 deviates by 0.005."""
TRIED = 100
"""Steps before which a policy is not judged."""


def plain_findings(run: Run, across: int) -> list[dict[str, Any]]:
    """Findings of a run that has ended. across: groups of equal images that lie in different splits."""
    if nothing := _nothing_taken(run):  # then no distance says anything
        found = [nothing, _no_better(run), _shared(across)]
    else:
        found = [
            _constant_answer(run),
            _no_better(run),
            _shared(across),
            *_restorer(run),
            *_answers(run),
            *_policy(run),
        ]
    return list({finding["code"]: finding for finding in found if finding}.values())


def renewed(run: Run, across: int) -> list[dict[str, Any]]:
    """What the doctor has found, and what a run that has ended says of itself now, in place of what it said before."""
    kept = [one for one in run.json("findings") or [] if not (one and one.get("code") in PLAIN)]
    return [*kept, *plain_findings(run, across)]


def doubts(run: Run) -> list[str]:
    """Sentences on why a restorer's answers are not to be used; none of a healthy one."""
    found = run.json("findings") or []
    return [f"{one['code']}: {one['sentence']} {one['cure']}" for one in found if one and one.get("code") in DOUBTS]


def _constant_answer(run: Run) -> dict[str, Any] | None:
    """The loss has not come below that of the best constant answer."""
    plan, losses = run.json("plan"), [line["loss"] for line in run.lines("series")][-LATE:]
    if not losses or plan.get("constant_is_optimal"):
        return None
    late = sum(losses) / len(losses)
    if late < plan["constant"]:
        return None
    constant = f"the best constant answer's {plan['constant']:.3f}"
    sentence = f"The loss of the last {len(losses)} steps is {late:.3f}, not below {constant}."
    cure = "Train longer; if it stays there, look at `selfsight show`: can these pictures answer the question?"
    return _finding("L001", sentence + " So far the network answers the same to every image, or worse.", cure)


def _no_better(run: Run) -> dict[str, Any] | None:
    """The running probe's interval does not lie above the untrained encoder's value."""
    last = [line for line in run.lines("probes") if line["name"] == "kNN accuracy"][-1:]
    if not last or last[0]["untrained"] is None or last[0]["low"] > last[0]["untrained"]:
        return None
    value, low, high, before = (last[0][key] for key in ("value", "low", "high", "untrained"))
    said = f"{value:.1%} [{low:.1%}, {high:.1%}]"
    sentence = f"The running kNN accuracy, {said}, is not conclusively above the untrained encoder's {before:.1%}."
    return _finding("R001", sentence, "Train longer, or choose views that keep what tells your classes apart.")


def _late(run: Run, *names: str) -> dict[str, float]:
    """Means over the last LATE steps that tell all of these, or of which one of several tasks does ("SimCLR removed");
    empty where there are fewer."""
    rows = ({name: _told(line, name) for name in names} for line in run.lines("series"))
    lines = [row for row in rows if None not in row.values()][-LATE:]
    return {name: sum(row[name] or 0 for row in lines) / LATE for name in names} if len(lines) == LATE else {}


def _told(line: dict[str, Any], name: str) -> float | None:
    return next((value for key, value in line.items() if key == name or key.endswith(f" {name}")), None)


def _answers(run: Run) -> list[dict[str, Any]]:
    """The same of a trained restorer, on images of validation where there are any, however its codes were chosen."""
    rows = {row["name"]: row for row in (run.json("scores") or {}).get("answers", [])}
    if NEAREST not in rows:
        return []
    where = "train" if rows[NEAREST].get("val") is None else "val"
    usual, apart = (rows[name][where] for name in (RANDOM, APART))
    on = "On images it did not learn from" if where == "val" else "On images it learned from"
    found = []
    if apart < ONE:
        found.append(_one(f"{on} two answers lie {apart:.1%} as far apart as what was left lies from the truth"))
    if usual > NOISE:
        found.append(_noise(f"{on} a random answer is {usual:.1f} times as far from the truth as what was left"))
    nearest = rows[NEAREST][where]
    if nearest >= 1 and usual <= NOISE:  # of noise it goes without saying
        sentence = f"{on} even the nearest of 8 answers is {nearest:.2f} times as far from the truth as what was left."
        cure = "Train longer, or take more away: as it is, answers are worse than no answer."
        found.append(_finding("G004", sentence, cure))
    return found


def _restorer(run: Run) -> list[dict[str, Any]]:
    """A restorer's answers are one, or noise. Where codes are remembered few steps try any, and nothing is said."""
    task, late = _settings((run.json("recipe") or {}).get("task")), _late(run, "loss", "differ", "tried")
    selection = {"codes": [8], "radius": 0, **_settings(task.get("selection"))}
    if "tasks" in task:  # the loss is that of all: only answers are judged
        return []
    if not late or late["tried"] < 1 or max(selection["codes"]) < 2 or selection["radius"]:
        return []
    if _settings(task.get("restorer")).get("ways") is False:  # the regression twin, on purpose
        return []
    found, typical = [], late["loss"] / max(1e-6, 1 - late["differ"])
    if late["differ"] < ALIKE:
        found.append(_one(f"The nearest of a picture's answers is {late['differ']:.1%} nearer than their mean"))
    if typical > ANOTHERS:
        found.append(
            _noise(f"A random answer is {typical:.1f} times as far from the truth as the usual change would be")
        )
    return found


def _nothing_taken(run: Run) -> dict[str, Any] | None:
    """A restorer had nothing to restore."""
    task, late = _settings((run.json("recipe") or {}).get("task")), _late(run, "explained", "differ", "removed")
    if "tasks" in task or not late or late["removed"] >= NOTHING:
        return None
    sentence = f"The corruption took {late['removed']:.1%} of these pictures away: there was nothing to restore."
    cure = (
        "Colour can be taken from pictures in colour alone, detail from such as have it: choose another --corruption."
    )
    return _finding("G003", sentence, cure)


def _one(sentence: str) -> dict[str, Any]:
    cure = "Train longer or draw more codes (--task.selection.codes); or take more away, so that more can be right."
    return _finding("G001", sentence + ": codes are ignored, one answer to all of them.", cure)


def _noise(sentence: str) -> dict[str, Any]:
    cure = "Train longer, or draw fewer codes: of very many, one is near by chance."
    return _finding("G002", sentence + ": noise, of which the nearest is chosen.", cure)


def _policy(run: Run) -> list[dict[str, Any]]:
    """A policy that chooses what is taken away, or the answer, is at its bound, learned nothing, or is over budget."""
    late = _late(run, "evenness", "removed", "most frequent choice")
    if not late or len(run.lines("series")) < TRIED:
        return []
    task = _settings((run.json("recipe") or {}).get("task"))
    asked = (_settings(_settings(one).get("views")) for one in task.get("tasks", [task]))
    views = next((one for one in asked if "reward" in one), {})
    found, most, budget = [], late["most frequent choice"], views.get("budget", 1.0)
    if late["evenness"] < BOUND and most > MOST:
        cure = "Lower --task.views.rate, or take what it chooses out of --task.views.actions."
        found.append(_finding("P001", f"The policy is at its bound: {most:.0%} of images are treated alike.", cure))
    if late["evenness"] > EVEN and views.get("reward") != "none":
        sentence = (
            f"The policy's choices are as even as they began ({late['evenness']:.1%}): its reward told it nothing."
        )
        cure = "Train longer or raise --task.views.rate; with reward none the same costs less."
        found.append(_finding("P002", sentence, cure))
    if late["removed"] > budget + OVER:  # a policy of codes has no budget, and so one of 1
        sentence = (
            f"{late['removed']:.0%} of a picture is removed and the budget is {budget:.0%}: no action takes so little."
        )
        cure = "Add a milder corruption to --task.views.actions, or raise --task.views.budget."
        found.append(_finding("P003", sentence, cure))
    return found


def _settings(described: Any) -> dict[str, Any]:
    """The fields of what a recipe's JSON describes, whether its class is named or not."""
    found = described or {}
    return dict(found.get("init_args", found))


def _shared(across: int) -> dict[str, Any] | None:
    """The same picture is learned from and asked about."""
    if not across:
        return None
    sentence = (
        f"{across} images are there in more than one split, byte for byte: scores on val are too good by as much."
    )
    return _finding("D001", sentence, "Remove them from one of the splits; duplicates.csv names them.")


def _finding(code: str, sentence: str, cure: str) -> dict[str, Any]:
    return {"code": code, "grade": "NOTE", "sentence": sentence, "cure": cure}
