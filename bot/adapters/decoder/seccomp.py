"""A filter of system calls: what a decoder needs that has its files open already, and nothing else.

No file can be opened, no socket made, no process or thread started, nobody signalled: the kernel answers EPERM.
The filter is classic BPF over ``struct seccomp_data`` (Linux, Documentation/userspace-api/seccomp_filter.rst); numbers
are those of the kernel's ``unistd.h`` for the two machines that it is written for.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM

# Operations of classic BPF, from linux/bpf_common.h.
_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

# Offsets in struct seccomp_data.
_SYSCALL_NUMBER = 0
_ARCHITECTURE = 4

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}
_ALLOWED = {
    # open files
    "read": (0, 63),
    "write": (1, 64),
    "lseek": (8, 62),
    "ftruncate": (77, 46),
    "close": (3, 57),
    # memory
    "brk": (12, 214),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    # the interpreter's own business
    "futex": (202, 98),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "exit": (60, 93),
    "exit_group": (231, 94),
}


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def is_supported() -> bool:
    """Whether there is a filter for this machine."""
    return sys.platform == "linux" and platform.machine() in _AUDIT_ARCH and sys.maxsize > 1 << 32


def install() -> bool:
    """Confine this thread, for good; False where the kernel or the machine does not know how.

    ``PR_SET_NO_NEW_PRIVS`` has to be set before. Threads that run already are not confined.
    """
    if not is_supported():
        return False
    code = _program(platform.machine())
    instructions = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(instructions))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0


def _program(machine: str) -> bytes:
    """The instructions: refuse another architecture's calls, allow those of the list, refuse the rest."""
    numbers = [number[_COLUMN[machine]] for number in _ALLOWED.values()]
    code = [
        _instruction(_LOAD_WORD, _ARCHITECTURE),
        _instruction(_JUMP_IF_EQUAL, _AUDIT_ARCH[machine], if_true=1),
        _instruction(_RETURN, _REFUSE),
        _instruction(_LOAD_WORD, _SYSCALL_NUMBER),
    ]
    for place, number in enumerate(numbers):
        remaining = len(numbers) - place
        code.append(_instruction(_JUMP_IF_EQUAL, number, if_true=remaining))  # over the rest and the refusal
    code += [_instruction(_RETURN, _REFUSE), _instruction(_RETURN, _ALLOW)]
    return b"".join(code)


def _instruction(operation: int, operand: int, *, if_true: int = 0) -> bytes:
    """``struct sock_filter``; a jump that is not taken goes on with the next instruction."""
    return struct.pack("=HBBI", operation, if_true, 0, operand)
