import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.ClassicGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ClassicGroupState;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.UnknownMemberIdException;

/** Groups and their offsets, as Kafka's admin client sees them. */
final class AdminGroupChecks {
    static void addTo(Map<String, JavaChecks.Check> checks) {
        checks.put("admin: a group with a member", AdminGroupChecks::groupWithMember);
        checks.put("admin: offsets of groups", AdminGroupChecks::offsets);
        checks.put("admin: groups are deleted", AdminGroupChecks::deletes);
        checks.put("admin: members are removed", AdminGroupChecks::removesMembers);
    }

    private static Consumer<String, String> member(Clients clients, String topic, String... options) throws Exception {
        Consumer<String, String> consumer = clients.consumer(topic, options);
        consumer.subscribe(List.of(topic));
        Clients.until(() -> {
            consumer.poll(Clients.SHORT);
            return consumer.assignment().size() == 2;
        }, "the member owns all");
        return consumer;
    }

    private static GroupListing listed(Clients clients, String group, ListGroupsOptions options) throws Exception {
        Collection<GroupListing> all = Clients.got(clients.admin.listGroups(options).all());
        return all.stream().filter(each -> each.groupId().equals(group)).findAny().orElse(null);
    }

    private static void groupWithMember(Clients clients) throws Exception {
        String topic = clients.topic("java-described-group", 2);
        try (Consumer<String, String> consumer = member(clients, topic, "client.id", "a client", "group.instance.id", "an-instance")) {
            ConsumerGroupDescription description = Clients.got(clients.admin.describeConsumerGroups(List.of(topic)).all()).get(topic);
            Clients.same(GroupState.STABLE, description.groupState());
            Clients.same(GroupType.CLASSIC, description.type());
            Clients.same("range", description.partitionAssignor());
            Clients.same(1, description.members().size());
            MemberDescription member = description.members().iterator().next();
            Clients.same("a client", member.clientId());
            Clients.same("an-instance", member.groupInstanceId().get());
            Clients.same(consumer.groupMetadata().memberId(), member.consumerId());
            Clients.same(consumer.assignment(), member.assignment().topicPartitions());
            ClassicGroupDescription classic = Clients.got(clients.admin.describeClassicGroups(List.of(topic)).all()).get(topic);
            Clients.same(ClassicGroupState.STABLE, classic.state());
            Clients.same("consumer", classic.protocol());
            GroupListing listing = listed(clients, topic, new ListGroupsOptions());
            Clients.same(GroupState.STABLE, listing.groupState().get());
            Clients.same(GroupType.CLASSIC, listing.type().get());
            Clients.same(false, listing.isSimpleConsumerGroup());
            Clients.holds(listed(clients, topic, new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY))) == null, "it is not empty");
            Clients.holds(listed(clients, topic, new ListGroupsOptions().withTypes(Set.of(GroupType.SHARE))) == null, "it is no share group");
        }
        Clients.refused(GroupIdNotFoundException.class, () -> Clients.got(clients.admin.describeConsumerGroups(List.of("java-no-group")).all()));
    }

    private static void offsets(Clients clients) throws Exception {
        String topic = clients.topic("java-group-offsets", 2);
        TopicPartition first = new TopicPartition(topic, 0);
        TopicPartition second = new TopicPartition(topic, 1);
        clients.fill(topic, 0, 5, Clients.TIME, 1);
        Clients.got(clients.admin.alterConsumerGroupOffsets(topic, Map.of(first, new OffsetAndMetadata(3, "set"), second, new OffsetAndMetadata(0))).all());
        Map<TopicPartition, OffsetAndMetadata> offsets = offsetsOf(clients, topic);
        Clients.same(Set.of(first, second), offsets.keySet());
        Clients.same(3L, offsets.get(first).offset());
        Clients.same("set", offsets.get(first).metadata());
        Map<String, ListConsumerGroupOffsetsSpec> two = Map.of(topic, new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(second)),
            "java-no-group", new ListConsumerGroupOffsetsSpec());
        Clients.same(Map.of(topic, Set.of(second), "java-no-group", Set.of()), Map.of(
            topic, Clients.got(clients.admin.listConsumerGroupOffsets(two).partitionsToOffsetAndMetadata(topic)).keySet(),
            "java-no-group", Clients.got(clients.admin.listConsumerGroupOffsets(two).partitionsToOffsetAndMetadata("java-no-group")).keySet()));
        try (Consumer<String, String> consumer = member(clients, topic)) {
            Clients.refused(GroupSubscribedToTopicException.class,
                () -> Clients.got(clients.admin.deleteConsumerGroupOffsets(topic, Set.of(first)).all()));
            Clients.refused(UnknownMemberIdException.class,
                () -> Clients.got(clients.admin.alterConsumerGroupOffsets(topic, Map.of(first, new OffsetAndMetadata(1))).all()));
        }
        Clients.got(clients.admin.deleteConsumerGroupOffsets(topic, Set.of(first)).all());
        Clients.same(Set.of(second), offsetsOf(clients, topic).keySet());
    }

    private static Map<TopicPartition, OffsetAndMetadata> offsetsOf(Clients clients, String group) throws Exception {
        return Clients.got(clients.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
    }

    private static void deletes(Clients clients) throws Exception {
        String topic = clients.topic("java-deleted-group", 2);
        try (Consumer<String, String> consumer = member(clients, topic)) {
            Clients.refused(GroupNotEmptyException.class, () -> Clients.got(clients.admin.deleteConsumerGroups(List.of(topic)).all()));
        }
        Clients.same(GroupState.EMPTY, listed(clients, topic, new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY))).groupState().get());
        Clients.got(clients.admin.deleteConsumerGroups(List.of(topic)).all());
        Clients.same(null, listed(clients, topic, new ListGroupsOptions()));
        Clients.refused(GroupIdNotFoundException.class, () -> Clients.got(clients.admin.deleteConsumerGroups(List.of(topic)).all()));
    }

    private static void removesMembers(Clients clients) throws Exception {
        String topic = clients.topic("java-removed-members", 2);
        try (Consumer<String, String> consumer = member(clients, topic, "group.instance.id", "to-go")) {
            MemberToRemove member = new MemberToRemove("to-go");
            Clients.got(clients.admin.removeMembersFromConsumerGroup(topic, new RemoveMembersFromConsumerGroupOptions(List.of(member))).all());
            ConsumerGroupDescription description = Clients.got(clients.admin.describeConsumerGroups(List.of(topic)).all()).get(topic);
            Clients.same(0, description.members().size());
        }
        try (Consumer<String, String> consumer = member(clients, topic)) {
            Clients.got(clients.admin.removeMembersFromConsumerGroup(topic, new RemoveMembersFromConsumerGroupOptions()).all());
            Clients.same(GroupState.EMPTY, Clients.got(clients.admin.describeConsumerGroups(List.of(topic)).all()).get(topic).groupState());
        }
    }
}
