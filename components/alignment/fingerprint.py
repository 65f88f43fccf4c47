"""What an alignment is a function of, in one hash. Whoever compares hashes alone loads no decoder and no network."""

from __future__ import annotations

from components.alignment.recogniser import recogniser_fingerprint
from components.contracts import versions
from components.contracts.config import Alignment
from components.contracts.fingerprint import fingerprint
from components.runtime.weights import WEIGHTS

MTCNN = ("mtcnn-pnet", "mtcnn-rnet", "mtcnn-onet")
SILERO = "silero-vad"


def alignment_fingerprint(config: Alignment) -> str:
    """Hash of everything that shapes the output: settings, stage version, weights. Limits and gates are not in it.

    Raises UnavailableError if the speech recogniser that the configuration names is not on this machine.
    """
    used = []
    if config.face.detector == "mtcnn":
        used += list(MTCNN)
    if config.voice.activity == "silero":
        used.append(SILERO)
    settings = config.model_dump(mode="json", exclude={"limits": True, "quality": True, "words": {"recogniser"}})
    return fingerprint(
        {
            "version": versions.ALIGNMENT,
            "settings": settings,
            "weights": {name: WEIGHTS[name].sha256 for name in sorted(used)},
            "recogniser": recogniser_fingerprint(config.words),
        }
    )
