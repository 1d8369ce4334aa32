"""A plain HTTP client for recorders: one request, answered or given up."""

import http.client
import json


def send(port, method, path, body=None, key=None, headers=None, abort_after=None, timeout=30):
    """Returns (status, body); status 0 if the connection broke or abort_after seconds passed.

    body may be bytes or anything that becomes JSON; key goes into Authorization.
    """
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=abort_after or timeout)
    h = {"User-Agent": "openai-python/1.99.1"}
    if key:
        h["Authorization"] = "Bearer " + key
    data = None
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        h["Content-Type"] = "application/json"
    h.update(headers or {})
    try:
        conn.request(method, path, data, h)
        resp = conn.getresponse()
        return resp.status, resp.read()
    except (TimeoutError, ConnectionError, http.client.HTTPException):
        return 0, b""
    finally:
        conn.close()


def chat(text, model="chat-small", system="You are a helpful assistant.", **more):
    """The body of a chat completion."""
    return {"model": model, "messages": [{"role": "system", "content": system},
                                         {"role": "user", "content": text}], **more}


WEATHER_TOOL = {"type": "function", "function": {
    "name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
