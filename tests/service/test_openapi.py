"""The OpenAPI document is complete: what travels is described, with examples that are valid."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from compilespan_service import schemas
from compilespan_service.app import create_app
from compilespan_service.schemas import examples
from compilespan_service.settings import Settings

DOCUMENT = create_app(Settings()).openapi()
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]


def without_none(value):
    if isinstance(value, dict):
        return {key: without_none(each) for key, each in value.items() if each is not None}
    return [without_none(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (schemas.Totals, examples.TOTALS),
        (schemas.Job, examples.JOB),
        (schemas.Compile, examples.COMPILE),
        (schemas.Start, examples.START),
        (schemas.Health, examples.HEALTH),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_an_example_is_valid_and_whole(model, example):
    made = TypeAdapter(model).validate_python(example)
    assert made.model_dump(mode="json", by_alias=True) == example
    (shown,) = DOCUMENT["components"]["schemas"][model.__name__]["examples"]
    assert shown == without_none(example)  # as FastAPI writes its document


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_every_answer_is_described(name, operation):
    assert operation["summary"]
    guarded = not name.endswith(("/livez", "/startupz", "/readyz"))
    assert ("401" in operation["responses"]) == guarded
    assert ("403" in operation["responses"]) == guarded
    for status, response in operation["responses"].items():
        assert response["description"], status
        for media_type, content in response.get("content", {}).items():
            if media_type == "application/problem+json":
                assert content["examples"], status
            elif media_type == "application/json" and "trace.json" not in name:
                schema = content["schema"]
                reference = (schema.get("items") or schema)["$ref"].rpartition("/")[2]
                assert DOCUMENT["components"]["schemas"][reference]["examples"], status
    assert "HTTPValidationError" not in str(operation)
