"""Short names, settings on the command line, and the picture they ask for."""

import json

import numpy as np
import pytest
from PIL import Image, ImageChops

import selfsight
from selfsight import cli
from selfsight.corruption import kinds
from selfsight.corruptions import (
    NAMES,
    Blur,
    Chain,
    CowMask,
    CutOut,
    Decolour,
    Downsample,
    Noise,
    OneOf,
    spelled,
    spelling,
)
from selfsight.drawing import LINE, MARGIN, SHOWN, draw_corruptions
from selfsight.errors import UserError
from selfsight.short import corruptions_asked


def test_a_name_is_a_corruption_and_a_sum_a_chain():
    assert spelled("decolour") == Decolour()
    assert spelled("CowMask") == spelled("COWMASK") == CowMask()
    assert spelled("decolour + Downsample") == Chain(corruptions=(Decolour(), Downsample()))
    for name in NAMES:
        assert spelling(spelled(name)) == name
    assert spelled("blur/decolour+noise") == OneOf(corruptions=(Blur(), Chain(corruptions=(Decolour(), Noise()))))
    assert spelling(spelled("blur/decolour+noise")) == "blur/decolour+noise"
    assert kinds(spelled("blur/decolour+noise")) == {"Blur", "Decolour", "Noise"}
    assert spelling(Chain(corruptions=(Chain(corruptions=(Blur(), Noise())), Blur()))) == "blur+noise+blur"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("decolor", "'decolor' .did you mean 'decolour'.*one of blur, "),
        ("blur+", "no corruption ''"),
        ("qqq", "'qqq': give"),
    ],
)
def test_an_unknown_name_is_told_with_its_nearest(text, says):
    with pytest.raises(UserError, match=says):
        spelled(text)


def test_settings_follow_the_corruption_they_belong_to(tmp_path):
    words = ["--data", "x", "--corruption", "blur", "--corruption.sigma", "[0.1, 0.2]", "--corruption=cutout,noise"]
    asked, rest = corruptions_asked([*words, "--corruption.deviation=[0.5, 0.5]", "--size", "32"])
    assert asked == [Blur(sigma=(0.1, 0.2)), CutOut(), Noise(deviation=(0.5, 0.5))]
    assert rest == ["--data", "x", "--size", "32"]


def test_of_a_chain_the_member_takes_the_setting_and_the_chain_its_own():
    words = ["--corruption", "decolour+downsample", "--corruption.factors", "[16]", "--corruption.chance", "0.5"]
    assert corruptions_asked(words)[0] == [Chain(corruptions=(Decolour(), Downsample(factors=(16,))), chance=0.5)]


def test_the_long_name_of_a_setting_follows_the_short_name_of_its_corruption():
    for word in ("--task.corruption.sigma", "--corruption.sigma"):
        assert corruptions_asked(["--corruption", "blur", word, "[0.1, 0.2]"]) == ([Blur(sigma=(0.1, 0.2))], [])
        assert corruptions_asked(["--corruption", "blur", f"{word}=[0.1, 0.2]"]) == ([Blur(sigma=(0.1, 0.2))], [])
    alone = ["--task.corruption.sigma", "[0.1, 0.2]"]
    assert corruptions_asked(alone) == ([], alone)


def test_a_file_describes_one_and_can_be_added_to(tmp_path):
    path = tmp_path / "both.json"
    both = {"class_path": "Chain", "init_args": {"corruptions": [{"class_path": "Blur"}, {"class_path": "Noise"}]}}
    path.write_text(json.dumps(both))
    words = ["--corruption", str(path), "--corruption.sigma", "[0.3, 0.3]"]
    assert corruptions_asked(words)[0] == [Chain(corruptions=(Blur(sigma=(0.3, 0.3)), Noise()))]


OWN = """
import torch
from dataclasses import dataclass
from selfsight import Corruption

@dataclass(frozen=True, kw_only=True)
class Darker(Corruption):
    by: float = 0.5

    def damage(self, images, generator):
        return images * self.by, torch.zeros_like(images[:, :1])
"""


def test_a_corruption_from_ones_own_file(tmp_path, monkeypatch):
    (tmp_path / "my_corruption.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    (one,), _ = corruptions_asked(["--corruption", "my_corruption.Darker", "--corruption.by", "0.2"])
    assert type(one).__name__ == "Darker"
    assert one.by == 0.2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--corruption", "blurr"], "did you mean 'blur'"),
        (["--corruption"], "no corruption ''"),
        (["--corruption", "blur", "--corruption.sgma", "1"], "Blur has no setting 'sgma' .did you mean 'sigma'"),
        (["--corruption", "decolour+blur", "--corruption.factors", "[2]"], "Chain has no setting 'factors'"),
        (["--corruption", "blur", "--corruption.sigma", "abc"], "sigma.*abc"),
        (["--corruption", "blur", "--corruption.sigma", "[0.2, 0.1]"], "least <= most <= 0.5, not"),
        (["--corruption", "blur", "--corruption.sigma"], "a value after"),
        (["--corruption.sigma", "1"], "a corruption before it"),
        (["--corruption", "nowhere.json"], "no configuration file nowhere.json"),
        (["--corruption", "nowhere.Own"], "nowhere"),
        (["--corruption", "blur", "--task", "Rotation"], "takes no corruption: give --task Restore"),
    ],
)
def test_mistakes_are_one_sentence(words, says, photo_folder, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["show", photo_folder, *words])
    assert left.value.code == 2
    told = capsys.readouterr().err.strip()
    assert len(told.splitlines()) == 1
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(told)


def cell(sheet: Image.Image, across: int, down: int, head: int = LINE + MARGIN) -> Image.Image:
    left, top = MARGIN + across * (SHOWN + MARGIN), head + down * (SHOWN + LINE + MARGIN)
    return sheet.crop((left, top, left + SHOWN, top + SHOWN))


def test_the_picture_what_is_left_and_where(photographs):
    images = photographs[:3]
    sheet = draw_corruptions([Decolour(), CutOut()], images)
    assert sheet.size == (4 * (SHOWN + MARGIN) + MARGIN, 3 * (SHOWN + LINE + MARGIN) + LINE + MARGIN)
    shown = Image.fromarray(images[2]).resize((SHOWN, SHOWN), Image.Resampling.NEAREST)
    assert not ImageChops.difference(cell(sheet, 0, 2), shown).getbbox()
    gray = np.asarray(cell(sheet, 1, 2))
    assert (gray == gray[..., :1]).all()
    where = np.asarray(cell(sheet, 3, 2))
    assert set(np.unique(where)) == {0, 255}
    kept = where == 255
    assert (np.asarray(cell(sheet, 2, 2))[kept] == np.asarray(shown)[kept]).all()
    second = MARGIN + SHOWN + MARGIN
    captions = np.asarray(sheet.crop((second, LINE + MARGIN + SHOWN, second + SHOWN, LINE + MARGIN + SHOWN + LINE)))
    assert captions.min() < 100, "how much was removed stands below"


def opened(path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.copy()


def test_show_draws_corruptions(photo_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, name, columns in (
        (["decolour+downsample"], "decolour+downsample.png", 2),
        (["blur,cowmask", "--corruption.share", "[0.5, 0.5]"], "corruptions.png", 4),
        (["noise", "--out", "other.png"], "other.png", 2),
    ):
        with pytest.raises(SystemExit) as left:
            cli.main(["show", "--data", photo_folder, "--corruption", *words])
        assert left.value.code == 0
        assert capsys.readouterr().out.strip() == name
        assert opened(tmp_path / name).width == columns * (SHOWN + MARGIN) + MARGIN


def test_show_in_python_takes_names_one_or_several(photo_folder, tmp_path):
    drawn = [
        opened(selfsight.show(what, photo_folder, out=tmp_path / "one.png")).tobytes()
        for what in ("blur", Blur(), [Blur()], selfsight.Blur())
    ]
    assert len(set(drawn)) == 1
    wide = selfsight.show([Blur(), CowMask(chance=0.5)], photo_folder, out=tmp_path / "two.png")
    assert opened(wide).width == 4 * (SHOWN + MARGIN) + MARGIN
