import java.lang.reflect.Field;
import java.util.Arrays;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigException;

/**
 * Which values Kafka's own ConfigDef takes, at the edges of every type: tests/config/kafka_verdicts.tsv on standard output.
 *
 * <p>First the probes of each kind of option as a JSON list; then scope, name, and + or - for each probe of its kind.
 */
public final class OptionVerdicts {
    private static final String[] LIST = {
        "", "delete", "compact", "compact,delete", "delete,delete", "other", "delete,,compact", "0:1", "0:1,1:2", "*", "0", "0:1:2",
        "a:b", "classic", "classic,consumer", "classic,classic", "broker", "broker,broker",
    };
    private static final String[] STRING = {
        "", "producer", "Producer", "gzip", "CreateTime", "createtime", "latest", "earliest", "by_duration:PT1H",
        "by_duration:P1DT2H", "by_duration:-PT1H", "by_duration:x", "by_duration:", "none", "upgrade", "UPGRADE", "es256",
        "required", "read_committed", "SSL", "PLAINTEXT",
    };
    private static final String[] NUMBER = {
        "", "x", "-3", "-2", "-1", "0", "1", " 1 ", "1_0", "1.5", "+1", "9", "10", "2147483647", "2147483648",
        "9223372036854775807", "9223372036854775808",
    };
    private static final String[] BOOLEAN = {"true", "TRUE", " false ", "yes", "", "1"};

    public static void main(String[] arguments) throws ReflectiveOperationException {
        printProbes("list", LIST);
        printProbes("string", STRING);
        printProbes("number", NUMBER);
        printProbes("boolean", BOOLEAN);
        print("broker", (ConfigDef) Class.forName("kafka.server.KafkaConfig").getMethod("configDef").invoke(null));
        print("topic", (ConfigDef) Class.forName("org.apache.kafka.storage.internals.log.LogConfig").getMethod("configDefCopy").invoke(null));
        for (Field field : Class.forName("org.apache.kafka.coordinator.group.GroupConfig").getDeclaredFields()) {
            if (field.getType() == ConfigDef.class) {
                field.setAccessible(true);
                print("group", (ConfigDef) field.get(null));
            }
        }
    }

    private static void printProbes(String kind, String[] probes) {
        String json = Arrays.stream(probes).map(probe -> '"' + probe + '"').collect(Collectors.joining(", ", "[", "]"));
        System.out.println("probes\t" + kind + "\t" + json);
    }

    private static void print(String scope, ConfigDef definition) {
        for (ConfigDef.ConfigKey key : new TreeMap<>(definition.configKeys()).values()) {
            String[] probes = switch (key.type) {
                case LIST -> LIST;
                case STRING -> STRING;
                case BOOLEAN -> BOOLEAN;
                case CLASS, PASSWORD -> new String[0];
                default -> NUMBER;
            };
            if (probes.length > 0) {
                String signs = Arrays.stream(probes).map(probe -> takes(key, probe) ? "+" : "-").collect(Collectors.joining());
                System.out.println(scope + "\t" + key.name + "\t" + signs);
            }
        }
    }

    private static boolean takes(ConfigDef.ConfigKey key, String probe) {
        try {
            Object value = ConfigDef.parseType(key.name, probe, key.type);
            if (key.validator == null) {
                return value != null;
            }
            key.validator.ensureValid(key.name, value);
            return true;
        } catch (ConfigException | NullPointerException refused) {
            return false;
        }
    }
}
