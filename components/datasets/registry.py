"""Every corpus the project can read. Adding one is a line here; `docs/datasets.md` describes the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.contracts.config import ADAPTER
from components.contracts.errors import ConfigError
from components.datasets.base import Adapter
from components.datasets.corpora.affwild2 import Affwild2
from components.datasets.corpora.cremad import Cremad
from components.datasets.corpora.emodb import Emodb
from components.datasets.corpora.feature_table import FeatureTable
from components.datasets.corpora.folder import Folder
from components.datasets.corpora.iemocap import Iemocap
from components.datasets.corpora.manifest import Manifest
from components.datasets.corpora.meld import Meld
from components.datasets.corpora.mosei import Mosei
from components.datasets.corpora.ravdess import Ravdess
from components.datasets.corpora.synthetic import Synthetic
from components.datasets.corpora.wesad import Wesad

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
    """The adapters: allowed in `datasets:`, as sections of `params.yaml`, and as `adapter:` of a section."""
    return tuple(ADAPTERS)


def adapter(name: str, section: Mapping[str, Any] | None = None) -> Adapter[Any]:
    """The adapter of a dataset: of its own name, or with the dataset's name, the one that its section names.

    Raises:
        ConfigError: there is none, with the nearest name.
    """
    kind = kind_of(name, section or {})
    if kind not in ADAPTERS:
        raise ConfigError.unknown("dataset", kind, ADAPTERS, where="datasets")
    return ADAPTERS[kind] if kind == name else ADAPTERS[kind].called(name)


def kind_of(name: str, section: Mapping[str, Any]) -> str:
    """The name of a dataset's adapter."""
    return str(section.get(ADAPTER, name))
