"""From findings to a cause: what explains the others comes first."""

from __future__ import annotations

from selfsight.check import Finding, Grade

GRADES = {Grade.PROVEN: 0, Grade.MEASURED: 1, Grade.NOTE: 2}
SYMPTOMS = {"B801", "B802", "L308", "R701", "R703"}
"""The checks that tell how a fault shows, or in which part it lies, and not what it is."""

FOLLOWS = {
    "nothing-to-learn": {
        "ignores-targets",
        "mixes-examples",
        "teacher-is-student",
        "teacher-gets-gradient",
        "no-stop-gradient",
    },
    "target-constant": {"one-batch-forever", "sorted-batches"},
}
"""What is only the consequence of another cause that was found: a loss that reads no targets leaves nothing to learn,
nor does one that may draw both of its sides to one point, and batches that never change have constant targets."""


def ranked(findings: list[Finding]) -> list[Finding]:
    """Alarms before notes, causes before symptoms, proven before measured; each cause once.

    Where a swap restored the fit, causes in the component that was swapped out come before the rest: an intervention
    says more on what matters than a counter-example that may be harmless. Labels that cannot be learned are then a
    symptom: a frozen batch can be fitted whatever its labels.
    """
    causes = {finding.cause for finding in findings if finding.alarms}
    swapped = {finding.component for finding in findings if finding.code == "B802" and finding.alarms}

    def order(item: tuple[int, Finding]) -> tuple[bool, bool, bool, bool, int, int]:
        number, finding = item
        elsewhere = bool(swapped) and finding.component not in swapped
        symptom = finding.code in SYMPTOMS or (elsewhere and finding.cause == "labels-unrelated")
        follows = bool(FOLLOWS.get(finding.cause, set()) & causes)
        return not finding.alarms, symptom, follows, elsewhere, GRADES[finding.grade], number

    kept, seen = list[Finding](), set[tuple[str, str, str]]()
    for _, finding in sorted(enumerate(findings), key=order):
        key = (finding.component, finding.cause, str(finding.place.name))
        if key not in seen:
            seen.add(key)
            kept.append(finding)
    return kept
