"""Everything that members post becomes samples, or one error that says why not."""

from __future__ import annotations

import io
import math
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.adapters.decoder import media
from bot.adapters.decoder.confined import ConfinedDecoder, Confinement
from bot.adapters.decoder.report import Outcome
from bot.adapters.spool import FileSpool
from bot.core.errors import (
    AudioEmpty,
    AudioEncrypted,
    AudioTooLong,
    EarshotError,
    NoAudioTrack,
    NotAudio,
)
from tests import audio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from bot.core.models import DecodedAudio

UNSTATED = frozenset({"amr", "aac", "mpegts"})
"""Formats that do not say how long they are."""
WINDOW = 320
"""20 ms."""
MOST_SHIFT = 4
"""Windows."""


@pytest.fixture
def spool(tmp_path: Path) -> FileSpool:
    return FileSpool(tmp_path / "spool", reserve_bytes=0)


@pytest.fixture
def decoder(spool: FileSpool) -> ConfinedDecoder:
    return ConfinedDecoder(spool, confinement=Confinement(max_minutes=1))


def samples_of(decoded: DecodedAudio) -> NDArray[np.float32]:
    samples = np.fromfile(decoded.path, np.float32)
    assert len(samples) == decoded.samples
    return samples


def loudness(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each window."""
    whole = samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW).astype(np.float64)
    return np.sqrt((whole**2).mean(axis=1))


def sounds_like_the_speech(samples: NDArray[np.float32]) -> bool:
    """Whether it is as loud at the same times, give or take what codecs shift."""
    heard, said = loudness(samples), loudness(audio.speech())
    length = min(len(heard), len(said)) - 2 * MOST_SHIFT
    middle = said[MOST_SHIFT : MOST_SHIFT + length]
    shifted = (heard[shift : shift + length] for shift in range(2 * MOST_SHIFT + 1))
    return max(float(np.corrcoef(window, middle)[0, 1]) for window in shifted) > 0.95


@pytest.mark.parametrize("name", audio.FORMATS)
async def test_every_format_decodes(spool: FileSpool, decoder: ConfinedDecoder, name: str) -> None:
    source = audio.spooled(spool, audio.encoded(name))
    decoded = await decoder.decode(source)
    assert decoded.duration_s == pytest.approx(audio.SPEECH_S, abs=0.06)
    assert sounds_like_the_speech(samples_of(decoded))
    if name in UNSTATED:
        assert decoded.declared_s is None
    else:
        assert decoded.declared_s == pytest.approx(audio.SPEECH_S, abs=0.06)
    spool.release(decoded)
    spool.release(source)
    assert list(spool.root.iterdir()) == []


@pytest.mark.parametrize("name", ["mp3", "wav", "flac", "webm", "aiff", "mkv", "au"])
async def test_a_truncated_file_gives_what_is_there_and_its_promise(
    spool: FileSpool, decoder: ConfinedDecoder, name: str
) -> None:
    decoded = await decoder.decode(audio.spooled(spool, audio.truncated(name, 0.5)))
    assert 4.5 < decoded.duration_s < 6
    assert decoded.declared_s == pytest.approx(audio.SPEECH_S, abs=0.06)
    assert sounds_like_the_speech(samples_of(decoded))


async def test_what_discord_declares_tells_that_an_ogg_is_truncated(spool: FileSpool, decoder: ConfinedDecoder) -> None:
    source = audio.spooled(spool, audio.truncated("voice-message", 0.5), declared_s=11.0)
    decoded = await decoder.decode(source)
    assert 4.5 < decoded.duration_s < 6
    assert decoded.declared_s == 11.0


@pytest.mark.parametrize("declared_s", [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e12])
async def test_an_absurd_declaration_is_no_declaration(
    spool: FileSpool, decoder: ConfinedDecoder, declared_s: float
) -> None:
    decoded = await decoder.decode(audio.spooled(spool, audio.encoded("aac"), declared_s=declared_s))
    assert decoded.declared_s is None


@pytest.mark.parametrize("name", ["mp3", "ogg", "m4a", "flac", "aac"])
async def test_damage_in_the_middle_is_left_out(spool: FileSpool, decoder: ConfinedDecoder, name: str) -> None:
    data = audio.with_damage(audio.encoded(name), start=0.5, end=0.55)
    decoded = await decoder.decode(audio.spooled(spool, data))
    assert 8 < decoded.duration_s < 11.1
    assert sounds_like_the_speech(samples_of(decoded)[: 5 * 16_000])


async def test_a_chain_of_streams_is_decoded_to_its_end(spool: FileSpool, decoder: ConfinedDecoder) -> None:
    decoded = await decoder.decode(audio.spooled(spool, audio.chained_ogg()))
    assert decoded.duration_s == pytest.approx(16.0, abs=0.06)
    assert decoded.declared_s == pytest.approx(16.0, abs=0.06)
    assert sounds_like_the_speech(samples_of(decoded)[11 * 16_000 :])


async def test_rate_and_channels_may_change_in_the_middle(spool: FileSpool, decoder: ConfinedDecoder) -> None:
    decoded = await decoder.decode(audio.spooled(spool, audio.changing_rate()))
    assert decoded.duration_s == pytest.approx(16.0, abs=0.2)
    assert sounds_like_the_speech(samples_of(decoded))


async def test_a_track_without_sound_gives_way_to_the_next(spool: FileSpool, decoder: ConfinedDecoder) -> None:
    decoded = await decoder.decode(audio.spooled(spool, audio.second_track_sounds()))
    assert sounds_like_the_speech(samples_of(decoded))


async def test_a_track_may_appear_on_the_way(spool: FileSpool) -> None:
    decoder = ConfinedDecoder(spool, confinement=Confinement(max_minutes=6))
    decoded = await decoder.decode(audio.spooled(spool, audio.appearing_track()))
    assert decoded.duration_s == pytest.approx(30 * audio.SPEECH_S, rel=0.05)  # something is lost at each joint


async def test_silence_is_audio(spool: FileSpool, decoder: ConfinedDecoder) -> None:
    recipe = audio.Recipe(container="flac", codec="flac")
    decoded = await decoder.decode(audio.spooled(spool, audio.encode(audio.silence(3), recipe)))
    assert decoded.duration_s == pytest.approx(3.0)
    assert not samples_of(decoded).any()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e38, -1e38])
async def test_what_is_no_number_becomes_one(spool: FileSpool, decoder: ConfinedDecoder, value: float) -> None:
    sound = audio.speech().copy()
    sound[16_000:16_100] = value
    decoded = await decoder.decode(audio.spooled(spool, audio.float_wav(sound)))
    samples = samples_of(decoded)
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1.0
    assert sounds_like_the_speech(np.concatenate([samples[:16_000], samples[:160] * 0, samples[16_160:]]))


@pytest.mark.parametrize("channels", [3, 5, 9, 32, 64])
async def test_channels_without_names_are_averaged(spool: FileSpool, decoder: ConfinedDecoder, channels: int) -> None:
    sound = np.repeat(audio.speech()[:, np.newaxis], channels, axis=1)
    data = audio.pcm16(sound)
    header = audio.wav_header(channels=channels, data_bytes=len(data))
    decoded = await decoder.decode(audio.spooled(spool, header + data))
    assert sounds_like_the_speech(samples_of(decoded))


async def test_the_size_that_a_pipe_leaves_in_a_wav_is_no_promise(spool: FileSpool, decoder: ConfinedDecoder) -> None:
    for size in (0x7FFFFFFF - 36, 0xFFFFFFFF, 0):
        data = audio.wav_header(data_bytes=size) + audio.pcm16(audio.speech())
        decoded = await decoder.decode(audio.spooled(spool, data))
        assert decoded.declared_s is None
        assert decoded.duration_s == pytest.approx(audio.SPEECH_S)


REFUSED: dict[str, tuple[Callable[[], bytes], type[EarshotError]]] = {
    "nothing": (lambda: b"", AudioEmpty),
    "one byte": (lambda: b"\0", NotAudio),
    "text": (lambda: b"This is a text that somebody named speech.mp3.\n" * 100, NotAudio),
    "zeros": (lambda: bytes(100_000), NotAudio),
    "noise": (lambda: np.random.default_rng(1).bytes(200_000), NotAudio),
    "zip": (lambda: b"PK\x03\x04" + np.random.default_rng(2).bytes(50_000), NotAudio),
    "pdf": (lambda: b"%PDF-1.7\n" + np.random.default_rng(3).bytes(50_000), NotAudio),
    "midi": (lambda: b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\4\0\xff\x2f\0", NotAudio),
    "half an mp4": (lambda: audio.truncated("mp4", 0.5), NotAudio),
    "the head of an ogg": (lambda: audio.truncated("ogg", 0.001), NotAudio),
    "a wav header without samples": (lambda: audio.wav_header(data_bytes=0), AudioEmpty),
    "a rate of one hertz": (lambda: audio.wav_header(rate=1, data_bytes=40_000) + bytes(40_000), NotAudio),
    "a rate of two billion": (
        lambda: audio.wav_header(rate=2_000_000_000, data_bytes=40_000) + bytes(40_000),
        NotAudio,
    ),
    "65535 channels": (lambda: audio.wav_header(channels=65_535, data_bytes=400_000) + bytes(400_000), NotAudio),
    "no channels": (lambda: audio.wav_header(channels=0, data_bytes=40_000) + bytes(40_000), NotAudio),
    "mp4 without audio": (audio.video_only, NoAudioTrack),
    "webm without audio": (lambda: audio.video_only(container="webm", codec="libvpx"), NoAudioTrack),
    "png": (lambda: audio.picture("png"), NoAudioTrack),
    "jpeg": (lambda: audio.picture("mjpeg"), NoAudioTrack),
    "gif": (lambda: b"GIF89a" + bytes(20), NoAudioTrack),
    "webp": (lambda: b"RIFF" + struct.pack("<I", 100) + b"WEBPVP8 " + bytes(92), NoAudioTrack),
    "FairPlay": (lambda: audio.protected_m4p("drms"), AudioEncrypted),
    "Audible": (lambda: audio.protected_m4p("aavd"), AudioEncrypted),
    "enca": (lambda: audio.protected_m4p("enca"), AudioEncrypted),
    "common encryption": (audio.common_encryption, AudioEncrypted),
    "Windows Media DRM": (audio.protected_wma, AudioEncrypted),
    "encrypted webm": (audio.protected_webm, AudioEncrypted),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_audio_is_refused_by_name(spool: FileSpool, decoder: ConfinedDecoder, name: str) -> None:
    make, error = REFUSED[name]
    source = audio.spooled(spool, make())
    with pytest.raises(EarshotError) as caught:
        await decoder.decode(source)
    assert type(caught.value) is error, caught.value
    assert list(spool.root.iterdir()) == [source.path]


def test_damage_without_end_is_given_up() -> None:
    reserved_mode = b"\x48"
    source, sink = io.BytesIO(b"#!AMR\n" + reserved_mode * 50_000), io.BytesIO()
    report = media.decode(source, sink, sample_rate=16_000, max_samples=16_000)
    assert report.outcome is Outcome.NOT_AUDIO
    assert 10_000 < report.damaged < 11_000


def playlists(secret: Path, url: str) -> dict[str, bytes]:
    """Files that lead FFmpeg to other files, if it lets itself be led."""
    segments = "\n".join(
        f"#EXTINF:10,\n{place}" for place in (secret, f"file://{secret}", url, f"concat:{secret}|{url}")
    )
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-VERSION:3\n{segments}\n#EXT-X-ENDLIST\n".encode(),
        "concat": f"ffconcat version 1.0\nfile '{secret}'\nfile '{url}'\n".encode(),
        "dash": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
            ' mediaPresentationDuration="PT11S">'
            f'<Period><AdaptationSet mimeType="audio/wav"><Representation id="0" bandwidth="1"><BaseURL>{url}</BaseURL>'
            "</Representation></AdaptationSet></Period></MPD>"
        ).encode(),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "pls": f"[playlist]\nFile1={url}\nNumberOfEntries=1\n".encode(),
        "smil": f'<smil><body><audio src="{url}"/></body></smil>'.encode(),
    }


async def test_no_file_leads_to_another_or_to_the_network(
    tmp_path: Path, spool: FileSpool, decoder: ConfinedDecoder
) -> None:
    requests: list[str] = []
    secret = tmp_path / "secret.wav"
    secret.write_bytes(audio.encoded("wav"))

    async def serve(request: web.Request) -> web.Response:
        requests.append(request.path)
        return web.Response(body=audio.encoded("wav"), content_type="audio/wav")

    application = web.Application()
    application.router.add_get("/{anything:.*}", serve)
    async with TestServer(application) as server:
        for name, data in playlists(secret, str(server.make_url("/stolen.wav"))).items():
            with pytest.raises(NotAudio):
                await decoder.decode(audio.spooled(spool, data))
            assert requests == [], name


async def test_a_stated_length_over_the_limit_is_refused_at_once(spool: FileSpool) -> None:
    decoder = ConfinedDecoder(spool, confinement=Confinement(max_minutes=0.1))
    with pytest.raises(AudioTooLong) as caught:
        await decoder.decode(audio.spooled(spool, audio.encoded("mp3")))
    assert caught.value.values == {"limit_minutes": 0.1}
    assert "promises" in caught.value.detail
    with pytest.raises(AudioTooLong, match="declared"):
        await decoder.decode(audio.spooled(spool, audio.encoded("aac"), declared_s=11.0))


async def test_a_length_that_nobody_states_is_counted(spool: FileSpool) -> None:
    decoder = ConfinedDecoder(spool, confinement=Confinement(max_minutes=0.1))
    for name in UNSTATED:
        source = audio.spooled(spool, audio.encoded(name))
        with pytest.raises(AudioTooLong, match="longer than the limit"):
            await decoder.decode(source)
        spool.release(source)
    assert list(spool.root.iterdir()) == []


async def test_an_encoder_may_round_up_at_the_limit(spool: FileSpool) -> None:
    decoder = ConfinedDecoder(spool, confinement=Confinement(max_minutes=10.5 / 60))
    decoded = await decoder.decode(audio.spooled(spool, audio.encoded("ogg")))
    assert decoded.duration_s == pytest.approx(11.0)


async def test_a_lie_about_the_length_is_not_believed_unread(spool: FileSpool, decoder: ConfinedDecoder) -> None:
    """A FLAC of eleven seconds that says it has a day."""
    data = bytearray(audio.encoded("flac"))
    stream_info = data.index(b"fLaC") + 8
    rate_to_samples = int.from_bytes(data[stream_info + 10 : stream_info + 18], "big")
    claimed = rate_to_samples & ~((1 << 36) - 1) | 86_400 * 48_000
    data[stream_info + 10 : stream_info + 18] = claimed.to_bytes(8, "big")
    decoded = await decoder.decode(audio.spooled(spool, bytes(data)))
    assert decoded.duration_s == pytest.approx(audio.SPEECH_S)
