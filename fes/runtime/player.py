"""A player on one process, or on several that average their gradients."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fes.batch import Batch
from fes.draws import Noise
from fes.errors import NoRoom
from fes.hardware import Precision, pieces
from fes.learning.objectives import Measurements
from fes.runtime.precision import DTYPES, FIRST_SCALE


class Player:
    """An objective, wrapped for the ranks at hand, with its optimiser."""

    def __init__(
        self,
        objective: nn.Module,
        optimiser: torch.optim.Optimizer,
        *,
        precision: Precision = "no",
        micro_batch: int | None = None,
        max_gradient_norm: float | None = None,
    ) -> None:
        self.objective, self.optimiser = objective, optimiser
        self.micro_batch, self.max_gradient_norm = micro_batch, max_gradient_norm
        self._settled = not isinstance(objective, DistributedDataParallel)
        self._device = next(objective.parameters()).device.type
        self._dtype = DTYPES[precision]
        # One for each player: an overflow of one must not change the other's steps.
        self._scaler = torch.amp.GradScaler(self._device, FIRST_SCALE, enabled=precision == "fp16")

    def step(self, batch: Batch, noise: Noise, **asked: bool) -> Measurements:
        """Forward and backward, piece by piece, which averages the gradients over ranks; then one update.

        What else is `asked` goes to the objective.
        """
        if not self._settled:
            self._settle(batch, noise)
        measurements = self._backward(batch, noise, **asked)
        if self.max_gradient_norm is not None:
            self._scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.objective.parameters(), self.max_gradient_norm)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        return measurements

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's state and the loss scale's."""
        return {"optimiser": self.optimiser.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave, but for the optimiser's settings, which are the config's.

        Raises:
            ValueError, KeyError: it is the state of another player.
        """
        restore_optimiser(self.optimiser, state["optimiser"])
        if self._scaler.is_enabled() and state["scaler"]:  # empty where the run was in another precision
            self._scaler.load_state_dict(state["scaler"])

    def close(self) -> None:
        """Lets go of the weights, before another player takes them. DDP acts in its own passes alone."""

    def _backward(self, batch: Batch, noise: Noise, **asked: bool) -> Measurements:
        return in_pieces(batch, noise, self.micro_batch, partial(self._backward_of, **asked))

    def _backward_of(self, batch: Batch, noise: Noise, count: int, last: bool, **asked: bool) -> Measurements:
        # Ranks exchange gradients in the last piece's backward, of all pieces together.
        with contextlib.nullcontext() if last else self._alone():
            with torch.autocast(self._device, self._dtype, enabled=self._dtype != torch.float32):
                loss, measurements = self.objective(batch, noise, **asked)
            self._scaler.scale(loss / count).backward()
        return measurements

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        several = isinstance(self.objective, DistributedDataParallel)
        return self.objective.no_sync() if several else contextlib.nullcontext()

    def _settle(self, batch: Batch, noise: Noise) -> None:
        """Two passes that are thrown away.

        DDP regroups the gradients after its first pass, and so sums them in another order from then on:
        without this, a run that was resumed would not equal one that was not, to the last bit.
        """
        for _ in range(2):
            self._backward(batch, noise)
            self.optimiser.zero_grad(set_to_none=True)
        self._settled = True


def in_pieces(
    batch: Batch,
    noise: Noise,
    micro_batch: int | None,
    backward: Callable[[Batch, Noise, int, bool], Measurements],
) -> Measurements:
    """Calls `backward(piece, its noise, number of pieces, whether it is the last)` for each piece of a rank's
    share of a batch; returns the mean of the measurements.

    Raises:
        NoRoom: the GPU has none for a piece.
    """
    count = pieces(len(batch.label), micro_batch)
    try:
        found = [
            backward(part, part_noise, count, number == count)
            for number, (part, part_noise) in enumerate(_split(batch, noise, count), start=1)
        ]
    except torch.OutOfMemoryError:
        raise NoRoom(len(batch.label) // count) from None
    if count == 1:
        return found[0]
    return {name: sum(each[name] for each in found) / count for name in found[0]}


def restore_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Loads an optimiser's state, but for its settings, which are the config's.

    Raises:
        ValueError, KeyError: it is the state of an optimiser of other parameters.
    """
    settings = [
        {key: value for key, value in group.items() if key != "params"} for group in optimiser.param_groups
    ]
    optimiser.load_state_dict(state)
    for group, own in zip(optimiser.param_groups, settings, strict=True):
        group.update(own)
        # Where steps were replayed they were counted on the GPU: to read them there makes each step wait.
        for kept in () if group.get("capturable") else map(optimiser.state.get, group["params"]):
            if kept and "step" in kept:
                kept["step"] = kept["step"].cpu()


def _split(batch: Batch, noise: Noise, count: int) -> Iterator[tuple[Batch, Noise]]:
    """Equal pieces of a rank's share, in order."""

    def rows(part: Tensor, number: int) -> Tensor:
        return part.chunk(count)[number]

    for number in range(count):
        yield (
            Batch(*(rows(part, number) for part in batch)),
            Noise(*(rows(part, number) for part in noise)),
        )
