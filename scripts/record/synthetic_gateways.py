#!/usr/bin/env python3
"""SYNTHETIC samples of gateways that could not be run here; structure after their documentation and source.

Needs    python3. Installs nothing. The same bytes every time.
Writes   schemas/sources/kong.ai_gateway/testdata/http_log.ndjson         kong.log.serialize(), one object a line
         schemas/sources/cloudflare.ai_gateway/testdata/logpush.ndjson    data set ai_gateway_events
         schemas/sources/cloudflare.ai_gateway/testdata/logs_api.ndjson   elements of result[] of the logs API
         schemas/sources/cloudflare.ai_gateway/testdata/mcp_portal.ndjson data set mcp_portal_logs
         schemas/sources/apisix.ai_proxy/testdata/http_logger.ndjson      one log object a line
         schemas/sources/apisix.ai_proxy/testdata/access.log              NGINX line with APISIX' AI variables
"""

import json
import uuid

import client
import common
import corpus

START = 1795377601184  # milliseconds, 2026-11-22 20:00:01.184 UTC
PEOPLE = [("rag-web", "192.0.2.10"), ("support-bot", "192.0.2.20"), ("notebook", "203.0.113.77")]


def uid(n):
    return str(uuid.UUID(int=0x8D1F << 112 | n * 7919, version=4))


def lines(source, name, records):
    text = "".join((r if isinstance(r, str) else json.dumps(r, ensure_ascii=False, separators=(",", ":"))) + "\n" for r in records)
    common.write(common.testdata(source) / name, text.encode())


def completion(n, model, text="Here is a short, harmless answer.", tools=False):
    message = {"role": "assistant", "content": text}
    if tools:
        message = {"role": "assistant", "content": None, "tool_calls": [{
            "id": f"call_{n:04d}", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Osaka"}'}}]}
    return {"id": f"chatcmpl-{n:012x}", "object": "chat.completion", "created": START // 1000 + n, "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if tools else "stop"}],
            "usage": {"prompt_tokens": 60 + n, "completion_tokens": 7, "total_tokens": 67 + n}}


# kind of call: status, prompt, model
CALLS = [
    (200, corpus.BENIGN[0], "chat-small"), (200, corpus.BENIGN[1], "chat-large"), (200, "Weather in Osaka?", "chat-small"),
    (200, corpus.BENIGN[3], "chat-small"), (401, "hi", "chat-small"), (429, "too fast", "chat-small"),
    (400, corpus.ATTACKS["override"][0], "chat-small"), (400, corpus.ATTACKS["exfiltration"][0], "chat-large"),
    (404, "hi", "internal-finetune"), (502, "no upstream", "chat-small"), (200, "streamed, please", "chat-small"),
]


def kong():
    out = []
    for n, (status, text, model) in enumerate(CALLS):
        who, ip = PEOPLE[2 if status in (401, 404) else n % 2]
        answered = status in (200, 404)
        request = {"id": uid(n).replace("-", ""), "uri": "/ai/chat", "url": "https://gw.example.com:443/ai/chat", "querystring": {},
                   "method": "POST", "size": 1544 + n, "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "client_verify": "NONE"},
                   "headers": {"host": "gw.example.com", "authorization": "REDACTED", "user-agent": "openai-python/1.99.1",
                               "content-type": "application/json", "x-forwarded-for": ip}}
        rec = {"request": request, "response": {"status": status, "headers": {"content-type": "application/json", "x-kong-request-id": request["id"]}, "size": 2210},
               "latencies": {"kong": 6, "proxy": 1840 if answered else -1, "request": 1846 if answered else 6, "receive": 1},
               "tries": [{"balancer_start": START + n * 1000 + 6, "balancer_latency": 0, "ip": "198.51.100.80", "port": 443}] if answered else [],
               "route": {"id": uid(100), "name": "ai-chat", "paths": ["/ai/chat"], "protocols": ["https"]},
               "service": {"id": uid(101), "name": "llm", "host": "localhost", "port": 32000, "protocol": "http"},
               "client_ip": ip, "started_at": START + n * 1000, "source": "upstream" if answered else "exit",
               "workspace": uid(102), "workspace_name": "default"}
        if answered:
            rec |= {"upstream_uri": "/v1/chat/completions", "upstream_status": str(status)}
        if status != 401:
            rec |= {"consumer": {"id": uid(110 + n % 2), "username": who, "custom_id": "app-" + who, "created_at": 1760000000, "tags": ["ai"]},
                    "authenticated_entity": {"id": uid(120 + n % 2), "consumer_id": uid(110 + n % 2)}}
            body = completion(n, model + "-2026-08-06", tools="Weather" in text)
            guard = {"mode": "BOTH", "input_processing_latency": 41, "guards_triggered_count": 0, "input_block_reason": "", "output_block_reason": ""}
            proxy = {"meta": {"plugin_id": uid(130), "provider_name": "openai", "request_model": model, "llm_latency": 1833,
                              "request_mode": "stream" if "stream" in text else "oneshot"},
                     "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": 0},
                     "payload": {"request": json.dumps(client.chat(text, model, max_tokens=200))}}
            if status == 200:
                proxy["meta"]["response_model"] = body["model"]
                proxy["usage"] = {**body["usage"], "cost": 0.0022, "time_per_token": 10.65, "time_to_first_token": 211}
                proxy["payload"]["response"] = json.dumps(body)
                proxy["cache"] = {"cache_status": "Hit" if n == 3 else "Miss", "fetch_latency": 12, "embeddings_provider": "openai", "embeddings_model": "embed-small"}
            if status == 400:
                guard |= {"guards_triggered_count": 1, "input_block_reason": "prompt_attack", "input_block_source": "lakera-guard",
                          "input_block_consumer_id": uid(110 + n % 2), "input_request_uuid": uid(140 + n),
                          "input_block_detail": [{"policy_id": "policy-1", "detector_id": "detector-prompt-attack", "detected": True, "detector_type": "prompt_attack"}]}
            proxy["lakera-guard"] = guard
            rec["ai"] = {"proxy": proxy}
            if n == 1:
                rec["ai"]["sanitizer"] = {"pii_identified": 1, "pii_sanitized": 1, "duration": 22,
                                          "sanitized_items": [{"entity_type": "EMAIL", "original": "ana@example.com", "sanitized": "[REDACTED]"}]}
        out.append(rec)
    base = {k: out[0][k] for k in ("tries", "service", "workspace", "workspace_name", "consumer", "authenticated_entity")}
    for n, (tool, action, error) in enumerate([("close_ticket", "allow", ""), ("run_sql", "deny", "access denied")], 20):
        out.append({**base, "request": {**out[0]["request"], "id": uid(n).replace("-", ""), "uri": "/mcp", "url": "https://gw.example.com:443/mcp"},
                    "response": {"status": 200, "headers": {}, "size": 310}, "latencies": {"kong": 4, "proxy": 31, "request": 35, "receive": 0},
                    "route": {"id": uid(103), "name": "mcp-tickets"}, "client_ip": "192.0.2.20", "started_at": START + n * 1000, "source": "upstream",
                    "upstream_uri": "/mcp", "upstream_status": "200",
                    "ai": {"mcp": {"mcp_session_id": "mcp-session-1",
                                   "rpc": [{"id": str(n), "method": "tools/call", "tool_name": tool, "latency": 31, "response_body_size": 210, "error": error,
                                            "payload": {"request": json.dumps({"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": {"name": tool, "arguments": {"ticket": 17}}}),
                                                        "response": json.dumps({"jsonrpc": "2.0", "id": n, "result": {"content": [{"type": "text", "text": "done"}]}})}}],
                                   "audit": [{"primitive": "tool", "primitive_name": tool, "action": action, "scope": "tool",
                                              "consumer": {"id": uid(110), "name": "support-bot", "identifier": "consumer"}}]}}})
    # Up to version 3.7 the plugin's name was the key, and the counts were singular.
    old = json.loads(json.dumps(out[0]))
    old["request"]["id"], old["started_at"] = uid(30).replace("-", ""), START + 30000
    old["ai"] = {"ai-proxy": {"meta": {"plugin_id": uid(130), "provider_name": "mistral", "request_model": "mistral-tiny", "response_model": "mistral-tiny"},
                              "usage": {"prompt_token": 24, "completion_token": 108, "total_tokens": 132}, "payload": {"request": json.dumps(client.chat("old plugin"))}}}
    lines("kong.ai_gateway", "http_log.ndjson", [*out, old])


def cloudflare():
    sealed = {"key": "aGVsbG8gd29ybGQ=", "iv": "bm90IGEgc2VjcmV0", "data": "ZW5jcnlwdGVkIGJvZHk="}
    push, api, portal = [], [], []
    for n, (status, text, model) in enumerate(CALLS):
        body = completion(n, model, tools="Weather" in text)
        clear = n % 3 != 0  # without a public key in the job, the bodies are clear
        failed = {"error": {"message": "Prompt blocked due to security configurations" if status == 400 else "failed", "code": 2016 if status == 400 else status}}
        rec = {"Datetime": f"2026-11-22T20:00:{n:02d}Z" if n % 2 else 1795377600 + n, "Gateway": "prod", "Provider": "openai", "Model": model,
               "Endpoint": "chat/completions", "StatusCode": 424 if status == 400 else status, "Cached": n == 3, "RateLimited": status == 429,
               "Metadata": {"user": PEOPLE[n % 3][0], "team": "search"} if clear else sealed,
               "RequestBody": client.chat(text, model) if clear else sealed, "ResponseBody": (body if status == 200 else failed) if clear else sealed}
        push.append(rec)
        api.append({"id": f"01JD{n:022d}", "created_at": f"2026-11-22 20:00:{n:02d}", "provider": "openai", "model": model, "model_type": "", "path": "chat/completions",
                    "status_code": rec["StatusCode"], "success": status == 200, "cached": n == 3, "duration": 1846 + n, "tokens_in": 60 + n if status == 200 else 0,
                    "tokens_out": 7 if status == 200 else 0, "cost": 0.0022 if status == 200 else 0, "custom_cost": False, "step": 0,
                    "metadata": json.dumps({"user": PEOPLE[n % 3][0]}), "request_type": "", "request_content_type": "application/json", "response_content_type": "application/json"})
    for n, (method, tool, ok) in enumerate([("initialize", "", True), ("tools/list", "", True), ("tools/call", "close_ticket", True), ("tools/call", "run_sql", False),
                                            ("prompts/get", "", True), ("resources/read", "", True), ("tools/call", "read_file", False)]):
        portal.append({"Datetime": f"2026-11-22T20:01:{n:02d}Z", "ClientIP": PEOPLE[n % 3][1], "ClientCountry": "jp", "ColoCode": "NRT", "Method": method, "ToolCallName": tool,
                       "PromptGetName": "triage" if method == "prompts/get" else "", "ResourceReadURI": "file:///tickets/17" if method == "resources/read" else "",
                       "ServerID": "tickets", "ServerURL": "https://mcp.example.com/mcp", "ServerAUD": uid(n).replace("-", ""), "PortalID": "portal-1", "PortalAUD": uid(90).replace("-", ""),
                       "ServerResponseDurationMs": 31 + n, "SessionID": "session-" + str(n % 3), "Success": ok, "Error": "" if ok else "tool not permitted by policy",
                       "UserEmail": ["ana@example.com", "bob@example.com", "mallory@example.com"][n % 3], "UserID": uid(200 + n % 3)})
    lines("cloudflare.ai_gateway", "logpush.ndjson", push)
    lines("cloudflare.ai_gateway", "logs_api.ndjson", api)
    lines("cloudflare.ai_gateway", "mcp_portal.ndjson", portal)


def apisix():
    out, access = [], []
    for n, (status, text, model) in enumerate(CALLS):
        who, ip = PEOPLE[n % 3]
        rec = {"request": {"url": "http://gw.example.com:9080/v1/chat/completions", "uri": "/v1/chat/completions?trace=1" if n == 2 else "/v1/chat/completions", "method": "POST", "size": 1544,
                           "headers": {"host": "gw.example.com:9080", "user-agent": "openai-python/1.99.1", "content-type": "application/json", "authorization": "Bearer sk-REPLACED"},
                           "querystring": {"trace": "1"} if n == 2 else {}},
               "response": {"status": status, "headers": {"content-type": "text/event-stream" if "stream" in text else "application/json", "server": "APISIX/3.14.0"}, "size": 2210},
               "server": {"hostname": "apisix-0", "version": "3.14.0"}, "upstream": "198.51.100.80:443" if status != 401 else "", "service_id": "", "route_id": "llm-1",
               "consumer": {"username": who.replace("-", "_")}, "client_ip": ip, "start_time": START + n * 1000, "latency": 1846.0000610352 + n,
               "upstream_latency": 1833, "apisix_latency": 13.0000610352}
        if status == 401:
            del rec["consumer"], rec["upstream_latency"]
            rec["latency"] = 1.5
        else:
            rec["llm_summary"] = {"request_model": model, "model": model + "-2026-08-06", "duration": 611, "prompt_tokens": 60 + n, "completion_tokens": 7, "total_tokens": 67 + n,
                                  "upstream_response_time": 1833, "stream": "true" if "stream" in text else "false", "tool_count": 1 if "Weather" in text else 0,
                                  "has_tool_calls": "true" if "Weather" in text else "false", "end_user_id": f"cust-{n}", "cache_read_input_tokens": 16, "cache_creation_input_tokens": 0,
                                  "reasoning_tokens": 3, "content_risk_level": "high" if status == 400 else "none"}
            rec["llm_request"] = {"messages": client.chat(text)["messages"], "stream": "stream" in text}
            if status == 200:
                rec["llm_response_text"] = {"content": "Here is a short, harmless answer."}
        out.append(rec)
        kind = "traditional_http" if status == 401 else "ai_stream" if "stream" in text else "ai_chat"
        s = 20 + n
        access.append(f'{ip} - - [22/Nov/2026:20:00:{s:02d} +0000] gw.example.com:9080 "POST /v1/chat/completions HTTP/1.1" {status} 2210 1.846 "-" "openai-python/1.99.1" '
                      f'198.51.100.80:443 {status} 1.833 "https://api.example.com/v1/chat/completions" "{uid(n).replace("-", "")}" "{kind}" "611" "{model}-2026-08-06" "{model}"  "{60 + n}" "7"')
    out[3]["start_time"] = START + 3000.5  # newer versions log fractions
    lines("apisix.ai_proxy", "http_logger.ndjson", out)
    lines("apisix.ai_proxy", "access.log", access)


if __name__ == "__main__":
    kong()
    cloudflare()
    apisix()
