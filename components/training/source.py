"""The clips of a catalog, transformed: what every worker loads for itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.catalog.examples import Example, load_examples
from components.contracts.layout import Layout
from components.features.transform import Transform
from components.training.items import Item


@dataclass(frozen=True, kw_only=True)
class CatalogItems:
    """Split name → its usable clips, by clip id. Holds paths only, so it travels to workers cheaply."""

    root: Path
    transform: Path

    def __call__(self, split: str) -> list[Item]:
        """Reads the feature stores."""
        return items_of(load_examples(Layout(self.root), split), Transform.load(self.transform))


def items_of(examples: Iterable[Example], transform: Transform) -> list[Item]:
    """Transformed clips, without those that have no valid step or no label."""
    items = []
    for example in examples:
        features, masks = transform.apply(example.encoded, example.num_steps)
        item = Item(
            clip_id=example.clip_id,
            subject_id=example.subject_id,
            features=features,
            masks=masks,
            step_labels=example.step_labels,
            clip_label=example.clip_label,
        )
        if item.usable:
            items.append(item)
    return items
