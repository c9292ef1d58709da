import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidTimestampException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;

/** What Kafka's producer sends is what Kafka's consumer gets. */
final class ProducerChecks {
    static void addTo(Map<String, JavaChecks.Check> checks) {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            checks.put("producer: round trip " + codec, clients -> roundTrip(clients, codec));
        }
        checks.put("producer: every acks", ProducerChecks::everyAcks);
        checks.put("producer: not idempotent", ProducerChecks::notIdempotent);
        checks.put("producer: many batches stay in order", ProducerChecks::manyBatches);
        checks.put("producer: a record that is too large", ProducerChecks::tooLarge);
        checks.put("producer: log append time", ProducerChecks::logAppendTime);
        checks.put("producer: a time too far ahead", ProducerChecks::tooFarAhead);
        checks.put("producer: a topic with a codec of its own", ProducerChecks::topicsCodec);
        checks.put("producer: partitions", ProducerChecks::partitions);
        checks.put("producer: a topic made by writing", ProducerChecks::madeByWriting);
    }

    private static List<ProducerRecord<String, String>> samples(String topic) {
        ProducerRecord<String, String> headers = new ProducerRecord<>(topic, 0, Clients.TIME + 4, "headers", "h");
        headers.headers().add("one", "1".getBytes()).add("one", "again".getBytes()).add("empty", new byte[0]).add("null", null);
        return List.of(
            new ProducerRecord<>(topic, 0, Clients.TIME, "key", "value"),
            new ProducerRecord<>(topic, 0, Clients.TIME + 1, null, "no key"),
            new ProducerRecord<>(topic, 0, Clients.TIME + 2, "tombstone", (String) null),
            new ProducerRecord<>(topic, 0, Clients.TIME + 3, "", ""),
            headers,
            new ProducerRecord<>(topic, 0, Clients.TIME - 5, "long", "0123456789".repeat(50_000)),
            new ProducerRecord<>(topic, 0, Clients.TIME + 6, "Schlüssel", "Größe ☃"));
    }

    private static void roundTrip(Clients clients, String codec) throws Exception {
        String topic = clients.topic("java-codec-" + codec, 1);
        List<ProducerRecord<String, String>> samples = samples(topic);
        try (Producer<String, String> producer = clients.producer("compression.type", codec, "linger.ms", "50")) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            samples.forEach(sample -> sent.add(producer.send(sample)));
            for (int number = 0; number < sent.size(); number++) {
                RecordMetadata metadata = sent.get(number).get();
                Clients.same((long) number, metadata.offset());
                Clients.same(samples.get(number).timestamp(), metadata.timestamp());
            }
        }
        try (Consumer<String, String> consumer = clients.consumer(null)) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            List<ConsumerRecord<String, String>> found = Clients.read(consumer, samples.size());
            for (int number = 0; number < samples.size(); number++) {
                sameRecord(samples.get(number), found.get(number));
                Clients.same((long) number, found.get(number).offset());
            }
        }
    }

    private static void sameRecord(ProducerRecord<String, String> sent, ConsumerRecord<String, String> found) {
        Clients.same(sent.key(), found.key());
        Clients.same(sent.value(), found.value());
        Clients.same(sent.timestamp(), found.timestamp());
        Clients.same(headers(sent.headers()), headers(found.headers()));
    }

    private static List<String> headers(Iterable<Header> headers) {
        List<String> texts = new ArrayList<>();
        headers.forEach(each -> texts.add(each.key() + "=" + (each.value() == null ? "null" : "'" + new String(each.value()) + "'")));
        return texts;
    }

    private static void everyAcks(Clients clients) throws Exception {
        String topic = clients.topic("java-acks", 1);
        for (String acks : List.of("0", "1", "all")) {
            try (Producer<String, String> producer = clients.producer("acks", acks, "enable.idempotence", "false")) {
                RecordMetadata metadata = producer.send(new ProducerRecord<>(topic, acks)).get();
                Clients.same(!acks.equals("0"), metadata.hasOffset());
            }
        }
        Clients.same(List.of("0", "1", "all"), all(clients, topic, 3));
    }

    private static List<String> all(Clients clients, String topic, int count) throws Exception {
        try (Consumer<String, String> consumer = clients.consumer(null)) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            return Clients.values(Clients.read(consumer, count));
        }
    }

    private static void notIdempotent(Clients clients) throws Exception {
        String topic = clients.topic("java-not-idempotent", 1);
        try (Producer<String, String> producer = clients.producer("enable.idempotence", "false", "acks", "1")) {
            for (String number : Clients.numbers(0, 100)) {
                producer.send(new ProducerRecord<>(topic, number));
            }
        }
        Clients.same(Clients.numbers(0, 100), all(clients, topic, 100));
    }

    /** Five requests in flight and small batches: sequences come close together. */
    private static void manyBatches(Clients clients) throws Exception {
        String topic = clients.topic("java-many-batches", 1);
        try (Producer<String, String> producer = clients.producer("batch.size", "200", "linger.ms", "0")) {
            for (String number : Clients.numbers(0, 3000)) {
                producer.send(new ProducerRecord<>(topic, number));
            }
        }
        Clients.same(Clients.numbers(0, 3000), all(clients, topic, 3000));
    }

    private static void tooLarge(Clients clients) throws Exception {
        String topic = clients.topic("java-too-large", 1, Map.of("max.message.bytes", "2000"));
        try (Producer<String, String> producer = clients.producer()) {
            Clients.refused(RecordTooLargeException.class, () -> producer.send(new ProducerRecord<>(topic, "x".repeat(3000))).get());
            Clients.same(0L, producer.send(new ProducerRecord<>(topic, "fits")).get().offset());
        }
    }

    private static void logAppendTime(Clients clients) throws Exception {
        String topic = clients.topic("java-append-time", 1, Map.of("message.timestamp.type", "LogAppendTime"));
        long before = System.currentTimeMillis();
        long told;
        try (Producer<String, String> producer = clients.producer("compression.type", "lz4")) {
            told = producer.send(new ProducerRecord<>(topic, 0, 1L, null, "v")).get().timestamp();
        }
        Clients.holds(told >= before && told <= System.currentTimeMillis(), "the broker's time " + told);
        try (Consumer<String, String> consumer = clients.consumer(null)) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            ConsumerRecord<String, String> record = Clients.read(consumer, 1).get(0);
            Clients.same(told, record.timestamp());
            Clients.same("LogAppendTime", record.timestampType().toString());
        }
    }

    private static void tooFarAhead(Clients clients) throws Exception {
        String topic = clients.topic("java-ahead", 1);
        long ahead = System.currentTimeMillis() + 7_200_000;
        try (Producer<String, String> producer = clients.producer()) {
            Clients.refused(InvalidTimestampException.class, () -> producer.send(new ProducerRecord<>(topic, 0, ahead, null, "v")).get());
        }
    }

    private static void topicsCodec(Clients clients) throws Exception {
        String topic = clients.topic("java-topics-codec", 1, Map.of("compression.type", "zstd"));
        try (Producer<String, String> producer = clients.producer("compression.type", "gzip", "linger.ms", "50")) {
            for (String number : Clients.numbers(0, 50)) {
                producer.send(new ProducerRecord<>(topic, number));
            }
        }
        Clients.same(Clients.numbers(0, 50), all(clients, topic, 50));
    }

    private static void partitions(Clients clients) throws Exception {
        String topic = clients.topic("java-partitions", 3);
        try (Producer<String, String> producer = clients.producer()) {
            Clients.same(3, producer.partitionsFor(topic).size());
            for (int partition = 0; partition < 3; partition++) {
                RecordMetadata metadata = producer.send(new ProducerRecord<>(topic, partition, null, "v")).get();
                Clients.same(partition, metadata.partition());
                Clients.same(0L, metadata.offset());
            }
            int first = producer.send(new ProducerRecord<>(topic, "same key", "a")).get().partition();
            Clients.same(first, producer.send(new ProducerRecord<>(topic, "same key", "b")).get().partition());
        }
    }

    private static void madeByWriting(Clients clients) throws Exception {
        try (Producer<String, String> producer = clients.producer()) {
            Clients.same(0L, producer.send(new ProducerRecord<>("java-made-by-writing", "v")).get().offset());
            Clients.refused(InvalidTopicException.class, () -> producer.send(new ProducerRecord<>("no topic", "v")).get());
        }
    }
}
