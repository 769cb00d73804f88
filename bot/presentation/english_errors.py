"""What can go wrong, and the way out, in English: errors and refusals. A part of ``english``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ERRORS: Final[Mapping[str, str]] = {
    "error.unexpected": "Something went wrong on my side. Please try again.",
    "error.link_refused": (
        "I only fetch files that were posted on Discord. Attach the file itself, or link to a message that has it."
    ),
    "error.link_expired": (
        "That file is no longer there: its link expired, or it was deleted. Post it again, or use the command on the "
        "message itself."
    ),
    "error.too_large": (
        "That file is too large: the limit here is {limit_mb} MB. Save it as Opus or MP3, or post it in parts."
    ),
    "error.too_long": "That recording is too long: the limit here is {limit_minutes} minutes. Post it in parts.",
    "error.empty": "That file is empty: there is nothing to listen to. Save it again, and post that.",
    "error.not_audio": (
        "I can't read that file as audio: it is something else under that name, or it is damaged. Nearly every audio "
        "and video format works."
    ),
    "error.no_audio_track": "That video has no sound, so there is nothing to listen to. Post one with sound.",
    "error.encrypted": "That file is copy-protected (DRM), so I can't listen to it. Post an unprotected copy.",
    "error.unknown_mode": "There is no mode called “{mode}”. Known: {known}.",
    "error.unknown_language": (
        "I don't know the language “{language}”. Pick one from the list, or leave it out and I will find out myself."
    ),
    "error.nothing_to_listen_to": "There is no audio, video or voice message in that message. Pick one that has some.",
    "error.not_found": "That transcript is no longer kept. Run the command on the message again.",
    "error.file_unreadable": "{path} cannot be read: {reason}. Name another file.",
    "error.mode_invalid": "The mode “{mode}” has a mistake: {problem}. Use another one until it is mended.",
    "error.spool_full": "My disk is full, so I can't take that file. Please try again later.",
    "error.spool_failed": "My disk doesn't work as it should, so I can't take that file. Please try again later.",
    "error.not_kept": "The transcript could not be kept. Save what you need.",
    "error.fetch_failed": "I couldn't download that file from Discord. Please try again in a moment.",
    "error.discord_failed": "Discord doesn't give me that message right now. Please try again in a moment.",
    "error.decode_failed": (
        "I couldn't decode that file: it is damaged, or it asks for more than I can spare. Save it as Opus or MP3, and "
        "post that."
    ),
    "error.transcriber_crashed": (
        "This audio made my transcriber crash each time it was tried, so I stopped trying. "
        "Please convert it to another format, or try it again in an hour."
    ),
    "error.given_up": (
        "I began this {starts} times and never came to its end, so I stopped trying. It cost you nothing. "
        "Please convert the file to another format, or try a shorter part of it."
    ),
    "error.cancelled": "Cancelled.",
    "error.transcription_failed": "Listening failed, even after several tries. Please try again later.",
    "error.model_unavailable": "The speech model can't be loaded. Whoever runs me finds the cause in the log.",
    "error.completion_failed": "No language model answered. Please try again in a few minutes.",
    "error.not_allowed": "You may not do that here. Ask a moderator.",
    "error.not_moderator": (
        "Only moderators may do that: whoever has **Manage Server**, or the role that `/settings roles` names."
    ),
    "error.server_not_allowed": "Whoever runs me has not opened me for this server.",
    "error.not_outside": "I only work on servers that I am a member of.",
    "error.only_on_servers": "That only works on a server.",
    "error.not_yours_to_cancel": "Only whoever asked for this, or a moderator of the server, can cancel it.",
    "error.not_yours_to_retry": (
        "Only whoever asked for this, or a moderator, may press that. For one of your own, use **Redo as …**."
    ),
    "error.still_incomplete": (
        "Still no language model answers, so I left the answer as it is. Please press **Retry** again in a few minutes."
    ),
    "error.still_gaps": (
        "That gave no more than there is already, so I left the answer as it is. Please press **Retry** again in a few "
        "minutes."
    ),
    "error.still_refused": (
        "The language models refuse this recording, so I left the answer as it is. Another mode may do: try "
        "**Redo as …**."
    ),
    "error.already_at_it": "I am making this anew already. The answer changes by itself once there is more.",
    "error.not_yours": "Only the one who asked may press that. Use `/forget-me` yourself.",
    "error.quota_exceeded": "You have no tokens left for that now. `/quota` shows when there are more.",
    "error.overloaded": "I have more work than I can do soon. Please try again later.",
    "error.store_unavailable": (
        "I can't reach my memory right now, so settings, tokens and results are out of reach. Please try again "
        "in a minute."
    ),
    "error.record_too_new": "A newer version of me wrote that, and I can't read it. Whoever runs me has to update me.",
    "error.no_such_result": "You have no such result here. It may be too old, or deleted; `/results list` shows all.",
    "error.still_running": "That is still being worked on. Delete it once it is done.",
    "error.nothing_given": "Nothing was given, so nothing was changed. Fill in at least one option.",
    "error.over_cap": (
        "{what}: the most that I may allow here is {cap}. Whoever runs me can raise that ({variable}) and restart me."
    ),
    "error.too_many_tiers": "There are {limit} tiers already, which is the most. Remove one first.",
    "error.too_many_channels": "There are {limit} such channels already, which is the most. Switch one off first.",
    "error.no_more": (
        "A tier gives a role more than everybody has, which is {per_hour} an hour and {burst} at once. For less, lower "
        "what everybody has in `/settings limits`."
    ),
    "error.everybody": "Everybody has that role. Name one for some; for everybody, there is `/settings limits`.",
    "error.automatic_off": (
        "Writing down voice messages by myself is switched off. Whoever runs me has to allow the **Message Content "
        "Intent** in Discord's developer portal, then set AUTO_TRANSCRIBE and restart me."
    ),
    "error.interrupted": "I was restarted in the middle of this. Please run the command again.",
    "error.reference": "Reference: {reference} (whoever runs me finds the cause by it)",
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
    # Refusals: until when, and what can be had meanwhile.
    "refusal.bucket.title": "You are out of tokens for now",
    "refusal.bucket": (
        "This takes {price}, and you have {left} left. There is enough for it {free}; all your tokens are back {full}."
    ),
    "refusal.budget.title": "Today's shared tokens are used up",
    "refusal.budget": (
        "This takes {price}. Left of what all may use together in a day: {budget}. There are new ones {free}. You have "
        "{left} of your own left."
    ),
    "refusal.courtesy": "That costs nothing, but it was a lot of it in a short time. There is more {free}.",
    "refusal.free": "What costs nothing",
    "refusal.free.text": (
        "Results that I still have in my cache, **Redo as …** below earlier results, `/results` and `/help`. `/quota` "
        "shows what you have."
    ),
    "refusal.overload.title": "I am at my limit",
    "refusal.overload": "New work would have to wait {wait}, so I don't take any just now. Your tokens are untouched.",
    "refusal.works": "What still works",
    "refusal.works.text": "Results that I still have in my cache, `/results`, `/quota` and `/help`.",
}
