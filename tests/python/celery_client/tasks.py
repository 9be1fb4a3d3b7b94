"""A Celery application as its users write one. The worker process and the tests both import it."""

import os
import time

from celery import Celery

PREFIX = os.environ["SUITE_PREFIX"]

app = Celery("suite", broker=os.environ["SUITE_BROKER"], backend="rpc://")
app.conf.update(
    task_default_queue=f"{PREFIX}.default",
    task_default_exchange=f"{PREFIX}.default",
    task_default_routing_key=f"{PREFIX}.default",
    task_routes={"suite.urgent": {"queue": f"{PREFIX}.urgent"}},
    task_queue_max_priority=10,
    control_exchange=f"{PREFIX}.pidbox",
    event_exchange=f"{PREFIX}.events",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_connection_retry_on_startup=True,
    broker_heartbeat=10,
    result_expires=600,
)


@app.task(name="suite.add")
def add(a, b):
    """The simplest task."""
    return a + b


@app.task(name="suite.urgent", bind=True)
def urgent(self):
    """Answers the queue it was routed through."""
    return self.request.delivery_info["routing_key"]


@app.task(name="suite.fails")
def fails():
    """Raises."""
    raise ValueError("on purpose")


@app.task(name="suite.third_time", bind=True, max_retries=5)
def third_time(self):
    """Succeeds at the third attempt."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.2)
    return self.request.retries


@app.task(name="suite.priority", bind=True)
def priority(self):
    """Answers the priority its message came with."""
    return self.request.delivery_info["priority"]


@app.task(name="suite.when")
def when():
    """Answers the time at which it ran."""
    return time.time()


@app.task(name="suite.hold", bind=True)
def hold(self, path):
    """Notes its start in a file and then takes long; a second delivery ends at once."""
    again = os.path.exists(path)
    with open(path, "a", encoding="utf-8") as notes:
        notes.write(f"{os.getppid()} {self.request.delivery_info['redelivered']}\n")
    if not again:
        time.sleep(600)
    return "done"
