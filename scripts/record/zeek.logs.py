#!/usr/bin/env python3
"""Makes SYNTHETIC logs of Zeek: JSON lines and tab-separated files.

Needs    python3.
Installs nothing.
Writes   schemas/sources/zeek.logs/testdata/synthetic_json.ndjson
         schemas/sources/zeek.logs/testdata/synthetic_conn.log, synthetic_dns.log

No registry that this project uses offers Zeek: nothing is recorded. Names, order and
types of fields follow its reference.
"""

import common
import synthetic as s

ID = {"id.orig_h": "192.0.2.12", "id.orig_p": 36844, "id.resp_h": "198.51.100.9", "id.resp_p": 443}


def log(i, path, **more):
    return {"_path": path, "_write_ts": s.at(i + 1), "ts": round(s.unix(i) + 0.305988, 6), "uid": f"CMdzit1AMNsmfAIiQ{i:02d}"} | ID | {k.replace("__", "."): v for k, v in more.items()}


RECORDS = [
    log(1, "conn", proto="tcp", service="ssl", duration=6.02, orig_bytes=7516192768, resp_bytes=45269, conn_state="SF", local_orig=True, local_resp=False, missed_bytes=0, history="ShADadFf", orig_pkts=5200000, orig_ip_bytes=7700000000,
        resp_pkts=37, resp_ip_bytes=46761, ip_proto=6, community_id="1:wCb3OG7yAFWelaUydu0D+125CLM="),
    log(2, "conn", proto="tcp", conn_state="S0", local_orig=False, local_resp=True, history="S", orig_pkts=1, orig_ip_bytes=60, resp_pkts=0, resp_ip_bytes=0, ip_proto=6),
    log(3, "conn", proto="tcp", conn_state="REJ", history="Sr", orig_pkts=1, orig_ip_bytes=60, resp_pkts=1, resp_ip_bytes=40, ip_proto=6),
    log(4, "dns", proto="udp", trans_id=4711, rtt=0.012, query="xmr.pool.example", qclass=1, qclass_name="C_INTERNET", qtype=1, qtype_name="A", rcode=0, rcode_name="NOERROR", AA=False, TC=False, RD=True, RA=True, Z=0, answers=["203.0.113.66"], TTLs=[300.0], rejected=False),
    log(5, "dns", proto="udp", trans_id=4712, query="nx.example.com", qclass=1, qclass_name="C_INTERNET", qtype=28, qtype_name="AAAA", rcode=3, rcode_name="NXDOMAIN", AA=False, TC=False, RD=True, RA=False, Z=0, rejected=False),
    log(6, "http", trans_depth=1, method="POST", host="vllm.example.com", uri="/v1/chat/completions?x=1", referrer="http://app.example.com/", version="1.1", user_agent="openai-python/2.54.0", request_body_len=72, response_body_len=28, status_code=200, status_msg="OK",
        tags=[], orig_fuids=["F1"], orig_mime_types=["application/json"], resp_fuids=["F2"], resp_mime_types=["application/json"]),
    log(7, "http", trans_depth=1, method="PUT", host="203.0.113.66", uri="/up/model.safetensors", version="1.1", user_agent="curl/8.15.0", request_body_len=20010, response_body_len=2, status_code=200, status_msg="OK", tags=["HTTP::URI_SQLI"], username="ana"),
    log(8, "ssl", version="TLSv13", cipher="TLS_AES_128_GCM_SHA256", curve="x25519", server_name="api.llm.example.com", resumed=False, established=True, next_protocol="h2", ssl_history="CsiI", ja3=s.digest("ja3", 32), ja4="t13d1812h1_85036bcba153_d41ae481755e", sni_matches_cert=True),
    log(9, "ssl", version="TLSv12", cipher="TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", server_name="huggingface.example", resumed=False, established=True, cert_chain_fps=[s.digest("c")], subject="CN=huggingface.example", issuer="CN=huggingface.example",
        validation_status="self signed certificate"),
    log(10, "files", fuid="FZ1", source="HTTP", depth=0, analyzers=["SHA256", "MD5", "PE"], mime_type="application/x-dosexec", filename="x.exe", duration=0.1, local_orig=False, is_orig=False, seen_bytes=88112, total_bytes=88112, missing_bytes=0, overflow_bytes=0, timedout=False,
        md5=s.digest("x", 32), sha1=s.digest("x", 40), sha256=s.digest("x")),
    log(11, "notice", note="SSH::Password_Guessing", msg="203.0.113.66 appears to be guessing SSH passwords (seen in 30 connections).", sub="Sampled servers: 192.0.2.12", src="203.0.113.66", dst="192.0.2.12", p=22, actions=["Notice::ACTION_LOG"], email_dest=[], suppress_for=3600.0, proto="tcp"),
    log(12, "ssh", version=2, auth_success=False, auth_attempts=3, direction="INBOUND", client="SSH-2.0-libssh_0.9.6", server="SSH-2.0-OpenSSH_9.2", cipher_alg="aes256-ctr", hassh=s.digest("h", 32)),
    log(13, "weird", name="bad_HTTP_request", notice=False, peer="zeek", source="HTTP"),
    {k: v for k, v in log(14, "x", proto="tcp", conn_state="RSTO", duration=0.2, orig_bytes=10, resp_bytes=20, history="ShADadR").items() if k not in ("_path", "_write_ts")},
    {k: v for k, v in log(15, "x", proto="udp", query="api.llm.example.com", qtype_name="A", rcode_name="NOERROR", answers=["198.51.100.80"]).items() if k not in ("_path", "_write_ts")},
]


def table(path, fields, types, rows):
    head = [f"#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", f"#path\t{path}", "#open\t2026-11-20-09-30-00",
            "#fields\t" + "\t".join(fields), "#types\t" + "\t".join(types)]
    common.write(common.testdata("zeek.logs") / f"synthetic_{path}.log", ("\n".join(head + ["\t".join(r) for r in rows]) + "\n#close\t2026-11-20-10-00-00\n").encode())


BASE = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto"]
TYPES = ["time", "string", "addr", "port", "addr", "port", "enum"]


def row(i, dst, port, *rest, proto="tcp"):
    return [f"{s.unix(i):.6f}", f"CTsv{i}", "192.0.2.12", str(50000 + i), dst, str(port), proto, *rest]


if __name__ == "__main__":
    s.write("zeek.logs", "synthetic_json.ndjson", RECORDS)
    table("conn", BASE + ["service", "duration", "orig_bytes", "resp_bytes", "conn_state", "local_orig", "local_resp", "missed_bytes", "history", "orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes", "tunnel_parents", "ip_proto"],
          TYPES + ["string", "interval", "count", "count", "string", "bool", "bool", "count", "string", "count", "count", "count", "count", "set[string]", "count"], [
        row(20, "198.51.100.9", 443, "ssl", "6.020000", "7516192768", "45269", "SF", "T", "F", "0", "ShADadFf", "5200000", "7700000000", "37", "46761", "(empty)", "6"),
        row(21, "203.0.113.66", 4444, "-", "-", "-", "-", "S0", "T", "F", "0", "S", "1", "60", "0", "0", "(empty)", "6"),
        row(22, "203.0.113.66", 6379, "-", "0.001000", "0", "0", "REJ", "T", "F", "0", "Sr", "1", "60", "1", "40", "(empty)", "6")])
    table("dns", BASE + ["trans_id", "rtt", "query", "qclass", "qclass_name", "qtype", "qtype_name", "rcode", "rcode_name", "AA", "TC", "RD", "RA", "Z", "answers", "TTLs", "rejected"],
          TYPES + ["count", "interval", "string", "count", "string", "count", "string", "count", "string", "bool", "bool", "bool", "bool", "count", "vector[string]", "vector[interval]", "bool"], [
        row(30, "192.0.2.53", 53, "4711", "0.012000", "xmr.pool.example", "1", "C_INTERNET", "1", "A", "0", "NOERROR", "F", "F", "T", "T", "0", "203.0.113.66", "300.000000", "F", proto="udp"),
        row(31, "192.0.2.53", 53, "4712", "-", "nx.example.com", "1", "C_INTERNET", "28", "AAAA", "3", "NXDOMAIN", "F", "F", "T", "F", "0", "-", "-", "F", proto="udp")])
