#!/usr/bin/env python3
"""Records Triton's server log at verbose level 1.

Needs    python3 with venv, PyPI.
Installs nvidia-pytriton, a wheel that carries tritonserver, into the cache.
Writes   schemas/sources/nvidia.triton/testdata/default.log  --log-format=default
         schemas/sources/nvidia.triton/testdata/iso8601.log  --log-format=ISO8601

A real Triton without GPU serves a Python model that returns its input.

Replaced afterwards: ports and the paths of the cache. Left out: the steps of
each request inside Triton and of its memory, of which verbose logs have a dozen.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import client
import common

NOISE = re.compile(rb"(infer_request|infer_response|python_be|grpc_server|infer_handler|backend_model_instance|"
                   rb"pinned_memory_manager|cuda_memory_manager|filesystem|pb_stub|dynamic_batch|rate_limiter|backend_manager)"
                   rb"\.(cc|h):|HTTP using buffer|HTTP release|ModelConfig|stub_launcher")
PACKAGES = ["nvidia-pytriton==0.7.0"]

MODEL = '''
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        out = []
        for request in requests:
            text = pb.get_input_tensor_by_name(request, "text_input")
            if b"fail" in text.as_numpy().tobytes():
                out.append(pb.InferenceResponse(error=pb.TritonError("this input is not for me")))
            else:
                out.append(pb.InferenceResponse(output_tensors=[pb.Tensor("text_output", text.as_numpy())]))
        return out
'''

CONFIG = '''
name: "echo"
backend: "python"
max_batch_size: 0
input [{ name: "text_input", data_type: TYPE_INT32, dims: [4] }]
output [{ name: "text_output", data_type: TYPE_INT32, dims: [4] }]
'''


def infer(port, values, model="echo", request_id="req-1", shape=None):
    return client.send(port, "POST", f"/v2/models/{model}/infer", {"id": request_id, "inputs": [
        {"name": "text_input", "shape": shape or [len(values)], "datatype": "INT32", "data": values}]})


def traffic(port):
    for path in ("/v2/health/ready", "/v2", "/v2/models/echo", "/v2/models/echo/config"):
        client.send(port, "GET", path)
    for i in range(3):
        infer(port, [1, 2, 3, i], request_id=f"req-{i}")
    infer(port, [1, 2], request_id="bad-shape")
    infer(port, [1, 2, 3, 4], model="unknown")
    client.send(port, "POST", "/v2/repository/index", {})
    client.send(port, "POST", "/v2/repository/models/other/load", {})
    client.send(port, "POST", "/v2/repository/models/echo/unload", {})
    client.send(port, "POST", "/v2/repository/models/echo/load", {})
    client.send(port, "POST", "/v2/logging", {"log_verbose_level": 1})
    client.send(port, "GET", "/v2/trace/setting")
    client.send(port, "POST", "/v2/systemsharedmemory/region/stolen/register", {"key": "/x", "offset": 0, "byte_size": 64})
    client.send(port, "GET", "/wp-login.php")


def main():
    python = pathlib.Path(common.venv("triton", PACKAGES))
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    home = site / "pytriton" / "tritonserver"
    for path in [home / "bin" / "tritonserver", *home.glob("python_backend_stubs/*/*")]:
        os.chmod(path, 0o755)
    for fmt in ("default", "ISO8601"):
        work = common.cache_dir("triton") / "run"
        shutil.rmtree(work, ignore_errors=True)
        (work / "models" / "echo" / "1").mkdir(parents=True)
        (work / "models" / "echo" / "1" / "model.py").write_text(MODEL)
        (work / "models" / "echo" / "config.pbtxt").write_text(CONFIG)
        version = ".".join(sys.version.split(".")[:2])
        shutil.copytree(home / "backends" / "python", work / "backends" / "python")
        stub = home / "python_backend_stubs" / version / "triton_python_backend_stub"
        shutil.copy(stub, work / "backends" / "python")
        port, grpc, metrics = (common.free_port() for _ in range(3))
        env = dict(os.environ, LD_LIBRARY_PATH=f"{site}/nvidia_pytriton.libs:{home}/external_libs:{sys.base_prefix}/lib",
                   PATH=f"{python.parent}:{os.environ['PATH']}", PYTHONPATH=str(site), TZ="UTC")
        with open(work / "server.log", "wb") as out:
            proc = subprocess.Popen([
                str(home / "bin" / "tritonserver"), f"--model-repository={work}/models", f"--backend-directory={work}/backends",
                f"--http-port={port}", f"--grpc-port={grpc}", f"--metrics-port={metrics}", "--http-address=127.0.0.1",
                "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1", "--model-control-mode=explicit", "--load-model=echo",
                f"--log-format={fmt}", "--log-verbose=1"],
                env=env, stdout=out, stderr=out)
        try:
            common.wait_port(port, proc=proc)
            end = time.monotonic() + 30
            while client.send(port, "GET", "/v2/models/echo/ready")[0] != 200 and time.monotonic() < end:
                time.sleep(0.5)
            traffic(port)
        finally:
            common.stop(proc)
        gone = [(re.escape(str(site).encode()), b"/app"), (re.escape(str(work).encode()), b"/srv/triton"),
                (rb"\b%d\b" % port, b"8000"), (rb"\b%d\b" % grpc, b"8001"), (rb"\b%d\b" % metrics, b"8002")]
        out = common.testdata("nvidia.triton")
        text = b"".join(line for line in (work / "server.log").read_bytes().splitlines(True) if not NOISE.search(line))
        common.write(out / f"{fmt.lower()}.log", text, gone)


if __name__ == "__main__":
    main()
