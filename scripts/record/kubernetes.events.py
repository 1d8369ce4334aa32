#!/usr/bin/env python3
"""Makes SYNTHETIC Kubernetes events: core/v1, events.k8s.io/v1, a watch, a list.

Needs    python3.
Installs nothing.
Writes   schemas/sources/kubernetes.events/testdata/synthetic_events.ndjson   objects and lines of a watch
         schemas/sources/kubernetes.events/testdata/synthetic_list.json       kubectl get events -o json

A kubelet and a scheduler make these events; none can run here.
"""

import json

import common
import synthetic as s


def event(i, reason, message, kind="Pod", name="vllm-0", type_="Normal", component="kubelet", host="node-3", container="vllm", **more):
    t = s.at(i, "%Y-%m-%dT%H:%M:%SZ")
    obj = {"kind": kind, "namespace": "ml", "name": name, "uid": f"0d5b0000-0000-0000-0000-{i:012d}", "apiVersion": "v1", "resourceVersion": "360"}
    if container:
        obj["fieldPath"] = f"spec.containers{{{container}}}"
    return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": f"{name}.1808ba33bd73{i:04x}", "namespace": "ml", "uid": f"039e0000-0000-0000-0000-{i:012d}", "resourceVersion": str(369 + i), "creationTimestamp": t}, "involvedObject": obj, "reason": reason,
            "message": message, "source": {"component": component, "host": host} if host else {"component": component}, "firstTimestamp": t, "lastTimestamp": t, "count": 1, "type": type_, "eventTime": None, "reportingComponent": component, "reportingInstance": host} | more


def new(i, reason, note, controller, **more):
    t = s.at(i)
    return {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": f"trainer-0.18{i:04x}", "namespace": "ml", "uid": f"049e0000-0000-0000-0000-{i:012d}", "resourceVersion": str(400 + i), "creationTimestamp": s.at(i, "%Y-%m-%dT%H:%M:%SZ")},
            "eventTime": t, "regarding": {"kind": "Pod", "namespace": "ml", "name": "trainer-0", "uid": "1d5b", "apiVersion": "v1"}, "reason": reason, "note": note, "type": "Warning", "action": "Scheduling", "reportingController": controller,
            "reportingInstance": f"{controller}-cp-1", "deprecatedSource": {}, "deprecatedFirstTimestamp": None, "deprecatedLastTimestamp": None} | more


EVENTS = [
    event(1, "Scheduled", "Successfully assigned ml/vllm-0 to node-3", component="default-scheduler", host="", container=""),
    event(2, "Pulled", "Successfully pulled image \"ghcr.io/x/vllm:latest\" in 3.1s", count=1),
    event(3, "Started", "Started container vllm"),
    event(4, "BackOff", "Back-off restarting failed container vllm in pod vllm-0", type_="Warning", count=7),
    event(5, "Killing", "Stopping container vllm"),
    event(6, "Evicted", "The node was low on resource: memory.", type_="Warning", container=""),
    event(7, "FailedMount", "MountVolume.SetUp failed for volume \"models\": hostPath type check failed", type_="Warning", container=""),
    event(8, "PolicyViolation", "policy disallow-privileged/privileged-containers fail: privileged mode is not allowed", kind="Pod", name="debug", type_="Warning", component="kyverno-admission", host="", container=""),
    event(9, "OOMKilling", "Memory cgroup out of memory: Killed process 4720 (python3)", kind="Node", name="node-3", type_="Warning", component="kernel-monitor", container=""),
    new(10, "FailedScheduling", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "default-scheduler"),
    new(11, "FailedScheduling", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "default-scheduler", series={"count": 12, "lastObservedTime": s.at(61)}),
]

if __name__ == "__main__":
    watch = [{"type": "ADDED", "object": EVENTS[1]}, {"type": "MODIFIED", "object": EVENTS[3]}, {"type": "DELETED", "object": EVENTS[0]}]
    s.write("kubernetes.events", "synthetic_events.ndjson", EVENTS + watch + [EVENTS[2] | {"cluster": "prod"}])
    common.write(common.testdata("kubernetes.events") / "synthetic_list.json",
                 json.dumps({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": EVENTS[:4]}, indent=1).encode() + b"\n")
