import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.TopicConfig;
import java.util.*;
public class OptionFacts {
  static String s(Object o){ if(o==null) return "\\N"; return ConfigDef.convertToString(o, null)==null? String.valueOf(o): String.valueOf(o); }
  static void dump(String scope, ConfigDef def, Set<String> cluster, Set<String> per){
    for (Map.Entry<String,ConfigDef.ConfigKey> e: new TreeMap<>(def.configKeys()).entrySet()){
      ConfigDef.ConfigKey k=e.getValue();
      Object d=k.defaultValue;
      String dv;
      if (d==ConfigDef.NO_DEFAULT_VALUE) dv="\\R"; else if(d==null) dv="\\N"; else dv=ConfigDef.convertToString(d,k.type);
      String dyn = per.contains(k.name)?"per-broker":cluster.contains(k.name)?"cluster-wide":"read-only";
      String v = k.validator==null?"":k.validator.toString().replace("\n"," ").replace("\t"," ");
      System.out.println(scope+"\t"+k.name+"\t"+k.type+"\t"+dv+"\t"+v+"\t"+k.importance+"\t"+dyn+"\t"+k.internalConfig);
    }
  }
  public static void main(String[] a) throws Exception {
    Set<String> none=new HashSet<>();
    Set<String> per=new HashSet<>(), all=new HashSet<>();
    Class<?> c=Class.forName("org.apache.kafka.server.config.DynamicBrokerConfig");
    for (var p: new Object[][]{{"ALL_DYNAMIC_CONFIGS",all},{"PER_BROKER_CONFIGS",per}}) { var f=c.getDeclaredField((String)p[0]); f.setAccessible(true); ((Set<String>)p[1]).addAll((Set<String>)f.get(null)); }
    dump("client-metrics", (ConfigDef)Class.forName("org.apache.kafka.server.metrics.ClientMetricsConfigs").getMethod("configDef").invoke(null), none, none);
    dump("broker", (ConfigDef)Class.forName("kafka.server.KafkaConfig").getMethod("configDef").invoke(null), all, per);
    java.lang.reflect.Method m=Class.forName("org.apache.kafka.storage.internals.log.LogConfig").getMethod("configDefCopy");
    dump("topic", (ConfigDef)m.invoke(null), none, none);
    for (String g: new String[]{"org.apache.kafka.coordinator.group.GroupConfig"}) { Class<?> gc=Class.forName(g); for(var f: gc.getDeclaredMethods()) System.err.println(f); }
    java.lang.reflect.Field gf=null; for (var f: Class.forName("org.apache.kafka.coordinator.group.GroupConfig").getDeclaredFields()) if (f.getType()==ConfigDef.class) gf=f; gf.setAccessible(true); ConfigDef g=(ConfigDef)gf.get(null);
    dump("group", g, none, none);
    Map<?,?> syn=(Map<?,?>)Class.forName("org.apache.kafka.server.config.ServerTopicConfigSynonyms").getField("ALL_TOPIC_CONFIG_SYNONYMS").get(null);
    for (Map.Entry<?,?> e: new TreeMap<>(syn).entrySet()){ StringBuilder b=new StringBuilder(); for(Object o:(List<?>)e.getValue()){ b.append(o.getClass().getMethod("name").invoke(o)).append(","); } System.out.println("synonym\t"+e.getKey()+"\t"+b); }
  }
}
