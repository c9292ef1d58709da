import java.io.BufferedReader;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.Set;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.requests.RequestHeader;

/**
 * Asks what no client of today asks any more: takes requests that clients sent, writes them with Kafka's own codec in another version,
 * and sends them to a broker. The argument is its address.
 *
 * <p>Line in: API key, version it has, version to send, body in hex. Line out: the same without the body, and what became of it.
 * Not every request can be written in every version: the first line for a key and version that gets an answer is the last one asked.
 */
public final class OldVersions {
    private static final int WAIT_MS = 3000;

    public static void main(String[] arguments) throws IOException {
        String[] address = arguments[0].split(":");
        Set<String> answered = new HashSet<>();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ", -1);
            short key = Short.parseShort(words[0]);
            short from = Short.parseShort(words[1]);
            short version = Short.parseShort(words[2]);
            if (answered.contains(key + " " + version)) {
                continue;
            }
            String outcome;
            try (Socket socket = new Socket(address[0], Integer.parseInt(address[1]))) {
                socket.setSoTimeout(WAIT_MS);
                outcome = ask(socket, key, from, version, HexFormat.of().parseHex(words[3]));
                answered.add(key + " " + version);
            } catch (IOException | RuntimeException failure) {
                outcome = failure.toString();
            }
            System.out.println(ApiKeys.forId(key).name + " " + from + " " + version + " " + outcome);
        }
    }

    private static String ask(Socket socket, short key, short from, short version, byte[] body) throws IOException {
        ApiMessage message = ApiMessageType.fromApiKey(key).newRequest();
        message.read(new ByteBufferAccessor(ByteBuffer.wrap(body)), from);
        RequestHeader header = new RequestHeader(ApiKeys.forId(key), version, "old-versions", 1);
        ByteBuffer head = MessageUtil.toByteBufferAccessor(header.data(), header.headerVersion()).buffer();
        ByteBuffer content = MessageUtil.toByteBufferAccessor(message, version).buffer();
        ByteBuffer frame = ByteBuffer.allocate(4 + head.remaining() + content.remaining());
        frame.putInt(head.remaining() + content.remaining()).put(head).put(content);
        socket.getOutputStream().write(frame.array());
        DataInputStream answer = new DataInputStream(socket.getInputStream());
        byte[] response = answer.readNBytes(answer.readInt());
        return response.length + " bytes";
    }
}
