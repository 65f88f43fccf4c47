"""One hash of everything that an alignment depends on. Importing this module loads no decoder and no network."""

from __future__ import annotations

from components.alignment.recogniser import recogniser_fingerprint
from components.contracts import versions
from components.contracts.config import Alignment
from components.contracts.fingerprint import fingerprint
from components.runtime.weights import WEIGHTS

# The earliest version of the stage that gives the same rows for ordinary recordings: a bundle made with it or a later
# one is served. Later versions differ for recordings that were refused, laid wrongly or lost in part.
SERVED_SINCE = 3
# Version → the settings that came with it, by section: no version before it has them in its fingerprint.
ADDED_SETTINGS = {4: {"face": {"fine_side_px"}}}
MTCNN = ("mtcnn-pnet", "mtcnn-rnet", "mtcnn-onet")
SILERO = "silero-vad"


def served_fingerprints(config: Alignment) -> frozenset[str]:
    """The fingerprints of the versions that align ordinary recordings as this one does; raises as
    `alignment_fingerprint`."""
    served = range(SERVED_SINCE, versions.ALIGNMENT + 1)
    return frozenset(alignment_fingerprint(config, version=version) for version in served)


def networks(config: Alignment) -> tuple[str, ...]:
    """The weight files that a configuration needs."""
    return (
        *(MTCNN if config.face.detector == "mtcnn" else ()),
        *((SILERO,) if config.voice.activity == "silero" else ()),
    )


def alignment_fingerprint(config: Alignment, *, version: int | None = None) -> str:
    """Hash of everything that shapes the output: settings, stage version, weights. Limits and gates are excluded.

    Args:
        config: the settings.
        version: of the stage; the present one by default.

    Raises UnavailableError if the configured speech recogniser is not on this machine.
    """
    version = versions.ALIGNMENT if version is None else version
    settings = config.model_dump(mode="json", exclude={"limits": True, "quality": True, "words": {"recogniser"}})
    for since, added in ADDED_SETTINGS.items():
        if version < since:
            for section, names in added.items():
                settings[section] = {key: value for key, value in settings[section].items() if key not in names}
    return fingerprint(
        {
            "version": version,
            "settings": settings,
            "weights": {name: WEIGHTS[name].sha256 for name in sorted(networks(config))},
            "recogniser": recogniser_fingerprint(config.words),
        }
    )
