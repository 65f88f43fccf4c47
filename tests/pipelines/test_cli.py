from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from components.contracts.errors import ConfigError
from pipelines import cli
from pipelines.cli import app, block, call

HEAVY = ("torch", "ray", "mlflow", "dvc", "kfp", "great_expectations", "transformers")


def commands(typer_app=app, prefix=()) -> list[tuple[str, ...]]:
    names = [(*prefix, command.name or command.callback.__name__) for command in typer_app.registered_commands]
    for group in typer_app.registered_groups:
        names += [(*prefix, group.name), *commands(group.typer_instance, (*prefix, group.name))]
    return names


@pytest.mark.parametrize(
    "arguments", [["--help"], ["datasets", "list"], ["config"], ["quarantine", "--help"], ["schedule"]]
)
def test_light_commands_import_no_framework(arguments: list[str], project: Path) -> None:
    code = (
        "import sys; from pipelines.cli import call; code = call(sys.argv[1:]);"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]; print('HEAVY', heavy, file=sys.stderr);"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True, cwd=project
    )
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stderr


@pytest.mark.parametrize("command", [name for name in commands() if name not in {("kfp",), ("quarantine",)}])
def test_every_command_has_help_with_an_example(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert call([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Examples:" in shown
    assert f"mer {command[0]}" in shown.split("Examples:")[1]


def test_it_prints_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["--version"]) == 0
    assert capsys.readouterr().out.split() == ["mer", metadata.version("mer")]


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["trian"]) == 2
    assert "Did you mean 'train', 'retrain'?" in capsys.readouterr().err


def test_a_missing_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["alignment"]) == 2
    assert "--dataset" in capsys.readouterr().err


def test_outside_a_project_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(["describe"]) == 2
    shown = capsys.readouterr().err
    assert str(tmp_path) in shown
    assert "params.yaml and dvc.yaml" in shown


def test_an_unknown_key_names_the_nearest(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "params.yaml").write_text("datasets: [synthetic]\nalignmnt: {}\n")
    assert call(["inputs"]) == 2
    assert "Did you mean 'alignment'?" in capsys.readouterr().err


def test_an_unknown_dataset_names_the_nearest(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "params.yaml").write_text("datasets: [sinthetic]\n")
    assert call(["run"]) == 2
    assert "Did you mean 'synthetic'?" in capsys.readouterr().err


def test_a_dataset_that_is_not_in_use_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["datasets", "--dataset", "ravdess"]) == 2
    assert "not in use" in capsys.readouterr().err


def test_an_interrupt_gives_130_and_a_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(**_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.commands.describe.pipeline", interrupted)
    assert call(["describe"]) == 130
    shown = capsys.readouterr().err
    assert "Interrupted" in shown
    assert "Traceback" not in shown


def test_a_defect_shows_its_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(**_: object) -> str:
        raise ZeroDivisionError("no number")

    monkeypatch.setattr("pipelines.commands.describe.pipeline", broken)
    assert call(["describe"]) == 1
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: no number" in shown
    assert "defect of mer" in shown


def test_main_ends_the_process_with_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["nonsense"])
    assert ended.value.code == 2
    capsys.readouterr()


def test_an_error_is_one_block() -> None:
    error = ConfigError("unknown key", where="params.yaml", seen="sed", allowed="seed", remedy="Did you mean 'seed'?")
    assert block(error).splitlines() == [
        "error (config): unknown key",
        "  where    params.yaml",
        "  seen     sed",
        "  allowed  seed",
        "  try      Did you mean 'seed'?",
    ]


def test_a_value_of_zero_is_shown() -> None:
    assert "seen     0" in block(ConfigError("too few", seen=0))


def test_only_goes_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["run", "--only", "train", "--force"]) == 2
    assert "--only" in capsys.readouterr().err


@pytest.mark.integration
@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "de_DE"}])
def test_it_speaks_utf8_in_every_locale(locale: dict[str, str], tmp_path: Path) -> None:
    """The help has letters that neither ASCII nor Latin-1 has; `de_DE` is made here, since few machines have it."""
    if locale["LC_ALL"] == "de_DE":
        made = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(tmp_path / "de_DE")]
        if shutil.which("localedef") is None or subprocess.run(made, capture_output=True, check=False).returncode:
            pytest.skip("this machine has no sources of locales")
        locale = {**locale, "LOCPATH": str(tmp_path)}
    command = [sys.executable, "-m", "pipelines.cli", "ablate", "--help"]
    done = subprocess.run(command, env={**os.environ, "PYTHONUTF8": "0", **locale}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "…" in done.stdout.decode("utf-8")


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/"), "error (no-room): the disk is full"),
        (RuntimeError("ray::train() OSError: [Errno 28] No space left on device"), "error (no-room): the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "this user may not open or write it"),
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), "the disk is read-only"),
    ],
)
def test_what_the_machine_refuses_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, what: str
) -> None:
    def refused(**_: object) -> str:
        raise error

    monkeypatch.setattr("pipelines.commands.describe.pipeline", refused)
    assert call(["describe"]) == 7
    shown = capsys.readouterr().err
    assert what in shown
    assert "defect" not in shown
    assert "Traceback" not in shown
