"""EmoDB: the Berlin Database of Emotional Speech (Burkhardt et al., Interspeech 2005; CC0 since 2023).

Ten German actors speak ten everyday sentences in seven emotions, 535 recordings of sound alone. Files lie in any
folder below `root` (the corpus ships them in `wav/`), named `SSTTTEV.wav`:

    SS   speaker   03 08 09 10 11 12 13 14 15 16
    TTT  sentence  a01 a02 a04 a05 a07 b01 b02 b03 b09 b10
    E    emotion   by its German initial: W anger, L boredom, E disgust, A fear, F happiness, T sadness, N neutral
    V    version   a, b, c … where there is more than one take
"""

from __future__ import annotations

import re
from pathlib import Path

from components.contracts.config import Section
from components.contracts.records import Clip, Quarantined
from components.datasets.about import About
from components.datasets.base import NOT_HASHED, Adapter, Scan, bad_name, corpus_folder, media_files, stored_path

NAME = re.compile(r"(\d{2})([ab]\d{2})([A-Z])([a-z]?)")
PATTERN = "SSTTTEV such as 03a01Fa: speaker, sentence, emotion, version"

EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
# Gender and age according to the corpus's documentation.
SPEAKERS = {
    "03": ("male", 31),
    "08": ("female", 34),
    "09": ("female", 21),
    "10": ("male", 32),
    "11": ("male", 26),
    "12": ("male", 30),
    "13": ("female", 32),
    "14": ("female", 35),
    "15": ("male", 25),
    "16": ("female", 31),
}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


class EmodbOptions(Section):
    """The section `emodb:` of params.yaml."""

    root: str
    """The corpus's folder, absolute or relative to the project, or `s3://…`."""


class Emodb(Adapter[EmodbOptions]):
    """The EmoDB adapter."""

    name = "emodb"
    licence = "CC0 1.0"
    about = About(
        title="EmoDB, Berlin Database of Emotional Speech",
        modalities=("voice", "text"),
        access="open",
        how="`mer datasets download emodb` takes the archive from the corpus's own site (about 40 MB)",
        homepage="http://emodb.bilderbar.info",
        paper="Burkhardt et al. 2005, Interspeech, https://doi.org/10.21437/Interspeech.2005-446",
        consent="recorded for research and publication",
        labels=EMOTIONS,
        splits="none of its own: speakers are dealt to splits",
    )
    Options = EmodbOptions

    def scan(self, options: EmodbOptions, root: Path, seed: int) -> Scan:
        """Lists the recordings; see `Adapter.scan`."""
        folder = corpus_folder(options.root, root, dataset=self.name)
        clips: list[Clip] = []
        quarantined: list[Quarantined] = []
        for path in media_files(folder, (".wav", ".flac")):
            outcome = _clip(path, stored_path(path, folder, options.root))
            (clips if isinstance(outcome, Clip) else quarantined).append(outcome)  # type: ignore[arg-type]
        return Scan(clips=clips, quarantined=quarantined)


def _clip(path: Path, stored: str) -> Clip | Quarantined:
    """The clip of a file name, or a quarantine row with the wrong part of the name."""
    match = NAME.fullmatch(path.stem)
    parts = match.groups() if match else ()
    tables = (tuple(SPEAKERS), tuple(SENTENCES), tuple(EMOTIONS))
    checks = zip(("speaker", "sentence", "emotion"), parts, tables, strict=False)
    wrong = [(field, part, table) for field, part, table in checks if part not in table]
    if not parts or wrong:
        field, part, allowed = wrong[0] if wrong else ("name", path.stem, (PATTERN,))
        what = f"the {field} {part} is unknown" if wrong else "this is not an EmoDB name"
        return bad_name(Emodb.name, path, stored, what=what, field=field, seen=part, allowed=", ".join(allowed))
    speaker, sentence, emotion, _ = parts
    gender, age = SPEAKERS[speaker]
    return Clip(
        clip_id=f"{Emodb.name}/{path.stem}",
        dataset=Emodb.name,
        content_sha256=NOT_HASHED,
        subject_id=f"{Emodb.name}/{speaker}",
        session_id=f"{Emodb.name}/{speaker}",
        audio_path=stored,
        transcript=SENTENCES[sentence],
        text_id=f"{Emodb.name}/{sentence}",
        emotion=EMOTIONS[emotion],
        groups={"gender": gender, "age": "under 30" if age < 30 else "30 and over", "language": "German"},
        licence=Emodb.licence,
        consent=Emodb.about.consent,
    )
