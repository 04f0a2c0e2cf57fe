"""What a person sees of a run: a bar while it goes, and at the end what came of it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .driver import Outcome, Report

__all__ = ["group_reasons", "progress", "show"]

REASONS = 10  # shown; all are in the table


@contextmanager
def progress(console: Console) -> Iterator[Report]:
    """A bar for the time of the block, and the function that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[more]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None, more="")
        before = None

        def report(outcome: Outcome, workers: int) -> None:
            nonlocal before
            if before is None:
                before = len(outcome.records) - len(outcome.now)
            bar.update(
                task,
                description="studies" if workers else "starting",
                total=outcome.studies - before,
                completed=len(outcome.now),
                more=f"{workers} workers, {outcome.failed} failed",
            )

        yield report


def show(outcome: Outcome, console: Console) -> None:
    """Print how many are done and failed, why, and how fast it went."""
    counts = Counter(row["status"] for row in outcome.records.values())
    now = [outcome.records[name] for name in outcome.now]
    left = outcome.studies - len(outcome.records)
    parts = [f"{counts['done']} done", f"{counts['failed']} failed"]
    parts += [f"{len(outcome.records) - len(now)} of them before"] if len(now) < len(outcome.records) else []
    parts += [f"{left} not yet"] if left else []
    console.print(f"{outcome.studies} studies: {', '.join(parts)}", highlight=False)
    if outcome.deaths:
        console.print(f"workers that died: {outcome.deaths}; what they had was done by others", highlight=False)
    if now and outcome.seconds:
        pairs = sum(row.get("pairs", 0) for row in now)
        rates = f"{len(now) / outcome.seconds:.3g} studies and {pairs / outcome.seconds:.3g} pairs a second"
        console.print(f"{rates}, {len(now)} studies in {outcome.seconds:.1f} s", highlight=False)
    groups = group_reasons({name: row for name, row in outcome.records.items() if row["status"] == "failed"})
    for reason, names in groups[:REASONS]:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        console.print(f"  {len(names)} × {escape(reason)} ({escape(shown)})", highlight=False, soft_wrap=True)
    if len(groups) > REASONS:
        console.print(f"  and {len(groups) - REASONS} other reasons: see the column 'reason'", highlight=False)
    console.print(f"written: {escape(str(outcome.table))}", highlight=False, soft_wrap=True)


def group_reasons(failed: dict[str, dict]) -> list[tuple[str, list[str]]]:
    """Failures by reason, the commonest first: the reason without paths, where they differ, and the ids.

    Reasons that differ by paths and numbers alone are one; of several, the first one's numbers are shown.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name, row in failed.items():
        groups[re.sub(r"\d+(\.\d+)?", "#", _without_paths(row["reason"]))].append(name)
    ordered = sorted(groups.values(), key=len, reverse=True)
    return [
        (failed[names[0]]["reason"] if len(names) == 1 else _without_paths(failed[names[0]]["reason"]), names)
        for names in ordered
    ]


def _without_paths(reason: str) -> str:
    return re.sub(r"'[^']*[/\\][^']*'|(?<!\S)[^\s'\"]*[/\\][^\s'\"]*?(?=[:;,)]?(\s|$))", "…", reason)
