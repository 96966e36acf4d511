"""The launcher that trains the jobs it is given as part of a sweep: as lanes, or by another."""

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

ConfigStore.instance().store(
    group="hydra/launcher",
    name="runner",
    node={"_target_": "hydra_plugins.runner.launcher.RunnerLauncher"},
    provider="runner",
)


class RunnerLauncher(Launcher):
    """Train batches of jobs; each returns its objective's value, or the error it ended with.

    What is finished is not trained again. Where `hydra/launcher` names another one, that one
    starts the jobs, each a run of its own.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives; raises a ValueError in a program that is not the runner."""
        from runner.sweeps.session import Session

        if not isinstance(task_function, Session):
            raise ValueError(
                "hydra/launcher=runner trains what `runner -m` asks for; this program has jobs of "
                "its own"
            )
        self.hydra_context: HydraContext = hydra_context
        self.session: Any = task_function

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Train a batch: as many JobReturns, in its order."""
        from runner.compose import multirun

        def start(names: Sequence[str], task: Any) -> None:
            chosen, folder = self.session.chosen, self.session.folder
            multirun.launch(chosen, folder, names, task, initial_job_idx, self.hydra_context)

        other = self.session.chosen.launcher != multirun.OWN
        outcomes = self.session.train(job_overrides, start if other else None)
        return [_returned(each) for each in outcomes]


def _returned(outcome: Any) -> JobReturn:
    """Return an outcome as Hydra has it."""
    failed = outcome.error is not None
    result = JobReturn(
        overrides=outcome.words,
        cfg=OmegaConf.create(outcome.config),
        working_dir=str(outcome.folder),
        task_name="runner",
        status=JobStatus.FAILED if failed else JobStatus.COMPLETED,
    )
    result.return_value = outcome.error if failed else outcome.value
    return result
