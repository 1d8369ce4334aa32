#!/usr/bin/env python3
"""Records EVE JSON of real Suricata, reading a capture that this script makes.

Needs    Debian's apt, root (for chroot), openssl, python3; about 200 MB.
Installs Suricata 7 (Debian trixie) and 8 (Debian sid) into folders of the cache.
Writes   schemas/sources/suricata.eve/testdata/eve7.ndjson
         schemas/sources/suricata.eve/testdata/eve8.ndjson

No packet is sent: pcap.py writes a capture of conversations between documentation
addresses, and Suricata reads it offline. TLS handshakes are real, made in memory.
The signatures were written for this recording. Nothing is replaced afterwards.
"""

import datetime
import json
import shutil
import subprocess

import common
import debian_root
import pcap

RULES = """
alert http any any -> any any (msg:"AI model weights uploaded to an unknown host"; flow:to_server; http.method; content:"PUT"; http.uri; content:".safetensors"; classtype:policy-violation; sid:9000001; rev:2; metadata:affected_product AI, created_at 2026_11_01;)
alert http any any -> any any (msg:"Ollama API reached from outside"; flow:to_server; http.uri; content:"/api/generate"; classtype:attempted-recon; sid:9000002; rev:1;)
drop dns any any -> any any (msg:"DNS query for a mining pool"; dns.query; content:"pool.example"; nocase; classtype:trojan-activity; sid:9000003; rev:1;)
alert tls any any -> any any (msg:"LLM provider reached past the gateway"; tls.sni; content:"api.llm.example.com"; classtype:policy-violation; sid:9000004; rev:1;)
alert http any any -> any any (msg:"Shell command in an HTTP body"; flow:to_server; http.request_body; content:"/bin/sh"; classtype:web-application-attack; sid:9000005; rev:1;)
alert ssh any any -> any any (msg:"SSH client of a scanner"; ssh.software; content:"libssh"; classtype:attempted-admin; sid:9000006; rev:1;)
"""


def http(method, path, host, agent, body=b"", code="200 OK", answer=b"{}", kind="application/json"):
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nContent-Length: {len(body)}\r\nReferer: http://{host}/\r\n\r\n"
    back = f"HTTP/1.1 {code}\r\nServer: uvicorn\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n\r\n"
    return [(True, head.encode() + body), (False, back.encode() + answer)]


def capture(folder, path):
    c = pcap.Capture(datetime.datetime(2026, 11, 20, 9, 0, tzinfo=datetime.timezone.utc).timestamp())
    gpu, web, resolver, bad, llm = "192.0.2.12", "192.0.2.20", "192.0.2.53", "203.0.113.66", "198.51.100.80"
    for i, (name, qtype, answers, rcode) in enumerate([
            ("api.llm.example.com", 1, [llm], 0), ("huggingface.example", 1, ["198.51.100.81", "198.51.100.82"], 0),
            ("xmr.pool.example", 1, [bad], 0), ("nx.example.com", 1, [], 3),
            ("aGVsbG8tZnJvbS1ncHUtbm9kZQ.t.example", 16, ["cmd=id"], 0)]):
        c.udp(gpu, 40000 + i, resolver, 53, pcap.dns(name, qtype, 100 + i))
        c.udp(resolver, 53, gpu, 40000 + i, pcap.dns(name, qtype, 100 + i, answers, rcode), outbound=False)
    chat = json.dumps({"model": "chat-small", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    c.tcp(web, 41000, gpu, 8000, http("POST", "/v1/chat/completions", "vllm.example.com:8000", "openai-python/2.54.0", chat,
                                      answer=b'{"object":"chat.completion"}'))
    c.tcp(bad, 41001, gpu, 11434, http("POST", "/api/generate", "192.0.2.12:11434", "python-requests/2.32", b'{"model":"llama3"}'))
    c.tcp(gpu, 41002, bad, 80, http("PUT", "/up/model.safetensors", "203.0.113.66", "curl/8.15.0", b"\x10\0\0\0\0\0\0\0{}" + b"W" * 20000))
    c.tcp(gpu, 41003, bad, 80, http("GET", "/x.sh?id=7", "203.0.113.66", "Wget/1.21", answer=b"#!/bin/sh\nid\n", kind="text/x-sh"))
    c.tcp(bad, 41004, gpu, 8265, http("POST", "/api/jobs/", "ray.example.com", "Go-http-client/1.1",
                                      b'{"entrypoint":"/bin/sh -c id"}', code="403 Forbidden"))
    c.tcp(gpu, 41005, llm, 443, pcap.tls(folder, "api.llm.example.com"))
    import ssl
    c.tcp(gpu, 41006, "198.51.100.81", 443, pcap.tls(folder, "huggingface.example", version=ssl.TLSVersion.TLSv1_2))
    c.tcp(bad, 41007, gpu, 22, [(False, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), (True, b"SSH-2.0-libssh_0.9.6\r\n")])
    for i in range(3):
        c.tcp(bad, 41010 + i, gpu, [6379, 2375, 5000][i], [], refuse=True)
    c.tcp(gpu, 41020, bad, 4444, [(False, b"id\n"), (True, b"uid=0(root)\n")], close=False)
    c.tcp(web, 41021, gpu, 8000, [(True, b"\x16\x03\x01\xff garbage"), (True, b"GET / HTTP/9.9\r\n\r\n")])
    c.write(path)


def record(suite, name, pcap_file):
    root = debian_root.root(suite, ["suricata"])
    work = root / "tmp" / "record"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (root / "dev").mkdir(exist_ok=True)
    shutil.copy(pcap_file, work / "in.pcap")
    (work / "local.rules").write_text(RULES)
    conf = (root / "etc/suricata/suricata.yaml").read_text()
    conf = conf.replace("community-id: false", "community-id: true")
    (work / "suricata.yaml").write_text(conf)
    run = subprocess.run(["chroot", root, "/usr/bin/suricata", "-c", "/tmp/record/suricata.yaml", "-S", "/tmp/record/local.rules",
                          "-r", "/tmp/record/in.pcap", "-l", "/tmp/record", "--set", "unix-command.enabled=no",
                          "-k", "none", "--runmode", "single"], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(run.stdout + run.stderr)
    common.write(common.testdata("suricata.eve") / name, (work / "eve.json").read_bytes())


def main():
    folder = common.cache_dir("suricata-capture")
    capture(folder, folder / "in.pcap")
    record("trixie", "eve7.ndjson", folder / "in.pcap")
    record("sid", "eve8.ndjson", folder / "in.pcap")


if __name__ == "__main__":
    main()
