# Answers at once, on /.../slow after 3 s.
import time


def application(environ, start_response):
    if environ["PATH_INFO"].endswith("/slow"):
        time.sleep(3)
    start_response("200 OK", [("Content-Length", "5")])
    return [b"done\n"]
