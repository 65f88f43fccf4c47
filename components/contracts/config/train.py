"""The section `train`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from components.contracts.config.base import EarlierName, Section


class AdaptedEncoder(Section):
    """How the last layers of an encoder learn with the model."""

    layers: int = Field(2, gt=0)
    """How many of its last layers learn; the layers before them stay as they are."""

    method: Literal["lora", "weights"] = "lora"
    """What learns in them: `lora`, two thin matrices beside each of their matrices (Hu et al. 2022, arXiv 2106.09685);
    `weights`, all their weights."""

    rank: int = Field(8, gt=0)
    """The rank of the two thin matrices of `lora`, whose product counts twice."""

    rate: float = Field(0.2, gt=0)
    """Their learning rate, as a multiple of `train.learning_rate`."""


class Train(Section):
    """Optimisation by AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) of a weighted sum of losses.

    A setting whose name ends in `_loss` is the weight of a loss (`components/model/objective.py`). Weights are relative
    to each other; a loss of weight 0 is not computed. `step_loss` and `clip_loss` cannot both be 0. Every setting here
    changes what comes out; workers, GPUs and checkpoints are in the section `runtime`.
    """

    epochs: int = Field(30, gt=0)
    """How often training goes through all training clips."""

    batch_clips: int = Field(32, gt=0)
    """Clips (with `windows`, windows) per optimiser step, over all workers together."""

    like_length_batches: int = Field(1, gt=0)
    """Of how many batches clips are sorted by length together, so that a batch has clips of like length and less
    padding; 1 leaves all clips where the permutation of an epoch puts them."""

    max_steps_per_clip: int = Field(256, gt=0)
    """The most steps of the grid that are learned from per clip and epoch; of a longer clip a random stretch of this
    length, another one in every epoch."""

    windows: bool = False
    """Whether a clip to train on is one window of `model.window_s`, labelled like its last step."""

    learning_rate: float = Field(2e-3, gt=0)
    """The peak of AdamW's learning rate, where the warm-up ends."""

    weight_decay: float = Field(5e-2, ge=0)
    """AdamW's decoupled weight decay, of matrices alone unless `decay_all`."""

    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    """The share of all optimiser steps over which the rate rises linearly to its peak."""

    schedule: Literal["step", "epoch"] = "step"
    """Whether the rate falls at every optimiser step or once per epoch; it falls by half a cosine (Loshchilov & Hutter
    2017, arXiv 1608.03983, eq. 5)."""

    final_rate: float = Field(0.01, ge=0, le=1)
    """Where the rate ends, as a fraction of its peak."""

    decay_all: bool = False
    """Whether biases and norms are decayed too."""

    gradient_clip: float = Field(1.0, gt=0)
    """The largest L2 norm of the gradient of all parameters; a longer one is shortened to it."""

    label_smoothing: float = Field(0.05, ge=0, lt=1)
    """The probability that is taken from the true class and spread evenly over all classes that training has
    (Szegedy et al. 2016, arXiv 1512.00567, section 7)."""

    objective: Literal["balanced", "between", "accuracy"] = "balanced"
    """What the answers aim at. `balanced`: every class counts alike (macro-F1, UAR). `accuracy`: a class counts as
    often as training data show it (accuracy, weighted F1). `between`: half of the latter's log prior. One training
    gives all, by a shift of the scores by a multiple of the log prior (Menon et al. 2021, arXiv 2007.07314, eq. 9),
    with which they are calibrated; the report shows all. Without a value, `class_weighting: none` means `accuracy`."""

    class_weighting: Literal["none", "inverse_frequency", "logit_adjustment"] = "logit_adjustment"
    """How unequal classes are evened out: `inverse_frequency` weighs each label by the inverse of how often its class
    occurs, `logit_adjustment` adds tau · log prior to the scores in training (Menon et al. 2021, arXiv 2007.07314,
    eq. 10), `none` does nothing."""

    logit_adjustment: float = Field(1.0, ge=0)
    """Tau of `class_weighting: logit_adjustment`."""

    dataset_power: float = Field(1.0, ge=0, le=1)
    """How far the datasets of a union are evened out: a dataset of n clips has a share of every epoch proportional to
    n ** `dataset_power` (Conneau & Lample 2019, arXiv 1901.07291, section 3.1). With 1 each clip comes once per epoch,
    with 0 all datasets come equally often. An epoch stays as long."""

    class_power: float = Field(1.0, ge=0, le=1)
    """The same for the classes of a dataset, within its share. What is drawn more often is taken out of the answers as
    `class_weighting` takes out what is more frequent."""

    step_loss: float = Field(1.0, ge=0)
    """Weight of the cross-entropy of labelled steps; the steps of a clip share the weight of one clip."""

    clip_loss: float = Field(1.0, ge=0)
    """Weight of the cross-entropy of labelled clips."""

    unimodal_loss: float = Field(0.3, ge=0)
    """Weight of the same two losses of each modality's own heads; it multiplies `step_loss` and `clip_loss`."""

    valence_arousal_loss: float = Field(0.3, ge=0)
    """Weight of 1 - concordance (Lin 1989, eq. 2) of valence and arousal. It counts where training clips have such
    ratings."""

    contrastive_loss: float = Field(0.0, ge=0)
    """Weight of the loss that pulls clips to the text of their class (Radford et al. 2021, arXiv 2103.00020, figure 3);
    0 does without."""

    contrastive_kind: Literal["supervised", "info_nce"] = "supervised"
    """Which clips are pushed off a text: `supervised`, those of other classes (Khosla et al. 2020, arXiv 2004.11362,
    eq. 2); `info_nce`, all other clips of the batch, those of the same class included."""

    contrastive_prompt: str = "A person who feels {emotion}"
    """The text of a class, with its name in place of {emotion}."""

    contrastive_text: Literal["minilm", "learned"] = "minilm"
    """How the text of a class becomes a vector: `minilm` embeds the prompt; `learned` has a free vector per class
    and no prompt."""

    ema_decay: float = Field(0.98, ge=0, lt=1)
    """Decay per optimiser step of the moving average of the weights, which is what is kept. At step t it is at most
    (1 + t) / (10 + t), so that the average does not hang on to the random first weights. 0 keeps the last weights."""

    feature_noise: float = Field(0.0, ge=0)
    """Standard deviation of Gaussian noise on the features in training; features that are standardised have deviation
    1."""

    normalise: Literal["pooled", "dataset"] = "pooled"
    """Which training clips give the mean and spread by which a training clip's features are standardised: all of them,
    or those of its dataset, counted among all of them (`components/features/recordings.py`). With `dataset` a model is
    made for answers that are adapted to the recordings at hand (`mer adapt`). With a single dataset they are the
    same."""

    pooled_share: float = Field(0.3, ge=0, le=1)
    """With `normalise: dataset`, the probability, per training clip and epoch, of being standardised by all training
    clips all the same: recordings of which nothing is known are."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the forward pass in training; `auto` is bf16 on a GPU and fp32 elsewhere. Weights are fp32."""

    compile: bool = False
    """Whether the model is compiled for training. It needs a C++ compiler and takes minutes on a CPU, so it pays for
    long trainings on a GPU."""

    refit: bool = False
    """Whether a second model is trained the same way, from the start, on the people of the training and the calibration
    split. It answers with what was fitted for the first one on calibration people that the first had not learned from.
    It doubles the time of training."""

    start_from: EarlierName | None = None
    """The version whose weights training starts from: `starter`, the one that comes with this code, the number of a
    registered version, or the folder of a bundle; null starts anew. What both read by the same encoder is taken over
    with its statistics, as are the classes that both have; the rest starts anew."""

    adapt: Mapping[str, AdaptedEncoder] = Field(default_factory=dict)
    """Modality → how the last layers of its encoder learn, as `voice: {layers: 2, rank: 8}`, or `voice: {}` for the
    defaults; its encoder must be one that leaves these layers to the model (`features.encoders.voice:
    whisper-tiny-frames`). `layers` (2) learn; `method` is `lora`, two matrices of rank `rank` (8) beside each matrix
    (Hu et al. 2022, arXiv 2106.09685), or `weights`, all weights; `rate` (0.2) times `learning_rate` is their learning
    rate. What they learned is part of the model. Of no modality by default: encoders stay as they are."""

    @classmethod
    def loss_weights(cls) -> tuple[str, ...]:
        """The settings that are weights of losses."""
        return tuple(name for name in cls.model_fields if name.endswith("_loss"))

    @model_validator(mode="before")
    @classmethod
    def _keeps_the_prior(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("class_weighting") == "none" and "objective" not in values:
            return {**values, "objective": "accuracy"}
        return values

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
