"""Every corpus the project can read. Adding one is a line here; `docs/datasets.md` says the rest."""

from __future__ import annotations

from typing import Any

from components.contracts.errors import ConfigError
from components.datasets.affwild2 import Affwild2
from components.datasets.base import Adapter
from components.datasets.cremad import Cremad
from components.datasets.emodb import Emodb
from components.datasets.feature_table import FeatureTable
from components.datasets.folder import Folder
from components.datasets.iemocap import Iemocap
from components.datasets.manifest import Manifest
from components.datasets.meld import Meld
from components.datasets.mosei import Mosei
from components.datasets.ravdess import Ravdess
from components.datasets.synthetic import Synthetic
from components.datasets.wesad import Wesad

ADAPTERS: dict[str, Adapter[Any]] = {
    "affwild2": Affwild2(),
    "meld": Meld(),
    "cremad": Cremad(),
    "emodb": Emodb(),
    "feature_table": FeatureTable(),
    "folder": Folder(),
    "iemocap": Iemocap(),
    "manifest": Manifest(),
    "mosei": Mosei(),
    "ravdess": Ravdess(),
    "synthetic": Synthetic(),
    "wesad": Wesad(),
}


def names() -> tuple[str, ...]:
    """The names that may stand in `datasets:` and as sections of `params.yaml`."""
    return tuple(ADAPTERS)


def adapter(name: str) -> Adapter[Any]:
    """The adapter of that name. Raises ConfigError with the nearest name."""
    if name not in ADAPTERS:
        raise ConfigError.unknown("dataset", name, ADAPTERS, where="datasets")
    return ADAPTERS[name]
