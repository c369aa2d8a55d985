"""An ablation goes on where it was, and takes no figure for one of what is asked for that is none."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench import ablation
from bench.ablation import MADE_WITH, Ablation
from fes.errors import InputError
from fes.judge import Judge, new_judge, save_judge

RECIPE = Path(__file__).parents[1] / "recipes/demo.yaml"
Calls = list[list[str]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What is run; an evaluation leaves its number among the figures."""
    made: Calls = []

    def run_python(*words: str) -> None:
        made.append([*words])
        if "evaluate" in words:
            path = Path(words[words.index("--run") + 1]) / "evaluation/snapshot-000001.000-test.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps({"score": len(made)}))

    monkeypatch.setattr(ablation, "run_python", run_python)
    return made


@pytest.fixture
def asked(drawn_folder: Path, drawn_judge: Judge, tmp_path: Path) -> Ablation:
    for name, seed in (("guide", 1), ("other", 2)):
        save_judge(tmp_path / name, new_judge("plain", 48, 1, seed))
    save_judge(tmp_path / "judge", drawn_judge)
    files = {name: tmp_path / name for name in ("judge", "guide", "out")}
    return Ablation(recipe=RECIPE, data=str(drawn_folder), kimg=1, only=("recipe",), **files)


def score(asked: Ablation) -> str:
    ablation.run(asked)
    return (asked.out / "table.md").read_text().splitlines()[-1]


def test_a_variant_that_is_done_as_asked_is_not_done_again(asked: Ablation, calls: Calls) -> None:
    assert score(asked) == score(replace(asked, only=("recipe",))) == "| recipe | 2.000 |"
    assert len(calls) == 2
    score(replace(asked, only=("recipe", "no return")))
    assert len(calls) == 4


@pytest.mark.parametrize(
    "other",
    [
        lambda asked: replace(asked, faces=7),
        lambda asked: replace(asked, judge=asked.judge.with_name("other")),
        lambda asked: replace(asked, second_judge=asked.judge.with_name("other")),
    ],
    ids=["faces", "judge", "second judge"],
)
def test_with_other_faces_or_judges_a_variant_is_measured_anew(
    asked: Ablation, calls: Calls, other: Callable[[Ablation], Ablation]
) -> None:
    score(asked)
    assert score(other(asked)) == "| recipe | 4.000 |"
    assert score(other(asked)) == "| recipe | 4.000 |"
    assert calls[3] == ["-m", "fes.cli", *ablation.commands(other(asked), "recipe")[1]]


def test_a_judge_that_took_the_place_of_another_is_another(asked: Ablation, calls: Calls) -> None:
    score(asked)
    asked.judge.with_name("other").rename(asked.judge)
    assert score(asked) == "| recipe | 4.000 |"


def changed_recipe(asked: Ablation) -> Ablation:
    path = asked.judge.with_name("recipe.yaml")
    path.write_text(RECIPE.read_text().replace("guide_weight: 2.0", "guide_weight: 1.5"))
    return replace(asked, recipe=path)


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (lambda asked: replace(asked, kimg=2), "clock.snapshot_kimg, clock.state_kimg, clock.total_kimg, st"),
        (lambda asked: replace(asked, opening=0.5), "stages.opening.kimg: "),
        (lambda asked: replace(asked, guide=asked.judge.with_name("other")), "guide: "),
        (changed_recipe, "loss.guide_weight: "),
    ],
    ids=["kimg", "opening", "guide", "recipe"],
)
def test_a_variant_that_was_trained_otherwise_is_refused_before_anything_is_run(
    asked: Ablation, calls: Calls, other: Callable[[Ablation], Ablation], names: str
) -> None:
    score(asked)
    with pytest.raises(InputError, match=f"/recipe was trained with another {names}"):
        ablation.run(replace(other(asked), only=("no return", "recipe")))
    assert len(calls) == 2
    assert not (asked.out / "no-return").exists()


def test_a_variant_that_was_trained_on_other_data_is_refused(asked: Ablation, calls: Calls) -> None:
    ablation.measure(asked, "recipe", "one")
    with pytest.raises(InputError, match=r"was trained with another data: remove it, or take another --out$"):
        ablation.refuse_other(asked, "recipe", "other")


def test_a_variant_that_was_stopped_goes_on_as_it_was_begun_alone(
    asked: Ablation, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*words: str) -> None:
        raise SystemExit(130)

    with monkeypatch.context() as patch:
        patch.setattr(ablation, "run_python", stopped)
        with pytest.raises(SystemExit):
            ablation.run(asked)
    with pytest.raises(InputError, match=r"was trained with another clock\."):
        ablation.run(replace(asked, kimg=2))
    assert score(asked) == "| recipe | 2.000 |"


@pytest.mark.parametrize("kept", [None, "{", "[]", '{"trained": {}}'])
def test_figures_of_which_nothing_tells_what_they_were_measured_with_are_refused(
    asked: Ablation, calls: Calls, kept: str | None
) -> None:
    evaluation = asked.out / "recipe/evaluation"
    evaluation.mkdir(parents=True)
    (evaluation / "snapshot-000001.000-test.json").write_text("{}")
    if kept is not None:
        (asked.out / "recipe" / MADE_WITH).write_text(kept)
    with pytest.raises(
        InputError, match=r"recipe does not tell, in made_with\.json, what it was trained with"
    ):
        ablation.run(asked)
    assert calls == []
