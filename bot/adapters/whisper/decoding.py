"""One window through Whisper: features, encoder, decoder, alignment.

A window's features are padded to its own length and a little more, not to the 30 seconds that Whisper was trained on:
the encoder's cost grows faster than its input. What comes of it is checked; a text that looks wrong is tried again with
the full padding, which cures the repetition that short padding sometimes causes, and then once by sampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from faster_whisper import transcribe
from faster_whisper.tokenizer import Tokenizer

from bot.core.transcripts import Confidence, Word, is_doubtful

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from faster_whisper import WhisperModel
    from numpy.typing import NDArray

_vendor = cast("Any", transcribe)  # partly typed

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
        return frozenset(self._model.supported_languages)

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

    def decode(self, samples: NDArray[np.float32], listening: Listening, *, encoded: object | None = None) -> Heard:
        """Find the words of a window.

        Args:
            samples: the window, at most 30 s.
            listening: language, task and hot words.
            encoded: what `encode` gave for the window, where that was done already.
        """
        tokenizer = Tokenizer(
            self._model.hf_tokenizer, self.multilingual, task=listening.task, language=listening.language
        )
        limit = _MIN_TOKENS + round(_TOKENS_PER_S * len(samples) / 16_000)
        best = self._attempt(encoded or self.encode(samples), tokenizer, listening, limit, sampling=False)
        if is_doubtful(best.text, best.confidence):
            full = self.encode(samples, min_frames=FULL_FRAMES)
            for sampling in (False, True):
                again = self._attempt(full, tokenizer, listening, limit, sampling=sampling)
                best = _better(best, again)
                if not is_doubtful(best.text, best.confidence):
                    break
        return Heard(
            text=best.text, confidence=best.confidence, words=self._words(best, tokenizer, len(samples) // 160)
        )

    def _attempt(
        self, encoded: object, tokenizer: Tokenizer, listening: Listening, limit: int, *, sampling: bool
    ) -> _Attempt:
        prompt = self._prompt(tokenizer, listening.hot_words)
        how: dict[str, object] = {"beam_size": self._beam_size}
        if sampling:
            how = {"beam_size": 1, "num_hypotheses": _SAMPLES, "sampling_topk": 0}
            how["sampling_temperature"] = _SAMPLING_TEMPERATURE
        result = self._whisper.generate(
            encoded,
            [prompt],
            max_length=min(_MAX_LENGTH, len(prompt) + limit),
            suppress_tokens=_vendor.get_suppressed_tokens(tokenizer, [-1]),
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
            complete=len(tokens) < min(limit, _MAX_LENGTH - len(prompt)),
        )
        text = tokenizer.decode(tokens).strip()
        return _Attempt(tokens=tuple(tokens), text=text, confidence=confidence, encoded=encoded)

    def _prompt(self, tokenizer: Tokenizer, hot_words: tuple[str, ...]) -> list[int]:
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        if not hot_words:
            return prompt
        hints = tokenizer.encode(f" {', '.join(hot_words)}")[:_MAX_HOT_TOKENS]
        return [tokenizer.sot_prev, *hints, *prompt]

    def _words(self, attempt: _Attempt, tokenizer: Tokenizer, frames: int) -> tuple[Word, ...]:
        text_tokens = [token for token in attempt.tokens if token < tokenizer.eot]
        if not text_tokens:
            return ()
        aligned: list[dict[str, Any]] = cast("Any", self._model).find_alignment(
            tokenizer, [text_tokens], attempt.encoded, frames
        )[0]
        _vendor.merge_punctuations(aligned, _OPENING, _CLOSING)
        return tuple(
            Word(text=str(each["word"]), start=float(each["start"]), end=float(each["end"]))
            for each in aligned
            if each["word"]
        )


def _better(one: _Attempt, other: _Attempt) -> _Attempt:
    """Prefer what is not doubtful, then what the model was surer of."""
    return max(other, one, key=lambda each: (not is_doubtful(each.text, each.confidence), each.confidence.logprob))
