"""Lines with librdkafka: messages a second, CPU of the broker a message, latency to the report and to the consumer."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import Consumer, Message, Producer

from .broker import Running
from .lag import lag_of
from .processes import idle_cores
from .raw import with_topic
from .site import Figures, Measure, Site, percentiles

QUEUE_MESSAGES = 1_000_000
PARTITIONS = 4
FLUSH_S = 120
CONSUMER = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "fetch.queue.backoff.ms": 1,  # its default of 1,000 makes a fast broker look slow
    "queued.max.messages.kbytes": 1 << 20,
}
GROUPS = itertools.count()
LATENCY_S = 5.0
ROUND_TRIPS_A_SECOND = 100
REPORTS, ROUND_TRIPS = "reports", "round trips"


@dataclass
class Cost:
    """What a stretch of work took."""

    seconds: float = 0.0
    broker_us: float = 0.0
    client_us: float = 0.0
    machine: Figures = field(default_factory=dict)

    def figures(self, messages: int) -> Figures:
        return {
            "messages_s": messages / self.seconds,
            "cpu_us": self.broker_us / messages,
            "client_us": self.client_us / messages,
            "client_cores": self.client_us / 1e6 / self.seconds,
            **self.machine,
        }


@contextmanager
def cost_of(broker: Running) -> Iterator[Cost]:
    cost = Cost()
    with lag_of(broker) as lag, idle_cores() as idle:
        broker_us, client_ns, begun = broker.cpu_us(), time.process_time_ns(), time.perf_counter()
        yield cost
        cost.seconds = time.perf_counter() - begun
        cost.client_us = (time.process_time_ns() - client_ns) / 1000
        cost.broker_us = broker.cpu_us() - broker_us
    cost.machine = {"idle_cores": idle.cores, **lag.figures()}


def send_all(broker: Running, topic: str, size: int, count: int) -> Cost:
    """count messages as fast as they go, acks=all, linger 5 ms; ends when all are acknowledged."""
    settings = {"acks": "all", "linger.ms": 5, "queue.buffering.max.messages": QUEUE_MESSAGES}
    producer = Producer({"bootstrap.servers": broker.bootstrap, **settings})
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
        left = producer.flush(FLUSH_S)
    assert left == 0, f"{left} messages were not acknowledged"
    return cost


def read_all(broker: Running, topic: str, count: int) -> Cost:
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": f"bench-{topic}-{next(GROUPS)}", **CONSUMER}
    )
    consumer.subscribe([topic])
    got = len(consumer.consume(1, 60))  # the group has formed
    with cost_of(broker) as cost:
        while got < count:
            messages = consumer.consume(min(10_000, count - got), 30)
            assert messages, f"{got} of {count} messages came"
            got += len(messages)
    consumer.close()
    return cost


def produce(size: int, count: int) -> Measure:
    kind = f"librdkafka produce, {size}"

    def run(site: Site) -> Figures:
        messages = max(int(count * site.scale.messages), 1000)

        def body(topic: str) -> Figures:
            site.warm_up(kind, lambda left: send_all(site.broker, topic, size, messages))
            return send_all(site.broker, topic, size, messages).figures(messages)

        return with_topic(site, PARTITIONS, body)

    return Measure(run, kind, seconds=4.0, kafka_seconds=4.0)


def consume(size: int, count: int) -> Measure:
    """The group joins anew each time; what is counted begins with its first message."""
    kind = f"librdkafka consume, {size}"

    def run(site: Site) -> Figures:
        messages = max(int(count * site.scale.messages), 1000)

        def body(topic: str) -> Figures:
            send_all(site.broker, topic, size, messages)
            site.warm_up(kind, lambda left: read_all(site.broker, topic, messages))
            return read_all(site.broker, topic, messages).figures(messages)

        return with_topic(site, PARTITIONS, body)

    return Measure(run, kind, seconds=6.0, kafka_seconds=6.0)


def until_report(rate: int) -> Measure:
    """From produce to the delivery report at a steady rate, linger 0."""

    def run(site: Site) -> Figures:
        count = int(rate * max(LATENCY_S * site.scale.messages, 0.3))

        def body(topic: str) -> Figures:
            site.warm_up(REPORTS, lambda left: _reported(site.broker, topic, rate, int(rate * left) + 1))
            return _reported(site.broker, topic, rate, count)

        return with_topic(site, PARTITIONS, body)

    return Measure(run, REPORTS, seconds=6.0, kafka_seconds=6.0)


def _reported(broker: Running, topic: str, rate: int, count: int) -> Figures:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "linger.ms": 0})
    taken: list[float] = []

    def reporter(sent: float) -> Callable[[object, Message], None]:
        return lambda error, message: taken.append(time.perf_counter() - sent)

    producer.produce(topic, b"x")
    producer.flush(FLUSH_S)
    with cost_of(broker) as cost:
        begun = time.perf_counter()
        for number in range(count):
            due = begun + number / rate
            while (left := due - time.perf_counter()) > 0:
                producer.poll(left)
            producer.produce(topic, b"x" * 100, on_delivery=reporter(time.perf_counter()))
            producer.poll(0)
        assert producer.flush(FLUSH_S) == 0, "messages were not acknowledged"
    return {**percentiles(taken), "cpu_us": cost.broker_us / count, **cost.machine}


def _round_trip(site: Site) -> Figures:
    """From produce to the moment the consumer has it, a hundred a second."""
    count = int(ROUND_TRIPS_A_SECOND * max(LATENCY_S * site.scale.messages, 0.3))

    def body(topic: str) -> Figures:
        consumer = Consumer({"bootstrap.servers": site.broker.bootstrap, "group.id": topic, **CONSUMER})
        producer = Producer({"bootstrap.servers": site.broker.bootstrap, "acks": "all", "linger.ms": 0})
        consumer.subscribe([topic])
        producer.produce(topic, b"first")
        producer.flush(FLUSH_S)
        assert consumer.poll(60) is not None, "nothing came"

        def trips(how_many: int) -> list[float]:
            taken = []
            for _ in range(how_many):
                sent = time.perf_counter()
                producer.produce(topic, b"x" * 100)
                producer.poll(0)
                assert consumer.poll(60) is not None, "a message did not come"
                taken.append(time.perf_counter() - sent)
                time.sleep(max(sent + 1 / ROUND_TRIPS_A_SECOND - time.perf_counter(), 0))
            return taken

        site.warm_up(ROUND_TRIPS, lambda left: trips(int(ROUND_TRIPS_A_SECOND * left) + 1))
        taken = trips(count)
        consumer.close()
        producer.flush(FLUSH_S)
        return percentiles(taken)

    return with_topic(site, PARTITIONS, body)


round_trip = Measure(_round_trip, ROUND_TRIPS, seconds=8.0, kafka_seconds=8.0)
