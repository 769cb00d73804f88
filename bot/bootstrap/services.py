"""What every kind of process shares: the pipeline and the adapters behind it."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bot.adapters.decoder.confined import ConfinedDecoder, Confinement
from bot.adapters.depots import make_depot
from bot.adapters.depots.fetcher import DepotFetcher
from bot.adapters.extractive import ExtractiveModel
from bot.adapters.mode_files import ModeFiles
from bot.adapters.openai_chat import OpenAIChatModel, openai_client, reasons
from bot.adapters.spool import MIB, FileSpool
from bot.adapters.whisper import WhisperTranscriber
from bot.core.chain import SMART, Chain, ChainPolicy
from bot.core.chain_link import RetryPolicy
from bot.core.completion import Form
from bot.core.load import Load
from bot.core.pipeline import Pipeline
from bot.core.ports import Transcriber
from bot.core.spending import Price, Spending
from bot.core.structured import ModelFacts
from bot.settings import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from openai import AsyncOpenAI

    from bot.adapters.whisper.pool import TranscriberState
    from bot.core.caching import SharedWork
    from bot.core.circuits import Circuits
    from bot.core.jobs import AudioDepot
    from bot.core.ports import AudioFetcher, CompletionModel, TranscriptStore
    from bot.core.stage_health import StageHealth
    from bot.settings import Provider, Settings

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


class Ears(Transcriber, Protocol):
    """A transcriber as a process has one: it can be got ready, tells how it is, and is closed at the end."""

    @property
    def state(self) -> TranscriberState:
        """Whether it can work at once."""
        ...

    async def warm_up(self) -> None:
        """Get ready ahead of the first request."""
        ...

    async def aclose(self) -> None:
        """End all that it started."""
        ...


class StartFailed(Exception):
    """The process cannot start; the text is a sentence for its operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The pipeline, and the adapters that a process also works with on its own."""

    pipeline: Pipeline
    fetcher: AudioFetcher
    transcriber: Ears
    modes: ModeFiles
    spool: FileSpool
    depot: AudioDepot
    load: Load


def whisper(settings: Settings) -> Ears:
    """The transcriber."""
    return WhisperTranscriber(
        model=settings.whisper_model,
        models_dir=settings.models_dir,
        device=settings.whisper_device,
        compute_type=settings.whisper_compute_type,
        threads=settings.whisper_threads,
        concurrency=settings.whisper_concurrency,
        standby=settings.whisper_standby,
        idle_s=settings.whisper_idle_minutes * 60,
    )


@asynccontextmanager
async def open_core(
    settings: Settings,
    state: PipelineState,
    make_fetcher: Callable[[FileSpool, int], AudioFetcher],
    make_ears: Callable[[Settings], Ears] = whisper,
    *,
    spending: Spending | None = None,
) -> AsyncGenerator[Core]:
    """Build the pipeline; everything it opened is closed when the context ends.

    Args:
        settings: the operator's.
        state: where transcripts are kept, and work is shared.
        make_fetcher: gets the spool and the limit in bytes.
        make_ears: makes what listens.
        spending: told what the models use up.

    Raises:
        StartFailed: a folder cannot be used.
    """
    async with AsyncExitStack() as stack:
        try:
            spool = FileSpool(settings.data_dir / "spool")
        except OSError as exc:
            raise StartFailed(f"DATA_DIR cannot be used: {exc}") from exc
        depot = _depot(settings, spool)
        fetcher = make_fetcher(spool, int(settings.max_audio_mb * MIB))
        transcriber = make_ears(settings)
        stack.push_async_callback(transcriber.aclose)
        modes = ModeFiles(settings.modes_dir)
        load = Load(places=settings.whisper_concurrency, clock=time.monotonic)
        chain = Chain(
            await _chains(settings, stack),
            shared=state.shared_work,
            circuits=state.circuits,
            stages=state.stages,
            facts={name: _facts(provider) for name, provider in settings.llm_providers.items()},
            spending=spending,
            policy=ChainPolicy(
                retries=RetryPolicy(tries=settings.llm_tries),
                hedge_s=settings.llm_hedge_seconds or None,
                upgrade_s=settings.llm_upgrade_seconds,
                cache_s=settings.completion_cache_minutes * 60,
            ),
        )
        pipeline = Pipeline(
            fetcher=DepotFetcher(depot, fetcher),
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
        yield Core(
            pipeline=pipeline,
            fetcher=fetcher,
            transcriber=transcriber,
            modes=modes,
            spool=spool,
            depot=depot,
            load=load,
        )


def _depot(settings: Settings, spool: FileSpool) -> AudioDepot:
    key, secret = settings.spool_access_key, settings.spool_secret_key
    try:
        return make_depot(
            settings.spool_url,
            spool,
            now=now,
            access_key=key.get_secret_value() if key else None,
            secret_key=secret.get_secret_value() if secret else None,
        )
    except (ValueError, OSError) as exc:
        raise StartFailed(f"SPOOL_URL cannot be used: {exc}") from exc


async def _chains(settings: Settings, stack: AsyncExitStack) -> dict[str, list[CompletionModel]]:
    """The chains by the names that modes call them by: `smart` is all of LLM_CHAIN, `fast` what of it thinks less."""
    chains = {SMART: settings.llm_chain, FAST: _without_thinkers(settings), **settings.llm_aliases}
    clients: dict[tuple[str | None, str | None], AsyncOpenAI] = {}
    models: dict[str, CompletionModel] = {TEMPLATE: ExtractiveModel()}
    for name in sorted({name for chain in chains.values() for name in chain} - {TEMPLATE}):
        provider = settings.llm_providers.get(name)
        secret, url = settings.openai_api_key, settings.openai_base_url
        if provider is not None and provider.base_url is not None:
            secret, url = provider.api_key, provider.base_url
        elif provider is not None and provider.api_key is not None:
            secret = provider.api_key
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


def _facts(provider: Provider) -> ModelFacts:
    forms, price = provider.capabilities, provider.price
    return ModelFacts(
        forms=None if forms is None else tuple(map(Form, forms)),
        price=price and Price(input=price.input, output=price.output),
    )


def _without_thinkers(settings: Settings) -> tuple[str, ...]:
    def thinks(name: str) -> bool:
        provider = settings.llm_providers.get(name)
        if provider is None:
            return reasons(name)
        return reasons(provider.model or name) if provider.reasoning is None else provider.reasoning

    fast = tuple(name for name in settings.llm_chain if not thinks(name))
    return fast if set(fast) - {TEMPLATE} else settings.llm_chain
