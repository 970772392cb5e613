"""Who may do what: roles, bans, and a log of everything that moderators do.

A moderator acts on one community, the operator on all. Roles come from three sides and the highest counts: what the
platform said of the person where they ask, what was granted to them here, and the operators setting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from bot import messages
from bot.chat import Place, Requester, Role
from bot.clock import Clock, SystemClock
from bot.errors import BannedError, NotAllowedError, NotFoundError
from bot.store import Store
from bot.store.rows import EVERYWHERE, AuditEntry, Ban, Known, Quarantined


class Moderation:
    """Every check is made by scope, at the time of asking."""

    def __init__(self, store: Store, *, operators: Iterable[str] = (), clock: Clock | None = None) -> None:
        self._people = store.people
        self._quarantine = store.quarantine
        self._operators = frozenset(operators)
        self._clock = clock or SystemClock()

    async def role_of(self, requester: Requester, place: Place) -> Role:
        """The person's role in the community where they ask."""
        granted = await self._granted(requester.key, place.scope)
        return max(requester.role, granted, key=list(Role).index)

    async def require(self, requester: Requester, place: Place, needed: Role, command: str) -> None:
        """Let through only who has that role here.

        Raises:
            NotAllowedError: the role doesn't reach; the sentence names the command.
        """
        if not (await self.role_of(requester, place)).reaches(needed):
            raise NotAllowedError(messages.say(f"role.{needed}", requester.locale, command=command))

    async def refuse_banned(self, requester: Requester, place: Place) -> None:
        """Let through who may ask here.

        Raises:
            BannedError: a ban holds; the sentence gives its reason and its end.
        """
        if requester.role is Role.OPERATOR or requester.key in self._operators:
            return
        now = self._clock.now()
        ban = await self._people.ban_of(requester.key, place.scope, now=now)
        if ban is not None:
            left = None if ban.until is None else ban.until - now
            raise BannedError(messages.banned(ban.reason, left, requester.locale))

    async def ban(
        self, actor: Requester, place: Place, person: str, *, reason: str = "", seconds: float | None = None
    ) -> Ban:
        """Ban `platform:id` from the place's community, for good when `seconds` is None.

        Raises:
            NotAllowedError: the actor is no moderator here, or the person is one or the operator.
        """
        await self.require(actor, place, Role.MODERATOR, "/ban")
        role = await self._granted(person, place.scope)
        if role is Role.OPERATOR or (role is Role.MODERATOR and not await self._is_operator(actor, place)):
            raise NotAllowedError(messages.say("ban.protected", actor.locale, person=person))
        return await self._ban(actor, person, place.scope, reason, seconds)

    async def ban_everywhere(
        self, actor: Requester, place: Place, person: str, *, reason: str = "", seconds: float | None = None
    ) -> Ban:
        """Ban `platform:id` from every community; the operator's alone.

        Raises:
            NotAllowedError: the actor is not the operator, or the person is.
        """
        await self._require_operator(actor, place)
        if person in self._operators:
            raise NotAllowedError(messages.say("ban.protected", actor.locale, person=person))
        return await self._ban(actor, person, EVERYWHERE, reason, seconds)

    async def unban(self, actor: Requester, place: Place, person: str) -> None:
        """Lift the ban of `platform:id` from the place's community.

        Raises:
            NotAllowedError: the actor is no moderator here.
            NotFoundError: there is no such ban.
        """
        await self.require(actor, place, Role.MODERATOR, "/unban")
        await self._unban(actor, person, place.scope)

    async def unban_everywhere(self, actor: Requester, place: Place, person: str) -> None:
        """Lift the ban of `platform:id` from every community; the operator's alone.

        Raises:
            NotAllowedError: the actor is not the operator.
            NotFoundError: there is no such ban.
        """
        await self._require_operator(actor, place)
        await self._unban(actor, person, EVERYWHERE)

    async def bans(self, actor: Requester, place: Place) -> tuple[Ban, ...]:
        """Bans that hold in the place's community, for its moderators.

        Raises:
            NotAllowedError: the actor is no moderator here.
        """
        await self.require(actor, place, Role.MODERATOR, "/bans")
        return await self._people.bans(place.scope, now=self._clock.now())

    async def grant(self, actor: Requester, place: Place, person: str) -> None:
        """Make `platform:id` a moderator of the place's community.

        Only whom the platform itself calls a moderator, or the operator, may appoint: moderators appointed here
        can't appoint others.

        Raises:
            NotAllowedError: the actor may not appoint.
        """
        self._require_appointer(actor, "/grant")
        await self._people.grant(person, Role.MODERATOR, self._entry(actor, "grant", person, place.scope, "moderator"))

    async def revoke(self, actor: Requester, place: Place, person: str) -> None:
        """Take back what `grant` gave.

        Raises:
            NotAllowedError: the actor may not appoint.
            NotFoundError: the person was not appointed here.
        """
        self._require_appointer(actor, "/revoke")
        entry = self._entry(actor, "revoke", person, place.scope, "moderator")
        if not await self._people.revoke(person, entry):
            raise NotFoundError(messages.say("role.absent", actor.locale, person=person))

    async def audit(
        self, actor: Requester, place: Place, *, limit: int = 20, offset: int = 0
    ) -> tuple[AuditEntry, ...]:
        """What was done in the place's community, the latest first, for its moderators.

        Raises:
            NotAllowedError: the actor is no moderator here.
        """
        await self.require(actor, place, Role.MODERATOR, "/audit")
        return await self._people.audit(place.scope, limit=limit, offset=offset)

    async def quarantine(self, actor: Requester, place: Place, picture: Known, *, everywhere: bool) -> None:
        """Let nobody in the place's community have a picture, or nobody anywhere; the caller checks who may."""
        scope = EVERYWHERE if everywhere else place.scope
        held = Quarantined(
            key=picture.key,
            scope=scope,
            owner=picture.owner,
            prompt=picture.prompt,
            actor=actor.key,
            created=self._clock.now(),
        )
        await self._quarantine.put(held, self._entry(actor, "quarantine", picture.key, place.scope))

    async def drawn(self, prefix: str, scope: str | None) -> Known | None:
        """The picture drawn in a scope whose key begins so, if it is only one; None as the scope is everywhere."""
        found = await self._quarantine.find(prefix, scope)
        return found[0] if len(found) == 1 else None

    async def quarantined(self, scope: str | None, *, limit: int = 20) -> tuple[Quarantined, ...]:
        """Pictures that are withheld in a scope, the latest first; None is everywhere."""
        return await self._quarantine.list(scope, limit=limit)

    async def withholds(self, place: Place, *keys: str) -> bool:
        """Whether a picture with one of these keys is withheld in the place's community."""
        return await self._quarantine.holds(place.scope, *keys)

    async def release(self, actor: Requester, place: Place, key: str, scope: str | None) -> int:
        """Let a picture go again, named by its key or the beginning of it; returns how many keys that was.

        Raises:
            NotFoundError: nothing of that scope is withheld under it.
        """
        released = await self._quarantine.release(key, scope, self._entry(actor, "release", key, place.scope))
        if not released:
            raise NotFoundError(messages.say("cache.not_withheld", actor.locale, given=messages.quote(key)))
        return released

    async def record(self, actor: Requester, action: str, target: str, scope: str, detail: str = "") -> None:
        """Write down something a moderator did that has no method here, such as deleting a picture."""
        await self._people.log(self._entry(actor, action, target, scope, detail))

    async def _granted(self, person: str, scope: str) -> Role:
        return Role.OPERATOR if person in self._operators else await self._people.role(person, scope)

    async def _is_operator(self, actor: Requester, place: Place) -> bool:
        return await self.role_of(actor, place) is Role.OPERATOR

    async def _require_operator(self, actor: Requester, place: Place) -> None:
        if not await self._is_operator(actor, place):
            raise NotAllowedError(messages.say("role.scope", actor.locale))

    def _require_appointer(self, actor: Requester, command: str) -> None:
        if not (actor.role.reaches(Role.MODERATOR) or actor.key in self._operators):
            raise NotAllowedError(messages.say("role.appoint", actor.locale, command=command))

    async def _ban(self, actor: Requester, person: str, scope: str, reason: str, seconds: float | None) -> Ban:
        now = self._clock.now()
        until = None if seconds is None or math.isinf(seconds) else now + seconds
        ban = Ban(person=person, scope=scope, reason=reason, until=until, actor=actor.key, created=now)
        await self._people.ban(ban, self._entry(actor, "ban", person, scope, reason))
        return ban

    async def _unban(self, actor: Requester, person: str, scope: str) -> None:
        if not await self._people.unban(person, scope, self._entry(actor, "unban", person, scope)):
            raise NotFoundError(messages.say("ban.absent", actor.locale, person=person))

    def _entry(self, actor: Requester, action: str, target: str, scope: str, detail: str = "") -> AuditEntry:
        return AuditEntry(
            created=self._clock.now(), actor=actor.key, action=action, target=target, scope=scope, detail=detail
        )
