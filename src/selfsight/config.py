"""Configuration: any number of layers, merged into one recipe, each value knowing where it came from.

A layer is a JSON or YAML file (whole, or for one branch: `--task.views views.yaml`), an option of the command line, a
dictionary, or any object with attributes. Later layers win, key by key, however deeply nested. Reading and typing are
jsonargparse's; the record of origins is made by parsing one layer more at a time and seeing what changed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from selfsight.errors import UserError, nearest
from selfsight.recipe import Recipe, to_json
from selfsight.short import (
    LENGTHS,
    corrupted,
    held,
    layer_in,
    one_length,
    put,
    viewed,
    with_files,
    without_lengths,
    written_out,
)
from selfsight.task import Task
from selfsight.together import Together

DEFAULT = "default"
DEFAULT_TASK = "SimCLR"
TASK_HELP = f"What the network is asked: one of these, or a class of yours as my_file.MyTask. (default: {DEFAULT_TASK})"


def recipe_parser() -> ArgumentParser:
    """A parser whose options are the fields of Recipe, to which a command may add its own."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False, add_help=True)
    parser.add_argument(
        "--config", action="config", help="A JSON or YAML file with any of these settings; may be given several times."
    )
    parser.add_class_arguments(Recipe, sub_configs=True, skip={"task"})
    parser.add_argument("--task", type=Task, sub_configs=True, help=TASK_HELP)
    return parser


def parse(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """The settings in `argv`. Raises UserError, with the nearest known name where one is misspelt."""
    try:
        return parser.parse_args(_one_task(_together(corrupted(viewed(one_length(with_files(argv)))))))
    except (argparse.ArgumentError, argparse.ArgumentTypeError, TypeError, ValueError, KeyError) as error:
        raise UserError(explain_error(parser, str(error))) from error


def recipe_of(settings: Namespace, parser: ArgumentParser) -> Recipe:
    """The recipe that parsed settings describe. Raises UserError where values do not fit together."""
    names = {field.name for field in dataclasses.fields(Recipe)}
    try:
        made = parser.instantiate(settings)
        return Recipe(**{name: made[name] for name in names})
    except (ValueError, TypeError) as error:
        raise UserError(f"{str(error).strip().splitlines()[-1].strip()}") from error


def configure(*layers: Any) -> Recipe:
    """One recipe from any number of layers, later ones winning.

    A layer is the path of a JSON or YAML file, a mapping, a Recipe, or any object with a __dict__; mappings and objects
    may hold one another. Raises UserError for a missing file, an unknown key (naming its nearest) or a wrong type.
    """
    if not layers:
        raise UserError("Nothing to configure from: give at least one file, dictionary or object.")
    merged: dict[str, Any] = {}
    for layer in layers:
        plain = layer_in(layer) if isinstance(layer, str | os.PathLike) else written_out(to_plain(layer))
        if not isinstance(plain, Mapping):
            raise UserError(f"A layer of configuration is a file, a mapping or an object, not {layer!r}.")
        if any(plain.get(name) is not None for name in LENGTHS):  # asked for later, it is the length
            merged = without_lengths(merged)
        merged = merge(merged, {key: _branch(key, value) for key, value in plain.items()})
    parser = recipe_parser()
    if isinstance(merged, Mapping) and isinstance(merged.get("task", {}), Mapping):
        merged = {**merged, "task": {"class_path": DEFAULT_TASK, **merged.get("task", {})}}
    if "class_path" not in merged.get("encoder", {"class_path": ""}):
        merged = {**merged, "encoder": {"class_path": "Small", **merged["encoder"]}}
    try:
        settings = parser.parse_object(merged)
    except (argparse.ArgumentError, TypeError, ValueError, KeyError) as error:
        raise UserError(explain_error(parser, str(error))) from error
    return recipe_of(settings, parser)


def merge(below: Any, above: Any) -> Any:
    """`above` over `below`: mappings key by key, anything else replaced. Another class does not inherit settings."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    if "class_path" in above and _short(above) != _short(below):
        return dict(above)
    if "class_path" in below and not {"class_path", "init_args"} & set(above):  # loose settings of what is named below
        above = {"init_args": above}
    return {**below, **{key: merge(below[key], value) if key in below else value for key, value in above.items()}}


def _short(branch: Mapping[str, Any]) -> str:
    """The name of a branch's class without its module: SimCLR and selfsight.tasks.SimCLR are one."""
    return str(branch.get("class_path", "")).rpartition(".")[2]


def _branch(key: str, value: Any) -> Any:
    """A task or encoder given by name, or by loose settings, in the form that merges: class_path and init_args."""
    if key not in ("task", "encoder"):
        return value
    if isinstance(value, str):
        return _encoder_named(value) if key == "encoder" else {"class_path": value}
    if isinstance(value, Mapping) and not {"class_path", "init_args"} & set(value):
        return {"init_args": dict(value)}
    return value


def _encoder_named(name: str) -> dict[str, Any]:
    """The branch of an encoder's short name: a class as it is, "small", else a backbone of timm's."""
    if name.lower() == "small":
        return {"class_path": "Small"}
    return {"class_path": name} if name != name.lower() else {"class_path": "Timm", "init_args": {"name": name}}


def to_plain(value: Any) -> Any:
    """Mappings, frozen values and objects with attributes, recursively, as plain dictionaries and lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return {key: to_plain(item) for key, item in vars(value).items() if not key.startswith("_")}
    return value


def origins(parser: ArgumentParser, argv: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """Every setting by dotted name -> (value, where it came from): a file, an option, or "default"."""
    unset = ["--data", "?"]  # stands in until a layer names the data, which alone has no default
    told = {name: (value, DEFAULT) for name, value in flatten(parse(parser, unset)).items()}
    for end, origin in _layers(argv):
        now = flatten(parse(parser, [*unset, *argv[:end]]))
        told = {
            name: (value, told[name][1] if name in told and told[name][0] == value else origin)
            for name, value in now.items()
        }
    return told


def flatten(settings: Namespace) -> dict[str, Any]:
    """Dotted names without jsonargparse's class_path and init_args; a final is told by its class's name."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if name.split(".")[-1] == "__path__" or name == "config" or isinstance(value, Namespace):
            continue
        short = name.replace(".init_args", "")
        if short.endswith(".class_path"):
            short, value = short.removesuffix(".class_path"), str(value).rpartition(".")[2]
        flat[short] = value
    return flat


def explain_error(parser: ArgumentParser, message: str) -> str:
    """jsonargparse's message as one sentence, with the known name nearest to a misspelt one."""
    lines = [line.strip(" -") for line in message.replace("\n\n", "\n").splitlines() if line.strip(" -")]
    text = "; ".join(dict.fromkeys(lines))
    unknown = re.search(
        r"(?:[Oo]ption|Key|key) '([\w.]+)' is not (?:accepted|expected)|does not accept option '([\w.]+)'"
        r"|[Uu]nrecognized arguments?: (?:--)?([\w.\-]+)",
        text,
    )
    if unknown:
        key = next(name for name in unknown.groups() if name).rstrip(".").replace("init_args.", "")
        above = [name for name in re.findall(r'Parser key "(\w+)"', text)[1:] if name not in key.split(".")]
        key = ".".join([*above, key])
        if key.split(".")[0] == "corruption":
            return "The task takes no corruption: give --task Restore with it, or `selfsight show --corruption` alone."
        known = _known_names(parser)
        best = nearest(key, known) or nearest(key.rpartition(".")[2], {name.rpartition(".")[2] for name in known})
        group = re.search(r"Group '([\w.]+)' does not accept", text)
        if group:
            best = nearest(f"{group[1]}.{key}", {name for name in known if name.startswith(f"{group[1]}.")}) or best
        return f"There is no setting {key!r}{best}. `selfsight pretrain --help` lists them all."
    if "selfsight.Together'" in text and "required: tasks" in text:
        return "Together needs its tasks: name them one after the other, --task Rotation --task SimCLR."
    if "does not correspond to a subclass of Views" in text:
        return "The task compares no views of one image: give --views with SimCLR, BYOL or VICReg."
    branch = re.search(r"Problem with given class_path '([^']+\.(?:json|ya?ml))'", text)
    if branch:
        return (
            f"There is no file {branch[1]}, neither beside the recipe that names it nor here, or no class_path in it."
        )
    missing = re.search(r'"(\w+)" is required|Key "(\w+)" is required|required: (\w+)', text)
    if missing and "data" in missing.groups():
        return "Which images? Give a folder: `selfsight pretrain PHOTOS`."
    named = re.search(r"Expected a dot import path string: (\S+?)(?:;|$)", text)
    if named:
        from selfsight import encoders, sources, tasks

        known = {*tasks.__all__, *encoders.__all__, *sources.__all__} - {"named", "guess"}
        by_case = {name.lower(): name for name in known}
        given = named[1].strip("'\"")
        best = f" (did you mean {by_case[given.lower()]!r}?)" if given.lower() in by_case else nearest(given, known)
        names = ", ".join(sorted(tasks.__all__))
        return f"There is nothing called {given!r}{best}. Give one of {names}, or a class of yours as my_file.MyTask."
    return text


def _known_names(parser: ArgumentParser) -> set[str]:
    usual = parser.parse_args(["--data", "?", "--task", DEFAULT_TASK])
    names = set(flatten(usual)) | {"optimizer"}
    return names | {option.lstrip("-") for action in parser._actions for option in action.option_strings}


def _encoder_words(argv: Sequence[str]) -> list[str]:
    """`--encoder resnet18` as `--encoder Timm --encoder.name resnet18`, so that its other settings can follow."""
    words: list[str] = []
    for word in argv:
        option, _, value = word.partition("=")
        if option == "--encoder" and value:
            words += ["--encoder", value]
        else:
            words.append(word)
    for place in range(len(words) - 1, 0, -1):
        name = words[place]
        if words[place - 1] == "--encoder" and not name.startswith(("{", "-")) and not os.path.isfile(name):
            branch = _encoder_named(name)
            settings = [f"--encoder.{key}={value}" for key, value in branch.get("init_args", {}).items()]
            words[place : place + 1] = [branch["class_path"], *settings]
    return words


def _together(argv: Sequence[str]) -> list[str]:
    """`--task A --task B` as one task of both. What follows a name (`--task.views.flip 0`) is a setting of that one,
    but for the settings of Together itself, which may stand anywhere.
    """
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--task") else [word])]
    places = [i for i, word in enumerate(words[:-1]) if word == "--task" and not os.path.isfile(words[i + 1])]
    if len(places) < 2:
        return list(argv)
    rest, asked = words[: places[0]], list[dict[str, Any]]()
    own = {f"--task.{field.name}" for field in dataclasses.fields(Together)}
    options = iter(words[places[0] :])
    for option in options:
        value = next(options, "") if option.startswith("--task") else ""
        if option == "--task":
            asked.append({"class_path": value, "init_args": {}})
        elif option.startswith("--task.") and option not in own:
            put(asked[-1]["init_args"], option.split(".")[1:], value)
        else:
            rest += [option, value] if option.startswith("--task") else [option]
    return ["--task", f"{Together.__module__}.{Together.__qualname__}", f"--task.tasks={json.dumps(asked)}", *rest]


def _one_task(argv: Sequence[str]) -> list[str]:
    """`argv` naming a task exactly once: the default where none is named, the last where several are.

    jsonargparse hands the settings of a class that is replaced down to its successor, wherever the names agree: another
    task would silently run with the views of the default one.
    """
    argv = _encoder_words(argv)
    words, named = list(argv), [i for i, word in enumerate(argv) if word == "--task" or word.startswith("--task=")]
    layers = {i: held(word) for i, word in enumerate(words[1:], 1) if words[i - 1] == "--config"}
    in_files = [i for i, layer in layers.items() if "class_path" in (layer.get("task") or {})]
    if not named and not in_files:
        return ["--task", DEFAULT_TASK, *words]
    for i in in_files:
        if any(place > i for place in named):
            words[i] = json.dumps({key: value for key, value in layers[i].items() if key != "task"})
    return words


def _layers(argv: Sequence[str]) -> list[tuple[int, str]]:
    """(end of the prefix, its last layer's origin) for each option of a command line."""
    starts = [i for i, word in enumerate(argv) if word.startswith("--")]
    found = []
    for start, end in zip(starts, [*starts[1:], len(argv)], strict=True):
        option, _, value = argv[start].partition("=")
        value = value or (argv[start + 1] if start + 1 < end else "")
        from_file = option == "--config" or (value.endswith((".json", ".yaml", ".yml")) and os.path.isfile(value))
        found.append((end, value if from_file else f"command line: {option}"))
    return found
