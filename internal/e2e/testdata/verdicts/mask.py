# Blocks TERM. nobody: and never asks for it; main, thread: a thread waits for it.
import signal
import sys
import threading
import time

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def wait():
    signal.sigwait([signal.SIGTERM])


if sys.argv[1] == "main":
    wait()
elif sys.argv[1] == "thread":
    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join()
else:
    time.sleep(1000)
