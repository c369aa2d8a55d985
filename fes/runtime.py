"""Processes, devices and how ranks talk: the only file that knows accelerate and torch.distributed."""

import os
import signal
from collections.abc import Iterator, Sequence
from datetime import timedelta
from types import FrameType
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, DynamoBackend, InitProcessGroupKwargs, gather_object
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fes.batch import Batch
from fes.draws import Noise
from fes.errors import InputError
from fes.machine import cores
from fes.objectives import Measurements

_STOP_POLL = 8
"""Steps between two agreements of several ranks on whether to stop: each waits for the slowest."""

PATIENCE = timedelta(hours=24)
"""How long ranks wait for one another: while one decodes or fetches a large data set, the others have no more
to do. A rank that has died needs no such limit, the launcher ends the others."""

ON_CPU = "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_machines 1 --num_processes"

Value = TypeVar("Value")


class Player:
    """An objective, wrapped for the ranks at hand, with its optimiser."""

    def __init__(self, objective: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        self.objective, self.optimiser = objective, optimiser
        self._settled = not isinstance(objective, DistributedDataParallel)

    def step(self, batch: Batch, noise: Noise) -> Measurements:
        """One forward, one backward (which averages the gradients over ranks), one update."""
        if not self._settled:
            self._settle(batch, noise)
        measurements = self._backward(batch, noise)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return measurements

    def _backward(self, batch: Batch, noise: Noise) -> Measurements:
        loss, measurements = self.objective(batch, noise)
        loss.backward()
        return measurements

    def _settle(self, batch: Batch, noise: Noise) -> None:
        """Two passes that are thrown away.

        DDP regroups the gradients after its first pass, and so sums them in another order from then on:
        without this, a run that was resumed would not equal one that was not, to the last bit.
        """
        for _ in range(2):
            self._backward(batch, noise)
            self.optimiser.zero_grad(set_to_none=True)
        self._settled = True


class Runtime:
    """What the launcher started: this process, its device, and the others.

    Raises:
        InputError: the launcher asks for something that is not here or would be wrong; the sentence
            says what to run instead.
    """

    def __init__(self) -> None:
        _refuse_missing_gpus()
        try:
            self._accelerator = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)])
        except ValueError as error:  # fp16 on a CPU, say
            raise InputError(f"the launch profile does not fit this machine: {error}") from None
        _refuse_unsupported(self._accelerator)
        self.rank, self.ranks = self._accelerator.process_index, self._accelerator.num_processes
        self.device = self._accelerator.device
        self.is_main = self._accelerator.is_main_process
        self.is_first_here = self._accelerator.is_local_main_process
        self._signal: int | None = None
        torch.set_num_threads(max(1, cores() // _ranks_here()))

    def player(self, objective: nn.Module, optimiser: torch.optim.Optimizer) -> Player:
        """Wraps an objective, on this rank's device already, for gradients averaged over ranks."""
        return Player(self._accelerator.prepare_model(objective), optimiser)

    def placed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, on this rank's device."""
        for batch in batches:
            yield Batch(*(part.to(self.device, non_blocking=True) for part in batch))

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over ranks, on all of them."""
        return self._accelerator.reduce(value, "mean")

    def gathered(self, value: Value) -> list[Value]:
        """What each rank has, by rank, on all of them: of something small that pickles."""
        return gather_object([value])

    def agree(self, fault: InputError | None) -> None:
        """Ends all ranks where any of them has a fault, which the main rank tells; all have to call it.

        Raises:
            InputError: on the main rank: the fault, with the ranks that have it where not all do.
            SystemExit: with code 2, on the others.
        """
        faults = self.gathered(None if fault is None else str(fault))
        if any(faults):
            raise InputError(in_one_sentence(faults)) if self.is_main else SystemExit(2)

    def wait(self) -> None:
        """Until every rank is here."""
        self._accelerator.wait_for_everyone()

    def catch_signals(self) -> None:
        """From now on Ctrl-C and SIGTERM ask the run to stop soon; on one rank a second Ctrl-C insists."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, _: FrameType | None) -> None:
        # The same wish may come twice: from a terminal or a scheduler, and passed on by the launcher.
        self._signal = number
        if number == signal.SIGINT and self.ranks == 1:
            signal.signal(number, signal.default_int_handler)

    def stopping(self, step: int) -> bool:
        """Whether any rank was asked to stop; the same answer on all ranks, asked at every step."""
        if self.ranks == 1:
            return self._signal is not None
        if step % _STOP_POLL:
            return False
        noted = torch.tensor(self._signal or 0, device=self.device)
        self._signal = int(self._accelerator.gather(noted.reshape(1)).max()) or None
        return self._signal is not None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that ended as this one: 128 plus the signal, or 0."""
        return 128 + self._signal if self._signal else 0

    def close(self) -> None:
        """Leaves the group of processes."""
        self._accelerator.end_training()


def in_one_sentence(faults: Sequence[str | None]) -> str:
    """The faults of all ranks, by rank: what all have once, else each with those that have it."""
    if len(set(faults)) == 1:
        return str(faults[0])
    ranks: dict[str, list[str]] = {}
    for rank, fault in enumerate(faults):
        if fault is not None:
            ranks.setdefault(fault, []).append(str(rank))
    return "; ".join(
        f"rank{'s' * (len(those) > 1)} {', '.join(those)}: {fault}" for fault, those in ranks.items()
    )


def _ranks_here() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _refuse_missing_gpus() -> None:
    wanted, present = _ranks_here(), torch.cuda.device_count()
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("1", "true", "yes")
    if wanted > max(present, 1) and not on_cpu:
        raise InputError(
            f"the launcher started {wanted} processes, and this machine has {present} GPUs: run "
            f"'accelerate launch fes/train.py ...' on what there is, or '{ON_CPU} {wanted} fes/train.py ...' "
            "for as many processes on the CPU"
        )


def _refuse_unsupported(accelerator: Accelerator) -> None:
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != started:
        raise InputError(
            f"{started} processes were started, but they do not know of each other and each would train "
            f"alone: run '{ON_CPU} {started} fes/train.py ...'"
        )
    kinds = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)
    if accelerator.distributed_type not in kinds:
        raise InputError(
            f"the launch profile asks for {accelerator.distributed_type.value}: fes trains on one process, "
            "or with distributed_type MULTI_GPU or MULTI_CPU"
        )
    if accelerator.mixed_precision not in ("no", "bf16"):
        raise InputError(
            f"the launch profile asks for --mixed_precision {accelerator.mixed_precision}: the gradient "
            "penalty overflows in it; take 'no' or 'bf16'"
        )
    if accelerator.gradient_accumulation_steps != 1:
        raise InputError(
            f"the launch profile asks for {accelerator.gradient_accumulation_steps} gradient accumulation "
            "steps: take 1, and set the global batch by --batch"
        )
    if accelerator.state.dynamo_plugin.backend != DynamoBackend.NO:
        raise InputError(
            "the launch profile asks for torch.compile, which has no double backward for the gradient "
            "penalty: take --dynamo_backend no"
        )
