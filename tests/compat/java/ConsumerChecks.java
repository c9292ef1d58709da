import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.common.TopicPartition;

/** Places in a log: where a consumer may go, what it is told, what it may ask. */
final class ConsumerChecks {
    static void addTo(Map<String, JavaChecks.Check> checks) {
        checks.put("consumer: seek and position", ConsumerChecks::seek);
        checks.put("consumer: offsets for times", ConsumerChecks::offsetsForTimes);
        checks.put("consumer: beginning and end", ConsumerChecks::beginningAndEnd);
        checks.put("consumer: pause and resume", ConsumerChecks::pause);
        checks.put("consumer: no offset and no reset", ConsumerChecks::noReset);
        checks.put("consumer: reset by duration", ConsumerChecks::resetByDuration);
        checks.put("consumer: small fetches", ConsumerChecks::smallFetches);
        checks.put("consumer: read committed", ConsumerChecks::readCommitted);
        checks.put("consumer: topics and their partitions", ConsumerChecks::topics);
        checks.put("consumer: a pattern finds a new topic", ConsumerChecks::pattern);
        checks.put("consumer: lag", ConsumerChecks::lag);
    }

    private static void seek(Clients clients) throws Exception {
        TopicPartition part = new TopicPartition(clients.topic("java-seek", 1), 0);
        clients.fill(part.topic(), 0, 10, Clients.TIME, 1000);
        try (Consumer<String, String> consumer = clients.consumer(null)) {
            consumer.assign(List.of(part));
            Clients.same(0L, consumer.position(part));
            consumer.seek(part, 7);
            Clients.same(Clients.numbers(7, 10), Clients.values(Clients.read(consumer, 3)));
            Clients.same(10L, consumer.position(part));
            consumer.seekToBeginning(List.of(part));
            List<ConsumerRecord<String, String>> all = Clients.read(consumer, 10);
            Clients.same(Clients.numbers(0, 10), Clients.values(all));
            consumer.seekToEnd(List.of(part));
            Clients.same(10L, consumer.position(part));
            Optional<Integer> epoch = all.get(4).leaderEpoch();
            Clients.holds(epoch.isPresent(), "records come with a leader epoch");
            consumer.seek(part, new OffsetAndMetadata(4, epoch, ""));
            List<ConsumerRecord<String, String>> found = Clients.read(consumer, 6);
            Clients.same(Clients.numbers(4, 10), Clients.values(found));
            Clients.same(epoch, found.get(0).leaderEpoch());
        }
    }

    private static void offsetsForTimes(Clients clients) throws Exception {
        String topic = clients.topic("java-times", 2);
        clients.fill(topic, 0, 10, Clients.TIME, 1000);
        TopicPartition filled = new TopicPartition(topic, 0);
        TopicPartition empty = new TopicPartition(topic, 1);
        try (Consumer<String, String> consumer = clients.consumer(null)) {
            Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(Map.of(filled, Clients.TIME + 6500, empty, Clients.TIME));
            Clients.same(7L, found.get(filled).offset());
            Clients.same(Clients.TIME + 7000, found.get(filled).timestamp());
            Clients.same(null, found.get(empty));
            Clients.same(0L, consumer.offsetsForTimes(Map.of(filled, 0L)).get(filled).offset());
            Clients.same(null, consumer.offsetsForTimes(Map.of(filled, Clients.TIME + 9001)).get(filled));
        }
    }

    private static void beginningAndEnd(Clients clients) throws Exception {
        String topic = clients.topic("java-ends", 2);
        clients.fill(topic, 0, 3, Clients.TIME, 1);
        TopicPartition filled = new TopicPartition(topic, 0);
        TopicPartition empty = new TopicPartition(topic, 1);
        try (Consumer<String, String> consumer = clients.consumer(null)) {
            Clients.same(Map.of(filled, 0L, empty, 0L), consumer.beginningOffsets(List.of(filled, empty)));
            Clients.same(Map.of(filled, 3L, empty, 0L), consumer.endOffsets(List.of(filled, empty)));
        }
    }

    private static void pause(Clients clients) throws Exception {
        String topic = clients.topic("java-pause", 2);
        clients.fill(topic, 0, 5, Clients.TIME, 1);
        clients.fill(topic, 1, 5, Clients.TIME, 1);
        TopicPartition first = new TopicPartition(topic, 0);
        TopicPartition second = new TopicPartition(topic, 1);
        try (Consumer<String, String> consumer = clients.consumer(null)) {
            consumer.assign(List.of(first, second));
            consumer.pause(List.of(first));
            Clients.read(consumer, 5).forEach(record -> Clients.same(1, record.partition()));
            consumer.resume(List.of(first));
            Clients.read(consumer, 5).forEach(record -> Clients.same(0, record.partition()));
        }
    }

    private static void noReset(Clients clients) throws Exception {
        TopicPartition part = new TopicPartition(clients.topic("java-no-reset", 1), 0);
        clients.fill(part.topic(), 0, 2, Clients.TIME, 1);
        try (Consumer<String, String> consumer = clients.consumer("java-no-reset", "auto.offset.reset", "none")) {
            consumer.assign(List.of(part));
            Clients.refused(NoOffsetForPartitionException.class, () -> Clients.read(consumer, 1));
            consumer.seek(part, 99);
            Clients.refused(OffsetOutOfRangeException.class, () -> Clients.read(consumer, 1));
            consumer.seek(part, 1);
            Clients.same(List.of("1"), Clients.values(Clients.read(consumer, 1)));
        }
    }

    private static void resetByDuration(Clients clients) throws Exception {
        TopicPartition part = new TopicPartition(clients.topic("java-by-duration", 1), 0);
        long now = System.currentTimeMillis();
        clients.fill(part.topic(), 0, 4, now - 36_000_000, 10_800_000);
        try (Consumer<String, String> consumer = clients.consumer("java-by-duration", "auto.offset.reset", "by_duration:PT5H")) {
            consumer.assign(List.of(part));
            Clients.same(List.of("2", "3"), Clients.values(Clients.read(consumer, 2)));
        }
    }

    private static void smallFetches(Clients clients) throws Exception {
        TopicPartition part = new TopicPartition(clients.topic("java-small-fetches", 1), 0);
        clients.fill(part.topic(), 0, 500, Clients.TIME, 1);
        try (Consumer<String, String> consumer = clients.consumer(null, "fetch.max.bytes", "1", "max.partition.fetch.bytes", "1", "max.poll.records", "7")) {
            consumer.assign(List.of(part));
            Clients.holds(consumer.poll(Clients.WAIT).count() <= 7, "at most max.poll.records");
            consumer.seek(part, 0);
            Clients.same(Clients.numbers(0, 500), Clients.values(Clients.read(consumer, 500)));
        }
        try (Consumer<String, String> consumer = clients.consumer(null, "fetch.min.bytes", "1000000", "fetch.max.wait.ms", "300")) {
            consumer.assign(List.of(part));
            Clients.same(500, Clients.read(consumer, 500).size());
        }
    }

    private static void readCommitted(Clients clients) throws Exception {
        TopicPartition part = new TopicPartition(clients.topic("java-read-committed", 1), 0);
        clients.fill(part.topic(), 0, 20, Clients.TIME, 1);
        try (Consumer<String, String> consumer = clients.consumer(null, "isolation.level", "read_committed")) {
            consumer.assign(List.of(part));
            Clients.same(Clients.numbers(0, 20), Clients.values(Clients.read(consumer, 20)));
            Clients.same(Map.of(part, 20L), consumer.endOffsets(List.of(part)));
        }
    }

    private static void topics(Clients clients) throws Exception {
        String topic = clients.topic("java-topics", 3);
        try (Consumer<String, String> consumer = clients.consumer(null)) {
            Clients.same(3, consumer.partitionsFor(topic).size());
            Clients.same(3, consumer.listTopics().get(topic).size());
            consumer.partitionsFor(topic).forEach(each -> Clients.same(1, each.inSyncReplicas().length));
        }
        try (Consumer<String, String> consumer = clients.consumer(null, "allow.auto.create.topics", "false")) {
            Clients.same(List.of(), consumer.partitionsFor("java-no-such-topic"));
        }
    }

    private static void pattern(Clients clients) throws Exception {
        clients.topic("java-pattern-1", 1);
        try (Consumer<String, String> consumer = clients.consumer("java-pattern", "metadata.max.age.ms", "200")) {
            consumer.subscribe(Pattern.compile("java-pattern-.*"));
            Clients.until(() -> {
                consumer.poll(Clients.SHORT);
                return consumer.assignment().size() == 1;
            }, "the topic there is");
            clients.topic("java-pattern-2", 2);
            clients.fill("java-pattern-2", 1, 1, Clients.TIME, 1);
            Clients.same("java-pattern-2", Clients.read(consumer, 1).get(0).topic());
            Clients.same(3, consumer.assignment().size());
        }
    }

    private static void lag(Clients clients) throws Exception {
        TopicPartition part = new TopicPartition(clients.topic("java-lag", 1), 0);
        clients.fill(part.topic(), 0, 10, Clients.TIME, 1);
        try (Consumer<String, String> consumer = clients.consumer("java-lag", "max.poll.records", "4")) {
            consumer.assign(List.of(part));
            Clients.same(4, Clients.read(consumer, 4).size());
            Clients.same(6L, consumer.currentLag(part).getAsLong());
            consumer.commitSync();
            Map<TopicPartition, OffsetAndMetadata> committed = new HashMap<>(consumer.committed(Collections.singleton(part)));
            Clients.same(4L, committed.get(part).offset());
        }
    }
}
