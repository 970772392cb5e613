"""The sentences that a person might type for a picture, drawn at random for every training sample."""

from random import Random

from training.emoji.data import Emoji

EMPTY_SHARE = 0.1
"""Share of samples whose caption is empty, so that the model can be guided (Ho and Salimans 2022, arXiv 2207.12598)."""

TEMPLATES = (
    "emoji of {}",
    "{} emoji",
    "an emoji of {}",
    "3d icon of {}",
    "a 3d icon of {}",
    "{} icon",
    "icon of {}",
    "a picture of {}",
    "{}, 3d icon",
)
ARTICLES = ("a", "an", "the")
KINDS = ("label", "name", "label and tags", "tags", "colour", "shortened", "glyph")
WEIGHTS = (32, 28, 16, 10, 6, 5, 3)


def article(text: str) -> str:
    """The text with its indefinite article."""
    return f"{'an' if text[:1] in 'aeiou' else 'a'} {text}"


def plural(text: str) -> str:
    """A plain English plural of the last word."""
    if text.endswith(("s", "x", "ch", "sh")):
        return text if text.endswith("s") else text + "es"
    if text.endswith("y") and text[-2:-1] not in "aeiou":
        return text[:-1] + "ies"
    return text + "s"


def phrase(label: str, random: Random) -> str:
    """A label, its colon (``flag: chad``, ``woman: red hair``) put into words, hyphens at times dropped."""
    head, colon, tail = label.partition(": ")
    if colon and head == "flag":
        label = random.choice((label, f"flag of {tail}", f"{tail} flag", f"the flag of {tail}"))
    elif colon:
        label = random.choice((label, f"{head} with {tail}", f"{head} {tail}"))
    return label.replace("-", " ") if random.random() < 0.3 else label


def decorate(text: str, random: Random) -> str:
    """The text as it is, with an article, as a plural, or inside a template."""
    draw = random.random()
    if draw < 0.45:
        return text
    if draw < 0.65:
        return article(text)
    if draw < 0.70:
        return f"the {text}"
    if draw < 0.74:
        return plural(text)
    inside = article(text) if random.random() < 0.3 else text
    return random.choice(TEMPLATES).format(inside)


def some_tags(emoji: Emoji, most: int, random: Random) -> list[str]:
    """One to `most` tags in random order; the label where there are none."""
    tags = emoji.tags or (emoji.label,)
    return random.sample(tags, random.randint(1, min(most, len(tags))))


def meant(tags: list[str], emoji: Emoji) -> bool:
    """Whether these tags mean this emoji: several do, one alone does only if no other emoji owns it."""
    return len(tags) > 1 or tags[0] in emoji.own


def shortened(label: str, random: Random) -> str:
    """The label without one of its words, if it has three or more."""
    parts = label.replace(":", "").split(" ")
    if len(parts) > 2:
        del parts[random.randrange(len(parts))]
    return " ".join(parts)


def glyph(emoji: Emoji) -> str:
    """The character itself, for people who type it."""
    return "".join(chr(int(code, 16)) for code in emoji.hexcode.split("-"))


def caption(emoji: Emoji, random: Random) -> str:
    """One non-empty caption."""
    kind = random.choices(KINDS, WEIGHTS)[0]
    label = phrase(emoji.label, random)
    if kind == "glyph":
        return glyph(emoji)
    if kind == "name" and (names := emoji.names + emoji.own):
        return decorate(random.choice(names), random)
    if kind == "label and tags":
        return ", ".join([decorate(label, random), *some_tags(emoji, 4, random)])
    if kind == "tags" and meant(tags := some_tags(emoji, 4, random), emoji):
        return random.choice((" ", ", ")).join(tags)
    if kind == "colour" and emoji.colour:
        noun = random.choice((label, *emoji.own))
        return decorate(noun if emoji.colour in noun else f"{emoji.colour} {noun}", random)
    return decorate(shortened(label, random) if kind == "shortened" else label, random)


def caption_or_empty(emoji: Emoji, random: Random) -> str:
    """One caption, empty for a tenth of the draws."""
    return "" if random.random() < EMPTY_SHARE else caption(emoji, random)
