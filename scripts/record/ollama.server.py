#!/usr/bin/env python3
"""Records what `ollama serve` writes to its standard error.

Needs    an ollama binary: $OLLAMA, or one in the PATH (built from its repository with
         `go build .`; no runner, no model and no GPU are needed).
Installs nothing.
Writes   schemas/sources/ollama.server/testdata/server.log

The server runs on loopback without models, so that generation fails with 404;
a tiny GGUF file without weights is created, shown, copied and deleted. Client
addresses come from X-Forwarded-For, which Ollama believes from anybody.

Replaced afterwards: the port, paths, the name server's address, the size of the
memory and the public key that the first start makes.
"""

import hashlib
import os
import re
import shutil
import struct
import subprocess
import time

import client
import common
import corpus


def gguf():
    """The header of a model: architecture and name, no tensors."""
    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()
    pairs = [("general.architecture", "llama"), ("general.name", "recorded")]
    out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs))
    for key, value in pairs:
        out += text(key) + struct.pack("<I", 8) + text(value)
    return out + bytes(32)


def traffic(port):
    def send(method, path, body=None, addr="192.0.2.10", ua="ollama-python/0.6.1", **kw):
        return client.send(port, method, path, body, None, {"X-Forwarded-For": addr, "User-Agent": ua}, **kw)

    blob = gguf()
    digest = "sha256:" + hashlib.sha256(blob).hexdigest()
    send("GET", "/")
    send("HEAD", "/")
    send("GET", "/api/version")
    send("GET", "/api/tags")
    send("POST", f"/api/blobs/{digest}", blob)
    send("HEAD", f"/api/blobs/{digest}")
    send("POST", "/api/create", {"model": "recorded", "files": {"model.gguf": digest}, "system": "You are helpful.", "stream": False})
    send("GET", "/api/tags")
    send("POST", "/api/show", {"model": "recorded"})
    send("POST", "/api/copy", {"source": "recorded", "destination": "stolen"}, addr="203.0.113.77")
    send("POST", "/api/chat", {"model": "recorded", "messages": [{"role": "user", "content": corpus.BENIGN[0]}], "stream": False})
    send("POST", "/api/generate", {"model": "missing", "prompt": "hi"})
    send("POST", "/api/embed", {"model": "missing", "input": "hi"})
    send("POST", "/v1/chat/completions", client.chat("hi", "missing"))
    send("GET", "/v1/models")
    send("POST", "/api/chat", b"{not json")
    send("GET", "/api/ps")
    send("POST", "/api/pull", {"model": "registry.example.invalid/library/evil", "stream": False}, addr="203.0.113.77", timeout=20)
    send("POST", "/api/push", {"model": "stolen", "insecure": True, "stream": False}, addr="203.0.113.77", timeout=20)
    send("DELETE", "/api/delete", {"model": "recorded"}, addr="203.0.113.77", ua="curl/8.15.0")
    for path in ("/.env", "/api/../../etc/passwd", "/v2/", "/api/blobs/sha256:../../x"):
        send("GET", path, addr="203.0.113.200", ua="zgrab/0.x")
    client.send(port, "GET", "/api/tags", headers={"Origin": "http://evil.example.com"})


def main():
    binary = os.environ.get("OLLAMA") or shutil.which("ollama")
    if not binary:
        raise SystemExit("no ollama: set OLLAMA to its path")
    work = common.cache_dir("ollama") / "run"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    port = common.free_port()
    env = {"HOME": str(work), "PATH": os.environ["PATH"], "OLLAMA_HOST": f"0.0.0.0:{port}", "OLLAMA_ORIGINS": "*",
           "OLLAMA_MODELS": str(work / "models"), "TZ": "UTC"}
    with open(work / "server.log", "wb") as out:
        proc = subprocess.Popen([binary, "serve"], env=env, cwd=work, stdout=out, stderr=out)
        try:
            common.wait_port(port, proc=proc)
            traffic(port)
            time.sleep(1)
        finally:
            common.stop(proc)
    common.write(common.testdata("ollama.server") / "server.log", (work / "server.log").read_bytes(), [
        (rb"\b%d\b" % port, b"11434"), (re.escape(str(work).encode()), b"/usr/share/ollama"),
        (re.escape(os.path.dirname(binary).encode()), b"/usr/bin"),
        (re.escape(os.path.dirname(os.path.dirname(binary)).encode()) + rb"/lib", b"/usr/lib"),
        (rb"lookup (\S+) on \S+:53", rb"lookup \1 on 192.0.2.53:53"), (rb"ssh-ed25519 \S+", b"ssh-ed25519 REPLACED"),
        (rb'total="[^"]*" available="[^"]*"', b'total="16.0 GiB" available="12.0 GiB"')])


if __name__ == "__main__":
    main()
