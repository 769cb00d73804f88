"""Replies for a terminal, and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.markdown import Markdown
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bot.core.languages import language_name
from bot.core.rendering import clock_time, transcript_form
from bot.presentation.messages import DEFAULT_LOCALE, text
from bot.presentation.replies import note_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from bot.core.models import Progress as Step
    from bot.core.models import Reply


def reply_json(reply: Reply) -> dict[str, object]:
    """A reply in the form that other programs rely on."""
    routing = reply.routing
    return {
        "mode": reply.mode.id if reply.mode else None,
        "router": {
            "chosen": routing.chosen if routing else None,
            "scores": dict(routing.scores) if routing else {},
            "reason": routing.reason if routing else "",
        },
        "transcript": transcript_form(reply.transcript),
        "result": asdict(reply.result) if reply.result else None,
        "stages": {
            stage.value: {"status": report.status.value, "seconds": round(report.seconds, 3), "detail": report.detail}
            for stage, report in reply.stages.items()
        },
        "model": reply.model,
        "cached": asdict(reply.cached),
    }


def reply_page(reply: Reply) -> RenderableType:
    """A transcript with times, then the result."""
    transcript = reply.transcript
    parts: list[RenderableType] = []
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="cyan", justify="right")
    lines.add_column()
    for segment in transcript.segments:
        lines.add_row(clock_time(segment.start), Text(segment.text))
    facts = f"{language_name(transcript.language)} · {clock_time(transcript.duration_s)} · whisper {transcript.model}"
    parts.append(Panel(lines, title=text("result.transcript"), subtitle=Text(facts), title_align="left"))
    if reply.result is not None and reply.mode is not None:
        subtitle = f"{text('result.took')}: {reply.seconds:.1f} s · {reply.model}"
        parts.append(
            Panel(
                Markdown(reply.result.text), title=Text(reply.mode.title), subtitle=Text(subtitle), title_align="left"
            )
        )
    parts += [Text(f"· {note_line(note, DEFAULT_LOCALE)}", style="yellow") for note in reply.notes]
    return Group(*parts)


class TerminalProgress:
    """A bar that follows a request, or a line for each stage where there is no terminal; a context manager."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description:>20}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0)
        self._stage: str | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def observe(self, step: Step) -> None:
        """Show how far it is."""
        stage = text(f"progress.{step.stage}")
        if self._bar.disable and stage != self._stage:
            self._bar.console.print(f"{stage} …")
        self._stage = stage
        self._bar.update(self._task, description=stage, completed=step.fraction or 0.0)
