#!/usr/bin/env python3
"""Makes SYNTHETIC documents in the Elastic Common Schema, as Beats and integrations send them.

Needs    python3.
Installs nothing.
Writes   schemas/sources/elastic.ecs/testdata/synthetic_ecs.ndjson
"""

import synthetic as s


def doc(i, dataset, agent, **more):
    event = {"dataset": dataset, "module": dataset.split(".")[0], "ingested": s.at(i + 2)} | more.pop("event", {})
    return {"@timestamp": s.at(i), "ecs": {"version": "8.17.0"}, "agent": {"type": agent, "version": "9.2.0", "id": "a-1", "name": "gw-1"}, "event": event, "host": {"name": "gw-1", "hostname": "gw-1", "ip": ["192.0.2.40"]}, **more}


RECORDS = [
    doc(1, "system.auth", "filebeat", event={"category": ["authentication"], "type": ["info"], "action": "ssh_login", "outcome": "failure", "kind": "event"}, user={"name": "root"}, source={"ip": "203.0.113.66", "port": 50512},
        process={"name": "sshd", "pid": 811}, system={"auth": {"ssh": {"method": "password", "event": "Failed"}}}, message="Failed password for root from 203.0.113.66 port 50512 ssh2"),
    doc(2, "nginx.access", "filebeat", event={"category": ["web"], "type": ["access"], "outcome": "success", "kind": "event"}, http={"request": {"method": "POST"}, "response": {"status_code": 200, "body": {"bytes": 512}}, "version": "1.1"},
        url={"path": "/v1/chat/completions", "original": "/v1/chat/completions?x=1", "query": "x=1"}, source={"ip": "192.0.2.20", "address": "192.0.2.20"}, user_agent={"original": "openai-python/2.54.0"}),
    doc(3, "flow", "packetbeat", event={"category": ["network"], "type": ["connection"], "action": "network_flow", "duration": 6020000000, "kind": "event"}, source={"ip": "192.0.2.12", "port": 36844, "bytes": 7516192768},
        destination={"ip": "198.51.100.9", "port": 443, "bytes": 45269}, network={"transport": "tcp", "direction": "egress", "community_id": "1:wCb3OG7yAFWelaUydu0D+125CLM="}),
    doc(4, "dns", "packetbeat", event={"category": ["network"], "type": ["connection", "protocol"], "kind": "event"}, dns={"type": "answer", "question": {"name": "xmr.pool.example", "type": "A"},
        "answers": [{"data": "203.0.113.66", "type": "A"}], "response_code": "NOERROR"}, source={"ip": "192.0.2.12", "port": 40001}, destination={"ip": "192.0.2.53", "port": 53}),
    doc(5, "system.process", "auditbeat", event={"category": ["process"], "type": ["start"], "action": "process_started", "kind": "event"}, process={"pid": 4720, "name": "bash", "executable": "/bin/bash", "args": ["bash", "-i"],
        "entity_id": "e1", "parent": {"pid": 3596}, "hash": {"sha1": s.digest("b", 40)}}, user={"id": "1000", "name": "mlops"}),
    doc(6, "file", "auditbeat", event={"category": ["file"], "type": ["change"], "action": "updated", "kind": "event"}, file={"path": "/etc/passwd", "type": "file", "size": 2011, "hash": {"sha256": s.digest("p")}}),
    doc(7, "panw.panos", "filebeat", event={"category": ["network"], "type": ["denied", "connection"], "action": "flow_denied", "outcome": "failure", "kind": "event"}, rule={"name": "deny-egress"}, source={"ip": "192.0.2.12", "port": 50001},
        destination={"ip": "203.0.113.66", "port": 4444}, network={"transport": "tcp", "direction": "outbound"}),
    doc(8, "app.audit", "filebeat", event={"category": ["configuration"], "type": ["change"], "action": "guardrail-disabled", "outcome": "success", "kind": "event"}, user={"name": "ana", "email": "ana@example.com"}, service={"name": "ai-portal"},
        source={"ip": "203.0.113.20"}, tags=["ai"], message="ana disabled the guardrail pii"),
    doc(9, "security.alert", "filebeat", event={"kind": "signal", "category": ["intrusion_detection"], "type": ["info"], "severity": 73}, rule={"name": "Unusual process below a model server", "id": "r-7", "category": "execution"}, process={"name": "sh", "pid": 1},
        message="sh below python3"),
    doc(10, "generic", "filebeat", event={"kind": "event"}, message="a line of an application's log", log={"file": {"path": "/var/log/app.log"}, "offset": 12}),
    doc(11, "iam", "filebeat", event={"category": ["iam"], "type": ["user", "creation"], "action": "added-user-account", "kind": "event"}, user={"name": "root", "target": {"name": "backdoor", "id": "1007"}}),
]

if __name__ == "__main__":
    s.write("elastic.ecs", "synthetic_ecs.ndjson", RECORDS)
