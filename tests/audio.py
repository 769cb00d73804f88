"""Makes audio of every kind that members post, whole and broken, out of one recording of a human voice.

Everything returns the bytes of a file. What costs time is made once for each test process.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyAV leaves the kind of stream of a packet open.

from __future__ import annotations

import io
import struct
import wave
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from bot.core.models import FetchedAudio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from av.container import OutputContainer
    from numpy.typing import NDArray

    from bot.adapters.spool import FileSpool

SPEECH_FILE = Path(__file__).parent / "data" / "speech" / "jfk.wav"
SPEECH_S = 11.0
_RATE = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to encode, in FFmpeg's names.

    Args:
        container: muxer.
        codec: audio encoder.
        rate: in hertz.
        layout: of the channels.
        video: encoder of a track with two seconds of picture, None for none.
        options: for the audio encoder.
        muxer: options for the container.
    """

    container: str
    codec: str
    rate: int = 48_000
    layout: str = "mono"
    video: str | None = None
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    muxer: Mapping[str, str] = field(default_factory=dict[str, str])


_RECIPES = {
    "ogg": Recipe(container="ogg", codec="libopus"),
    # as Discord's clients make them: Opus, mono, 32 kbit/s
    "voice-message": Recipe(container="ogg", codec="libopus", options={"b": "32000", "application": "voip"}),
    "mp3": Recipe(container="mp3", codec="libmp3lame", rate=44_100, layout="stereo"),
    "m4a": Recipe(container="ipod", codec="aac", rate=44_100),
    "wav": Recipe(container="wav", codec="pcm_s16le", rate=16_000),
    "flac": Recipe(container="flac", codec="flac"),
    "webm": Recipe(container="webm", codec="libopus"),
    "webm-video": Recipe(container="webm", codec="libopus", video="libvpx"),
    "mp4": Recipe(container="mp4", codec="aac", video="libx264"),
    "mov": Recipe(container="mov", codec="aac", video="libx264"),
    "wma": Recipe(container="asf", codec="wmav2", rate=44_100, layout="stereo", options={"b": "96000"}),
    "aiff": Recipe(container="aiff", codec="pcm_s16be", rate=44_100),
    "mkv": Recipe(container="matroska", codec="pcm_s16le", video="libx264"),
    "amr": Recipe(container="amr", codec="libopencore_amrnb", rate=8_000),
    "3gp": Recipe(container="3gp", codec="libopencore_amrnb", rate=8_000),
    "aac": Recipe(container="adts", codec="aac"),
    "alac": Recipe(container="ipod", codec="alac"),
    "avi": Recipe(container="avi", codec="libmp3lame", video="mpeg4"),
    "mpegts": Recipe(container="mpegts", codec="aac"),
    "ac3": Recipe(container="matroska", codec="ac3", layout="5.1"),
    "wavpack": Recipe(container="wv", codec="wavpack"),
    "au": Recipe(container="au", codec="pcm_mulaw", rate=8_000),
    "w64": Recipe(container="w64", codec="pcm_s16le"),
    "wav-8bit": Recipe(container="wav", codec="pcm_u8", rate=8_000),
    "wav-float": Recipe(container="wav", codec="pcm_f32le", layout="stereo"),
    "wav-96k-5.1": Recipe(container="wav", codec="pcm_s24le", rate=96_000, layout="5.1"),
    "wav-12-channels": Recipe(container="wav", codec="pcm_s16le", layout="7.1.4"),
}
FORMATS = (*_RECIPES, "mp3-picture", "mkv-subtitles")
"""Every name that `encoded` knows."""


@cache
def speech() -> NDArray[np.float32]:
    """Eleven seconds of a human voice, between -1 and 1, mono, 16 kHz."""
    with wave.open(str(SPEECH_FILE)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return samples.astype(np.float32) / np.float32(32_768)


def silence(seconds: float) -> NDArray[np.float32]:
    """Digital silence, mono, 16 kHz."""
    return np.zeros(int(seconds * _RATE), np.float32)


@cache
def encoded(name: str) -> bytes:
    """The speech as one of `FORMATS`."""
    if name == "mp3-picture":
        return _with_cover_picture(encoded("mp3"), picture_bytes=1_500_000)
    if name == "mkv-subtitles":
        return _with_subtitles()
    return encode(speech(), _RECIPES[name])


def encode(samples: NDArray[np.float32], recipe: Recipe) -> bytes:
    """Encode 16 kHz mono samples."""
    file = io.BytesIO()
    with av.open(file, "w", format=recipe.container, options=dict(recipe.muxer)) as output:
        video = None if recipe.video is None else _picture_stream(output, recipe.video)
        sound = output.add_stream(recipe.codec, rate=recipe.rate, options=dict(recipe.options))
        assert isinstance(sound, AudioStream)
        sound.layout = recipe.layout
        if video is not None:
            _mux_picture(output, video)
        _mux_sound(output, sound, samples)
    return file.getvalue()


def retold(data: bytes, title: str) -> bytes:
    """The same sound in another file: nothing but its title differs, so no cache knows it."""
    file = io.BytesIO()
    with av.open(io.BytesIO(data), "r") as source, av.open(file, "w", format="ogg") as output:
        output.metadata["title"] = title
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return file.getvalue()


def video_only(*, container: str = "mp4", codec: str = "libx264") -> bytes:
    """Two seconds of picture without sound."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        _mux_picture(output, _picture_stream(output, codec))
    return file.getvalue()


def picture(codec: str = "png") -> bytes:
    """A still picture: ``png``, ``mjpeg`` (JPEG) or ``gif``."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width = context.height = 64
    context.pix_fmt = {"png": "rgb24", "mjpeg": "yuvj420p"}[codec]
    context.time_base = Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), dtype=np.uint8), format="rgb24")
    return b"".join(bytes(packet) for packet in context.encode(frame.reformat(format=context.pix_fmt)))


def truncated(name: str, fraction: float) -> bytes:
    """The first part of a file, as a broken upload leaves it."""
    data = encoded(name)
    return data[: int(len(data) * fraction)]


@cache
def chained_ogg() -> bytes:
    """Two Ogg files one after the other: a stream that ends, and another that begins."""
    return encoded("ogg") + encode(speech()[: 5 * _RATE], Recipe(container="ogg", codec="libopus", layout="stereo"))


@cache
def changing_rate() -> bytes:
    """ADTS frames of two rates and channel counts in one stream, as radio recordings have them."""
    return encoded("aac") + encode(
        speech()[: 5 * _RATE], Recipe(container="adts", codec="aac", rate=22_050, layout="stereo")
    )


@cache
def second_track_sounds() -> bytes:
    """MP4 with two audio tracks, the first without a single packet."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        silent = output.add_stream("aac", rate=48_000)
        sound = output.add_stream("aac", rate=48_000)
        assert isinstance(silent, AudioStream)
        assert isinstance(sound, AudioStream)
        silent.layout = sound.layout = "mono"
        _mux_sound(output, sound, speech())
    return file.getvalue()


def appearing_track() -> bytes:
    """Five and a half minutes of MPEG-TS, in which a video appears when everything is long under way."""
    with_video = encode(speech(), Recipe(container="mpegts", codec="aac", video="libx264"))
    return encoded("mpegts") * 25 + with_video + encoded("mpegts") * 4


def with_damage(data: bytes, *, start: float, end: float, seed: int = 0) -> bytes:
    """``data`` with noise between two fractions of its length."""
    first, last = int(len(data) * start), int(len(data) * end)
    noise = np.random.default_rng(seed).bytes(last - first)
    return data[:first] + noise + data[last:]


@cache
def common_encryption() -> bytes:
    """MP4 whose audio is encrypted as ISO/IEC 23001-7 has it, without its key."""
    keys = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "ab" * 16, "encryption_kid": "cd" * 16}
    return encode(speech(), Recipe(container="mp4", codec="aac", muxer=keys))


def protected_m4p(kind: str = "drms") -> bytes:
    """MP4 with the sample entry of FairPlay (``drms``), common encryption (``enca``) or Audible (``aavd``)."""
    return encoded("m4a").replace(b"mp4a", kind.encode())


def protected_wma() -> bytes:
    """ASF whose header holds a content encryption object."""
    data = encoded("wma")
    body = struct.pack("<I", 4) + b"DRM!" + struct.pack("<I", 4) + b"DRM\0" + struct.pack("<I", 4) + b"key\0"
    body += struct.pack("<I", 4) + b"url\0"
    guid = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")
    extra = guid + struct.pack("<Q", 24 + len(body)) + body
    size, objects = struct.unpack("<QI", data[16:28])
    return data[:16] + struct.pack("<QI", size + len(extra), objects + 1) + data[28:30] + extra + data[30:]


def protected_webm() -> bytes:
    """WebM whose track is said to be encrypted (RFC 9559, 5.1.4.1.31)."""
    data = encoded("webm")
    key = _ebml("47e1", b"\x05") + _ebml("47e2", b"key" * 5)  # the algorithm, AES, and the name of the key
    encoding = _ebml("5031", b"\0") + _ebml("5032", b"\1") + _ebml("5033", b"\1") + _ebml("5035", key)
    tracks_at = data.index(bytes.fromhex("1654ae6b"), data.index(bytes.fromhex("1549a966")))
    entry_at = data.index(bytes.fromhex("ae01"), tracks_at)  # sizes: one byte of the tracks', eight of the entry's
    entry_size = int.from_bytes(data[entry_at + 2 : entry_at + 9], "big")
    entry_end = entry_at + 9 + entry_size
    entry = _ebml("ae", data[entry_at + 9 : entry_end] + _ebml("6d80", _ebml("6240", encoding)))
    return data[:tracks_at] + _ebml("1654ae6b", entry) + data[entry_end:]


def _ebml(name: str, content: bytes) -> bytes:
    """An element, its size in four bytes, or in one where it is one byte long."""
    size = b"\x81" if len(content) == 1 else (len(content) | 1 << 28).to_bytes(4, "big")
    return bytes.fromhex(name) + size + content


def float_wav(samples: NDArray[np.float32], *, rate: int = _RATE) -> bytes:
    """WAV of 32-bit floats exactly as given, numbers or not."""
    return wav_header(format_tag=3, channels=1, rate=rate, bits=32, data_bytes=samples.nbytes) + samples.tobytes()


def wav_header(*, format_tag: int = 1, channels: int = 1, rate: int = _RATE, bits: int = 16, data_bytes: int) -> bytes:
    """The first 44 bytes of a WAV file that claims ``data_bytes`` of samples."""
    block = channels * bits // 8
    description = struct.pack("<HHIIHH", format_tag, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    riff = min(36 + data_bytes, (1 << 32) - 1)
    return (
        b"RIFF"
        + struct.pack("<I", riff)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + description
        + b"data"
        + struct.pack("<I", data_bytes)
    )


def spooled(spool: FileSpool, data: bytes, *, declared_s: float | None = None) -> FetchedAudio:
    """A file as the fetcher leaves it, its name a hostile one."""
    with spool.draft() as draft:
        draft.write(data)
        path = draft.keep(draft.sha256)
        return FetchedAudio(
            path=path, sha256=draft.sha256, size=len(data), filename="../../x\0;$(y).mp3", declared_s=declared_s
        )


def pcm16(samples: NDArray[np.float32]) -> bytes:
    """Samples as 16-bit integers, little-endian."""
    return (samples * 32_767).astype("<i2").tobytes()


def _picture_stream(output: OutputContainer, codec: str) -> VideoStream:
    stream = output.add_stream(codec, rate=5)
    assert isinstance(stream, VideoStream)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    return stream


def _mux_picture(output: OutputContainer, stream: VideoStream) -> None:
    for number in range(10):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number * 20, dtype=np.uint8), format="rgb24")
        frame.pts = number
        frame.time_base = Fraction(1, 5)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def _mux_sound(output: OutputContainer, stream: AudioStream, samples: NDArray[np.float32]) -> None:
    context = stream.codec_context
    if not context.is_open:
        context.open()
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis, :], format="flt", layout="mono")
    frame.sample_rate = _RATE
    resampler = av.AudioResampler(
        format=context.format, layout=context.layout, rate=context.sample_rate, frame_size=context.frame_size or 1024
    )
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        output.mux(stream.encode(piece))
    output.mux(stream.encode(None))


def _with_cover_picture(mp3: bytes, *, picture_bytes: int) -> bytes:
    """MP3 behind an ID3v2.3 tag with an attached picture."""
    image = picture("mjpeg") + bytes(picture_bytes)
    body = b"\x00image/jpeg\x00\x03\x00" + image
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\x00\x00" + body
    size = len(frame)
    synchsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    old_tag = 10 + (mp3[6] << 21 | mp3[7] << 14 | mp3[8] << 7 | mp3[9]) if mp3[:3] == b"ID3" else 0
    return b"ID3\x03\x00\x00" + synchsafe + frame + mp3[old_tag:]


def _with_subtitles() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        words = output.add_stream("ass")
        words.codec_context.subtitle_header = b"[Script Info]\n"
        sound = output.add_stream("libopus", rate=48_000)
        assert isinstance(sound, AudioStream)
        sound.layout = "mono"
        packet = av.Packet(b"And so, my fellow Americans")
        packet.stream = words
        packet.pts = packet.dts = 0
        packet.duration = 2_000
        packet.time_base = Fraction(1, 1_000)
        output.mux(packet)
        _mux_sound(output, sound, speech())
    return file.getvalue()
