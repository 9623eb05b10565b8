"""The document is the route table, written out."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import msgspec
import pytest
import schemathesis

from bellcow.api import openapi
from bellcow.api.query import CAS
from bellcow.api.routes import catalog

PAGE = Path(__file__).parents[3] / "docs" / "openapi.json"
DOCUMENTED = [route for route in catalog.routes() if route.documented]
OPERATIONS = [
    (path, method, operation)
    for path, methods in openapi.document()["paths"].items()
    for method, operation in methods.items()
]


def test_the_checked_in_document_is_current():
    hint = "run: make docs"
    assert PAGE.read_bytes() == openapi.encoded(), hint


def test_the_document_is_valid_and_holds_every_documented_route():
    schema = schemathesis.openapi.from_dict(msgspec.json.decode(PAGE.read_bytes()))
    schema.validate()
    found = {(each.ok().method.upper(), each.ok().path) for each in schema.get_all_operations()}
    assert found == {(route.method, route.path.removesuffix("*")) for route in DOCUMENTED}


def test_operations_have_names_of_their_own():
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(names) == len(set(names))


def test_every_reference_leads_to_something():
    text = PAGE.read_text("utf-8")
    document = msgspec.json.decode(text)
    for target in set(re.findall(r'"#/(components/\w+/\w+)"', text)):
        found = document
        for word in target.split("/"):
            found = found[word]
        assert found, target


def test_no_description_lists_exceptions():
    assert [name for name, _, operation in OPERATIONS if "Raises:" in str(operation)] == []


@pytest.mark.parametrize("module", sorted({route.handler.__module__ for route in DOCUMENTED}))
def test_every_parameter_that_a_handler_reads_is_named(module: str):
    source = Path(importlib.import_module(module).__file__).read_text("utf-8")
    by_name = r'\.(?:param|has|flag)\("(\w+)"|query\.get\("(\w+)"|_parsed\(call, "(\w+)"'
    read = {name for groups in re.findall(by_name, source) for name in groups if name}
    read |= {"id", "address"} if "query.get(by" in source else set()
    named = {
        name for route in DOCUMENTED if route.handler.__module__ == module for name in route.reads
    }
    assert named == read


def test_every_handler_that_compares_an_index_declares_the_parameter():
    for route in DOCUMENTED:
        reads = "call.cas" in inspect.getsource(route.handler)
        assert reads is (CAS in route.query), route.name


def test_the_lists_name_handlers_that_exist():
    handlers = {route.name for route in DOCUMENTED}
    lists = (openapi.UPLOADS, openapi.DOWNLOADS, openapi.ALSO_ANSWERS)
    assert {name for each in lists for name in each} <= handlers


def test_every_parameter_is_used_by_some_route():
    used = {name for route in DOCUMENTED for name in openapi.parameters(route)}
    assert used == set(openapi.PARAMETERS)


def test_a_duration_is_a_text_with_its_default():
    found = openapi.document()["components"]["schemas"]["AutopilotConfiguration"]
    threshold = found["properties"]["LastContactThreshold"]
    assert (threshold["type"], threshold["default"]) == ("string", "200ms")


def test_a_route_that_looks_at_no_token_asks_for_none():
    paths = openapi.document()["paths"]
    assert paths["/v1/status/leader"]["get"]["security"] == [{}]
    assert "403" not in paths["/v1/status/leader"]["get"]["responses"]
    assert {"token": []} in paths["/v1/operator/license"]["get"]["security"]


def test_an_optional_body_may_be_left_out_and_another_may_not():
    paths = openapi.document()["paths"]
    assert not paths["/v1/acl/bootstrap"]["put"]["requestBody"]["required"]
    assert paths["/v1/acl/token"]["put"]["requestBody"]["required"]


def test_a_type_without_a_schema_is_an_error():
    with pytest.raises(TypeError, match="no schema for"):
        openapi._schema(msgspec.inspect.type_info(complex), {})
