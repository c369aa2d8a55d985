"""The one clock: kimg, thousands of real pictures drawn from the data, each batch counted once.

A step is one update of one player and takes one batch, so the clock is a function of the step.
"""

from dataclasses import dataclass

from fes.config import Config

MEASURE_EVERY = 16
"""Updates of the autoencoder from one measurement of pulls, a backward for each term, to the next."""


@dataclass(frozen=True)
class Clock:
    """Turns steps into kimg, and says what is due and whose turn it is."""

    batch: int
    critic_steps: int
    total_kimg: float

    @classmethod
    def of(cls, config: Config) -> "Clock":
        """The clock of a run."""
        return cls(config.batch, config.critic_steps, config.clock.total_kimg)

    def images(self, step: int) -> int:
        """Real pictures drawn before `step`."""
        return step * self.batch

    def kimg(self, step: int) -> float:
        """The same in thousands."""
        return self.images(step) / 1000

    def due(self, interval_kimg: float, step: int) -> bool:
        """Whether the step before `step` reached a multiple of the interval."""
        # In whole pictures: as fractions, 0.3 // 0.1 is 2.
        interval = max(1, round(interval_kimg * 1000))
        return self.images(step) // interval > self.images(step - 1) // interval

    def finished(self, step: int) -> bool:
        """Whether the run's length was reached before `step`."""
        return self.kimg(step) >= self.total_kimg

    def measures(self, step: int) -> bool:
        """Whether pulls are measured at this step: at each 16th update of the autoencoder."""
        return self.is_autoencoder_turn(step) and (step // self.cycle) % MEASURE_EVERY == 0

    def looks_at_held_out(self, step: int) -> bool:
        """Whether held-out pictures are scored at this turn of the critics: the first of each 16 cycles."""
        return step % (MEASURE_EVERY * self.cycle) == 0

    @property
    def cycle(self) -> int:
        """Steps from one update of the autoencoder to the next."""
        return self.critic_steps + 1

    def is_autoencoder_turn(self, step: int) -> bool:
        """The critics go first, `critic_steps` times; then the autoencoder, once."""
        return step % self.cycle == self.critic_steps
