"""Finished work: under which key it is kept, for how long, and how it is shared while it is made.

A key is made of content: a digest of all that a value depends on, and of whose audience may have it. So nothing has to
be made invalid: whatever changes, changes the key.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from bot.core import errors
from bot.core.completion import Completion
from bot.core.errors import BadInput, EarshotError, NotCached, RecordInvalid, TranscriberCrashed
from bot.core.models import ModeResult, Note
from bot.core.records import Codec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from bot.core.json_schemas import JsonSchema
    from bot.core.models import Transcript, TranscriptionOptions
    from bot.core.modes import Mode
    from bot.core.ports import Cache, Flights

T = TypeVar("T", bound=BaseModel)

TRANSCRIPT_S: Final = 24 * 3_600.0
COMPLETION_S: Final = 3_600.0
NEGATIVE_S: Final = 600.0
"""For "there is nothing in it": silence, and input that cannot be used."""
POISON_S: Final = 3_600.0
"""For audio that crashed the transcriber as often as it was begun."""

# --- keys ---------------------------------------------------------------------------------------------------------


def transcript_key(sha256: str, model: str, options: TranscriptionOptions, scope: str) -> str:
    """Where the transcript of a file is.

    Args:
        sha256: of the file's bytes, hexadecimal.
        model: which listens.
        options: what it is asked for.
        scope: whose audience may share it, such as ``g123`` for a guild, or ``all``.
    """
    return _key("t1", sha256, model, asdict(options), scope)


def completion_key(
    transcript: Transcript,
    mode: Mode,
    model: str,
    variables: Mapping[str, str],
    scope: str,
    schema: JsonSchema | None = None,
) -> str:
    """Where the answer of one link of the chain is.

    Args:
        transcript: what the link reads.
        mode: what it makes of it.
        model: the link's name.
        variables: what the member filled in.
        scope: as in `transcript_key`.
        schema: that the answer is by.
    """
    by = () if schema is None else (schema.text,)
    return _key("c1", transcript.content_hash, mode.content_hash, model, dict(variables), scope, *by)


def _key(version: str, *parts: object) -> str:
    # JSON keeps parts apart whatever stands in them. A change to what they mean needs a new version.
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return f"{version}:{hashlib.sha256(text.encode()).hexdigest()}"


# --- what is stored -----------------------------------------------------------------------------------------------


class StoredCompletion(BaseModel):
    """A `Completion` without the links that were asked before, and without what it took."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    model: str
    format: Literal["markdown", "json"]
    text: str
    data: Any = None
    notes: tuple[Note, ...] = ()

    @classmethod
    def of(cls, completion: Completion) -> StoredCompletion:
        """What is to be stored of an answer."""
        result = completion.result
        return cls(
            model=completion.model,
            format=result.format,
            text=result.text,
            data=result.data,
            notes=completion.notes,
        )

    def completion(self) -> Completion:
        """The answer, as its link gave it."""
        result = ModeResult(format=self.format, text=self.text, data=self.data)
        return Completion(model=self.model, result=result, notes=self.notes)


COMPLETION: Final = Codec(StoredCompletion)

_VALUE: Final = b"v1\n"
_ERROR: Final = b"e1\n"
_VALUES: Final = TypeAdapter(dict[str, str | float])


def encode_error(error: EarshotError) -> bytes:
    """Write an error down, for others who asked for the same.

    Of a class that is not in the tree of ``bot.core.errors``, the nearest one that is; one that says more than a detail
    and values, such as whose quota is used up, is for one caller alone: to others, it is a plain `EarshotError`.
    """
    cls: type[EarshotError] = EarshotError
    if type(error).__init__ is EarshotError.__init__:
        cls = next(base for base in type(error).__mro__ if getattr(errors, base.__name__, None) is base)
    content = {"error": cls.__name__, "detail": error.detail, "values": error.values}
    return _ERROR + json.dumps(content, default=str).encode()


def decode_error(raw: bytes) -> EarshotError:
    """Read an error, as a new object that can be raised.

    Raises:
        RecordInvalid: it is damaged, or of a class that is not known here.
    """
    try:
        content = json.loads(_without(_ERROR, raw))
        cls = getattr(errors, content["error"], None)
        if not (isinstance(cls, type) and issubclass(cls, EarshotError) and cls.__init__ is EarshotError.__init__):
            raise RecordInvalid("an error of no known class")
        return cls(str(content["detail"]), **_VALUES.validate_python(content["values"]))
    except (ValueError, RecursionError, TypeError, KeyError, ValidationError) as exc:
        raise RecordInvalid(f"an error that cannot be read ({type(exc).__name__})") from exc


def _decode_value(raw: bytes, codec: Codec[T]) -> T:
    return codec.decode(_without(_VALUE, raw))


def _without(mark: bytes, raw: bytes) -> bytes:
    if not raw.startswith(mark):
        raise RecordInvalid("of another kind, or no outcome at all")
    return raw[len(mark) :]


# --- sharing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """How far shared work is: all of the text so far, and the fraction that is done, None where it cannot be told.

    ``waiting`` says that other work comes first.
    """

    text: str = ""
    fraction: float | None = None
    waiting: bool = False


_NEWS: Final = TypeAdapter(News)

OnNews = Callable[[News], None]


def _ignore(_news: News) -> None:
    pass


class SharedWork:
    """Looks whether work is done already, or is being done; else does it, for everybody who asks meanwhile.

    Args:
        cache: where finished work is.
        flights: where work is that is being done.
    """

    def __init__(self, cache: Cache, flights: Flights) -> None:
        self._cache = cache
        self._flights = flights

    async def once(
        self,
        key: str,
        codec: Codec[T],
        work: Callable[[OnNews], Awaitable[T]],
        *,
        ttl_s: Callable[[T], float],
        on_news: OnNews = _ignore,
        only_cached: bool = False,
    ) -> tuple[T, bool]:
        """Have ``work`` done once.

        Args:
            key: of `transcript_key` or `completion_key`.
            codec: reads and writes the value.
            work: gets a function to tell its news to, which reaches ``on_news`` of all who wait, its own included.
            ttl_s: how long a value is kept, in seconds; 0 for not at all.
            on_news: called with the newest news. Where one who worked breaks off, the next starts over.
            only_cached: refuse to work.

        Returns:
            The value, and whether it came without work of this caller's own.

        Raises:
            NotCached: with ``only_cached``, where work would be needed.
            EarshotError: what ``work`` raised, here or wherever it was done. `BadInput` is remembered for
                `NEGATIVE_S`, as the same input would be refused again, and `TranscriberCrashed` for `POISON_S`;
                everything else is told only to those who waited.
        """
        if (found := await self.cached(key, codec)) is not None:
            return found, True
        if only_cached:
            raise NotCached(f"nothing under {key}")
        worked: list[T] = []

        async def lead(tell: Callable[[bytes], None]) -> bytes:
            # Once more: somebody may have finished after this caller looked, and before it became the leader.
            if (found := await self.cached(key, codec)) is not None:
                return _VALUE + codec.encode(found)
            value, raw = await self._work(key, codec, work, ttl_s, _telling(tell, on_news))
            worked.append(value)
            return raw

        shared = await self._flights.share(key, lead, on_news=_hearing(on_news))
        if worked:
            return worked[-1], False
        try:
            return _decode_value(shared.value, codec), True
        except RecordInvalid:  # another version of this program led
            value, _ = await self._work(key, codec, work, ttl_s, on_news)
            return value, False

    async def cached(self, key: str, codec: Codec[T]) -> T | None:
        """The value under ``key``, None where there is none that can be read.

        Raises:
            BadInput, TranscriberCrashed: that is what came of it the last time.
        """
        raw = await self._cache.get(key)
        if raw is None:
            return None
        try:
            if not raw.startswith(_ERROR):
                return _decode_value(raw, codec)
            error = decode_error(raw)
        except RecordInvalid:
            return None  # whoever does the work writes over it
        raise error

    async def first_cached(self, keys: Sequence[str], codec: Codec[T]) -> tuple[str, T] | None:
        """The first of ``keys`` that has a value, and the value; an error is none."""

        async def look(key: str) -> T | None:
            try:
                return await self.cached(key, codec)
            except EarshotError:
                return None

        found = await asyncio.gather(*map(look, keys))
        return next(((key, value) for key, value in zip(keys, found, strict=True) if value is not None), None)

    async def _work(
        self,
        key: str,
        codec: Codec[T],
        work: Callable[[OnNews], Awaitable[T]],
        ttl_s: Callable[[T], float],
        tell: OnNews,
    ) -> tuple[T, bytes]:
        try:
            value = await work(tell)
        except (BadInput, TranscriberCrashed) as exc:
            ttl = POISON_S if isinstance(exc, TranscriberCrashed) else NEGATIVE_S
            await self._cache.put(key, encode_error(exc), ttl_s=ttl)
            raise
        try:
            raw = _VALUE + codec.encode(value)
        except RecordInvalid:  # such as half a surrogate pair in what a model gave: it cannot be shared, but shown
            return value, b""
        if (keep_s := ttl_s(value)) > 0:
            await self._cache.put(key, raw, ttl_s=keep_s)
        return value, raw


def transcript_ttl(keep_s: float = TRANSCRIPT_S) -> Callable[[Transcript], float]:
    """How long a transcript is kept: ``keep_s``, or `NEGATIVE_S` where nobody spoke."""
    return lambda transcript: keep_s if transcript.segments else min(keep_s, NEGATIVE_S)


def _telling(tell: Callable[[bytes], None], on_news: OnNews) -> OnNews:
    def told(news: News) -> None:
        on_news(news)  # flights tell the others, and this one knows at once
        tell(json.dumps(asdict(news)).encode())

    return told


def _hearing(on_news: OnNews) -> Callable[[bytes], None]:
    def heard(raw: bytes) -> None:
        try:
            news = _NEWS.validate_json(raw)
        except ValidationError:
            return  # another version of this program leads
        on_news(news)

    return heard
