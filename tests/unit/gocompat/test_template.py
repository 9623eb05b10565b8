from __future__ import annotations

from typing import Any

import pytest

from bellcow.gocompat.template import render
from bellcow.gocompat.template_values import TemplateError

DATA: dict[str, Any] = {
    "A": {"B": "x", "N": 5},
    "L": [{"n": 1}, {"n": 2}],
    "M": {"k": "v", "j": "w"},
    "Empty": [],
    "Nothing": None,
    "Yes": True,
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("{{.A.B}}", "x"),
        ("{{ .A.B }}", "x"),
        ("{{range .L}}{{.n}},{{end}}", "1,2,"),
        ("{{range .Empty}}a{{else}}none{{end}}", "none"),
        ("{{range $i, $e := .L}}{{$i}}={{$e.n}} {{end}}", "0=1 1=2 "),
        ("{{range $e := .L}}{{$e.n}}{{end}}", "12"),
        ("{{range .M}}{{.}}{{end}}", "wv"),
        ("{{range $k, $v := .M}}{{$k}}{{$v}} {{end}}", "jw kv "),
        ("{{range .L}}{{$.A.B}}{{end}}", "xx"),
        ("{{if eq .A.N 5}}five{{else}}no{{end}}", "five"),
        ("{{if .Nothing}}a{{else if .Yes}}b{{else}}c{{end}}", "b"),
        ("{{with .A}}{{.B}}{{else}}none{{end}}", "x"),
        ("{{with .Empty}}a{{else}}none{{end}}", "none"),
        ('{{index .M "k"}}{{index .M "absent"}}', "v"),
        ("{{index .L 1}}", "map[n:2]"),
        ("{{(index .L 1).n}}", "2"),
        ("{{len .L}} {{.L | len}}", "2 2"),
        (
            '{{printf "%05d %q %-3s|%v %%" .A.N .A.B .A.B .L}}',
            '00005 "x" x  |[map[n:1] map[n:2]] %',
        ),
        ('{{"a\\tb\\u0041"}}{{`raw\\n`}}', "a\tbAraw\\n"),
        ("a {{- .A.B -}} b", "axb"),
        ("a{{/* a remark */}}b", "ab"),
        ("{{$x := .A}}{{$x.B}}{{$x = 3}}{{$x}}", "x3"),
        ("{{.A | json}}", '{"B":"x","N":5}'),
        ('{{and .Yes .A.B}} {{or "" "d"}} {{not .Yes}}', "x d false"),
        ("{{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 2}}", "true true true false true"),
        ("{{.Nothing}}", "<no value>"),
        ("{{print .Yes 1.5 2.0}}", "true1.52"),
        ("{{eq .A.N 1 5}}", "true"),
    ],
)
def test_a_template_renders_its_text(source: str, text: str) -> None:
    assert render(source, DATA) == text


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (
            "{{.Nope}}",
            'template: format:1:2: executing "format" at <.Nope>: can\'t evaluate field Nope',
        ),
        (
            "{{.nope.Name}}",
            'template: format:1:7: executing "format" at <.nope.Name>: can\'t evaluate field nope',
        ),
        (
            "é\n{{.A.Nope}}",
            'template: format:2:4: executing "format" at <.A.Nope>: can\'t evaluate field Nope',
        ),
        ("{{nope}}", 'template: format:1: function "nope" not defined'),
        ("{{", "template: format:1: unclosed action"),
        ("{{range .L}}", "template: format:1: unexpected EOF in range"),
        ("{{end}}", "template: format:1: unexpected {{end}}"),
        ("{{}}", "template: format:1: missing value for command"),
        ("{{.A.B .A.N}}", "template: format:1: can't give argument to non-function .A"),
        ("{{$y}}", 'template: format: undefined variable "$y"'),
        ("{{(.A}}", "template: format:1: unclosed left paren"),
        ("{{.A ?}}", 'template: format:1: unexpected "?" in command'),
        ("{{if .A}}{{else range}}{{end}}", 'template: format:1: unexpected "range" in else clause'),
        ("{{index .L 9}}", 'template: format:1:2: executing "format" at <index>: error calling'),
        ("{{len 5}}", 'template: format:1:2: executing "format" at <len>: error calling len'),
        ('{{range "x"}}{{end}}', "template: format: range can't iterate over x"),
        ('{{printf "%99999d" 1}}', "template: format:1:2: executing"),
    ],
)
def test_a_bad_template_is_refused_with_position_and_reason(source: str, error: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(source, DATA, "*api.Thing")
    assert str(caught.value).startswith(error)


def test_a_template_cannot_nest_without_end() -> None:
    with pytest.raises(TemplateError, match="too deeply nested"):
        render("{{if 1}}" * 5000 + "{{end}}" * 5000, {})


def test_the_output_of_a_template_is_bounded() -> None:
    source = "{{range 1000}}{{range 1000}}" + "x" * 100 + "{{end}}{{end}}"
    with pytest.raises(TemplateError, match="larger than 16 MiB"):
        render(source, {})


def test_the_type_is_named_for_the_top_object_only() -> None:
    with pytest.raises(TemplateError, match=r"field Nope in type \*api\.Thing$"):
        render("{{.Nope}}", DATA, "*api.Thing")
    with pytest.raises(TemplateError, match=r"field Nope$"):
        render("{{.A.Nope}}", DATA, "*api.Thing")
