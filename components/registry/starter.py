"""The starter: a version trained on recordings of people that comes with this code, in the folder `starter`.

It answers before any training, and is the first version of a model that has none, so that what was trained on rendered
people does not answer for real ones merely because it came first.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import components
from components.contracts.atomic import read_json
from components.contracts.bundle_files import DESCRIPTION, LINEAGE, verify_files
from components.contracts.config import Tracking
from components.registry.evidence import all_passed, gate_tags
from components.tracking.address import tracking_uri

if TYPE_CHECKING:
    from components.registry.register import Registered

NAME = "starter"
TAG = "mer.starter"
FOLDER = Path(components.__file__).parents[1] / NAME
BUNDLE = FOLDER / "bundle"


def is_there() -> bool:
    """Whether this installation has the starter."""
    return (BUNDLE / DESCRIPTION).is_file()


def register_first(*, name: str, alias: str, tracking: Tracking, root: Path) -> Registered | None:
    """Registers the starter under the alias; nothing, and None, where the model has a version or there is no starter.

    Raises:
        BundleError: the starter's files were altered.
        UnavailableError: MLflow cannot be reached.
    """
    # Whoever only asks where the starter is waits for none of these.
    from components.registry.register import CARD_NAME, register
    from components.tracking.runs import new_run
    from components.tracking.versions import versions_of

    uri = tracking_uri(tracking, root)
    if not is_there() or versions_of(name, tracking_uri=uri):
        return None
    sha256, description = verify_files(BUNDLE)
    gates: list[dict[str, Any]] = description["gates"]
    lineage = read_json(BUNDLE / LINEAGE)
    with new_run(tracking, root, name=NAME, tags={TAG: sha256}) as run:
        return register(
            BUNDLE,
            name=name,
            bundle_sha256=sha256,
            tags={TAG: "true", "lineage.data_sha256": str(lineage["data_sha256"]), **gate_tags(gates)},
            leads=all_passed(gates),
            challenges=False,
            card=(FOLDER / CARD_NAME).read_text(encoding="utf-8"),
            run_id=run.run_id,
            alias=alias,
            tracking_uri=uri,
        )
