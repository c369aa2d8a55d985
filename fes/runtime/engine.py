"""A player whose gradients DeepSpeed averages, and whose optimiser it shares out over the ranks (ZeRO).

Stage 0 averages gradients as DDP does. Stages 1 and 2 lay a player's weights end to end and give each rank
one part of them, of equal size, to update: it keeps the optimiser's state of that part alone.
"""

import logging
import os
import warnings
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, distributed, nn

from fes.batch import Batch
from fes.draws import Noise
from fes.hardware import Precision
from fes.learning.objectives import Measurements
from fes.runtime.player import in_pieces, restore_optimiser
from fes.runtime.precision import DTYPES


class Engine:
    """An objective in a DeepSpeed engine of its own, with its optimiser.

    Weights are float32, and so is what ranks exchange. Its states are those of a `Player`, whatever the stage
    and the number of ranks: a run goes on from any with any.

    Args:
        objective: on this rank's device, with the same weights on all ranks; these have their process group.
        optimiser: of all parameters of the objective that learn, with one value of each setting, and without
            a state.
        zero_stage: 0, 1 or 2.
        precision: what networks compute in, "no" or "bf16".
    """

    def __init__(
        self,
        objective: nn.Module,
        optimiser: torch.optim.Optimizer,
        *,
        zero_stage: int,
        precision: Precision = "no",
        micro_batch: int | None = None,
        max_gradient_norm: float | None = None,
    ) -> None:
        self.optimiser, self.micro_batch = optimiser, micro_batch
        self._weights = [each for each in objective.parameters() if each.requires_grad]
        inner = _Autocast(objective, DTYPES[precision]) if precision != "no" else objective
        settings = _settings(zero_stage, max_gradient_norm, sum(each.numel() for each in self._weights))
        deepspeed = _quiet_deepspeed(self._weights[0].device)
        self.objective, *_ = deepspeed.initialize(model=inner, optimizer=optimiser, config=settings)
        self._own = optimiser.param_groups[0]["params"][0] if zero_stage else None
        """This rank's part of the weights: the one tensor that its optimiser knows of."""
        self._own_is_old = False
        self._check(zero_stage, max_gradient_norm)

    def step(self, batch: Batch, noise: Noise, **asked: bool) -> Measurements:
        """Forward and backward, piece by piece, which averages the gradients over ranks; then one update.

        What else is `asked` goes to the objective.
        """
        if self._own_is_old:  # the weights themselves may have been loaded after the optimiser's state
            self._own.detach().copy_(self._part(self._weights))
            self._own_is_old = False
        measurements = in_pieces(batch, noise, self.micro_batch, partial(self._backward_of, **asked))
        self.objective.step()
        return measurements

    def state_dict(self) -> dict[str, Any]:
        """The state of an optimiser of all weights, on every rank, though each keeps but its own part."""
        state = self.optimiser.state_dict()
        if self._own is not None:
            numbers = list(range(len(self._weights)))
            whole = {key: self._whole(value) for key, value in state["state"].get(0, {}).items()}
            state["state"] = {n: {key: values[n] for key, values in whole.items()} for n in numbers if whole}
            state["param_groups"][0]["params"] = numbers
        return {"optimiser": state, "scaler": {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave, but for the optimiser's settings, which are the config's."""
        whole = state["optimiser"]
        if self._own is not None:
            self._own_is_old = True
            values = [each for _, each in sorted(whole["state"].items())]
            part = {key: self._part_of_state([each[key] for each in values]) for key in (values or [{}])[0]}
            whole = {**self.optimiser.state_dict(), "state": {0: part} if part else {}}
        restore_optimiser(self.optimiser, whole)

    def close(self) -> None:
        """Lets go of the weights, before another engine takes them: both would handle their gradients."""
        self.objective.destroy()

    def _backward_of(self, batch: Batch, noise: Noise, count: int, last: bool, **asked: bool) -> Measurements:
        self.objective.set_gradient_accumulation_boundary(last)
        loss, measurements = self.objective(batch, noise, **asked)
        self.objective.backward(loss / count)
        return measurements

    def _check(self, zero_stage: int, max_gradient_norm: float | None) -> None:
        """That DeepSpeed, which has defaults and a layout of its own, does what this file counts on."""
        stage, clipping = self.objective.zero_optimization_stage(), self.objective.gradient_clipping()
        if (stage, clipping) != (zero_stage, max_gradient_norm or 0.0):
            raise AssertionError(f"DeepSpeed would take ZeRO stage {stage} and clip gradients at {clipping}")
        if self._own is not None and not torch.equal(self._own, self._part(self._weights)):
            raise AssertionError("this version of DeepSpeed shares weights out in another way")

    def _part(self, tensors: Sequence[Tensor]) -> Tensor:
        """This rank's part of tensors of the weights' shapes."""
        flat = torch.cat([each.detach().flatten() for each in tensors])
        rank, size = distributed.get_rank(), self._own.numel()
        padding = size * distributed.get_world_size() - flat.numel()
        return nn.functional.pad(flat, (0, padding))[rank * size : (rank + 1) * size]

    def _part_of_state(self, values: Sequence[Tensor]) -> Tensor:
        """This rank's part of one of Adam's values, of all weights."""
        return values[0] if values[0].dim() == 0 else self._part(values)  # the steps are the same for all

    def _whole(self, part: Tensor) -> list[Tensor]:
        """What all ranks' parts are together, in the weights' shapes; the inverse of `_part_of_state`."""
        if part.dim() == 0:
            return [part.clone() for _ in self._weights]
        parts = [torch.empty_like(part) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, part)
        sizes = [each.numel() for each in self._weights]
        flat = torch.cat(parts)[: sum(sizes)].split(sizes)
        return [piece.view(each.shape).clone() for piece, each in zip(flat, self._weights, strict=True)]


class _Autocast(nn.Module):
    """An objective whose networks compute in half precision: DeepSpeed ends an autocast around its engine."""

    def __init__(self, objective: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.objective, self.dtype = objective, dtype

    def forward(self, batch: Batch, noise: Noise, **asked: bool) -> tuple[Tensor, Measurements]:
        with torch.autocast(batch.image.device.type, self.dtype):
            return self.objective(batch, noise, **asked)


def _settings(zero_stage: int, max_gradient_norm: float | None, size: int) -> dict[str, Any]:
    """DeepSpeed's settings for a player of `size` weights."""
    # Its own buffer for the exchange is of 2 GB.
    zero: dict[str, Any] = {"stage": zero_stage, "reduce_bucket_size": size}
    if zero_stage and max_gradient_norm is None:
        # The norm is for clipping, but updates of an infinite one would be left out without a word.
        zero["compute_grad_norm"] = False
    return {
        "train_micro_batch_size_per_gpu": 1,  # has to be there; what is taken in pieces is told at each step
        "gradient_accumulation_steps": 1,
        "gradient_clipping": max_gradient_norm or 0.0,  # its own default is 1.0
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


def _quiet_deepspeed(device: torch.device) -> ModuleType:
    """DeepSpeed, which takes two seconds to import, for a device; without operators that it would compile."""
    if device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    deepspeed.ops.__compatible_ops__ = {}
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)  # its warnings go to stdout
    warnings.filterwarnings("ignore", "`torch.distributed.all_gather_into_tensor`", FutureWarning)
    return deepspeed
