"""The transformed clips of a catalog, as every worker reads them for itself."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.catalog.case_labels import CaseLabels
from components.catalog.cases import Case, prepare, prepare_to_learn
from components.catalog.examples import Example
from components.catalog.packed import read_examples
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.features.transform import Transform
from components.training.nodes.materials import TRANSFORM, NodeMaterials

LEARNED, HELD_OUT = "train", "calibration"
# The splits of a second training, by those of the first.
REFIT: Mapping[str, tuple[str, ...]] = {LEARNED: ("train", "calibration"), HELD_OUT: ()}


def check_here(root: Path, *, otherwise: str = "") -> None:
    """Whether this machine has the project.

    Args:
        root: the project, as the machine has it that started this process.
        otherwise: what else than the project on every node is possible.

    Raises:
        DataError: it does not.
    """
    if not root.is_dir():
        raise DataError(
            "this machine does not have the project",
            where=f"{platform.node()}: {root}",
            remedy=f"Give every node of the cluster the project under that path, where the catalog is read{otherwise}",
        )


@dataclass(frozen=True, kw_only=True)
class CatalogItems:
    """Split name → its usable clips, by clip id. Holds paths and a few numbers per clip, so it travels to workers.

    With `refit` the clips of the calibration split are among those to train on, and none are held out. A split whose
    features take more than `memory_mb` stays on disk; its clips are read when they are asked for, with the same bits.
    With `address` the features come from an object store (`catalog/packed.py`). With `materials` everything does
    (`nodes/materials.py`), the features from `address` where that names a place for them; `cache_mb` bounds what a
    node keeps. Clips on disk of splits in `known` are not gone through to find those that are usable.
    """

    root: Path
    transform: Path
    refit: bool = False
    memory_mb: float = math.inf
    address: str | None = None
    materials: NodeMaterials | None = None
    cache_mb: float | None = None
    known: Mapping[str, CaseLabels] = field(default_factory=dict, compare=False)

    def __call__(self, split: str) -> Sequence[Case]:
        """Reads the feature stores, or what is packed of them.

        Raises:
            DataError: the project is not on this machine; further see `read_examples`.
        """
        splits = REFIT.get(split, (split,)) if self.refit else (split,)
        if not splits:
            return []
        made = prepare_to_learn if split == LEARNED else prepare
        examples = self._examples(splits)
        transform = self.transform if self.materials is None else self.materials.bring() / TRANSFORM
        return made(examples, Transform.load(transform), usable=True, known=self.known.get(split))

    def _examples(self, splits: Sequence[str]) -> Sequence[Example]:
        if self.materials is not None:
            if self.cache_mb is not None and (packed := self.materials.packed_away(self.cache_mb)) is not None:
                return packed.where("split", splits)
            layout = Layout(self.materials.bring())
            if self.address is None:
                address, shards = self.materials.features, self.materials.shards()
                return read_examples(layout, *splits, memory_mb=self.memory_mb, address=address, shards=shards)
            return read_examples(layout, *splits, memory_mb=self.memory_mb, address=self.address)
        check_here(self.root, otherwise=", or an object store (runtime.store)")
        return read_examples(Layout(self.root), *splits, memory_mb=self.memory_mb, address=self.address)
