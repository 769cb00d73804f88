"""Frames of any rate, format and number of channels become float32 mono at one rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from av.audio.frame import AudioFrame
from av.error import BlockingIOError as NothingYet
from av.error import EOFError as NothingMore
from av.filter import Graph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.filter.context import FilterContext

_SURROUND = 2
"""More channels than this, in no named order, are not left to a guess of what stands where."""


class Resampler:
    """A filter graph for frames of one kind.

    The samples pass through 32-bit integers: what a float file may hold that is no sound (NaN, infinities, 1e38)
    comes out within -1 and 1, at a precision beyond that of any codec. PyAV's own ``AudioResampler`` is not used
    because it starts threads, which the child may not.

    Args:
        frame: one of the frames.
        sample_rate: of the output, in hertz.

    Raises:
        av.error.FFmpegError: no graph can be made for such frames.
    """

    def __init__(self, frame: AudioFrame, *, sample_rate: int) -> None:
        self._kind = _kind(frame)
        self._graph = Graph()
        self._graph.threads = 1
        nodes = [
            self._node(
                "abuffer",
                sample_rate=str(frame.sample_rate),
                sample_fmt=frame.format.name,
                channel_layout=frame.layout.name,
            ),
            *self._mean_of_unnamed_channels(frame),
            self._node("aformat", sample_rates=str(sample_rate), sample_fmts="s32", channel_layouts="mono"),
            self._node("aformat", sample_fmts="flt"),
            self._node("abuffersink"),
        ]
        self._graph.link_nodes(*nodes).configure()

    def fits(self, frame: AudioFrame) -> bool:
        """Whether ``frame`` is of the kind that this graph was made for; a stream may change in the middle."""
        return _kind(frame) == self._kind

    def feed(self, frame: AudioFrame | None) -> Iterator[memoryview]:
        """Give a frame, or None at the end, and take the samples that come of it."""
        if frame is not None:
            frame.pts = None  # a graph makes sense of time stamps; hostile ones have none
        self._graph.push(frame)
        while True:
            try:
                result = self._graph.pull()
            except (NothingYet, NothingMore):
                return
            assert isinstance(result, AudioFrame)
            yield memoryview(result.planes[0])[: result.samples * 4]

    def _node(self, name: str, **options: str) -> FilterContext:
        return self._graph.add(name, **options)

    def _mean_of_unnamed_channels(self, frame: AudioFrame) -> list[FilterContext]:
        count = frame.layout.nb_channels
        if count <= _SURROUND or not frame.layout.name.endswith(" channels"):
            return []
        channels = "+".join(f"c{channel}" for channel in range(count))
        return [self._graph.add("pan", f"mono|c0<{channels}")]


def _kind(frame: AudioFrame) -> tuple[int, str, str]:
    return frame.sample_rate, frame.format.name, frame.layout.name
