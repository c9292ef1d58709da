import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What every check needs: clients of one broker, and ways to say what must hold. */
final class Clients implements AutoCloseable {
    static final Duration WAIT = Duration.ofSeconds(30);
    static final Duration SHORT = Duration.ofMillis(50);
    /** When records were made: so young that no retention takes them away. */
    static final long TIME = System.currentTimeMillis() - 3_600_000;

    final String address;
    final Admin admin;

    Clients(String address) {
        this.address = address;
        this.admin = Admin.create(Map.of("bootstrap.servers", address));
    }

    @Override
    public void close() {
        admin.close(WAIT);
    }

    String topic(String name, int partitions) throws Exception {
        return topic(name, partitions, Map.of());
    }

    String topic(String name, int partitions, Map<String, String> options) throws Exception {
        got(admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(options))).all());
        return name;
    }

    Producer<String, String> producer(String... pairs) {
        return new KafkaProducer<>(options(pairs), new StringSerializer(), new StringSerializer());
    }

    /** Sends "0", "1", ... to one partition with these times. */
    void fill(String topic, int partition, int count, long firstTime, long step) throws Exception {
        try (Producer<String, String> producer = producer()) {
            for (int number = 0; number < count; number++) {
                producer.send(new ProducerRecord<>(topic, partition, firstTime + number * step, "k" + number, String.valueOf(number)));
            }
            producer.flush();
        }
    }

    Consumer<String, String> consumer(String group, String... pairs) {
        Map<String, Object> options = options("auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "heartbeat.interval.ms", "200", "session.timeout.ms", "6000");
        options.putAll(options(pairs));
        if (group != null) {
            options.put("group.id", group);
        }
        return new KafkaConsumer<>(options, new StringDeserializer(), new StringDeserializer());
    }

    private Map<String, Object> options(String... pairs) {
        Map<String, Object> options = new HashMap<>(Map.of("bootstrap.servers", address));
        for (int at = 0; at < pairs.length; at += 2) {
            options.put(pairs[at], pairs[at + 1]);
        }
        return options;
    }

    static List<ConsumerRecord<String, String>> read(Consumer<String, String> consumer, int count) throws Exception {
        List<ConsumerRecord<String, String>> found = new ArrayList<>();
        until(() -> {
            consumer.poll(SHORT).forEach(found::add);
            return found.size() >= count;
        }, count + " records, there are " + found.size());
        return found;
    }

    static List<String> values(Collection<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::value).toList();
    }

    static List<String> numbers(int from, int below) {
        List<String> numbers = new ArrayList<>();
        for (int number = from; number < below; number++) {
            numbers.add(String.valueOf(number));
        }
        return numbers;
    }

    static Set<Integer> partitions(Collection<TopicPartition> assignment) {
        Set<Integer> numbers = new TreeSet<>();
        assignment.forEach(each -> numbers.add(each.partition()));
        return numbers;
    }

    static <T> T got(KafkaFuture<T> future) throws Exception {
        return future.get(WAIT.toSeconds(), TimeUnit.SECONDS);
    }

    static void same(Object expected, Object found) {
        if (!Objects.deepEquals(expected, found)) {
            throw new AssertionError("expected " + text(expected) + ", found " + text(found));
        }
    }

    private static String text(Object value) {
        return value instanceof Object[] list ? Arrays.deepToString(list) : String.valueOf(value);
    }

    static void holds(boolean fact, String what) {
        if (!fact) {
            throw new AssertionError("does not hold: " + what);
        }
    }

    /** Something that may throw. */
    interface Action {
        void run() throws Exception;
    }

    static <E extends Throwable> E refused(Class<E> kind, Action action) {
        try {
            action.run();
        } catch (Throwable failure) {
            Throwable cause = failure instanceof ExecutionException ? failure.getCause() : failure;
            if (kind.isInstance(cause)) {
                return kind.cast(cause);
            }
            throw new AssertionError("expected " + kind.getSimpleName() + ", found " + cause, cause);
        }
        throw new AssertionError("expected " + kind.getSimpleName() + ", but it was done");
    }

    /** A condition that may throw. */
    interface Condition {
        boolean holds() throws Exception;
    }

    static void until(Condition condition, String what) throws Exception {
        long deadline = System.nanoTime() + WAIT.toNanos();
        while (!condition.holds()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("in vain: " + what);
            }
        }
    }
}
