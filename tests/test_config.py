from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from selfsight.config import configure, origins, parse, recipe_of, recipe_parser
from selfsight.corruptions import spelling
from selfsight.encoders import Small, Timm
from selfsight.errors import UserError
from selfsight.images.views import Views
from selfsight.recipe import Recipe, to_json
from selfsight.short import layer_in, written_out
from selfsight.sources import Folder
from selfsight.tasks import BYOL, Rotation, SimCLR, VICReg


@pytest.fixture
def data(tmp_path):
    return str(tmp_path)


def read(*words):
    parser = recipe_parser()
    return recipe_of(parse(parser, words), parser)


def test_words_become_a_typed_recipe(data):
    recipe = read(
        "--data",
        data,
        "--task",
        "SimCLR",
        "--task.temperature",
        "0.5",
        "--task.views.crop",
        "[0.3, 0.9]",
        "--encoder",
        "resnet18",
        "--minutes",
        "2.5",
        "--optimizer.rate",
        "1e-4",
    )
    assert recipe.task == SimCLR(temperature=0.5, views=Views(crop=(0.3, 0.9)))
    assert recipe.encoder == Timm(name="resnet18")
    assert recipe.data == Folder(data)
    assert (recipe.minutes, recipe.optimizer.rate) == (2.5, 1e-4)


def test_files_of_all_kinds_merge_and_later_ones_win(data, tmp_path):
    whole, more, branch, leaf = (tmp_path / name for name in ("whole.json", "more.yaml", "task.yaml", "views.json"))
    whole.write_text(json.dumps({"data": data, "seed": 3, "batch": 64, "optimizer": {"rate": 0.5, "decay": 0.1}}))
    more.write_text("batch: 32\noptimizer:\n  rate: 0.25\n")
    branch.write_text("class_path: SimCLR\ninit_args:\n  temperature: 0.7\n  hidden: 64\n")
    leaf.write_text(json.dumps({"flip": 0.0}))
    recipe = read(
        "--config",
        str(whole),
        "--config",
        str(more),
        "--task",
        str(branch),
        "--task.views",
        str(leaf),
        "--task.hidden",
        "96",
    )
    assert (recipe.seed, recipe.batch_size) == (3, 32)
    assert (recipe.optimizer.rate, recipe.optimizer.decay) == (0.25, 0.1)
    assert recipe.task == SimCLR(temperature=0.7, hidden=96, views=Views(flip=0.0))


@pytest.mark.parametrize(
    ("words", "batch"),
    [
        ([], 256),
        (["--task", "Restore"], 32),
        (["--task", "Restore", "--batch", "128"], 128),
        (["--task", "Restore", "--task", "Rotation"], 256),
    ],
)
def test_without_a_batch_it_is_what_suits_the_task(data, words, batch):
    recipe = read("--data", data, *words)
    assert recipe.batch_size == batch


def test_python_merges_files_dictionaries_and_objects_recursively(data, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("seed: 1\noptimizer:\n  rate: 0.1\n  clip: 2.0\n")
    thing = SimpleNamespace(
        optimizer=SimpleNamespace(rate=0.3, nested_ignored=None).__dict__ and SimpleNamespace(rate=0.3)
    )
    recipe = configure(str(file), {"data": data, "optimizer": {"decay": 0.0}}, thing, Namespace({"task": Rotation()}))
    assert (recipe.seed, recipe.task) == (1, Rotation())
    assert (recipe.optimizer.rate, recipe.optimizer.clip, recipe.optimizer.decay) == (0.3, 2.0, 0.0)


class Namespace:
    """Any object with attributes."""

    def __init__(self, values):
        self.__dict__.update(values)
        self._private = "not a setting"


def test_another_class_does_not_inherit_the_settings_of_the_one_before(data):
    below = {"data": data, "task": {"class_path": "SimCLR", "init_args": {"temperature": 0.9}}}
    assert configure(below, {"task": {"class_path": "BYOL"}}).task == BYOL()
    assert configure(below, {"task": {"init_args": {"hidden": 8}}}).task == SimCLR(temperature=0.9, hidden=8)


@pytest.mark.parametrize("task", [SimCLR(), BYOL(), VICReg(), Rotation()])
def test_naming_a_task_gives_that_tasks_own_defaults(data, tmp_path, task):
    name = type(task).__name__
    assert read("--data", data, "--task", name).task == task
    file = tmp_path / "other.json"
    file.write_text(
        json.dumps({"data": data, "task": {"class_path": "SimCLR", "init_args": {"views": {"flip": 0.9}, "hidden": 7}}})
    )
    if name != "SimCLR":
        assert read("--config", str(file), "--task", name).task == task
    assert read("--data", data, "--task", name, "--task.views.flip", "0.25").task.views.flip == 0.25


def test_an_encoder_by_its_short_name_takes_settings(data):
    words = ("--data", data, "--encoder", "resnet18", "--encoder.weights", "pretrained")
    assert read(*words).encoder == Timm(name="resnet18", weights="pretrained")
    assert read("--data", data, "--encoder", "small", "--encoder.width", "48").encoder == Small(width=48)
    layers = {"data": data, "encoder": "resnet18"}, {"encoder": {"weights": "pretrained"}}
    assert configure(*layers).encoder == Timm(name="resnet18", weights="pretrained")
    assert configure({"data": data, "encoder": {"width": 24}}).encoder == Small(width=24)


def test_a_recipe_is_a_layer_like_any_other(data):
    below = to_json(Recipe(data=data, task=BYOL(hidden=99)))
    assert configure(below, {"task": {"class_path": "BYOL", "init_args": {"momentum": 0.5}}}).task == BYOL(
        hidden=99, momentum=0.5
    )
    assert configure(below, {"task": {"momentum": 0.5}}).task == BYOL(hidden=99, momentum=0.5)
    assert configure(below, {"task": "Rotation"}).task == Rotation()
    with pytest.raises(UserError, match="a file, a mapping or an object, not"):
        configure(below, [1])


def test_a_setting_of_the_default_task_needs_no_task_named(data, tmp_path):
    assert read("--data", data, "--task.temperature", "0.4").task == SimCLR(temperature=0.4)
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"data": data, "task": {"init_args": {"temperature": 0.4}}}))
    assert read("--config", str(file)).task == configure(str(file)).task == SimCLR(temperature=0.4)


def test_recipe_json_recipe(data, tmp_path):
    recipe = Recipe(data=data, task=BYOL(momentum=0.9), encoder=Small(width=16), epochs=2.5, seed=9)
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(to_json(recipe)))
    assert configure(str(file)) == recipe
    assert read("--config", str(file)) == recipe


def test_each_value_tells_where_it_came_from(data, tmp_path):
    file, branch = tmp_path / "a.yaml", tmp_path / "b.json"
    file.write_text("seed: 4\nbatch: 16\n")
    branch.write_text(json.dumps({"rate": 0.125}))
    told = origins(
        recipe_parser(),
        ["--data", data, "--config", str(file), "--optimizer", str(branch), "--batch", "8", "--task", "BYOL"],
    )
    assert told["seed"] == (4, str(file))
    assert told["batch"] == (8, "command line: --batch")
    assert told["optimizer.rate"] == (0.125, str(branch))
    assert told["optimizer.decay"][1] == "default"
    assert told["task"] == ("BYOL", "command line: --task")
    assert told["data"] == (data, "command line: --data")


def test_data_named_in_a_file_is_known_by_it(data, tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"data": data}))
    assert origins(recipe_parser(), ["--config", str(file)])["data"] == (data, str(file))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--sede", "3"], "no setting 'sede'.*'seed'"),
        (["--task.temprature", "3"], "no setting 'temprature'.*temperature'"),
        (["--task.views.flp", "0.1"], r"no setting 'views\.flp'.*flip'"),
        (["--optimizer.rat", "3"], "'optimizer.rate'|'rate'"),
        (["--task", "simclr"], "nothing called 'simclr'.*'SimCLR'"),
        (["--task", "Rotaton"], "nothing called 'Rotaton'.*'Rotation'"),
        (["--batch", "many"], "batch.*many"),
        (["--minutes", "1", "--epochs", "2"], "one of --minutes, --epochs and --steps, not --minutes and --epochs"),
        (["--batch", "0"], "--batch must be more than 0"),
        (["--batch", "10", "--accumulate", "3"], "cannot be divided"),
        (["--task.views.flip", "1.5"], "flip is a chance"),
        (["--config", "nowhere.json"], "nowhere.json"),
    ],
)
def test_mistakes_are_told_in_one_sentence(data, words, says):
    with pytest.raises(UserError, match=says) as caught:
        read("--data", data, *words)
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_of_a_file_is_told(data, tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"data": data, "optimizer": {"rte": 1.0}}))
    for tries in (lambda: read("--config", str(file)), lambda: configure(str(file))):
        with pytest.raises(UserError, match="rte.*rate"):
            tries()


def test_no_images_no_recipe():
    with pytest.raises(UserError, match="Which images"):
        read("--seed", "3")
    with pytest.raises(UserError, match="Nothing to configure"):
        configure()


RECIPES = sorted((Path(__file__).parents[1] / "examples" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", [p for p in RECIPES if "\nminutes:" in p.read_text()], ids=lambda path: path.stem)
def test_recipes_that_come_along_can_be_read_both_ways(path):
    """A whole recipe, by the command line and from Python: one and the same."""
    parser = recipe_parser()
    read = recipe_of(parse(parser, ["--data", ".", "--config", str(path)]), parser)
    assert configure({"data": "."}, path) == read
    assert type(read.task).__name__ in path.read_text()


def test_branches_that_come_along():
    recipes = RECIPES[0].parent
    parser = recipe_parser()
    words = ["--data", ".", "--config", str(recipes / "restore.yaml")]
    large = recipe_of(parse(parser, [*words, "--task.restorer", str(recipes / "camnet_large.yaml")]), parser)
    assert (large.task.restorer.width, large.task.restorer.widest) == (32, 96)
    assert spelling(large.task.corruption) == "decolour+downsample"
    filling = recipe_of(parse(parser, ["--data", ".", "--config", str(recipes / "inpaint.yaml")]), parser).task
    assert (filling.suited().width, filling.suited().predicts) == (32, "hidden")
    kept = recipe_of(
        parse(parser, ["--data", ".", "--task.views", str(recipes / "views_that_keep_colour.yaml")]), parser
    )
    assert (kept.task.views.saturation, kept.task.views.gray) == (0.1, 0.0)


@pytest.mark.parametrize("joined", [False, True])
def test_a_branch_may_be_json_and_follow_an_equals_sign(tmp_path, joined):
    file, parser = tmp_path / "camnet.json", recipe_parser()
    file.write_text(json.dumps({"class_path": "CamNet", "init_args": {"width": 8}}), encoding="utf-8")
    words = [f"--task.restorer={file}"] if joined else ["--task.restorer", str(file)]
    read = recipe_of(parse(parser, ["--data", ".", "--task", "Restore", *words]), parser)
    assert read.task.restorer.width == 8


def test_a_restorer_belongs_to_the_views_that_a_file_names(tmp_path):
    """In any order; settings of a file stay; without views, here or there, one is told how to name them."""
    parser, path = recipe_parser(), str(RECIPES[0].parent / "imagined.yaml")
    for words in (["--config", path, "--restorer", "runs/g"], ["--restorer=runs/g", "--config", path]):
        views = recipe_of(parse(parser, ["--data", ".", *words, "--corruption", "blur"]), parser).task.views
        assert (views.restorer, views.choose, spelling(views.corruption)) == ("runs/g", "most_different", "blur")
    plain = tmp_path / "plain.yaml"
    plain.write_text("minutes: 3\n")
    with pytest.raises(UserError, match="A restorer makes views"):
        parse(parser, ["--data", ".", "--config", str(plain), "--restorer", "runs/g"])
    with pytest.raises(UserError, match="no configuration file nowhere.yaml"):
        parse(parser, ["--data", ".", "--config", "nowhere.yaml"])


def test_a_corruption_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "typo.yaml"
    path.write_text("task:\n  class_path: Restore\n  init_args:\n    corruption: decolor\n")
    parser = recipe_parser()
    with pytest.raises(UserError, match="decolor.*decolour"):
        parse(parser, ["--data", ".", "--config", str(path)])
    with pytest.raises(UserError, match="decolor.*decolour"):
        configure({"data": "."}, path)


def test_a_recipe_names_files_of_its_branches(tmp_path):
    """Beside the recipe, wherever that lies; files of branches may name others."""
    (tmp_path / "camnet.yaml").write_text("class_path: CamNet\ninit_args: {width: 8}\n")
    (tmp_path / "taken.json").write_text(json.dumps({"class_path": "Blur", "init_args": {"sigma": [0.1, 0.2]}}))
    recipe = tmp_path / "whole.yaml"
    recipe.write_text(
        "steps: 7\ntask:\n  class_path: Restore\n  init_args: {restorer: camnet.yaml, corruption: taken.json}\n"
    )
    parser = recipe_parser()
    read = recipe_of(parse(parser, ["--data", ".", "--config", str(recipe)]), parser)
    assert read.task.restorer.width == 8
    assert read.task.corruption.sigma == (0.1, 0.2)
    assert configure({"data": "."}, recipe) == read
    (tmp_path / "two.yaml").write_text(
        "steps: 7\ntask:\n  class_path: Together\n  init_args: {tasks: [one.yaml, SimCLR]}\n"
    )
    (tmp_path / "one.yaml").write_text("class_path: Rotation\n")
    both = configure({"data": "."}, tmp_path / "two.yaml").task.tasks
    assert [type(one).__name__ for one in both] == ["Rotation", "SimCLR"]


def test_a_file_that_names_itself_is_told(tmp_path):
    (tmp_path / "a.yaml").write_text("class_path: Restore\ninit_args: {restorer: a.yaml}\n")
    with pytest.raises(UserError, match="names itself"):
        configure({"data": "."}, {"steps": 1}, tmp_path / "a.yaml")


def test_a_branch_that_is_not_there_is_told(tmp_path):
    path, parser = tmp_path / "wrong.yaml", recipe_parser()
    path.write_text("task:\n  class_path: Restore\n  init_args: {restorer: camnett.yaml}\n")
    for read in (lambda: parse(parser, ["--data", ".", "--config", str(path)]), lambda: configure({"data": "."}, path)):
        with pytest.raises(UserError, match="no file camnett.yaml, neither beside"):
            read()


def test_settings_that_are_names_of_files_stay_what_they_are(tmp_path, monkeypatch):
    """A run's kept recipe, wherever it is read again, and a file that is no branch."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boxes.json").write_text("[1, 2]")
    (tmp_path / "camnet.yaml").write_text("class_path: CamNet\ninit_args: {width: 8}\n")
    kept = {"task": {"class_path": "mine.Task", "init_args": {"boxes": "boxes.json", "other": "camnet.yaml"}}}
    assert written_out(kept) == kept
    (tmp_path / "whole.json").write_text(json.dumps(kept))
    found = layer_in(tmp_path / "whole.json")["task"]["init_args"]
    assert found == {"boxes": "boxes.json", "other": {"class_path": "CamNet", "init_args": {"width": 8}}}


def test_a_length_that_is_asked_for_later_is_the_length(tmp_path):
    parser, recipe = recipe_parser(), str(RECIPES[0].parent / "imagined.yaml")
    assert configure({"data": "."}, recipe).minutes
    asked = recipe_of(parse(parser, ["--data", ".", "--config", recipe, "--epochs", "3"]), parser)
    assert (asked.minutes, asked.epochs) == (None, 3)
    assert configure({"data": "."}, recipe, {"steps": 5}).steps == 5
    second = tmp_path / "longer.yaml"
    second.write_text("steps: 9\n")
    for words in (
        ["--config", recipe, "--config", str(second)],
        [f"--config={recipe}", "--steps=9"],
        ["--epochs", "3", "--config", str(second)],
        ["--epochs=3", f"--config={second}"],
    ):
        assert recipe_of(parse(parser, ["--data", ".", *words]), parser).steps == 9
    with pytest.raises(UserError, match="Give one of"):
        recipe_of(parse(parser, ["--data", ".", "--steps", "3", "--epochs", "3"]), parser)


def test_a_task_in_a_file_may_be_a_name_alone(tmp_path):
    path, parser = tmp_path / "bare.yaml", recipe_parser()
    path.write_text("task: Rotation\n")
    assert type(recipe_of(parse(parser, ["--data", ".", "--config", str(path)]), parser).task).__name__ == "Rotation"
    with pytest.raises(UserError, match="A restorer makes views"):
        parse(parser, ["--data", ".", "--config", str(path), "--restorer", "runs/g"])
