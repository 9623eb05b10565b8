"""Feeds damaged HCL and JSON to the reader, as a file of settings and as the rules of a policy.

python -m tests.fuzz.fuzz_hcl [SECONDS] [SEED]
"""

from __future__ import annotations

from tests.fuzz.mutation import Target, main

from bellcow.acl.policy import parse_rules, rules_json
from bellcow.acl.validation import validate_policy
from bellcow.gocompat import hcl
from bellcow.model.acl import ACLPolicy
from bellcow.wire import to_json

SAMPLES = (
    b'namespace "job-*" {\n  policy = "read"\n  capabilities = ["submit-job", "list-jobs"]\n}\n',
    b'operator { policy = "write" capabilities = ["snapshot-save"] }\nagent { policy = "deny" }\n',
    b'# a\n// b\n/* c */ node { policy = "read" } plugin { policy = "list" }',
    b'quota { policy = "read" }',
    b'host_volume "x" { policy = "write" }\nserver { enabled = true, n = -1.5e3 }\n',
    b'{"namespace": {"default": {"policy": "read"}}, "agent": [{"policy": "read"}]}',
    b'a = <<EOF\nsome\n  text\nEOF\nb = "${x(\\"y\\")}" c = 0x1F\n',
    b'd = 007 "e" = [1, "2", [3], {f = 4}]\n',
)
PIECES = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b"${",
    b"<<EOF\n",
    b"<<-EOF\n",
    b"EOF\n",
    b"/*",
    b"*/",
    b"#",
)
PIECES += (
    b"=",
    b",",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff",
    b"*",
    b"9" * 30,
    b"0x",
    b"\\u12",
)
PIECES += (b"{" * 120, b"[" * 120, b'{"a":' * 120, b'policy = "', b'namespace "')


def check(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    refusal: hcl.HCLError | None = None
    try:
        hcl.parse(text)
    except hcl.HCLError as error:
        refusal = error
    if refusal is not None:
        assert refusal.line >= 1
        assert refusal.column >= 1
        assert len(str(refusal)) < 1_000, len(str(refusal))
    if not validate_policy(ACLPolicy(name="fuzz", rules=text)):
        # What is taken once is read on every use, and shown.
        to_json(rules_json(parse_rules(text)))


TARGET = Target(check, SAMPLES, PIECES)

if __name__ == "__main__":
    main(TARGET)
