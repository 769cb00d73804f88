"""Every sentence that a member reads, by key.

`text` takes the member's locale: a translation is one more dictionary in `_BY_LOCALE`, and what it lacks is said in
English.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_LOCALE: Final = "en-US"

_ENGLISH: Final[Mapping[str, str]] = {
    # What can go wrong, and the way out.
    "error.unexpected": "Something went wrong on my side. Please try again.",
    "error.link_refused": (
        "I only fetch files that were posted on Discord. Attach the file itself, or link to a message that has it."
    ),
    "error.link_expired": (
        "That file is no longer there: its link expired, or it was deleted. Post it again, or use the command on the "
        "message itself."
    ),
    "error.too_large": "That file is too large: the limit here is {limit_mb} MB.",
    "error.too_long": "That recording is too long: the limit here is {limit_minutes} minutes.",
    "error.empty": "That file is empty: there is nothing to listen to.",
    "error.not_audio": (
        "I can't read that file as audio: it is something else under that name, or it is damaged. Nearly every audio "
        "and video format works."
    ),
    "error.no_audio_track": "That video has no sound, so there is nothing to listen to.",
    "error.encrypted": "That file is copy-protected (DRM), so I can't listen to it. Post an unprotected copy.",
    "error.unknown_mode": "There is no mode called “{mode}”. Known: {known}.",
    "error.unknown_language": (
        "I don't know the language “{language}”. Pick one from the list, or leave it out and I will find out myself."
    ),
    "error.nothing_to_listen_to": "There is no audio, video or voice message in that message.",
    "error.not_found": "That transcript is no longer kept. Run the command on the message again.",
    "error.file_unreadable": "That file cannot be read: {reason}.",
    "error.mode_invalid": "The mode “{mode}” has a mistake: {problem}.",
    "error.spool_full": "My disk is full, so I can't take that file. Please try again later.",
    "error.not_kept": "The transcript could not be kept.",
    "error.fetch_failed": "I couldn't download that file from Discord. Please try again in a moment.",
    "error.decode_failed": "I couldn't decode that file: it is damaged, or it asks for more than I can spare.",
    "error.transcription_failed": "Listening failed, even after several tries. Please try again later.",
    "error.model_unavailable": "The speech model can't be loaded. Whoever runs me finds the cause in the log.",
    "error.completion_failed": "No language model answered.",
    "error.interrupted": "I was restarted in the middle of this. Please run the command again.",
    "error.reference": "Reference: `{reference}`",
    "input.none": (
        "Attach a file in `audio`, or paste a message's link in `link`. You can also use **Apps → {menu}** on any "
        "message."
    ),
    "input.both": "Give me either a file or a link, not both.",
    "input.bad_link": "That is no link to a message. Use **Copy Message Link** on the message.",
    "input.other_server": "That message is on another server. I only open messages of this one.",
    "input.may_not_read": (
        "I may not read messages here, so I can't follow the link. On that message, use **Apps → {menu}**."
    ),
    "input.no_access": "I can't open that message: it was deleted, or one of us may not read that channel.",
    # What a member should know about a result.
    "note.truncated": "The file ends early: it has {decoded_s} of {declared_s}. This is what could be heard.",
    "note.no_speech": "No speech was heard.",
    "note.language_unsure": "I am not sure of the language: {language} ({probability}). Set `language` if it is wrong.",
    "note.speakers_not_separated": "Speakers are not told apart.",
    "note.template_used": "No language model answered: these are sentences taken from the transcript.",
    "note.result_missing": "The transcript is complete, but no language model answered. Use the menu to try again.",
    "note.result_cut": "The model stopped at its length limit: the end may be missing.",
    "note.input_cut": "The recording was too long for the model: it saw everything up to {until_s}.",
    "note.not_kept": "The transcript could not be kept, so the menus are missing here. Save what you need.",
    # Results.
    "result.transcript": "Transcript",
    "result.translation": "Translation",
    "result.nothing_said": "I listened to all {duration} of it and heard no speech. Silence, music or noise, perhaps?",
    "result.continued": "… the rest is in the attached file.",
    "result.mode": "Mode",
    "result.language": "Language",
    "result.duration": "Length",
    "result.model": "Model",
    "result.took": "Took",
    "result.template_model": "none (extract)",
    "result.seconds": "{seconds} s",
    "result.from_transcript": "{seconds} s, from the kept transcript",
    "result.too_large_to_attach": "The full text is too large for this server's upload limit.",
    # While it runs.
    "progress.see_below": "This took long: the answer is a new message below.",
    "progress.title": "On it …",
    "progress.waiting": "Waiting for another recording to finish",
    "progress.fetch": "Getting the file",
    "progress.decode": "Reading the audio",
    "progress.transcribe": "Listening",
    "progress.route": "Choosing the mode",
    "progress.complete": "Writing",
    # Menus.
    "menu.files": "Get the transcript as …",
    "menu.redo": "Redo as …",
    "menu.file.txt": "Text (.txt)",
    "menu.file.md": "Markdown with times (.md)",
    "menu.file.srt": "Subtitles (.srt)",
    "menu.file.vtt": "Web subtitles (.vtt)",
    "menu.file.json": "Data (.json)",
    "menu.transcript": "Transcript",
    "menu.transcript.description": "What was said, word for word",
    "files.ready": "Here is the transcript.",
    # Commands.
    "command.transcribe": "Write down what was said in audio, video or a voice message",
    "command.help": "What I can do, and how",
    "option.audio": "The audio or video file",
    "option.link": "Or the link of a message with audio, video or a voice message",
    "option.language": "The language that is spoken; left out, I find out myself",
    "option.private": "Only you see the answer",
    "option.translate": "Translate into English",
    "menu.command.summarise": "Summarise",
    "menu.command.transcribe": "Transcribe",
    # Help.
    "help.title": "I listen, so you don't have to",
    "help.intro": (
        "Give me a voice message, an audio file or a video. I write down what was said, and make of it what you need."
    ),
    "help.commands": "Commands",
    "help.on_messages": "On any message",
    "help.on_messages.text": (
        "Right-click a message with audio (or hold it on a phone), then **Apps → Summarise** or **Apps → Transcribe**."
    ),
    "help.after": "Afterwards",
    "help.after.text": (
        "The menus below a result give you the transcript as a file, or make something else of it, without listening "
        "again."
    ),
    "help.limits": "Limits",
    "help.limits.text": "Files up to {max_mb} MB and {max_minutes} minutes, in {languages} languages.",
    "help.privacy": "Privacy",
    "help.privacy.text": (
        "I only listen to what you ask me to. Audio is deleted as soon as it is written down; transcripts are deleted "
        "after {days} days."
    ),
}

_BY_LOCALE: Final[Mapping[str, Mapping[str, str]]] = {DEFAULT_LOCALE: _ENGLISH}


def keys() -> frozenset[str]:
    """All keys there are."""
    return frozenset(_ENGLISH)


def text(key: str, locale: str = DEFAULT_LOCALE, /, **values: str | float) -> str:
    """The sentence of ``key`` in a member's language."""
    template = _BY_LOCALE.get(locale, _ENGLISH).get(key) or _ENGLISH[key]
    return template.format(**values)
