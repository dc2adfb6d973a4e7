"""How often is the doctor right? Faulty, doubly faulty, healthy and odd programs are examined, beside rival rules.

    python benchmarks/doctor.py --out FILE [--quick] [--hosts classifier simclr ...] [--jobs 2] [--work FOLDER]

Only faults that are proven harmful on their host count (see `doctor_programs/killed.py`); survivors are listed as
latent. Every examination is kept in FOLDER as it ends, and a second call goes on where the first stopped.
"""

from __future__ import annotations

from pathlib import Path

from doctor_examinations.examining import examined, subjects
from doctor_examinations.tally import claims, rows_of
from record import conclude, parser

QUICK_HOSTS = ("classifier",)
KILLED = Path(__file__).parent / "results" / "killed.jsonl"
"""What `python -m doctor_programs.killed` found; taken where FOLDER holds no newer killed.jsonl."""


def main() -> None:
    """The command line."""
    from doctor_programs.hosts import CORE, HOSTS

    made = parser(__doc__)
    made.add_argument("--hosts", nargs="+", choices=[host.name for host in HOSTS], metavar="HOST")
    made.add_argument("--jobs", type=int, default=1, help="processes at once")
    made.add_argument("--work", type=Path, default=Path("runs/doctor"), help="where results are kept as they come")
    given = made.parse_args()
    names = given.hosts or (QUICK_HOSTS if given.quick else [host.name for host in CORE])
    hosts = [host for host in HOSTS if host.name in names]
    found = examined(subjects(hosts, given.quick), given.work, given.jobs)
    own = given.work / "killed.jsonl"
    rows = rows_of(found, own if own.exists() else KILLED)
    conclude("doctor", claims(rows), rows, given.out)


if __name__ == "__main__":
    main()
