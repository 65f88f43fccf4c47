"""The transformed clips of a catalog, as every worker reads them for itself."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.catalog.cases import Case, prepare, prepare_to_learn
from components.catalog.packed import read_examples
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.features.transform import Transform

LEARNED = "train"
# The splits of a second training, by those of the first.
REFIT: Mapping[str, tuple[str, ...]] = {LEARNED: ("train", "calibration"), "calibration": ()}


@dataclass(frozen=True, kw_only=True)
class CatalogItems:
    """Split name → its usable clips, by clip id. Holds paths only, so it travels to workers cheaply.

    With `refit` the clips of the calibration split are among those to train on, and none are held out. A split whose
    features take more than `memory_mb` stays on disk; its clips are read when they are asked for, with the same bits.
    With `address` the features come from an object store (`catalog/packed.py`).
    """

    root: Path
    transform: Path
    refit: bool = False
    memory_mb: float = math.inf
    address: str | None = None

    def __call__(self, split: str) -> Sequence[Case]:
        """Reads the feature stores, or what is packed of them.

        Raises:
            DataError: the project is not on this machine; further see `read_examples`.
        """
        if not self.root.is_dir():
            raise DataError(
                "this machine does not have the project",
                where=f"{platform.node()}: {self.root}",
                remedy="Workers read the catalog there: give every node of the cluster the project under that path",
            )
        splits = REFIT.get(split, (split,)) if self.refit else (split,)
        if not splits:
            return []
        made = prepare_to_learn if split == LEARNED else prepare
        examples = read_examples(Layout(self.root), *splits, memory_mb=self.memory_mb, address=self.address)
        return made(examples, Transform.load(self.transform), usable=True)
