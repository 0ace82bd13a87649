"""Small programs that wait for connections in each way, and answer each with their pid."""

from __future__ import annotations

PREAMBLE = """
import os, select, signal, socket, sys, threading
listener = socket.socket(fileno=int(sys.argv[1]))
def serve():
    connection, peer = listener.accept()
    answer(connection, peer)
def answer(connection, peer):
    assert peer == connection.getpeername(), peer
    assert connection.getblocking()
    connection.sendall(b"%d " % os.getpid())
    kept.append(connection)
def try_to_serve():
    try:
        serve()
    except BlockingIOError:
        pass
kept = []
never, _never = os.pipe()
def once(events=select.EPOLLIN, more=()):
    loop = select.epoll()
    for fd in (listener.fileno(), *more):
        loop.register(fd, events)
    return loop
def run(loop, after=lambda: None):
    while True:
        for _ in loop.poll():
            try_to_serve()
            after()
"""
ACCEPT = "while True: serve()"
THREADS = (
    "for _ in range(3): threading.Thread(target=lambda: [serve() for _ in iter(int, 1)]).start()"
)
LEVEL = "run(once())"
EDGE = """
loop = once(select.EPOLLIN | select.EPOLLET)
while True:
    loop.poll()
    try:
        while True: serve()
    except BlockingIOError: pass
"""
ONESHOT = """
loop = once(select.EPOLLIN | select.EPOLLONESHOT)
run(loop, lambda: loop.modify(listener, select.EPOLLIN | select.EPOLLONESHOT))
"""
EXCLUSIVE = "run(once(select.EPOLLIN | select.EPOLLEXCLUSIVE))"
TWICE = "run(once(more=[os.dup(listener.fileno())]))"
TWO_LOOPS = "threading.Thread(target=run, args=[once()]).start(); run(once())"
ONE_LOOP_OF_TWO_THREADS = "l = once(); threading.Thread(target=run, args=[l]).start(); run(l)"
ANOTHER_THREAD_ACCEPTS = """
import queue
told, done = queue.SimpleQueue(), queue.SimpleQueue()
def accept():
    while True:
        told.get()
        try_to_serve()
        done.put(None)
threading.Thread(target=accept).start()
loop = once()
while True:
    for _ in loop.poll():
        told.put(None)
        done.get()
"""
POLL = """
poll = select.poll(); poll.register(listener, select.POLLIN); poll.register(never, select.POLLIN)
while True:
    assert [fd for fd, _ in poll.poll()] == [listener.fileno()]
    try_to_serve()
"""
SELECT = """
while True:
    found = select.select([never, listener], [], [never], 3600)
    assert found == ([listener], [], []), found
    try_to_serve()
"""
FILTERED = """
import ctypes
from sockact.kernel import bpf, libc
libc.no_new_privileges()
allows = bpf.Program((bpf.RETURN, 0, 0, 0x7FFF0000))
libc.call("prctl", 22, 2, ctypes.c_char_p(allows.fprog))
run(once())
"""
BLOCKING = {"accept": ACCEPT, "threads": THREADS, "poll": POLL, "select": SELECT}
LOOPS = {
    "level": LEVEL,
    "edge": EDGE,
    "oneshot": ONESHOT,
    "exclusive": EXCLUSIVE,
    "two entries": TWICE,
    "two loops": TWO_LOOPS,
    "one loop of two threads": ONE_LOOP_OF_TWO_THREADS,
    "another thread accepts": ANOTHER_THREAD_ACCEPTS,
}
