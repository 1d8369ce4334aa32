#!/usr/bin/env python3
"""Records what an MLflow tracking server tells: webhooks and access log.

Needs    Python 3.11.
Installs mlflow and flask-wtf into the cache.
Writes   schemas/sources/mlflow.tracking/testdata/webhook.ndjson  bodies of MLflow's webhooks
         schemas/sources/mlflow.tracking/testdata/access.log      access lines of uvicorn on stdout

A server with basic authentication: a model is trained, registered, tagged,
given an alias and put to production; a prompt is registered; artefacts are
uploaded, read and deleted; a user and a permission are made; someone guesses a
password and tries to read out of the artefact folder.

Replaced afterwards: the client's address and port.
"""

import base64
import json
import os
import re
import subprocess
import time
import urllib.parse

import client
import common
import receiver

PACKAGES = ["mlflow==3.17.2", "flask-wtf"]
EVENTS = [("registered_model", "created"), ("model_version", "created"), ("model_version_tag", "set"), ("model_version_tag", "deleted"),
          ("model_version_alias", "created"), ("model_version_alias", "deleted"), ("prompt", "created"), ("prompt_version", "created"),
          ("prompt_tag", "set"), ("prompt_alias", "created")]


def traffic(port, sink):
    def call(method, path, body=None, user="admin", password="made-up-password-1", agent="mlflow-python-client/3.17.2"):
        key = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers = {"User-Agent": agent, "Authorization": "Basic " + key}
        status, data = client.send(port, method, path, body, None, headers)
        print(status, method, path, "" if status < 300 else data[:160])
        try:
            return json.loads(data)
        except ValueError:
            return {}

    api = "/api/2.0/mlflow/"
    call("POST", api + "webhooks", {"name": "vagus", "url": f"http://mlflow:TOKEN@127.0.0.1:{sink}/v1/ingest/mlflow.tracking",
                                    "events": [{"entity": e.upper(), "action": a.upper()} for e, a in EVENTS]})
    call("POST", api + "users/create", {"username": "bob", "password": "made-up-password-2"})
    exp = call("POST", api + "experiments/create", {"name": "fraud"}).get("experiment_id", "0")
    run = call("POST", api + "runs/create", {"experiment_id": exp, "start_time": int(time.time() * 1000)})
    run_id = run.get("run", {}).get("info", {}).get("run_id", "0")
    call("POST", api + "runs/log-metric", {"run_id": run_id, "key": "auc", "value": 0.93, "timestamp": int(time.time() * 1000)})
    call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{exp}/{run_id}/artifacts/model/model.pkl", b"weights")
    call("POST", api + "registered-models/create", {"name": "fraud", "description": "payments", "tags": [{"key": "team", "value": "risk"}]})
    version = {"name": "fraud", "version": "1"}
    call("POST", api + "model-versions/create", {"name": "fraud", "source": f"mlflow-artifacts:/{exp}/{run_id}/artifacts/model", "run_id": run_id})
    call("POST", api + "model-versions/create", {"name": "fraud", "source": "s3://bucket.example.com/other/model", "run_id": run_id})
    call("POST", api + "model-versions/set-tag", {**version, "key": "validation", "value": "passed"})
    call("DELETE", api + "model-versions/delete-tag", {**version, "key": "validation"})
    call("POST", api + "registered-models/alias", {"name": "fraud", "alias": "champion", "version": "2"})
    call("DELETE", api + "registered-models/alias", {"name": "fraud", "alias": "champion"})
    call("POST", api + "model-versions/transition-stage", {**version, "stage": "Production", "archive_existing_versions": True})
    call("GET", api + "model-versions/get-download-uri?name=fraud&version=1")
    call("GET", f"/api/2.0/mlflow-artifacts/artifacts/{exp}/{run_id}/artifacts/model/model.pkl")
    call("POST", "/api/3.0/mlflow/users/permissions/grant", {"username": "bob", "resource_type": "experiment", "resource_pattern": exp, "permission": "READ"})
    call("PATCH", api + "users/update-admin", {"username": "bob", "is_admin": True})
    call("POST", api + "registered-models/create", {"name": "support-prompt", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]})
    call("POST", api + "model-versions/create", {"name": "support-prompt", "source": "prompt-template", "tags": [
        {"key": "mlflow.prompt.is_prompt", "value": "true"}, {"key": "mlflow.prompt.text", "value": "Answer {{question}} kindly."}]})
    call("POST", api + "registered-models/alias", {"name": "support-prompt", "alias": "production", "version": "1"})
    call("DELETE", api + "registered-models/delete", {"name": "fraud"}, user="bob", password="made-up-password-2")
    for guess in ("admin", "password1234"):
        call("GET", api + "experiments/search?max_results=10", user="admin", password=guess, agent="python-requests/2.32")
    call("GET", "/get-artifact?path=..%2f..%2f..%2fetc%2fpasswd&run_uuid=" + urllib.parse.quote(run_id))
    call("GET", "/api/2.0/mlflow-artifacts/artifacts/..%2f..%2fetc/passwd")
    call("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{exp}/{run_id}/artifacts/model/model.pkl")
    call("DELETE", api + "model-versions/delete", version)
    call("DELETE", api + "registered-models/delete", {"name": "fraud"})


def main():
    python, work = common.venv("mlflow", PACKAGES), common.cache_dir("mlflow") / "run"
    subprocess.run(["rm", "-rf", str(work)], check=True)
    work.mkdir()
    port, sink = common.free_port(), common.free_port()
    keep = receiver.Receiver(sink)
    (work / "auth.ini").write_text("[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = sqlite:///auth.db\nadmin_username = admin\n"
                                   "admin_password = made-up-password-1\nauthorization_function = mlflow.server.auth:authenticate_request_basic_auth\n")
    env = {"PATH": os.path.dirname(python) + ":" + os.environ["PATH"], "HOME": str(work), "MLFLOW_AUTH_CONFIG_PATH": str(work / "auth.ini"),
           "MLFLOW_FLASK_SERVER_SECRET_KEY": "made-up", "TZ": "UTC", "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
           "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "Zm9yLXJlY29yZGluZ3Mtb25seS0wMDAwMDAwMDAwMDA="}
    log = open(work / "server.log", "wb")
    proc = subprocess.Popen([python, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1", "--app-name=basic-auth", "--backend-store-uri=sqlite:///mlflow.db",
                             "--artifacts-destination=./artifacts", "--serve-artifacts"], cwd=work, env=env, stdout=log, stderr=log)
    try:
        common.wait_port(port, proc=proc, seconds=120)
        time.sleep(3)
        traffic(port, sink)
        time.sleep(4)
    finally:
        common.stop(proc)
        keep.stop()
        log.close()
    lines = [l for l in re.sub(r"\x1b\[[0-9;]*m", "", (work / "server.log").read_text(errors="replace")).splitlines() if re.match(r'[\d/]+ [\d:]+ INFO: +[\d.]+:\d+ - "', l)]
    changes = [(rb"127\.0\.0\.1:(\d+) - ", rb"192.0.2.45:\1 - ")]
    out = common.testdata("mlflow.tracking")
    common.write(out / "access.log", ("\n".join(lines) + "\n").encode(), changes)
    common.write(out / "webhook.ndjson", b"".join(b.strip() + b"\n" for _, _, b in keep.bodies), changes)


if __name__ == "__main__":
    main()
