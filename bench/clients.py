"""librdkafka end to end: messages a second, CPU of the broker and of the client a message, latency to the report."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, Producer

from .broker import RunningBroker

QUEUE_MESSAGES = 1_000_000
CONSUMER = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "fetch.queue.backoff.ms": 1,  # its default of 1,000 makes a fast broker look slow
    "queued.max.messages.kbytes": 1 << 20,
}


class Cost:
    """What a stretch of work took."""

    def __init__(self) -> None:
        self.seconds = self.broker_us = self.client_us = 0.0


@contextmanager
def cost_of(broker: RunningBroker) -> Iterator[Cost]:
    cost = Cost()
    broker_us, client_ns, begun = broker.cpu_us(), time.process_time_ns(), time.perf_counter()
    yield cost
    cost.seconds = time.perf_counter() - begun
    cost.client_us = (time.process_time_ns() - client_ns) / 1000
    cost.broker_us = broker.cpu_us() - broker_us


def produce(broker: RunningBroker, topic: str, size: int, count: int) -> Cost:
    """count messages as fast as they go, acks=all, linger 5 ms; ends when all are acknowledged."""
    producer = Producer(
        {
            "bootstrap.servers": broker.bootstrap,
            "acks": "all",
            "linger.ms": 5,
            "queue.buffering.max.messages": QUEUE_MESSAGES,
        }
    )
    value = b"x" * size
    with cost_of(broker) as cost:
        for number in range(count):
            while True:
                try:
                    producer.produce(topic, value)
                    break
                except BufferError:
                    producer.poll(0.01)
            if number % 1000 == 0:
                producer.poll(0)
        left = producer.flush(120)
    assert left == 0, f"{left} messages were not acknowledged"
    return cost


def consume(broker: RunningBroker, topic: str, count: int) -> Cost:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": f"bench-{topic}", **CONSUMER})
    consumer.subscribe([topic])
    got = len(consumer.consume(1, 60))  # the group has formed
    with cost_of(broker) as cost:
        while got < count:
            messages = consumer.consume(min(10_000, count - got), 10)
            assert messages, f"{got} of {count} messages came"
            got += len(messages)
    consumer.close()
    return cost


def report_latency(
    broker: RunningBroker, topic: str, rate: int, seconds: float
) -> tuple[float, float, float]:
    """Microseconds from produce to the delivery report at a steady rate: p50, p99, and broker CPU a message."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "linger.ms": 0})
    taken: list[float] = []
    count = int(rate * seconds)
    producer.produce(topic, b"x")
    producer.flush(30)
    with cost_of(broker) as cost:
        begun = time.perf_counter()
        for number in range(count):
            due = begun + number / rate
            while (left := due - time.perf_counter()) > 0:
                producer.poll(left)
            sent = time.perf_counter()
            producer.produce(
                topic, b"x" * 100, on_delivery=lambda *_, sent=sent: taken.append(time.perf_counter() - sent)
            )
            producer.poll(0)
        producer.flush(30)
    taken.sort()
    return (
        statistics.median(taken) * 1e6,
        taken[int(len(taken) * 0.99)] * 1e6,
        cost.broker_us / count,
    )


def print_lines(broker: RunningBroker, scale: float) -> None:
    for size, count in ((100, 1_000_000), (1024, 400_000)):
        count = int(count * scale)
        topic = f"clients-{size}"
        broker.create([topic], 4)
        for name, cost in (
            ("produce", produce(broker, topic, size, count)),
            ("consume", consume(broker, topic, count)),
        ):
            print(
                f"librdkafka {name} {size:4} B {count / cost.seconds:11,.0f} messages/s"
                f" {cost.broker_us / count:7.2f} us broker {cost.client_us / count:6.2f} us client a message",
                flush=True,
            )
    broker.create(["latency"], 4)
    for rate in (100, 1000, 5000):
        median, slow, cost_us = report_latency(broker, "latency", rate, 5 * scale)
        print(
            f"produce to report {rate:5}/s {median:9,.0f} us p50 {slow:8,.0f} us p99 {cost_us:8.1f} us broker a message",
            flush=True,
        )
