"""System calls of a traced thread that is stopped: which one it makes, and how to change that.

PTRACE_GETREGSET (ptrace(2), Linux 2.6.34), PTRACE_GET_SYSCALL_INFO (Linux 5.3), NT_ARM_SYSTEM_CALL
(Linux 3.18). Since Linux 4.8, seccomp filters see a call that was changed at its entry.

Every change is one request to the kernel, so a tracer that is killed leaves the thread either in
its own call or in one whose result the caller is prepared for. No argument register is changed,
except by `again`: compilers expect to find them as they were.

Functions raise ProcessLookupError if the thread has been killed, OSError.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from sockact.core.record import dataclass
from sockact.kernel import libc

_GETREGSET, _SETREGSET = 0x4204, 0x4205
_GET_SYSCALL_INFO = 0x420E
_PEEKTEXT = 1
_NT_PRSTATUS = 1
_NT_ARM_SYSTEM_CALL = 0x404
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(libc.MACHINE, 0)

# struct ptrace_syscall_info: op, arch, instruction and stack pointer, then nr and args of an entry,
# or rval and is_error of an exit.
_INFO_SIZE = 88
_HEAD = struct.Struct("=B3xIQQ")
_ENTRY = struct.Struct("=7Q")
_EXIT = struct.Struct("=qB")
_OP_ENTRY, _OP_EXIT = 1, 2

_X86 = libc.MACHINE == "x86_64"
# Indexes in struct user_regs_struct of x86-64, and in struct user_pt_regs of arm64.
_COUNT = 27 if _X86 else 34
_RESULT = 10 if _X86 else 0  # rax, x0
_POINTER = 16 if _X86 else 32  # rip, pc
_ORIGINAL = 15  # orig_rax
_ARGUMENTS = (14, 13, 12, 7, 9, 8) if _X86 else (0, 1, 2, 3, 4, 5)
_NUMBER = _ORIGINAL if _X86 else 8  # x8
_INSTRUCTION = 2 if _X86 else 4
"""The length of the instruction that makes a system call: syscall, svc."""
_SVC = 0xD4000001
RESTARTS = (-512, -513, -514, -516)
"""Results of an interrupted call after which the kernel makes it again: linux/errno.h."""
_WORD = (1 << 64) - 1


@dataclass(frozen=True)
class Call:
    """A system call. `after` is the address of the instruction that follows it."""

    number: int
    arguments: tuple[int, ...]
    after: int


@dataclass(frozen=True)
class Result:
    """What a system call returns: a value, or a negative errno."""

    value: int


def at_stop(tid: int) -> Call | Result | None:
    """The call that begins or ends at this stop; None for any other stop, or if it is not a call of
    the native architecture.
    """
    info = ctypes.create_string_buffer(_INFO_SIZE)
    libc.ptrace(_GET_SYSCALL_INFO, tid, len(info), ctypes.addressof(info))
    kind, arch, pointer, _stack = _HEAD.unpack_from(info)
    if arch != _ARCH:
        return None
    if kind == _OP_ENTRY:
        number, *arguments = _ENTRY.unpack_from(info, _HEAD.size)
        return Call(number, tuple(arguments), pointer)
    if kind == _OP_EXIT:
        return Result(_EXIT.unpack_from(info, _HEAD.size)[0])
    return None


def interrupted(tid: int) -> Call | None:
    """The call that an interrupted thread will make again, without having got a result of it."""
    found = _read(tid)
    arguments = tuple(found[index] for index in _ARGUMENTS)
    if _X86:
        is_again = _signed(found[_RESULT]) in RESTARTS and _signed(found[_NUMBER]) >= 0
        return Call(found[_NUMBER], arguments, found[_POINTER]) if is_again else None
    # The kernel has already put the thread back to the instruction.
    if _instruction(tid, found[_POINTER]) != _SVC:
        return None
    return Call(found[_NUMBER], arguments, found[_POINTER] + _INSTRUCTION)


def finish(tid: int, call: Call, result: int) -> None:
    """Let an interrupted call return `result`: one that `interrupted` has found, or at its exit."""
    found = _read(tid)
    found[_RESULT], found[_POINTER] = result & _WORD, call.after
    _write(tid, found)


def become(tid: int, number: int) -> None:
    """At the entry of a call, have the kernel carry out another one with the same arguments."""
    if _X86:
        found = _read(tid)
        found[_ORIGINAL] = number
        _write(tid, found)
    else:
        data = ctypes.create_string_buffer(struct.pack("=i", number), 4)
        _regset(_SETREGSET, tid, _NT_ARM_SYSTEM_CALL, data)


def again(tid: int, call: Call) -> None:
    """At the exit of a call, have the thread make `call`, which was its own, as if it had not made
    any.
    """
    found = _read(tid)
    if _X86:
        found[_RESULT] = call.number
        found[_ORIGINAL] = _WORD  # Outside of a call.
    else:
        found[_RESULT] = call.arguments[0]  # The number is in its register still.
    found[_POINTER] = call.after - _INSTRUCTION
    _write(tid, found)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _instruction(tid: int, address: int) -> int:
    data = ctypes.c_long()
    try:
        # The system call itself, unlike the function of the C library, returns 0 and stores it.
        libc.ptrace(_PEEKTEXT, tid, address & ~7, ctypes.addressof(data))
    except OSError as error:
        if error.errno in (errno.EIO, errno.EFAULT):
            return 0
        raise
    return data.value >> (address & 4) * 8 & 0xFFFFFFFF


def _read(tid: int) -> list[int]:
    data = ctypes.create_string_buffer(_COUNT * 8)
    if _regset(_GETREGSET, tid, _NT_PRSTATUS, data) != len(data):
        raise OSError(errno.ENOEXEC, "not a process of the native architecture")
    return list(struct.unpack(f"={_COUNT}Q", data.raw))


def _write(tid: int, found: list[int]) -> None:
    data = struct.pack(f"={_COUNT}Q", *found)
    _regset(_SETREGSET, tid, _NT_PRSTATUS, ctypes.create_string_buffer(data, len(data)))


def _regset(request: int, tid: int, which: int, data: ctypes.Array[ctypes.c_char]) -> int:
    """Read or write a set of registers; return its length."""
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(data), len(data))  # struct iovec
    libc.ptrace(request, tid, which, ctypes.addressof(vector))
    return vector[1]
