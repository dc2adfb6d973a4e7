"""The command line. Thin: each command reads its words, calls the function of the same name and prints what it gave.

Nothing heavy is imported before a command is known, so that `selfsight --help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from selfsight import __version__
from selfsight.errors import UserError, nearest

Words = list[str]
UNHEALTHY, FAILED, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and leaves with its exit code: 0 done, 2 input that cannot be used, 130 Ctrl+C."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        sys.exit(run(words))
    except UserError as error:
        if debug:
            raise
        print(f"selfsight: {error}", file=sys.stderr)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        if debug:
            raise
        print("selfsight: stopped; nothing was left half-written.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def run(words: Words) -> int:
    """One command -> its exit code."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] == "--version":
        print(f"selfsight {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        raise UserError(f"There is no command {name!r}{nearest(name, COMMANDS)}. `selfsight --help` lists them.")
    sys.path.insert(0, os.getcwd())  # so that --task my_file.MyTask is found
    return COMMANDS[name][1](rest)


def overview() -> str:
    """What `selfsight --help` prints."""
    lines = "\n".join(f"  {name:<16}{summary}" for name, (summary, _) in COMMANDS.items())
    return (
        "usage: selfsight COMMAND ...\n\nSelf-supervised vision you can trust, on the machine you have.\n\n"
        f"{lines}\n\n`selfsight COMMAND --help` tells its settings; --debug shows the traceback of an error."
    )


def pretrain(words: Words) -> int:
    from selfsight.config import parse, recipe_of, recipe_parser

    parser = recipe_parser()
    parser.prog = "selfsight pretrain"
    parser.usage = "selfsight pretrain IMAGES [--task NAME] [--encoder NAME] [--minutes M] [--out RUN] [--strict] ..."
    parser.add_argument("--out", type=str, default=None, help="The run's folder; runs/<time>_<task> where not given.")
    parser.epilog = (
        "--strict stops at what the doctor finds before the training or in its first minute (exit code 1). --views "
        "generated --restorer RUN gives SimCLR, BYOL and VICReg what a run of Restore imagines."
    )
    strict = "--strict" in words  # no setting of the run: a configuration that is written down does not hold it
    settings = parse(parser, images_first([word for word in words if word != "--strict"]))
    out = settings.pop("out")
    from selfsight.workbench import pretrain as start

    return _training(lambda: start(recipe=recipe_of(settings, parser), out=out, doctor="strict" if strict else "on"))


def resume(words: Words) -> int:
    parser = _parser("resume", "Go on with a run exactly where it stopped.")
    parser.add_argument("run", help="the run's folder")
    given = parser.parse_args(words)
    from selfsight.workbench import resume as go_on

    return _training(lambda: go_on(given.run))


def _training(go: Callable[[], Any]) -> int:
    from selfsight.workbench import Stopped, Unhealthy

    try:
        go()
    except Unhealthy as found:
        print(f"Stopped, as --strict asks. More on it: selfsight doctor {found.run.path}", file=sys.stderr)
        return UNHEALTHY
    except Stopped as stopped:
        print(f"Stopped and saved. Go on by: selfsight resume {stopped.run.path}", file=sys.stderr)
        return INTERRUPTED
    return 0


def evaluate(words: Words) -> int:
    from selfsight.examination import PROBES

    parser = _parser("evaluate", "Judge a run's encoder on labelled images, beside honest baselines.")
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--data", help="labelled images; the run's own where not given")
    parser.add_argument(
        "--probes", default="knn,linear", help=f"comma-separated, of: {', '.join(PROBES)} (default: knn,linear)"
    )
    parser.add_argument("--supervised", action="store_true", help="also train the same encoder on labels, from scratch")
    parser.add_argument("--tokens", action="store_true", help="also judge beginnings of a spelling, and tokens alone")
    parser.add_argument("--within-val", action="store_true", help="limit answers to the classes that validation holds")
    parser.add_argument("--balanced", action="store_true", help="weigh the classes alike when fitting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    given = parser.parse_args(words)
    from selfsight.examination import chosen, print_evaluation
    from selfsight.verbs import evaluate as judge

    probes = chosen(given.probes, within_val=given.within_val, balanced=given.balanced)
    asked = {"supervised": given.supervised, "tokens": given.tokens, "seed": given.seed}
    evaluation = judge(given.run, given.data, probes=probes, **asked)
    print_evaluation(evaluation, as_json=given.json)
    return 0


def transfer(words: Words) -> int:
    parser = _parser("transfer", "Fine-tune a run's encoder on train and judge it on val, as ImageWang's rules ask.")
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--data", help="labelled images with train and val; the run's own where not given")
    parser.add_argument("--epochs", default="", help="comma-separated (default: 5,20,80,200)")
    parser.add_argument("--minutes", default="", help="of training instead of epochs, or beside them; comma-separated")
    parser.add_argument("--supervised", action="store_true", help="also train the same encoder from scratch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    given = parser.parse_args(words)
    from selfsight.examination import numbers, print_evaluation
    from selfsight.verbs import transfer as tune

    epochs, minutes = numbers("--epochs", given.epochs, int), numbers("--minutes", given.minutes, float)
    beside = {"supervised": given.supervised, "seed": given.seed}
    evaluation = tune(given.run, given.data, epochs=epochs, minutes=minutes, **beside)
    print_evaluation(evaluation, as_json=given.json)
    return 0


def restore(words: Words) -> int:
    parser = _parser("restore", "Take from pictures what a run's corruption takes, and show several answers to that.")
    parser.add_argument("run", help="a run of --task Restore")
    parser.add_argument("images", nargs="+", help="image files, or folders of them")
    parser.add_argument("--ways", type=int, default=6, help="answers to each picture (default: 6)")
    parser.add_argument("--out", help="the page; RUN/restored.html where not given")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    from selfsight.restoring import restore as several

    print(several(given.run, given.images, ways=given.ways, out=given.out, seed=given.seed))
    return 0


def imagine(words: Words) -> int:
    from selfsight.short import corruptions_asked

    parser = _parser("imagine", "Answer several ways to what is left of every image, and keep the answers as views.")
    parser.add_argument("run", help="a run of --task Restore")
    parser.add_argument("data", help="the images")
    parser.add_argument("--answers", type=int, default=4, help="to each image (default: 4)")
    parser.add_argument("--out", default="answers.store", help="the folder (default: answers.store)")
    parser.add_argument("--through", help="a run whose encoder judges them; the restorer's own where not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.epilog = "--corruption NAMES takes something else from the images than the run's own corruption."
    corruptions, rest = corruptions_asked(words)
    given = parser.parse_args(rest)
    if len(corruptions) > 1:
        raise UserError("imagine takes one corruption; join several by +: --corruption decolour+downsample.")
    from selfsight.imagining import imagine as several

    taken = corruptions[0] if corruptions else None
    settings = {"answers": given.answers, "through": given.through, "seed": given.seed}
    print(several(given.run, given.data, out=given.out, corruption=taken, **settings))
    return 0


def tokens(words: Words) -> int:
    parser = _parser("tokens", "Spell pictures out token by token, and show what is read of any beginning.")
    parser.add_argument("run", help="a run of --task Tokens")
    parser.add_argument("images", nargs="+", help="image files, or folders of them")
    parser.add_argument("--threshold", type=float, default=0.003, help="squared error to reach (default: 0.003)")
    parser.add_argument("--count", type=int, help="as many tokens for every picture instead")
    parser.add_argument("--quick", action="store_true", help="foresee in one look how many are needed, do not search")
    parser.add_argument("--step", type=float, default=0.1, help="what numbers are rounded to for bits (default: 0.1)")
    parser.add_argument("--out", help="the page; RUN/tokens.html where not given")
    given = parser.parse_args(words)
    from selfsight.spellingout import tokens as spell

    settings = {name: getattr(given, name) for name in ("threshold", "count", "quick", "step", "out")}
    print(spell(given.run, given.images, **settings))
    return 0


def decompose(words: Words) -> int:
    parser = _parser("decompose", "Take pictures apart by a run's masks, and show them.")
    parser.add_argument("run", help="a run of --task Decompose or Saliency")
    parser.add_argument("data", nargs="?", help="the images; the run's own where not given")
    parser.add_argument("--out", help="the page; RUN/masks.html where not given")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    from selfsight.decomposing import decompose as apart

    print(apart(given.run, given.data, out=given.out, seed=given.seed))
    return 0


def show(words: Words) -> int:
    from selfsight.config import parse, recipe_of, recipe_parser
    from selfsight.short import corruptions_asked

    parser = recipe_parser()
    parser.prog = "selfsight show"
    parser.usage = "selfsight show --data IMAGES --task NAME | --corruption NAMES [--out PICTURE.png] ..."
    parser.add_argument("--out", type=str, default=None, help="The picture; <task>.png where not given.")
    parser.epilog = (
        "--corruption blur,decolour+downsample draws what corruptions leave of the images: commas part columns, + "
        'joins them, settings follow: --corruption blur --corruption.sigma "[0.1, 0.2]".'
    )
    words = images_first(words)
    corruptions = list[Any]()
    if not any(word.partition("=")[0] in ("--task", "--views") for word in words):  # else it is the task's own
        corruptions, words = corruptions_asked(words)
    settings = parse(parser, words)
    out = settings.pop("out")
    recipe = recipe_of(settings, parser)
    from selfsight.verbs import show as picture

    print(picture(corruptions or recipe.task, recipe.source, out=out, size=recipe.size, seed=recipe.seed))
    return 0


def embed(words: Words) -> int:
    parser = _parser("embed", "Write the embeddings and names of images.")
    parser.add_argument("run", help="a run's folder, or an exported encoder")
    parser.add_argument("data", help="the images")
    parser.add_argument("--out", required=True, help="a .npz or .parquet file")
    given = parser.parse_args(words)
    from selfsight.verbs import embed as write

    write(given.run, given.data, out=given.out)
    return 0


def export(words: Words) -> int:
    parser = _parser("export", "Write a run's encoder for others to use.")
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--to", required=True, help="a .safetensors or .onnx file")
    given = parser.parse_args(words)
    from selfsight.verbs import export as write

    write(given.run, given.to)
    return 0


def report(words: Words) -> int:
    parser = _parser("report", "Write a run's report, one HTML file that needs no network.")
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--out", help="the file; report.html in the run where not given")
    given = parser.parse_args(words)
    from selfsight.reporting import write_report
    from selfsight.run import Run

    print(write_report(Run.open(given.run), given.out and _path(given.out)))
    return 0


def pack(words: Words) -> int:
    parser = _parser("pack", "Decode images once, into a store that every command takes in their place.")
    parser.add_argument("data", help="the images")
    parser.add_argument("--out", required=True, help="the store's folder, by custom NAME.store")
    parser.add_argument("--size", type=int, help="side in pixels; the images' own, at most 64, where not given")
    parser.add_argument("--fit", choices=("crop", "pad", "stretch"), default="crop", help="how an image becomes square")
    given = parser.parse_args(words)
    from selfsight.verbs import pack as decode

    decode(given.data, out=given.out, size=given.size, fit=given.fit)
    return 0


def doctor(words: Words) -> int:
    parser = _parser("doctor", "Say whether a training learns, and why not. Exit code 0: nothing found, 1: findings.")
    parser.add_argument(
        "program", nargs="?", help="FILE.py:NAME of a selfsight.Program, a recipe.json or a run's folder"
    )
    parser.add_argument("--data", help="the images, for a recipe or a run; its own where not given")
    parser.add_argument("--seconds", type=float, default=60.0, help="begin no check after so much work (default: 60)")
    parser.add_argument("--quick", action="store_true", help="only checks without training, as before a training")
    parser.add_argument("--html", help="also write the diagnosis as one HTML file, with pictures")
    parser.add_argument("--json", action="store_true", help="print the diagnosis as JSON")
    parser.add_argument("--list", action="store_true", help="name every check")
    parser.add_argument("--explain", metavar="CODE", help="tell how a check works, why it matters and how to cure")
    given = parser.parse_args(words)
    from selfsight.doctor.command import answer

    return answer(given)


def bench(words: Words) -> int:
    what, rest = (words[0], words[1:]) if words else ("", [])
    if what in ("-h", "--help"):
        words_of = "usage: selfsight bench batch|data|speed IMAGES [--task NAME] [--encoder NAME] ..."
        print(f"{words_of}\n\n{COMMANDS['bench'][0]}")
        return 0
    if what not in ("batch", "data", "speed"):
        raise UserError(f"bench what: batch, data or speed, not {what or 'nothing'}? `selfsight bench batch PHOTOS`")
    from rich.console import Console

    from selfsight.config import parse, recipe_of, recipe_parser
    from selfsight.speed import bench_speed
    from selfsight.timing import bench_batch, bench_data, tell

    parser = recipe_parser()
    parser.prog = f"selfsight bench {what}"
    recipe = recipe_of(parse(parser, images_first(rest)), parser)
    measured = {"batch": bench_batch, "data": bench_data, "speed": bench_speed}
    tell(*measured[what](recipe, Console(stderr=True)), Console(width=None if sys.stdout.isatty() else 160))
    return 0


def explain_config(words: Words) -> int:
    from rich.console import Console
    from rich.table import Table

    from selfsight.config import DEFAULT, origins, recipe_parser

    parser = recipe_parser()
    parser.prog = "selfsight explain-config"
    parser.add_argument("--out", type=str, default=None, help="As for pretrain.")
    words = images_first(words)
    if {"-h", "--help"} & set(words):
        parser.print_help()
        return 0
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for name, (value, origin) in origins(parser, words).items():
        table.add_row(name, repr(value), origin, style="dim" if origin == DEFAULT else "")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0


def images_first(words: Words) -> Words:
    """`IMAGES --task X` as `--data IMAGES --task X`: the images may be named without saying so."""
    return ["--data", *words] if words and not words[0].startswith("-") else words


def _parser(name: str, summary: str) -> argparse.ArgumentParser:
    return _Parser(prog=f"selfsight {name}", description=summary, allow_abbrev=False)


class _Parser(argparse.ArgumentParser):
    """argparse, but a mistake is a UserError like any other."""

    def error(self, message: str) -> Any:
        known = [option for action in self._actions for option in action.option_strings]
        wrong = message.rpartition(": ")[2].split(" ")[0] if message.startswith("unrecognized") else ""
        raise UserError(f"{message}{nearest(wrong, known) if wrong else ''}. `{self.prog} --help` tells what it takes.")


def _path(text: str) -> Any:
    from pathlib import Path

    return Path(text)


COMMANDS: dict[str, tuple[str, Callable[[Words], int]]] = {
    "pretrain": ("learn an encoder from a folder of images", pretrain),
    "resume": ("go on with a run exactly where it stopped", resume),
    "evaluate": ("judge an encoder on labelled images, beside honest baselines", evaluate),
    "transfer": ("fine-tune an encoder on train and judge it on val, prior shown", transfer),
    "restore": ("take from pictures what a run's corruption takes, and answer several ways", restore),
    "imagine": ("keep several answers to every image, as views for pretrain", imagine),
    "tokens": ("spell pictures out token by token, and read any beginning", tokens),
    "decompose": ("take pictures apart by a run's masks, on a page", decompose),
    "show": ("draw what the network is asked", show),
    "embed": ("write embeddings and names of images", embed),
    "export": ("write the encoder as safetensors or ONNX", export),
    "report": ("write a run's report, one HTML file", report),
    "pack": ("decode images once, inspect, reuse", pack),
    "doctor": ("say whether a training learns, and why not", doctor),
    "bench": ("find this machine's best size of batch, and how it reads images fastest", bench),
    "explain-config": ("tell each setting of a training, and where it came from", explain_config),
}
"""Every command, with its line in `selfsight --help`."""

if __name__ == "__main__":
    main()
