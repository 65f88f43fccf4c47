"""Registers a bundle as a version of a model, with its card and its aliases."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.contracts.errors import BundleError
from components.contracts.requirements import pinned_requirements
from components.registry.model_card import DATA_HEADING
from components.registry.proof import PROOF_TAG, Keyring, key_of
from components.tracking.client import Client
from components.tracking.packaging import write_model_folder
from components.tracking.runs import Run
from components.tracking.versions import (
    MAX_DESCRIPTION,
    add_to_version,
    add_version,
    aliases_of,
    describe,
    ensure_model,
    registered_version,
    set_alias,
    set_tags,
    version_info,
)

# In a layer above this one: MLflow imports it by name when the model is loaded.
LOADER_MODULE = "components.serving.flavor"
CHALLENGER = "challenger"
CARD_NAME = "MODEL_CARD.md"
SHORTENED = f"\n\n… the whole card is `{CARD_NAME}` among the artifacts."
DATA_SECTION = re.compile(rf"^{DATA_HEADING}$.*?(?=\n\n## |\n*\Z|{re.escape(SHORTENED)})", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Registered:
    """The outcome of a registration: `reused` when this bundle had been registered before."""

    version: str
    aliases: tuple[str, ...]
    reused: bool


def register(
    bundle: Path,
    *,
    name: str,
    bundle_sha256: str,
    tags: Mapping[str, str],
    leads: bool,
    card: str,
    run_id: str,
    alias: str,
    tracking_uri: str,
    proof: str | None = None,
    challenges: bool = True,
) -> Registered:
    """Registers a bundle. If it is registered already, only the section on data and consent of that version's card is
    updated: both are recorded on the clips and are not part of the bundle. Unless it is signed with the same key, it
    gets the proof: whoever registers a bundle made it from the data.

    The alias `challenger` moves to the version if it passed its gates. The rollout's alias is set only where no version
    has it and this one may lead: from then on it is moved only by hand.

    Args:
        bundle: the folder from `write_bundle`.
        tags: of the version, beside the bundle's hash.
        leads: whether the version gets the rollout's alias while no version has it.
        card: the model card, Markdown.
        run_id: the run that trained the model.
        alias: the rollout's.
        proof: the signed statement about the bundle; None where its hash is part of the code.
        challenges: whether `challenger` moves to it.

    Raises:
        UnavailableError: MLflow cannot be reached.
    """
    ensure_model(name, description=_model_description(alias), tracking_uri=tracking_uri)
    version = registered_version(name, bundle_sha256, tracking_uri=tracking_uri)
    reused = version is not None
    if version is None:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            write_model_folder(folder, bundle, loader_module=LOADER_MODULE, requirements=pinned_requirements())
            (folder / CARD_NAME).write_text(card, encoding="utf-8")
            version = add_version(
                folder,
                name=name,
                run_id=run_id,
                bundle_sha256=bundle_sha256,
                tags=tags if proof is None else {**tags, PROOF_TAG: proof},
                description=shortened(card),
                tracking_uri=tracking_uri,
            )
            Run(Client(tracking_uri), run_id).file(folder / CARD_NAME)
    else:
        _restate(name, version, card, tracking_uri=tracking_uri)
        if proof is not None:
            _sign(name, version, proof, bundle_sha256=bundle_sha256, tracking_uri=tracking_uri)
    if challenges:
        set_alias(name, CHALLENGER, version, tracking_uri=tracking_uri)
    if leads and alias not in aliases_of(name, tracking_uri=tracking_uri):
        set_alias(name, alias, version, tracking_uri=tracking_uri)
    aliases = aliases_of(name, tracking_uri=tracking_uri)
    own = sorted(alias for alias, number in aliases.items() if number == version)
    return Registered(version=version, aliases=tuple(own), reused=reused)


def _model_description(alias: str) -> str:
    return (
        "The emotions that a person in a clip shows over time, from face, voice, words and physiological signals. "
        f"Move the alias `{alias}` to promote a version; the service follows. The description of a version is its "
        "model card."
    )


def _sign(name: str, version: str, proof: str, *, bundle_sha256: str, tracking_uri: str) -> None:
    """Gives a version the proof, unless it has one of the same key that holds."""
    stored = version_info(name, version, tracking_uri=tracking_uri)
    own = key_of(proof)
    if stored is None or own is None:
        return
    try:
        Keyring(trusted=(own,)).verify(stored.tags.get(PROOF_TAG, ""), bundle_sha256=bundle_sha256, where=name)
    except BundleError:
        set_tags(name, version, {PROOF_TAG: proof}, tracking_uri=tracking_uri)


def _restate(name: str, version: str, card: str, *, tracking_uri: str) -> None:
    """Replaces the version's section on data and consent by the card's, and stores the card beside the model.

    The rest of the description stays: a person may have written in it, and a withdrawal is noted at its top.
    """
    stored = version_info(name, version, tracking_uri=tracking_uri)
    if stored is None:
        return
    after = shortened(restated(stored.description, card))
    if after == stored.description:
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / CARD_NAME
        path.write_text(card, encoding="utf-8")
        add_to_version(path, stored, tracking_uri=tracking_uri)
        if stored.run_id is not None:
            Run(Client(tracking_uri), stored.run_id).file(path)
    describe(name, version, after, tracking_uri=tracking_uri)


def restated(description: str, card: str) -> str:
    """A description with the card's section on data and consent; unchanged where either has no such section."""
    section = DATA_SECTION.search(card)
    return DATA_SECTION.sub(lambda _: section[0], description, count=1) if section else description


def shortened(card: str) -> str:
    """A card, cut at the end of a line if it is too long for a description."""
    if len(card) <= MAX_DESCRIPTION:
        return card
    return card[: MAX_DESCRIPTION - len(SHORTENED)].rsplit("\n", 1)[0] + SHORTENED
