# SPDX-License-Identifier: ISC
"""System calls made from inside another process: it is stopped where it waits, and made to call something else instead. Needs root, x86-64."""
import contextlib
import ctypes
import os
import platform

from .postern import wait_until

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_CONT, PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_ATTACH, PTRACE_DETACH = 7, 12, 13, 16, 17
REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs").split()
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
SYSCALL = b"\x0f\x05"  # the instruction
POSSIBLE = os.getuid() == 0 and platform.machine() == "x86_64"


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in REGISTERS]


def ptrace(request, pid, address=None, data=None):
    if LIBC.ptrace(request, pid, address, data) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


@contextlib.contextmanager
def attached(pid):
    ptrace(PTRACE_ATTACH, pid)
    os.waitpid(pid, 0x40000000)  # __WALL
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            ptrace(PTRACE_DETACH, pid)


def call_instead(pid, number, arguments):
    """False: it does not wait in a system call now."""
    with attached(pid):
        registers = Registers()
        ptrace(PTRACE_GETREGS, pid, None, ctypes.byref(registers))
        with open(f"/proc/{pid}/mem", "rb") as memory:
            memory.seek(registers.rip - 2)
            if memory.read(2) != SYSCALL:
                return False
        registers.rip -= 2
        registers.rax = number
        registers.orig_rax = (1 << 64) - 1  # nothing is to be begun again
        for name, value in zip(ARGUMENTS, arguments):
            setattr(registers, name, value)
        ptrace(PTRACE_SETREGS, pid, None, ctypes.byref(registers))
        return True


def make_call(pid, number, *arguments):
    """Lets a process make this system call, once, in the place of one that it waits in, and then go on as it will; most often it dies of it."""
    wait_until(lambda: call_instead(pid, number, arguments), what="a process that waits in a system call")
