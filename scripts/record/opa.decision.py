#!/usr/bin/env python3
"""Records decision logs of the Open Policy Agent.

Needs    Go 1.26.
Installs opa, built from its published Go module, into the cache (two minutes the first time).
Writes   schemas/sources/opa.decision/testdata/console.ndjson  lines of decision_logs.console
         schemas/sources/opa.decision/testdata/service.json    one body posted to decision_logs.service, unzipped

A policy for MCP tools and one for a model registry answer allowed, refused,
undefined and broken questions; the mask policy erases a password and changes a
prompt.

Replaced afterwards: the client's port.
"""

import json
import os
import subprocess
import time

import client
import common
import receiver

MODULE = "github.com/open-policy-agent/opa@v1.22.2"

TOOLS = """package mcp.authz

default allow := false

allow if {
	input.user.role == "analyst"
	input.tool.name in {"search_docs", "read_ticket"}
}

allow if input.user.role == "admin"

deny contains msg if {
	input.tool.name == "run_sql"
	contains(lower(input.tool.arguments.query), "drop table")
	msg := "schema changes are not for agents"
}
"""

REGISTRY = """package registry.promotion

decision := {"allow": true, "reason": "signed and scanned"} if {
	input.model.signed
	input.model.scan == "clean"
}

decision := {"allow": false, "reason": "the artefact is not signed"} if {
	not input.model.signed
}

score := 100 / input.model.risk
"""

MASK = """package system.log

mask contains "/input/password"

mask contains {"op": "upsert", "path": "/input/tool/arguments/token", "value": "**REDACTED**"} if input.input.tool.arguments.token
"""

CONFIG = """services:
  vagus:
    url: http://127.0.0.1:%d
    credentials: {bearer: {token: TOKEN}}
labels: {app: mcp-authz, environment: production}
decision_logs:
  service: vagus
  resource: /v1/ingest/opa.decision
  console: true
  reporting: {min_delay_seconds: 1, max_delay_seconds: 2}
"""


def install():
    place = common.cache_dir("opa")
    if not (place / "opa").exists():
        env = {**os.environ, "GOBIN": str(place), "CGO_ENABLED": "0"}
        subprocess.run(["go", "install", MODULE], check=True, cwd=place, env=env)
    return place / "opa"


def traffic(port):
    def ask(path, value):
        status, _ = client.send(port, "POST", "/v1/data/" + path, {"input": value}, None,
                                {"User-Agent": "mcp-gateway/1.4", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
        return status

    def tool(user, role, name, **arguments):
        return {"user": {"name": user, "role": role}, "tool": {"name": name, "server": "db-mcp", "arguments": arguments},
                "client_ip": "192.0.2.41"}

    ask("mcp/authz/allow", tool("ana@example.com", "analyst", "search_docs", query="holiday policy"))
    ask("mcp/authz/allow", tool("ana@example.com", "analyst", "read_ticket", id=4711, token="made-up-token"))
    ask("mcp/authz/allow", tool("mallory@example.com", "guest", "run_sql", query="select * from users"))
    ask("mcp/authz", tool("root@example.com", "admin", "run_sql", query="DROP TABLE audit"))
    ask("mcp/authz/deny", tool("root@example.com", "admin", "run_sql", query="DROP TABLE audit"))
    ask("registry/promotion/decision", {"user": "ci", "model": {"name": "fraud", "version": "17", "signed": True, "scan": "clean"}})
    ask("registry/promotion/decision", {"user": "bob@example.com", "model": {"name": "fraud", "version": "18", "signed": False}})
    ask("registry/promotion/missing", {"user": "bob@example.com"})
    ask("registry/promotion/score", {"user": "bob@example.com", "model": {"name": "fraud", "risk": 0}})
    ask("mcp/authz/allow", {"user": {"name": "eve@example.com"}, "password": "made-up", "tool": {"name": "shell"}})
    client.send(port, "POST", "/v1/query", {"query": "x := data.registry"}, None, {})


def main():
    opa, work = install(), common.cache_dir("opa") / "run"
    work.mkdir(exist_ok=True)
    sink, port = common.free_port(), common.free_port()
    for name, text in (("tools.rego", TOOLS), ("registry.rego", REGISTRY), ("mask.rego", MASK), ("config.yaml", CONFIG % sink)):
        (work / name).write_text(text)
    keep = receiver.Receiver(sink)
    log = open(work / "console.log", "wb")
    proc = subprocess.Popen([str(opa), "run", "--server", "--skip-version-check", f"--addr=127.0.0.1:{port}", "--config-file=config.yaml",
                             "--log-format=json", "--log-level=error", "tools.rego", "registry.rego", "mask.rego"], cwd=work, stdout=log, stderr=log)
    try:
        common.wait_port(port, proc=proc)
        traffic(port)
        time.sleep(4)
    finally:
        common.stop(proc)
        keep.stop()
        log.close()
    assert {path for path, _, _ in keep.bodies} == {"/v1/ingest/opa.decision"}
    lines = [l for l in (work / "console.log").read_text().splitlines() if '"decision_id"' in l]
    events = [e for _, _, body in keep.bodies for e in json.loads(body)]
    ports = [(rb'"requested_by":"127\.0\.0\.1:\d+"', b'"requested_by":"192.0.2.10:43210"')]
    out = common.testdata("opa.decision")
    common.write(out / "console.ndjson", "".join(l + "\n" for l in lines).encode(), ports)
    common.write(out / "service.json", (json.dumps(events, separators=(",", ":")) + "\n").encode(), ports)


if __name__ == "__main__":
    main()
