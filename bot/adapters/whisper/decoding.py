"""One window through Whisper: features, encoder, decoder, alignment.

A window's features are padded to its own length and a little more, not to the 30 seconds that Whisper was trained on:
the encoder's cost grows faster than its input. What comes of it is checked; a text that looks wrong is tried again with
the full padding, which cures the repetition that short padding sometimes causes, then in two halves, and at the very
end by sampling. What a window costs has a bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from faster_whisper import transcribe
from faster_whisper.tokenizer import Tokenizer

from bot.core.models import SAMPLE_RATE, Task
from bot.core.transcripts import MAX_NO_SPEECH, Confidence, Word, is_doubtful, is_stuck

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from faster_whisper import WhisperModel
    from numpy.typing import NDArray

_vendor = cast("Any", transcribe)  # partly typed

FRAMES_PER_S = 100
FULL_FRAMES = 3_000
MIN_FRAMES = 1_000
"""Below 10 s Whisper begins to repeat itself."""
PADDING_FRAMES = 200
"""Silence at the end that keeps it from doing so in longer windows; half a second is not enough."""

BEAM_SIZE = 5
_SAMPLING_TEMPERATURE = 0.4
_SAMPLES = 3
_MAX_LENGTH = 448
_MIN_TOKENS, _TOKENS_PER_S = 40, 20
"""No language needs more tokens for a second of speech; a loop is stopped there."""
_MIN_SPLIT_S = 19.0
"""The larger part of the longest window, two thirds of it at most, is not cut again."""
_QUIET = SAMPLE_RATE // 20
_MAX_HOT_TOKENS = 100
_OPENING, _CLOSING = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001 -- the punctuation of other scripts is meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """What is known before a window is decoded."""

    language: str
    task: str
    hot_words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a window says: text, how sure the model is, and words with seconds from the window's beginning."""

    text: str
    confidence: Confidence
    words: tuple[Word, ...]

    def moved(self, seconds: float) -> Heard:
        """Give the same, ``seconds`` later."""
        words = (replace(word, start=word.start + seconds, end=word.end + seconds) for word in self.words)
        return replace(self, words=tuple(words))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Voice:
    tokenizer: Tokenizer
    prompt: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    tokens: tuple[int, ...]
    text: str
    confidence: Confidence
    encoded: Any


def features_of(
    model: WhisperModel, samples: NDArray[np.float32], *, min_frames: int = MIN_FRAMES
) -> NDArray[np.float32]:
    """Give the log-mel spectrogram of ``samples``: an array of mel bands by frames of 10 ms, padded with silence.

    Args:
        model: whose number of bands is wanted.
        samples: at most 30 s.
        min_frames: how long it is to be at least.
    """
    spectrum = cast("NDArray[np.float32]", cast("Any", model.feature_extractor)(samples, padding=0))
    wanted = min(max(spectrum.shape[1] + PADDING_FRAMES, min_frames), FULL_FRAMES)
    wanted += wanted % 2  # the encoder halves it
    spectrum = spectrum[:, :wanted]
    return np.pad(spectrum, ((0, 0), (0, wanted - spectrum.shape[1])))


class WindowDecoder:
    """Decodes windows; its methods may be called from several threads at once."""

    def __init__(self, model: WhisperModel, *, beam_size: int = BEAM_SIZE) -> None:
        self._model = model
        self._whisper = cast("Any", model.model)  # CTranslate2 has no types
        self._beam_size = beam_size

    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages that the model knows."""
        # faster-whisper lists one language too many for the models that came before it was added.
        known = self._model.supported_languages
        has = self._model.hf_tokenizer.token_to_id
        return frozenset(code for code in known if not self.multilingual or has(f"<|{code}|>") is not None)

    @property
    def multilingual(self) -> bool:
        """Whether there is a language to detect."""
        return bool(self._whisper.is_multilingual)

    def encode(self, samples: NDArray[np.float32], *, min_frames: int = MIN_FRAMES) -> object:
        """Run the encoder over ``samples``; see `features_of`."""
        return cast("Any", self._model).encode(features_of(self._model, samples, min_frames=min_frames))

    def detect_language(self, encoded: object) -> Mapping[str, float]:
        """Give the probability of each language."""
        found: Sequence[tuple[str, float]] = self._whisper.detect_language(encoded)[0]
        return {token.strip("<|>"): probability for token, probability in found}

    def decode(
        self, samples: NDArray[np.float32], listening: Listening, *, encoded: object | None = None
    ) -> tuple[Heard, ...]:
        """Find the words of a window; where that went wrong, in two halves.

        Args:
            samples: the window, at most 30 s.
            listening: language, task and hot words.
            encoded: what `encode` gave for the window, where that was done already.
        """
        voice = self._voice(listening)
        if listening.task != Task.TRANSCRIBE or encoded is None:
            # A translation follows the sound less closely; with little padding it says things twice.
            shortest = MIN_FRAMES if listening.task == Task.TRANSCRIBE else FULL_FRAMES
            encoded = self.encode(samples, min_frames=shortest)
        first = self._attempt(voice, encoded, len(samples))
        if not is_doubtful(first.text, first.confidence):
            return (self._heard(voice, first),)
        full = self.encode(samples, min_frames=FULL_FRAMES)
        best = _better(first, self._attempt(voice, full, len(samples)))
        if not is_stuck(best.text, best.confidence):
            return (self._heard(voice, best),)
        if len(samples) > _MIN_SPLIT_S * SAMPLE_RATE:
            cut = _quiet_place(samples)
            one, two = self.decode(samples[:cut], listening), self.decode(samples[cut:], listening)
            return (*one, *(heard.moved(cut / SAMPLE_RATE) for heard in two))
        sampled = self._attempt(voice, full, len(samples), sampling=True)
        # Where the model hears nobody, a sample that happens to look well is an invention all the same.
        best = best if sampled.confidence.no_speech > MAX_NO_SPEECH else _better(best, sampled)
        return (self._heard(voice, best),)

    def _voice(self, listening: Listening) -> _Voice:
        tokenizer = Tokenizer(
            self._model.hf_tokenizer, self.multilingual, task=listening.task, language=listening.language
        )
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        if listening.hot_words:
            hints = tokenizer.encode(f" {', '.join(listening.hot_words)}")[:_MAX_HOT_TOKENS]
            prompt = [tokenizer.sot_prev, *hints, *prompt]
        return _Voice(tokenizer=tokenizer, prompt=prompt)

    def _attempt(self, voice: _Voice, encoded: object, samples: int, *, sampling: bool = False) -> _Attempt:
        seconds = samples / SAMPLE_RATE
        limit = min(_MIN_TOKENS + round(_TOKENS_PER_S * seconds), _MAX_LENGTH // 2)
        how: dict[str, object] = {"beam_size": self._beam_size}
        if sampling:
            how = {"beam_size": 1, "num_hypotheses": _SAMPLES, "sampling_topk": 0}
            how["sampling_temperature"] = _SAMPLING_TEMPERATURE
        result = self._whisper.generate(
            encoded,
            [voice.prompt],
            # CTranslate2 stops at half of it, or at what the prompt leaves of it (src/models/whisper.cc).
            max_length=max(2 * limit, len(voice.prompt) + limit),
            suppress_tokens=_vendor.get_suppressed_tokens(voice.tokenizer, [-1]),
            return_scores=True,
            return_no_speech_prob=True,
            **how,
        )[0]
        tokens: list[int] = result.sequences_ids[0]
        # CTranslate2 divides the score by the number of tokens; the token that ends the text is in the sum as well.
        logprob = float(result.scores[0]) * len(tokens) / (len(tokens) + 1)
        confidence = Confidence(
            no_speech=float(result.no_speech_prob),
            logprob=logprob,
            seconds=seconds,
            complete=len(tokens) < limit,
        )
        text = voice.tokenizer.decode(tokens).strip()
        return _Attempt(tokens=tuple(tokens), text=text, confidence=confidence, encoded=encoded)

    def _heard(self, voice: _Voice, attempt: _Attempt) -> Heard:
        return Heard(text=attempt.text, confidence=attempt.confidence, words=self._words(voice.tokenizer, attempt))

    def _words(self, tokenizer: Tokenizer, attempt: _Attempt) -> tuple[Word, ...]:
        text_tokens = [token for token in attempt.tokens if token < tokenizer.eot]
        if not text_tokens:
            return ()
        seconds = attempt.confidence.seconds
        aligned: list[dict[str, Any]] = cast("Any", self._model).find_alignment(
            tokenizer, [text_tokens], attempt.encoded, round(seconds * FRAMES_PER_S)
        )[0]
        _vendor.merge_punctuations(aligned, _OPENING, _CLOSING)
        words = tuple(
            Word(text=str(each["word"]), start=float(each["start"]), end=float(each["end"]))
            for each in aligned
            if each["word"]
        )
        return words or (Word(text=attempt.text, start=0.0, end=seconds),)


def _better(one: _Attempt, other: _Attempt) -> _Attempt:
    """Prefer what is not doubtful, then what the model was surer of."""
    return max(other, one, key=lambda each: (not is_doubtful(each.text, each.confidence), each.confidence.logprob))


def _quiet_place(samples: NDArray[np.float32]) -> int:
    """Give the sample in the middle third around which it is quietest."""
    third = len(samples) // 3
    frames = samples[third : third + third // _QUIET * _QUIET].reshape(-1, _QUIET)
    return third + int(np.argmin(np.square(frames).sum(axis=1))) * _QUIET + _QUIET // 2
