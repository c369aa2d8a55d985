"""The command line of training: flags, a yaml file, and what the data decide."""

import copy
from pathlib import Path

import pytest
import yaml

from fes.config import Config, ModelConfig
from fes.config.tree import to_tree
from fes.data.mixture import Mixture
from fes.errors import InputError
from fes.hardware import Hardware
from fes.training.arguments import Asked, parse, resolve
from shards.remote.addresses import shown


def test_flags_win_over_the_yaml_file_and_the_file_over_the_defaults(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("data: d\nrun: r\nbatch: 64\nseed: 3\nmodel:\n  latent_dim: 16\n  channels: 3\n")
    asked = parse(["--config", str(file), "--batch", "128", "--model.latent-dim", "24"])
    config = asked.config
    assert (config.batch, config.seed, config.critic_steps) == (128, 3, 5)
    assert (config.model.latent_dim, config.model.channels, config.model.resolution) == (24, 3, None)
    assert (config.data, config.run, asked.dry_run) == ("d", Path("r"), False)


def test_a_flag_switches_off_what_the_yaml_file_switches_on(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("augment: {flips: true, class_balance: 1}")
    arguments = ["--config", str(file), "--data", "d", "--run", "r"]
    assert parse(arguments).config.augment.flips
    off = parse([*arguments, "--augment.no-flips"]).config.augment
    assert (off.flips, off.class_balance) == (False, 1.0)
    assert parse(["--data", "d", "--run", "r", "--augment.flips"]).config.augment.flips


@pytest.mark.parametrize("equals", [False, True])
def test_flags_alone_and_their_two_spellings(equals, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("seed: 7")
    config_flag = [f"--config={file}"] if equals else ["--config", str(file)]
    asked = parse(["--data", "d", "--run", "r", "--dry-run", *config_flag])
    assert asked == Asked(Config("d", Path("r"), seed=7), Hardware(), dry_run=True)


def test_a_whole_config_goes_through_yaml_and_the_command_line_unchanged(tiny_config, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(to_tree(tiny_config)))
    assert parse(["--config", str(file)]) == Asked(tiny_config, Hardware())


@pytest.mark.parametrize(
    ("flag", "near"),
    [
        ("--bach", "--batch"),
        ("--dat", "--data"),
        ("--model.latent-dimm", "--model.latent-dim"),
        ("--latent-dim", "--model.latent-dim"),
        ("--tick", "--clock.tick-kimg"),
        ("--batch-size", "--batch"),
    ],
)
def test_an_unknown_flag_is_one_sentence_that_offers_the_nearest(flag, near):
    with pytest.raises(InputError, match=f"there is no flag {flag}; did you mean '{near}'"):
        parse([flag, "3"])


@pytest.mark.parametrize("flag", ["--epochs", "--resume", "--steps"])
def test_a_flag_that_is_near_to_none_is_answered_with_where_the_list_is(flag):
    with pytest.raises(InputError) as caught:
        parse([flag, "3"])
    assert str(caught.value) == f"there is no flag {flag}; --help lists them all"


def test_a_missing_required_flag_is_told():
    with pytest.raises(
        InputError, match=r"^--run \(folder for what the run produces\) is missing; 'train.py --help'"
    ):
        parse(["--data", "d"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("bach: 3", "unknown key 'bach'; did you mean 'batch'?"),
        ("batch: many", "batch is 'many': it must be of type int"),
        ("model: {latnt_dim: 3}", "model: unknown key 'latnt_dim'; did you mean 'latent_dim'?"),
        ("stream: {on_bad_sample: skipp}", "stream: on_bad_sample is 'skipp'; did you mean 'skip'?"),
        ("dry_run: 1", "unknown key 'dry_run'"),
        ("resolution: 48", "unknown key 'resolution'; did you mean 'model: {resolution: ...}'?"),
        ("level: []", "unknown key 'level'; did you mean 'levels'?"),
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
        ("--data", "Folder or address of shards"),
        ("--stream.on-bad-sample", "take another sample (skip)"),
        ("--critic-steps", "Updates of the critics for each update of the autoencoder"),
        ("--model.latent-dim", "Length of the code z"),
        ("--loss.latent-weight", "Pull of the codes towards the prior"),
        ("--optimiser.beta2", "squared gradients"),
        ("--stream.cache", "decoded pictures"),
        ("--clock.total-kimg", "Length of the run"),
    ):
        assert flag in shown
        assert meaning in shown


@pytest.mark.parametrize("data", ["pipe:touch ran; cat {}", "a:0.5,pipe:touch ran; cat {}"])
def test_a_command_is_not_taken_from_a_file(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(yaml.safe_dump({"data": data, "run": "r"}))
    for more in ([], ["--dry-run"]):
        with pytest.raises(InputError, match=r"^run.yaml: data holds a command .* by --data") as caught:
            parse(["--config", "run.yaml", *more])
        assert "\n" not in str(caught.value)
    for flag in (["--data", data], [f"--data={data}"]):
        assert parse(["--config", "run.yaml", *flag]).config.data == data


def test_a_file_may_hold_a_command_that_the_command_line_replaces(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("data: 'pipe:cat {}'\nrun: r")
    assert parse(["--config", str(file), "--data", "d"]).config.data == "d"


def test_a_command_is_not_kept(drawn_mixture):
    index = copy.copy(drawn_mixture.sets[0])
    index.place = shown("pipe:curl -H 'token: secret' https://host/{}")
    asked = Config("pipe:curl -H 'token: secret' https://host/{}", Path("r"))
    assert resolve(asked, Mixture([index])).data == "pipe:curl ..."


def test_an_open_shape_is_that_of_the_data(drawn_folder, drawn_mixture):
    config = resolve(Config(data=str(drawn_folder), run=Path("r")), drawn_mixture)
    assert (config.model.resolution, config.model.channels) == (48, 1)
    assert config.data == str(drawn_folder)


@pytest.mark.parametrize(("resolution", "channels"), [(64, 3), (96, 1), (48, 3)])
def test_any_shape_that_the_networks_have_may_be_asked_for(resolution, channels, drawn_mixture):
    asked = Config("d", Path("r"), model=ModelConfig(resolution=resolution, channels=channels))
    assert resolve(asked, drawn_mixture).model == asked.model


def test_a_password_in_an_address_is_not_kept(drawn_mixture):
    index = copy.copy(drawn_mixture.sets[0])
    index.place = shown("https://me:secret@host/set?token=secret")
    config = resolve(Config("https://me:secret@host/set?token=secret", Path("r")), Mixture([index]))
    assert config.data == "https://host/set"


def test_hardware_is_no_part_of_the_config():
    asked = parse(["--data", "d", "--run", "r", "--micro-batch", "8", "--deterministic", "--tf32"])
    assert asked.hardware == Hardware(micro_batch=8, deterministic=True, tf32=True)
    assert asked.config == parse(["--data", "d", "--run", "r"]).config


def test_a_setting_of_the_hardware_that_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="--micro-batch is 0"):
        parse(["--data", "d", "--run", "r", "--micro-batch", "0"])


@pytest.mark.parametrize(
    "names",
    [
        ["optimiser.critic-rate", "loss.image_weight"],
        ["optimiser.critic-rate,loss.image_weight"],
        ["optimiser.critic_rate,", "loss.image-weight"],
    ],
)
def test_what_a_run_may_change_is_named_as_its_flag_or_as_in_a_yaml_with_commas_or_without(names):
    asked = parse(["--data", "d", "--run", "r", "--allow-change", *names])
    assert asked.allow_change == ("optimiser.critic_rate", "loss.image_weight")


@pytest.mark.parametrize("name", ["optimiser.lr", "model.latent-dim", "batch", "seed", "loss"])
def test_what_no_run_may_change_is_refused_with_what_may(name):
    with pytest.raises(InputError, match=r"no setting of this name may change; these may: .*critic-rate"):
        parse(["--data", "d", "--run", "r", "--allow-change", name])


@pytest.mark.parametrize("name", ["optimiser.critic-rat", "optimizer.critic_rate", "critic-rate"])
def test_a_misspelt_setting_that_may_change_is_answered_with_the_right_one(name):
    with pytest.raises(InputError, match=r"did you mean 'optimiser\.critic-rate'\?$"):
        parse(["--data", "d", "--run", "r", "--allow-change", name])


@pytest.mark.parametrize("words", [["--allow-change"], ["--allow_change", "--dry-run"], ["--allow-change="]])
def test_no_setting_where_one_is_to_be_named_is_refused_with_what_may_change(words):
    with pytest.raises(InputError, match=r"names no setting that may change; these may: .*critic-rate"):
        parse(["--data", "d", "--run", "r", *words])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--mixed_precision", "bf16"],
            "--mixed_precision belongs to the launcher: put it before fes/train.py",
        ),
        (["--num-processes=2"], "--num-processes belongs to the launcher: put it before fes/train.py"),
        (["--multi_gpu"], "--multi_gpu belongs to the launcher: put it before fes/train.py"),
        (
            ["--gradient_accumulation_steps=4"],
            "--gradient_accumulation_steps belongs to the launcher: take --micro-batch instead",
        ),
    ],
)
def test_a_flag_of_the_launcher_is_sent_to_its_place(words, told):
    with pytest.raises(InputError) as caught:
        parse(["--data", "d", "--run", "r", *words])
    assert str(caught.value) == told
