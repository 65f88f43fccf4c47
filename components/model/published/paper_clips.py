"""The published model on clips of the grid: its scores of each window, combined into steps and clips.

Legend: B clips, T steps of a clip, N windows of all clips, L steps of a window, D width, W channels, K classes. Masks
are True = valid.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from components.contracts.errors import ModelError
from components.model.base import EmotionModel, ModelOutput
from components.model.published.paper import WIDTH, PaperModel
from components.model.published.windows import Windows, extents, fill_gaps, left_aligned
from components.model.spec import ModelSpec

PRESET = "model.preset: paper"
FACE, VOICE = "face", "voice"
ALLOWED = f"{FACE}, or else the one modality whose name begins with it, and {VOICE}"
# Bounds the memory of a long clip: about 50 MB of activations without gradients at 30 steps per window.
WINDOWS_AT_ONCE = 256


def picture_and_sound(available: Collection[str]) -> tuple[str, str]:
    """The modality that the published model takes for the picture, and the one for the sound.

    The picture is `face`; where a corpus has none, the face features that it comes with (`face_au`, action units).

    Raises:
        ModelError: there is no such modality, or it is ambiguous which of several it is.
    """
    faces = [FACE] if FACE in available else sorted(name for name in available if name.startswith(FACE))
    if len(faces) > 1:
        raise ModelError(
            f"several modalities could be the {FACE} of the published model",
            where=PRESET,
            seen=", ".join(faces),
            allowed=ALLOWED,
            remedy=f"Set features.encoders.{FACE}, leave one of them out, or use model.preset: default.",
        )
    if missing := [name for name, exists in ((FACE, bool(faces)), (VOICE, VOICE in available)) if not exists]:
        raise ModelError(
            f"the published model needs features of {FACE} and {VOICE}; there are none of {' and '.join(missing)}",
            where=PRESET,
            seen=", ".join(sorted(available)) or "nothing",
            allowed=ALLOWED,
            remedy=f"Set features.encoders.{missing[0]} and use a corpus that has it, or use model.preset: default.",
        )
    return faces[0], VOICE


class PaperClipModel(EmotionModel):
    """The published model over a clip's windows (`components.model.published.windows`).

    Gaps of up to `fill_s` inside a window are filled with the last valid step, steps that are invalid after that are
    left out, and a stream without a valid step becomes one step of zeros. There are no scores of single modalities:
    those of the published model depend on both.

    * A step has the scores of the newest window that has ended at it: they are held until the next window ends. Steps
      before the end of a clip's first window have that window's scores, which thus depend on later steps.
    * A clip has the mean of its windows' scores, so its posterior is the normalised geometric mean of theirs, and the
      mean of their embeddings at length 1.
    * A clip without a valid step has zeros.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.sources = picture_and_sound(spec.modalities)
        if unused := sorted(set(spec.modalities) - set(self.sources)):
            raise ModelError(
                "the published model takes two modalities and no more",
                where=PRESET,
                seen=", ".join(unused),
                allowed=" and ".join(self.sources),
                remedy="Leave the others out of features.encoders, or use model.preset: default.",
            )
        if spec.valence_arousal:
            raise ModelError(
                "the published model has no head for valence and arousal",
                where=PRESET,
                remedy="Set train.valence_arousal_loss to 0, or use model.preset: default.",
            )
        self.windows = Windows.of(spec.model, spec.rate_hz)
        self.published = PaperModel(
            len(spec.classes),
            face_width=spec.modalities[self.sources[0]],
            voice_width=spec.modalities[self.sources[1]],
            embedding=spec.embedding or WIDTH,
        )

    def forward(self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> ModelOutput:
        """{m: (B, T, D)}, {m: (B, T)} → `ModelOutput`; see `EmotionModel.forward`.

        Costs one pass per window: a step is in `window_s / stride_s` of them.
        """
        features, masks = self.complete(features, masks)
        any_BT = torch.stack(list(masks.values())).any(0)
        spans = [self.windows.spans(first, end) for first, end in extents(any_BT)]
        places = [(clip, start, end) for clip, own in enumerate(spans) for start, end in own]
        if not places:
            return self._output(next(iter(features.values())).new_zeros(*any_BT.shape, len(self.spec.classes)), None)
        place_N3 = torch.tensor(places, dtype=torch.long, device=any_BT.device).reshape(-1, 3)
        parts = [self._window_scores(features, masks, chunk) for chunk in torch.split(place_N3, WINDOWS_AT_ONCE)]
        logits_NK, video_NW = (torch.cat(values) for values in zip(*parts, strict=True))
        newest_BT = torch.tensor(self._newest(spans, any_BT.shape[1]), device=any_BT.device)
        has_window_BT1 = (newest_BT >= 0).unsqueeze(-1)
        step_BTK = torch.where(has_window_BT1, logits_NK[newest_BT.clamp(min=0)], logits_NK.new_zeros(()))
        return self._output(step_BTK, (place_N3[:, 0], logits_NK, video_NW))

    def _window_scores(
        self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor], place_N3: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The windows at (clip, start, end) → scores (N, K) and video embeddings (N, W)."""
        clip_N1, start_N1, end_N1 = place_N3.unsqueeze(-1).unbind(1)
        step_NL = start_N1 + torch.arange(int((end_N1 - start_N1).max()), device=place_N3.device)
        inside_NL = step_NL < end_N1
        step_NL = torch.minimum(step_NL, end_N1 - 1)
        (face_NLD, face_mask_NL), (voice_NLD, voice_mask_NL) = (
            left_aligned(
                *fill_gaps(
                    features[name][clip_N1, step_NL], masks[name][clip_N1, step_NL] & inside_NL, self.windows.fill
                )
            )
            for name in self.sources
        )
        logits_NK, video_NW = self.published.outputs(
            face_NLD, voice_NLD, face_mask=face_mask_NL, voice_mask=voice_mask_NL
        )
        return logits_NK.float(), video_NW

    def _newest(self, spans: list[list[tuple[int, int]]], steps: int) -> list[list[int]]:
        """(B, T) the number of the window whose scores a step has, -1 in a clip without one."""
        newest, first = [], 0
        for own in spans:
            row, current = [], 0
            for step in range(steps):
                while current + 1 < len(own) and own[current + 1][1] <= step + 1:
                    current += 1
                row.append(first + current if own else -1)
            newest.append(row)
            first += len(own)
        return newest

    def _output(self, step_BTK: Tensor, windows: tuple[Tensor, Tensor, Tensor] | None) -> ModelOutput:
        clips, classes = step_BTK.shape[0], step_BTK.shape[-1]
        clip_BK = step_BTK.new_zeros(clips, classes)
        video_BW = step_BTK.new_zeros(clips, self.spec.embedding, dtype=torch.float32)
        if windows is not None:
            clip_N, logits_NK, video_NW = windows
            count_B1 = torch.bincount(clip_N, minlength=clips).clamp(min=1).unsqueeze(-1)
            clip_BK = clip_BK.index_add(0, clip_N, logits_NK) / count_B1
            if self.spec.embedding:
                video_BW = functional.normalize(video_BW.index_add(0, clip_N, video_NW), dim=-1)
        return ModelOutput(
            step_logits=self.close(step_BTK),
            clip_logits=self.close(clip_BK),
            unimodal_clip_logits={},
            unimodal_step_logits={},
            embedding=video_BW if self.spec.embedding else None,
        )
