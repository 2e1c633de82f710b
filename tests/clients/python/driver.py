"""kafka-python, driven by JSON lines: one question per line on standard input, one answer per line.

The questions and answers are described in tests/clients/src/script.rs. Bytes are base64.
"""

import base64
import json
import sys
import threading
import time

import kafka.errors
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

PATIENCE_S = 30


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def decode(text):
    return None if text is None else base64.b64decode(text)


def producer(q, **more):
    settings = {
        "bootstrap_servers": q["bootstrap"],
        "acks": "all" if q["acks"] == "all" else int(q["acks"]),
        "compression_type": None if q["codec"] == "none" else q["codec"],
        "enable_idempotence": q["idempotent"],
        "linger_ms": 5,
        # Several batches in a partition, so that offsets and times are looked up across them.
        "batch_size": 4096,
    }
    if q.get("large"):
        settings["max_request_size"] = 16777216
    settings.update(more)
    return KafkaProducer(**settings)


def consumer(q, **more):
    return KafkaConsumer(bootstrap_servers=q["bootstrap"], group_id=None, enable_auto_commit=False,
                         auto_offset_reset="none", check_crcs=True, allow_auto_create_topics=False, **more)


def admin(q):
    return KafkaAdminClient(bootstrap_servers=q["bootstrap"])


def produce(q):
    client = producer(q)
    try:
        futures = [
            client.send(q["topic"], key=decode(r["key"]), value=decode(r["value"]), partition=q["partition"],
                        timestamp_ms=r["timestamp"], headers=[(name, decode(value)) for name, value in r["headers"]])
            for r in q["records"]
        ]
        client.flush(PATIENCE_S)
        told = [future.get(PATIENCE_S) for future in futures]
    finally:
        client.close(PATIENCE_S)
    return {"offsets": [None if q["acks"] == "0" else r.offset for r in told]}


def consume(q):
    client = consumer(q)
    try:
        partitions = [TopicPartition(q["topic"], p) for p in q["partitions"]]
        ends = client.end_offsets(partitions)
        client.assign(partitions)
        begin = q["from"]
        if "timestamp" in begin:
            found = client.offsets_for_times({p: begin["timestamp"] for p in partitions})
            for p in partitions:
                client.seek(p, found[p].offset if found[p] else ends[p])
        elif "offset" in begin:
            for p in partitions:
                client.seek(p, begin["offset"])
        else:
            client.seek_to_beginning(*partitions)
        records = []
        deadline = time.monotonic() + PATIENCE_S
        while any(client.position(p) < ends[p] for p in partitions):
            if time.monotonic() > deadline:
                raise TimeoutError(f"time is up; read {len(records)} records")
            for batch in client.poll(timeout_ms=100).values():
                records.extend(batch)
        return {"records": [consumed(r) for r in records]}
    finally:
        client.close()


def consumed(r):
    return {
        "partition": r.partition,
        "offset": r.offset,
        "timestamp": r.timestamp,
        "key": encode(r.key),
        "value": encode(r.value),
        "headers": [[name, encode(value)] for name, value in r.headers],
    }


def with_admin(q, ask):
    client = admin(q)
    try:
        return ask(client)
    finally:
        client.close()


def checked_topic(topic):
    if topic["error_code"]:
        raise kafka.errors.for_code(topic["error_code"])(topic["name"])
    return len(topic["partitions"])


def topics(q):
    found = with_admin(q, lambda client: client.describe_topics())
    return {"topics": {topic["name"]: checked_topic(topic) for topic in found}}


def describe(q):
    found = with_admin(q, lambda client: client.describe_topics([q["topic"]]))
    return {"partitions": checked_topic(found[0])}


def create_topic(q):
    spec = {q["topic"]: {"num_partitions": q["partitions"], "replication_factor": 1, "configs": q["configs"]}}
    with_admin(q, lambda client: client.create_topics(spec))
    return {}


def delete_topic(q):
    with_admin(q, lambda client: client.delete_topics([q["topic"]]))
    return {}


def configs(q):
    resource = ConfigResource(ConfigResourceType.TOPIC, q["topic"])
    found = with_admin(q, lambda client: client.describe_configs([resource], config_filter="all"))
    (by_name,) = found.values()
    entries = by_name[q["topic"]]
    return {"configs": {name: entry["value"] for name, entry in entries.items() if entry["value"] is not None}}


class Load:
    """Sends numbered messages at a pace until it is told to stop, and remembers what became of each."""

    def __init__(self, q):
        self.q = q
        self.history = []
        self.failures = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def note(self, **event):
        self.history.append({"at": time.time_ns() // 1000, **event})

    def run(self):
        q = self.q
        # Big enough that no record is given up while the broker is away.
        client = producer({**q, "codec": "lz4", "acks": "all", "idempotent": True}, delivery_timeout_ms=240000,
                          max_block_ms=240000, reconnect_backoff_ms=20, reconnect_backoff_max_ms=200)
        number = 0
        start = time.monotonic()
        while not self.stopping.is_set():
            message = q["producer"] * 1_000_000_000 + number
            partition = number % q["partitions"]
            self.note(event="sent", producer=q["producer"], message=message, topic=q["topic"], partition=partition)
            value = f"{message}:{'x' * (message % 200)}".encode()
            future = client.send(q["topic"], value=value, partition=partition)
            future.add_callback(lambda told, message=message: self.note(event="acked", message=message,
                                                                        offset=told.offset))
            future.add_errback(lambda error, message=message: self.failures.append(f"{message}: {error!r}"))
            number += 1
            self.stopping.wait(max(0, start + number / q["per_second"] - time.monotonic()))
        client.flush(120)
        client.close(PATIENCE_S)

    def stop(self):
        self.stopping.set()
        self.thread.join()
        return {"history": self.history, "failures": self.failures}


class Follower:
    """Reads partitions from their beginning until it is told to stop, and remembers what it read and when."""

    def __init__(self, q):
        self.q = q
        self.read = []
        self.error = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            client = consumer(self.q, reconnect_backoff_ms=20, reconnect_backoff_max_ms=200)
            partitions = [TopicPartition(self.q["topic"], p) for p in range(self.q["partitions"])]
            client.assign(partitions)
            for p in partitions:
                client.seek(p, 0)
            while not self.stopping.is_set():
                for batch in client.poll(timeout_ms=50).values():
                    at = time.time_ns() // 1000
                    self.read.extend([at, r.partition, r.offset, encode(r.value)] for r in batch)
            client.close()
        except Exception as error:  # whatever it is, the test must see it
            self.error = error

    def stop(self):
        self.stopping.set()
        self.thread.join()
        if self.error:
            raise self.error
        return {"read": self.read}


load = None
follower = None


def follow_start(q):
    global follower
    follower = Follower(q)
    return {}


def follow_stop(q):
    return follower.stop()


def load_start(q):
    global load
    load = Load(q)
    return {}


def load_stop(q):
    return load.stop()


OPERATIONS = {f.__name__: f for f in (produce, consume, topics, describe, create_topic, delete_topic, configs,
                                      load_start, load_stop, follow_start, follow_stop)}


def answer(line):
    try:
        q = json.loads(line)
        return OPERATIONS[q["op"]](q)
    except Exception as error:  # whatever it is, the test must see it
        return {"error": repr(error), "code": getattr(error, "errno", None)}


for line in sys.stdin:
    print(json.dumps(answer(line)), flush=True)
