#!/usr/bin/env python3
"""Records what MLflow's AI Gateway logs: access lines, and traces over OTLP.

Needs    python3 with venv, PyPI.
Installs mlflow and the OTLP exporter into the cache.
Writes   schemas/sources/mlflow.gateway/testdata/server.log    the lines of the server's output (uvicorn)
                                                               that call the gateway
         schemas/sources/mlflow.gateway/testdata/spans.ndjson  one span a line in OTLP's JSON encoding

A real MLflow server runs on loopback before scripts/record/upstream.py; secret,
models and endpoints are written into its database first. Client addresses come
from X-Forwarded-For, which uvicorn takes from 127.0.0.1.

Replaced afterwards: ports and the paths of the cache.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time

import client
import common
import corpus

PACKAGES = ["mlflow==3.17.2", "opentelemetry-exporter-otlp-proto-http==1.45.2"]


def configure(db, up):
    """Endpoints in the gateway's database: chat, embed, and one with a revoked key."""
    from mlflow.entities.gateway_endpoint import GatewayEndpointModelConfig, GatewayModelLinkageType
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    store = SqlAlchemyStore(db, str(common.cache_dir("mlflow") / "run"))
    for name, model, key in (("chat", "chat-small", corpus.KEYS["rag-web"]), ("embed", "embed-small", corpus.KEYS["rag-web"]),
                             ("broken", "broken-model", corpus.KEYS["rag-web"]), ("limited", "limited-model", corpus.KEYS["rag-web"]),
                             ("stale", "chat-large", corpus.WRONG_KEY)):
        secret = store.create_gateway_secret(name, {"api_key": key}, "openai", {"api_base": f"http://127.0.0.1:{up}/v1"})
        definition = store.create_gateway_model_definition(name, secret.secret_id, "openai", model)
        store.create_gateway_endpoint(name, [GatewayEndpointModelConfig(
            model_definition_id=definition.model_definition_id, linkage_type=GatewayModelLinkageType.PRIMARY, weight=1.0)])


def traffic(port):
    def send(method, path, body=None, addr="192.0.2.10", **kw):
        return client.send(port, method, path, body, None, {"X-Forwarded-For": addr, "Host": "localhost"}, **kw)[0]

    for text in corpus.BENIGN[:2] + [corpus.ATTACKS["override"][0]]:
        send("POST", "/gateway/chat/mlflow/invocations", {"messages": client.chat(text)["messages"], "max_tokens": 200})
    send("POST", "/gateway/mlflow/v1/chat/completions", client.chat("through the OpenAI path", "chat"))
    send("POST", "/gateway/mlflow/v1/chat/completions", client.chat("Tell a story.", "chat", stream=True))
    send("POST", "/gateway/chat/mlflow/invocations", {"messages": client.chat("Weather in Osaka?")["messages"], "tools": [client.WEATHER_TOOL]})
    send("POST", "/gateway/embed/mlflow/invocations", {"input": "a text to embed"})
    for endpoint in ("broken", "limited", "stale"):
        send("POST", f"/gateway/{endpoint}/mlflow/invocations", {"messages": client.chat("hi")["messages"]}, addr="192.0.2.20")
    send("POST", "/gateway/internal-finetune/mlflow/invocations", {"messages": client.chat("hi")["messages"]}, addr="203.0.113.77")
    send("POST", "/gateway/chat/mlflow/invocations", b"{not json", addr="203.0.113.77")
    send("GET", "/health")


def spans(bodies):
    """One line a span: OTLP's JSON encoding has ids in hex and enums as integers."""
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    def hexed(v):
        if isinstance(v, dict):
            return {k: base64.b64decode(x).hex() if k in ("traceId", "spanId", "parentSpanId") else hexed(x) for k, x in v.items()}
        return [hexed(x) for x in v] if isinstance(v, list) else v

    for _, _, body in bodies:
        whole = hexed(MessageToDict(ExportTraceServiceRequest.FromString(body), use_integers_for_enums=True))
        for resource in whole["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    one = {**resource, "scopeSpans": [{**scope, "spans": [span]}]}
                    yield json.dumps({"resourceSpans": [one]}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def main():
    common.inside_venv("mlflow", PACKAGES)
    import receiver
    import upstream
    work = common.cache_dir("mlflow") / "run"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    port, up, sink = (common.free_port() for _ in range(3))
    db = f"sqlite:///{work}/mlflow.db"
    os.environ["MLFLOW_CRYPTO_KEK_PASSPHRASE"] = "synthetic-passphrase-for-a-recording"
    configure(db, up)
    server, keep = upstream.start(up), receiver.Receiver(sink)
    env = dict(os.environ, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"http://127.0.0.1:{sink}/v1/traces", OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/protobuf",
               MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS="true", MLFLOW_TRACE_ENABLE_OTLP_DUAL_EXPORT="true", TZ="UTC", NO_COLOR="1", DO_NOT_TRACK="true", PYTHONPATH="")
    with open(work / "server.log", "wb") as out:
        proc = subprocess.Popen([sys.executable, "-m", "mlflow", "server", "--backend-store-uri", db, "--port", str(port), "--workers", "1"],
                                env=env, cwd=work, stdout=out, stderr=out)
        try:
            common.wait_port(port, 90, proc)
            time.sleep(3)
            traffic(port)
            time.sleep(8)
        finally:
            common.stop(proc)
            server.shutdown()
            keep.stop()
    gone = [(rb"\b%d\b" % port, b"5000"), (rb"\b%d\b" % up, b"8000"), (re.escape(str(common.cache_dir("mlflow")).encode()), b"/app"),
            (re.escape(sys.base_prefix.encode()), b"/usr"), (re.escape(str(common.REPO).encode()), b"/app")]
    out = common.testdata("mlflow.gateway")
    lines = [line for line in (work / "server.log").read_bytes().splitlines(True) if b"\"POST /gateway/" in line and b" - \"" in line]
    common.write(out / "server.log", b"".join(lines), gone)
    common.write(out / "spans.ndjson", b"".join(spans(keep.bodies)), gone)


if __name__ == "__main__":
    main()
