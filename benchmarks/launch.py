"""Run a program and write down what it took: `launch.py RESULT PROGRAM ARGUMENT...`

A process of its own, because Linux counts the memory of whoever starts a program as that program's
peak (getrusage(2) keeps the maximum over exec): the starter has to be smaller than what it starts.
"""

import json
import os
import sys
import time

MIB = 1024
"""Kilobytes of getrusage(2) in one."""


def main() -> None:
    result, *argv = sys.argv[1:]
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        try:
            os.execv(argv[0], argv)
        finally:
            os._exit(127)
    _, status, usage = os.wait4(pid, 0)
    body = {
        "began": began,
        "wall": time.perf_counter() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss / MIB,
        "status": os.waitstatus_to_exitcode(status),
    }
    with open(result, "w", encoding="utf-8") as file:  # noqa: PTH123 (pathlib is large)
        json.dump(body, file)


if __name__ == "__main__":
    main()
