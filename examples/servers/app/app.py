# Answers at once, on /.../slow after 3 s. HANDLER=none is an application without
# a signal handler.
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.endswith("/slow"):
            time.sleep(3)
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"done\n")

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for the requests in flight
    request_queue_size = 128


def stop(signum, frame):
    print("got", signal.Signals(signum).name, flush=True)
    threading.Thread(target=server.shutdown).start()


server = Server(("", 8080), Handler)
if os.environ.get("HANDLER") != "none":
    signal.signal(signal.SIGTERM, stop)
server.serve_forever(poll_interval=0.1)
server.server_close()
print("closed nicely", flush=True)
