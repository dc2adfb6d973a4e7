"""Short words of a command line or a file, and what they stand for: `--corruption blur`, `--views generated`, files.

Everything here turns words into longer words, or plain mappings into fuller ones, before they are read and typed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from selfsight.corruption import Corruption
from selfsight.corruptions import spelled
from selfsight.described import made
from selfsight.errors import UserError, nearest
from selfsight.recipe import to_json
from selfsight.views import called

VIEWS = ("--views", "--restorer")
"""Short for settings of the task."""
CORRUPTION = ("--corruption", "--task.corruption.")
FILES = (".json", ".yaml", ".yml")
LENGTHS = ("minutes", "epochs", "steps")
LENGTH_OPTIONS = tuple(f"--{name}" for name in LENGTHS)


def read(path: str | os.PathLike[str]) -> Any:
    import yaml

    if not Path(path).is_file():
        raise UserError(f"There is no configuration file {path}.")
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is neither JSON nor YAML: {' '.join(str(error).split())}") from error


def held(word: str) -> Mapping[str, Any]:
    """What a word after --config holds: a file's layer, or one written there; {} where that is no mapping. Raises
    UserError where there is no such file."""
    import yaml

    layer = yaml.safe_load(word) if word.startswith("{") else layer_in(word)
    if not isinstance(layer, Mapping):
        return {}
    return {
        key: {"class_path": value} if key == "task" and isinstance(value, str) else value
        for key, value in layer.items()
    }


def layer_in(path: str | os.PathLike[str], above: tuple[Path, ...] = ()) -> Any:
    """The layer of configuration in a file, written out. above: files that have led to it."""
    file = Path(path).resolve()
    if file in above:
        raise UserError(
            f"{path} names itself, by way of {', '.join(map(str, above))}. A branch is in a file of its own."
        )
    return written_out(read(path), (*above, file))


def written_out(plain: Any, files: tuple[Path, ...] = ()) -> Any:
    """A layer of configuration in full, at any depth: corruptions that are named for short (`corruption: blur`), and,
    in a file, branches that have their own (`restorer: camnet.yaml`, beside it or where this runs). files: the layer's,
    after those that have led to it; none of a mapping, which a run may have kept.

    Raises UserError for a name that is no corruption's."""
    if isinstance(plain, list):
        return [_value("", item, files) for item in plain]
    if not isinstance(plain, Mapping):
        return plain
    return {key: value if key == "data" else _value(key, value, files) for key, value in plain.items()}


def _value(key: str, value: Any, files: tuple[Path, ...]) -> Any:
    if not isinstance(value, str):
        return written_out(value, files)
    places = [files[-1].parent / value, Path(value)] if files and value.endswith(FILES) else []
    found = next((place for place in places if place.is_file()), None)
    if key == "corruption":
        return _corruption_named(str(found or value))
    branch = layer_in(found, files) if found else None
    return branch if isinstance(branch, Mapping) and "class_path" in branch else value


def one_length(argv: Sequence[str]) -> list[str]:
    """Of minutes, epochs and steps in --config files and options the last: a recipe's length is its own until another
    is asked for."""
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    later, in_file = False, False
    for i in range(len(words) - 1, -1, -1):
        option, equals, _ = words[i].partition("=")
        if option in LENGTH_OPTIONS:
            if in_file:
                del words[i : i + (1 if equals else 2)]
            later = True
        elif i and words[i - 1] == "--config":
            layer = held(words[i])
            if any(layer.get(name) is not None for name in LENGTHS):
                words[i] = json.dumps(without_lengths(layer)) if later else words[i]
                later = in_file = True
    return words


def without_lengths(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer that says nothing of how long to train."""
    return {name: value for name, value in layer.items() if name not in LENGTHS}


def with_files(argv: Sequence[str]) -> list[str]:
    """`--task.restorer camnet.json` with what is in the file, at any depth, and files that hold short forms with what
    those stand for."""
    words = list(argv)
    for i, word in enumerate(words):
        before, equals, file = word.partition("=") if word.startswith("--") else (words[i - 1] if i else "", "", word)
        branch = before.startswith("--task.")
        if (branch or before == "--config") and file.endswith(FILES) and os.path.isfile(file):
            whole = layer_in(file)
            if branch or whole != read(file):
                words[i] = (before + equals if equals else "") + json.dumps(whole)
    return words


def corruptions_asked(argv: Sequence[str]) -> tuple[list[Corruption], list[str]]:
    """What `--corruption` asks for, and the words that are left.

    `--corruption blur,decolour+downsample` names two, the second a chain; a JSON or YAML file, or a class of yours as
    my_file.MyCorruption, describes one. Settings follow the one they belong to: `--corruption blur --corruption.sigma
    "[0.1, 0.2]" --corruption jpeg`, or --task.corruption.sigma; of a chain, the members that have such a setting take
    it. Raises UserError.
    """
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith(CORRUPTION) else [word])]
    asked, rest = list[dict[str, Any]](), list[str]()
    options = iter(words)
    for option in options:
        if option == "--corruption":
            asked += [_corruption_named(name.strip()) for name in next(options, "").split(",")]
        elif option.startswith("--corruption.") or (asked and option.startswith("--task.corruption.")):
            value = next(options, "")
            if not asked or not value:
                raise UserError(
                    f"{option} wants a corruption before it and a value after: --corruption blur {option} 1"
                )
            _set_corruption(asked[-1], option.partition("corruption.")[2], value)
        else:
            rest.append(option)
    return [_corruption(described) for described in asked], rest


def corrupted(argv: Sequence[str]) -> list[str]:
    """`--corruption NAME` as the setting of the task that it is. Raises UserError where several are named."""
    asked, rest = corruptions_asked(argv)
    if len(asked) > 1:
        raise UserError("A task takes one corruption; join several by +: --corruption decolour+downsample.")
    return [*rest, f"--task.corruption={json.dumps(to_json(asked[0]))}"] if asked else rest


def viewed(argv: Sequence[str]) -> list[str]:
    """`--views generated --restorer runs/g` as the setting of the task that it is; a corruption named beside it is the
    views' own. Raises UserError where a restorer is named and no views, here or in a file.
    """
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith(VIEWS) else [word])]
    told = {name: words[i + 1] for i, name in enumerate(words[:-1]) if name in VIEWS}
    if not told:
        return list(argv)
    if "--views" not in told and not _views_in_files(argv):
        raise UserError("A restorer makes views: --views generated --restorer runs/g. It is trained by --task Restore.")
    rest = [word for i, word in enumerate(words) if not {word, words[i - 1] if i else ""} & set(VIEWS)]
    settings = {"restorer": told["--restorer"]} if "--restorer" in told else dict[str, Any]()
    corruptions, rest = corruptions_asked(rest)
    if len(corruptions) > 1:
        raise UserError("Views take one corruption; join several by +: --corruption decolour+downsample.")
    if corruptions:
        settings["corruption"] = to_json(corruptions[0])
    if "--views" not in told:  # settings of the views that a file names
        return [*rest, *(f"--task.views.{name}={_written(value)}" for name, value in settings.items())]
    kind = called(told["--views"])
    described = {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": settings}
    named = [i + 2 for i, word in enumerate(rest) if word in ("--task", "--config")]
    place = named[-1] if named else 0  # before settings of the views that follow
    return [*rest[:place], f"--task.views={json.dumps(described)}", *rest[place:]]


def _views_in_files(argv: Sequence[str]) -> bool:
    """Whether a --config names the class of its task's views; a file, or what one holds."""
    layers = [held(word) for before, word in pairwise(argv) if before == "--config"]
    tasks = [(layer.get("task") or {}).get("init_args") or {} for layer in layers]
    return any("class_path" in (settings.get("views") or {}) for settings in tasks)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _corruption_named(name: str) -> dict[str, Any]:
    """All settings of the corruption that a short name, a file or a class stands for."""
    if name.endswith(FILES):
        return to_json(_corruption(read(name)))
    return to_json(_corruption({"class_path": name}) if "." in name else spelled(name))


def _set_corruption(described: dict[str, Any], name: str, value: str) -> None:
    """Sets what is a setting of the corruption itself, or else of those it is made of."""
    own = described["init_args"]
    branches = list(_branches(own))
    having = [own] if name in own else [branch for branch in branches if name in branch]
    if not having:
        known = {key for branch in branches for key in branch} - {"corruptions"}
        raise UserError(
            f"{described['class_path'].rpartition('.')[2]} has no setting {name!r}{nearest(name, known)}: give one of "
            f"{', '.join(sorted(known))}."
        )
    for branch in having:
        put(branch, [name], value)


def _branches(own: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The settings of a corruption and of all that it is made of."""
    yield own
    for one in own.get("corruptions", []):
        yield from _branches(one["init_args"])


def _corruption(described: Mapping[str, Any]) -> Corruption:
    return made(described, Corruption)  # type: ignore[type-abstract]


def put(branch: dict[str, Any], path: list[str], value: str) -> None:
    """Sets `value`, read as YAML, at a path of nested mappings."""
    import yaml

    for name in path[:-1]:
        branch = branch.setdefault(name, {})
    branch[path[-1]] = yaml.safe_load(value)
