"""The command line of training: flags, a yaml file, and what the data decide."""

from pathlib import Path

import pytest
import yaml

from fes.arguments import parse, resolve
from fes.config import Config, ModelConfig, to_tree
from fes.errors import InputError
from shards.drawn import DrawnOptions, draw
from shards.index import ShardIndex
from shards.writer import build


def test_flags_win_over_the_yaml_file_and_the_file_over_the_defaults(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("data: d\nrun: r\nbatch: 64\nseed: 3\nmodel:\n  latent_dim: 16\n  channels: 3\n")
    config, dry_run = parse(["--config", str(file), "--batch", "128", "--model.latent-dim", "24"])
    assert (config.batch, config.seed, config.critic_steps) == (128, 3, 5)
    assert (config.model.latent_dim, config.model.channels, config.model.resolution) == (24, 3, None)
    assert (config.data, config.run, dry_run) == (Path("d"), Path("r"), False)


@pytest.mark.parametrize("equals", [False, True])
def test_flags_alone_and_their_two_spellings(equals, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("seed: 7")
    config_flag = [f"--config={file}"] if equals else ["--config", str(file)]
    config, dry_run = parse(["--data", "d", "--run", "r", "--dry-run", *config_flag])
    assert config == Config(Path("d"), Path("r"), seed=7)
    assert dry_run


def test_a_whole_config_goes_through_yaml_and_the_command_line_unchanged(tiny_config, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(to_tree(tiny_config)))
    assert parse(["--config", str(file)]) == (tiny_config, False)


@pytest.mark.parametrize(
    ("flag", "near"),
    [
        ("--bach", "--batch"),
        ("--dat", "--data"),
        ("--model.latent-dimm", "--model.latent-dim"),
        ("--latent-dim", "--model.latent-dim"),
        ("--tick", "--clock.tick-kimg"),
    ],
)
def test_an_unknown_flag_is_one_sentence_that_offers_the_nearest(flag, near):
    with pytest.raises(InputError, match=f"there is no flag {flag}; did you mean '{near}'"):
        parse([flag, "3"])


def test_a_missing_required_flag_ends_with_code_2(capsys):
    with pytest.raises(SystemExit) as ended:
        parse(["--data", "d"])
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert "--run" in shown.out + shown.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("bach: 3", "unknown key 'bach'; did you mean 'batch'?"),
        ("batch: many", "batch is 'many': it must be of type int"),
        ("model: {latnt_dim: 3}", "model: unknown key 'latnt_dim'; did you mean 'latent_dim'?"),
        ("dry_run: 1", "unknown key 'dry_run'"),
        ("a: [", "is not valid yaml"),
        (None, "cannot read the config"),
    ],
)
def test_a_wrong_yaml_file_is_told_in_one_sentence(content, told, tmp_path):
    path = tmp_path / "run.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError) as caught:
        parse(["--config", str(path), "--data", "d", "--run", "r"])
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_are_checked(tmp_path):
    with pytest.raises(InputError, match="--batch is 0"):
        parse(["--data", "d", "--run", "r", "--batch", "0"])


def test_help_shows_what_every_setting_means(capsys):
    with pytest.raises(SystemExit) as ended:
        parse(["--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for flag, meaning in (
        ("--data", "Folder of shards"),
        ("--critic-steps", "Updates of the critics for each update of the autoencoder"),
        ("--model.latent-dim", "Length of the code z"),
        ("--loss.latent-weight", "Pull of the codes towards the prior"),
        ("--optimiser.beta2", "squared gradients"),
        ("--stream.cache", "decoded pictures"),
        ("--clock.total-kimg", "Length of the run"),
    ):
        assert flag in shown
        assert meaning in shown


@pytest.mark.parametrize(("flag", "value"), [("resolution", 64), ("channels", 3)])
def test_a_shape_that_the_data_have_not_is_refused(flag, value, drawn_folder, drawn_index):
    asked = Config(drawn_folder, Path("r"), model=ModelConfig(**{flag: value}))
    with pytest.raises(InputError, match=f"--model.{flag} is {value}, and the pictures in .* have "):
        resolve(asked, drawn_index)


def test_an_open_shape_is_that_of_the_data(drawn_folder, drawn_index):
    config = resolve(Config(data=drawn_folder, run=Path("r")), drawn_index)
    assert (config.model.resolution, config.model.channels) == (48, 1)


def test_data_of_a_resolution_that_no_network_has_are_refused(tmp_path):
    options = DrawnOptions(train_identities=1, valid_identities=1, test_identities=0, resolution=40)
    build(draw(options), tmp_path / "odd", workers=1)
    with pytest.raises(InputError, match="resolution is 40"):
        resolve(Config(data=tmp_path / "odd", run=Path("r")), ShardIndex.load(tmp_path / "odd"))
