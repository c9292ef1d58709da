"""One producer and three kinds of readers, each with its own client library, at its own pace."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from confluent_kafka import Consumer, KafkaException
from flights import HOUR_MS, AirportDelays, CarrierSums, Flight, decode, departure_ms, encode
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

TOPIC: Final = "flights"
PARTITIONS: Final = 6
PATIENCE_S: Final = 120.0
"""How long a reader goes on without any record before it gives up."""

Acknowledged = dict[tuple[int, int], bytes]
"""(partition, offset) → value, as the broker acknowledged it."""

Advance = Callable[[int], None]


def write(
    bootstrap: str, flights: list[Flight], advance: Advance, before: Callable[[int], None]
) -> Acknowledged:
    """Send all flights with kafka-python, idempotently, keyed by carrier; before(n) is called ahead of the n-th."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        acks="all",
        linger_ms=20,
        batch_size=128 * 1024,
        compression_type="gzip",
        delivery_timeout_ms=int(PATIENCE_S * 1000),
    )
    sent: list[tuple[Any, bytes]] = []
    for number, flight in enumerate(flights):
        before(number)
        value = encode(flight)
        future = producer.send(
            TOPIC, key=flight["carrier"].encode(), value=value, timestamp_ms=departure_ms(flight)
        )
        sent.append((future, value))
        if number % 1000 == 999:
            advance(1000)
    producer.flush(timeout=PATIENCE_S)
    acknowledged: Acknowledged = {}
    for future, value in sent:
        told = future.get(timeout=PATIENCE_S)
        acknowledged[told.partition, told.offset] = value
    producer.close()
    advance(len(flights) % 1000)
    return acknowledged


class Seen:
    """What the members of a group have read together, each place once."""

    def __init__(self, wanted: int, halted: threading.Event) -> None:
        self.wanted = wanted
        self._halted = halted
        self.sums = CarrierSums()
        self.members: Counter[int] = Counter()
        self.places: set[tuple[int, int]] = set()
        self._lock = threading.Lock()
        self._heard_at = time.monotonic()

    def take(self, member: int, place: tuple[int, int], flight: Flight) -> None:
        with self._lock:
            self._heard_at = time.monotonic()
            if place not in self.places:
                self.places.add(place)
                self.members[member] += 1
                self.sums.add(flight)

    def goes_on(self) -> bool:
        if self._halted.is_set():
            return False
        return len(self.places) < self.wanted and time.monotonic() - self._heard_at < PATIENCE_S


def read_in_group(bootstrap: str, wanted: int, halted: threading.Event) -> Seen:
    """Three confluent-kafka consumers of one group, sums per carrier."""
    seen = Seen(wanted, halted)
    ready = threading.Barrier(3)

    def member(number: int) -> None:
        options = {
            "bootstrap.servers": bootstrap,
            "group.id": "carriers",
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 10_000,
            "log_level": 0,
        }
        consumer = Consumer(options)
        consumer.subscribe([TOPIC])
        ready.wait()
        try:
            while seen.goes_on():
                for message in consumer.consume(500, 0.5):
                    if message.error() is None:
                        seen.take(number, (message.partition(), message.offset()), decode(message.value()))
                    elif message.error().fatal():
                        raise KafkaException(message.error())
        finally:
            consumer.close()

    with ThreadPoolExecutor(3) as pool:
        for each in [pool.submit(member, number) for number in range(3)]:
            each.result()
    return seen


def read_live(bootstrap: str, wanted: int, halted: threading.Event) -> AirportDelays:
    """One aiokafka reader of all partitions without a group: average delays per airport."""

    async def read() -> AirportDelays:
        from aiokafka import TopicPartition as Place

        delays = AirportDelays()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await consumer.start()
        try:
            consumer.assign([Place(TOPIC, index) for index in range(PARTITIONS)])
            places: set[tuple[int, int]] = set()
            heard_at = time.monotonic()
            while len(places) < wanted and not halted.is_set() and time.monotonic() - heard_at < PATIENCE_S:
                for place, records in (await consumer.getmany(timeout_ms=500, max_records=2000)).items():
                    heard_at = time.monotonic()
                    for record in records:
                        if (place.partition, record.offset) not in places:
                            places.add((place.partition, record.offset))
                            delays.add(decode(record.value))
        finally:
            await consumer.stop()
        return delays

    return asyncio.run(read())


def replay_hour(bootstrap: str, start_ms: int) -> Counter[bytes]:
    """The records of one hour, found by timestamp, with kafka-python."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    places = [TopicPartition(TOPIC, index) for index in range(PARTITIONS)]
    consumer.assign(places)
    ends = consumer.end_offsets(places)
    first = consumer.offsets_for_times(dict.fromkeys(places, start_ms))
    behind = consumer.offsets_for_times(dict.fromkeys(places, start_ms + HOUR_MS))
    stops = {place: behind[place].offset if behind[place] else ends[place] for place in places}
    open_places = {place for place in places if first[place] and first[place].offset < stops[place]}
    for place in open_places:
        consumer.seek(place, first[place].offset)
    consumer.pause(*[place for place in places if place not in open_places])
    found: Counter[bytes] = Counter()
    give_up_at = time.monotonic() + PATIENCE_S
    while open_places and time.monotonic() < give_up_at:
        for place, records in consumer.poll(timeout_ms=500).items():
            for record in records:
                if record.offset < stops[place]:
                    found[record.value] += 1
            if records[-1].offset + 1 >= stops[place]:
                open_places.discard(place)
    consumer.close()
    return found


def read_log(bootstrap: str) -> dict[int, list[tuple[int, bytes]]]:
    """The whole log as it lies: offset and value by partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, check_crcs=True)
    places = [TopicPartition(TOPIC, index) for index in range(PARTITIONS)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    log: dict[int, list[tuple[int, bytes]]] = {place.partition: [] for place in places}
    give_up_at = time.monotonic() + PATIENCE_S
    while any(consumer.position(place) < ends[place] for place in places) and time.monotonic() < give_up_at:
        for place, records in consumer.poll(timeout_ms=500).items():
            log[place.partition] += [(record.offset, record.value) for record in records]
    consumer.close()
    return log
