"""Slurm, by submitit: a batch is a job of an array; squeue tells what became of it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

from runner.foundation.errors import Misconfigured, RunnerError
from runner.sweeps import settings
from runner.sweeps.remote import CLUSTER, Remote

REQUEUES = 1000  # for lack of time; each goes on where the one before was saved
ARRAY = 1000  # jobs of one, Slurm's own limit unless it is set otherwise
PATIENCE = 60.0  # seconds for a command of Slurm's
OVER = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
        "PREEMPTED", "REVOKED", "TIMEOUT"}  # fmt: skip


class Slurm:
    """The cluster that this machine belongs to."""

    name, outlives = "slurm", True
    limit: int | None = None  # that of the array will do
    cut = frozenset({"CANCELLED", "DEADLINE", "PREEMPTED", "TIMEOUT"})

    def __init__(self, folder: Path, asks: settings.Slurm, at_once: int | None):
        """Take the sweep's folder, and how many of its batches run at once, None for any number."""
        self.logs, self.asks, self.at_once = folder.resolve() / CLUSTER / self.name, asks, at_once
        self.cpus = asks.cpus

    @staticmethod
    def ready() -> None:
        """Raise `Misconfigured` unless jobs can be sent from here."""
        if importlib.util.find_spec("submitit") is None:
            raise Misconfigured("sweep.cluster=slurm needs submitit, which is not installed: "
                                "pip install 'runner[slurm]'")  # fmt: skip
        if missing := [each for each in ("sbatch", "srun", "squeue") if not shutil.which(each)]:
            raise Misconfigured(f"sweep.cluster=slurm: there is no {missing[0]} on PATH; give the "
                                "command on a machine of a Slurm cluster")  # fmt: skip

    def submit(self, folders: Sequence[Path], sweep: str) -> list[str]:
        """Have the tasks in these folders done; raises `Misconfigured` with what sbatch says."""
        import submitit
        from submitit.core.utils import FailedJobError

        asks = self.asks
        executor = submitit.AutoExecutor(
            folder=self.logs, cluster=self.name, slurm_max_num_timeout=REQUEUES
        )
        asked = {"slurm_partition": asks.partition, "slurm_account": asks.account,
                 "gpus_per_node": asks.gpus or None, "slurm_setup": asks.setup or None,
                 "slurm_array_parallelism": self.at_once or ARRAY}  # fmt: skip
        executor.update_parameters(
            name=f"runner-{sweep}",
            timeout_min=asks.time,
            cpus_per_task=asks.cpus,
            slurm_additional_parameters={"requeue": True},
            **{key: value for key, value in asked.items() if value is not None},
        )
        numbers: list[str] = []
        try:
            for at in range(0, len(folders), ARRAY):
                with executor.batch():
                    jobs = [executor.submit(Remote(str(each))) for each in folders[at : at + ARRAY]]
                numbers += [job.job_id for job in jobs]
        except FailedJobError as error:
            raise Misconfigured(f"sweep.slurm: {_reason(str(error))}") from error
        for left in self.logs.glob(".submission_file_*.sh"):
            left.unlink()  # a link that nobody needs: links in a sweep's directory are refused
        return numbers

    def ended(self, ids: Collection[str]) -> dict[str, str]:
        """Return which of these jobs neither wait nor run, with Slurm's word for how they ended."""
        try:
            done = _told("squeue", "--me", "--array", "--noheader", "--states=all",
                         "--format=%i %T")  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return {}  # not to be had now, which says nothing about the jobs
        known = dict(line.split()[:2] for line in done.splitlines() if len(line.split()) > 1)
        states = {each: known.get(each, "") for each in ids}
        return {each: state for each, state in states.items() if not state or state in OVER}

    def cancel(self, ids: Collection[str]) -> None:
        """End jobs; they save."""
        try:
            _told("scancel", *ids)
        except (OSError, subprocess.SubprocessError) as error:
            raise RunnerError(f"{self.cancelling(ids)}: {error}") from error

    def cancelling(self, ids: Collection[str]) -> str:
        """Return the command that does so."""
        return f"scancel {' '.join(ids)}"

    def log(self, number: str) -> Path:
        """Return where submitit has a job's standard error written."""
        return self.logs / f"{number}_0_log.err"


def _told(*command: str) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=True
    ).stdout


def _reason(text: str) -> str:
    """Return what sbatch said, of all that submitit says about it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")
