"""Puts a bundle of `mer run` into `starter/bundle`, with its card.

    python -m starter.pack .mer/bundles/SHA256 MODEL_CARD.md

Add the hash that it prints to `SHIPPED` in `components/registry/trust.py`: by that the starter is verified.

The golden examples of a bundle are features of test clips. Here they are replaced by drawn ones, so that nothing that
was cut from a recording is passed on.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

from components.inference.scoring import keep
from components.registry.bundle import load_bundle, write_bundle
from components.registry.goldens import Golden
from components.registry.register import CARD_NAME
from components.registry.starter import BUNDLE, FOLDER

STEPS = 30
SEED = 7


def pack(bundle_folder: Path, card: Path) -> str:
    """Writes the starter and returns its `bundle_sha256`."""
    bundle = load_bundle(bundle_folder)
    scorer, rng = bundle.scorer(), np.random.default_rng(SEED)
    names = bundle.spec.names
    goldens = []
    for present in [names, *((name,) for name in names)]:
        features = {
            name: rng.standard_normal((STEPS, bundle.spec.modalities[name]), dtype=np.float32) for name in names
        }
        masks = {name: np.ones(STEPS, dtype=bool) for name in names}
        goldens.append(Golden.record(f"drawn: {' + '.join(present)}", *keep(features, masks, present), scorer))
    shutil.copyfile(card, FOLDER / CARD_NAME)
    return write_bundle(
        BUNDLE,
        description=bundle.description,
        model=bundle.model,
        transform=bundle.transform,
        reference=bundle.reference,
        goldens=goldens,
        lineage=bundle.lineage,
        golden_clip=bundle.golden_clip,
    )


if __name__ == "__main__":
    print(pack(Path(sys.argv[1]), Path(sys.argv[2])))
