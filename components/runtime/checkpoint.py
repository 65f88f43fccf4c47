"""A transformers checkpoint on this machine: found by hub name or folder, hashed, loaded frozen.

`name@revision` pins a hub revision. Only configuration, tokenizer and weights are fetched, and no code of a
checkpoint is ever run. Its identity is the content of its files, not their location.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from components.contracts.atomic import read_json
from components.contracts.errors import ConfigError, UnavailableError
from components.contracts.fingerprint import file_sha256, fingerprint

SMALL_FILES = ("*.json", "*.txt", "*.model")
SAFE_WEIGHTS = "*.safetensors"
OLD_WEIGHTS = "pytorch_model*.bin"
ENCODERS = "features.encoders"  # the setting that names a checkpoint, by default
# Parts that no encoder here reads: the pooler of text models, and the vector that masks wav2vec's input in training.
NOT_USED = ("pooler", "masked_spec_embed")


def locate(name: str, *, where: str = ENCODERS) -> Path:
    """The folder of a checkpoint, which the configuration names at `where`.

    Raises:
        UnavailableError: the folder is not a checkpoint; or the name is not in the hub's cache and cannot be fetched.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file() or not _weights(folder):
            raise UnavailableError(
                "this folder is not a transformers checkpoint",
                where=where,
                seen=str(folder),
                allowed="config.json and *.safetensors (or pytorch_model.bin)",
                remedy="Save it there with `save_pretrained`",
            )
        return folder.resolve()
    return _fetch(name, where)


@lru_cache(maxsize=8)
def _fetch(name: str, where: str) -> Path:
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        for weights in (SAFE_WEIGHTS, OLD_WEIGHTS):
            folder = snapshot_download(
                repository, revision=revision or None, allow_patterns=[*SMALL_FILES, weights], library_name="mer"
            )
            if _weights(Path(folder)):
                return Path(folder)
    except Exception as error:
        raise UnavailableError(
            "this checkpoint is not on this machine and cannot be fetched",
            where=where,
            seen=name,
            remedy=(
                "Check the name; download it where there is a network (`hf download NAME --local-dir FOLDER`) and give "
                f"the folder as transformers:FOLDER; or do without it ({type(error).__name__})"
            ),
        ) from error
    raise UnavailableError("this hub repository contains no weights", where=where, seen=name)


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob(SAFE_WEIGHTS)) or sorted(folder.glob(OLD_WEIGHTS))


def content_sha256(folder: Path) -> str:
    """SHA-256 over the names and bytes of the weights and the small files of a checkpoint."""
    files = {path for pattern in SMALL_FILES for path in folder.glob(pattern)} | set(_weights(folder))
    return fingerprint([[path.name, _hash(path, *_stamp(path))] for path in sorted(files)])


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=256)
def _hash(path: Path, size: int, modified_ns: int) -> str:
    """The hash of a file, cached as long as size and time stay the same; a gigabyte of weights takes a second."""
    return file_sha256(path)


def settings(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file of the checkpoint, or an empty mapping where it has none."""
    path = folder / name
    return dict(read_json(path)) if path.is_file() else {}


def torch_device(device: str) -> str:
    """`auto` becomes cuda if this process has a GPU, else cpu. On a cluster whose head has no GPU, set `cuda`."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_model(auto_class: str, folder: Path, device: str, **options: Any) -> Any:
    """A frozen transformers model in evaluation mode: half precision on a GPU, else float32.

    Args:
        auto_class: the class of `transformers` to load it with.
        folder: the checkpoint.
        device: cpu or cuda.
        options: for `from_pretrained`.

    Raises:
        UnavailableError: there is no GPU, transformers cannot load the checkpoint, or it lacks weights.
    """
    import torch

    try:
        import transformers
    except ImportError as error:
        raise UnavailableError(
            "the package transformers is not installed", where=str(folder), seen=str(error), remedy="`make env`"
        ) from error
    if device == "cuda" and not torch.cuda.is_available():
        raise UnavailableError("there is no GPU", where="features.device", seen=device, allowed="cpu, auto")
    try:
        model, report = getattr(transformers, auto_class).from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            dtype=precision(device),
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UnavailableError(
            "transformers cannot load this checkpoint", where=str(folder), seen=str(error)
        ) from error
    # transformers fills what a checkpoint lacks with random numbers and a warning.
    missing = sorted(key for key in report["missing_keys"] if not any(part in key for part in NOT_USED))
    if missing:
        raise UnavailableError(
            f"the checkpoint lacks {len(missing)} weights of its model",
            where=str(folder),
            seen=missing[0],
            remedy="It was saved for a different architecture, or incompletely",
        )
    return model.to(device).eval().requires_grad_(False)


def precision(device: str) -> Any:
    """float16 on a GPU, else float32."""
    import torch

    return torch.float16 if device == "cuda" else torch.float32


class Checkpoint:
    """The base of every checkpoint encoder: folder, configuration, and a fingerprint over content and precision.

    Half precision changes numbers in the third digit, so features made on a GPU have a different fingerprint than
    features made on a CPU, and a model requires the kind that it was trained on.
    """

    def __init__(self, name: str, location: str, device: str, *, where: str = ENCODERS) -> None:
        self.name = name
        self.device = torch_device(device)
        self.folder = locate(location, where=where)
        self.config = settings(self.folder, "config.json")
        self.model: Any = None

    @property
    def model_type(self) -> str:
        """The `model_type` of its configuration."""
        return str(self.config.get("model_type", "unknown"))

    def require_type(self, allowed: Sequence[str], *, modality: str) -> str:
        """The `model_type`. Raises ConfigError when no encoder of this modality supports it."""
        if self.model_type not in allowed:
            raise ConfigError(
                f"this checkpoint is not a supported {modality} encoder",
                where=f"features.encoders.{modality}",
                seen=self.model_type,
                allowed=", ".join(allowed),
            )
        return self.model_type

    def content_fingerprint(self, version: object) -> str:
        """Fingerprint from the version of the encoder's code, the checkpoint's content and the precision."""
        half = "float16" if self.device == "cuda" else "float32"
        return fingerprint({"version": version, "checkpoint": content_sha256(self.folder), "precision": half})
