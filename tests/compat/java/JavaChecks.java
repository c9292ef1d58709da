import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Apache Kafka's Java clients against a broker: runs every check once. Arguments: its address, and a file for the outcomes.
 *
 * <p>A line of the file: the check's name, and "ok" or the stack trace of its failure, lines joined by " | "; a tab between.
 */
public final class JavaChecks {
    /** One check: fails by throwing. */
    interface Check {
        void run(Clients clients) throws Exception;
    }

    public static void main(String[] arguments) throws IOException {
        Map<String, Check> checks = new LinkedHashMap<>();
        ProducerChecks.addTo(checks);
        ConsumerChecks.addTo(checks);
        GroupChecks.addTo(checks);
        AdminChecks.addTo(checks);
        try (PrintWriter outcomes = new PrintWriter(Files.newBufferedWriter(Path.of(arguments[1])), true)) {
            for (Map.Entry<String, Check> check : checks.entrySet()) {
                outcomes.println(check.getKey() + "\t" + outcome(arguments[0], check.getValue()));
            }
        }
    }

    private static String outcome(String address, Check check) {
        try (Clients clients = new Clients(address)) {
            check.run(clients);
            return "ok";
        } catch (Exception | AssertionError failure) {
            StringWriter trace = new StringWriter();
            failure.printStackTrace(new PrintWriter(trace));
            return trace.toString().replaceAll("\\R\\s*", " | ");
        }
    }
}
