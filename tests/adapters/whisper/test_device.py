from __future__ import annotations

import pytest

from bot.adapters.whisper.device import Hardware, Placement, choose_device
from bot.core.errors import ModelUnavailable

CPU = frozenset({"int8", "int8_float32", "float32"})
CUDA = frozenset({"float16", "int8_float16", "float32", "int8"})


def machine(cores: int = 2, cuda: int = 0) -> Hardware:
    types = {"cpu": CPU, "cuda": CUDA} if cuda else {"cpu": CPU}
    return Hardware(cores=cores, cuda_devices=cuda, compute_types=types)


@pytest.mark.parametrize(
    ("cores", "concurrency", "workers", "threads"),
    [(1, 1, 1, 1), (2, 1, 2, 1), (2, 2, 1, 1), (2, 8, 1, 1), (4, 1, 4, 1), (8, 1, 4, 2), (8, 2, 4, 1), (64, 1, 4, 16)],
)
def test_cores_are_shared_out(cores: int, concurrency: int, workers: int, threads: int) -> None:
    placed = choose_device(machine(cores), concurrency=concurrency)
    assert placed == Placement(device="cpu", compute_type="int8", workers=workers, threads=threads)


def test_threads_can_be_set() -> None:
    placed = choose_device(machine(8), threads=3)
    assert (placed.workers, placed.threads) == (3, 1)


def test_a_graphics_card_is_used_where_there_is_one() -> None:
    placed = choose_device(machine(cuda=1))
    assert (placed.device, placed.compute_type, placed.workers) == ("cuda", "float16", 1)


def test_the_processor_can_be_preferred() -> None:
    assert choose_device(machine(cuda=1), device="cpu").device == "cpu"


def test_a_compute_type_can_be_set() -> None:
    assert choose_device(machine(), compute_type="float32").compute_type == "float32"


def test_an_old_processor_gets_what_it_can_do() -> None:
    old = Hardware(cores=1, cuda_devices=0, compute_types={"cpu": frozenset({"float32"})})
    assert choose_device(old).compute_type == "float32"


@pytest.mark.parametrize(("device", "kind"), [("cuda", "auto"), ("tpu", "auto"), ("cpu", "float16"), ("cpu", "int3")])
def test_a_wish_that_cannot_be_granted_is_refused(device: str, kind: str) -> None:
    with pytest.raises(ModelUnavailable):
        choose_device(machine(), device=device, compute_type=kind)
