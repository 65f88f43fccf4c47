"""The section `model`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.contracts.config.base import Section


class Model(Section):
    """The temporal model; `components/model` says what each part computes."""

    preset: Literal["default", "paper"] = "default"
    """The model, and the defaults of `model` and `train` that go with it (`contracts/presets.py`): `paper` is Byeon,
    Kim & Lim 2026 (arXiv 2603.11971), whose sizes are its own."""

    width: int = Field(64, gt=0)
    """Channels of every stream inside the model; a multiple of `heads`."""

    heads: int = Field(4, gt=0)
    """Heads of the attention between modalities."""

    tcn_blocks: int = Field(3, ge=0)
    """Residual blocks of dilated temporal convolution per modality, with dilations 1, 2, 4, … (Bai, Kolter & Koltun
    2018, arXiv 1803.01271). 0 does without temporal convolution."""

    tcn_kernel: int = Field(3, gt=1)
    """Steps that the kernel of each temporal convolution covers."""

    causal: bool = False
    """Whether a step depends on no later one, in convolution and attention; streaming needs that."""

    dropout: float = Field(0.2, ge=0, lt=1)
    """Probability of dropping a channel in training, in encoders, attention, fusion and heads other than that of the
    statistics (Srivastava et al. 2014)."""

    fusion: Literal["bidirectional", "one_way", "concatenation", "product"] = "bidirectional"
    """How modalities come together. `bidirectional`: every modality queries every other by attention (one layer per
    direction and pair), then a learned gate weighs them; `one_way`: only the model's first modality, in the order
    face, voice, text, physio and then by name, queries the rest; `concatenation`: side by side through one linear map,
    without attention; `product`: the class scores of the single modalities are multiplied (Hinton 2002, eq. 1), which
    needs `train.unimodal_loss` above 0."""

    attention_window_s: float = Field(15.0, gt=0)
    """The farthest that the two steps of a query and a key may lie apart, in seconds."""

    conflict_features: bool = True
    """Whether the mean absolute difference between the modalities of a step is an input of the gated fusion
    (`bidirectional`, `one_way`)."""

    modality_dropout: float = Field(0.2, ge=0, lt=1)
    """Probability, per training clip and epoch, of hiding each modality that is present; one always stays."""

    clip_head: Literal["temporal", "statistics", "all"] = "all"
    """What a clip's class is read off: `temporal`, what was learned over time; `statistics`, the mean and spread of its
    features over time (Snyder et al. 2018, ICASSP, section 3.1); `all`, both. With `all` the weights of the two, and of
    the product of the single modalities' scores, are fitted on the calibration split. Where training clips have labels
    for stretches of theirs alone, such as the utterances of a video, the same holds for each step, whose statistics are
    its features."""

    statistics_width: int = Field(64, gt=0)
    """Width of the hidden layer between the statistics and the class scores."""

    statistics_dropout: float = Field(0.6, ge=0, lt=1)
    """Probability of dropping a unit of that hidden layer in training."""

    statistics_noise: float = Field(0.7, ge=0)
    """Standard deviation of the Gaussian noise on the statistics in training, in standard deviations of each statistic
    over the training clips."""

    statistics_mixup: float = Field(0.4, ge=0)
    """Alpha of the Beta distribution from which the shares of two mixed training clips are drawn (Zhang et al. 2018,
    arXiv 1710.09412, eq. 1); 0 mixes nothing."""

    standardise: bool = True
    """Whether features are standardised by the training clips; false leaves them as the encoders give them."""

    window_s: float = Field(3.0, gt=0)
    """Length of a window in seconds, to the nearest step: of the model of preset `paper`, and of `train.windows`."""

    stride_s: float = Field(0.5, gt=0)
    """Seconds from the start of one window to that of the next, to the nearest step."""

    fill_s: float = Field(1 / 6, ge=0)
    """The longest gap of a stream within a window, in seconds, that is filled with the last valid step (preset
    `paper`)."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Model:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        return self
