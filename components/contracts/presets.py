"""Presets: named defaults for the sections `model` and `train`. A key that `params.yaml` sets itself wins.

`paper` is the recipe of Byeon, Kim & Lim 2026 (arXiv 2603.11971) with the published code's values. It differs here in
the following:

* an update is one global batch of 64 windows; the published code adds up two gradients of 32 per worker. The mean of
  the class-weighted loss and the contrastive negatives are over all 64 instead of twice over 32, and the last, shorter
  batch of an epoch is not halved;
* a second is `alignment.rate_hz` steps instead of 30 frames, and the voice is on the same steps;
* the contrastive prompt is encoded by `train.contrastive_text` instead of CLIP's text encoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from components.contracts.errors import ConfigError

Sections = Mapping[str, Mapping[str, Any]]

PRESETS: Mapping[str, Sections] = {
    "default": {},
    "paper": {
        "model": {"modality_dropout": 0.0, "standardise": False},
        "train": {
            "windows": True,
            "epochs": 30,
            "batch_clips": 64,
            "learning_rate": 1e-5,
            "final_rate": 0.1,
            "schedule": "epoch",
            "warmup_fraction": 0.0,
            "weight_decay": 1e-2,
            "decay_all": True,
            "gradient_clip": 1.0,
            "ema_decay": 0.0,
            "label_smoothing": 0.0,
            "class_weighting": "inverse_frequency",
            # A training clip is one window, whose label is that of its last step.
            "step_loss": 0.0,
            "clip_loss": 1.0,
            "contrastive_loss": 0.1,
            "contrastive_kind": "info_nce",
            "contrastive_prompt": "A face expressing {emotion}",
        },
    },
}


# Keys without effect in a preset: its model fixes that size, lacks that function, or has no such head.
WITHOUT: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "default": {},
    "paper": {
        "model": (
            "width",
            "heads",
            "tcn_blocks",
            "tcn_kernel",
            "causal",
            "dropout",
            "fusion",
            "attention_window_s",
            "conflict_features",
            "clip_head",
            "statistics_width",
            "statistics_dropout",
            "statistics_noise",
            "statistics_mixup",
        ),
        "train": ("unimodal_loss", "valence_arousal_loss"),
    },
}


def defaults_of(preset: str, loss_weights: Iterable[str]) -> Sections:
    """Section → its defaults, where they differ from those of the section itself.

    A published recipe has only the losses that it names: a loss added later, with a weight among `loss_weights`, is off
    in it, whatever its own default is.
    """
    sections = PRESETS[preset]
    if preset == "default":
        return sections
    return {**sections, "train": {**dict.fromkeys(loss_weights, 0.0), **sections.get("train", {})}}


def with_preset(sections: Mapping[str, Any], *, where: str, loss_weights: Iterable[str]) -> dict[str, Any]:
    """The sections of a configuration, with the defaults of its `model.preset` for keys that they do not set.

    A value that is not a mapping is left as it is, for the check of types that follows.

    Args:
        sections: the sections of `params.yaml`.
        where: for errors.
        loss_weights: the settings of `train` that are weights of losses.

    Raises:
        ConfigError: there is no such preset, or a key is set that has no effect on its model.
    """
    merged = dict(sections)
    model = merged.get("model")
    name = model.get("preset", "default") if isinstance(model, Mapping) else "default"
    if not isinstance(name, str):
        return merged
    if name not in PRESETS:
        raise ConfigError.unknown("preset", name, sorted(PRESETS), where=f"{where}: model.preset")
    defaults = defaults_of(name, loss_weights)
    for section in sorted(defaults.keys() | WITHOUT[name].keys()):
        own = merged.get(section, {})
        if not isinstance(own, Mapping):
            continue
        for key in own:
            if key in WITHOUT[name].get(section, ()):
                raise ConfigError(
                    f"this key has no effect in preset {name}",
                    where=f"{where}: {section}.{key}",
                    seen=own[key],
                    remedy="Remove it, or set model.preset: default.",
                )
        merged[section] = {**defaults.get(section, {}), **own}
    return merged
