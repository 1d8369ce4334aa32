#!/usr/bin/env python3
"""Records what Portkey's open-source gateway logs.

Needs    node 20 with npm.
Installs @portkey-ai/gateway into the cache.
Writes   schemas/sources/portkey.gateway/testdata/log_hook.ndjson    bodies that the guardrail default.log posts
         schemas/sources/portkey.gateway/testdata/log_stream.ndjson  what GET /log/stream sends

A real gateway runs on loopback before scripts/record/upstream.py; hooks come in
the x-portkey-config header. Port 8787 must be free: the gateway cuts a URL at
":8787" to name the endpoint.

Replaced afterwards: the upstream's port, and the keys: the gateway posts the
client's Authorization header and the provider's key as they are.
"""

import http.client
import json
import os
import subprocess
import threading
import time

import client
import common
import corpus
import receiver
import upstream

PORT = 8787


def install():
    work = common.cache_dir("portkey")
    if not (work / "node_modules").exists():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", "@portkey-ai/gateway@1.15.2"], cwd=work, check=True)
    return work / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"


class Stream:
    """Follows /log/stream and keeps the data of its log events."""

    def __init__(self):
        self.logs = []
        self.conn = http.client.HTTPConnection("127.0.0.1", PORT)
        self.conn.request("GET", "/log/stream")
        self.resp = self.conn.getresponse()
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        event = ""
        try:
            for line in self.resp:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    event = value
                elif name == "data" and value.startswith('{"time"'):
                    self.logs.append(value)
        except (OSError, ValueError, AttributeError):
            pass  # the gateway ended
        del event


def traffic(up, sink):
    web, bot, book = (corpus.KEYS[k] for k in ("rag-web", "support-bot", "notebook"))
    log = {"default.log": {"logURL": f"http://127.0.0.1:{sink}/v1/ingest/portkey.gateway",
                           "headers": json.dumps({"Authorization": "Bearer TOKEN"})}}
    words = {"default.contains": {"words": ["previous instructions", "system prompt", "rules above", "told before", "OVERRIDE"], "operator": "none"}}

    def send(path, body, key=web, deny=None, meta=None, trace=None, **kw):
        config = {"provider": "openai", "api_key": key, "custom_host": f"http://127.0.0.1:{up}/v1",
                  "input_guardrails": [log], "output_guardrails": [log]}
        if deny is not None:
            config["input_guardrails"] = [{**words, "deny": deny}, log]
        headers = {"x-portkey-config": json.dumps(config), "User-Agent": "portkey-python/1.15"}
        if meta:
            headers["x-portkey-metadata"] = json.dumps(meta)
        if trace:
            headers["x-portkey-trace-id"] = trace
        status, _ = client.send(PORT, "POST", path, body, key, headers, **kw)
        time.sleep(0.1)  # hooks post on their own: keep the order
        return status

    chat = "/v1/chat/completions"
    for i, text in enumerate(corpus.BENIGN[:3]):
        send(chat, client.chat(text, max_tokens=200), meta={"_user": "u-ana", "environment": "prod"}, trace=f"trace-{i}")
    send(chat, client.chat("Tell a story.", stream=True), key=bot, meta={"_user": "u-bob"})
    send(chat, client.chat("Weather in Osaka?", tools=[client.WEATHER_TOOL]), key=bot)
    send("/v1/embeddings", {"model": "embed-small", "input": "a text to embed"})
    for _, text in corpus.attacks()[:4]:
        print("denied", send(chat, client.chat(text), key=book, deny=True, meta={"_user": "u-mallory"}))
    print("noted", send(chat, client.chat(corpus.ATTACKS["override"][0]), key=book, deny=False, meta={"_user": "u-mallory"}))
    for model in ("broken-model", "limited-model", "gpt-4o"):
        send(chat, client.chat("hi", model))
    send(chat, client.chat("hi"), key=corpus.WRONG_KEY)
    send(chat, b'{"model": "chat-small", "messages": [')


def main():
    script = install()
    up, sink = common.free_port(), common.free_port()
    server, keep = upstream.start(up), receiver.Receiver(sink)
    env = {"PATH": os.environ["PATH"], "NODE_ENV": "development", "TZ": "UTC", "LANG": "en_US.UTF-8"}
    proc = subprocess.Popen(["node", str(script), f"--port={PORT}"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=common.cache_dir("portkey"))
    try:
        common.wait_port(PORT, proc=proc)
        stream = Stream()
        traffic(up, sink)
        time.sleep(1)
    finally:
        common.stop(proc)
        server.shutdown()
        keep.stop()
    ports = [(b"127.0.0.1:%d" % up, b"127.0.0.1:8000"), (b"127.0.0.1:%d" % sink, b"127.0.0.1:8480")]
    keys = [(key.encode(), b"sk-REPLACED") for key in [*corpus.KEYS.values(), corpus.WRONG_KEY]]
    ports += keys
    out = common.testdata("portkey.gateway")
    common.write(out / "log_hook.ndjson", b"".join(b + b"\n" for _, _, b in keep.bodies), ports)
    common.write(out / "log_stream.ndjson", "".join(line + "\n" for line in stream.logs).encode(), ports)


if __name__ == "__main__":
    main()
