"""Tracing threads of other processes for a moment: ptrace(2).

Never leaves a thread stopped, nor in a call that it did not make.
"""

__all__ = ("memory", "registers", "tracer")
