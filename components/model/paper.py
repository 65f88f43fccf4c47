"""The published bi-directional cross-attention model, exactly: Byeon, Kim & Lim 2026 (arXiv 2603.11971).

Names of modules and parameters are those of the published code, so its checkpoints load. What it computes is kept as
published, with its weaknesses; the default model (`components.model.model`) does not share them:

* attention and pooling have no mask: a padded or invented step counts like any other;
* only the face stream has a temporal network, and nothing tells the attention when a step was;
* the two streams have their own lengths and clocks, and nothing checks that they cover the same stretch of time;
* the contrastive loss takes the other windows of a batch as negatives, those of the same class included.

Legend: B windows, T frames, S voice steps, D feature width, W channels (512), K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.contracts.errors import ModelError

WIDTH = 512
VOICE_WIDTH = 768
BLOCKS = 6
CLASSES = 8
# CLIP's temperature: trained, and clipped at exp(.) = 100 (Radford et al. 2021, arXiv 2103.00020, section 2.5).
CLIP_LOGIT_SCALE = math.log(100.0)
LOGIT_SCALE = "logit_scale"
# Where a published checkpoint keeps the encoders' weights. Features are computed elsewhere here.
ENCODERS = ("clip", "wav2vec", "visual_encoder", "vision_encoder", "audio_encoder", "text_encoder")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the published model was trained.

    AdamW with torch's other defaults over the parameters that are not frozen; the rate changes once an epoch. The
    gradient is summed over `accumulation` batches, each loss divided by `accumulation` (the last, shorter group of an
    epoch too), and clipped to `gradient_clip` in global norm. A batch is one worker's.

    Attributes:
        prompt: what CLIP's text encoder reads for a window's class, capitalised as in "Anger".
        window_frames: length of a window; 30 and 60 were tried too. Its label is that of its last frame.
        stride_frames: from one window's start to the next.
        fill_frames: a gap of up to so many frames is filled with the last valid frame.
    """

    learning_rate: float = 1e-5
    min_learning_rate: float = 1e-6
    weight_decay: float = 1e-2
    epochs: int = 30
    gradient_clip: float = 1.0
    batch_size: int = 32
    accumulation: int = 2
    contrastive_weight: float = 0.1
    prompt: str = "A face expressing {}"
    window_frames: int = 90
    stride_frames: int = 15
    fill_frames: int = 5

    def learning_rate_at(self, epoch: int) -> float:
        """The rate during an epoch, from 0: half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983, eq. 5)."""
        half = (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return self.min_learning_rate + (self.learning_rate - self.min_learning_rate) * half


class TemporalBlock(nn.Module):
    """ReLU(x + [causal convolution → ReLU → dropout 0.4] twice)."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.before = 2 * dilation
        self.conv1 = nn.Conv1d(WIDTH, WIDTH, 3, dilation=dilation)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, dilation=dilation)
        self.dropout = nn.Dropout(0.4)

    def forward(self, x_BWT: Tensor) -> Tensor:
        """(B, W, T) → (B, W, T); a step depends on itself and `2 · 2 · dilation` steps before it."""
        y_BWT = x_BWT
        for conv in (self.conv1, self.conv2):
            y_BWT = self.dropout(functional.relu(conv(functional.pad(y_BWT, (self.before, 0)))))
        return functional.relu(x_BWT + y_BWT)


class TemporalNetwork(nn.Module):
    """Six blocks of dilation 1, 2, … 32: a frame sees the 252 before it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(*(TemporalBlock(2**index) for index in range(BLOCKS)))

    def forward(self, x_BTW: Tensor) -> Tensor:
        """(B, T, W) → (B, T, W)."""
        return self.network(x_BTW.transpose(1, 2)).transpose(1, 2)


class PaperOutput(NamedTuple):
    """Scores before softmax (B, K), and the video embedding (B, W) of length 1 for `info_nce`."""

    logits: Tensor
    video: Tensor


class PaperModel(nn.Module):
    """The published model on stored features, with fresh weights.

    Inputs are CLIP ViT-B/32 image features as projected, not normalised (512 a frame), and the last hidden state of
    wav2vec2-base-960h (768 a step, about 50 a second).
    """

    logit_scale: Tensor

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.visual_tcn = TemporalNetwork()
        self.audio_adapter = nn.Sequential(
            nn.Linear(VOICE_WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU(), nn.Dropout(0.3)
        )
        self.v2a_attention = nn.MultiheadAttention(WIDTH, 8, dropout=0.2, batch_first=True)
        self.v2a_norm = nn.LayerNorm(WIDTH)
        self.a2v_attention = nn.MultiheadAttention(WIDTH, 8, dropout=0.2, batch_first=True)
        self.a2v_norm = nn.LayerNorm(WIDTH)
        self.classifier = nn.Sequential(
            nn.Linear(2 * WIDTH, 512),
            nn.LayerNorm(512),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(512, 256),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(256, classes),
        )
        self.video_projection = nn.Linear(WIDTH, WIDTH)
        # CLIP's, frozen like the rest of CLIP: no parameter.
        self.register_buffer(LOGIT_SCALE, torch.tensor(CLIP_LOGIT_SCALE))

    def forward(self, face_features: Tensor, voice_features: Tensor) -> Tensor:
        """(B, T, 512), (B, S, 768) → class scores (B, K). Raises ModelError as `outputs` does."""
        return self.outputs(face_features, voice_features).logits

    def outputs(self, face_features: Tensor, voice_features: Tensor) -> PaperOutput:
        """(B, T, 512), (B, S, 768) → scores and video embedding of one pass, so that they share their dropout.

        Memory is O(T · S), for the attention.

        Raises:
            ModelError: a shape that does not fit, or a stream without a step: its mean would be NaN.
        """
        _check_inputs(face_features, voice_features)
        face_BTW = self.visual_tcn(face_features)
        voice_BSW = self.audio_adapter(voice_features)
        heard_BTW, _ = self.v2a_attention(face_BTW, voice_BSW, voice_BSW, need_weights=False)
        looked_BSW, _ = self.a2v_attention(voice_BSW, face_BTW, face_BTW, need_weights=False)
        video_BW = self.v2a_norm(face_BTW + heard_BTW).mean(1)
        audio_BW = self.a2v_norm(voice_BSW + looked_BSW).mean(1)
        return PaperOutput(
            logits=self.classifier(torch.cat([video_BW, audio_BW], dim=-1)),
            video=functional.normalize(self.video_projection(video_BW), dim=-1),
        )


def info_nce(video_BW: Tensor, text_BW: Tensor, logit_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of pairs in a batch, a scalar (Radford et al. 2021, arXiv 2103.00020, figure 3).

    The mean of two cross-entropies over exp(logit_scale) · video · textᵀ, by row and by column, with the diagonal as
    the answer. Windows of one class have the same text and are negatives of each other all the same, as published.

    Args:
        video_BW: embeddings of length 1.
        text_BW: embeddings of length 1, of the prompt of each window's class.
        logit_scale: log of the inverse temperature, a scalar.

    Raises:
        ModelError: the two do not have one shape.
    """
    if video_BW.ndim != 2 or video_BW.shape != text_BW.shape:
        raise ModelError(
            "video and text embeddings must come in pairs, (B, W) each",
            where="info_nce",
            seen=f"{tuple(video_BW.shape)} and {tuple(text_BW.shape)}",
        )
    score_BB = logit_scale.exp() * video_BW @ text_BW.t()
    target_B = torch.arange(len(score_BB), device=score_BB.device)
    return (functional.cross_entropy(score_BB, target_B) + functional.cross_entropy(score_BB.t(), target_B)) / 2


def class_weights(counts: Sequence[int]) -> Tensor:
    """Inverse frequency as published, (K,): N / (K · (count + 1e-5)).

    A class that never occurs gets a huge weight, which no item has.
    """
    count_K = torch.tensor(counts, dtype=torch.float64)
    return (count_K.sum() / (len(counts) * (count_K + 1e-5))).float()


def paper_loss(
    output: PaperOutput, labels_B: Tensor, text_BW: Tensor, *, weight_K: Tensor, logit_scale: Tensor, contrastive: float
) -> Tensor:
    """Weighted cross-entropy (the weighted mean over the batch) + `contrastive` · InfoNCE, a scalar."""
    classified = functional.cross_entropy(output.logits, labels_B, weight=weight_K)
    return classified + contrastive * info_nce(output.video, text_BW, logit_scale)


def load_reference_state_dict(model: PaperModel, state_dict: Mapping[str, object]) -> tuple[str, ...]:
    """Puts a published checkpoint into a model; the model is unchanged when that fails.

    Taken as they come: the whole saved dictionary (its `model_state_dict` is used), a `module.` prefix on every name,
    and the second name that the published code gives each convolution (`net.0` for `conv1`, `net.4` for `conv2`). A
    name outside the model's own modules that begins with one of `ENCODERS` is ignored, except that CLIP's
    `clip.logit_scale` becomes the model's; without it the model keeps its own.

    Returns:
        The names that were ignored, sorted.

    Raises:
        ModelError: parameters are missing, unknown or misshapen (all of them named), the two names of a convolution
            disagree, or a value is no tensor.
    """
    inner = state_dict.get("model_state_dict")
    given = _without_wrapper(inner if isinstance(inner, Mapping) else state_dict)
    own = model.state_dict()
    modules = {name.split(".")[0] for name in own}
    taken: dict[str, Tensor] = {}
    ignored: list[str] = []
    for name, value in given.items():
        if name.split(".")[0] not in modules and name.startswith(ENCODERS) and name != f"clip.{LOGIT_SCALE}":
            ignored.append(name)
            continue
        target = _own_name(name)
        if not isinstance(value, Tensor):
            raise ModelError("a parameter is no tensor", where=name, seen=type(value).__name__, allowed="Tensor")
        if target in taken and not torch.equal(taken[target], value):
            raise ModelError("two names of one parameter have different values", where=name, seen=target)
        taken[target] = value
    taken.setdefault(LOGIT_SCALE, own[LOGIT_SCALE])
    _check_shapes(own, taken)
    model.load_state_dict(taken)
    return tuple(sorted(ignored))


def _check_inputs(face: Tensor, voice: Tensor) -> None:
    for name, values, width in (("face", face, WIDTH), ("voice", voice, VOICE_WIDTH)):
        if values.ndim != 3 or values.shape[-1] != width or values.shape[1] < 1:
            raise ModelError(
                "features do not fit the published model",
                where=f"modality {name}",
                seen=tuple(values.shape),
                allowed=f"(B, T ≥ 1, {width})",
            )
    if len(face) != len(voice):
        raise ModelError("modalities differ in windows", where="PaperModel", seen=f"{len(face)} and {len(voice)}")


def _without_wrapper(given: Mapping[str, object]) -> dict[str, object]:
    wrapped = bool(given) and all(name.startswith("module.") for name in given)
    return {name.removeprefix("module.") if wrapped else name: value for name, value in given.items()}


def _own_name(name: str) -> str:
    """The model's name for a name of a published checkpoint."""
    if name == f"clip.{LOGIT_SCALE}":
        return LOGIT_SCALE
    if name.startswith("visual_tcn.network."):
        return name.replace(".net.0.", ".conv1.").replace(".net.4.", ".conv2.")
    return name


def _check_shapes(own: Mapping[str, Tensor], taken: Mapping[str, Tensor]) -> None:
    shared = own.keys() & taken.keys()
    misshapen = sorted(name for name in shared if own[name].shape != taken[name].shape)
    seen = [f"missing {_listed(own.keys() - taken.keys())}"] if own.keys() - taken.keys() else []
    seen += [f"unexpected {_listed(taken.keys() - own.keys())}"] if taken.keys() - own.keys() else []
    seen += [f"{name} is {tuple(taken[name].shape)}" for name in misshapen]
    if not seen:
        return
    allowed = "; ".join(f"{name} is {tuple(own[name].shape)}" for name in misshapen)
    last = "classifier.7.weight"
    raise ModelError(
        "the checkpoint does not fit the published model",
        where="load_reference_state_dict",
        seen="; ".join(seen),
        allowed=allowed or "exactly the parameters of PaperModel, beside those of encoders",
        remedy=(
            f"The checkpoint has {taken[last].shape[0]} classes, the model {own[last].shape[0]}."
            if last in misshapen and taken[last].ndim
            else None
        ),
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
