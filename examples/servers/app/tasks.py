# A task of 3 s. Counters in Redis say how many began and how many finished.
import time

import redis
from celery import Celery
from celery.signals import worker_ready

app = Celery("tasks", broker="redis://redis/0")
app.conf.worker_prefetch_multiplier = 1
count = redis.Redis("redis", db=1)


@app.task
def slow():
    count.incr("began")
    time.sleep(3)
    count.incr("finished")


@worker_ready.connect
def ready(**_):
    open("/tmp/ready", "w").close()
