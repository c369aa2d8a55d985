"""Two judges of different kinds, and the faces that they judge."""

import pytest

from fes.evaluation.evaluator import Evaluator
from fes.evaluation.faces import Faces, load_faces
from fes.judge import Judge, JudgeConfig, new_judge, train_judge
from shards.index import ShardIndex


@pytest.fixture(scope="session")
def faces(drawn_index: ShardIndex) -> Faces:
    """The seven pictures of each of six people."""
    return load_faces(drawn_index, ("test",), 48, 1, 500)


@pytest.fixture(scope="session")
def residual_judge(drawn_index: ShardIndex) -> Judge:
    """Another judge than `drawn_judge`, of another kind and seed."""
    judge = new_judge("residual", 48, 1, seed=1)
    config = JudgeConfig("residual", kimg=1.12, batch=16, rate=3e-3, augment=0, precision="no", seed=1)
    train_judge(judge, [drawn_index.split("train")], [1.0], config, lambda done, total: None)
    return judge


@pytest.fixture(scope="session")
def evaluator(faces: Faces, drawn_judge: Judge) -> Evaluator:
    """What measures generators by `drawn_judge`."""
    return Evaluator(faces, drawn_judge)
