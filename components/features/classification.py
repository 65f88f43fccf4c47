"""The classification head of a published checkpoint: which emotions its labels name.

A checkpoint that was saved with a head for classes (`…ForImageClassification` and its like) and whose labels name
emotions classifies as well as it encodes. Its labels are mapped by name, as a corpus's are; one of them that is not an
emotion is left out.
"""

from __future__ import annotations

from typing import Any

from components.contracts.labels import canonical_of
from components.contracts.pretrained import Pretrained
from components.runtime.checkpoint import Checkpoint, load_model

# Nothing is known of how far the confidence of a checkpoint can be trusted.
TEMPERATURE = 1.0


class ClassificationHead:
    """The head of a checkpoint; weights are loaded by `model`.

    Args:
        checkpoint: of an encoder.
        architecture: the end of the name of an architecture with such a head, such as `ForImageClassification`.
        auto_class: the class of `transformers` that loads one.
    """

    def __init__(self, checkpoint: Checkpoint, architecture: str, auto_class: str) -> None:
        self._checkpoint = checkpoint
        self._architecture = architecture
        self._auto_class = auto_class
        self._model: Any = None

    @property
    def pretrained(self) -> Pretrained | None:
        """What it distinguishes; None where the checkpoint has no such head, or its labels name no two emotions."""
        config = self._checkpoint.config
        architectures = [str(name) for name in config.get("architectures") or ()]
        if not any(name.endswith(self._architecture) for name in architectures):
            return None
        named = config.get("id2label") or {}
        labels = tuple(canonical_of(str(named[key])) for key in sorted(named, key=int))
        if len(set(labels) - {None}) < 2:
            return None
        return Pretrained(labels=labels, temperature=TEMPERATURE, trained_on=f"the checkpoint {self._checkpoint.name}")

    @property
    def width(self) -> int:
        """How many scores it gives."""
        own = self.pretrained
        return 0 if own is None else len(own.labels)

    def model(self) -> Any:
        """The checkpoint with its head, frozen; raises as `load_model`."""
        if self._model is None:
            self._model = load_model(self._auto_class, self._checkpoint.folder, self._checkpoint.device)
        return self._model
