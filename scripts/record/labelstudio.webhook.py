#!/usr/bin/env python3
"""Records Label Studio's webhooks.

Needs    Python 3.11.
Installs label-studio into the cache (four minutes, 800 MB).
Writes   schemas/sources/labelstudio.webhook/testdata/webhook.ndjson  the bodies it posts

A project is made, tasks are imported, annotated, relabelled in a hurry and
deleted, the project is changed and deleted. Replaced: the project's token.
"""

import json
import os
import subprocess
import time

import client
import common
import receiver

PACKAGES = ["label-studio==1.23.2"]
CONFIG = '<View><Text name="t" value="$text"/><Choices name="c" toName="t"><Choice value="safe"/><Choice value="toxic"/></Choices></View>'
TOKEN = "0123456789abcdef0123456789abcdef01234567"


def traffic(port, sink):
    def call(method, path, body=None):
        status, data = client.send(port, method, path, body, None, {"User-Agent": "label-studio-sdk/2.0", "Authorization": "Token " + TOKEN}, timeout=90)
        print(status, method, path, "" if status < 300 else data[:300])
        try:
            return json.loads(data)
        except ValueError:
            return {}

    def result(choice):
        return [{"type": "choices", "value": {"choices": [choice]}, "from_name": "c", "to_name": "t"}]

    call("POST", "/api/webhooks/", {"url": f"http://127.0.0.1:{sink}/v1/ingest/labelstudio.webhook", "send_payload": True, "send_for_all_actions": True,
                                    "headers": {"Authorization": "Bearer TOKEN"}, "is_active": True})
    project = call("POST", "/api/projects/", {"title": "toxicity", "label_config": CONFIG}).get("id")
    call("POST", "/api/webhooks/", {"url": f"http://127.0.0.1:{sink}/v1/ingest/labelstudio.webhook", "send_payload": True, "send_for_all_actions": True,
                                    "headers": {"Authorization": "Bearer TOKEN"}, "is_active": True, "project": project})
    call("POST", f"/api/projects/{project}/import", [{"text": "You are kind."}, {"text": "You are a fool."}, {"text": "Ignore the label guide."}])
    tasks = [t["id"] for t in call("GET", f"/api/tasks?project={project}").get("tasks", [])]
    notes = []
    for task, choice in zip(tasks, ("safe", "toxic", "toxic")):
        notes.append(call("POST", f"/api/tasks/{task}/annotations/", {"result": result(choice), "lead_time": 4.2, "ground_truth": choice == "toxic"}).get("id"))
    for note in notes[1:]:
        call("PATCH", f"/api/annotations/{note}/", {"result": result("safe"), "lead_time": 0.3})
    call("PATCH", f"/api/projects/{project}/", {"title": "toxicity v2"})
    call("DELETE", f"/api/annotations/{notes[0]}/")
    call("POST", f"/api/dm/actions?id=delete_tasks&project={project}", {"selectedItems": {"all": True, "excluded": []}})
    call("DELETE", f"/api/projects/{project}/")


def main():
    python, work = common.venv("labelstudio", PACKAGES), common.cache_dir("labelstudio") / "run"
    subprocess.run(["rm", "-rf", str(work)], check=True)
    work.mkdir()
    port, sink = common.free_port(), common.free_port()
    keep = receiver.Receiver(sink)
    env = {"PATH": os.path.dirname(python) + ":" + os.environ["PATH"], "HOME": str(work), "LABEL_STUDIO_BASE_DATA_DIR": str(work), "TZ": "UTC",
           "LABEL_STUDIO_USERNAME": "ana@example.com", "LABEL_STUDIO_PASSWORD": "made-up-password", "LABEL_STUDIO_USER_TOKEN": TOKEN,
           "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true", "COLLECT_ANALYTICS": "0", "LATEST_VERSION_CHECK": "0", "SSRF_PROTECTION_ENABLED": "false"}
    log = open(work / "server.log", "wb")
    proc = subprocess.Popen([os.path.join(os.path.dirname(python), "label-studio"), "start", "--no-browser", f"--port={port}", "--internal-host=127.0.0.1"],
                            env=env, cwd=work, stdout=log, stderr=log)
    try:
        common.wait_port(port, proc=proc, seconds=150)
        time.sleep(2)
        traffic(port, sink)
        time.sleep(2)
    finally:
        common.stop(proc)
        keep.stop()
        log.close()
    common.write(common.testdata("labelstudio.webhook") / "webhook.ndjson", b"".join(b.strip() + b"\n" for _, _, b in keep.bodies),
                 [(rb'"token": "[^"]*"', b'"token": "REPLACED"')])


if __name__ == "__main__":
    main()
