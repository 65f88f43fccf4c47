"""One hash of everything that an alignment depends on. Importing this module loads no decoder and no network."""

from __future__ import annotations

from components.alignment.recogniser import recogniser_fingerprint
from components.contracts import versions
from components.contracts.config import Alignment
from components.contracts.fingerprint import fingerprint
from components.runtime.weights import WEIGHTS

MTCNN = ("mtcnn-pnet", "mtcnn-rnet", "mtcnn-onet")
SILERO = "silero-vad"


def alignment_fingerprint(config: Alignment) -> str:
    """Hash of everything that shapes the output: settings, stage version, weights. Limits and gates are excluded.

    Raises UnavailableError if the configured speech recogniser is not on this machine.
    """
    networks = []
    if config.face.detector == "mtcnn":
        networks += list(MTCNN)
    if config.voice.activity == "silero":
        networks.append(SILERO)
    settings = config.model_dump(mode="json", exclude={"limits": True, "quality": True, "words": {"recogniser"}})
    return fingerprint(
        {
            "version": versions.ALIGNMENT,
            "settings": settings,
            "weights": {name: WEIGHTS[name].sha256 for name in sorted(networks)},
            "recogniser": recogniser_fingerprint(config.words),
        }
    )
