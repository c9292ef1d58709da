import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.internals.AsyncKafkaConsumer;
import org.apache.kafka.clients.consumer.internals.StreamsRebalanceData;
import org.apache.kafka.clients.consumer.internals.StreamsRebalanceListener;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Uses everything that Kafka's Java clients offer once, so that the tap sees it. Arguments: the address, the address of the SASL
 * listener, another of that listener for who may not enter, a name to use for topics and groups, and "new", or "old" to leave out
 * what needs new versions.
 *
 * <p>A step that fails says so and the next one is tried: refusals are frames too, and old versions lack some features.
 */
public final class GoldenClients {
    private static final Duration WAIT = Duration.ofSeconds(12);

    private final String address;
    private final String topic;
    private final boolean isNew;

    private GoldenClients(String address, String topic, boolean isNew) {
        this.address = address;
        this.topic = topic;
        this.isNew = isNew;
    }

    public static void main(String[] arguments) throws Exception {
        String topic = arguments[3];
        GoldenClients clients = new GoldenClients(arguments[0], topic, arguments[4].equals("new"));
        try (GoldenAdmin admin = new GoldenAdmin(Map.of("bootstrap.servers", arguments[0]), topic)) {
            admin.before();
            step("idempotent", clients::produce);
            for (String group : clients.isNew ? List.of("classic", "consumer") : List.of("classic")) {
                step("transaction " + group, () -> clients.transaction(group));
                step("read in group " + group, () -> clients.read(group, admin));
            }
            step("open transaction", () -> clients.openTransaction(admin));
            if (clients.isNew) {
                step("share", () -> clients.share(admin));
                step("streams", () -> clients.streams(admin));
            }
            admin.after();
        }
        step("SASL", () -> sasl(arguments[1], arguments[2], topic));
    }

    /** One thing to do; its failure is told, not thrown. */
    interface Step {
        void run() throws Exception;
    }

    static void step(String name, Step step) {
        try {
            step.run();
        } catch (Exception | Error failure) {
            Throwable cause = failure.getCause() == null ? failure : failure.getCause();
            System.out.println(name + ": " + cause.getClass().getSimpleName() + ": " + cause.getMessage());
        }
    }

    private Map<String, Object> options(Object... pairs) {
        Map<String, Object> options = new HashMap<>(Map.of("bootstrap.servers", address, "client.id", "golden",
            "default.api.timeout.ms", "8000", "request.timeout.ms", "5000"));
        for (int at = 0; at < pairs.length; at += 2) {
            options.put((String) pairs[at], pairs[at + 1]);
        }
        return options;
    }

    private Producer<byte[], byte[]> producer(Object... pairs) {
        Map<String, Object> options = options(pairs);
        options.remove("default.api.timeout.ms");
        options.putAll(Map.of("max.block.ms", "8000", "delivery.timeout.ms", "8000", "linger.ms", "0"));
        return new KafkaProducer<>(options, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private ProducerRecord<byte[], byte[]> record(String value) {
        return new ProducerRecord<>(topic, 0, 1_700_000_000_000L, "key".getBytes(), value.getBytes());
    }

    private void produce() throws Exception {
        try (Producer<byte[], byte[]> producer = producer("compression.type", isNew ? "zstd" : "lz4")) {
            for (int number = 0; number < 5; number++) {
                producer.send(record("value " + number)).get();
            }
            producer.clientInstanceId(WAIT);
        }
        try (Producer<byte[], byte[]> producer = producer("acks", "1", "enable.idempotence", "false")) {
            producer.send(record("not idempotent")).get();
        }
    }

    private void transaction(String group) throws Exception {
        try (Producer<byte[], byte[]> producer = producer("transactional.id", topic)) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(record("committed")).get();
            try (Consumer<byte[], byte[]> consumer = consumer(topic + "-" + group, "group.protocol", group)) {
                consumer.subscribe(List.of(topic));
                until(() -> !consumer.poll(Duration.ofMillis(200)).isEmpty());
                producer.sendOffsetsToTransaction(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(1)),
                    isNew ? consumer.groupMetadata() : new ConsumerGroupMetadata(topic + "-" + group));
            }
            producer.commitTransaction();
            producer.beginTransaction();
            producer.send(record("aborted")).get();
            producer.abortTransaction();
        }
    }

    private void openTransaction(GoldenAdmin admin) throws Exception {
        try (Producer<byte[], byte[]> producer = producer("transactional.id", topic + "-open")) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(record("open")).get();
            admin.transactions(topic + "-open");
        }
    }

    private Consumer<byte[], byte[]> consumer(String group, Object... pairs) {
        Map<String, Object> options = options(pairs);
        options.putAll(Map.of("group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "fetch.max.wait.ms", "100", "isolation.level", "read_committed"));
        return new KafkaConsumer<>(options, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private void read(String group, GoldenAdmin admin) throws Exception {
        TopicPartition first = new TopicPartition(topic, 0);
        Object[] member = {"group.protocol", group, "client.rack", "rack"};
        Object[] staticMember = {"group.protocol", group, "client.rack", "rack", "group.instance.id", "static-" + group};
        try (Consumer<byte[], byte[]> consumer = consumer(topic + "-" + group, isNew ? staticMember : member)) {
            consumer.subscribe(List.of(topic));
            until(() -> !consumer.poll(Duration.ofMillis(200)).isEmpty() || !consumer.assignment().isEmpty());
            consumer.commitSync(Map.of(first, new OffsetAndMetadata(2, Optional.of(0), "note")));
            consumer.committed(Set.of(first));
            consumer.offsetsForTimes(Map.of(first, 1_600_000_000_000L));
            consumer.endOffsets(Set.of(first));
            consumer.partitionsFor(topic);
            consumer.seek(first, new OffsetAndMetadata(1, Optional.of(0), ""));
            consumer.poll(Duration.ofMillis(500));
            consumer.poll(Duration.ofSeconds(4));
            admin.groups(topic + "-" + group);
            admin.removeMember(topic + "-" + group, "static-" + group);
        }
    }

    private void share(GoldenAdmin admin) throws Exception {
        String group = topic + "-share";
        admin.readFromTheStart(group);
        Map<String, Object> options = options("group.id", group, "share.acknowledgement.mode", "explicit", "client.rack", "rack");
        try (KafkaShareConsumer<byte[], byte[]> consumer =
                new KafkaShareConsumer<>(options, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(topic));
            List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
            until(() -> {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(300));
                records.forEach(found::add);
                return !found.isEmpty();
            });
            AcknowledgeType[] types = {AcknowledgeType.ACCEPT, AcknowledgeType.RELEASE, AcknowledgeType.REJECT};
            for (int number = 0; number < found.size(); number++) {
                consumer.acknowledge(found.get(number), types[number % types.length]);
            }
            consumer.commitSync(WAIT);
            ConsumerRecords<byte[], byte[]> again = consumer.poll(Duration.ofSeconds(1));
            again.forEach(consumer::acknowledge);
            consumer.poll(Duration.ofMillis(300));
            admin.shareGroups(group);
        }
        admin.emptyShareGroups(group);
    }

    private void streams(GoldenAdmin admin) throws Exception {
        String group = topic + "-streams";
        Map<String, Object> options = options("group.id", group, "group.protocol", "consumer", "auto.offset.reset", "earliest",
            "enable.auto.commit", "false", "client.rack", "rack");
        StreamsRebalanceData.TopicInfo changelog =
            new StreamsRebalanceData.TopicInfo(Optional.empty(), Optional.of((short) 1), Map.of("cleanup.policy", "compact"));
        StreamsRebalanceData.TopicInfo repartition =
            new StreamsRebalanceData.TopicInfo(Optional.of(2), Optional.of((short) 1), Map.of());
        StreamsRebalanceData.Subtopology counting = new StreamsRebalanceData.Subtopology(Set.of(topic), Set.of(group + "-repartition"),
            Map.of(group + "-repartition", repartition), Map.of(group + "-changelog", changelog), List.of(Set.of(topic)));
        StreamsRebalanceData data = new StreamsRebalanceData(UUID.randomUUID(),
            Optional.of(new StreamsRebalanceData.HostInfo("127.0.0.1", 8080)), Optional.of("rack"), Map.of("0", counting), Map.of("zone", "a"));
        ConsumerConfig config = new ConsumerConfig(ConsumerConfig.appendDeserializerToConfig(options, new ByteArrayDeserializer(), new ByteArrayDeserializer()));
        try (AsyncKafkaConsumer<byte[], byte[]> consumer =
                new AsyncKafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer(), Optional.of(data))) {
            consumer.subscribe(List.of(topic), new TasksAreTaken(data));
            until(() -> {
                consumer.poll(Duration.ofMillis(200));
                return !data.reconciledAssignment().activeTasks().isEmpty();
            });
            admin.streamsGroups(group);
        }
    }

    /** Kafka Streams would work on its tasks; here they are taken and no more. */
    private record TasksAreTaken(StreamsRebalanceData data) implements StreamsRebalanceListener {
        @Override
        public void onTasksRevoked(Set<StreamsRebalanceData.TaskId> tasks) { }

        @Override
        public void onTasksAssigned(StreamsRebalanceData.Assignment assignment) {
            data.setReconciledAssignment(assignment);
        }

        @Override
        public void onAllTasksLost() { }
    }

    private static void sasl(String address, String other, String topic) throws Exception {
        Map<String, Object> options = new HashMap<>(Map.of("bootstrap.servers", address, "security.protocol", "SASL_PLAINTEXT",
            "sasl.mechanism", "PLAIN", "sasl.jaas.config", "org.apache.kafka.common.security.plain.PlainLoginModule required"
            + " username=\"admin\" password=\"admin-secret\";"));
        try (GoldenAdmin admin = new GoldenAdmin(options, topic)) {
            admin.tokens();
        }
        options.put("sasl.mechanism", "SCRAM-SHA-256");
        options.put("sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required"
            + " username=\"alice\" password=\"alice-secret\";");
        try (GoldenAdmin admin = new GoldenAdmin(options, topic)) {
            admin.enter();
        }
        options.put("bootstrap.servers", other);
        options.put("sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required"
            + " username=\"alice\" password=\"wrong\";");
        try (GoldenAdmin admin = new GoldenAdmin(options, topic)) {
            admin.enter();
        }
    }

    /** A condition that may throw. */
    interface Holds {
        boolean now() throws Exception;
    }

    private static void until(Holds holds) throws Exception {
        long deadline = System.nanoTime() + WAIT.toNanos();
        while (!holds.now()) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("in vain");
            }
        }
    }
}
