"""The programs of the services in unit_table.py."""

from __future__ import annotations

SHOP = "/opt/shop"
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"well\\n"]
"""
ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"well"})
"""
# It says READY=1 by itself.
NOTIFYING = """
import asyncio, signal, sys
import sdnotify

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nwell")
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]))
    sdnotify.SystemdNotifier().notify("READY=1")
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await over.wait()
    server.close()

asyncio.run(main())
"""
# It binds as root, and becomes another user.
DROPPING = """
import http.server, os, pwd, signal, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"well")

    def log_message(self, *words):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer)
user = pwd.getpwnam("app")
os.setgroups([])
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server.serve_forever()
"""
# A master, and workers that are processes of their own.
FORKING = """
import os, signal, socket, sys, time

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))

def work():
    while True:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nwell")

workers = []
for _ in range(3):
    pid = os.fork()
    if not pid:
        work()
    workers.append(pid)

def stop(*_):
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
while True:
    signal.pause()
"""
APPS = {
    f"{SHOP}/shop.py": WSGI,
    f"{SHOP}/live.py": ASGI,
    f"{SHOP}/notifying.py": NOTIFYING,
    f"{SHOP}/dropping.py": DROPPING,
    f"{SHOP}/forking.py": FORKING,
}
