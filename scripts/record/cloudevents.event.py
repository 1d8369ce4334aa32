#!/usr/bin/env python3
"""Makes SYNTHETIC CloudEvents 1.0 in structured mode.

Needs    python3.
Installs nothing.
Writes   schemas/sources/cloudevents.event/testdata/synthetic_cloudevents.ndjson
"""

import synthetic as s


def event(i, kind, data=None, **more):
    out = {"specversion": "1.0", "id": f"e-{i}", "source": "//pipelines.example.com/ml", "type": kind, "time": s.at(i), "datacontenttype": "application/json"}
    return out | ({"data": data} if data is not None else {}) | more


RECORDS = [
    event(1, "com.example.model.promoted", {"kind": "model", "action": "promote", "user": "ana", "message": "chat-small 4 is in production", "severity": "low"}, subject="models/chat-small/versions/4"),
    event(2, "com.example.model.deleted", {"kind": "model", "operation": "delete", "user": {"name": "bob"}, "sourceIp": "203.0.113.66", "severity": "high"}, subject="models/chat-small"),
    event(3, "dev.knative.kafka.event", {"n": 1}), event(4, "com.example.binary", data_base64="aGVsbG8="),
    event(5, "com.example.text", "just text", datacontenttype="text/plain"),
    event(6, "com.example.traced", {"status": "failed"}, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
]

if __name__ == "__main__":
    s.write("cloudevents.event", "synthetic_cloudevents.ndjson", RECORDS)
