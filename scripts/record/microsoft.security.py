#!/usr/bin/env python3
"""Selects events of the Windows Security log from OTRF Security-Datasets and makes synthetic ones.

Windows does not run here, so nothing is recorded.

Usage    microsoft.security.py [EVENTS.ndjson[.gz]]
Needs    for the selection: a file of flat Windows events, one a line, from
         OTRF Security-Datasets (MIT licence); without it only the synthetic
         file is written.
Installs nothing.
Writes   schemas/sources/microsoft.security/testdata/otrf.ndjson
         schemas/sources/microsoft.security/testdata/synthetic_winlogbeat.ndjson

The selection takes whole records and changes nothing in them: up to six of each
event id, different ones first.
"""

import gzip
import json
import sys

import common
import synthetic as s

EACH = 6


def select(path):
    out, count, seen = [], {}, set()
    with (gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")) as f:
        for line in f:
            e = json.loads(line)
            if str(e.get("Channel", "")).lower() != "security":
                continue
            key = (e["EventID"], e.get("LogonType"), e.get("ObjectType"), e.get("NewProcessName") or e.get("Application") or e.get("TargetUserName"), frozenset(e))
            if key in seen or count.get(e["EventID"], 0) >= EACH * (4 if e["EventID"] == 4688 else 1):
                continue
            seen.add(key)
            count[e["EventID"]] = count.get(e["EventID"], 0) + 1
            out.append(line.rstrip(b"\n"))
    return out


def beat(i, code, action, outcome, data, provider="Microsoft-Windows-Security-Auditing"):
    return {"@timestamp": s.at(i), "ecs": {"version": "8.17.0"}, "agent": {"type": "winlogbeat", "version": "9.2.0"}, "event": {"code": str(code), "kind": "event", "provider": provider, "action": action, "outcome": outcome},
            "host": {"name": "dc-1.corp.example"}, "log": {"level": "information"}, "message": action + "\n\nSubject: …", "winlog": {"channel": "Security", "provider_name": provider, "event_id": str(code), "record_id": str(9000 + i),
            "computer_name": "dc-1.corp.example", "api": "wineventlog", "keywords": ["Audit Success" if outcome == "success" else "Audit Failure"], "opcode": "Info", "task": action, "process": {"pid": 720, "thread": {"id": 4}},
            "event_data": data}}


SUBJECT = {"SubjectUserSid": "S-1-5-21-1-2-3-1001", "SubjectUserName": "ana", "SubjectDomainName": "CORP", "SubjectLogonId": "0x15d5dd"}
BEAT = [
    beat(1, 4624, "logged-in", "success", {"SubjectUserSid": "S-1-0-0", "SubjectUserName": "-", "SubjectDomainName": "-", "SubjectLogonId": "0x0", "TargetUserSid": "S-1-5-21-1-2-3-1001", "TargetUserName": "ana", "TargetDomainName": "CORP", "TargetLogonId": "0x15d5dd",
         "LogonType": "10", "LogonProcessName": "User32", "AuthenticationPackageName": "Negotiate", "WorkstationName": "KALI", "LogonGuid": "{00000000-0000-0000-0000-000000000000}", "ProcessId": "0x2d0", "ProcessName": "C:\\Windows\\System32\\svchost.exe", "IpAddress": "203.0.113.66", "IpPort": "50901"}),
    beat(2, 4625, "logon-failed", "failure", {"SubjectUserName": "-", "TargetUserSid": "S-1-0-0", "TargetUserName": "administrator", "TargetDomainName": "CORP", "Status": "0xc000006d", "FailureReason": "%%2313", "SubStatus": "0xc000006a", "LogonType": "3", "LogonProcessName": "NtLmSsp",
         "AuthenticationPackageName": "NTLM", "WorkstationName": "KALI", "ProcessId": "0x0", "ProcessName": "-", "IpAddress": "203.0.113.66", "IpPort": "50902"}),
    beat(3, 4688, "created-process", "success", SUBJECT | {"NewProcessId": "0x1098", "NewProcessName": "C:\\Windows\\System32\\cmd.exe", "TokenElevationType": "%%1938", "ProcessId": "0x163c", "CommandLine": "cmd.exe /c whoami", "TargetUserName": "-", "ParentProcessName": "C:\\Users\\ana\\AppData\\Local\\Programs\\Ollama\\ollama.exe",
         "MandatoryLabel": "S-1-16-8192"}),
    beat(4, 4720, "added-user-account", "success", SUBJECT | {"TargetUserName": "backdoor", "TargetDomainName": "CORP", "TargetSid": "S-1-5-21-1-2-3-1107", "SamAccountName": "backdoor"}),
    beat(5, 4728, "added-member-to-group", "success", SUBJECT | {"MemberName": "CN=backdoor,CN=Users,DC=corp,DC=example", "MemberSid": "S-1-5-21-1-2-3-1107", "TargetUserName": "Domain Admins", "TargetDomainName": "CORP", "TargetSid": "S-1-5-21-1-2-3-512"}),
    beat(6, 4724, "reset-password", "success", SUBJECT | {"TargetUserName": "svc-vllm", "TargetDomainName": "CORP", "TargetSid": "S-1-5-21-1-2-3-1200"}),
    beat(7, 4740, "locked-out-user-account", "success", {"TargetUserName": "ana", "TargetDomainName": "KALI", "TargetSid": "S-1-5-21-1-2-3-1001", "SubjectUserName": "DC-1$", "SubjectDomainName": "CORP"}),
    beat(8, 4769, "kerberos-service-ticket-requested", "success", {"TargetUserName": "ana@CORP.EXAMPLE", "TargetDomainName": "CORP.EXAMPLE", "ServiceName": "svc-sql", "ServiceSid": "S-1-5-21-1-2-3-1300", "TicketOptions": "0x40810000", "TicketEncryptionType": "0x17", "IpAddress": "::ffff:192.0.2.30", "IpPort": "50903", "Status": "0x0"}),
    beat(9, 4698, "scheduled-task-created", "success", SUBJECT | {"TaskName": "\\updater", "TaskContent": "<Task><Actions><Exec><Command>C:\\x.exe</Command></Exec></Actions></Task>"}),
    beat(10, 4697, "service-installed", "success", SUBJECT | {"ServiceName": "evil", "ServiceFileName": "C:\\x.exe", "ServiceType": "0x10", "ServiceStartType": "2", "ServiceAccount": "LocalSystem"}),
    beat(11, 4663, "file-accessed", "success", SUBJECT | {"ObjectServer": "Security", "ObjectType": "File", "ObjectName": "D:\\models\\llama\\model.safetensors", "HandleId": "0x1", "AccessList": "%%4416\n\t\t\t\t", "AccessMask": "0x1", "ProcessId": "0x1098", "ProcessName": "C:\\Windows\\System32\\robocopy.exe"}),
    beat(12, 1102, "audit-log-cleared", "success", {}, "Microsoft-Windows-Eventlog"),
    beat(13, 4672, "logged-in-special", "success", SUBJECT | {"PrivilegeList": "SeDebugPrivilege\n\t\t\tSeBackupPrivilege"}),
]

if __name__ == "__main__":
    out = common.testdata("microsoft.security")
    if len(sys.argv) > 1:
        common.write(out / "otrf.ndjson", b"\n".join(select(sys.argv[1])) + b"\n")
    s.write("microsoft.security", "synthetic_winlogbeat.ndjson", BEAT)
