"""A supervised contrastive loss between clips and the texts of their classes, with the text as the anchor.

Legend: R rows, one per clip of the global batch; E embedding width; K classes. All embeddings have length 1.

Two directions, as in CLIP (Radford et al. 2021, arXiv 2103.00020, figure 3), with every pair of one class as a positive
(Khosla et al. 2020, arXiv 2004.11362, eq. 2, for the anchors that are texts):

* clip to text: cross-entropy over the texts of the classes that have training clips;
* text to clips: the text of a class picks each of its clips from the clips of *other* classes. A clip of the same class
  is never a negative, neither directly nor in a denominator, so clips of one class are not pushed apart.

The second direction needs all clips of the global batch at once. Each worker writes its clips into its own rows of a
buffer of zeros; the sum over workers is the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.model.published.paper import CLIP_LOGIT_SCALE, info_nce

# The inverse temperature is learned, from 1 / 0.07 on and up to 100, as in CLIP (section 2.5).
FIRST_LOG_SCALE = math.log(1 / 0.07)
LARGEST_LOG_SCALE = math.log(100.0)
# Low enough that a softplus of it is exactly 0, finite so that its gradient is.
LOWEST = -1e4


def text_guided_loss(embedding_RE: Tensor, target_RK: Tensor, text_KE: Tensor, scale: Tensor) -> Tensor:
    """The mean of the two directions, a scalar; 0 without a labelled clip.

    Args:
        embedding_RE: of length 1; rows without a class may hold any finite values.
        target_RK: one-hot, all zero for a row without a class.
        text_KE: of length 1, one text per class.
        scale: the inverse temperature.
    """
    score_RK = scale * embedding_RE @ text_KE.t()
    labelled_R = target_RK.sum(1)
    to_text_R = -(score_RK.log_softmax(-1) * target_RK).sum(1)
    to_text = to_text_R.sum() / labelled_R.sum().clamp(min=1)
    # log Σ over the clips of other classes of exp(score): the negatives of each clip of a class.
    others_RK = (labelled_R.unsqueeze(1) - target_RK) > 0
    negatives_K = score_RK.masked_fill(~others_RK, LOWEST).logsumexp(0)
    to_clips_RK = functional.softplus(negatives_K - score_RK) * target_RK
    clips_K = target_RK.sum(0)
    to_clips = (to_clips_RK.sum(0) / clips_K.clamp(min=1)).sum() / (clips_K > 0).sum().clamp(min=1)
    return (to_text + to_clips) / 2


class ContrastiveLoss(nn.Module):
    """`text_guided_loss` of a global batch, from sums over workers. For training only: no model holds its weights.

    Args:
        present: for each of the K classes, whether it has training clips; the others have no text.
        rows: the largest number of clips in a global batch.
        width: E.
        texts: (K, E) embedded prompts, or None for learned vectors.
        seed: of the learned vectors.
        info_nce: use `paper.info_nce` with CLIP's own temperature, as published, instead of `text_guided_loss`: every
            other clip is then a negative, those of the same class included.
    """

    texts: Tensor
    log_scale: Tensor

    def __init__(
        self,
        *,
        present: Sequence[bool],
        rows: int,
        width: int,
        texts: Tensor | None,
        seed: int = 0,
        info_nce: bool = False,
    ) -> None:
        super().__init__()
        self.info_nce = info_nce
        self.kept = [index for index, is_present in enumerate(present) if is_present]
        self.rows, self.width = rows, width
        if texts is None:
            first = torch.randn(len(self.kept), width, generator=torch.Generator().manual_seed(seed))
            self.texts = nn.Parameter(functional.normalize(first, dim=-1))
        else:
            self.register_buffer("texts", texts[self.kept].float(), persistent=False)
        if info_nce:
            self.register_buffer("log_scale", torch.tensor(CLIP_LOGIT_SCALE), persistent=False)
        else:
            self.log_scale = nn.Parameter(torch.tensor(FIRST_LOG_SCALE))

    @property
    def size(self) -> int:
        """How many numbers `sums` returns."""
        return self.rows * (self.width + len(self.kept))

    def sums(self, embedding_BE: Tensor, labels_B: Tensor, *, rank: int, world: int) -> Tensor:
        """One worker's rows, flat and float64.

        Args:
            embedding_BE: of length 1.
            labels_B: class indices; those outside the classes that have training clips count as unlabelled.
            rank, world: this worker fills the rows `rank`, `rank + world`, …
        """
        target_BK = labels_B.unsqueeze(1) == labels_B.new_tensor(self.kept)
        mine_BX = torch.cat([embedding_BE.double(), target_BK.double()], dim=1)
        rows_RX = mine_BX.new_zeros(self.rows, mine_BX.shape[1])
        places_B = rank + world * torch.arange(len(mine_BX), device=mine_BX.device)
        return rows_RX.index_copy(0, places_B, mine_BX).flatten()

    def value(self, sums: Tensor) -> Tensor:
        """The loss of the global batch, a scalar."""
        embedding_RE, target_RK = torch.split(sums.view(self.rows, -1), [self.width, len(self.kept)], dim=1)
        text_KE = functional.normalize(self.texts.double(), dim=-1)
        if self.info_nce:
            labelled_R = target_RK.any(1)
            if not labelled_R.any():
                return embedding_RE.sum() * 0
            return info_nce(embedding_RE[labelled_R], (target_RK @ text_KE)[labelled_R], self.log_scale.double())
        scale = self.log_scale.clamp(max=LARGEST_LOG_SCALE).double().exp()
        return text_guided_loss(embedding_RE, target_RK, text_KE, scale)
