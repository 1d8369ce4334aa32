#!/usr/bin/env python3
"""Makes SYNTHETIC documents of Elastic Defend.

Needs    python3.
Installs nothing.
Writes   schemas/sources/elastic.defend/testdata/synthetic_defend.ndjson

The sensor needs a kernel and a fleet server: nothing is recorded. Shapes follow
the data streams' published field lists and samples.
"""

import synthetic as s


def doc(i, dataset, category, kinds, action, kind="event", **more):
    return {"@timestamp": s.at(i, "%Y-%m-%dT%H:%M:%S.%f") + "4Z", "agent": {"id": "4c9c", "type": "endpoint", "version": "9.2.0"}, "elastic": {"agent": {"id": "4c9c"}}, "ecs": {"version": "8.17.0"},
            "data_stream": {"dataset": dataset, "namespace": "default", "type": "logs"}, "message": f"Endpoint {dataset}",
            "event": {"kind": kind, "category": category, "type": kinds, "action": action, "id": f"NjX{i}", "sequence": 3500 + i, "module": "endpoint", "dataset": dataset, "created": s.at(i)} | more.pop("event", {}),
            "host": {"id": "h-1", "hostname": "dev-7", "name": "dev-7", "architecture": "x86_64", "ip": ["192.0.2.30", "127.0.0.1"], "mac": ["02-00-00-00-00-01"], "os": {"type": "linux", "name": "Debian", "version": "12"}},
            "user": {"name": "ana", "id": "1000"}, **more}


NODE = {"pid": 600, "name": "node", "entity_id": "NGM4", "executable": "/usr/bin/node", "command_line": "node mcp-server.js"}
BASH = {"entity_id": "NGM5", "pid": 2772, "name": "bash", "executable": "/usr/bin/bash", "args": ["bash", "-c", "id"], "args_count": 3, "command_line": "bash -c id", "working_directory": "/srv",
        "hash": {"sha256": s.digest("bash"), "sha1": s.digest("bash", 40), "md5": s.digest("bash", 32)}, "ai_agent": {"name": "claude_code", "is_descendant": True}, "parent": NODE,
        "start": s.at(1), "entry_leader": {"pid": 1}, "Ext": {"ancestry": ["NGM4", "NGM3"]}}
SMALL = {"entity_id": "NGM5", "pid": 2772, "name": "curl", "executable": "/usr/bin/curl"}

RECORDS = [
    doc(1, "endpoint.events.process", ["process"], ["start"], "exec", process=BASH),
    doc(2, "endpoint.events.process", ["process"], ["end"], "end", process=BASH | {"exit_code": 0}),
    doc(3, "endpoint.events.network", ["network"], ["start"], "connection_attempted", process=SMALL, source={"ip": "192.0.2.30", "port": 50112, "address": "192.0.2.30"},
        destination={"ip": "198.51.100.9", "port": 443, "address": "198.51.100.9"}, network={"transport": "tcp", "type": "ipv4", "direction": "egress"}),
    doc(4, "endpoint.events.network", ["network"], ["end"], "disconnect_received", process=SMALL, source={"ip": "192.0.2.30", "port": 50112, "bytes": 7516192768}, destination={"ip": "198.51.100.9", "port": 443, "bytes": 45269},
        network={"transport": "tcp", "direction": "egress", "bytes": 7516238037}),
    doc(5, "endpoint.events.network", ["network"], ["protocol", "info"], "lookup_result", process=SMALL, dns={"question": {"name": "xmr.pool.example", "type": "A"}, "resolved_ip": ["203.0.113.66"], "Ext": {"status": 0}}),
    doc(6, "endpoint.events.file", ["file"], ["creation"], "creation", process=SMALL, file={"path": "/models/llama/model.safetensors", "name": "model.safetensors", "extension": "safetensors", "size": 4976698672,
        "hash": {"sha256": s.digest("m")}}),
    doc(7, "endpoint.events.file", ["file"], ["deletion"], "deletion", process=SMALL, file={"path": "/var/log/auth.log", "name": "auth.log"}),
    doc(8, "endpoint.events.library", ["library"], ["start"], "load", process={"pid": 720, "name": "rundll32.exe", "executable": "C:\\Windows\\System32\\rundll32.exe", "entity_id": "W1"},
        dll={"path": "C:\\Users\\ana\\evil.dll", "name": "evil.dll", "hash": {"sha256": s.digest("d"), "md5": s.digest("d", 32)}, "code_signature": {"exists": False}}),
    doc(9, "endpoint.events.registry", ["registry"], ["change"], "modification", process={"pid": 721, "name": "reg.exe", "executable": "C:\\Windows\\System32\\reg.exe", "entity_id": "W2"},
        registry={"hive": "HKEY_LOCAL_MACHINE", "key": "SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run", "path": "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run\\updater", "value": "updater",
                  "data": {"type": "SZ", "strings": ["C:\\x.exe"]}}),
    doc(10, "endpoint.events.security", ["authentication", "session"], ["start"], "log_on", event={"outcome": "failure"}, process={"pid": 640, "name": "sshd", "executable": "/usr/sbin/sshd", "entity_id": "S1",
        "Ext": {"session_info": {"logon_type": "RemoteInteractive"}}}, source={"ip": "203.0.113.66", "port": 41999}),
    doc(11, "endpoint.alerts", ["malware", "intrusion_detection", "process"], ["info", "start", "denied"], "execution", kind="alert", event={"code": "behavior", "severity": 73, "risk_score": 73, "outcome": "success"},
        process=BASH, rule={"id": "r-1", "name": "Reverse Shell via an AI Agent", "description": "A shell with a socket as its input.", "ruleset": "production"}, threat=[{"framework": "MITRE ATT&CK",
        "tactic": {"id": "TA0002", "name": "Execution"}, "technique": [{"id": "T1059", "name": "Command and Scripting Interpreter"}]}], Responses=[{"action": {"action": "kill_process"}, "result": 0}]),
    doc(12, "endpoint.alerts", ["malware", "file"], ["info", "creation"], "creation", kind="alert", event={"code": "malicious_file", "severity": 99, "risk_score": 99},
        process=SMALL, file={"path": "/tmp/x", "name": "x", "size": 88112, "hash": {"sha256": s.digest("x")}, "Ext": {"malware_classification": {"identifier": "endpointelf", "score": 0.99}}}),
    doc(13, "endpoint.events.process", ["process"], ["start"], "fork", process=SMALL | {"parent": NODE}, container={"id": "6b74", "name": "vllm", "image": {"name": "example/vllm"}},
        orchestrator={"cluster": {"name": "prod"}, "namespace": "ml", "resource": {"name": "vllm-0", "type": "pod"}}),
]

if __name__ == "__main__":
    s.write("elastic.defend", "synthetic_defend.ndjson", RECORDS)
