import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeConsumerGroupsOptions;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.RaftVoterEndpoint;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.admin.UserScramCredentialDeletion;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/** Everything that Kafka's admin client offers, once. */
final class GoldenAdmin implements AutoCloseable {
    private static final int BROKER = 1;

    private final Admin admin;
    private final String topic;
    private final TopicPartition first;

    GoldenAdmin(Map<String, Object> options, String topic) {
        Map<String, Object> all = new HashMap<>(options);
        all.putAll(Map.of("client.id", "golden-admin", "default.api.timeout.ms", "8000", "request.timeout.ms", "5000"));
        this.admin = Admin.create(all);
        this.topic = topic;
        this.first = new TopicPartition(topic, 0);
    }

    @Override
    public void close() {
        admin.close(Duration.ofSeconds(2));
    }

    private static <T> T got(KafkaFuture<T> future) throws Exception {
        return future.get(10, TimeUnit.SECONDS);
    }

    /** What clients need: their topic, and that the broker asks for their metrics. */
    void before() {
        GoldenClients.step("client metrics", () -> got(alter(ConfigResource.Type.CLIENT_METRICS, topic, Map.of("interval.ms", "1000", "metrics", "*"))));
        GoldenClients.step("createTopics", () -> got(admin.createTopics(
            List.of(new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "1000000000000")))).all()));
        GoldenClients.step("createTopics again", () -> got(admin.createTopics(List.of(new NewTopic(topic, Map.of(0, List.of(BROKER))))).all()));
    }

    private KafkaFuture<Void> alter(ConfigResource.Type type, String name, Map<String, String> options) {
        List<AlterConfigOp> operations = options.entrySet().stream()
            .map(each -> new AlterConfigOp(new ConfigEntry(each.getKey(), each.getValue()), AlterConfigOp.OpType.SET)).toList();
        return admin.incrementalAlterConfigs(Map.of(new ConfigResource(type, name), operations)).all();
    }

    /** All that is about topics, the cluster and who may do what; at the end the topic goes. */
    void after() {
        topics();
        cluster();
        rights();
        GoldenClients.step("deleteTopics", () -> got(admin.deleteTopics(List.of(topic, topic + "-none")).all()));
    }

    private void topics() {
        GoldenClients.step("listTopics", () -> got(admin.listTopics().names()));
        GoldenClients.step("describeTopics", () -> got(admin.describeTopics(List.of(topic, topic + "-none"),
            new DescribeTopicsOptions().includeAuthorizedOperations(true)).allTopicNames()));
        GoldenClients.step("createPartitions", () -> got(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3, List.of(List.of(BROKER))))).all()));
        GoldenClients.step("incrementalAlterConfigs", () -> got(alter(ConfigResource.Type.TOPIC, topic, Map.of("cleanup.policy", "delete"))));
        GoldenClients.step("describeConfigs", () -> got(admin.describeConfigs(List.of(new ConfigResource(ConfigResource.Type.TOPIC, topic)),
            new DescribeConfigsOptions().includeSynonyms(true)).all()));
        GoldenClients.step("describeConfigs of client metrics",
            () -> got(admin.describeConfigs(List.of(new ConfigResource(ConfigResource.Type.CLIENT_METRICS, topic))).all()));
        GoldenClients.step("listConfigResources", () -> got(admin.listConfigResources().all()));
        GoldenClients.step("listConfigResources of one type", () -> got(admin.listConfigResources(Set.of(ConfigResource.Type.CLIENT_METRICS), new ListConfigResourcesOptions()).all()));
        for (OffsetSpec spec : List.of(OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.maxTimestamp(), OffsetSpec.forTimestamp(1_600_000_000_000L))) {
            GoldenClients.step("listOffsets", () -> got(admin.listOffsets(Map.of(first, spec)).all()));
        }
        GoldenClients.step("deleteRecords", () -> got(admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(1))).all()));
        GoldenClients.step("describeLogDirs", () -> got(admin.describeLogDirs(List.of(BROKER)).allDescriptions()));
        GoldenClients.step("alterReplicaLogDirs", () -> {
            TopicPartitionReplica replica = new TopicPartitionReplica(topic, 1, BROKER);
            String now = got(admin.describeReplicaLogDirs(Set.of(replica)).all()).get(replica).getCurrentReplicaLogDir();
            String other = now.endsWith("a") ? now.substring(0, now.length() - 1) + "b" : now.substring(0, now.length() - 1) + "a";
            got(admin.alterReplicaLogDirs(Map.of(replica, other)).all());
        });
        GoldenClients.step("electLeaders", () -> got(admin.electLeaders(ElectionType.PREFERRED, Set.of(first)).all()));
        GoldenClients.step("alterPartitionReassignments",
            () -> got(admin.alterPartitionReassignments(Map.of(first, Optional.of(new NewPartitionReassignment(List.of(BROKER))))).all()));
        GoldenClients.step("listPartitionReassignments", () -> got(admin.listPartitionReassignments(Set.of(first)).reassignments()));
    }

    private void cluster() {
        GoldenClients.step("describeCluster", () -> got(admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true)
            .includeFencedBrokers(true)).nodes()));
        GoldenClients.step("describeCluster", () -> got(admin.describeCluster().nodes()));
        GoldenClients.step("describeMetadataQuorum", () -> got(admin.describeMetadataQuorum().quorumInfo()));
        GoldenClients.step("describeFeatures", () -> got(admin.describeFeatures().featureMetadata()));
        GoldenClients.step("updateFeatures", () -> got(admin.updateFeatures(
            Map.of("share.version", new FeatureUpdate((short) 1, FeatureUpdate.UpgradeType.UPGRADE)), new UpdateFeaturesOptions().validateOnly(true)).all()));
        GoldenClients.step("updateFeatures to what there is not", () -> got(admin.updateFeatures(
            Map.of("none.version", new FeatureUpdate((short) 9, FeatureUpdate.UpgradeType.UPGRADE)), new UpdateFeaturesOptions()).all()));
        GoldenClients.step("unregisterBroker", () -> got(admin.unregisterBroker(99).all()));
        Set<RaftVoterEndpoint> endpoints = Set.of(new RaftVoterEndpoint("CONTROLLER", "127.0.0.1", 9));
        GoldenClients.step("addRaftVoter", () -> got(admin.addRaftVoter(7, Uuid.randomUuid(), endpoints).all()));
        GoldenClients.step("removeRaftVoter", () -> got(admin.removeRaftVoter(7, Uuid.randomUuid()).all()));
    }

    private void rights() {
        AclBinding binding = new AclBinding(new ResourcePattern(ResourceType.TOPIC, topic, PatternType.PREFIXED),
            new AccessControlEntry("User:alice", "*", AclOperation.READ, AclPermissionType.ALLOW));
        AclBindingFilter filter = binding.toFilter();
        GoldenClients.step("createAcls", () -> got(admin.createAcls(List.of(binding)).all()));
        GoldenClients.step("describeAcls", () -> {
            while (got(admin.describeAcls(filter).values()).isEmpty()) {
                Thread.sleep(20);
            }
        });
        GoldenClients.step("deleteAcls", () -> got(admin.deleteAcls(List.of(filter)).all()));
        ClientQuotaEntity entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.USER, topic, ClientQuotaEntity.CLIENT_ID, "client"));
        GoldenClients.step("alterClientQuotas", () -> got(admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity,
            List.of(new ClientQuotaAlteration.Op("producer_byte_rate", 1e6), new ClientQuotaAlteration.Op("consumer_byte_rate", null))))).all()));
        GoldenClients.step("describeClientQuotas", () -> {
            ClientQuotaFilter quotas = ClientQuotaFilter.contains(List.of(ClientQuotaFilterComponent.ofEntity(ClientQuotaEntity.USER, topic)));
            while (got(admin.describeClientQuotas(quotas).entities()).isEmpty()) {
                Thread.sleep(20);
            }
        });
        ScramCredentialInfo info = new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096);
        GoldenClients.step("alterUserScramCredentials", () -> got(admin.alterUserScramCredentials(
            List.of(new UserScramCredentialUpsertion("alice", info, "alice-secret"), new UserScramCredentialUpsertion(topic, info, "secret"))).all()));
        GoldenClients.step("describeUserScramCredentials", () -> got(admin.describeUserScramCredentials(List.of("alice", "nobody")).users()));
        GoldenClients.step("alterUserScramCredentials", () -> got(admin.alterUserScramCredentials(
            List.of(new UserScramCredentialDeletion(topic, ScramMechanism.SCRAM_SHA_256))).all()));
    }

    void groups(String group) {
        GoldenClients.step("listGroups", () -> got(admin.listGroups(ListGroupsOptions.forConsumerGroups()).all()));
        GoldenClients.step("listGroups", () -> got(admin.listGroups().all()));
        GoldenClients.step("describeConsumerGroups", () -> got(admin.describeConsumerGroups(List.of(group),
            new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true)).all()));
        GoldenClients.step("describeClassicGroups", () -> got(admin.describeClassicGroups(List.of(group)).all()));
        GoldenClients.step("listConsumerGroupOffsets", () -> got(admin.listConsumerGroupOffsets(Map.of(group, new ListConsumerGroupOffsetsSpec())).all()));
        GoldenClients.step("alterConsumerGroupOffsets", () -> got(admin.alterConsumerGroupOffsets(group + "-other", Map.of(first, new OffsetAndMetadata(1, "note"))).all()));
        GoldenClients.step("deleteConsumerGroupOffsets", () -> got(admin.deleteConsumerGroupOffsets(group + "-other", Set.of(first)).all()));
        GoldenClients.step("deleteConsumerGroups", () -> got(admin.deleteConsumerGroups(List.of(group + "-other", group)).all()));
    }

    void removeMember(String group, String instance) {
        GoldenClients.step("removeMembersFromConsumerGroup", () -> got(admin.removeMembersFromConsumerGroup(group,
            new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove(instance)))).all()));
    }

    void transactions(String id) {
        GoldenClients.step("listTransactions", () -> got(admin.listTransactions(
            new ListTransactionsOptions().filterOnDuration(0).filterOnTransactionalIdPattern("golden.*")).all()));
        GoldenClients.step("listTransactions", () -> got(admin.listTransactions().all()));
        GoldenClients.step("describeTransactions", () -> got(admin.describeTransactions(List.of(id)).all()));
        GoldenClients.step("abortTransaction", () -> {
            List<ProducerState> producers = got(admin.describeProducers(List.of(first)).partitionResult(first)).activeProducers();
            for (ProducerState open : producers) {
                if (open.currentTransactionStartOffset().isPresent()) {
                    got(admin.abortTransaction(new AbortTransactionSpec(first, open.producerId(), (short) open.producerEpoch(), 0)).all());
                }
            }
        });
        GoldenClients.step("fenceProducers", () -> got(admin.fenceProducers(List.of(id)).all()));
    }

    void readFromTheStart(String group) throws Exception {
        got(alter(ConfigResource.Type.GROUP, group, Map.of("share.auto.offset.reset", "earliest")));
        Thread.sleep(200);
    }

    void shareGroups(String group) {
        GoldenClients.step("describeShareGroups", () -> got(admin.describeShareGroups(List.of(group)).all()));
        shareOffsets(group);
    }

    void emptyShareGroups(String group) {
        shareOffsets(group);
        GoldenClients.step("alterShareGroupOffsets", () -> got(admin.alterShareGroupOffsets(group, Map.of(first, 1L)).all()));
        shareOffsets(group);
        GoldenClients.step("deleteShareGroupOffsets", () -> got(admin.deleteShareGroupOffsets(group, Set.of(topic)).all()));
        GoldenClients.step("deleteShareGroups", () -> got(admin.deleteShareGroups(List.of(group)).all()));
    }

    private void shareOffsets(String group) {
        GoldenClients.step("listShareGroupOffsets", () -> got(admin.listShareGroupOffsets(
            Map.of(group, new ListShareGroupOffsetsSpec().topicPartitions(List.of(first)))).all()));
        GoldenClients.step("listShareGroupOffsets", () -> got(admin.listShareGroupOffsets(Map.of(group, new ListShareGroupOffsetsSpec())).all()));
    }

    void streamsGroups(String group) {
        GoldenClients.step("describeStreamsGroups", () -> got(admin.describeStreamsGroups(List.of(group)).all()));
    }

    void tokens() throws Exception {
        byte[] code = got(admin.createDelegationToken().delegationToken()).hmac();
        Thread.sleep(300);
        GoldenClients.step("renewDelegationToken", () -> got(admin.renewDelegationToken(code).expiryTimestamp()));
        GoldenClients.step("describeDelegationToken", () -> got(admin.describeDelegationToken().delegationTokens()));
        GoldenClients.step("expireDelegationToken", () -> got(admin.expireDelegationToken(code).expiryTimestamp()));
    }

    /** What anybody may ask who may enter. */
    void enter() {
        GoldenClients.step("listTopics", () -> got(admin.listTopics().names()));
    }
}
