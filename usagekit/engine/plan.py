"""A query as a plan over integer codes: which sessions count, what they are grouped by, who the members are.

A :class:`Group` turns the codes of the index into the codes of one dimension and those back into the
columns of a row. Everything here is small (members, not sessions); :mod:`usagekit.engine.local` runs it.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from usagekit.engine.store import Store
from usagekit.query import UsageQuery


@dataclass(frozen=True, slots=True)
class Group:
    """One dimension of a query.

    ``key`` is the column that the engine groups by, ``source`` the index column (device, person or team)
    that it is made from, ``mapping`` the group code of each code of the source (null: not in this route),
    ``labels`` a frame of ``code`` and the row's columns, and ``members`` the group codes that
    ``display_all`` shows.
    """

    key: str
    source: str
    mapping: pl.Series
    labels: pl.DataFrame
    members: pl.Series


@dataclass(frozen=True, slots=True)
class Plan:
    """What the engine needs of a query besides its bins.

    ``allowed`` are the codes that the filters let through, by index column; ``distinct`` is the index column
    and the code mapping whose distinct values the metric counts, if it counts any.
    """

    groups: tuple[Group, ...]
    allowed: dict[str, pl.Series]
    distinct: tuple[str, pl.Series] | None


def make_plan(store: Store, query: UsageQuery) -> Plan:
    """Plan a query over one version of a store."""
    members = _Members(store, query)
    parts = {"user/team": ["user"]}.get(query.by, query.by.split("/") if query.by else [])
    return Plan(
        groups=tuple(getattr(members, part)() for part in parts),
        allowed=members.allowed(),
        distinct=members.distinct(),
    )


def persons(store: Store) -> pl.DataFrame:
    """All known persons (email, user, person) with the name that a row shows; those of the index come first.

    The name is that of the users table where it lists the email, else the session's own.
    """
    users = _by_key(store.dimension("users"), "email").select("email", pl.col("user").alias("listed"))
    listed = users.with_columns(is_listed=pl.lit(value=True))
    coded = store.codes["person"].select("email", "user")
    fresh = listed.select("email").join(coded, on="email", how="anti")
    fresh = fresh.with_columns(user=pl.lit(None, dtype=pl.String))
    known = pl.concat([coded, fresh]).join(listed, on="email", how="left", maintain_order="left")
    name = pl.when(pl.col("is_listed")).then("listed").otherwise("user")
    return known.select("email", name.alias("user"), pl.int_range(pl.len(), dtype=pl.Int32).alias("person"))


class _Members:
    """The known members of every dimension, by the codes of the index.

    A member that only a dimension table knows gets a code behind those of the index: no session has it.
    """

    def __init__(self, store: Store, query: UsageQuery) -> None:
        self.store = store
        self.query = query
        self.filters = {key: pl.Series(values, dtype=pl.String) for key, values in query.filters}
        self.devices = self._devices()
        self.persons = persons(store)
        self.teams = _with_known(
            store.codes["team"], [store.dimension("teams"), store.dimension("memberships")]
        )

    def allowed(self) -> dict[str, pl.Series]:
        """Index codes that pass the filters, for each index column that is filtered."""
        codes = {}
        if {"device_address", "hostname"} & self.filters.keys():
            codes["device"] = self._allowed_devices()["device"]
        if (emails := self.filters.get("user_email")) is not None:
            codes["person"] = self.persons.filter(pl.col("email").is_in(emails.implode()))["person"]
        if (teams := self.filters.get("team_name")) is not None:
            codes["team"] = self.teams.filter(pl.col("team").is_in(teams.implode()))["code"]
        return codes

    def distinct(self) -> tuple[str, pl.Series] | None:
        """What the query's metric counts: an index column and what each of its codes counts as."""
        match self.query.metric:
            case "device_count":
                by = "device_id" if self.query.group_by_device_id else "address"
                return "device", _dense(self.devices[by])
            case "user_count":
                return "person", _dense(self.persons["email"])
            case "team_count":
                return "team", self.teams["code"]
        return None

    def device(self) -> Group:
        column = "device_id" if self.query.group_by_device_id else "device_address"
        names = self.devices["device_id" if self.query.group_by_device_id else "address"]
        return _group(names, column, self._allowed_devices()["device"])

    def host(self) -> Group:
        return _group(self.devices["hostname"], "hostname", self._allowed_devices()["device"])

    def country(self) -> Group:
        return _group(self.devices["country"], "country", self._allowed_devices()["device"])

    def devicemodel(self) -> Group:
        model = pl.col("model")
        if self.query.combine_phone_os:
            phone = pl.col("form_factor") == "phone"
            model = (
                pl.when(phone & (pl.col("os") == "Android"))
                .then(pl.lit("AndroidPhone"))
                .when(phone & (pl.col("os") == "iOS"))
                .then(pl.lit("iPhone"))
                .otherwise(model)
            )
        names = self.devices.select(model.alias("model"))["model"]
        return _group(names, "device_model", self._allowed_devices()["device"])

    def team(self) -> Group:
        allowed = self.teams
        if (names := self.filters.get("team_name")) is not None:
            allowed = allowed.filter(pl.col("team").is_in(names.implode()))
        if (emails := self.filters.get("user_email")) is not None:
            theirs = self.store.dimension("memberships").filter(pl.col("email").is_in(emails.implode()))[
                "team"
            ]
            allowed = allowed.filter(pl.col("team").is_in(theirs.implode()))
        return Group("team_key", "team", self.teams["code"], self.teams, allowed["code"])

    def user(self) -> Group:
        persons = self.persons.filter(pl.col("email").is_not_null())
        labels = persons.select("user", "email").unique(maintain_order=True).with_row_index("code")
        labels = labels.with_columns(pl.col("code").cast(pl.Int32))
        mapping = self.persons.join(
            labels, on=["user", "email"], how="left", nulls_equal=True, maintain_order="left"
        )
        allowed = labels
        if (emails := self.filters.get("user_email")) is not None:
            allowed = allowed.filter(pl.col("email").is_in(emails.implode()))
        memberships = self.store.dimension("memberships")
        if (teams := self.filters.get("team_name")) is not None:
            theirs = memberships.filter(pl.col("team").is_in(teams.implode()))["email"]
            allowed = allowed.filter(pl.col("email").is_in(theirs.implode()))
        if self.query.by == "user/team":
            teams_of = (
                memberships.drop_nulls()
                .unique()
                .sort("team")
                .group_by("email", maintain_order=True)
                .agg(pl.col("team").str.join(", ").alias("teams"))
            )
            labels = labels.join(teams_of, on="email", how="left").with_columns(pl.col("teams").fill_null(""))
        if self.query.include_user_notes:
            notes = _by_key(self.store.dimension("users"), "email").select("email", "notes")
            labels = labels.join(notes, on="email", how="left")
        return Group("user_key", "person", mapping["code"], labels, allowed["code"])

    def _allowed_devices(self) -> pl.DataFrame:
        """Known devices that the filters on devices and hosts let through."""
        devices = self.devices
        if (addresses := self.filters.get("device_address")) is not None:
            devices = devices.filter(pl.col("address").is_in(addresses.implode()))
        if (hosts := self.filters.get("hostname")) is not None:
            devices = devices.filter(pl.col("hostname").is_in(hosts.implode()))
        return devices

    def _devices(self) -> pl.DataFrame:
        """All known devices; those of the index come first, in the order of their codes.

        Hosts without a device are there as well, with a null device, so that they are known members.
        """
        key = ["device_id", "hostname"]
        table = self.store.dimension("devices").unique(key, keep="last", maintain_order=True)
        hosts = _by_key(self.store.dimension("hosts"), "hostname")
        coded = self.store.codes["device"]
        fresh = table.select(key).join(coded, on=key, how="anti", nulls_equal=True)
        bare = hosts.select("hostname").join(pl.concat([coded.select(key), fresh]), on="hostname", how="anti")
        devices = pl.concat([coded.select(key), fresh, bare], how="diagonal")
        return (
            devices.join(table, on=key, how="left", nulls_equal=True, maintain_order="left")
            .join(hosts, on="hostname", how="left", maintain_order="left")
            .with_columns(
                pl.int_range(pl.len(), dtype=pl.Int32).alias("device"),
                (pl.col("device_id") + "@" + pl.col("hostname")).alias("address"),
            )
        )


def _group(names: pl.Series, column: str, allowed: pl.Series) -> Group:
    """The group of a dimension that gives every device one name; a null name is in no group."""
    labels = pl.DataFrame({column: names}).drop_nulls().unique(maintain_order=True)
    labels = labels.with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias("code"))
    mapping = pl.DataFrame({column: names}).join(labels, on=column, how="left", maintain_order="left")["code"]
    return Group(f"{column}_key", "device", mapping, labels, mapping.gather(allowed).drop_nulls().unique())


def _dense(values: pl.Series) -> pl.Series:
    """Codes that are equal where the values are equal, null where they are null."""
    table = pl.DataFrame({"value": values})
    codes = table.drop_nulls().unique(maintain_order=True)
    codes = codes.with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias("code"))
    return table.join(codes, on="value", how="left", maintain_order="left")["code"]


def _by_key(table: pl.DataFrame, key: str) -> pl.DataFrame:
    return table.filter(pl.col(key).is_not_null()).unique(key, keep="last", maintain_order=True)


def _with_known(coded: pl.DataFrame, tables: list[pl.DataFrame]) -> pl.DataFrame:
    """Teams by code: those of the index first, then those that only a dimension table names."""
    names = pl.concat([coded["team"], *(t["team"] for t in tables)]).drop_nulls()
    return (
        pl.DataFrame({"team": names})
        .unique(maintain_order=True)
        .with_columns(pl.int_range(pl.len(), dtype=pl.Int32).alias("code"))
    )
