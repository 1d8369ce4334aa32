#!/usr/bin/env python3
"""Makes SYNTHETIC events of Splunk's HTTP Event Collector.

Needs    python3.
Installs nothing.
Writes   schemas/sources/splunk.hec/testdata/synthetic_hec.ndjson
"""

import synthetic as s


def event(i, body, sourcetype="app:json", **more):
    return {"time": round(s.unix(i) + 0.25, 3), "host": "app-1", "source": "/var/log/app.log", "sourcetype": sourcetype, "index": "main", "event": body} | more


RECORDS = [
    event(1, {"message": "guardrail disabled", "severity": "warning", "user": "ana", "action": "guardrail.update", "src_ip": "203.0.113.20", "service": "ai-portal", "status": "ok"}),
    event(2, "2026-11-20 09:30:02 ERROR plain text of an application", "app:log"),
    event(3, "{\"level\":\"error\",\"msg\":\"JSON in a string\",\"username\":\"bob\"}", "app:json"),
    event(4, {"message": "metric-like", "value": 3}, fields={"service": "billing", "severity": "critical", "user": "svc"}),
    event(5, {"event_type": "login", "user_name": "mlops", "client_ip": "203.0.113.66", "result": "failure", "user_agent": "curl/8.15.0"}, "custom:auth"),
    event(6, {"a": {"b": [1, 2]}}, "nested"),
]

if __name__ == "__main__":
    s.write("splunk.hec", "synthetic_hec.ndjson", RECORDS)
