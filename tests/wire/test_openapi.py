"""The OpenAPI document: open to all, complete, and true of the answers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.wire.conftest import TOKEN, Served
from usagekit.api.openapi import openapi_document
from usagekit.query import UsageQuery
from usagekit.vocabulary import EVENTS_PATH, FILTER_KEYS, METRICS, ROUTES

AUTH = {"Authorization": f"Bearer {TOKEN}"}
REQUIRED = [("start_date", "20230301"), ("end_date", "20230331")]


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [r for value in node.values() for r in references(value)]
    return [r for value in node for r in references(value)] if isinstance(node, list) else []


def follow(reference: str) -> Any:
    node: Any = openapi_document()
    for name in reference.removeprefix("#/").split("/"):
        node = node[name]
    return node


def parameters() -> dict[str, dict[str, Any]]:
    return {p["name"]: p for p in openapi_document()["components"]["parameters"].values()}


def test_served_without_a_token(served: Served) -> None:
    """Anybody may read the document; it is OpenAPI 3.1 and holds the eleven routes."""
    answer = httpx.get(f"{served.base_url}/openapi.json")
    assert answer.json() == openapi_document()
    assert answer.json()["openapi"].startswith("3.1.")
    assert set(answer.json()["paths"]) == {EVENTS_PATH, *(route.path for route in ROUTES.values())}


def test_references_resolve() -> None:
    """Every reference inside the document leads somewhere, and every operation has its own id."""
    assert all(follow(reference) for reference in references(openapi_document()))
    ids = [path["get"]["operationId"] for path in openapi_document()["paths"].values()]
    assert len(set(ids)) == len(ids) == 11


def test_parameters_are_those_that_are_read() -> None:
    """Each listed value of each listed parameter is accepted by the reader, and what it may not be is not."""
    for name, parameter in parameters().items():
        schema = parameter["schema"]
        assert parameter["description"]
        if name in ("start_date", "end_date", "format"):
            continue
        for value in schema.get("enum", ["true", "false"] if schema["type"] == "boolean" else ["UTC"]):
            UsageQuery.from_params("", [*REQUIRED, (name, value)])
    assert {n for n in parameters() if n.startswith("filter_on.")} == {f"filter_on.{k}" for k in FILTER_KEYS}
    assert parameters()["start_date"]["required"]


def test_defaults_are_those_that_are_used() -> None:
    """A parameter given at its listed default asks the same question as none."""
    plain = UsageQuery.from_params("device", REQUIRED)
    defaults = {n: p["schema"]["default"] for n, p in parameters().items() if "default" in p["schema"]}
    assert len(defaults) == 8
    del defaults["format"]
    given = [
        (name, str(value).lower() if isinstance(value, bool) else value) for name, value in defaults.items()
    ]
    assert UsageQuery.from_params("device", [*REQUIRED, *given]) == plain


@pytest.mark.parametrize("by", ROUTES)
def test_usage_answers_fit_their_schema(served: Served, by: str) -> None:
    """Real answers, with every switch on and off, validate against the schema of their route."""
    path = ROUTES[by].path
    content = openapi_document()["paths"][path]["get"]["responses"]["200"]["content"]
    validator = Draft202012Validator(content["application/json"]["schema"])
    for metric in METRICS:
        for switch in ("false", "true"):
            options = dict.fromkeys(("display_all", "group_by_device_id", "include_user_notes"), switch)
            answer = httpx.get(
                served.base_url + path, params=[*REQUIRED, ("metric", metric), *options.items()], headers=AUTH
            )
            assert answer.json()["report"]
            validator.validate(answer.json())


def test_events_and_errors_fit_their_schema(served: Served) -> None:
    """Events validate as manual or automated rows, errors as the error schema, and a row without keys does not."""
    content = openapi_document()["paths"][EVENTS_PATH]["get"]["responses"]["200"]["content"]
    validator = Draft202012Validator(content["application/json"]["schema"])
    answer = httpx.request("GET", served.base_url + EVENTS_PATH, json=dict(REQUIRED), headers=AUTH)
    validator.validate(answer.json())
    assert not validator.is_valid({"report": [{"user": "x"}]})
    error = httpx.get(f"{served.base_url}/v1/usage", headers=AUTH)
    Draft202012Validator(follow("#/components/schemas/Error")).validate(error.json())
