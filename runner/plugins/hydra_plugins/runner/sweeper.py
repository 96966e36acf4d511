"""The sweeper that asks, at once, for every job that was planned."""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="runner",
    node={"_target_": "hydra_plugins.runner.sweeper.RunnerSweeper"},
    provider="runner",
)


class RunnerSweeper(Sweeper):
    """Hand the jobs of a plan to the launcher; the words of a sweep are the runner's to read."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives, and the launcher that it names."""
        from hydra.core.plugins import Plugins

        self.hydra_context, self.config = hydra_context, config
        self.session: Any = task_function
        self.launcher: Launcher | None = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Return how each job ended; `arguments` are in the plan already."""
        assert self.launcher is not None
        return self.launcher.launch(self.session.planned(), initial_job_idx=0)
