"""The launch profiles, each started by the command at its top, as far as a machine without GPUs can."""

import hashlib
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from tests.processes import CORES, REPOSITORY, Processes, free_port
from tests.slurm import Slurm

PORTS = 10_000, 10_000
"""From the first on: no system gives these to whoever asks for any."""
SETTINGS = """
batch: 16
critic_steps: 2
grid_faces: 2
model: {latent_dim: 8, max_features: 32, min_features: 8, latent_critic_features: 16}
stream: {workers: 0}
clock: {total_kimg: 0.96, tick_kimg: 0.1, snapshot_kimg: 10, state_kimg: 10}
"""
ON_CPU = {"ACCELERATE_USE_CPU": "true"}
WITHOUT_GPUS = pytest.mark.skipif(torch.cuda.is_available(), reason="asks for GPUs that are not there")


def command_of(profile: str, *flags: str) -> tuple[list[str], dict[str, str]]:
    """The command at the top of a profile, with more flags of the launcher, and the variables before it; but
    without its --config and --data, of which a run has one."""
    text = (REPOSITORY / profile).read_text().replace("\\\n#", "")
    words = shlex.split(next(line for line in text.splitlines() if "accelerate launch" in line)[1:])
    first, script = words.index("accelerate"), words.index("fes/train.py")
    assert words[first : first + 3] == ["accelerate", "launch", "--config_file"]
    assert words[first + 3] == profile
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *words[first + 2 : script], *flags]
    once = {at + more for at, word in enumerate(words) if word in ("--config", "--data") for more in (0, 1)}
    trained = [word for at, word in enumerate(words) if at >= script and at not in once]
    return [*launcher, *trained], dict(word.split("=") for word in words[:first])


@pytest.fixture(scope="module")
def tiny(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Words behind a profile's command that make it a run of seconds, but for its folder."""
    settings = tmp_path_factory.mktemp("settings") / "tiny.yaml"
    settings.write_text(SETTINGS)
    return ["--config", str(settings), "--data", str(drawn_folder)]


def hashes(run: Path) -> dict[str, str]:
    """By file, the sha256 of weights, their average and optimisers at the end of a run of `SETTINGS`."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (run / "state-000000.960").iterdir()
        if path.suffix in (".safetensors", ".pt")
    }


@pytest.fixture(scope="module")
def undisturbed(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What two processes of one machine end with, started by launch/cpu.yaml."""
    folder = tmp_path_factory.mktemp("cpu")
    processes = Processes(folder)
    words, variables = command_of("launch/cpu.yaml", "--main_process_port", "0")
    launcher = processes.start(*words, *tiny, "--run", str(folder / "run"), **variables)
    try:
        assert processes.code(launcher) == 0, processes.told(launcher)
    finally:
        processes.end()
    return hashes(folder / "run")


def test_the_cpu_profile_starts_two_processes_that_share_each_batch(
    processes: Processes, tiny: list[str], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    words, variables = command_of("launch/cpu.yaml", "--main_process_port", "0")
    shown = processes.start(*words, *tiny, "--run", str(tmp_path / "run"), "--dry-run", **variables)
    assert processes.code(shown) == 0
    assert "processes 2, pictures per process and batch 8" in processes.told(shown)
    assert set(undisturbed) == {"networks.safetensors", "average.safetensors", "players.pt"}


@WITHOUT_GPUS
def test_a_profile_for_gpus_that_are_not_there_is_told_once_what_to_run_instead(
    processes: Processes, tiny: list[str], tmp_path: Path
) -> None:
    words, _ = command_of("accelerate_config.yaml", "--num_processes", "2", "--main_process_port", "0")
    launcher = processes.start(*words, *tiny, "--run", str(tmp_path / "run"))
    assert processes.code(launcher) == 1, "launchers keep their processes' exit codes to themselves"
    told = processes.told(launcher)
    assert told.count("train.py: the launcher started 2 processes, and this machine has 0 GPUs") == 1
    assert "launch fes/train.py ...' on what there is" in told


@WITHOUT_GPUS
def test_the_profile_of_one_machine_counts_its_gpus_by_itself(processes: Processes, tiny: list[str]) -> None:
    launcher = processes.start(*command_of("accelerate_config.yaml")[0], *tiny)
    assert processes.code(launcher) == 1
    assert processes.told(launcher).endswith("ValueError: Cuda is not available.\n")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_profile_of_one_machine_starts_a_process_on_each_gpu(
    processes: Processes, tiny: list[str], tmp_path: Path
) -> None:
    words, _ = command_of("accelerate_config.yaml", "--main_process_port", "0")
    gpus = torch.cuda.device_count()
    run = ["--run", str(tmp_path / "run"), "--batch", str(4 * gpus), "--dry-run"]
    shown = processes.start(*words, *tiny, *run)
    assert processes.code(shown) == 0, processes.told(shown)
    assert f"processes {gpus}, pictures per process and batch 4" in processes.told(shown)


def test_the_profile_of_a_turing_card_starts_one_process_in_float32(
    processes: Processes, tiny: list[str], tmp_path: Path
) -> None:
    words, variables = command_of("launch/rtx2080.yaml")
    end = ["--run", str(tmp_path / "run"), "--micro-batch", "8", "--clock.total-kimg", "0.16"]
    launcher = processes.start(*words, *tiny, *end, cores=CORES[:1], **variables)
    assert processes.code(launcher) == 0, processes.told(launcher)
    assert ": float32" in processes.told(launcher)
    assert (tmp_path / "run" / "state-000000.160").is_dir()


def test_two_machines_train_what_two_processes_of_one_do(
    processes: Processes, tiny: list[str], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    port = str(free_port(*PORTS))
    launchers = []
    for machine in (0, 1):
        here = ["--machine_rank", str(machine), "--main_process_ip", "127.0.0.1", "--main_process_port", port]
        words, _ = command_of("launch/multi_node.yaml", *here, "--num_processes", "2")
        core = [CORES[machine % len(CORES)]]
        run = ["--run", str(tmp_path / "run")]
        launchers.append(processes.start(*words, *tiny, *run, cores=core, **ON_CPU))
    for launcher in launchers:
        assert processes.code(launcher) == 0, processes.told(launcher)
    assert hashes(tmp_path / "run") == undisturbed


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    (tmp_path / "slurm").mkdir()
    return Slurm(tmp_path / "slurm")


def batch_script(*words: str) -> list[str]:
    return ["bash", "-u", "launch/slurm.sbatch", *words]


def test_a_job_of_slurm_saves_at_its_signal_and_goes_back_into_the_queue_until_it_is_finished(
    processes: Processes, slurm: Slurm, tiny: list[str], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    script = batch_script(*tiny, "--run", str(tmp_path / "run"))
    first = processes.start(*script, "--clock.total-kimg", "1000", **slurm.variables)
    processes.until(lambda: "begins" in processes.told(first), first)
    for task, variables in enumerate(slurm.variables_of_tasks()):
        assert (variables["LOCAL_RANK"], variables["LOCAL_WORLD_SIZE"]) == (str(task), "2")
        assert variables["MASTER_ADDR"] == "127.0.0.1"
    processes.until(lambda: "kimg 0.1" in processes.told(first), first)
    slurm.signal_tasks(signal.SIGUSR1)
    assert processes.code(first) == 128 + signal.SIGUSR1, processes.told(first)
    assert "saved; the same command goes on from there" in processes.told(first)
    assert slurm.requeued == 1
    second = processes.start(*script, **slurm.variables, SLURM_RESTART_COUNT="1")
    assert processes.code(second) == 0, processes.told(second)
    assert "goes on from" in processes.told(second)
    assert slurm.requeued == 1
    assert hashes(tmp_path / "run") == undisturbed


def test_a_job_of_slurm_with_an_error_of_the_user_is_not_repeated(
    processes: Processes, slurm: Slurm, tiny: list[str], tmp_path: Path
) -> None:
    script = batch_script(*tiny, "--run", str(tmp_path / "run"), "--loss.image-weihgt", "2")
    job = processes.start(*script, **slurm.variables, PROGRAM="-m fes.train")
    assert processes.code(job) == 2, processes.told(job)
    assert slurm.requeued == 0


def test_a_job_of_slurm_that_keeps_failing_is_given_up(processes: Processes, slurm: Slurm) -> None:
    (slurm.tasks.parent / "srun").write_text("#!/bin/bash\nexit 134\n")
    for restarts, requeued in (("4", 1), ("5", 1)):
        variables = {**slurm.variables, "SLURM_RESTART_COUNT": restarts, "MOST_RESTARTS": "5"}
        job = processes.start(*batch_script(), **variables)
        assert processes.code(job) == 134
        assert slurm.requeued == requeued
    assert "is not queued again" in processes.told(job)


def test_the_script_of_slurm_asks_for_what_its_commands_rely_on() -> None:
    text = (REPOSITORY / "launch" / "slurm.sbatch").read_text()
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.MULTILINE))
    assert asked["signal"] == "USR1@120"
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    assert asked.keys() >= {"requeue", "open-mode", "time"}
    subprocess.run(["bash", "-n", "launch/slurm.sbatch"], cwd=REPOSITORY, check=True, timeout=60)


def pods() -> dict[str, dict]:
    """The pods' specifications in the manifest, by replica type."""
    job = yaml.safe_load((REPOSITORY / "launch" / "pytorchjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    return {
        name: {**each, **each["template"]["spec"]}
        for name, each in job["spec"]["pytorchReplicaSpecs"].items()
    }


def test_the_manifest_has_what_the_operator_and_the_run_need() -> None:
    assert pods()["Master"]["replicas"] == 1
    assert pods().keys() == {"Master", "Worker"}
    for pod in pods().values():
        (container,) = pod["containers"]
        assert container["name"] == "pytorch"
        assert pod["restartPolicy"] == "ExitCode"
        variables = {each["name"]: each["value"] for each in container["env"]}
        assert (variables["LOCAL_RANK"], variables["LOCAL_WORLD_SIZE"]) == ("0", "1")
        assert pod["terminationGracePeriodSeconds"] >= 60
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
        mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        assert mounted == {"data": "/data", "runs": "/runs", "shm": "/dev/shm"}
        volumes = {each["name"]: each for each in pod["volumes"]}
        assert volumes.keys() == mounted.keys()
        assert volumes["shm"]["emptyDir"]["medium"] == "Memory"


def test_two_pods_of_the_manifest_train_what_two_processes_of_one_machine_do(
    processes: Processes, tiny: list[str], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    from_operator = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port(*PORTS)), "WORLD_SIZE": "2"}
    started = []
    for rank, pod in enumerate((pods()["Master"], pods()["Worker"])):
        (container,) = pod["containers"]
        program, *words = container["command"]
        assert program == "python"
        assert container["args"][:1] + container["args"][2:3] == ["--data", "--run"]
        variables = {each["name"]: each["value"] for each in container["env"]}
        variables |= from_operator | ON_CPU | {"RANK": str(rank)}
        words += [*container["args"][2:], *tiny, "--run", str(tmp_path / "run")]
        core = [CORES[rank % len(CORES)]]
        started.append(processes.start(sys.executable, *words, cores=core, **variables))
    for each in started:
        assert processes.code(each) == 0, processes.told(each)
    assert hashes(tmp_path / "run") == undisturbed
