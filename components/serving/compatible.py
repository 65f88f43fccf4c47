"""Whether this installation and an adaptation fit a version."""

from __future__ import annotations

from components.alignment.fingerprint import alignment_fingerprint, served_fingerprints
from components.contracts.codes import Code
from components.contracts.errors import BundleError
from components.features.adaptation import MAKE_AGAIN, Adaptation
from components.registry.bundle import Bundle, EncoderSpec
from components.serving.pool import matching_encoder


def used_encoders(bundle: Bundle) -> dict[str, EncoderSpec]:
    """The encoders of the modalities that the version was trained with."""
    return {modality: bundle.encoders[modality] for modality in bundle.transform.modalities}


def read_alike(bundle: Bundle, other: Bundle) -> bool:
    """Whether two versions make the same features of a clip."""
    return (
        bundle.alignment == other.alignment
        and used_encoders(bundle) == used_encoders(other)
        and {name: expert.encoder for name, expert in bundle.experts.items()}
        == {name: expert.encoder for name, expert in other.experts.items()}
    )


def check_alignment(bundle: Bundle) -> None:
    """Raises BundleError when this code aligns ordinary recordings differently from the code that the bundle was made
    with."""
    installed = alignment_fingerprint(bundle.alignment)
    expected = bundle.description.alignment_fingerprint
    if expected not in served_fingerprints(bundle.alignment):
        raise BundleError(
            "the alignment installed here is not the one this version was trained with",
            where="alignment",
            seen=installed[:12],
            allowed=expected[:12],
            remedy="Serve it with the code and weights it was trained with, or train again.",
            code=Code.ALIGNMENT_MISMATCH,
        )


def check_adaptation(bundle: Bundle, adaptation: Adaptation) -> None:
    """Raises BundleError when an adaptation cannot serve a version."""
    if not bundle.transform.standardise:
        raise BundleError(
            "this version takes features as the encoders give them, so there is nothing to adapt",
            where=adaptation.name,
            remedy="Answer without the adaptation, or with a version of the preset `default`",
        )
    for modality, spec in used_encoders(bundle).items():
        if modality not in adaptation.modalities:
            continue
        fingerprint, width = adaptation.encoders[modality], adaptation.modalities[modality].mean.size
        if (fingerprint, width) != (spec.fingerprint, spec.width):
            raise BundleError(
                "the adaptation was measured with a different encoder than this version has",
                where=f"{adaptation.name}: {modality}",
                seen=f"{fingerprint[:12]}, width {width}",
                allowed=f"{spec.fingerprint[:12]}, width {spec.width} ({spec.spec})",
                remedy=MAKE_AGAIN,
                code=Code.ENCODER_MISMATCH,
            )


def check_fits(bundle: Bundle, device: str = "cpu") -> None:
    """Raises as the constructor of `Predictor` would, without loading an encoder's weights."""
    check_alignment(bundle)
    specs = {**used_encoders(bundle), **{name: expert.encoder for name, expert in bundle.experts.items()}}
    for modality, spec in specs.items():
        matching_encoder(modality, spec, device)
