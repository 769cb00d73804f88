"""Whisper, in processes of its own."""

from bot.adapters.whisper.pool import TranscriberState, WhisperTranscriber

__all__ = ["TranscriberState", "WhisperTranscriber"]
