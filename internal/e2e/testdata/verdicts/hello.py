# Answers at once, on /slow after 3 s.
import time

from flask import Flask

app = Flask(__name__)


@app.route("/")
def hello():
    return "done\n"


@app.route("/slow")
def slow():
    time.sleep(3)
    return "done\n"
