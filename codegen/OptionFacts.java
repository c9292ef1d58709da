import java.lang.reflect.Field;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.common.config.ConfigDef;

/**
 * Every option that Apache Kafka defines, as its own ConfigDef states it: kafka_options.tsv on standard output.
 *
 * <p>A line: scope, name, type, default (\R required, \N null), bounds, importance, how it may change, internal.
 * Then lines of "synonym", a topic option, and the broker options that its default comes from, strongest first.
 */
public final class OptionFacts {
    public static void main(String[] arguments) throws Exception {
        Set<String> dynamic = new HashSet<>();
        Set<String> perBroker = new HashSet<>();
        names("ALL_DYNAMIC_CONFIGS", dynamic);
        names("PER_BROKER_CONFIGS", perBroker);
        print("client-metrics", made("org.apache.kafka.server.metrics.ClientMetricsConfigs", "configDef"), Set.of(), Set.of());
        print("broker", made("kafka.server.KafkaConfig", "configDef"), dynamic, perBroker);
        print("topic", made("org.apache.kafka.storage.internals.log.LogConfig", "configDefCopy"), Set.of(), Set.of());
        print("group", held("org.apache.kafka.coordinator.group.GroupConfig"), Set.of(), Set.of());
        synonyms();
    }

    private static void print(String scope, ConfigDef definition, Set<String> dynamic, Set<String> perBroker) {
        for (ConfigDef.ConfigKey key : new TreeMap<>(definition.configKeys()).values()) {
            String bounds = key.validator == null ? "" : key.validator.toString().replaceAll("[\n\t]", " ");
            String change = perBroker.contains(key.name) ? "per-broker" : dynamic.contains(key.name) ? "cluster-wide" : "read-only";
            System.out.println(String.join("\t", scope, key.name, key.type.name(), defaultOf(key), bounds,
                key.importance.name(), change, String.valueOf(key.internalConfig)));
        }
    }

    private static String defaultOf(ConfigDef.ConfigKey key) {
        if (key.defaultValue == ConfigDef.NO_DEFAULT_VALUE) {
            return "\\R";
        }
        return key.defaultValue == null ? "\\N" : ConfigDef.convertToString(key.defaultValue, key.type);
    }

    private static void synonyms() throws ReflectiveOperationException {
        Class<?> owner = Class.forName("org.apache.kafka.server.config.ServerTopicConfigSynonyms");
        Map<?, ?> byTopic = (Map<?, ?>) owner.getField("ALL_TOPIC_CONFIG_SYNONYMS").get(null);
        for (Map.Entry<?, ?> entry : new TreeMap<>(byTopic).entrySet()) {
            String names = ((List<?>) entry.getValue()).stream().map(OptionFacts::name).collect(Collectors.joining(","));
            System.out.println("synonym\t" + entry.getKey() + "\t" + names);
        }
    }

    private static String name(Object synonym) {
        try {
            return (String) synonym.getClass().getMethod("name").invoke(synonym);
        } catch (ReflectiveOperationException failure) {
            throw new AssertionError(failure);
        }
    }

    private static void names(String set, Set<String> into) throws ReflectiveOperationException {
        Field field = Class.forName("org.apache.kafka.server.config.DynamicBrokerConfig").getDeclaredField(set);
        field.setAccessible(true);
        ((Set<?>) field.get(null)).forEach(name -> into.add((String) name));
    }

    private static ConfigDef made(String owner, String method) throws ReflectiveOperationException {
        return (ConfigDef) Class.forName(owner).getMethod(method).invoke(null);
    }

    private static ConfigDef held(String owner) throws ReflectiveOperationException {
        for (Field field : Class.forName(owner).getDeclaredFields()) {
            if (field.getType() == ConfigDef.class) {
                field.setAccessible(true);
                return (ConfigDef) field.get(null);
            }
        }
        throw new AssertionError(owner + " holds no ConfigDef");
    }
}
