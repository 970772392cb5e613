"""The content-addressed store of unmarked pictures and finished files."""

from engine.cache.keys import family_key, finished_key, generation_key
from engine.cache.store import Cache
from engine.cache.values import CachedFile, EntryFacts, Reusable, SideCar, Tier

__all__ = [
    "Cache",
    "CachedFile",
    "EntryFacts",
    "Reusable",
    "SideCar",
    "Tier",
    "family_key",
    "finished_key",
    "generation_key",
]
