"""The variants that an ablation compares, as data: a name, and the settings that differ from `params.yaml`.

A new one is one line of `VARIANTS`. Both sides of a switch are listed, so that the configured one is always compared
with the other; a variant that resolves to the configuration itself is not trained a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.contracts.config import Params, parse_params
from components.contracts.errors import ConfigError

DEFAULT = "default"
UNIMODAL = "unimodal_"
TEMPORAL = {"clip_head": "temporal"}
# Training every variant again on more people would double the cost without a clearer comparison.
ONCE = {"refit": False}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One variant to compare.

    Attributes:
        name: as in `--variants`.
        about: a short description.
        model, train: settings that replace those of the sections `model` and `train`.
        modalities: those that it may use; all when None.
        candidate: whether it could be the default for complete clips. A causal or a unimodal model and a different
            objective serve a different purpose, so they are compared but never win.
    """

    name: str
    about: str
    model: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    modalities: tuple[str, ...] | None = None
    candidate: bool = True

    def applied(self, params: Params) -> Params:
        """The configuration of this variant, trained once unless the variant itself sets `refit`.

        What `params.yaml` leaves open is filled in anew, so that a different `model.preset` has its own defaults.

        Raises:
            ConfigError: a value that is not allowed, by itself or beside the others.
        """
        given = params.model_dump(exclude_unset=True)
        sources = given.pop("sources", {})
        for section, changes in (("model", self.model), ("train", {**ONCE, **self.train})):
            if changes:
                given[section] = {**given.get(section, {}), **changes}
        known = sorted({*params.datasets, *sources})
        return parse_params({**given, **sources}, known, where=f"variant {self.name}")


VARIANTS: tuple[Variant, ...] = (
    Variant(name=DEFAULT, about="as params.yaml configures it, trained once"),
    Variant(
        name="clip_statistics", about="clips read off statistics of features alone", model={"clip_head": "statistics"}
    ),
    # Kinds of fusion are compared where nothing but the fused streams decides.
    *(
        Variant(name=fusion, about=f"{about}, clips read off it alone", model={"fusion": fusion, **TEMPORAL})
        for fusion, about in (
            ("bidirectional", "every modality queries every other"),
            ("one_way", "one modality queries the others"),
            ("concatenation", "streams side by side, no attention"),
            ("product", "product of what each modality says"),
        )
    ),
    Variant(
        name="no_temporal",
        about="bidirectional without temporal convolution, clips read off it alone",
        model={"tcn_blocks": 0, "fusion": "bidirectional", **TEMPORAL},
    ),
    Variant(name="no_attention", about="as the default, streams side by side", model={"fusion": "concatenation"}),
    Variant(name="no_mixup", about="clip statistics as they are", model={"statistics_mixup": 0.0}),
    Variant(name="mixup", about="clip statistics mixed in pairs", model={"statistics_mixup": 0.4}),
    Variant(name="from_scratch", about="no weights of an earlier version", train={"start_from": None}),
    # The first model answers a fold's calibration people, so `nested_choice` cannot distinguish it from the default.
    Variant(name="refit", about="trained again with the calibration people", train={"refit": True}),
    Variant(name="paper", about="the published model and its training", model={"preset": "paper"}),
    Variant(name="no_conflict_features", about="fusion without |v_i − v_j|", model={"conflict_features": False}),
    Variant(name="conflict_features", about="fusion with |v_i − v_j|", model={"conflict_features": True}),
    Variant(name="no_modality_dropout", about="no modality is hidden in training", model={"modality_dropout": 0.0}),
    Variant(name="modality_dropout", about="modalities hidden in 2 of 10 clips", model={"modality_dropout": 0.2}),
    Variant(name="no_contrastive", about="no text-guided contrastive loss", train={"contrastive_loss": 0.0}),
    Variant(name="contrastive", about="text-guided contrastive loss", train={"contrastive_loss": 0.1}),
    Variant(
        name="contrastive_learned",
        about="contrastive loss to a free vector a class",
        train={"contrastive_loss": 0.1, "contrastive_text": "learned"},
    ),
    Variant(name="no_unimodal_loss", about="no loss on a modality alone", train={"unimodal_loss": 0.0}),
    Variant(name="no_label_smoothing", about="no label smoothing", train={"label_smoothing": 0.0}),
    Variant(name="no_ema", about="the last weights, not their average", train={"ema_decay": 0.0}),
    Variant(
        name="no_class_weighting",
        about="classes as they come",
        train={"class_weighting": "none", "objective": "accuracy"},
    ),
    Variant(name="inverse_frequency", about="rare classes weigh more", train={"class_weighting": "inverse_frequency"}),
    Variant(
        name="logit_adjustment", about="scores shifted by the prior", train={"class_weighting": "logit_adjustment"}
    ),
    Variant(
        name="balanced",
        about="answers as if classes were equally frequent",
        train={"objective": "balanced"},
        candidate=False,
    ),
    Variant(name="accuracy", about="answers with the classes' prior", train={"objective": "accuracy"}, candidate=False),
    Variant(name="causal", about="sees the past alone, for live use", model={"causal": True}, candidate=False),
)


def unimodal(modality: str) -> Variant:
    """The configured model with one modality alone."""
    return Variant(
        name=f"{UNIMODAL}{modality}",
        about=f"{modality} alone, trained alone",
        modalities=(modality,),
        candidate=False,
    )


def choose(names: Sequence[str], modalities: Sequence[str]) -> list[Variant]:
    """The variants of these names, all when there is none; the default always, and first.

    Args:
        names: as given on the command line.
        modalities: of the catalog; each has a variant `unimodal_<modality>` where there are two or more.

    Raises:
        ConfigError: an unknown name, with the nearest one.
    """
    singles = [unimodal(name) for name in modalities] if len(modalities) > 1 else []
    known = {variant.name: variant for variant in [VARIANTS[0], *singles, *VARIANTS[1:]]}
    for name in names:
        if name not in known:
            raise ConfigError.unknown("variant", name, known, where="ablate.variants")
    return [variant for name, variant in known.items() if not names or name in names or name == DEFAULT]
