"""Who is at the page: accounts with passwords, and guests where the operator allows them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from bot import messages
from bot.chat import Place, Requester, Role
from bot.clock import utc_day
from bot.errors import BadInputError, LimitError, NotFoundError
from bot.store.web_accounts import WebAccount, WebAccountTable
from engine.types import Value

log = structlog.get_logger("bot.adapters.web")

PLATFORM = "web"
MEMBERS = "local"
"""The community of all accounts."""
GUESTS = "guests"
"""The community of all guests: it shares no cache with the accounts, and the operator can set it limits of its own."""
GUEST_PREFIX = "guest-"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
MIN_PASSWORD, MAX_PASSWORD = 10, 200
"""Characters; the upper bound keeps a stranger from having megabytes hashed."""
TRIES, TRIES_FROM_ADDRESS, TRIES_OF_NAME = 5, 30, 100
"""Failed sign-ins to one account from one address, from one address, and to one account, before they have to wait.

The last is generous: nobody should be able to keep somebody else out.
"""
TRY_SECONDS = 600.0
REMEMBERED = 10_000
"""Accounts and addresses whose failures are counted at once."""
HASHING_AT_ONCE = 2
"""Each takes 64 MiB."""
SESSION_SECONDS = 14 * 86_400
"""From signing in until the password is asked for again."""


class Visitor(Value):
    """Somebody at the page, as the rest of Easel sees them. Everybody has a channel of their own: nobody looks on."""

    requester: Requester
    place: Place
    address: str = ""
    """Where their requests come from."""
    since: float | None = None
    """When their account was made; an earlier one of the same name was somebody else's."""

    @property
    def is_guest(self) -> bool:
        """Whether they have no account."""
        return self.place.workspace == GUESTS

    @property
    def payer(self) -> str:
        """Whom requests are counted to: the account, or a guest's network, since guests are as many as they like."""
        return f"{GUEST_PREFIX}{network(self.address)}" if self.is_guest else self.requester.key


def member(account: WebAccount, locale: str, address: str = "") -> Visitor:
    """The person who signed in to this account."""
    visitor = _visitor(account.name, MEMBERS, account.role, locale, address)
    return visitor.model_copy(update={"since": account.created})


def guest(token: str, locale: str, address: str = "") -> Visitor:
    """Somebody without an account, known by their session alone."""
    return _visitor(GUEST_PREFIX + token, GUESTS, Role.MEMBER, locale, address)


def _visitor(name: str, community: str, role: Role, locale: str, address: str) -> Visitor:
    return Visitor(
        requester=Requester(platform=PLATFORM, id=name, name=name, role=role, locale=locale),
        place=Place(platform=PLATFORM, workspace=community, channel=name),
        address=address,
    )


class Failures:
    """Failed sign-ins of the last minutes, by account and by address; the oldest are forgotten first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    def wait(self, name: str, address: str) -> float:
        """Seconds until this account may be tried from this address again; 0 is now."""
        return max(self._wait(key, tries) for key, tries in _limits(name, address).items())

    def note(self, name: str, address: str) -> None:
        """A sign-in is tried, and failed unless `forget` says otherwise."""
        for key, tries in _limits(name, address).items():
            self._times[key] = [*self._recent(key), self._clock()][-tries:]
            self._times.move_to_end(key)
        while len(self._times) > REMEMBERED:
            self._times.popitem(last=False)

    def forget(self, name: str, address: str) -> None:
        """The last one has succeeded, and with it the others from there are forgiven."""
        for key in _limits(name, address):
            self._times[key] = self._times.get(key, [])[:-1]
        self._times.pop((name, address), None)

    def _recent(self, key: tuple[str, str]) -> list[float]:
        return [moment for moment in self._times.get(key, ()) if self._clock() - moment < TRY_SECONDS]

    def _wait(self, key: tuple[str, str], tries: int) -> float:
        recent = self._recent(key)
        return recent[-tries] + TRY_SECONDS - self._clock() if len(recent) >= tries else 0.0


def _limits(name: str, address: str) -> dict[tuple[str, str], int]:
    """What tries are counted by, and how many are allowed."""
    return {(name, address): TRIES, ("", address): TRIES_FROM_ADDRESS, (name, ""): TRIES_OF_NAME}


class People:
    """Accounts, and the quota of guests."""

    def __init__(
        self,
        table: WebAccountTable,
        *,
        hasher: PasswordHasher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._hasher = hasher or PasswordHasher()
        self._clock = clock
        self._failures = Failures()
        self._hashing = asyncio.Semaphore(HASHING_AT_ONCE)
        self._nobody: str | None = None
        self._secret: str | None = None

    async def add(self, name: str, password: str, role: Role) -> WebAccount:
        """Make an account.

        Raises:
            BadInputError: the name is taken, unsuitable or was somebody's whose history is kept, or the password is
                too short or too long.
        """
        known = _known(name)
        if not NAME.fullmatch(known) or known.startswith(GUEST_PREFIX):
            raise BadInputError(messages.say("web_account.bad_name", given=messages.quote(name)))
        if await self._table.has_left(known, _person(known).key):
            raise BadInputError(messages.say("web_account.history_kept", name=known))
        hashed = await self._hash(checked(password))
        account = WebAccount(name=known, password=hashed, role=role, version=_new_version(), created=self._clock())
        if not await self._table.add(account, _person(known).key):
            raise BadInputError(messages.say("web_account.taken", name=known))
        return account

    async def set_password(self, name: str, password: str) -> None:
        """Change a password, which ends every session of the account.

        Raises:
            BadInputError: it is too short or too long.
            NotFoundError: there is no such account.
        """
        hashed = await self._hash(checked(password))
        if not await self._table.set_password(_known(name), hashed, _new_version()):
            raise NotFoundError(messages.say("web_account.unknown", name=messages.quote(name)))

    async def remove(self, name: str, *, or_left: bool = False) -> Requester:
        """Remove an account, which ends its sessions, and the roles that were granted to it; returns whose it was.

        With `or_left`, the history that an account removed before has left will do.

        Raises:
            NotFoundError: there is none.
        """
        known, person = _known(name), _person(_known(name))
        removed = await self._table.remove(known, person.key)
        if not removed and not (or_left and await self._table.has_left(known, person.key)):
            raise NotFoundError(messages.say("web_account.unknown", name=messages.quote(name)))
        return person

    async def all(self) -> tuple[WebAccount, ...]:
        """Every account, by name."""
        return await self._table.all()

    async def sign_in(self, name: str, password: str, address: str, locale: str) -> WebAccount:
        """The account that the password opens. An unknown name takes as long as a wrong password.

        Raises:
            LimitError: too many sign-ins have failed.
            BadInputError: name or password is wrong; the sentence doesn't say which.
        """
        known, here = _known(name)[:64], network(address)
        if wait := self._failures.wait(known, here):
            raise LimitError(
                messages.say("web_account.too_many_tries", locale, duration=messages.duration(wait, locale))
            )
        # Counted before the hash is compared, so that many tries at once are no way around the limit.
        self._failures.note(known, here)
        account = await self._table.get(known) if NAME.fullmatch(known) else None
        given = password[: MAX_PASSWORD + 1]
        if not await self._matches(account.password if account else await self._hash_of_nobody(), given) or not account:
            # What is no account's name may be a password that was typed into the wrong field.
            log.warning("sign-in failed", account=account.name if account else None, address=address)
            raise BadInputError(messages.say("web_account.wrong", locale))
        log.info("signed in", account=account.name, address=address)
        self._failures.forget(known, here)
        await self._renew(account, given)
        return account

    async def of_session(self, name: str, version: str, session: str) -> WebAccount | None:
        """The account of a session, unless that was signed out or the account or its password has changed since."""
        account = await self._table.of_session(name, session)
        return account if account and hmac.compare_digest(account.version, version) else None

    async def sign_out(self, session: str) -> None:
        """End a session for every copy of its cookie."""
        now = self._clock()
        await self._table.sign_out(session, now=now, until=now + SESSION_SECONDS)

    async def secret(self) -> str:
        """What cookies are signed with: the same after a restart."""
        if self._secret is None:
            self._secret = await self._table.secret("session", secrets.token_urlsafe(32))
        return self._secret

    async def charge_guest(self, address: str, pictures: int, limit: int, locale: str) -> None:
        """Count pictures to a guest's address.

        Raises:
            LimitError: that would be more than the day's.
        """
        if not await self._table.charge_guest(await self._keyed(address), utc_day(self._clock()), pictures, limit):
            raise LimitError(messages.say("web_account.guest_limit", locale, limit=limit))

    async def refund_guest(self, address: str, pictures: int) -> None:
        """Give pictures back that were counted to a guest's address, but never became a job."""
        await self._table.refund_guest(await self._keyed(address), utc_day(self._clock()), pictures)

    async def _keyed(self, address: str) -> str:
        """A keyed hash of the network that an address stands for: nobody's address is written down."""
        key = (await self.secret()).encode()[:64]
        return hashlib.blake2b(network(address).encode(), key=key, digest_size=16).hexdigest()

    async def _renew(self, account: WebAccount, password: str) -> None:
        """Hash with today's parameters what was hashed with weaker ones."""
        if self._hasher.check_needs_rehash(account.password):
            await self._table.set_password(account.name, await self._hash(password), account.version)

    async def _hash(self, password: str) -> str:
        async with self._hashing:
            return await asyncio.to_thread(self._hasher.hash, _encoded(password))

    async def _matches(self, hashed: str, password: str) -> bool:
        async with self._hashing:
            try:
                return await asyncio.to_thread(self._hasher.verify, hashed, _encoded(password))
            except (VerificationError, InvalidHashError):
                return False

    async def _hash_of_nobody(self) -> str:
        if self._nobody is None:
            self._nobody = await self._hash(secrets.token_urlsafe(32))
        return self._nobody


def checked(password: str) -> str:
    """A password that is long enough, and not too long.

    Raises:
        BadInputError: it isn't.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise BadInputError(messages.say("web_account.bad_password", low=MIN_PASSWORD, high=MAX_PASSWORD))
    return password


def network(address: str) -> str:
    """What stands for one person: an IPv4 address, or the /64 network that an IPv6 address is chosen from."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _known(name: str) -> str:
    """An account's name as it is stored."""
    return name.strip().casefold()


def _person(name: str) -> Requester:
    """Who an account's owner is in the rest of Easel."""
    return Requester(platform=PLATFORM, id=name, name=name)


def _encoded(password: str) -> bytes:
    """What is hashed: the same letters are the same bytes, whichever way a keyboard composes them."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _new_version() -> str:
    return secrets.token_hex(8)
