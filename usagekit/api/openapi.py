"""The OpenAPI 3.1 document of the server, built from the vocabulary so that the two cannot drift apart."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final
from zoneinfo import available_timezones

from usagekit.vocabulary import (
    BIN_SIZES,
    EVENT_CSV_HEADER,
    EVENT_KEYS,
    EVENTS_PATH,
    FILTER_KEYS,
    FORMATS,
    MAX_EVENT_DAYS,
    METRICS,
    OPTIONS,
    ROUTES,
    Route,
)

OPENAPI_PATH: Final = "/openapi.json"

_Json = dict[str, Any]

_YEAR, _MONTH, _DAY = "(19[7-9]|20[0-9]|21[0-9])[0-9]", "(0[1-9]|1[0-2])", "(0[1-9]|[12][0-9]|3[01])"

_OPTION_TEXTS: Final = {
    "display_all": "Also list members without usage: every known one in every bin, with 0.",
    "combine_phone_os": "Count phones as AndroidPhone or iPhone. Used by the devicemodel routes.",
    "group_by_device_id": "Make one row of a device on several hosts. Used by the device routes.",
    "include_user_notes": "Add the column notes. Used by the user routes.",
}
_FILTER_TEXTS: Final = {
    "device_address": "Only these devices, each as device_id@hostname.",
    "hostname": "Only devices at these hosts.",
    "team_name": "Only sessions of these teams.",
    "user_email": "Only sessions of users with these emails.",
}
_COLUMN_TEXTS: Final = {
    "datetime": "Start of the whole bin: YYYY-MM-DD, or YYYY-MM-DDTHH:MM:SS±HH:MM for hours.",
    "device_address": "device_id@hostname",
    "teams": "Names of the user's teams, sorted and joined by a comma and a space.",
    "unit": "Unit of the metric: hour, minute or N/A.",
    "duration": "Whole seconds.",
    "start_time": "YYYY-MM-DD HH:MM:SS in UTC.",
    "end_time": "YYYY-MM-DD HH:MM:SS in UTC.",
    "date": "YYYYMMDD of the start, in UTC.",
}
_NULLABLE: Final = ("notes", "user", "email", "team", "end_time", "duration")
_ERRORS: Final = {
    "400": "A parameter, key, value or Host is unknown or wrong, or the answer would be too large; "
    "the detail names what.",
    "401": "The token is missing or wrong.",
    "405": "The route answers GET only.",
    "408": "The request did not arrive in time.",
    "414": "The query string is longer than 64 KiB.",
    "431": "The request has too many headers, or too long ones.",
    "500": "The server failed.",
    "503": "The server has too much to do; Retry-After says when to come again.",
}
_BODY_TOO_LONG: Final = {"413": "The body is longer than 1 MiB."}
_SAME: Final = {"304": {"description": "The answer still has the ETag that If-None-Match names."}}


@lru_cache(maxsize=1)
def openapi_document() -> _Json:
    """The document as a JSON object; treat it as read-only."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Usage API",
            "version": version("usagekit"),
            "description": "Usage statistics of a device lab, computed from an event store.",
        },
        "security": [{"token": []}],
        "paths": {
            **{route.path: {"get": _usage_operation(route)} for route in ROUTES.values()},
            EVENTS_PATH: {"get": _events_operation()},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "parameters": {_component(parameter): parameter for parameter in _parameters()},
            "responses": {
                status: _error_response(text) for status, text in (_ERRORS | _BODY_TOO_LONG).items()
            },
            "schemas": {"Error": _error_schema()},
        },
    }


def _usage_operation(route: Route) -> _Json:
    by = " and ".join(route.columns)
    return {
        "operationId": "_".join(("usage", *route.by.split("/"))).rstrip("_"),
        "summary": f"A usage metric in time bins{', by ' + by if by else ' for the whole lab'}.",
        "parameters": [{"$ref": f"#/components/parameters/{_component(p)}"} for p in _parameters()],
        "responses": {
            "200": _rows_response(_usage_row(route), "Columns as in the JSON rows, in the same order."),
            **_SAME,
            **_error_refs(_ERRORS),
        },
    }


def _events_operation() -> _Json:
    dates = f"^({_YEAR}{_MONTH}{_DAY}|{_YEAR}/{_MONTH}/{_DAY})$"
    manual = _row(("user", "email", *EVENT_KEYS), required=("user", "email", *EVENT_KEYS))
    automated = _row(("team", *EVENT_KEYS), required=("team", *EVENT_KEYS))
    return {
        "operationId": "events",
        "summary": "The sessions that start in a range, one row each.",
        "description": f"Both dates are included; they may lie at most {MAX_EVENT_DAYS} days apart.",
        "requestBody": {
            "required": True,
            "description": "Read as JSON whatever its Content-Type says.",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["start_date"],
                        "additionalProperties": False,
                        "properties": {
                            "start_date": {"type": "string", "pattern": dates, "description": "UTC."},
                            "end_date": {
                                "type": "string",
                                "pattern": dates,
                                "description": "Default: today in UTC.",
                            },
                            "devices": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"type": "string"},
                                "description": "Device addresses. Default: all devices.",
                            },
                            "format": {"type": "string", "enum": list(FORMATS), "default": "json"},
                        },
                    }
                }
            },
        },
        "responses": {
            "200": _rows_response({"oneOf": [manual, automated]}, ",".join(EVENT_CSV_HEADER)),
            **_error_refs([*_ERRORS, *_BODY_TOO_LONG]),
        },
    }


@lru_cache(maxsize=1)
def _parameters() -> tuple[_Json, ...]:
    """Every parameter of the aggregation routes."""
    date = {"type": "string", "pattern": f"^{_YEAR}{_MONTH}{_DAY}$"}
    boolean = {"type": "boolean", "default": False}
    return (
        _parameter("start_date", "First date of the range, YYYYMMDD.", date) | {"required": True},
        _parameter("end_date", "Last date, included. Default: today in the time zone.", date),
        _parameter(
            "metric", "What is measured.", {"type": "string", "enum": list(METRICS), "default": "total_time"}
        ),
        _parameter(
            "bin_size", "Size of a time bin.", {"type": "string", "enum": list(BIN_SIZES), "default": "month"}
        ),
        _parameter(
            "timezone",
            "IANA name of the zone of dates and bins.",
            {"type": "string", "enum": _zones(), "default": "UTC"},
        ),
        _parameter(
            "format", "Dress of the answer.", {"type": "string", "enum": list(FORMATS), "default": "json"}
        ),
        _parameter(
            "automated", "Only automated or only manual sessions. Default: both.", {"type": "boolean"}
        ),
        *(_parameter(name, _OPTION_TEXTS[name], boolean) for name in OPTIONS),
        *(
            _parameter(f"filter_on.{key}", _FILTER_TEXTS[key], {"type": "array", "items": {"type": "string"}})
            for key in FILTER_KEYS
        ),
    )


def _zones() -> list[str]:
    return sorted(available_timezones() - {"localtime", "posixrules", "Factory"})


def _parameter(name: str, description: str, schema: _Json) -> _Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _component(parameter: _Json) -> str:
    return str(parameter["name"])


def _usage_row(route: Route) -> _Json:
    groups = ["device_address", "device_id"] if "device_address" in route.columns else []
    labels = ["datetime", *groups, *(c for c in route.columns if c not in groups), "unit"]
    if "include_user_notes" in route.options:
        labels.append("notes")
    required = ["datetime", *(c for c in route.columns if c not in groups), "unit"]
    row = _row(labels, required=required)
    # Exactly one metric a row: the one that was asked for.
    row["oneOf"] = [{"required": [name]} for name in METRICS]
    for metric in METRICS.values():
        kind: _Json = {"type": "integer", "minimum": 0} if metric.is_count else {"type": ["number", "null"]}
        row["properties"][metric.name] = kind | {"description": metric.label}
    return row


def _row(columns: Iterable[str], *, required: Iterable[str]) -> _Json:
    properties: _Json = {}
    for column in columns:
        kind = "integer" if column == "duration" else "string"
        properties[column] = {"type": [kind, "null"] if column in _NULLABLE else kind}
        if column in _COLUMN_TEXTS:
            properties[column]["description"] = _COLUMN_TEXTS[column]
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _rows_response(row: _Json, csv: str) -> _Json:
    report = {
        "type": "object",
        "required": ["report"],
        "properties": {"report": {"type": "array", "items": row}},
    }
    return {
        "description": "The rows, sorted by time.",
        "content": {
            "application/json": {"schema": report},
            "text/csv": {"schema": {"type": "string", "description": csv}},
        },
    }


def _error_refs(statuses: Iterable[str]) -> _Json:
    return {status: {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _error_response(description: str) -> _Json:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _error_schema() -> _Json:
    return {
        "type": "object",
        "required": ["status", "status_code", "detail"],
        "properties": {
            "status": {"type": "string", "examples": ["Bad Request"]},
            "status_code": {"type": "integer", "examples": [400]},
            "detail": {"type": "string", "description": "What is wrong, by name."},
        },
    }
