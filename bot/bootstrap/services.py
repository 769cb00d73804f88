"""What every kind of process shares: the pipeline and the adapters behind it."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bot.adapters.decoder.confined import ConfinedDecoder, Confinement
from bot.adapters.extractive import ExtractiveModel
from bot.adapters.mode_files import ModeFiles
from bot.adapters.openai_chat import OpenAIChatModel, openai_client
from bot.adapters.spool import MIB, FileSpool
from bot.adapters.whisper import WhisperTranscriber
from bot.core.completion import Chain
from bot.core.load import Load
from bot.core.pipeline import Pipeline
from bot.settings import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from bot.core.caching import SharedWork
    from bot.core.ports import AudioFetcher, CompletionModel, TranscriptStore
    from bot.settings import Settings

now = time.time  # noqa: TID251 - the one clock of the calendar; everything else gets it as an argument


class PipelineState(Protocol):
    """What a pipeline keeps, and shares with others."""

    @property
    def transcripts(self) -> TranscriptStore:
        """Where transcripts are kept."""
        ...

    @property
    def shared_work(self) -> SharedWork:
        """Finds work that is done, or being done."""
        ...


class StartFailed(Exception):
    """The process cannot start; the text is a sentence for its operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The pipeline, and the adapters that a process also works with on its own."""

    pipeline: Pipeline
    transcriber: WhisperTranscriber
    modes: ModeFiles
    spool: FileSpool
    load: Load


@asynccontextmanager
async def open_core(
    settings: Settings, state: PipelineState, make_fetcher: Callable[[FileSpool, int], AudioFetcher]
) -> AsyncGenerator[Core]:
    """Build the pipeline; everything it opened is closed when the context ends.

    Args:
        settings: the operator's.
        state: where transcripts are kept, and work is shared.
        make_fetcher: gets the spool and the limit in bytes.

    Raises:
        StartFailed: a folder cannot be used.
    """
    async with AsyncExitStack() as stack:
        try:
            spool = FileSpool(settings.data_dir / "spool")
        except OSError as exc:
            raise StartFailed(f"DATA_DIR cannot be used: {exc}") from exc
        transcriber = WhisperTranscriber(
            model=settings.whisper_model,
            models_dir=settings.models_dir,
            device=settings.whisper_device,
            compute_type=settings.whisper_compute_type,
            threads=settings.whisper_threads,
            concurrency=settings.whisper_concurrency,
            standby=settings.whisper_standby,
            idle_s=settings.whisper_idle_minutes * 60,
        )
        stack.push_async_callback(transcriber.aclose)
        modes = ModeFiles(settings.modes_dir)
        load = Load(places=settings.whisper_concurrency, clock=time.monotonic)
        chain = Chain(
            await _links(settings, stack),
            shared=state.shared_work,
            clock=time.monotonic,
            cache_s=settings.completion_cache_minutes * 60,
        )
        pipeline = Pipeline(
            fetcher=make_fetcher(spool, int(settings.max_audio_mb * MIB)),
            decoder=ConfinedDecoder(spool, confinement=Confinement(max_minutes=settings.max_audio_minutes)),
            transcriber=transcriber,
            chain=chain,
            modes=modes,
            transcripts=state.transcripts,
            spool=spool,
            shared=state.shared_work,
            load=load,
            clock=time.monotonic,
            transcript_s=settings.transcript_cache_hours * 3_600,
            transcriptions=settings.whisper_concurrency,
        )
        yield Core(pipeline=pipeline, transcriber=transcriber, modes=modes, spool=spool, load=load)


async def _links(settings: Settings, stack: AsyncExitStack) -> list[CompletionModel]:
    """The chain's links; without a key and an address of one's own there is nobody to ask, and only the template."""
    links: list[CompletionModel] = []
    if settings.openai_api_key or settings.openai_base_url:
        key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
        client = await stack.enter_async_context(openai_client(key, settings.openai_base_url))
        links += [OpenAIChatModel(client, name) for name in settings.llm_chain if name != TEMPLATE]
    if TEMPLATE in settings.llm_chain or not links:
        links.append(ExtractiveModel())
    return links
