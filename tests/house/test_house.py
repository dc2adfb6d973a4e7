"""The layout holds what CONTRIBUTING.md says of it."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import selfsight
from selfsight.cli import COMMANDS

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "selfsight").rglob("*.py"))
MODULES = [
    module.name
    for module in pkgutil.walk_packages(selfsight.__path__, "selfsight.")
    if not module.name.endswith("__main__")
]


def test_import_floors():
    linted = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert linted.returncode == 0, linted.stdout[-3000:]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_files_are_short_say_what_they_are_for_and_hold_short_functions(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(tree), "a module begins with what it is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 45, f"{node.name} is too long"
    assert path.stem not in {"utils", "helpers", "common", "manager", "base", "misc"}
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported_alone(name):
    importlib.import_module(name)


def test_every_public_name_is_there():
    for name in selfsight.__all__:
        assert getattr(selfsight, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        selfsight.nothing  # noqa: B018


def test_finals_are_frozen_documented_and_not_overridden():
    import dataclasses

    from selfsight import corruptions, distances, encoders, probes, restorers, sources, tasks
    from selfsight.corruption import Corruption
    from selfsight.distance import Distance
    from selfsight.encoder import Backbone
    from selfsight.probe import Probe
    from selfsight.restorer import Restorer
    from selfsight.source import Source
    from selfsight.task import Task

    words = ((tasks, Task), (encoders, Backbone), (probes, Probe), (sources, Source), (corruptions, Corruption))
    for package, word in (*words, (restorers, Restorer), (distances, Distance)):
        finals = [
            value
            for name in package.__all__
            if isinstance(value := getattr(package, name), type) and issubclass(value, word)
        ]
        assert finals
        for final in finals:
            assert dataclasses.fields(final) is not None
            assert final.__dataclass_params__.frozen
            assert word in final.__bases__, "a final stands directly below its word"
            assert "Good" in final.__doc__ or "Good" in sys.modules[final.__module__].__doc__, (
                f"{final.__name__}: when is it good, when poor?"
            )


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs" / "tasks").iterdir()))
def test_a_tasks_page_tells_when_it_is_good_what_shortcut_it_invites_and_what_it_gave(page):
    told = (ROOT / "docs" / "tasks" / page).read_text(encoding="utf-8").lower()
    assert [word for word in ("**good**", "poor", "shortcut", "cost and gave") if word not in told] == []


def test_readme_names_every_command_and_file():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"selfsight {name}" in readme, name
    top = {path.name for path in (ROOT / "src" / "selfsight").iterdir() if path.suffix == ".py" or path.is_dir()} - {
        "__pycache__",
        "__init__.py",
        "__main__.py",
    }
    missing = [name for name in sorted(top) if f"{name.removesuffix('.py')}" not in readme]
    assert not missing


def test_every_dependency_has_its_reason():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    told = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    for one in wanted:
        name = re.match(r"[\w-]+", one)[0].lower()
        assert name == "selfsight" or name in told, name


def test_help_is_frozen():
    """The commands are a promise: a change of this text is a change of what users type."""
    from selfsight.cli import overview

    assert overview() == (ROOT / "tests" / "house" / "help.txt").read_text(encoding="utf-8").rstrip("\n")


def test_settings_are_frozen():
    """So are the names of the settings, in recipes on disk and in users' files."""
    from selfsight import tasks
    from selfsight.config import flatten, parse, recipe_parser

    names = []
    for task in tasks.__all__:
        found = flatten(parse(recipe_parser(), ["--data", "?", "--task", task]))
        names += [f"{task}: {name}" for name in found if name.startswith("task.")]
    names += [name for name in found if not name.startswith("task.")]
    assert names == (ROOT / "tests" / "house" / "settings.txt").read_text(encoding="utf-8").split("\n")[:-1]
