"""Weights & Biases, through its own client, for runs that ask for it with `run.wandb_project`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from plantgfm.training.config import TrainingConfig

_CLIENT = "wandb"


class TrackingError(ValueError):
    """Weights & Biases was asked for and can't be had."""


def require_tracking(config: TrainingConfig) -> None:
    """Refuse a project that nobody here can write to, before anything is done.

    Raises:
        TrackingError: when the client is not installed.
    """
    if config.wandb_project and importlib.util.find_spec(_CLIENT) is None:
        raise TrackingError(
            f"run.wandb_project={config.wandb_project} needs the client of Weights & Biases: pip install "
            "'plantgfm[tracking]', or leave the setting out"
        )


class WeightsAndBiases:
    """A run there, under the same id in every call; its own step is that of training, so rolling back is seen as such.

    Offline, each call leaves a folder `wandb/offline-run-*` in the run folder, for `wandb sync --append`.

    Raises:
        TrackingError: when the client refuses: no key, no network, another project's id.
    """

    def __init__(self, run_dir: Path, *, config: TrainingConfig, run_id: str, identity: dict[str, Any]):
        import wandb

        online = not config.wandb_offline
        try:
            self._run = wandb.init(
                project=config.wandb_project,
                name=run_dir.resolve().name,
                id=run_id,
                dir=str(run_dir),
                config=identity,
                mode="online" if online else "offline",
                resume="allow" if online else None,  # the client has no way to resume offline
                settings=wandb.Settings(console="off", silent=True),
            )
        except wandb.errors.Error as error:
            raise TrackingError(
                f"run.wandb_project={config.wandb_project}: the client refuses ({str(error).splitlines()[0][:200]}); "
                "`wandb login`, run.wandb_offline=true, or leave the setting out"
            ) from error
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def write(self, row: dict[str, Any]) -> None:
        """Hand on every number of a row."""
        self._run.log({name: value for name, value in row.items() if isinstance(value, int | float)})

    def sync(self) -> None:
        """Nothing to do: the client hands on by itself."""

    def close(self) -> None:
        """Wait until all is handed on."""
        self._run.finish()
