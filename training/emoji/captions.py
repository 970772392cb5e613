"""The sentences that a person might type for a picture, drawn at random for every training sample."""

from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random

from training.emoji.data import Emoji

EMPTY_SHARE = 0.1
"""Share of samples whose caption is empty, so that the model can be guided (Ho and Salimans 2022, arXiv 2207.12598)."""

SHARED_SHARE = 0.25
"""Share of samples about a word that several emoji share, drawn alone for the one that it means: see `shared_words`."""
MOST_SHARED = 8

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


def shared_words(emoji: Sequence[Emoji]) -> tuple[tuple[int, str], ...]:
    """Words of which several emoji make use, each with the number of the one that it means when it stands alone.

    The more share a word, the more the others pull at it, and so the more often it is listed, up to `MOST_SHARED`.
    """
    uses = Counter(word for item in emoji for word in {item.label, *item.names, *item.tags})
    owned = ((number, word) for number, item in enumerate(emoji) for word in item.own if uses[word] > 1)
    return tuple(pair for pair in owned for _ in range(min(uses[pair[1]], MOST_SHARED)))


def captioned(
    chosen: Iterable[int], emoji: Sequence[Emoji], shared: Sequence[tuple[int, str]], random: Random
) -> list[tuple[int, str]]:
    """The chosen emoji with a caption each: some give way to the owner of a shared word, some captions are empty."""
    drawn = []
    for number in chosen:
        if random.random() < EMPTY_SHARE:
            drawn.append((number, ""))
        elif shared and random.random() < SHARED_SHARE:
            owner, word = random.choice(shared)
            drawn.append((owner, decorate(word, random)))
        else:
            drawn.append((number, caption(emoji[number], random)))
    return drawn
