"""What every kind of process shares: the pipeline and the adapters behind it."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bot.adapters.decoder.confined import ConfinedDecoder, Confinement
from bot.adapters.extractive import ExtractiveModel
from bot.adapters.mode_files import ModeFiles
from bot.adapters.openai_chat import OpenAIChatModel, openai_client, reasons
from bot.adapters.spool import MIB, FileSpool
from bot.adapters.whisper import WhisperTranscriber
from bot.core.chain import SMART, Chain, ChainPolicy
from bot.core.chain_link import RetryPolicy
from bot.core.load import Load
from bot.core.pipeline import Pipeline
from bot.settings import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from openai import AsyncOpenAI

    from bot.core.caching import SharedWork
    from bot.core.circuits import Circuits
    from bot.core.ports import AudioFetcher, CompletionModel, TranscriptStore
    from bot.core.stage_health import StageHealth
    from bot.settings import Settings

FAST = "fast"
"""Names the chain of models that answer soon."""

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

    @property
    def circuits(self) -> Circuits:
        """Say which models are worth asking."""
        ...

    @property
    def stages(self) -> StageHealth:
        """Told how each request to a model went."""
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
            await _chains(settings, stack),
            shared=state.shared_work,
            circuits=state.circuits,
            stages=state.stages,
            policy=ChainPolicy(
                retries=RetryPolicy(tries=settings.llm_tries),
                hedge_s=settings.llm_hedge_seconds or None,
                upgrade_s=settings.llm_upgrade_seconds,
                cache_s=settings.completion_cache_minutes * 60,
            ),
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


async def _chains(settings: Settings, stack: AsyncExitStack) -> dict[str, list[CompletionModel]]:
    """The chains by the names that modes call them by: `smart` is all of LLM_CHAIN, `fast` what of it thinks less."""
    chains = {SMART: settings.llm_chain, FAST: _without_thinkers(settings), **settings.llm_aliases}
    clients: dict[tuple[str | None, str | None], AsyncOpenAI] = {}
    models: dict[str, CompletionModel] = {TEMPLATE: ExtractiveModel()}
    for name in sorted({name for chain in chains.values() for name in chain} - {TEMPLATE}):
        provider = settings.llm_providers.get(name)
        secret, url = (
            (provider.api_key, provider.base_url) if provider else (settings.openai_api_key, settings.openai_base_url)
        )
        if not (secret or url):
            continue  # nobody to ask
        at = secret.get_secret_value() if secret else None, url
        if at not in clients:
            clients[at] = await stack.enter_async_context(openai_client(*at))
        models[name] = OpenAIChatModel(
            clients[at],
            (provider and provider.model) or name,
            name=name,
            reasoning=provider.reasoning if provider else None,
        )
    return {
        alias: [models[name] for name in chain if name in models] or [models[TEMPLATE]]
        for alias, chain in chains.items()
    }


def _without_thinkers(settings: Settings) -> tuple[str, ...]:
    def thinks(name: str) -> bool:
        provider = settings.llm_providers.get(name)
        if provider is None:
            return reasons(name)
        return reasons(provider.model or name) if provider.reasoning is None else provider.reasoning

    fast = tuple(name for name in settings.llm_chain if not thinks(name))
    return fast if set(fast) - {TEMPLATE} else settings.llm_chain
