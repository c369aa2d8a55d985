"""The seven classes and the names that other data sets give them."""

import pytest

from fes.expressions import ALIASES, EXPRESSIONS, UNLABELLED, expression_label, expression_meant


def test_the_order_of_the_classes_is_that_of_fer2013():
    assert EXPRESSIONS == ("angry", "disgusted", "afraid", "happy", "sad", "surprised", "neutral")
    assert UNLABELLED not in range(len(EXPRESSIONS))


def test_no_name_stands_for_two_classes():
    names = [*EXPRESSIONS, *(alias for aliases in ALIASES.values() for alias in aliases)]
    assert len(set(names)) == len(names)
    assert set(ALIASES) == set(EXPRESSIONS)


@pytest.mark.parametrize(("label", "name"), list(enumerate(EXPRESSIONS)))
def test_a_class_is_found_by_its_name_and_aliases_in_any_case(label, name):
    for written in (name, *ALIASES[name]):
        assert expression_label(written) == label
        assert expression_label(f"  {written.upper()}\n") == label


@pytest.mark.parametrize("name", ["", "contempt", "hap", "3"])
def test_other_names_are_no_class(name):
    assert expression_label(name) is None


def test_the_names_of_known_data_sets_are_known():
    fer2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    ck_plus = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutrality")
    rafd = ("angry", "disgusted", "fearful", "joy", "sad", "surprised", "neutral")
    for names in (fer2013, ck_plus, rafd):
        assert [expression_label(name) for name in names] == list(range(7))


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        *[("smile", "happy"), ("Smiling", "happy"), ("unhappy", "sad"), ("crying", "sad"), ("mad", "angry")],
        *[("hapyness", "happy"), ("suprised", "surprised"), ("fearfull", "afraid"), ("shocked", "surprised")],
        ("xyzzy", None),
    ],
)
def test_a_word_of_everyday_or_a_misspelt_one_is_no_class_but_means_one(word, meant):
    assert expression_label(word) is None
    assert expression_meant(word) == meant
