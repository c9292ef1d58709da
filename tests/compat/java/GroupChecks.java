import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;

/** Consumer groups of the classic protocol: members come, go and come back; offsets stay. */
final class GroupChecks {
    private static final int PARTITIONS = 4;

    static void addTo(Map<String, JavaChecks.Check> checks) {
        for (Class<?> assignor : List.of(RangeAssignor.class, RoundRobinAssignor.class, StickyAssignor.class, CooperativeStickyAssignor.class)) {
            checks.put("group: members come and go, " + assignor.getSimpleName(), clients -> comeAndGo(clients, assignor));
        }
        checks.put("group: from eager to cooperative", GroupChecks::fromEagerToCooperative);
        checks.put("group: a static member returns without a rebalance", GroupChecks::staticReturns);
        checks.put("group: a second static member fences the first", GroupChecks::staticFences);
        checks.put("group: commits and resumes", GroupChecks::commitsAndResumes);
        checks.put("group: commits as it closes", GroupChecks::commitsAtClose);
        checks.put("group: one who was thrown out may not commit", GroupChecks::thrownOut);
    }

    private static Consumer<String, String> member(Clients clients, String topic, String... pairs) {
        Consumer<String, String> consumer = clients.consumer(topic, pairs);
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    /** Every partition has one owner, and every member owns some. */
    private static void untilShared(List<Consumer<String, String>> members) throws Exception {
        Clients.until(() -> {
            List<Integer> owned = new ArrayList<>();
            boolean idle = false;
            for (Consumer<String, String> member : members) {
                member.poll(Clients.SHORT);
                owned.addAll(Clients.partitions(member.assignment()));
                idle |= member.assignment().isEmpty();
            }
            return !idle && owned.size() == PARTITIONS && new HashSet<>(owned).size() == PARTITIONS;
        }, members.size() + " members share all");
    }

    private static void comeAndGo(Clients clients, Class<?> assignor) throws Exception {
        String topic = clients.topic("java-" + assignor.getSimpleName(), PARTITIONS);
        String[] options = {"partition.assignment.strategy", assignor.getName()};
        List<Consumer<String, String>> members = new ArrayList<>();
        try {
            for (int count = 1; count <= 3; count++) {
                members.add(member(clients, topic, options));
                untilShared(members);
            }
            while (members.size() > 1) {
                members.remove(0).close();
                untilShared(members);
            }
        } finally {
            members.forEach(Consumer::close);
        }
    }

    /** The two rounds of rolling restarts that Kafka asks for: both assignors first, then the new one alone. */
    private static void fromEagerToCooperative(Clients clients) throws Exception {
        String topic = clients.topic("java-to-cooperative", PARTITIONS);
        String range = RangeAssignor.class.getName();
        String cooperative = CooperativeStickyAssignor.class.getName();
        List<Consumer<String, String>> members = new ArrayList<>();
        try {
            for (String strategy : List.of(range, range, cooperative + "," + range, cooperative + "," + range, cooperative, cooperative)) {
                if (members.size() == 2) {
                    members.remove(0).close();
                }
                members.add(member(clients, topic, "partition.assignment.strategy", strategy));
                untilShared(members);
            }
        } finally {
            members.forEach(Consumer::close);
        }
    }

    private static void staticReturns(Clients clients) throws Exception {
        String topic = clients.topic("java-static", PARTITIONS);
        AtomicInteger rebalances = new AtomicInteger();
        List<Consumer<String, String>> members = new ArrayList<>();
        Consumer<String, String> first = clients.consumer(topic, "group.instance.id", "one");
        first.subscribe(List.of(topic), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                rebalances.incrementAndGet();
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) { }
        });
        members.add(first);
        members.add(member(clients, topic, "group.instance.id", "two"));
        try {
            untilShared(members);
            int before = rebalances.get();
            Set<Integer> owned = Clients.partitions(members.get(1).assignment());
            members.remove(1).close();
            members.add(member(clients, topic, "group.instance.id", "two"));
            untilShared(members);
            Clients.same(owned, Clients.partitions(members.get(1).assignment()));
            Clients.same(before, rebalances.get());
        } finally {
            members.forEach(Consumer::close);
        }
    }

    private static void staticFences(Clients clients) throws Exception {
        String topic = clients.topic("java-fences", PARTITIONS);
        try (Consumer<String, String> first = member(clients, topic, "group.instance.id", "same")) {
            untilShared(List.of(first));
            try (Consumer<String, String> second = member(clients, topic, "group.instance.id", "same")) {
                Clients.refused(FencedInstanceIdException.class, () -> Clients.until(() -> {
                    second.poll(Clients.SHORT);
                    first.poll(Clients.SHORT);
                    return false;
                }, "it is fenced"));
                untilShared(List.of(second));
            }
        }
    }

    private static void commitsAndResumes(Clients clients) throws Exception {
        String topic = clients.topic("java-commits", 1);
        TopicPartition part = new TopicPartition(topic, 0);
        clients.fill(topic, 0, 10, Clients.TIME, 1);
        try (Consumer<String, String> consumer = member(clients, topic)) {
            Clients.read(consumer, 10);
            consumer.commitSync(Map.of(part, new OffsetAndMetadata(4, "as far as this")));
            Map<TopicPartition, OffsetAndMetadata> committed = new HashMap<>();
            consumer.commitAsync(Map.of(part, new OffsetAndMetadata(6, "further")), (offsets, failure) -> {
                Clients.same(null, failure);
                committed.putAll(offsets);
            });
            Clients.until(() -> {
                consumer.poll(Clients.SHORT);
                return committed.containsKey(part);
            }, "the commit is done");
            Clients.same("further", consumer.committed(Set.of(part)).get(part).metadata());
        }
        try (Consumer<String, String> consumer = member(clients, topic)) {
            Clients.same(Clients.numbers(6, 10), Clients.values(Clients.read(consumer, 4)));
        }
    }

    private static void commitsAtClose(Clients clients) throws Exception {
        String topic = clients.topic("java-commits-at-close", 1);
        TopicPartition part = new TopicPartition(topic, 0);
        clients.fill(topic, 0, 5, Clients.TIME, 1);
        try (Consumer<String, String> consumer = member(clients, topic, "enable.auto.commit", "true")) {
            Clients.read(consumer, 5);
        }
        try (Consumer<String, String> consumer = clients.consumer(topic)) {
            Clients.same(5L, consumer.committed(Set.of(part)).get(part).offset());
        }
    }

    private static void thrownOut(Clients clients) throws Exception {
        String topic = clients.topic("java-thrown-out", PARTITIONS);
        try (Consumer<String, String> slow = member(clients, topic, "max.poll.interval.ms", "1000")) {
            untilShared(List.of(slow));
            try (Consumer<String, String> other = member(clients, topic)) {
                untilShared(List.of(other));
                Clients.refused(CommitFailedException.class, () -> slow.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(1))));
            }
        }
    }
}
