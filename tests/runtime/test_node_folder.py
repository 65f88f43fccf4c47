from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest

from components.contracts.errors import UnavailableError
from components.runtime.node_folder import node_folder


@pytest.fixture(autouse=True)
def _own_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_it_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    folder = node_folder()
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "kept").touch()
    assert node_folder() == folder
    assert (folder / "kept").exists()


@pytest.mark.parametrize("harm", ["link", "file", "open to others"])
def test_what_somebody_else_may_have_put_there_is_refused(tmp_path: Path, harm: str) -> None:
    folder = node_folder()
    if harm == "open to others":
        folder.chmod(0o777)
    else:
        folder.rmdir()
        folder.symlink_to(tmp_path) if harm == "link" else folder.write_text("")
    with pytest.raises(UnavailableError, match=r"not this user's own.*TMPDIR"):
        node_folder()
