"""The clips of a catalog, transformed: what every worker loads for itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.catalog.cases import Case, prepare
from components.catalog.examples import load_examples
from components.contracts.layout import Layout
from components.features.transform import Transform


@dataclass(frozen=True, kw_only=True)
class CatalogItems:
    """Split name → its usable clips, by clip id. Holds paths only, so it travels to workers cheaply."""

    root: Path
    transform: Path

    def __call__(self, split: str) -> list[Case]:
        """Reads the feature stores."""
        cases = prepare(load_examples(Layout(self.root), split), Transform.load(self.transform))
        return [case for case in cases if case.usable]
