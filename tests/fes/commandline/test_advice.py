"""Commands that messages advise are whole, and a shell reads them as they are meant."""

import shlex
from pathlib import Path

from fes.commandline.advice import judge_training, shape


def test_a_judge_and_a_guide_are_trained_of_what_is_known_by_words_that_a_shell_takes_apart():
    assert judge_training(Path("a")) == "fes judge train --data DATA --out a.safetensors"
    command = judge_training(Path("my guide.safetensors"), "data/a b:0.5", 96, 3, guide=True)
    made = shlex.split(command)
    assert made[:7] == ["fes", "judge", "train", "--data", "data/a b:0.5", "--out", "my guide.safetensors"]
    assert command.endswith(" --half --seed 100 --noise 0.5 --kimg 400 --resolution 96 --channels 3")


def test_a_shape_is_told_in_the_singular_where_there_is_one_channel():
    assert (shape(48, 1), shape(64, 3)) == ("48 px and 1 channel", "64 px and 3 channels")
