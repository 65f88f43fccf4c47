"""`params.yaml` as frozen typed models, one module per section or a few that belong together.
base.py says what a section is, and loading.py reads the file.

Top-level keys are the sections of `params.Params`, plus one section per dataset (`synthetic:`, `ravdess:` …) that the
dataset's own adapter types (`datasets/registry.py`). What each setting means stands below its field, and `mer config`
prints it. A function takes the section it needs, never the whole.
"""

from components.contracts.config.ablate import Ablate
from components.contracts.config.alignment import (
    Alignment,
    AlignmentQuality,
    FaceAlignment,
    VoiceAlignment,
    WordsAlignment,
)
from components.contracts.config.base import MODALITIES, Section, meaning
from components.contracts.config.catalog import Catalog
from components.contracts.config.evaluate import Evaluate, Gates
from components.contracts.config.features import Features
from components.contracts.config.labels import Labels
from components.contracts.config.loading import ADAPTER, load_params, parse_params, section_error
from components.contracts.config.media import MediaLimits
from components.contracts.config.model import Model
from components.contracts.config.params import Params
from components.contracts.config.promotion import Promotion
from components.contracts.config.ray import RayResources
from components.contracts.config.retrain import Retrain
from components.contracts.config.runtime import Runtime
from components.contracts.config.serving import Rollout, Serving
from components.contracts.config.tracking import Registry, Tracking
from components.contracts.config.train import AdaptedEncoder, Train
from components.contracts.config.tune import Range, Tune
from components.contracts.config.validation import Drift, Validation

__all__ = [
    "ADAPTER",
    "MODALITIES",
    "Ablate",
    "AdaptedEncoder",
    "Alignment",
    "AlignmentQuality",
    "Catalog",
    "Drift",
    "Evaluate",
    "FaceAlignment",
    "Features",
    "Gates",
    "Labels",
    "MediaLimits",
    "Model",
    "Params",
    "Promotion",
    "Range",
    "RayResources",
    "Registry",
    "Retrain",
    "Rollout",
    "Runtime",
    "Section",
    "Serving",
    "Tracking",
    "Train",
    "Tune",
    "Validation",
    "VoiceAlignment",
    "WordsAlignment",
    "load_params",
    "meaning",
    "parse_params",
    "section_error",
]
