"""The judge: an expression classifier that grades synthesised faces.

It is trained on real pictures only and never on synthesised ones, and it shares nothing with the
networks it grades.
"""

from fes.judge.file import check_distinct, doubts, load_graders, load_judge, save_judge
from fes.judge.halfway import Halfway, path_of
from fes.judge.network import Facts, Judge, Kind, check_labels, new_judge
from fes.judge.training import JudgeConfig, train_judge

__all__ = [
    "Facts",
    "Halfway",
    "Judge",
    "JudgeConfig",
    "Kind",
    "check_distinct",
    "check_labels",
    "doubts",
    "load_graders",
    "load_judge",
    "new_judge",
    "path_of",
    "save_judge",
    "train_judge",
]
