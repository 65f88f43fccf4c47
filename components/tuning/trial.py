"""One trial: a training with some values of the searched settings, scored on the calibration split after each epoch.

It is the training of the stage `train` without its second round: the same clips, order and seed. The test split is not
read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.config import Params
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.training.job import Epoch, fit_here
from components.training.prepare import Materials
from components.tuning.space import applied

HELD_OUT = "held_out_"
# A trial trains in its own process, and its checkpoints are in the search's folder alone: without `store` too, from
# which `runtime.copies` would take a place for copies that nothing removes, and from which the training of the same
# settings would go on.
HERE = {"workers": 0, "profile_steps": 0, "checkpoints": None, "store": None}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What every trial of a search has in common; holds paths only, so it travels to workers cheaply.

    Attributes:
        root: the project.
        params: the present configuration.
        folder: for the checkpoints of unfinished trials, each in a folder of its own.
    """

    root: Path
    params: Params
    folder: Path

    def train(self, name: str, values: Mapping[str, Any], on_epoch: Callable[[int, float], None]) -> None:
        """Trains, from the trial's last checkpoint if there is one.

        Args:
            name: of the trial's folder.
            values: of the searched settings.
            on_epoch: takes the number of epochs that are done and the score, for each in order; may end the training
                by raising.

        Raises:
            ConfigError: the values are not allowed together.
            DataError: the calibration split has no label for the score; further see the stage.
            ModelError: the training failed.
        """
        params = applied(self.params, values)
        runtime = params.runtime.model_copy(update=HERE)
        layout, folder = Layout(self.root), self.folder / name
        model, train, seed = params.model, params.train, params.seed
        materials = Materials.read(layout, model=model, train=train, runtime=runtime, seed=seed)
        job, _ = materials.job(layout, folder, model=model, train=train, runtime=runtime, seed=seed)
        key = f"{HELD_OUT}{params.tune.score}"

        def report(epoch: Epoch) -> None:
            if key not in epoch.record:
                raise DataError(
                    "no clip of the calibration split has what this score needs",
                    where=f"tune.score: {params.tune.score}",
                    allowed=", ".join(
                        name.removeprefix(HELD_OUT) for name in epoch.record if name.startswith(HELD_OUT)
                    ),
                )
            on_epoch(epoch.number + 1, float(epoch.record[key]))

        fit_here(job, folder, report, runtime)
