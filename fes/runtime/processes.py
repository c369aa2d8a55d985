"""The processes of a run: which of them this one is, what it computes on, and how they talk."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object
from torch import Tensor, nn

from fes.batch import Batch
from fes.errors import InputError, Lost
from fes.hardware import Hardware, pieces
from fes.machine import keep_memory
from fes.runtime.attempt import METHOD, end_gathering
from fes.runtime.engine import Engine
from fes.runtime.heartbeat import join_heartbeats, limited
from fes.runtime.launcher import ON_CPU, Launch, check_together, cores_of_rank
from fes.runtime.links import listen
from fes.runtime.player import Player
from fes.runtime.precision import check_precision, describe_arithmetic, set_arithmetic
from fes.runtime.pulse import Pulse
from fes.runtime.replayed import ReplayedPlayer
from fes.runtime.stopping import Stopping

PATIENCE = timedelta(hours=24)
"""How long ranks wait for one another: while one decodes or fetches a large data set, the others have no more
to do. A rank that has died needs no such limit: `Runtime.watched`."""

READERS = 2, 6
"""The fewest and the most processes that read ahead for a GPU: two hold back an H100 whose steps are
replayed to 0.63 of what it can do at 48 px; with six it does 0.95, and with twelve no more."""

NOT_REPLAYED = "--replay has no effect (it is for one GPU, bf16 or float32, and settings that stay)"

FIRST_EXCHANGE = 300.0
"""Seconds for the first exchange between ranks that have met: a network that lets none through shows here."""
_SILENT_NETWORK = (
    "the processes have met, but nothing comes through between them in 5 minutes: the interface or the "
    "transport is wrong (NCCL_DEBUG=INFO tells which is taken; NCCL_SOCKET_IFNAME or GLOO_SOCKET_IFNAME name "
    "another)"
)

Value = TypeVar("Value")


class Runtime:
    """What the launcher started: this process, its device, and the others. A context manager.

    Raises:
        InputError: the launcher asks for something that is not here or would be wrong; the sentence
            says what to run instead.
    """

    def __init__(self, hardware: Hardware | None = None) -> None:
        self.hardware = hardware or Hardware()
        self.launch = Launch.read()
        check_together(self.launch, self.hardware)
        # Players see to their precision themselves: two of them need two loss scales.
        self._accelerator = Accelerator(
            mixed_precision="no",
            kwargs_handlers=[InitProcessGroupKwargs(init_method=METHOD, timeout=PATIENCE)],
        )
        self.rank, self.ranks = self._accelerator.process_index, self._accelerator.num_processes
        self.device = self._accelerator.device
        self.is_main = self._accelerator.is_main_process
        self.is_first_here = self._accelerator.is_local_main_process
        self._pulse = Pulse()
        self._stopping = Stopping(self.ranks, self._largest)
        try:
            self._refuse_strangers()
            check_precision(self.launch.precision, self.device)
        except InputError:
            self.close()
            raise
        set_arithmetic(self.hardware, self.device)
        keep_memory(self.device.type)
        torch.set_num_threads(cores_of_rank(self.launch))
        with limited(FIRST_EXCHANGE, _SILENT_NETWORK):
            self.wait()
        end_gathering()

    def _refuse_strangers(self) -> None:
        if self.ranks != self.launch.ranks:
            started = self.launch.ranks
            raise InputError(
                f"{started} processes were started, but they do not know of each other and each would train "
                f"alone: run '{ON_CPU} {started} fes/train.py ...'"
            )

    def describe(self, batch: int, readers: int | None, moves: bool = False) -> str:
        """What computes a batch, and how, in one line.

        Args:
            readers: that are asked for, as `readers` takes them.
            moves: whether settings move by themselves.
        """
        share = batch // self.ranks
        count = pieces(share, self.hardware.micro_batch)
        stage = self.launch.zero_stage
        kind = "DDP" if stage is None else f"DeepSpeed with ZeRO stage {stage}"
        told = [f"{self.ranks} processes ({kind})" if self.ranks > 1 or stage is not None else "1 process"]
        told.append(f"{share} pictures{' each' * (self.ranks > 1)}")
        if count > 1:
            told.append(f"in {count} pieces of {share // count}")
        ahead = self.readers(readers)
        told.append(f"{ahead} reader{'s' * (ahead != 1)}{' each' * (self.ranks > 1)}")
        if self.device.type == "cpu" and not self.launch.on_cpu:
            told.append("no GPU was found")
        if self.hardware.replay and (moves or not self.replays):
            told.append(NOT_REPLAYED)
        arithmetic = describe_arithmetic(self.launch.precision, self.hardware, self.device)
        return f"{', '.join(told)}; {arithmetic}"

    def player(
        self,
        objective: nn.Module,
        optimiser: torch.optim.Optimizer,
        max_gradient_norm: float | None = None,
        steady: bool = False,
    ) -> Player | Engine:
        """Wraps an objective, on this rank's device already, for gradients averaged over ranks.

        Args:
            steady: the objective asks Python for nothing that changes from step to step: it can be replayed.
        """
        settings = {
            "precision": self.launch.precision,
            "micro_batch": self.hardware.micro_batch,
            "max_gradient_norm": max_gradient_norm,
        }
        if self.launch.zero_stage is not None:
            return Engine(objective, optimiser, zero_stage=self.launch.zero_stage, **settings)
        kind = ReplayedPlayer if steady and self.replays else Player
        wrapped = self._accelerator.prepare_model(objective)
        self._accelerator.free_memory()  # it would hold every objective, with its networks, until it ends
        return kind(wrapped, optimiser, **settings)

    @property
    def replays(self) -> bool:
        """Whether steps are replayed where they can be: on one GPU, by a player with no more to see to."""
        alone = self.ranks == 1 and self.device.type == "cuda"
        plain = self.launch.precision != "fp16" and self.launch.zero_stage is None
        return self.hardware.replay and alone and plain

    def readers(self, asked: int | None) -> int:
        """The processes that read ahead for this rank: as asked, or what suits its device and the cores."""
        return readers_for(self.device, cores_of_rank(self.launch)) if asked is None else asked

    def placed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, on this rank's device. Raises `Lost` as `waited` does."""
        while True:
            batch = self.waited(partial(next, batches, None))
            if batch is None:
                return
            self._pulse.takes_step()
            yield Batch(*(part.to(self.device, non_blocking=True) for part in batch))

    def waited(self, get: Callable[[], Value]) -> Value:
        """Data that are waited for: raises `Lost` where they do not come and this rank is asked to stop."""
        return self._stopping.waited(get)

    def moved(self, drawn: Tensor) -> Tensor:
        """A tensor that was made on the CPU, on this rank's device; the CPU does not wait for it."""
        pinned = drawn.pin_memory() if self.device.type == "cuda" else drawn
        return pinned.to(self.device, non_blocking=True)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over ranks, on all of them."""
        with self._pulse.among_ranks():
            return self._accelerator.reduce(value, "mean")

    def gathered(self, value: Value) -> list[Value]:
        """What each rank has, by rank, on all of them: something small that pickles."""
        with self._pulse.among_ranks():
            return gather_object([value])

    def from_main(self, make: Callable[[], Value]) -> Value:
        """What the main rank makes, on all of them, pickled on the way: only its disk and memory are asked.

        Where it raises `InputError`, all ranks end.
        """
        made = self.together(lambda: make() if self.is_main else None)
        with self._pulse.among_ranks():
            return broadcast_object_list([made])[0]

    def together(self, make: Callable[[], Value]) -> Value:
        """What this rank makes; where any rank raises `InputError`, all end."""
        made, fault = None, None
        try:
            made = make()
        except InputError as error:
            fault = error
        self.agree(fault)
        return made

    def agree(self, fault: InputError | None) -> None:
        """Ends all ranks where any of them has a fault, which the main rank tells; all have to call it.

        Raises:
            InputError: on the main rank: the fault, with the ranks that have it where not all do; `Lost`
                where another start may heal all of them.
            SystemExit: with the same code, on the others.
        """
        faults = self.gathered(fault and (str(fault), fault.code))
        if not any(faults):
            return
        fault = fault_of_all(faults)
        raise fault if self.is_main else SystemExit(fault.code)

    def wait(self) -> None:
        """Until every rank is here."""
        with self._pulse.among_ranks():
            self._accelerator.wait_for_everyone()

    def exchange(self) -> contextlib.AbstractContextManager[None]:
        """Around what ranks exchange by themselves: a rank that is missing there is noticed."""
        return self._pulse.among_ranks()

    def watched(self, program: str) -> contextlib.AbstractContextManager[object]:
        """While it lasts, a rank that dies or hangs is noticed: the others leave, one of them tells.

        Raises:
            InputError: the machines cannot reach one another.
        """
        if self.ranks == 1:
            return contextlib.nullcontext()
        names = self.gathered(f"rank {self.rank} (host {socket.gethostname()}, process {os.getpid()})")
        server, meeting = listen(self.ranks) if self.is_main else (None, None)
        meeting = self.from_main(lambda: meeting)
        join = partial(join_heartbeats, self.rank, names, server, meeting, self.hardware.rank_timeout)
        local_rank = self._accelerator.local_process_index
        # Without rank 0 nobody hears all others: the next one tells, on each machine.
        speaks = local_rank == int(self.rank == local_rank)
        return self.together(lambda: join(self._pulse, program, speaks))

    def stopping(self, step: int) -> bool:
        """Whether any rank was asked to stop; the same answer on all ranks, asked at every step."""
        self._pulse.reaches(step)
        return self._stopping.before(step)

    def begins_run(self) -> None:
        """From now on Ctrl-C, SIGTERM and SIGUSR1 ask to stop; on one rank a second Ctrl-C insists. Steps are
        counted anew, and the first may take long."""
        self._pulse.begins()
        self._stopping.catch_signals()

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that ended as this one: 128 plus the signal, or 0."""
        return self._stopping.exit_code

    def _largest(self, values: Sequence[float]) -> list[float]:
        """The largest over ranks, of each of some numbers."""
        noted = torch.tensor([values], dtype=torch.float64, device=self.device)
        with self._pulse.among_ranks():
            return self._accelerator.gather(noted).amax(0).tolist()

    def __enter__(self) -> "Runtime":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leaves the group of processes, whose threads would now and then abort a process that ends in it.

        Not after a fault: there another rank may be missing, and be waited for. NCCL waits for it also where
        gloo does not, after what a rank alone tells its user.
        """
        if kind is None or (issubclass(kind, InputError | SystemExit) and self.device.type == "cpu"):
            self.close()

    def close(self) -> None:
        """Leaves the group of processes."""
        self._accelerator.end_training()


def readers_for(device: torch.device, cores_of_rank: int) -> int:
    """The processes that read ahead for a rank with so many cores: one is left to the rank itself."""
    few, most = READERS
    return few if device.type == "cpu" else min(max(cores_of_rank - 1, few), most)


def fault_of_all(faults: Sequence[tuple[str, int] | None]) -> InputError:
    """The faults of all ranks, a sentence and an exit code each, as one: what all have is told once, else
    each with those that have it. `Lost` where another start may heal all of them."""
    ranks: dict[str, list[str]] = {}
    for rank, fault in enumerate(faults):
        if fault:
            ranks.setdefault(fault[0], []).append(str(rank))
    told = "; ".join(
        f"rank{'s' * (len(those) > 1)} {', '.join(those)}: {each}" for each, those in ranks.items()
    )
    if len(set(faults)) == 1:
        told = next(iter(ranks))
    code = min(fault[1] for fault in faults if fault)
    return InputError(told) if code == InputError.code else Lost(told, code)
