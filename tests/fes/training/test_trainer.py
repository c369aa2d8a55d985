"""The loop, with real players: whose turn it is, what is called when, and what stops it."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from fes import draws
from fes.batch import Batch
from fes.clock import MEASURE_EVERY
from fes.data.stream import Stream
from fes.errors import Lost
from fes.learning.dials import Dials
from fes.learning.players import BarePlayer, bare_players
from fes.model.ema import Ema
from fes.model.networks import Networks
from fes.runtime.player import Player
from fes.training.trainer import fit


class Diary:
    """Hooks, players, data and noise that write down when they are asked for."""

    def __init__(self, config, index, stop_at: int | None = None, lost_at: int | None = None) -> None:
        self.config, self.stop_at, self.lost_at = config, stop_at, lost_at
        self.networks = Networks(config.model, config.seed)
        self.ema = Ema(self.networks, config.ema_halflife_kimg)
        self.dials = Dials(config.loss)
        self.stream = Stream([index.split("train")], seed=0, batch=config.batch, window=config.shuffle_window)
        self.turns: list[str] = []
        self.asked: list[dict[str, bool]] = []
        self.casts: list[int] = []
        self.scored: list[int] = []
        self.drawn: list[int] = []
        self.batches_taken = 0
        self.updates: list[tuple[int, int]] = []
        self.events: list[tuple[str, int]] = []
        self.measurements: list[dict[str, float]] = []

    def player(self, name: str, bare: BarePlayer) -> Player:
        diary = self

        class Noted(Player):
            def step(self, batch: Batch, noise: draws.Noise, **asked: bool):
                diary.turns.append(name)
                diary.asked.append(asked)
                return super().step(batch, noise, **asked)

        return Noted(*bare)

    def noise(self, step: int) -> draws.Noise:
        self.drawn.append(step)
        return draws.noise(0, step, self.config.batch, self.config.model.latent_dim)

    def batches(self, start: int) -> Iterator[Batch]:
        for step, batch in enumerate(self.stream.batches(start), start):
            if step == self.lost_at:
                raise Lost("the reader is gone")
            self.batches_taken += 1
            yield batch

    def tick(self, step: int, measurements: dict[str, float]) -> None:
        self.events.append(("tick", step))
        self.measurements.append(measurements)

    def snapshot(self, step: int) -> None:
        self.events.append(("snapshot", step))

    def state(self, step: int) -> None:
        self.events.append(("state", step))

    def lost(self, step: int) -> None:
        self.events.append(("lost", step))

    def stopping(self, step: int) -> bool:
        return step == self.stop_at

    def fit(self, start: int = 0) -> int:
        update = self.ema.update

        def noted(seen: int, images: int) -> None:
            self.updates.append((seen, images))
            update(seen, images)

        self.ema.update = noted
        bare = bare_players(self.config, self.networks, self.dials)
        players = {name: self.player(name, each) for name, each in bare.items()}

        def cast(step: int) -> dict[str, Player]:
            self.casts.append(step)
            return players

        return fit(
            self.config,
            cast,
            self.dials,
            self.ema,
            self.batches(start),
            self.noise,
            self,
            lambda value: value,
            start,
            self.held_out,
        )

    def held_out(self, step: int) -> torch.Tensor:
        self.scored.append(step)
        return torch.tensor(7.0)


def test_a_run_takes_turns_and_calls_what_is_due(tiny_config, drawn_index):
    diary = Diary(tiny_config, drawn_index)
    assert diary.fit() == 24
    assert diary.turns == 8 * ["critics", "critics", "autoencoder"]
    assert diary.drawn == list(range(24))
    assert diary.batches_taken == 24
    assert diary.casts == list(range(25))
    assert diary.events == [
        ("tick", 6),
        *[("tick", 12), ("snapshot", 12), ("state", 12)],
        ("tick", 18),
        *[("tick", 24), ("snapshot", 24), ("state", 24)],
    ]
    assert diary.updates == [(24 * turn, 24) for turn in range(1, 9)]


def test_a_tick_holds_the_measurements_of_both_players_and_of_time(tiny_config, drawn_index):
    diary = Diary(tiny_config, drawn_index)
    diary.fit()
    for measurements in diary.measurements:
        players = {name.split("/")[0] for name in measurements}
        assert players - {"pull"} == {"critic", "autoencoder", "time"}
        assert measurements["critic/loss"] == pytest.approx(
            10 * (measurements["critic/image_penalty"] + measurements["critic/latent_penalty"])
            - measurements["critic/image_gap"]
            - measurements["critic/latent_gap"],
            rel=1e-4,
        )


def test_pulls_and_held_out_gaps_are_measured_once_in_sixteen_cycles(tiny_config, drawn_index):
    cycles = 2 * MEASURE_EVERY + 1
    clock = dataclasses.replace(tiny_config.clock, total_kimg=cycles * 3 * 8 / 1000, tick_kimg=9.0)
    diary = Diary(dataclasses.replace(tiny_config, clock=clock), drawn_index)
    diary.fit()
    asked = [number for number, each in enumerate(diary.asked) if each.get("measure")]
    assert asked == [2, 2 + 3 * MEASURE_EVERY, 2 + 6 * MEASURE_EVERY]
    assert diary.scored == [0, 3 * MEASURE_EVERY, 6 * MEASURE_EVERY]
    (told,) = diary.measurements
    assert told["critic/held_out_gap"] == 7.0
    assert told["pull/reconstruction"] == pytest.approx(1.0, rel=1e-5)


def test_a_run_ends_with_everything_saved_though_nothing_else_is_due(tiny_config, drawn_index):
    clock = dataclasses.replace(
        tiny_config.clock, total_kimg=0.04, tick_kimg=9.0, snapshot_kimg=9.0, state_kimg=9.0
    )
    diary = Diary(dataclasses.replace(tiny_config, clock=clock), drawn_index)
    assert diary.fit() == 5
    assert diary.events == [("tick", 5), ("snapshot", 5), ("state", 5)]


def test_a_run_told_to_stop_saves_its_state_and_takes_no_further_step(tiny_config, drawn_index):
    diary = Diary(tiny_config, drawn_index, stop_at=4)
    assert diary.fit() == 4
    assert diary.events == [("tick", 4), ("state", 4)]
    assert len(diary.turns) == 4


@pytest.mark.parametrize(("lost_at", "saved"), [(4, [("lost", 4)]), (3, [])])
def test_a_run_that_loses_its_data_saves_what_it_computed_since_it_began(
    tiny_config, drawn_index, lost_at, saved
):
    diary = Diary(tiny_config, drawn_index, lost_at=lost_at)
    with pytest.raises(Lost):
        diary.fit(start=3)
    assert diary.events == saved
    assert len(diary.turns) == lost_at - 3


def test_a_resumed_run_does_not_repeat_what_was_due_where_it_begins(tiny_config, drawn_index):
    diary = Diary(tiny_config, drawn_index)
    assert diary.fit(start=13) == 24
    assert diary.turns[:3] == ["critics", "autoencoder", "critics"]
    assert diary.drawn == list(range(13, 24))
    assert diary.events == [("tick", 18), ("tick", 24), ("snapshot", 24), ("state", 24)]


@pytest.mark.parametrize(("start", "stop_at"), [(24, None), (30, None), (3, 3)])
def test_a_run_with_nothing_left_to_do_does_nothing(tiny_config, drawn_index, start, stop_at):
    diary = Diary(tiny_config, drawn_index, stop_at)
    assert diary.fit(start) == start
    assert (diary.events, diary.turns, diary.batches_taken) == ([], [], 0)


@pytest.mark.parametrize(("steps", "players"), [(1, ["critics"]), (3, ["critics", "autoencoder"])])
def test_a_step_of_one_player_moves_its_own_networks_only(tiny_config, drawn_index, steps, players):
    own = {"critics": {"latent_critic", "image_critic"}, "autoencoder": {"encoder", "generator"}}
    diary = Diary(tiny_config, drawn_index, stop_at=steps)
    diary.fit()
    start = Networks(tiny_config.model, tiny_config.seed).state_dict()
    now = diary.networks.state_dict()
    moved = {name.split(".")[0] for name, value in start.items() if not torch.equal(value, now[name])}
    assert moved == set.union(*(own[player] for player in players))
