from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from components.contracts.config import Features, meaning
from components.contracts.errors import ConfigError, UnavailableError
from components.features.registry import ENCODERS, create, encoder_fingerprint, portable, specs


def test_every_encoder_names_itself() -> None:
    for (modality, spec), _ in ENCODERS.items():
        encoder = create(spec, modality, "cpu")
        assert (encoder.modality, encoder.name) == (modality, spec)
        assert encoder.width > 0
        assert encoder.fingerprint == encoder_fingerprint(spec, modality, "cpu")


def test_no_two_encoders_share_a_fingerprint() -> None:
    assert len({encoder_fingerprint(spec, modality) for modality, spec in ENCODERS}) == len(ENCODERS)


def test_the_defaults_exist() -> None:
    for modality, spec in Features().encoders.items():
        create(spec, modality, "cpu")


@pytest.mark.parametrize(
    ("spec", "modality", "hint"),
    [
        ("whisper-tny", "voice", "Did you mean 'whisper-tiny'"),
        ("minilm", "voice", f"allowed: {', '.join(specs('voice'))}"),
        ("transformers:x/y", "physio", "allowed: signal"),
        ("fer", "fase", "Did you mean 'face'"),
    ],
)
def test_an_unknown_encoder_is_named_with_its_neighbour(spec: str, modality: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        create(spec, modality, "cpu")


def test_the_specs_of_a_modality_are_its_encoders_and_checkpoints() -> None:
    assert specs("voice")[:2] == ("whisper-tiny", "signal")
    assert specs("voice")[-1] == "transformers:<hub name or folder>"


def test_the_setting_names_every_encoder() -> None:
    text = meaning(Features.model_fields["encoders"])
    for modality in dict.fromkeys(modality for modality, _ in ENCODERS):
        assert f"{modality}: {', '.join(name for kind, name in ENCODERS if kind == modality)}" in text


def test_a_checkpoint_that_is_nowhere_says_what_to_do() -> None:
    with pytest.raises(UnavailableError, match="hf download") as caught:
        create("transformers:nobody/no-such-model", "voice", "cpu")
    assert "nobody/no-such-model" in str(caught.value)


def test_a_folder_travels_as_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").mkdir()
    assert portable("transformers:net") == f"transformers:{tmp_path / 'net'}"
    assert portable("transformers:openai/clip") == "transformers:openai/clip"
    assert portable("fer") == "fer"
    assert specs("physio") == ("signal",)


def test_naming_an_encoder_imports_no_framework() -> None:
    code = (
        "import sys; from components.features.registry import create; "
        "[create(spec, m, 'cpu').fingerprint for m, spec in "
        "(('face', 'fer'), ('voice', 'whisper-tiny'), ('text', 'minilm'), ('physio', 'signal'))]; "
        "print(sorted({'torch', 'ray', 'transformers', 'mlflow', 'h5py', 'scipy.fft', 'scipy.signal', 'scipy.ndimage'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
