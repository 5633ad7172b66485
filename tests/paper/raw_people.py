"""How single sessions go and who begins them, from the raw sessions."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from math import sqrt
from statistics import NormalDist, median, quantiles

from tests.paper.raw_numbers import HOUR, Piece, Raw, cut, of_team

WEEK = timedelta(days=7)


def quantile(values: list[float], percent: int) -> float:
    """Between the two nearest values, linearly."""
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]


class Sessions:
    """The sessions of a month of the lab, or those that are certainly of a team.

    The list of sessions tells the team of automated ones only; one by hand is of a team if its user is in no other.
    """

    def __init__(self, raw: Raw, team: str | None = None) -> None:
        self.raw, self.team = raw, team
        teams: dict[str, set[str]] = defaultdict(set)
        for month in raw.months:
            for piece in raw.pieces[month]:
                if piece.session.email and piece.session.team:
                    teams[piece.session.email].add(piece.session.team)
        self.only = {email: next(iter(names)) for email, names in teams.items() if len(names) == 1}
        self.all = raw.pieces[raw.month]
        self.own = [p for p in self.all if team is None or self.known_team(p) == team]

    def known_team(self, piece: Piece) -> str | None:
        session = piece.session
        return session.team if session.automated else self.only.get(session.email or "")

    def coverage(self) -> float:
        """Known hours by hand of the team, over all of them."""
        true = self.raw.seconds(self.raw.month, lambda s: s.team == self.team and not s.automated)
        return sum(p.end - p.start for p in self.own if not p.session.automated) / true

    def lengths(self) -> dict[str, tuple[int, float, float, float, float, float]]:
        """Number, P50, P90, P99 (min), share under a minute, share over 8 h; of the parts in the month."""
        kinds = {"manual": [False], "automated": [True], "all": [False, True]}
        found = {}
        for kind, flags in kinds.items():
            spent = [p.end - p.start for p in self.own if p.session.automated in flags]
            levels = [quantile([s / 60 for s in spent], percent) for percent in (50, 90, 99)]
            short, long = (sum(map(test, spent)) / len(spent) for test in (_short, (8 * HOUR).__lt__))
            found[kind] = (len(spent), *levels, short, long)
        return found

    def mix(self) -> list[tuple[int, float, float]]:
        """Number, share and hours of the sessions under 1, 10 and 30 min, up to 120, and above."""
        rows = [[0, 0] for _ in range(5)]
        for piece in self.own:
            spent = piece.end - piece.start
            place = 4 if spent > 7200 else sum(spent >= border for border in (60, 600, 1800))
            rows[place][0] += 1
            rows[place][1] += spent
        return [(count, count / len(self.own), spent / HOUR) for count, spent in rows]

    # Holds and spikes

    @cached_property
    def holds(self) -> tuple[list[tuple[str, int, int, float, float]], float]:
        """Long or overnight sessions by hand: device, start, end, hours, hold hours; and all hours by hand."""
        manual = [p for p in self.own if not p.session.automated]
        usual = quantile([p.session.end - p.session.start for p in manual], 95)
        found = []
        for piece in manual:
            session = piece.session
            if session.end - session.start > 4 * HOUR or self._overnight(piece):
                hold = max(0.0, piece.end - max(piece.start, session.start + usual)) / HOUR
                hours = (piece.end - piece.start) / HOUR
                found.append((session.device, piece.start, piece.end, hours, hold))
        found.sort(key=lambda row: (-row[4], row[1], row[0]))
        return found, sum(p.end - p.start for p in manual) / HOUR

    def _overnight(self, piece: Piece) -> bool:
        day = datetime.fromtimestamp(piece.start, self.raw.zone).date()
        last = datetime.fromtimestamp(self.raw.borders[-1] - 1, self.raw.zone).date()
        while day <= last:
            night = [datetime.combine(day, time(h), self.raw.zone).timestamp() for h in (0, 6)]
            if piece.session.start <= night[0]:
                return piece.session.end >= night[1]
            day += timedelta(days=1)
        return False

    def spikes(self) -> list[tuple[int, int, float]]:
        """Lengths within 2 s of which lie over 5 % of the sessions, five at least: seconds, sessions, share.

        Also three times as many as in the five seconds below or above, of all sessions.
        """
        every = Counter(p.session.end - p.session.start for p in self.own)
        left = every.copy()
        found = []
        while len(self.own) >= 20 and left:
            near = {s: sum(left[s + d] for d in range(-2, 3)) for s in left}
            found_now = [
                s
                for s in left
                if 20 * near[s] > len(self.own)
                and near[s] >= 5
                and all(near[s] >= 3 * sum(every[s + side * d] for d in range(3, 8)) for side in (-1, 1))
            ]
            if not found_now:
                break
            best = max(found_now, key=lambda s: (near[s], left[s], -s))
            found.append((best, near[best], near[best] / len(self.own)))
            for second in range(best - 2, best + 3):
                left.pop(second, None)
        return found

    # False starts

    def false_starts(self) -> tuple[int, int, int]:
        """Sessions, those under 60 s, and bursts of three by one user in 10 min."""
        short = [p.session for p in self.own if _short(p.session.end - p.session.start)]
        by_user: dict[tuple[bool, str], list[int]] = defaultdict(list)
        for session in sorted(short):
            name = session.team if session.automated else session.email
            if name:
                by_user[session.automated, name].append(session.start)
        bursts = 0
        for starts in by_user.values():
            last = -1  # the last session of a burst, by its place
            for place in range(len(starts) - 2):
                if starts[place + 2] - starts[place] <= 600:
                    bursts += place > last
                    last = place + 2
        return len(self.own), len(short), bursts

    def suspects(self) -> list[tuple[str, int, int, float, float]]:
        """Devices whose false starts surely exceed twice the rate of the fleet: address, sessions, false, lower, fleet."""
        sessions = Counter(p.session.device for p in self.all)
        false = Counter(p.session.device for p in self.all if _short(p.session.end - p.session.start))
        fleet = false.total() / sessions.total()
        z = NormalDist().inv_cdf(0.975)
        found = []
        for device, n in sessions.items():
            p = false[device] / n
            lower = (p + z * z / 2 / n - z * sqrt(p * (1 - p) / n + z * z / 4 / n / n)) / (1 + z * z / n)
            if n >= 20 and lower > 2 * fleet:
                found.append((device, n, false[device], lower, fleet))
        return sorted(found, key=lambda row: (-row[3], row[0]))

    # People

    def active(self) -> dict[str, set[str]]:
        """The emails with a session, by month."""
        scope = of_team(self.team)
        return {
            m: {p.session.email for p in self.raw.pieces[m] if p.session.email and scope(p.session)}
            for m in self.raw.months
        }

    def flow(self) -> dict[str, int]:
        """New, returning, revived and lapsed users, and how many of the 12 months before had any."""
        by_month = self.active()
        *earlier, before, now = by_month.values()
        seen = set().union(*earlier)
        return {
            "active": len(now),
            "new": len(now - seen - before),
            "returning": len(now & before),
            "revived": len(now & seen - before),
            "lapsed": len((earlier[-1] & before) - now),
            "known_months": sum(map(bool, [*earlier, before])),
        }

    def regulars(self) -> tuple[int, list[int], int]:
        """Users who began in the last three months; after how many weeks those who are regular were; the others seen."""
        by_month = list(self.active().values())
        starters = set().union(*by_month[-3:]) - set().union(*by_month[:-3])
        weeks: dict[str, set[date]] = defaultdict(set)
        for session in self.raw.sessions:
            if session.email in starters and not session.automated and self._told(session.email):
                piece = cut(session, self.raw.borders[-4], self.raw.borders[-1])
                weeks[session.email] |= self._weeks(piece) if piece else set()
        waits = [
            next(((week - min(seen)) // WEEK for week in sorted(seen) if week + WEEK in seen), None)
            for seen in weeks.values()
            if seen
        ]
        known = [wait for wait in waits if wait is not None]
        return len(starters), known, len(waits) - len(known)

    def _told(self, email: str) -> bool:
        """Whether the sessions by hand of a user are surely of the team."""
        return self.team is None or self.only.get(email) == self.team

    def _weeks(self, piece: Piece) -> set[date]:
        first, last = (
            datetime.fromtimestamp(at, UTC).astimezone(self.raw.zone).date()
            for at in (piece.start, max(piece.start, piece.end - 1))
        )
        mondays = [day - timedelta(days=day.weekday()) for day in (first, last)]
        return {mondays[0] + n * WEEK for n in range((mondays[1] - mondays[0]) // WEEK + 1)}


def weeks_median(waits: list[int]) -> float | None:
    return float(median(waits)) if waits else None


def _short(seconds: int) -> bool:
    return seconds < 60
