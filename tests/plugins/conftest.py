"""A sweeper of somebody else's: it asks in batches of four and goes by what comes back."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

CLIMBING = """
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="climbing",
    node={"_target_": "hydra_plugins.climbing.Climbing", "rounds": 2, "strict": False},
)
batches = []


class Climbing(Sweeper):
    def __init__(self, rounds, strict):
        self.rounds, self.strict = rounds, strict

    def setup(self, *, hydra_context, task_function, config):
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        rate = 0.01
        for at in range(self.rounds):
            words = [[*arguments, f"optimizer.lr={rate * factor:g}"] for factor in (0.5, 1, 2, 4)]
            self.validate_batch_is_legal(words[:1])
            returned = self.launcher.launch(words, initial_job_idx=4 * at)
            batches.append(returned)
            if self.strict:
                [each.return_value for each in returned]
            good = [each for each in returned if each.status is JobStatus.COMPLETED]
            best = max(good, key=lambda each: each.return_value)
            rate = best.cfg.optimizer.lr
"""


@pytest.fixture(scope="session")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    from hydra.core.plugins import Plugins

    folder = tmp_path_factory.mktemp("site")
    package = folder / "hydra_plugins" / "climbing"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(CLIMBING)
    sys.path.append(str(folder))
    module = importlib.import_module("hydra_plugins.climbing")
    Plugins.instance().register(module.Climbing)
    return module


@pytest.fixture
def climbing(_installed: ModuleType) -> ModuleType:
    """The module of the sweeper; `batches` are what its launcher returned."""
    _installed.batches.clear()
    return _installed


@pytest.fixture
def sweeps(tmp_path: Path) -> Path:
    """The folder of the sweeps' directories."""
    return tmp_path / "here" / "outputs" / "default"
