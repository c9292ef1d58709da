import org.apache.kafka.common.config.ConfigDef;
import java.util.*;
/** Whether Kafka's own ConfigDef takes a value: for every option that has a rule of its own, a few values at the edges. */
public class OptionVerdicts {
  static final String[] LIST = {"", "delete", "compact", "compact,delete", "delete,delete", "other", "delete,,compact", "0:1", "0:1,1:2", "*", "0", "0:1:2", "a:b", "classic", "classic,consumer", "classic,classic", "broker", "broker,broker"};
  static final String[] TEXT = {"", "producer", "Producer", "gzip", "CreateTime", "createtime", "latest", "earliest", "by_duration:PT1H", "by_duration:P1DT2H", "by_duration:-PT1H", "by_duration:x", "by_duration:", "none", "upgrade", "UPGRADE", "es256", "required", "read_committed", "SSL", "PLAINTEXT"};
  static final String[] NUMBER = {"", "x", "-3", "-2", "-1", "0", "1", " 1 ", "1_0", "1.5", "+1", "9", "10", "2147483647", "2147483648", "9223372036854775807", "9223372036854775808"};
  static final String[] TRUTH = {"true", "TRUE", " false ", "yes", "", "1"};
  static void dump(String scope, ConfigDef def) {
    for (ConfigDef.ConfigKey k : new TreeMap<>(def.configKeys()).values()) {
      String[] probes = switch (k.type) { case LIST -> LIST; case STRING -> TEXT; case BOOLEAN -> TRUTH; case CLASS, PASSWORD -> new String[0]; default -> NUMBER; };
      StringBuilder taken = new StringBuilder();
      for (String p : probes) {
        boolean ok = true;
        try { Object v = ConfigDef.parseType(k.name, p, k.type); if (k.validator != null) k.validator.ensureValid(k.name, v); else if (v == null) ok = false; } catch (Exception e) { ok = false; }
        taken.append(ok ? '+' : '-');
      }
      if (probes.length > 0) System.out.println(scope + "\t" + k.name + "\t" + taken);
    }
  }
  static ConfigDef of(String owner) throws Exception {
    for (var f : Class.forName(owner).getDeclaredFields()) if (f.getType() == ConfigDef.class) { f.setAccessible(true); return (ConfigDef) f.get(null); }
    throw new AssertionError(owner);
  }
  public static void main(String[] a) throws Exception {
    dump("broker", (ConfigDef) Class.forName("kafka.server.KafkaConfig").getMethod("configDef").invoke(null));
    dump("topic", (ConfigDef) Class.forName("org.apache.kafka.storage.internals.log.LogConfig").getMethod("configDefCopy").invoke(null));
    dump("group", of("org.apache.kafka.coordinator.group.GroupConfig"));
  }
}
