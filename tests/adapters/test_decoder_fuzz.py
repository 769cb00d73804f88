"""Whatever is done to a file, it gives samples or an error of the tree, and in time."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.adapters.decoder.confined import ConfinedDecoder, Confinement
from bot.adapters.decoder.section import Section
from bot.adapters.spool import FileSpool
from bot.core.errors import BadInput, DecodeFailed
from tests import audio

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_S = 20.0
NAMES = [name for name in audio.FORMATS if name not in {"wav-96k-5.1", "wav-12-channels", "wav-float"}]


def mutilated(data: bytes, *, keep: float, span: int, flips: Sequence[tuple[float, int]]) -> bytes:
    """The first part of ``data`` with bytes overwritten among the first ``span``, where most of the structure is."""
    cut = bytearray(data[: int(len(data) * keep)])
    reach = min(span, len(cut))
    for place, value in flips:
        if reach:
            cut[int(place * (reach - 1))] = value
    return bytes(cut)


fraction = st.floats(0, 1)
damage = st.fixed_dictionaries(
    {
        "keep": st.just(1.0) | fraction,
        "span": st.sampled_from([64, 512, 4096, 1 << 30]),
        "flips": st.lists(st.tuples(fraction, st.integers(0, 255)), max_size=60),
    }
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(NAMES), damage=damage, other=st.sampled_from(NAMES), head=st.just(0) | st.integers(0, 200))
async def test_damaged_files(name: str, damage: dict[str, object], other: str, head: int) -> None:
    whole = audio.encoded(other)[:head] + audio.encoded(name)[head:]
    data = mutilated(whole, **damage)  # pyright: ignore[reportArgumentType]  # the strategy above makes them
    with tempfile.TemporaryDirectory() as folder:
        spool = FileSpool(Path(folder), reserve_bytes=0)
        decoder = ConfinedDecoder(spool, confinement=Confinement(max_minutes=1, cpu_s=10, wall_s=LONGEST_S))
        source = audio.spooled(spool, data)
        left = {source.path}
        try:
            async with asyncio.timeout(LONGEST_S + 5):
                decoded = await decoder.decode(source)
            assert decoded.path.stat().st_size == decoded.samples * 4 > 0
            assert decoded.duration_s <= 61
            left.add(decoded.path)
        except (BadInput, DecodeFailed):
            pass
        assert set(spool.root.iterdir()) == left


@given(
    content=st.binary(max_size=50),
    bounds=st.tuples(st.integers(0, 50), st.integers(0, 50)),
    steps=st.lists(
        st.tuples(st.sampled_from(["read", "seek", "tell"]), st.integers(-(1 << 63), 1 << 63), st.integers(0, 2))
        | st.tuples(st.sampled_from(["read", "seek"]), st.integers(-60, 60), st.integers(0, 2))
    ),
)
def test_a_section_never_shows_what_lies_outside(
    content: bytes, bounds: tuple[int, int], steps: list[tuple[str, int, int]]
) -> None:
    start, end = sorted(min(bound, len(content)) for bound in bounds)
    with tempfile.TemporaryFile() as file:
        file.write(content)
        section = Section(file, start, end)
        inside = content[start:end]
        for action, number, whence in steps:
            position = section.tell()
            if action == "seek":
                assert section.seek(number, whence) == section.tell() >= 0
            elif action == "read":
                size = number % 64
                assert section.read(size) == inside[position : position + size]
            else:
                assert position >= 0
