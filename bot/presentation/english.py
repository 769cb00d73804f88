"""Every sentence that a member reads, in English. ``bot.presentation.messages`` gives them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.presentation.english_errors import ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGLISH: Final[Mapping[str, str]] = {
    **ERRORS,
    # What a member should know about a result.
    "note.truncated": "The file ends early: it has {decoded_s} of {declared_s}. This is what could be heard.",
    "note.no_speech": "No speech was heard.",
    "note.language_unsure": "I am not sure of the language: {language} ({probability}). Set `language` if it is wrong.",
    "note.speakers_not_separated": "Speakers are not told apart.",
    "note.template_used": "No language model answered: these are sentences taken from the transcript.",
    "note.template_used.no_model": "No language model is set up here: these are sentences from the transcript.",
    "note.template_used.refused": "The language models refused this: these are sentences taken from the transcript.",
    "note.result_missing": "No language model answered: this is the transcript alone.",
    "note.result_missing.refused": "The language models refused this: this is the transcript alone.",
    "note.too_much_said": (
        "There is more in that recording than this mode can read at once: this is the transcript alone. Take another "
        "mode with **Redo as …**, or a shorter part of the recording."
    ),
    "note.result_cut": "The model stopped at its length limit: the end may be missing.",
    "note.input_cut": "The recording was too long for the model: it saw everything up to {until_s}.",
    "note.part_missing": "{start_s}-{end_s} is missing: the model did not answer for that part.",
    "note.part_missing.refused": "{start_s}-{end_s} is missing: the model refused that part.",
    "note.more": "… and {count} more like that.",
    "note.parts_not_joined": (
        "This was too long for the model to read at once, and it could not put the results of its parts together: here "
        "they are, one by one."
    ),
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
    "result.no_model": "none",
    "result.updated": "Updated with {model}.",
    # What there is of a result of which not all is there.
    "partial.states": "Transcript: {transcript} · {mode}: {result} · Model: {model}",
    "partial.complete": "complete",
    "partial.ends_early": "ends early",
    "partial.not_kept": "not kept",
    "partial.missing": "missing",
    "partial.extract": "an extract",
    "partial.gaps": "with gaps",
    "partial.in_parts": "in parts",
    "partial.cut_short": "cut short",
    "partial.beginning": "of the beginning alone",
    "retry.button": "Retry: {mode}",
    "retry.hint": "**Retry** below costs nothing.",
    "result.seconds": "{seconds} s",
    "result.from_transcript": "{seconds} s, from the kept transcript: costs nothing",
    "result.too_large_to_attach": "The full text is too large for the upload limit here.",
    "result.from_cache": "{seconds} s, from the cache: costs nothing",
    "result.from_cached_transcript": "{seconds} s, its transcript from the cache",
    "presence.read_only": "At my limit: finished results only",
    "time.minute": "about a minute",
    "time.minutes": "about {count} minutes",
    "time.hours": "about {count} hours",
    "tokens.one": "{count} token",
    "tokens.many": "{count} tokens",
    # While it runs.
    "progress.see_below": "This took long: the answer is a new message below.",
    "progress.title": "On it …",
    "progress.waiting": "Waiting for another recording to finish",
    "progress.in_line": "In line",
    "progress.in_line.next": "You are next",
    "progress.in_line.ahead.one": "{count} request is before yours",
    "progress.in_line.ahead.many": "{count} requests are before yours",
    "progress.in_line.wait": "about {wait}",
    "progress.restarting": "I am being restarted. Nothing is lost: your answer comes here by itself.",
    "cancel.button": "Cancel",
    "progress.forgotten": "This was deleted, as asked.",
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
    "menu.results": "Open a result again …",
    "menu.transcript": "Transcript",
    "menu.transcript.description": "What was said, word for word",
    "files.ready": "Here is the transcript.",
    # Commands.
    "command.transcribe": "Write down what was said in audio, video or a voice message",
    "command.help": "What I can do, and how",
    "price.beside": "({price})",
    "command.quota": "What you may still use, and when there is more",
    "command.results": "What you have asked me for here",
    "command.results.list": "All of your results here, and a menu to open them again",
    "command.results.get": "Show one of your results again",
    "command.results.delete": "Delete one of your results and its transcript",
    "command.forget_me": "What I keep of you here, and a button that deletes it",
    "command.settings": "What moderators decide for this server",
    "command.settings.show": "All settings, and what holds where nothing is set",
    "command.settings.mode": "The mode that answers where none is asked for: that of Apps → Summarise too",
    "command.settings.language": "The language that is spoken where nobody names another",
    "command.settings.roles": "The role that may use these commands, besides Manage Server",
    "command.settings.channels": "The channels in which I speak up by myself",
    "command.settings.limits": "How much members may use; what you leave out stays as it is",
    "command.settings.tier": "How much more a role's holders may use; without numbers, no more than others",
    "command.settings.retention": "For how long transcripts and results are kept",
    "command.settings.voice_messages": "Write down voice messages in a channel without being asked",
    "command.settings.audit": "Who changed what, and when",
    "command.settings.reset": "Set one setting back to what whoever runs me chose",
    "option.quota.member": "Somebody else; for moderators",
    "option.quota.reset": "Fill up all tokens; for moderators",
    "option.results.result": "Which one; type to search",
    "option.settings.mode": "The mode",
    "option.settings.language": "The language",
    "option.settings.moderators": "The moderators' role",
    "option.settings.moderators_channel": "Where changes of settings are posted",
    "option.settings.announcements": "Where announcements will be posted; there are none yet",
    "option.settings.per_hour": "New tokens an hour",
    "option.settings.burst": "Tokens at once",
    "option.settings.daily": "Tokens of the whole server a day",
    "option.settings.role": "The role",
    "option.settings.days": "Days; 0.5 is half a day",
    "option.settings.channel": "The channel",
    "option.settings.on": "Whether I write them down there",
    "option.settings.setting": "Which setting",
    "option.audio": "The audio or video file",
    "option.link": "Or the link of a message with audio, video or a voice message",
    "option.language": "The language that is spoken; left out, I find out myself",
    "option.private": "Only you see the answer",
    "option.translate": "Translate into English",
    "menu.command.summarise": "Summarise",
    "menu.command.transcribe": "Transcribe",
    # Settings.
    "settings.title": "Settings of this server",
    "settings.intro": "`/settings reset` sets one back. Every change is in `/settings audit`.",
    "settings.inherited": "{value} *(not set here)*",
    "settings.unset": "not set here",
    "settings.none": "none",
    "settings.no_limit": "no limit",
    "settings.found_out": "found out each time",
    "settings.managers_only": "none: **Manage Server** alone",
    "settings.days": "{count} days",
    "settings.tier": "{role}: {per_hour} an hour, {burst} at once",
    "settings.tier.was": "{tier} *(set: {per_hour}, {burst})*",
    "settings.capped": "{value} *(the most that whoever runs me allows; set: {set})*",
    "settings.no_tier": "{role}: like everybody",
    "settings.on": "on",
    "settings.off": "off",
    "settings.automatic_off": "switched off by whoever runs me (AUTO_TRANSCRIBE)",
    "settings.unchanged": "{value}, as before: nothing was changed.",
    "settings.show_commands": (
        "Discord hides `/settings` from those without **Manage Server**. To show it to this role, add the role in "
        "**Server Settings → Integrations**."
    ),
    "settings.rights_missing": "⚠️ In {channel}, I still need: **{rights}**. Give me that in the channel's permissions.",
    "settings.speakers_pay": (
        "Each voice message takes a token of whoever speaks. {refused} below one says that they, or this server, have "
        "none left, or that I have too much to do."
    ),
    "right.view_channel": "View Channel",
    "right.send_messages": "Send Messages",
    "right.send_messages_in_threads": "Send Messages in Threads",
    "right.read_message_history": "Read Message History",
    "right.embed_links": "Embed Links",
    "right.attach_files": "Attach Files",
    "right.add_reactions": "Add Reactions",
    "right.connect": "Connect",
    "settings.from_now_on": "This is for what is made from now on.",
    "setting.default_mode": "Default mode",
    "setting.language": "Language",
    "setting.moderator_role_id": "Moderator role",
    "setting.moderator_channel_id": "Moderators' channel",
    "setting.announcement_channel_id": "Announcements' channel (not in use yet)",
    "setting.per_hour": "Tokens an hour",
    "setting.burst": "Tokens at once",
    "setting.daily_budget": "Tokens of the server a day",
    "setting.tiers": "Tiers",
    "setting.retention_days": "Kept for",
    "setting.automatic_channels": "Voice messages written down",
    "audit.title": "Last changes",
    "audit.empty": "Nothing was changed yet.",
    "audit.more": "… {shown} of {count} changes; all of them are in the attached file.",
    "audit.settings.channels": "Channels",
    "audit.settings.limits": "Limits",
    "audit.quota.reset": "Tokens filled up",
    # Quota.
    "quota.title": "Your tokens",
    "quota.title.of": "A member's tokens",
    "quota.was_reset": "All tokens were filled up; this is in `/settings audit`.",
    "quota.unlimited": "Nothing is limited here, by ADMIN_MODE.",
    "quota.left": "**{left} of {burst}** tokens left",
    "quota.full": "That is all there can be.",
    "quota.refills": "The next one comes {next}, all are there {full}.",
    "quota.limits": "Limits",
    "quota.rate": "{per_hour} an hour, {burst} at once",
    "quota.budget": "This server, today",
    "quota.budget.outside": "All users outside servers, today",
    "quota.budget.left": "{left} of {daily} left, all there again {new}",
    "quota.budget.spent": "**This server is out of tokens for today.** New ones come {new}.",
    "quota.budget.spent.outside": "**Nobody outside servers has tokens left for today.** New ones come {new}.",
    "quota.prices": "Prices",
    "quota.free": "Nothing: what is in my cache, **Redo as …**, `/results`, and what fails on my side.",
    "quota.price": "{price}: {mode}",
    "quota.price.other": "1 token: everything else",
    "quota.price.all": "1 token: any recording",
    # Results.
    "results.title": "Your results here",
    "results.empty": (
        "You have none here yet. Use **Apps → Summarise** on a message with audio, or `/summarize` with a file; what I "
        "make of it is listed here until it is deleted."
    ),
    "results.empty.outside": (
        "You have none outside servers yet. Use **Apps → Summarise** on a message with audio; what I make of it is "
        "listed here until it is deleted."
    ),
    "results.more": "… {shown} of {count}; all of them are in the attached file.",
    "results.free": "Opening one costs nothing. Only you see this.",
    "results.answer": "answer",
    "results.running": "under way",
    "results.failed": "failed",
    "results.interrupted": "interrupted",
    "results.cancelled": "cancelled",
    "results.undelivered": "did not reach you: open it below",
    "results.open.running": "I am still working on that one.",
    "results.open.failed": "That one failed.",
    "results.open.interrupted": "I was stopped in the middle of that one. Please run the command again.",
    "results.open.cancelled": "That one was cancelled.",
    "results.transcript_gone": "Its transcript is no longer kept.",
    "results.deleted": "Deleted: {name}",
    "results.deleted.own": "The transcript that was made for it is deleted too.",
    "results.deleted.shared": (
        "The transcript that it was made of stays: it belongs to an earlier request. Was that yours? Delete it as well."
    ),
    "results.deleted.posted": "What I posted in the channel stays until somebody deletes it.",
    # Forgetting.
    "forget.title": "What I keep of you on this server",
    "forget.title.outside": "What I keep of you outside servers",
    "forget.kept": "{transcripts}, {results} made of such, and what I noted about your requests.",
    "forget.unread": (
        "{count} of my notes can't be read: damaged, or from a newer version of me. Copies in my cache that only those "
        "name don't go with them, but by themselves: usually within a day."
    ),
    "forget.results.one": "{count} result",
    "forget.results.many": "{count} results",
    "forget.transcripts.one": "{count} transcript",
    "forget.transcripts.many": "{count} transcripts",
    "forget.oldest": "The oldest is of {when}.",
    "forget.question": "Shall I delete all of it? It cannot be brought back.",
    "forget.nothing": "I keep nothing of what you asked me for here.",
    "forget.done": "Deleted: {transcripts}, {results} made of such, my notes on your requests, and copies in my cache.",
    "forget.untouched": "What this does not touch",
    "forget.untouched.text": (
        "Messages that I posted in channels: you or a moderator can delete those. Changes of settings that you made: "
        "they stand in the moderators' log. How many tokens you have left: a number, gone within hours."
    ),
    "forget.untouched.text.outside": (
        "What you asked for on servers: use `/forget-me` on each of them. Messages that I posted. How many tokens you "
        "have left: a number, gone within hours."
    ),
    "forget.button": "Delete all of it",
    "keep.button": "Keep it",
    "keep.done": "All right: I delete nothing.",
    # Help.
    "help.title": "I listen, so you don't have to",
    "help.intro": (
        "Give me a voice message, an audio file or a video. I write down what was said, and make of it what you need."
    ),
    "help.commands": "Commands",
    "help.more": "… and {count} more: type `/` to see all.",
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
        "I only listen to what you ask me to, and to voice messages where moderators want them written down. Audio is "
        "deleted as soon as it is written down; transcripts and results within {days} days, or by `/forget-me` at once."
    ),
}
