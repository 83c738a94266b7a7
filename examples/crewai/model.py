"""A model without a model: an OpenAI-compatible server that plays a script, and an invoice API beside it, for the agent's example.

    python3 model.py --listen 127.0.0.1 --port 0 [--cert FILE --key FILE] [--billing-port 0] [--bearer NAME_OF_VARIABLE]

Prints one JSON line with its ports once it listens; then one JSON line a request: {"at": "model"|"billing", "line": …, "authorized": …}.
The script: read invoice 7, delete it, and say what the tools answered. With --bearer only who knows that variable's value is served, so
an agent that has a placeholder for a key gets nowhere by itself. Python's standard library only; it reads no more than it must.
"""
import argparse
import json
import os
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STEPS = [("read_invoice", {"number": 7}), ("delete_invoice", {"number": 7})]
MAX_BODY = 4 << 20


def completion(request):
    """What the script says next: as many steps are done as tool answers are in the conversation."""
    messages = request.get("messages", [])
    answers = [m.get("content") for m in messages if m.get("role") == "tool"]
    if len(answers) < len(STEPS):
        name, arguments = STEPS[len(answers)]
        call = {"id": "call_%d" % len(answers), "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    return {"role": "assistant", "content": "Invoice 7 says %s; deleting it was %s" % tuple(answers[: len(STEPS)])}, "stop"


def whole(request, message, reason):
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": request.get("model", "script"),
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def streamed(request, message, reason):
    """The same as server-sent events: a tool call arrives as deltas."""
    delta = dict(message)
    if "tool_calls" in delta:
        delta["tool_calls"] = [dict(call, index=i) for i, call in enumerate(delta["tool_calls"])]
    for part, end in ((delta, None), ({}, reason)):
        yield {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": request.get("model", "script"), "choices": [{"index": 0, "delta": part, "finish_reason": end}]}


def note(at, line, authorized=None):
    print(json.dumps({"at": at, "line": line, "authorized": authorized}), flush=True)


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Model(Quiet):
    bearer = None

    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), MAX_BODY))
        authorized = self.bearer is None or self.headers.get("Authorization") == "Bearer " + self.bearer
        note("model", self.requestline, authorized)
        if not authorized:
            return self.answer(401, "application/json", b'{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}')
        request = json.loads(body)
        message, reason = completion(request)
        if not request.get("stream"):
            return self.answer(200, "application/json", json.dumps(whole(request, message, reason)).encode())
        events = "".join("data: %s\n\n" % json.dumps(event) for event in streamed(request, message, reason)) + "data: [DONE]\n\n"
        return self.answer(200, "text/event-stream", events.encode())


class Billing(Quiet):
    def do_GET(self):
        note("billing", self.requestline)
        self.answer(200, "application/json", b'{"invoice":7,"amount":120.5}')

    do_DELETE = do_GET


def serve(handler, address, secure):
    server = ThreadingHTTPServer(address, handler)
    if secure is not None:
        server.socket = secure.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--billing-port", type=int, default=0)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--bearer")
    options = parser.parse_args()
    if options.bearer:
        Model.bearer = os.environ[options.bearer]
    secure = None
    if options.cert:
        secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secure.load_cert_chain(options.cert, options.key)
    ports = {"model": serve(Model, (options.listen, options.port), secure), "billing": serve(Billing, (options.listen, options.billing_port), secure)}
    print(json.dumps(ports), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
