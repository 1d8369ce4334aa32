#!/usr/bin/env python3
"""Records what Jupyter Server logs.

Needs    Python 3.11.
Installs jupyter-server and ipykernel into the cache.
Writes   schemas/sources/jupyter.server/testdata/events.ndjson  events of jupyter_events
         schemas/sources/jupyter.server/testdata/server.log     the log with --debug, as on stderr

Someone logs in with the token, opens notebooks, starts kernels and a terminal,
uploads a key file, deletes; others guess tokens and try to leave the folder.

Replaced afterwards: addresses of the clients, paths and the token.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import time

import common

PACKAGES = ["jupyter-server==2.21.1", "ipykernel"]
TOKEN = "made-up-token-0001"
CONFIG = '''
import logging
handler = logging.FileHandler("events.log")
c.EventLogger.handlers = [handler]
'''


def traffic(port):
    def send(method, path, body=None, token=TOKEN, **headers):
        conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        h = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", **headers}
        if token:
            h["Authorization"] = "token " + token
        conn.request(method, path, json.dumps(body) if body is not None else None, h)
        resp = conn.getresponse()
        data = resp.read()
        conn.close()
        print(resp.status, method, path)
        try:
            return json.loads(data)
        except ValueError:
            return {}

    note = {"type": "notebook", "content": {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}}
    send("GET", "/api/status")
    send("GET", "/api/contents/")
    send("PUT", "/api/contents/train.ipynb", note)
    send("GET", "/api/contents/train.ipynb")
    send("POST", "/api/contents/", {"copy_from": "train.ipynb"})
    send("PUT", "/api/contents/authorized_keys", {"type": "file", "format": "text", "content": "ssh-ed25519 made-up"})
    send("PATCH", "/api/contents/train-Copy1.ipynb", {"path": "exfil.ipynb"})
    kernel = send("POST", "/api/kernels", {"name": "python3"})
    send("POST", f"/api/kernels/{kernel.get('id')}/interrupt")
    session = send("POST", "/api/sessions", {"path": "train.ipynb", "type": "notebook", "name": "", "kernel": {"name": "python3"}})
    send("POST", f"/api/kernels/{session.get('kernel', {}).get('id')}/restart")
    send("POST", "/api/terminals")
    send("GET", "/api/terminals")
    send("DELETE", "/api/terminals/1")
    send("DELETE", f"/api/kernels/{kernel.get('id')}")
    send("POST", "/api/kernels", {"name": "no-such-kernel"})
    send("GET", "/files/authorized_keys")
    send("DELETE", "/api/contents/exfil.ipynb")
    for guess in ("admin", "jupyter", "0000", ""):
        send("GET", "/api/kernels", token=guess)
    send("GET", "/api/contents?token=guessed", token=None)
    send("GET", "/files/..%2f..%2f..%2fetc/passwd")
    send("GET", "/api/contents/.ssh")
    send("GET", "/api/kernels", Origin="https://evil.example.com", token=None)
    conn = http.client.HTTPConnection("127.0.0.1", port)
    conn.request("POST", "/login", "password=wrong", {"Content-Type": "application/x-www-form-urlencoded", "Referer": f"http://127.0.0.1:{port}/login?next=%2F"})
    print(conn.getresponse().status, "login")


def main():
    python, work = common.venv("jupyter", PACKAGES), common.cache_dir("jupyter") / "run"
    subprocess.run(["rm", "-rf", str(work)], check=True)
    (work / "notebooks").mkdir(parents=True)
    (work / "jupyter_server_config.py").write_text(CONFIG)
    port = common.free_port()
    env = {"PATH": os.path.dirname(python) + ":" + os.environ["PATH"], "HOME": str(work), "JUPYTER_CONFIG_DIR": str(work), "JUPYTER_DATA_DIR": str(work / "data"),
           "JUPYTER_RUNTIME_DIR": str(work / "runtime"), "TZ": "UTC", "SHELL": "/bin/sh"}
    log = open(work / "server.log", "wb")
    proc = subprocess.Popen([python, "-m", "jupyter_server", f"--port={port}", "--ip=127.0.0.1", "--no-browser", f"--IdentityProvider.token={TOKEN}",
                             "--ServerApp.root_dir=notebooks", "--debug", *(["--allow-root"] if os.getuid() == 0 else [])], cwd=work, env=env, stdout=log, stderr=log)
    try:
        common.wait_port(port, proc=proc)
        time.sleep(1)
        traffic(port)
        time.sleep(2)
    finally:
        common.stop(proc)
        log.close()
    text = (work / "server.log").read_text(errors="replace")
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    # Of the debug log only the requests: the rest tells of configuration and sockets.
    keep = [l for l in text.splitlines() if re.match(r"\[[IWC] \d{4}-|\[[DE] \d{4}-\S+ \S+ \w+\] \d{3} [A-Z]+ /", l)]
    changes = [(rb"token-authenticated request from 127\.0\.0\.1", b"token-authenticated request from 192.0.2.44"), (rb"\(127\.0\.0\.1\)", b"(192.0.2.44)"), (str(work).encode(), b"/srv/jupyter"), (sys.prefix.encode(), b"/usr"), (os.path.dirname(os.path.dirname(python)).encode(), b"/opt/jupyter"),
               (b"127\\.0\\.0\\.1:%d" % port, b"jupyter.example.com:8888"), (rb"@127\.0\.0\.1", b"@192.0.2.44"), (TOKEN.encode(), b"REPLACED"), (rb"pid[= ]\d+", b"pid 4711")]
    out = common.testdata("jupyter.server")
    common.write(out / "server.log", ("\n".join(keep) + "\n").encode(), changes)
    common.write(out / "events.ndjson", (work / "events.log").read_bytes(), changes)


if __name__ == "__main__":
    main()
