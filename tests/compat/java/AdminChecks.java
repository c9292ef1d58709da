import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeProducersResult.PartitionProducerState;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Topics, options, offsets, records and the cluster, as Kafka's admin client sees them. */
final class AdminChecks {
    static void addTo(Map<String, JavaChecks.Check> checks) {
        checks.put("admin: topics are made and described", AdminChecks::makesTopics);
        checks.put("admin: topics that are refused", AdminChecks::refusesTopics);
        checks.put("admin: topics are deleted by name and id", AdminChecks::deletesTopics);
        checks.put("admin: partitions are added", AdminChecks::addsPartitions);
        checks.put("admin: options of a topic", AdminChecks::topicOptions);
        checks.put("admin: options that are refused", AdminChecks::refusesOptions);
        checks.put("admin: options of brokers and loggers", AdminChecks::brokerOptions);
        checks.put("admin: records are deleted", AdminChecks::deletesRecords);
        checks.put("admin: offsets are listed", AdminChecks::listsOffsets);
        checks.put("admin: log folders", AdminChecks::logFolders);
        checks.put("admin: producers", AdminChecks::producers);
        checks.put("admin: the cluster", AdminChecks::cluster);
        AdminGroupChecks.addTo(checks);
    }

    private static TopicDescription described(Clients clients, String topic) throws Exception {
        return Clients.got(clients.admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
    }

    private static void makesTopics(Clients clients) throws Exception {
        NewTopic simple = new NewTopic("java-made", 3, (short) 1).configs(Map.of("retention.ms", "1000000"));
        CreateTopicsResult made = clients.admin.createTopics(List.of(simple));
        Uuid id = Clients.got(made.topicId("java-made"));
        Clients.same(3, Clients.got(made.numPartitions("java-made")));
        Clients.same(1, Clients.got(made.replicationFactor("java-made")));
        Clients.same("1000000", Clients.got(made.config("java-made")).get("retention.ms").value());
        Clients.holds(Clients.got(clients.admin.listTopics().names()).contains("java-made"), "it is listed");
        TopicDescription description = described(clients, "java-made");
        Clients.same(id, description.topicId());
        Clients.same(false, description.isInternal());
        Clients.same(List.of(0, 1, 2), description.partitions().stream().map(each -> each.partition()).toList());
        description.partitions().forEach(each -> Clients.same(List.of(each.leader()), each.isr()));
        Clients.same("java-made", Clients.got(clients.admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds()).get(id).name());
        NewTopic tried = new NewTopic("java-tried", 1, (short) 1);
        Clients.got(clients.admin.createTopics(List.of(tried), new CreateTopicsOptions().validateOnly(true)).all());
        Clients.refused(UnknownTopicOrPartitionException.class, () -> described(clients, "java-tried"));
        int broker = description.partitions().get(0).leader().id();
        NewTopic placed = new NewTopic("java-placed", Map.of(0, List.of(broker), 1, List.of(broker)));
        Clients.got(clients.admin.createTopics(List.of(placed)).all());
        Clients.same(2, described(clients, "java-placed").partitions().size());
    }

    private static void refusesTopics(Clients clients) throws Exception {
        String topic = clients.topic("java-refused", 1);
        Clients.refused(TopicExistsException.class, () -> clients.topic(topic, 1));
        Clients.refused(InvalidTopicException.class, () -> clients.topic("no topic", 1));
        Clients.refused(InvalidPartitionsException.class, () -> clients.topic("java-none", 0));
        Clients.refused(InvalidConfigurationException.class, () -> clients.topic("java-none", 1, Map.of("retention.ms", "soon")));
        Clients.refused(InvalidReplicationFactorException.class,
            () -> Clients.got(clients.admin.createTopics(List.of(new NewTopic("java-none", 1, (short) 0))).all()));
        Clients.refused(UnknownTopicOrPartitionException.class, () -> described(clients, "java-none"));
    }

    private static void deletesTopics(Clients clients) throws Exception {
        clients.topic("java-deleted", 1);
        Uuid id = described(clients, clients.topic("java-deleted-by-id", 2)).topicId();
        Clients.got(clients.admin.deleteTopics(List.of("java-deleted")).all());
        Clients.got(clients.admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all());
        Clients.until(() -> {
            Set<String> left = Clients.got(clients.admin.listTopics().names());
            return !left.contains("java-deleted") && !left.contains("java-deleted-by-id");
        }, "both are gone");
        Clients.refused(UnknownTopicOrPartitionException.class, () -> Clients.got(clients.admin.deleteTopics(List.of("java-deleted")).all()));
        Clients.refused(UnknownTopicIdException.class, () -> Clients.got(clients.admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all()));
        clients.topic("java-deleted", 1);
        clients.fill("java-deleted", 0, 1, Clients.TIME, 1);
    }

    private static void addsPartitions(Clients clients) throws Exception {
        String topic = clients.topic("java-grown", 1);
        Clients.got(clients.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all());
        Clients.same(3, described(clients, topic).partitions().size());
        Clients.refused(InvalidPartitionsException.class,
            () -> Clients.got(clients.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all()));
        clients.fill(topic, 2, 1, Clients.TIME, 1);
    }

    private static void alter(Clients clients, ConfigResource resource, AlterConfigOp.OpType type, String name, String value) throws Exception {
        AlterConfigOp operation = new AlterConfigOp(new ConfigEntry(name, value), type);
        Clients.got(clients.admin.incrementalAlterConfigs(Map.of(resource, List.of(operation))).all());
    }

    private static Config options(Clients clients, ConfigResource resource) throws Exception {
        DescribeConfigsOptions all = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        return Clients.got(clients.admin.describeConfigs(List.of(resource), all).all()).get(resource);
    }

    private static void topicOptions(Clients clients) throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, clients.topic("java-options", 1));
        ConfigEntry retention = options(clients, topic).get("retention.ms");
        Clients.same("604800000", retention.value());
        Clients.same(ConfigEntry.ConfigSource.DEFAULT_CONFIG, retention.source());
        Clients.same(ConfigEntry.ConfigType.LONG, retention.type());
        alter(clients, topic, AlterConfigOp.OpType.SET, "retention.ms", "5000000");
        retention = options(clients, topic).get("retention.ms");
        Clients.same("5000000", retention.value());
        Clients.same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, retention.source());
        Clients.same("5000000", retention.synonyms().get(0).value());
        alter(clients, topic, AlterConfigOp.OpType.APPEND, "cleanup.policy", "compact");
        Clients.same("delete,compact", options(clients, topic).get("cleanup.policy").value());
        alter(clients, topic, AlterConfigOp.OpType.SUBTRACT, "cleanup.policy", "delete");
        Clients.same("compact", options(clients, topic).get("cleanup.policy").value());
        alter(clients, topic, AlterConfigOp.OpType.DELETE, "retention.ms", "");
        Clients.same("604800000", options(clients, topic).get("retention.ms").value());
        AlterConfigOp tried = new AlterConfigOp(new ConfigEntry("retention.ms", "1"), AlterConfigOp.OpType.SET);
        Clients.got(clients.admin.incrementalAlterConfigs(Map.of(topic, List.of(tried)), new AlterConfigsOptions().validateOnly(true)).all());
        Clients.same("604800000", options(clients, topic).get("retention.ms").value());
    }

    private static void refusesOptions(Clients clients) throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, clients.topic("java-options-refused", 1));
        Clients.refused(InvalidConfigurationException.class, () -> alter(clients, topic, AlterConfigOp.OpType.SET, "retention.ms", "soon"));
        Clients.refused(InvalidConfigurationException.class, () -> alter(clients, topic, AlterConfigOp.OpType.SET, "no.such.option", "1"));
        Clients.refused(InvalidConfigurationException.class, () -> alter(clients, topic, AlterConfigOp.OpType.APPEND, "retention.ms", "1"));
        ConfigResource none = new ConfigResource(ConfigResource.Type.TOPIC, "java-none");
        Clients.refused(UnknownTopicOrPartitionException.class, () -> alter(clients, none, AlterConfigOp.OpType.SET, "retention.ms", "1"));
        Clients.refused(UnknownTopicOrPartitionException.class, () -> options(clients, none));
    }

    private static void brokerOptions(Clients clients) throws Exception {
        int id = Clients.got(clients.admin.describeCluster().controller()).id();
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(id));
        ConfigResource everywhere = new ConfigResource(ConfigResource.Type.BROKER, "");
        Clients.same(String.valueOf(id), options(clients, broker).get("node.id").value());
        Clients.same(true, options(clients, broker).get("node.id").isReadOnly());
        alter(clients, everywhere, AlterConfigOp.OpType.SET, "log.retention.ms", "123456789");
        Clients.until(() -> "123456789".equals(options(clients, broker).get("log.retention.ms").value()), "the broker knows its option");
        Clients.same(ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, options(clients, broker).get("log.retention.ms").source());
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, clients.topic("java-inherits", 1));
        Clients.same("123456789", options(clients, topic).get("retention.ms").value());
        alter(clients, everywhere, AlterConfigOp.OpType.DELETE, "log.retention.ms", "");
        Clients.until(() -> "604800000".equals(options(clients, topic).get("retention.ms").value()), "the topic has the default again");
        ConfigResource loggers = new ConfigResource(ConfigResource.Type.BROKER_LOGGER, String.valueOf(id));
        Clients.holds(!options(clients, loggers).entries().isEmpty(), "there are loggers");
    }

    private static void deletesRecords(Clients clients) throws Exception {
        TopicPartition part = new TopicPartition(clients.topic("java-delete-records", 1), 0);
        clients.fill(part.topic(), 0, 10, Clients.TIME, 1);
        Clients.same(4L, Clients.got(clients.admin.deleteRecords(Map.of(part, RecordsToDelete.beforeOffset(4))).lowWatermarks().get(part)).lowWatermark());
        try (Consumer<String, String> consumer = clients.consumer(null)) {
            consumer.assign(List.of(part));
            Clients.same(Clients.numbers(4, 10), Clients.values(Clients.read(consumer, 6)));
        }
        Clients.refused(OffsetOutOfRangeException.class,
            () -> Clients.got(clients.admin.deleteRecords(Map.of(part, RecordsToDelete.beforeOffset(11))).all()));
        Clients.same(10L, Clients.got(clients.admin.deleteRecords(Map.of(part, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(part)).lowWatermark());
    }

    private static void listsOffsets(Clients clients) throws Exception {
        TopicPartition part = new TopicPartition(clients.topic("java-list-offsets", 1), 0);
        clients.fill(part.topic(), 0, 10, Clients.TIME, 1000);
        Map<OffsetSpec, Long> expected = Map.of(OffsetSpec.earliest(), 0L, OffsetSpec.latest(), 10L, OffsetSpec.maxTimestamp(), 9L,
            OffsetSpec.forTimestamp(Clients.TIME + 6500), 7L, OffsetSpec.forTimestamp(Clients.TIME + 9001), -1L, OffsetSpec.earliestLocal(), 0L,
            OffsetSpec.latestTiered(), -1L, OffsetSpec.earliestPendingUpload(), -1L);
        for (Map.Entry<OffsetSpec, Long> each : expected.entrySet()) {
            long offset = Clients.got(clients.admin.listOffsets(Map.of(part, each.getKey())).all()).get(part).offset();
            Clients.holds(offset == each.getValue(), each.getKey().getClass().getSimpleName() + " is " + each.getValue() + ", found " + offset);
        }
        Clients.same(Clients.TIME + 9000, Clients.got(clients.admin.listOffsets(Map.of(part, OffsetSpec.maxTimestamp())).all()).get(part).timestamp());
    }

    private static void logFolders(Clients clients) throws Exception {
        TopicPartition part = new TopicPartition(clients.topic("java-folders", 1), 0);
        clients.fill(part.topic(), 0, 10, Clients.TIME, 1);
        int id = Clients.got(clients.admin.describeCluster().controller()).id();
        Map<String, LogDirDescription> folders = Clients.got(clients.admin.describeLogDirs(List.of(id)).allDescriptions()).get(id);
        Clients.same(1, folders.size());
        LogDirDescription folder = folders.values().iterator().next();
        Clients.same(null, folder.error());
        Clients.holds(folder.replicaInfos().get(part).size() > 0, "the partition has a size");
        Clients.holds(folder.totalBytes().getAsLong() >= folder.usableBytes().getAsLong(), "the disk has a size");
        TopicPartitionReplica replica = new TopicPartitionReplica(part.topic(), 0, id);
        Clients.same(folders.keySet().iterator().next(),
            Clients.got(clients.admin.describeReplicaLogDirs(List.of(replica)).all()).get(replica).getCurrentReplicaLogDir());
    }

    private static void producers(Clients clients) throws Exception {
        TopicPartition part = new TopicPartition(clients.topic("java-producers", 1), 0);
        clients.fill(part.topic(), 0, 10, Clients.TIME, 1);
        PartitionProducerState state = Clients.got(clients.admin.describeProducers(List.of(part)).partitionResult(part));
        Clients.same(1, state.activeProducers().size());
        Clients.same(9, state.activeProducers().get(0).lastSequence());
        Clients.same(0, state.activeProducers().get(0).producerEpoch());
        Clients.holds(state.activeProducers().get(0).currentTransactionStartOffset().isEmpty(), "no transaction");
    }

    private static void cluster(Clients clients) throws Exception {
        Collection<Node> nodes = Clients.got(clients.admin.describeCluster().nodes());
        Clients.same(1, nodes.size());
        Clients.same(clients.address, nodes.stream().map(each -> each.host() + ":" + each.port()).collect(Collectors.joining()));
        Clients.same(nodes.iterator().next(), Clients.got(clients.admin.describeCluster().controller()));
        Clients.holds(!Clients.got(clients.admin.describeCluster().clusterId()).isEmpty(), "the cluster has an id");
        Clients.got(clients.admin.describeFeatures().featureMetadata());
    }
}
