"""A batch job of SLURM, without SLURM."""

import os
import sys
from pathlib import Path

from tests.processes import free_port

FIRST_PORT = 20000
"""A job's port is this and the last digits of its number."""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
: > "$FAKED/tasks"
for ((task = 0; task < SLURM_NTASKS; task++)); do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    echo $! >> "$FAKED/tasks"
done
highest=0
for task in $(cat "$FAKED/tasks"); do
    wait "$task"
    code=$?
    ((code > highest)) && highest=$code
done
exit $highest
"""
SCONTROL = """#!/bin/bash
case $1 in
    show) [[ $* == "show hostnames node[1-2]" ]] && printf '%s\\n' 127.0.0.1 node2 ;;
    requeue) echo "$*" >> "$FAKED/calls" ;;
esac
"""


class Slurm:
    """The environment of a batch job of two tasks on one node, with `srun` and `scontrol` that act as SLURM's
    do towards this job; the script and what it starts are real."""

    def __init__(self, folder: Path) -> None:
        self.tasks, self.calls = folder / "tasks", folder / "calls"
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.variables = {
            "ACCELERATE_USE_CPU": "true",
            "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "FAKED": str(folder),
            "SLURM_JOB_ID": str(free_port(FIRST_PORT, 10000) - FIRST_PORT),
            "SLURM_JOB_NODELIST": "node[1-2]",
            "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "2",
        }

    def signal_tasks(self, number: int) -> None:
        """What `#SBATCH --signal` does: to the tasks of the job's steps, not to the script."""
        for pid in self.tasks.read_text().split():
            os.kill(int(pid), number)

    def variables_of_tasks(self) -> list[dict[str, str]]:
        """What the tasks that run now were started with, by task."""
        return [
            dict(line.split("=", 1) for line in Path(f"/proc/{pid}/environ").read_text().split("\0") if line)
            for pid in self.tasks.read_text().split()
        ]

    @property
    def requeued(self) -> int:
        """How often the job was put into the queue again."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return lines.count(f"requeue {self.variables['SLURM_JOB_ID']}")
