"""The published bi-directional cross-attention model, exactly: Byeon, Kim & Lim 2026 (arXiv 2603.11971).

Names of modules and parameters are those of the published code, so its checkpoints load. Its computation is kept
as published, with its weaknesses; the default model (`components.model.model`) does not share them:

* only the face stream has a temporal network, and the attention does not depend on when a step was;
* the two streams have their own lengths and clocks, and nothing checks that they cover the same stretch of time;
* it needs both streams, and processes one window at a time;
* the contrastive loss takes the other windows of a batch as negatives, those of the same class included.

`paper_clips.py` applies it to clips of the grid; `contracts/presets.py` has the published training.

Legend: B windows, T face steps, S voice steps, D feature width, W channels (512), K classes. Masks are True = valid.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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
# Prefixes of the encoders' weights in a published checkpoint. Here the encoders are not part of the model.
ENCODERS = ("clip", "wav2vec", "visual_encoder", "vision_encoder", "audio_encoder", "text_encoder")


class TemporalBlock(nn.Module):
    """ReLU(x + [causal convolution → ReLU → dropout 0.4] twice).

    With a different input width, x goes through a convolution of kernel 1, as the published block provides for. At
    the published width there is no such convolution.
    """

    def __init__(self, dilation: int, inputs: int = WIDTH) -> None:
        super().__init__()
        self.before = 2 * dilation
        self.conv1 = nn.Conv1d(inputs, WIDTH, 3, dilation=dilation)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, dilation=dilation)
        self.dropout = nn.Dropout(0.4)
        self.downsample = nn.Conv1d(inputs, WIDTH, 1) if inputs != WIDTH else None

    def forward(self, x_BDT: Tensor) -> Tensor:
        """(B, D, T) → (B, W, T); a step depends on itself and `2 · 2 · dilation` steps before it."""
        y_BWT = x_BDT
        for conv in (self.conv1, self.conv2):
            y_BWT = self.dropout(functional.relu(conv(functional.pad(y_BWT, (self.before, 0)))))
        return functional.relu((x_BDT if self.downsample is None else self.downsample(x_BDT)) + y_BWT)


class TemporalNetwork(nn.Module):
    """Six blocks of dilation 1, 2, … 32: a frame depends on the 252 before it."""

    def __init__(self, inputs: int = WIDTH) -> None:
        super().__init__()
        widths = [inputs] + [WIDTH] * (BLOCKS - 1)
        self.network = nn.Sequential(*(TemporalBlock(2**index, width) for index, width in enumerate(widths)))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) → (B, T, W)."""
        return self.network(x_BTD.transpose(1, 2)).transpose(1, 2)


class PaperOutput(NamedTuple):
    """Scores before softmax (B, K), and the video embedding (B, W) of length 1 for `info_nce`."""

    logits: Tensor
    video: Tensor


class PaperModel(nn.Module):
    """The published model on stored features, with fresh weights.

    Published inputs are CLIP ViT-B/32 image features as projected, not normalised (512 per frame), and the last
    hidden state of wav2vec2-base-960h (768 per step, about 50 steps per second). With these widths it has exactly the
    published parameters; `embedding` is the width of the texts of the contrastive loss, CLIP's 512 as published.
    """

    logit_scale: Tensor

    def __init__(
        self,
        classes: int = CLASSES,
        *,
        face_width: int = WIDTH,
        voice_width: int = VOICE_WIDTH,
        embedding: int = WIDTH,
    ) -> None:
        super().__init__()
        self.widths = {"face": face_width, "voice": voice_width}
        self.visual_tcn = TemporalNetwork(face_width)
        self.audio_adapter = nn.Sequential(
            nn.Linear(voice_width, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU(), nn.Dropout(0.3)
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
        self.video_projection = nn.Linear(WIDTH, embedding)
        # CLIP's, frozen like the rest of CLIP: not a parameter.
        self.register_buffer(LOGIT_SCALE, torch.tensor(CLIP_LOGIT_SCALE), persistent=False)

    def forward(self, face_features: Tensor, voice_features: Tensor) -> Tensor:
        """(B, T, D), (B, S, D) → class scores (B, K). Raises ModelError as `outputs` does."""
        return self.outputs(face_features, voice_features).logits

    def outputs(
        self,
        face_features: Tensor,
        voice_features: Tensor,
        *,
        face_mask: Tensor | None = None,
        voice_mask: Tensor | None = None,
    ) -> PaperOutput:
        """(B, T, D), (B, S, D) → scores and video embedding of one pass, so that they share their dropout.

        As published nothing is masked. The masks (B, T), (B, S) are for windows of different lengths in one batch:
        masked steps *behind* a window's last step change nothing. A window needs one valid step per stream.

        Memory is O(T · S), for the attention.

        Raises:
            ModelError: a shape that does not fit, or a stream without a step: its mean would be NaN.
        """
        self._check_inputs(face_features, voice_features)
        face_BTW = self.visual_tcn(face_features)
        voice_BSW = self.audio_adapter(voice_features)
        from_voice_BTW, _ = self.v2a_attention(
            face_BTW, voice_BSW, voice_BSW, key_padding_mask=_hidden(voice_mask), need_weights=False
        )
        from_face_BSW, _ = self.a2v_attention(
            voice_BSW, face_BTW, face_BTW, key_padding_mask=_hidden(face_mask), need_weights=False
        )
        video_BW = _mean(self.v2a_norm(face_BTW + from_voice_BTW), face_mask)
        audio_BW = _mean(self.a2v_norm(voice_BSW + from_face_BSW), voice_mask)
        return PaperOutput(
            logits=self.classifier(torch.cat([video_BW, audio_BW], dim=-1)),
            video=functional.normalize(self.video_projection(video_BW).float(), dim=-1),
        )

    def _check_inputs(self, face: Tensor, voice: Tensor) -> None:
        for values, (name, width) in zip((face, voice), self.widths.items(), strict=True):
            if values.ndim != 3 or values.shape[-1] != width or values.shape[1] < 1:
                raise ModelError(
                    "features do not fit the published model",
                    where=f"modality {name}",
                    seen=tuple(values.shape),
                    allowed=f"(B, T ≥ 1, {width})",
                )
        if len(face) != len(voice):
            raise ModelError("modalities differ in windows", where="PaperModel", seen=f"{len(face)} and {len(voice)}")


def _hidden(mask_BT: Tensor | None) -> Tensor | None:
    return None if mask_BT is None else ~mask_BT


def _mean(x_BTW: Tensor, mask_BT: Tensor | None) -> Tensor:
    """The mean over time; over the valid steps, where there is a mask."""
    if mask_BT is None:
        return x_BTW.mean(1)
    return (x_BTW * mask_BT.unsqueeze(-1)).sum(1) / mask_BT.sum(-1, keepdim=True)


def info_nce(video_BW: Tensor, text_BW: Tensor, logit_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of pairs in a batch, a scalar (Radford et al. 2021, arXiv 2103.00020, figure 3).

    The mean of two cross-entropies over exp(logit_scale) · video · textᵀ, by row and by column, with the diagonal as
    the answer. Windows of one class have the same text and are negatives of each other all the same, as published.

    Args:
        video_BW: embeddings of length 1.
        text_BW: embeddings of length 1, of the prompt of each window's class.
        logit_scale: log of the inverse temperature, a scalar.

    Raises:
        ModelError: the two shapes differ.
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


def load_reference_state_dict(model: PaperModel, state_dict: Mapping[str, object]) -> tuple[str, ...]:
    """Loads a published checkpoint into a model; the model is unchanged when that fails.

    Accepted as they are: the whole saved dictionary (its `model_state_dict` is used), a `module.` prefix on every name,
    and the second name that the published code gives each convolution (`net.0` for `conv1`, `net.4` for `conv2`). A
    name outside the model's own modules that begins with one of `ENCODERS` is ignored, except that CLIP's
    `clip.logit_scale` becomes the model's; without it the model keeps its own.

    Returns:
        The names that were ignored, sorted.

    Raises:
        ModelError: parameters are missing, unknown or misshapen (all of them named), the two names of a convolution
            disagree, or a value is not a tensor.
    """
    inner = state_dict.get("model_state_dict")
    checkpoint = _without_wrapper(inner if isinstance(inner, Mapping) else state_dict)
    own = model.state_dict()
    modules = {name.split(".")[0] for name in (*own, LOGIT_SCALE)}
    taken: dict[str, Tensor] = {}
    ignored: list[str] = []
    for name, value in checkpoint.items():
        if name.split(".")[0] not in modules and name.startswith(ENCODERS) and name != f"clip.{LOGIT_SCALE}":
            ignored.append(name)
            continue
        target = _own_name(name)
        if not isinstance(value, Tensor):
            raise ModelError("a parameter is not a tensor", where=name, seen=type(value).__name__, allowed="Tensor")
        if target in taken and not torch.equal(taken[target], value):
            raise ModelError("two names of one parameter have different values", where=name, seen=target)
        taken[target] = value
    own[LOGIT_SCALE] = model.logit_scale
    taken.setdefault(LOGIT_SCALE, model.logit_scale)
    _check_shapes(own, taken)
    scale = taken.pop(LOGIT_SCALE)
    model.load_state_dict(taken)
    model.logit_scale.copy_(scale.detach())
    return tuple(sorted(ignored))


def _without_wrapper(weights: Mapping[str, object]) -> dict[str, object]:
    wrapped = bool(weights) and all(name.startswith("module.") for name in weights)
    return {name.removeprefix("module.") if wrapped else name: value for name, value in weights.items()}


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
    differences = [f"missing {_listed(own.keys() - taken.keys())}"] if own.keys() - taken.keys() else []
    differences += [f"unexpected {_listed(taken.keys() - own.keys())}"] if taken.keys() - own.keys() else []
    differences += [f"{name} is {tuple(taken[name].shape)}" for name in misshapen]
    if not differences:
        return
    allowed = "; ".join(f"{name} is {tuple(own[name].shape)}" for name in misshapen)
    last = "classifier.7.weight"
    raise ModelError(
        "the checkpoint does not fit the published model",
        where="load_reference_state_dict",
        seen="; ".join(differences),
        allowed=allowed or "exactly the parameters of PaperModel, beside those of encoders",
        remedy=(
            f"The checkpoint has {taken[last].shape[0]} classes, the model {own[last].shape[0]}."
            if last in misshapen and taken[last].ndim
            else None
        ),
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
