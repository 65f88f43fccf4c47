"""`params.yaml` as frozen typed models; the only place that reads it.

Top-level keys are the sections below, plus one section per dataset (`synthetic:`, `ravdess:` …) that the dataset's own
adapter types (`datasets/registry.py`). A function takes the section it needs, never the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from components.contracts.errors import ConfigError
from components.contracts.labels import Taxonomy, taxonomy
from components.contracts.presets import defaults_of, with_preset

MODALITIES: tuple[str, ...] = ("face", "voice", "text", "physio")


class Section(BaseModel):
    """A frozen part of the configuration; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Labels(Section):
    """Which classes the model learns; see `contracts/labels.py`."""

    taxonomy: str = "abaw8"

    @field_validator("taxonomy")
    @classmethod
    def _known(cls, name: str) -> str:
        taxonomy(name)
        return name

    @property
    def resolved(self) -> Taxonomy:
        """The taxonomy itself."""
        return taxonomy(self.taxonomy)


class MediaLimits(Section):
    """What a media file may cost before it is refused; untrusted uploads are decoded under the same limits.

    `max_work_s` is the processor time of one clip's alignment, so that a busy machine refuses no more than an idle one;
    `max_memory_mb` (MiB) is what it may hold beyond what the process that does it holds anyway. Both are far above what
    a clip within the other limits needs.
    """

    max_bytes: int = Field(2_000_000_000, gt=0)
    max_duration_s: float = Field(1800.0, gt=0)
    max_side_px: int = Field(4096, gt=0)
    max_frame_rate_hz: float = Field(240.0, gt=0)
    max_decoded_frames: int = Field(216_000, gt=0)
    max_work_s: float = Field(7200.0, gt=0)
    max_memory_mb: int = Field(4096, ge=64)


class FaceAlignment(Section):
    """Face detection and tracking. A box is detected every `detect_every_s` and interpolated in between; a gap longer
    than `max_gap_s` without a detection is masked. Where a face comes or goes between two detections, the moment is
    searched by halves; an absence between two detections that both see it is not noticed. `detect_side_px` is the
    longer side of the shrunken picture that the detector sees and `min_face_px` the smallest face it looks for in it;
    the crop's side is the face's longer side times (1 + `crop_margin`)."""

    detector: Literal["mtcnn", "whole_frame"] = "mtcnn"
    detect_every_s: float = Field(0.5, gt=0)
    max_gap_s: float = Field(1.0, ge=0)
    detect_side_px: int = Field(320, ge=64)
    min_face_px: int = Field(32, ge=20)
    min_confidence: float = Field(0.9, ge=0, le=1)
    crop_px: int = Field(96, ge=32)
    crop_margin: float = Field(0.2, ge=0, le=1)
    jpeg_quality: int = Field(95, ge=50, le=100)


class VoiceAlignment(Section):
    """Sound: one mono stream at `rate_hz`; a step is valid when samples exist and its level is above the floor."""

    rate_hz: Literal[16000] = 16000
    activity: Literal["silero", "energy"] = "silero"
    level_floor_dbfs: float = Field(-60.0, le=0)
    speech_threshold: float = Field(0.5, gt=0, lt=1)


class WordsAlignment(Section):
    """Words. `recogniser` fills in where a clip comes without words and transcript: "none", or
    `transformers:<hub name or folder>` of a Whisper checkpoint, which runs on the CPU."""

    recogniser: str = "none"

    @field_validator("recogniser")
    @classmethod
    def _named(cls, spec: str) -> str:
        kind, _, location = spec.partition(":")
        if spec != "none" and (kind != "transformers" or not location):
            raise ValueError(f"{spec!r} is no recogniser; allowed: none, transformers:<hub name or folder>")
        return spec


class AlignmentQuality(Section):
    """Gates on one clip's alignment; a clip outside them goes to quarantine."""

    max_abs_offset_s: float = Field(5.0, gt=0)
    max_abs_drift_s_per_min: float = Field(0.5, gt=0)
    min_coverage_any: float = Field(0.05, ge=0, le=1)


class Alignment(Section):
    """The common clock and what is placed on it.

    `av_offset` estimates how far lips and sound are apart; it is reported and changes nothing else.
    """

    rate_hz: float = Field(10.0, gt=0, le=100)
    face: FaceAlignment = FaceAlignment()
    voice: VoiceAlignment = VoiceAlignment()
    words: WordsAlignment = WordsAlignment()
    av_offset: bool = True
    physio_rate_hz: float = Field(64.0, gt=0)
    quality: AlignmentQuality = AlignmentQuality()
    limits: MediaLimits = MediaLimits()


class Features(Section):
    """Which encoder serves each modality. A value is an encoder's name, or `transformers:<hub name or folder>`.

    Features that a corpus brings ready-made are modalities of any name and need no entry.
    """

    encoders: Mapping[str, str] = Field(
        default_factory=lambda: {"face": "fer", "voice": "whisper-tiny", "text": "minilm", "physio": "signal"}
    )
    batch_clips: int = Field(8, gt=0)
    actors: int = Field(1, gt=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @field_validator("encoders")
    @classmethod
    def _modalities(cls, encoders: Mapping[str, str]) -> Mapping[str, str]:
        if not encoders:
            raise ValueError("at least one modality needs an encoder")
        for modality, spec in encoders.items():
            ready_made = "Features that a corpus brings ready-made need no entry"
            if modality not in MODALITIES:
                raise ValueError(f"unknown modality {modality!r}; allowed: {', '.join(MODALITIES)}. {ready_made}")
            if spec.partition(":")[0] == "given":
                raise ValueError(f"{spec!r} is no encoder of media. {ready_made}")
        return encoders


class Drift(Section):
    """How far a dataset may move from what a person last accepted; `components/validation/drift.py` says how each is
    measured, and that chance alone never counts.

    `on_drift: stop` ends the run until somebody says `mer accept` or mends the data, `warn` only says it.
    """

    on_drift: Literal["stop", "warn"] = "stop"
    max_class_balance: float = Field(0.2, gt=0, le=1)
    max_people_lost: float = Field(0.5, gt=0, le=1)
    max_durations: float = Field(0.25, gt=0)
    max_coverage: float = Field(0.15, gt=0, le=1)
    max_features: float = Field(0.5, gt=0)


class Validation(Section):
    """Thresholds of the data contracts."""

    min_clips: int = Field(8, gt=0)
    min_subjects: int = Field(3, gt=0)
    min_clips_per_class: int = Field(2, gt=0)
    max_quarantined_fraction: float = Field(0.5, ge=0, le=1)
    min_speech_fraction: float = Field(0.0, ge=0, le=1)
    drift: Drift = Drift()


class Catalog(Section):
    """How subjects are dealt to the three splits.

    `by_text` keeps texts apart too (`Clip.text_id`): texts are dealt like people, and a clip whose person and text are
    in different splits is left out. That costs more than half of a corpus in which everybody says everything, and
    cannot be done with fewer texts than splits.

    `folds` turns it into cross-validation: a number of folds, or "corpus" for those that the corpus publishes (group
    `fold`). Fold `test_fold` (from 0) is the test split, the next one calibrates, the others train.
    """

    train: float = Field(0.6, gt=0, lt=1)
    calibration: float = Field(0.2, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)
    use_corpus_splits: bool = False
    by_text: bool = False
    folds: Annotated[int, Field(ge=3)] | Literal["corpus"] | None = None
    test_fold: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _whole(self) -> Catalog:
        total = self.train + self.calibration + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, calibration and test must add up to 1, they add up to {total:g}")
        if self.folds is not None and self.use_corpus_splits:
            raise ValueError("folds and use_corpus_splits exclude each other")
        if isinstance(self.folds, int) and self.test_fold >= self.folds:
            raise ValueError(f"test_fold must be below folds, {self.folds}")
        return self


class Model(Section):
    """The temporal model; `components/model` says what each value does.

    `preset` chooses the model and the defaults of `model` and `train` (`contracts/presets.py`); the sizes of "paper"
    are its own. `standardise: false` gives the model features as the encoders give them. `window_s`, `stride_s` and
    `fill_s` are of models that look through a window: its length, from one to the next, and the longest gap in a
    stream that is filled with the last valid step.

    `fusion`: "bidirectional" lets every modality query every other, "one_way" only the first one present in
    `MODALITIES` order query the rest, "concatenation" does without attention, and "product" multiplies what the
    modalities say each by itself (`unimodal_loss` must not be 0 then). `attention_window_s` bounds how far apart a
    query and a key may lie. `tcn_blocks: 0` does without temporal convolution.

    `clip_head`: "temporal" reads a clip off what was learned over time, "statistics" off the mean and spread of its
    features, by one hidden layer of `statistics_width` that learns from noisy mixtures of two clips (`statistics_mixup`
    is alpha of their Beta distribution, 0 mixes nothing); "all" does both, and how much each counts, beside the product
    of what the modalities say alone, is fitted on the calibration split.
    """

    preset: Literal["default", "paper"] = "default"
    width: int = Field(64, gt=0)
    heads: int = Field(4, gt=0)
    tcn_blocks: int = Field(3, ge=0)
    tcn_kernel: int = Field(3, gt=1)
    causal: bool = False
    dropout: float = Field(0.2, ge=0, lt=1)
    fusion: Literal["bidirectional", "one_way", "concatenation", "product"] = "bidirectional"
    attention_window_s: float = Field(15.0, gt=0)
    conflict_features: bool = True
    modality_dropout: float = Field(0.2, ge=0, lt=1)
    clip_head: Literal["temporal", "statistics", "all"] = "all"
    statistics_width: int = Field(64, gt=0)
    statistics_dropout: float = Field(0.6, ge=0, lt=1)
    statistics_noise: float = Field(0.7, ge=0)
    statistics_mixup: float = Field(0.4, ge=0)
    standardise: bool = True
    window_s: float = Field(3.0, gt=0)
    stride_s: float = Field(0.5, gt=0)
    fill_s: float = Field(1 / 6, ge=0)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Model:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        return self


class Train(Section):
    """Optimisation; `workers` gloo processes on CPU, NCCL on GPU; `workers: 0` trains in the calling process.

    `checkpoint_epochs` is how often a resumable checkpoint is written, `max_failures` how often a lost worker is
    replaced before the stage gives up. `feature_noise` is the standard deviation of Gaussian noise on standardised
    features. `logit_adjustment` is tau in Menon et al. 2021.

    After the warm-up the rate falls by half a cosine to `final_rate` of its peak, at every step or once an epoch as
    `schedule` says. `decay_all` decays biases and norms too. With `windows` a clip to train on is one window of
    `model.window_s`, labelled like its last step.

    `valence_arousal_loss` counts where training clips have such labels. `contrastive_loss` (0 = off) pulls clips to
    `contrastive_prompt` with the name of their class in place of {emotion}, as "minilm" embeds it; "learned" has a
    free vector a class instead, and no prompt. `contrastive_kind: info_nce` takes all other clips as negatives, those
    of the same class included. `precision: auto` is bf16 on a GPU and fp32 elsewhere. `compile`
    compiles the model for training, which needs a C++ compiler.

    With `refit` a second model is trained the same way, from the start, on the people of the training and the
    calibration split, and answers with what was fitted for the first one on calibration people that it had not seen.
    It doubles the time of training.
    """

    workers: int = Field(2, ge=0)
    use_gpu: bool = False
    epochs: int = Field(30, gt=0)
    batch_clips: int = Field(32, gt=0)
    max_steps_per_clip: int = Field(256, gt=0)
    windows: bool = False
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(5e-2, ge=0)
    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    schedule: Literal["step", "epoch"] = "step"
    final_rate: float = Field(0.01, ge=0, le=1)
    decay_all: bool = False
    gradient_clip: float = Field(1.0, gt=0)
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    class_weighting: Literal["none", "inverse_frequency", "logit_adjustment"] = "logit_adjustment"
    logit_adjustment: float = Field(1.0, ge=0)
    step_loss: float = Field(1.0, ge=0)
    clip_loss: float = Field(1.0, ge=0)
    unimodal_loss: float = Field(0.3, ge=0)
    valence_arousal_loss: float = Field(0.3, ge=0)
    contrastive_loss: float = Field(0.0, ge=0)
    contrastive_kind: Literal["supervised", "info_nce"] = "supervised"
    contrastive_prompt: str = "A person who feels {emotion}"
    contrastive_text: Literal["minilm", "learned"] = "minilm"
    ema_decay: float = Field(0.98, ge=0, lt=1)
    feature_noise: float = Field(0.0, ge=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    refit: bool = False
    checkpoint_epochs: int = Field(10, gt=0)
    max_failures: int = Field(2, ge=0)

    @model_validator(mode="after")
    def _teaches_classes(self) -> Train:
        if not self.step_loss and not self.clip_loss:
            raise ValueError("step_loss and clip_loss cannot both be 0: nothing would teach the classes")
        return self

    @field_validator("contrastive_prompt")
    @classmethod
    def _names_the_emotion(cls, prompt: str) -> str:
        if prompt.count("{emotion}") != 1 or prompt.count("{") != 1 or prompt.count("}") != 1:
            raise ValueError("the prompt must hold {emotion} once, and no other braces")
        return prompt


class Evaluate(Section):
    """Measurement on held-out subjects.

    `outlier_quantile` and `contradiction_quantile` are the shares of the calibration split's clips that lie inside what
    the model knows, and below the score at which an answer says that the modalities disagree. `timelines` test clips
    are drawn over time in the report.
    """

    bootstrap: int = Field(1000, gt=0)
    confidence: float = Field(0.95, gt=0, lt=1)
    calibration_bins: int = Field(15, gt=1)
    outlier_quantile: float = Field(0.99, gt=0, lt=1)
    contradiction_quantile: float = Field(0.9, gt=0, lt=1)
    timelines: int = Field(6, ge=0)


class Ablate(Section):
    """The comparison of model variants by cross-validation, `mer ablate`.

    `folds`: a number of folds, "corpus" for those that the corpus publishes, "dataset" to leave one dataset out at a
    time. `seeds` trainings a variant and fold; below five no difference is called a claim. `epochs` in the place of
    `train.epochs`. `workers` trainings at a time, each on one core; 0 trains in the calling process, without Ray.
    `variants` by name, all when empty. `name` of the folder below `.mer/ablation` and of the MLflow run.
    """

    folds: Annotated[int, Field(ge=3)] | Literal["corpus", "dataset"] = 5
    seeds: int = Field(5, gt=0)
    epochs: int | None = Field(None, gt=0)
    workers: int = Field(2, ge=0)
    variants: tuple[str, ...] = ()
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class Gates(Section):
    """What a version must show before it may be promoted. Each is a bound on the test split.

    `min_gain_over_majority` bounds the lower end of the macro-F1 interval minus the majority baseline's macro-F1.
    `max_missing_modality_drop` bounds the macro-F1 lost when one modality is missing, for the worst one.
    """

    min_gain_over_majority: float = Field(0.1, ge=0, le=1)
    max_ece: float = Field(0.25, gt=0, le=1)
    max_missing_modality_drop: float = Field(0.7, gt=0, le=1)


class Tracking(Section):
    """Where MLflow is; the environment's MLFLOW_TRACKING_URI wins over `uri`."""

    uri: str = "sqlite:///.mer/mlflow.db"
    artifacts: str = ".mer/mlartifacts"
    experiment: str = "mer"


class Registry(Section):
    """The registered model."""

    model_name: str = "mer"


class Serving(Section):
    """The Ray Serve application and, for `mer serve`, the MLflow server beside it; port 0 is any free one.

    `max_ongoing_requests` is per replica; what waits beyond `max_queued_requests` is refused with 503.
    """

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, lt=65536)
    mlflow_port: int = Field(5000, ge=0, lt=65536)
    replicas: int = Field(2, ge=1)
    replica_cpus: float = Field(0.5, gt=0)
    max_ongoing_requests: int = Field(2, ge=1)
    max_queued_requests: int = Field(32, ge=1)
    request_timeout_s: float = Field(60.0, gt=0)
    upload_limits: MediaLimits = MediaLimits(
        max_bytes=100_000_000, max_duration_s=300.0, max_decoded_frames=36_000, max_work_s=300.0
    )


class Rollout(Section):
    """The reconciler that makes the served version follow the alias."""

    alias: str = "champion"
    poll_s: float = Field(3.0, gt=0)
    golden_tolerance: float = Field(1e-4, gt=0)


class RayResources(Section):
    """The one Ray of a run, when no cluster's address is given."""

    num_cpus: int = Field(2, gt=0)
    object_store_mb: int = Field(512, ge=80)


class Params(Section):
    """The whole of `params.yaml`. `sources` holds each dataset's own section, typed by its adapter."""

    datasets: tuple[str, ...] = ("synthetic",)
    seed: int = 7
    labels: Labels = Labels()
    alignment: Alignment = Alignment()
    features: Features = Features()
    validation: Validation = Validation()
    catalog: Catalog = Catalog()
    model: Model = Model()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    ablate: Ablate = Ablate()
    gates: Gates = Gates()
    tracking: Tracking = Tracking()
    registry: Registry = Registry()
    serving: Serving = Serving()
    rollout: Rollout = Rollout()
    ray: RayResources = RayResources()
    sources: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)

    @field_validator("datasets")
    @classmethod
    def _some(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("name at least one dataset")
        if len(set(names)) != len(names):
            raise ValueError("a dataset is named twice")
        return names

    @model_validator(mode="after")
    def _experts_are_taught(self) -> Params:
        if self.model.fusion == "product" and not self.train.unimodal_loss:
            raise ValueError("model.fusion: product is taught by train.unimodal_loss alone, so that must not be 0")
        return self


def load_params(path: Path, known_datasets: Iterable[str]) -> Params:
    """Reads and checks `params.yaml`.

    Args:
        path: the file.
        known_datasets: names that may stand in `datasets` and as sections of their own.

    Raises:
        ConfigError: the file is missing or no YAML mapping; a key or dataset is unknown (with the nearest name); a
            value is outside its bounds.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError("cannot read the configuration", where=str(path), seen=str(error.strerror)) from error
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError("this is no valid YAML", where=str(path), seen=str(error)) from error
    return parse_params(raw, known_datasets, where=path.name)


def parse_params(raw: object, known_datasets: Iterable[str], *, where: str = "params") -> Params:
    """Checks a configuration that has been read; errors as in `load_params`."""
    known = tuple(known_datasets)
    if not isinstance(raw, dict):
        raise ConfigError("the configuration must be a mapping", where=where, seen=type(raw).__name__)
    sections = set(Params.model_fields) - {"sources"}
    for key in raw:
        if key not in sections and key not in known:
            raise ConfigError.unknown("key", str(key), sorted([*sections, *known]), where=where)
    sources = {name: raw[name] or {} for name in known if name in raw}
    body = {key: value for key, value in raw.items() if key in sections}
    try:
        params = Params.model_validate({**with_preset(body, where=where), "sources": sources})
    except ValidationError as error:
        raise section_error(error, Params, where=where) from error
    for name in params.datasets:
        if name not in known:
            raise ConfigError.unknown("dataset", name, known, where=f"{where}: datasets")
    for section, names in defaults_of(params.model.preset).items():
        # A preset's default is a default: what is left open stays open for who dumps only what was set.
        given = body.get(section) or {}
        getattr(params, section).model_fields_set.difference_update(set(names) - set(given))
    return params


def section_error(error: ValidationError, model: type[BaseModel], *, where: str) -> ConfigError:
    """The first complaint of a pydantic model as a ConfigError with the nearest key name.

    A key that is unknown goes before one that is missing: it is most often the missing one, misspelt.
    """
    complaints = error.errors()
    first = next((complaint for complaint in complaints if complaint["type"] == "extra_forbidden"), complaints[0])
    path = ".".join(str(part) for part in first["loc"])
    place = f"{where}: {path}" if path else where
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, [str(part) for part in first["loc"][:-1]])
        return ConfigError.unknown("key", str(first["loc"][-1]), known, where=place)
    return ConfigError(first["msg"], where=place, seen=repr(first["input"]))


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    return sorted(model.model_fields)
