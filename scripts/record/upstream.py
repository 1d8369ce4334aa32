"""A tiny OpenAI-compatible server for recordings: fixed answers, no model.

Knows the keys of corpus.KEYS. Models: chat-small, chat-large, embed-small;
`slow-model` answers after five seconds, `broken-model` gives 500 and
`limited-model` 429. A request that offers tools gets a tool call back.
"""

import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from corpus import KEYS, MODELS

SPECIAL = ["slow-model", "broken-model", "limited-model"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, obj):
        body = json.dumps(obj).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def error(self, status, kind, message):
        self.reply(status, {"error": {"message": message, "type": kind, "param": None, "code": kind}})

    def allowed(self):
        key = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        key = key or self.headers.get("x-api-key", "")
        if key in KEYS.values():
            return True
        self.error(401, "invalid_api_key", "Incorrect API key provided.")
        return False

    def do_GET(self):
        if self.path == "/health":
            return self.reply(200, {"status": "ok"})
        if not self.path.startswith("/v1/"):
            return self.error(404, "not_found", "no such path")
        if not self.allowed():
            return None
        path = self.path.split("?")[0]
        if path == "/v1/models":
            return self.reply(200, {"object": "list", "data": [
                {"id": m, "object": "model", "created": 1767225600, "owned_by": "example"} for m in MODELS]})
        name = path.removeprefix("/v1/models/")
        if name in MODELS:
            return self.reply(200, {"id": name, "object": "model", "created": 1767225600, "owned_by": "example"})
        return self.error(404, "model_not_found", f"The model '{name}' does not exist")

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.allowed():
            return None
        try:
            req = json.loads(raw)
            model = req["model"]
        except (ValueError, KeyError, TypeError):
            return self.error(400, "invalid_request_error", "We could not parse the JSON body of your request.")
        if model == "broken-model":
            return self.error(500, "server_error", "The server had an error while processing your request.")
        if model == "limited-model":
            return self.error(429, "rate_limit_exceeded", "Rate limit reached for requests.")
        if model == "slow-model":
            time.sleep(5)
        elif model not in MODELS:
            return self.error(404, "model_not_found", f"The model '{model}' does not exist")
        if self.path.endswith("/embeddings"):
            return self.embeddings(req, model)
        if self.path.endswith("/chat/completions"):
            return self.stream(model) if req.get("stream") else self.chat(req, model, raw)
        return self.error(404, "not_found", "no such path")

    def not_allowed(self):
        self.error(405, "method_not_allowed", "Method Not Allowed")

    do_DELETE = do_OPTIONS = do_PUT = not_allowed

    def embeddings(self, req, model):
        texts = req.get("input")
        texts = texts if isinstance(texts, list) else [texts]
        words = sum(len(str(t).split()) for t in texts)
        self.reply(200, {"object": "list", "model": model, "data": [
            {"object": "embedding", "index": i, "embedding": [0.01 * i, -0.25, 0.5]} for i, _ in enumerate(texts)],
            "usage": {"prompt_tokens": words, "total_tokens": words}})

    def chat(self, req, model, raw):
        message = {"role": "assistant", "content": "Here is a short, harmless answer."}
        finish = "stop"
        # A result of a tool ends the round, so that agents do not loop.
        done = any(m.get("role") == "tool" for m in req.get("messages", []) if isinstance(m, dict))
        if req.get("tools") and not done:
            fn = req["tools"][0]["function"]["name"]
            message = {"role": "assistant", "content": None, "tool_calls": [{
                "id": "call_synthetic01", "type": "function",
                "function": {"name": fn, "arguments": json.dumps({"city": "Osaka"})}}]}
            finish = "tool_calls"
        tokens = max(1, len(raw) // 4)
        self.reply(200, {"id": "chatcmpl-" + uuid.uuid4().hex[:12], "object": "chat.completion", "created": int(time.time()),
                         "model": model, "choices": [{"index": 0, "message": message, "finish_reason": finish}],
                         "usage": {"prompt_tokens": tokens, "completion_tokens": 7, "total_tokens": tokens + 7}})

    def stream(self, model):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        base = {"id": "chatcmpl-" + uuid.uuid4().hex[:12], "object": "chat.completion.chunk",
                "created": int(time.time()), "model": model}
        for word in ["Here ", "is ", "a ", "streamed ", "answer."]:
            self.event({**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": word},
                                             "finish_reason": None}]})
            time.sleep(0.03)
        self.event({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.event({**base, "choices": [],
                    "usage": {"prompt_tokens": 21, "completion_tokens": 5, "total_tokens": 26}})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def event(self, obj):
        self.wfile.write(b"data: " + json.dumps(obj).encode() + b"\n\n")
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that goes away mid-answer is part of the recording."""


def start(port):
    """Serves on a loopback port in a thread; the caller calls shutdown()."""
    server = Server(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
