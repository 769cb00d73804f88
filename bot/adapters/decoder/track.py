"""One audio track becomes samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from av.error import FFmpegError

from bot.adapters.decoder.report import Outcome, Report
from bot.adapters.decoder.resampling import Resampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

DECODER_NAMES = (
    "aac,aac_latm,ac3,alac,amrnb,amrwb,ape,eac3,flac,gsm,gsm_ms,mp1,mp1float,mp2,mp2float,mp3,mp3float,nellymoser,opus,"
    "speex,tta,vorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice,"
    "adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,adpcm_yamaha,g722,g726,"
    "pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,"
    "pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd"
)
_DECODERS = frozenset(DECODER_NAMES.split(","))
_PROTECTED_TAGS = frozenset({"aavd", "drms", "enca"})
"""Sample entries of MP4: Audible, FairPlay, and common encryption (ISO/IEC 14496-12, 8.12)."""
_SAMPLE_RATES = range(1_000, 1_000_000)
_RESYNCHRONISATIONS = 100
"""How often a container may be broken before what follows is given up."""
_MOST_DAMAGE = 10_000
"""Packets that may be damaged beyond those that are sound: some hostile files have no end of them."""
_CLEARLY_LONGER = 1.2
_LEAST_BIT_RATE = 2_000
"""Bits per second; a file that promises so much that it would have less is not believed without being read."""


class Refused(Exception):
    """The file, or a track of it, cannot be used."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


class Samples:
    """Takes frames of any kind and writes samples.

    Args:
        sink: an empty, seekable file.
        sample_rate: in hertz.
        max_samples: more are refused as too long.
    """

    def __init__(self, sink: BinaryIO, *, sample_rate: int, max_samples: int) -> None:
        self._sink = sink
        self._sample_rate = sample_rate
        self._max_samples = max_samples
        self._resampler: Resampler | None = None
        self.count = 0

    @property
    def limit_s(self) -> float:
        """The longest audio, in seconds."""
        return self._max_samples / self._sample_rate

    def add(self, frame: AudioFrame) -> None:
        """Write a frame; it may be of another kind than the one before."""
        if self._resampler is None or not self._resampler.fits(frame):
            self.flush()
            if frame.sample_rate not in _SAMPLE_RATES:
                raise Refused(Outcome.NOT_AUDIO, f"a sample rate of {frame.sample_rate} Hz")
            self._resampler = Resampler(frame, sample_rate=self._sample_rate)
        self._write(self._resampler.feed(frame))

    def flush(self) -> None:
        """Write what the resampler still holds."""
        if self._resampler is not None:
            self._write(self._resampler.feed(None))
            self._resampler = None

    def rewind(self, count: int) -> None:
        """Forget what came after ``count`` samples."""
        self._resampler = None
        self._sink.seek(count * 4)
        self._sink.truncate()
        self.count = count

    def _write(self, pieces: Iterator[memoryview]) -> None:
        for piece in pieces:
            self.count += piece.nbytes // 4
            if self.count > self._max_samples:
                raise Refused(Outcome.TOO_LONG, "longer than the limit")
            self._sink.write(piece)


class Track:
    """One audio track at work; for one use.

    Args:
        container: open.
        stream: of the container.
        samples: where the sound goes.
    """

    def __init__(self, container: InputContainer, stream: AudioStream, samples: Samples) -> None:
        self._container = container
        self._stream = stream
        self._samples = samples
        self._before = samples.count
        self._sound = 0
        self._damaged = 0

    def decode(self, *, promise_s: float | None, size: int) -> Report:
        """Decode it all.

        Args:
            promise_s: how long the file says it is, in seconds.
            size: of the file, in bytes.
        """
        codec = ""
        try:
            codec = self._codec()
            self._check_promise(promise_s, size)
            self._decode()
            outcome, detail = self._outcome()
        except Refused as refusal:
            outcome, detail = refusal.outcome, refusal.detail
        return Report(
            outcome=outcome,
            samples=self._samples.count - self._before if outcome is Outcome.DECODED else 0,
            declared_s=promise_s,
            container=self._container.format.name,
            codec=codec,
            damaged=self._damaged,
            detail=detail,
        )

    def _codec(self) -> str:
        context = self._stream.codec_context
        if context is None or context.name not in _DECODERS:  # pyright: ignore[reportUnnecessaryComparison]  # it may
            raise Refused(Outcome.NOT_AUDIO, "no decoder for this codec")
        if context.codec_tag in _PROTECTED_TAGS:
            raise Refused(Outcome.ENCRYPTED, f"a track of kind {context.codec_tag}")
        context.thread_type = "NONE"
        context.thread_count = 1
        return context.name

    def _check_promise(self, promise_s: float | None, size: int) -> None:
        """Refuse at once what says itself that it is far too long, if its size agrees."""
        if promise_s is None or promise_s < self._samples.limit_s * _CLEARLY_LONGER:
            return
        if size * 8 / promise_s >= _LEAST_BIT_RATE:
            raise Refused(Outcome.TOO_LONG, f"promises {promise_s:.0f} s")

    def _decode(self) -> None:
        for packet in self._packets():
            if packet.has_sidedata("encryption_info"):
                raise Refused(Outcome.ENCRYPTED, "encrypted packets")
            try:
                for frame in packet.decode():
                    self._samples.add(frame)
                self._sound += 1
            except MemoryError:
                raise
            except FFmpegError:
                self._damaged += 1
                if self._damaged > self._sound + _MOST_DAMAGE:
                    break
        self._samples.flush()

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        for _ in range(_RESYNCHRONISATIONS):
            try:
                yield from self._container.demux(self._stream)
            except MemoryError:
                raise
            except FFmpegError:
                continue
            except IndexError:  # PyAV stumbles at the end of a container whose tracks appeared on the way (MPEG-TS)
                return
            return

    def _outcome(self) -> tuple[Outcome, str]:
        if self._damaged > self._sound:
            return Outcome.NOT_AUDIO, "most of it cannot be decoded"
        if self._samples.count == self._before:
            return Outcome.EMPTY, "no samples"
        return Outcome.DECODED, ""
