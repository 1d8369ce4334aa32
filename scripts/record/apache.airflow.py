#!/usr/bin/env python3
"""Records Airflow's event log, as its API gives it.

Needs    Python 3.11.
Installs apache-airflow into the cache (half a minute, 700 MB).
Writes   schemas/sources/apache.airflow/testdata/eventlogs.ndjson  elements of GET /api/v2/eventLogs, one a line

The API server runs on loopback with the simple auth manager. An administrator
makes a connection and a variable, changes and deletes them, unpauses and
triggers a DAG, clears and deletes. Replaced afterwards:
the machine's paths, user and name.
"""

import json
import os
import socket
import subprocess

import client
import common

PACKAGES = ["apache-airflow==3.3.2"]

DAG = '''
from airflow.sdk import dag, task
import pendulum

@dag(schedule="@daily", start_date=pendulum.datetime(2026, 11, 1), catchup=False, tags=["training"])
def train_llm():
    @task
    def build_dataset():
        return 1
    build_dataset()

train_llm()
'''


def traffic(port):
    def call(method, path, body=None, token=None):
        status, data = client.send(port, method, path, body, token, {"User-Agent": "apache-airflow-client/3.3"})
        print(status, method, path, "" if status < 300 else data[:200])
        try:
            return json.loads(data)
        except ValueError:
            return {}

    def login(user):
        return call("POST", "/auth/token", {"username": user, "password": "made-up-" + user}).get("access_token")

    token = login("ana")
    api = "/api/v2/"
    call("POST", api + "connections", {"connection_id": "s3_models", "conn_type": "aws", "login": "svc", "password": "made-up", "host": "s3.example.com"}, token)
    call("PATCH", api + "connections/s3_models", {"connection_id": "s3_models", "conn_type": "aws", "host": "s3.example.net"}, token)
    call("POST", api + "variables", {"key": "hf_token", "value": "made-up"}, token)
    call("PATCH", api + "variables/hf_token", {"key": "hf_token", "value": "made-up-2"}, token)
    call("POST", api + "pools", {"name": "gpu", "slots": 8}, token)
    call("PATCH", api + "dags/train_llm", {"is_paused": False}, token)
    run = call("POST", api + "dags/train_llm/dagRuns", {"dag_run_id": "manual_1", "logical_date": "2026-11-22T00:00:00Z", "conf": {"image": "registry.example.com/trainer:latest"}}, token)
    call("PATCH", api + f"dags/train_llm/dagRuns/{run.get('dag_run_id', 'manual_1')}", {"state": "failed"}, token)
    call("POST", api + "dags/train_llm/clearTaskInstances", {"dry_run": False, "dag_run_id": "manual_1"}, token)
    call("DELETE", api + f"dags/train_llm/dagRuns/{run.get('dag_run_id', 'manual_1')}", None, token)
    call("DELETE", api + "connections/s3_models", None, login("bob"))
    call("POST", api + "variables", {"key": "x", "value": "y"}, "a.wrong.token")
    call("DELETE", api + "connections/s3_models", None, token)
    call("DELETE", api + "variables/hf_token", None, token)
    call("PATCH", api + "dags/train_llm", {"is_paused": True}, token)
    # Entries of a DAG are not shown any more once it is deleted: read before and after.
    log = api + "eventLogs?limit=100&order_by=event_log_id"
    before = call("GET", log, None, token).get("event_logs", [])
    call("DELETE", api + "dags/train_llm", None, token)
    known = {e["event_log_id"] for e in before}
    return before + [e for e in call("GET", log, None, token).get("event_logs", []) if e["event_log_id"] not in known]


def main():
    python, work = common.venv("airflow", PACKAGES), common.cache_dir("airflow") / "run"
    subprocess.run(["rm", "-rf", str(work)], check=True)
    (work / "dags").mkdir(parents=True)
    (work / "dags" / "train.py").write_text(DAG)
    (work / "passwords.json").write_text(json.dumps({u: "made-up-" + u for u in ("ana", "bob")}))
    port = common.free_port()
    env = {"PATH": os.path.dirname(python) + ":" + os.environ["PATH"], "HOME": str(work), "AIRFLOW_HOME": str(work), "TZ": "UTC",
           "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ana:admin,bob:viewer",
           "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(work / "passwords.json"), "AIRFLOW__CORE__DAGS_FOLDER": str(work / "dags"),
           "AIRFLOW__API_AUTH__JWT_SECRET": "made-up-secret-for-a-recording-0000000000000000000000000000000000"}
    for args in (["db", "migrate"], ["dags", "reserialize"]):
        done = subprocess.run([python, "-m", "airflow", *args], env=env, cwd=work, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
    log = open(work / "server.log", "wb")
    proc = subprocess.Popen([python, "-m", "airflow", "api-server", f"--port={port}", "--host=127.0.0.1", "--workers=1"], env=env, cwd=work, stdout=log, stderr=log)
    try:
        common.wait_port(port, proc=proc, seconds=120)
        events = traffic(port)
    finally:
        common.stop(proc)
        log.close()
    changes = [(str(common.cache_dir("airflow")).encode() + rb"/(?:venv/lib/[^']*/airflow|run)", b"/opt/airflow"), (rb'"owner": "root"', b'"owner": "airflow"'),
               (rb'(host_name\W+)' + socket.gethostname().encode(), rb"\1airflow-0.example.com")]
    common.write(common.testdata("apache.airflow") / "eventlogs.ndjson", "".join(json.dumps(e) + "\n" for e in events).encode(), changes)


if __name__ == "__main__":
    main()
