"""Pieces of the page, as HTML: pure functions from values to text in which everything foreign is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from bot import messages
from bot.adapters.web.desk import Card, Desk, Notable
from bot.adapters.web.look import data_uri
from bot.chat import Failure, Notice, Picture, Refusal, Requester, Working
from bot.messages import duration, printable, say, stage_name
from bot.quota import Usage
from engine.types import Cached, NoteCode, ResolvedRequest, Stage

STANDING = frozenset({NoteCode.TINY_MODEL, NoteCode.TOXICITY_ABSENT})
"""Notes that every picture of a model or an installation has."""
YES = "\N{CHECK MARK}"
BUSY_STAGES = frozenset({Stage.DRAWING, Stage.FINISHING})


def esc(text: object) -> str:
    """Text that can stand anywhere in HTML, attributes included, with nothing hidden in it."""
    return html.escape(printable(str(text), keep="\n"))


def button(
    label: str, do: str, values: Mapping[str, object] | None = None, *, kind: str = "quiet", aria: str = ""
) -> str:
    """A button that gives `do` and its values to the page's event."""
    data = "".join(f' data-{name}="{esc(value)}"' for name, value in (values or {}).items())
    label_for_readers = f' aria-label="{esc(aria)}"' if aria else ""
    kinds = f'type="button" class="ez-button ez-{kind}"'
    return f'<button {kinds} data-do="{do}"{data}{label_for_readers}>{esc(label)}</button>'


def head(person: Requester, usage: Usage | None, *, is_guest: bool) -> str:
    """The line above the tabs: how many pictures are left, who is there, and the way in or out."""
    locale = person.locale
    left = say("web.used", locale, used=usage.used, limit=usage.limit) if usage and usage.limit else ""
    leave = esc(say("web.sign_in" if is_guest else "web.sign_out", locale))
    way = (
        f'<a class="ez-button ez-plain" href="/sign-in">{leave}</a>'
        if is_guest
        else f'<form method="post" action="/sign-out"><button class="ez-button ez-plain">{leave}</button></form>'
    )
    return (
        f'<header class="ez-head"><h1>Easel</h1><p class="ez-left">{esc(left)}</p><div class="ez-person-name">'
        f"<span>{esc(say('web.guest', locale) if is_guest else person.name)}</span>{way}</div></header>"
    )


def notices(desk: Desk, locale: str) -> str:
    """The answers to the last command, the latest last."""
    return "".join(_notice(number, said, locale) for number, said in desk.notices)


def _notice(number: int, said: Notable, locale: str) -> str:
    kind = "wrong" if isinstance(said, Failure | Refusal) else "calm"
    role = "alert" if kind == "wrong" else "status"
    text = f"<pre>{esc(said.text)}</pre>" if "\n" in said.text else f"<p>{esc(said.text)}</p>"
    extra = ""
    if isinstance(said, Notice):
        extra = "".join(button(b.label, "command", {"command": b.command, "text": b.text}) for b in said.buttons)
    elif confirm := getattr(said, "confirm", ""):
        command, _, rest = confirm.partition(" ")
        extra = button(say("web.confirm", locale), "command", {"command": command, "text": rest}, kind="main")
    return f'<div class="ez-notice ez-{kind}" id="notice-{number}" role="{role}">{text}{extra}</div>'


def progress(desk: Desk, locale: str) -> str:
    """Every job that is waiting or being drawn."""
    return "".join(_job(card, locale) for card in reversed(desk.cards.values()) if card.active)


def _job(card: Card, locale: str) -> str:
    pictures = "".join(_working(work, card.pictures, locale) for _, work in sorted(card.working.items()))
    waiting = f'<p role="status">{esc(card.queued.text)}</p>' if card.queued else ""
    if not pictures and not waiting:
        waiting = f'<p role="status">{esc(say("web.accepted", locale))}</p>'
    bar = '<progress class="ez-bar" aria-hidden="true"></progress>' if not pictures else ""
    cancel = button(say("web.cancel", locale), "cancel", {"job": card.job}, kind="plain")
    head = (
        say("web.done_of", locale, done=card.done, pictures=card.pictures)
        if card.pictures > 1
        else say("web.drawing", locale)
    )
    return (
        f'<section class="ez-card ez-job" data-job="{esc(card.job)}"><header><h2>{esc(head)}</h2>{cancel}</header>'
        f"{waiting}{bar}{pictures}</section>"
    )


def _working(work: Working, pictures: int, locale: str) -> str:
    step, steps = work.progress.step, work.progress.steps
    label = say("web.picture_number", locale, number=work.progress.index + 1) if pictures > 1 else ""
    state = say(f"web.stage_{stage_name(work.progress)}", locale, step=step, steps=steps)
    left = "" if work.eta_seconds is None else say("web.left", locale, duration=duration(work.eta_seconds, locale))
    value = f' value="{step}" max="{steps}"' if work.progress.stage in BUSY_STAGES and steps else ""
    look = f'<img src="{data_uri(work.preview)}" alt="{esc(say("web.preview_alt", locale))}">' if work.preview else ""
    told = esc(" · ".join(filter(None, (label, state))))
    # Not each step is told to ears: the bar has its value, and `stamped` says how many are done.
    line = f'<p><span>{told}</span><span class="ez-left">{esc(left)}</span></p>'
    bar = f'<progress class="ez-bar"{value} aria-label="{esc(state)}"></progress>'
    return f'<div class="ez-working">{look}<div>{line}{bar}</div></div>'


def stamped(desk: Desk, locale: str) -> str:
    """The stamp of what is shown, for the page to compare; the language that it is in; and for ears, how far it is."""
    told = ""
    if desk.cards:
        card = next(reversed(desk.cards.values()))
        told = say("web.done_of", locale, done=card.done, pictures=card.pictures)
    return (
        f'<span hidden data-seen="{esc(desk.stamp)}" lang="{esc(locale)}"></span>'
        f'<p class="ez-unseen" role="status">{esc(told)}</p>'
    )


def pictures(desk: Desk, earlier: Iterable[str], locale: str) -> str:
    """The gallery: what this page has brought, the latest first, then `earlier` figures; a word where there is none."""
    known = [figure for card in reversed(desk.cards.values()) for figure in _ended(card, locale)]
    figures = [*known, *earlier]
    if not figures:
        title, text = esc(say("web.empty_title", locale)), esc(say("web.empty", locale))
        return f'<div class="ez-empty"><h2>{title}</h2><p>{text}</p></div>'
    return f'<div class="ez-gallery">{"".join(figures)}</div>'


def _ended(card: Card, locale: str) -> Iterable[str]:
    if card.stopped is not None:
        yield f'<div class="ez-card ez-ended" role="status"><p>{esc(card.stopped.text)}</p></div>'
    for end in card.ends.values():
        yield refused(end, locale)
    for _, picture in sorted(card.shown.items()):
        yield figure(card.job, picture, locale)


def refused(end: Refusal | Failure, locale: str) -> str:
    """Why a picture didn't come, and what can be done about it."""
    title, appeal = say("web.failed", locale), ""
    if isinstance(end, Refusal):
        title = say("web.refused" if end.layer is None else f"web.refused_{end.layer}", locale)
        if end.appealable and end.job is not None:
            appeal = _appeal(end.job, 1 if end.index is None else end.index + 1, locale)
    about = f' data-job="{esc(end.job or "")}" data-number="{"" if end.index is None else end.index + 1}"'
    said = f"<h2>{esc(title)}</h2><p>{esc(end.text)}</p>"
    return f'<div class="ez-card ez-refused" role="alert"{about}>{said}{appeal}</div>'


def _appeal(job: str, number: int, locale: str) -> str:
    return (
        f'<details><summary class="ez-button ez-quiet">{esc(say("web.appeal", locale))}</summary>'
        f'<label>{esc(say("web.appeal_reason", locale))}<input type="text" maxlength="300" data-field="reason"></label>'
        f"{button(say('web.appeal_send', locale), 'appeal', {'job': job, 'number': number}, kind='main')}</details>"
    )


def address(job: str, number: int, kind: str) -> str:
    """Where a picture is served, to who may see it."""
    return f"/pictures/{quote(job)}/{number}/{kind}"


def figure(job: str, picture: Picture, locale: str) -> str:
    """One finished picture with everything that is to be known of it, and what can be done with it."""
    image = picture.image
    facts = badges(image.cached, image.seconds, locale)
    if image.cost is not None:
        facts.append(f"<li>{esc(say('web.cost', locale, dollars=f'{image.cost.dollars:.4f}'))}</li>")
    return drawn(
        job,
        image.index + 1,
        image.request,
        alt=picture.alt_text,
        facts=facts,
        remarks=_remarks(picture),
        spoiler=picture.spoiler,
        locale=locale,
    )


def _remarks(picture: Picture) -> list[str]:
    """What is to be said of this picture; what holds for every one of the model's is left to the parameters."""
    codes = [note.code for note in picture.image.notes]
    if len(codes) != len(picture.notes):
        return list(picture.notes)
    return [remark for code, remark in zip(codes, picture.notes, strict=True) if code not in STANDING]


def badges(cached: Cached | None, seconds: Mapping[str, float], locale: str) -> list[str]:
    """Where a picture came from, and how long that took."""
    if cached not in (None, Cached.NONE):
        return [f'<li class="ez-hit">{esc(say("web.from_cache", locale))}</li>']
    total = seconds.get("total") or sum(seconds.values())
    return [f"<li>{esc(say('web.seconds', locale, seconds=f'{total:.1f}'))}</li>"] if total else []


def drawn(  # noqa: PLR0913  (each is shown)
    job: str,
    number: int,
    request: ResolvedRequest,
    *,
    alt: str,
    facts: Iterable[str],
    remarks: Iterable[str] = (),
    spoiler: bool = False,
    locale: str,
) -> str:
    """A picture of a job as a figure; `facts` are list items, `remarks` sentences."""
    at = {"job": job, "number": number}
    notes = "".join(f"<li>{esc(remark)}</li>" for remark in remarks)
    notes = f'<ul class="ez-notes">{notes}</ul>' if notes else ""
    caption = (
        f'<p class="ez-prompt">{esc(request.prompt)}</p><ul class="ez-facts">{_facts(request, facts, locale)}</ul>'
        f'{notes}<div class="ez-actions">{_actions(at, locale)}</div>{parameters(request, locale)}'
    )
    kind = "ez-card ez-figure ez-spoiler" if spoiler else "ez-card ez-figure"
    return (
        f'<figure class="{kind}" data-job="{esc(job)}" data-number="{number}">'
        f"{_frame(job, number, request, alt, locale)}<figcaption>{caption}</figcaption></figure>"
    )


def _frame(job: str, number: int, request: ResolvedRequest, alt: str, locale: str) -> str:
    """The picture itself, and what covers it until somebody uncovers it."""
    width, height = request.output_size
    cover = f'<button type="button" class="ez-cover" data-do="uncover">{esc(say("web.uncover", locale))}</button>'
    return (
        f'<div class="ez-frame"><a href="{address(job, number, "file")}" target="_blank" rel="noopener">'
        f'<img src="{address(job, number, "small")}" alt="{esc(alt)}" width="{width}" height="{height}" loading="lazy">'
        f"</a>{cover}</div>"
    )


def _facts(request: ResolvedRequest, facts: Iterable[str], locale: str) -> str:
    """Size, steps, model and whatever else is known, and the seed, which can be taken into the form."""
    width, height = request.output_size
    parts = (f"{width}\N{MULTIPLICATION SIGN}{height}", say("web.steps", locale, steps=request.steps), request.model)
    seed = button(
        say("web.seed", locale, seed=request.seed),
        "seed",
        {"seed": request.seed},
        kind="chip",
        aria=say("web.seed_use", locale, seed=request.seed),
    )
    return "".join((*(f"<li>{esc(part)}</li>" for part in parts), *facts, f"<li>{seed}</li>"))


def _actions(at: Mapping[str, object], locale: str) -> str:
    names = ("reroll", "vary", "upscale", "remix")
    buttons = [button(say(f"web.{name}", locale), name, at) for name in names]
    link = address(str(at["job"]), int(str(at["number"])), "file")
    save = say("web.download", locale)
    buttons.append(f'<a class="ez-button ez-quiet" href="{link}?save" download>{esc(save)}</a>')
    buttons.append(button(say("web.delete", locale), "delete", {**at, "sure": say("web.sure", locale)}, kind="plain"))
    return "".join(buttons)


def parameters(request: ResolvedRequest, locale: str) -> str:
    """Everything that decided on the pixels, folded away."""
    hidden = {"prompt", "image", "variations", "private", "spoiler", "force"}
    values = request.model_dump(mode="json", exclude=hidden, exclude_none=True)
    if request.variations:
        values["variations"] = ", ".join(f"{step.seed} ({step.strength:g})" for step in request.variations)
    title = esc(say("web.parameters", locale))
    return f'<details class="ez-parameters"><summary>{title}</summary>{listed(values, locale)}</details>'


def listed(values: Mapping[str, object], locale: str) -> str:
    """Options and their values below each other, by the names that the form gives them; what isn't so is left out."""
    known = messages.catalogue(messages.ENGLISH)
    rows = "".join(
        f"<div><dt>{esc(_option(name, known, locale))}</dt><dd>{esc(YES if value is True else value)}</dd></div>"
        for name, value in values.items()
        if value is not None and value is not False and value not in ("", [], ())
    )
    return f'<dl class="ez-list">{rows}</dl>'


def _option(name: str, known: Mapping[str, str], locale: str) -> str:
    key = "web.prompt" if name == "prompt" else f"web.label_{name}"
    return say(key, locale) if key in known else name.replace("_", " ")


def table(caption: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; its cells are HTML already."""
    head = "".join(f'<th scope="col">{esc(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="ez-scroll" tabindex="0" role="region" aria-label="{esc(caption)}"><table class="ez-table">'
        f"<caption>{esc(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
