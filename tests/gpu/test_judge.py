"""A judge on a GPU."""

import pytest
import torch

from fes.judge import JudgeConfig, new_judge, train_judge

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_a_judge_learns_on_the_gpu_and_comes_back_to_the_cpu(drawn_index):
    config = JudgeConfig(kimg=3.2, batch=16)
    judge = new_judge("residual", 48, 1, seed=0)
    torch.cuda.reset_peak_memory_stats()
    train_judge(judge, [drawn_index.split("train")], [1.0], config, lambda done, total: None)
    assert torch.cuda.max_memory_allocated() > 10e6
    assert {value.device.type for value in judge.parameters()} == {"cpu"}
    assert judge.score([drawn_index.split("test")])[0] > 0.6 * 42
