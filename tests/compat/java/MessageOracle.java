import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.MessageUtil;

/**
 * Reads messages with Apache Kafka's own codec and says what it saw.
 *
 * <p>Line in: message name, version, content in hex. Line out: tab-separated bytes left unread, what Kafka writes for
 * the message it read in hex, and the message as JSON; or "error" and the exception.
 */
public final class MessageOracle {
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message.",
        "org.apache.kafka.common.metadata.",
        "org.apache.kafka.coordinator.group.generated.",
        "org.apache.kafka.coordinator.share.generated.",
        "org.apache.kafka.coordinator.transaction.generated.",
        "org.apache.kafka.server.log.remote.metadata.storage.generated.",
        "org.apache.kafka.raft.generated.",
    };

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ", -1);
            System.out.println(answer(words[0], Short.parseShort(words[1]), HexFormat.of().parseHex(words[2])));
        }
    }

    private static String answer(String name, short version, byte[] content) throws ClassNotFoundException {
        Class<?> type = find(name.matches(".*(Request|Response)") ? name + "Data" : name);
        try {
            ByteBuffer buffer = ByteBuffer.wrap(content);
            ApiMessage message = (ApiMessage) type.getConstructor().newInstance();
            message.read(new ByteBufferAccessor(buffer), version);
            ByteBuffer written = MessageUtil.toByteBufferAccessor(message, version).buffer();
            byte[] again = new byte[written.remaining()];
            written.get(again);
            return buffer.remaining() + "\t" + HexFormat.of().formatHex(again) + "\t" + json(message, version);
        } catch (InvocationTargetException failure) {
            return "error\t" + failure.getCause();
        } catch (ReflectiveOperationException | RuntimeException failure) {
            return "error\t" + failure;
        }
    }

    private static Class<?> find(String name) throws ClassNotFoundException {
        for (String folder : PACKAGES) {
            try {
                return Class.forName(folder + name);
            } catch (ClassNotFoundException elsewhere) {
                continue;
            }
        }
        throw new ClassNotFoundException(name);
    }

    private static String json(ApiMessage message, short version) throws ReflectiveOperationException {
        Class<?> converter = Class.forName(message.getClass().getName() + "JsonConverter");
        Method write = converter.getMethod("write", message.getClass(), short.class);
        JsonNode node = (JsonNode) write.invoke(null, message, version);
        return node.toString();
    }
}
