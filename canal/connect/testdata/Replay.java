import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** java Replay.java BROKERS TOPIC: reads a topic to its end by docs/wire.md and prints each row that is left: key, tab, row. */
public final class Replay {
    static final ObjectMapper JSON = new ObjectMapper();

    /** What one partition knows. */
    static final class Part {
        int term;
        long number;
    }

    public static void main(String[] args) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", args[0], "enable.auto.commit", "false",
            "key.deserializer", ByteArrayDeserializer.class, "value.deserializer", ByteArrayDeserializer.class);
        SortedMap<String, String> rows = new TreeMap<>();
        int dropped = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(config)) {
            List<TopicPartition> all = consumer.partitionsFor(args[1]).stream().map(p -> new TopicPartition(args[1], p.partition())).toList();
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> end = consumer.endOffsets(all);
            Map<Integer, Part> parts = new HashMap<>();
            while (all.stream().anyMatch(p -> consumer.position(p) < end.get(p))) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                    if (!take(r, parts.computeIfAbsent(r.partition(), p -> new Part()), rows)) {
                        dropped++;
                    }
                }
            }
        }
        rows.forEach((key, row) -> System.out.println(key + "\t" + row));
        System.out.println("dropped\t" + dropped);
    }

    /** Steps 1 to 4; false: the record is to be disregarded. */
    static boolean take(ConsumerRecord<byte[], byte[]> r, Part part, Map<String, String> rows) throws Exception {
        int term = header(r, "t").getInt();
        char kind = (char) header(r, "k").get();
        if (term < part.term) {
            return false;
        }
        if (kind == 'o') {
            part.term = term;
        }
        if (kind == 'r') {
            part.number = payload(r.value()).get("last_number").asLong();
        }
        if (kind == 'c' || kind == 'b' || kind == 'm') {
            long number = header(r, "p").getLong();
            if (number <= part.number) {
                return false;
            }
            if (number > part.number + 1) {
                throw new IllegalStateException("partition " + r.partition() + ": number " + number + " after " + part.number);
            }
            part.number = number;
        }
        if (kind != 'c' && kind != 'b') {
            return true;
        }
        String key = payload(r.key()).toString();
        JsonNode value = payload(r.value());
        if (value.get("op").asText().equals("d")) {
            rows.remove(key);
        } else {
            rows.put(key, value.get("after").toString());
        }
        return true;
    }

    static ByteBuffer header(ConsumerRecord<byte[], byte[]> r, String name) {
        Header h = r.headers().lastHeader(name);
        if (h == null) {
            throw new IllegalStateException("offset " + r.offset() + " of partition " + r.partition() + " has no header " + name);
        }
        return ByteBuffer.wrap(h.value());
    }

    /** What a key or value says, without its schema where it has one. */
    static JsonNode payload(byte[] text) throws Exception {
        JsonNode node = JSON.readTree(new String(text, StandardCharsets.UTF_8));
        boolean wrapped = node.size() == 2 && node.has("schema") && node.has("payload") && !node.get("schema").isValueNode()
            || node.has("schema") && node.get("schema").isNull() && node.has("payload");
        return wrapped ? node.get("payload") : node;
    }
}
