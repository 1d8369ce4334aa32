#!/usr/bin/env python3
"""Records what Ray Serve logs: proxy and replicas, as JSON and as text.

Needs    python3 with venv, PyPI, 2 GB of memory.
Installs ray[serve] into the cache.
Writes   schemas/sources/ray.serve/testdata/serve.ndjson  LoggingConfig(encoding="JSON")
         schemas/sources/ray.serve/testdata/serve.log     the default encoding

A local Ray runs one application with two deployments; the script is its client.

Replaced afterwards: the machine's address and the paths of the cache.
"""

import os
import pathlib
import sys
import time

import client
import common
import corpus

PACKAGES = ["ray[serve]==2.60.0"]


def run(encoding, port):
    """Serves, sends requests, and returns what lies in the log files."""
    import ray
    from ray import serve
    from ray.serve.schema import LoggingConfig
    from starlette.responses import JSONResponse

    @serve.deployment
    class Embedder:
        def embed(self, text):
            if "fail" in text:
                raise ValueError("the embedding model has no such text")
            return [0.1, len(text) / 100]

    @serve.deployment
    class Chat:
        def __init__(self, embedder):
            self.embedder = embedder

        async def __call__(self, request):
            if request.headers.get("authorization", "") == "":
                return JSONResponse({"error": "no key"}, status_code=401)
            body = await request.json()
            await self.embedder.embed.remote(body["prompt"])
            return {"text": "Here is a short, harmless answer."}

    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False, object_store_memory=100 << 20)
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config=LoggingConfig(encoding=encoding))
    serve.run(Chat.bind(Embedder.bind()), name="rag", route_prefix="/chat", logging_config=LoggingConfig(encoding=encoding))
    key = corpus.KEYS["rag-web"]
    for text in corpus.BENIGN[:3] + ["please fail"]:
        client.send(port, "POST", "/chat", {"prompt": text}, key, {"X-Request-ID": "req-" + str(len(text))})
    client.send(port, "POST", "/chat", {"prompt": "no key"})
    client.send(port, "POST", "/chat", b"{not json", key)
    client.send(port, "GET", "/-/routes")
    client.send(port, "GET", "/api/jobs/")
    client.send(port, "GET", "/wp-login.php")
    serve.delete("rag")
    time.sleep(1)
    logs = pathlib.Path(ray._private.worker._global_node.get_session_dir_path()) / "logs" / "serve"
    out = b""
    for path in sorted(logs.glob("*.log")):
        out += path.read_bytes()
    ip = ray.util.get_node_ip_address().encode()
    serve.shutdown()
    ray.shutdown()
    return out, ip


def main():
    common.inside_venv("ray", PACKAGES)
    os.environ.update(RAY_SERVE_LOG_CLIENT_ADDRESS="1", RAY_USAGE_STATS_ENABLED="0", RAY_SERVE_LOG_TO_STDERR="0")
    if len(sys.argv) > 1:  # one encoding per process: Ray reads its settings once
        out, ip = run(sys.argv[1], common.free_port())
        sys.stdout.flush()
        sys.stdout.buffer.write(b"\n@@ " + ip + b"\n" + out)
        return
    import subprocess
    for encoding, name in (("JSON", "serve.ndjson"), ("TEXT", "serve.log")):
        got = subprocess.run([sys.executable, __file__, encoding], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        ip, _, out = got.partition(b"\n@@ ")[2].partition(b"\n")  # Ray writes to stdout too
        common.write(common.testdata("ray.serve") / name, out, [
            (ip.replace(b".", b"\\."), b"192.0.2.5"), (ip.replace(b".", b"_"), b"192_0_2_5"),
            (str(common.cache_dir("ray")).encode(), b"/app"), (str(common.REPO).encode(), b"/app"), (sys.base_prefix.encode(), b"/usr")])


if __name__ == "__main__":
    main()
