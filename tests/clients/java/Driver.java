import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The Java client, driven by JSON lines: one question per line on standard input, one answer per line. The
 * questions and answers are described in tests/clients/src/script.rs. Bytes are base64.
 */
public final class Driver {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    private Load load;
    private Follower follower;

    public static void main(String[] args) throws IOException {
        var driver = new Driver();
        var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.println(driver.answer(line));
        }
    }

    private JsonNode answer(String line) {
        try {
            JsonNode q = JSON.readTree(line);
            String op = q.get("op").asText();
            return switch (op) {
                case "produce" -> produce(q);
                case "consume" -> consume(q);
                case "topics" -> topics(q);
                case "describe" -> describe(q);
                case "create_topic" -> createTopic(q);
                case "delete_topic" -> deleteTopic(q);
                case "configs" -> configs(q);
                case "load_start" -> {
                    load = new Load(q);
                    load.start();
                    yield JSON.createObjectNode();
                }
                case "load_stop" -> load.finish();
                case "follow_start" -> {
                    follower = new Follower(q);
                    follower.start();
                    yield JSON.createObjectNode();
                }
                case "follow_stop" -> follower.finish();
                default -> throw new IllegalArgumentException("no such operation: " + op);
            };
        } catch (Exception error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            Errors known = Errors.forException(cause);
            ObjectNode answer = JSON.createObjectNode();
            answer.put("error", cause.toString());
            answer.put("code", known == Errors.UNKNOWN_SERVER_ERROR ? 0 : known.code());
            return answer;
        }
    }

    private static KafkaProducer<byte[], byte[]> producer(JsonNode q, Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", q.get("bootstrap").asText());
        settings.put("delivery.timeout.ms", "30000");
        settings.put("request.timeout.ms", "10000");
        settings.put("linger.ms", "5");
        // Several batches in a partition, so that offsets and times are looked up across them.
        settings.put("batch.size", "4096");
        settings.putAll(more);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static Map<String, Object> asked(JsonNode q) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("acks", q.get("acks").asText());
        settings.put("compression.type", q.get("codec").asText());
        settings.put("enable.idempotence", q.get("idempotent").asBoolean());
        if (q.get("large").asBoolean()) {
            settings.put("max.request.size", "16777216");
            settings.put("buffer.memory", "67108864");
        }
        return settings;
    }

    private static JsonNode produce(JsonNode q) throws Exception {
        List<Future<RecordMetadata>> futures = new ArrayList<>();
        try (var client = producer(q, asked(q))) {
            for (JsonNode r : q.get("records")) {
                Long timestamp = r.get("timestamp").isNull() ? null : r.get("timestamp").asLong();
                List<Header> headers = new ArrayList<>();
                for (JsonNode header : r.get("headers")) {
                    headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
                }
                futures.add(client.send(new ProducerRecord<>(q.get("topic").asText(), q.get("partition").asInt(),
                        timestamp, bytes(r.get("key")), bytes(r.get("value")), headers)));
            }
            client.flush();
        }
        ObjectNode answer = JSON.createObjectNode();
        ArrayNode offsets = answer.putArray("offsets");
        for (Future<RecordMetadata> future : futures) {
            RecordMetadata told = future.get();
            if (told.hasOffset()) {
                offsets.add(told.offset());
            } else {
                offsets.addNull();
            }
        }
        return answer;
    }

    private static JsonNode consume(JsonNode q) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", q.get("bootstrap").asText());
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "none");
        settings.put("allow.auto.create.topics", "false");
        ObjectNode answer = JSON.createObjectNode();
        ArrayNode records = answer.putArray("records");
        try (var client = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            q.get("partitions").forEach(p -> partitions.add(new TopicPartition(q.get("topic").asText(), p.asInt())));
            Map<TopicPartition, Long> ends = client.endOffsets(partitions, PATIENCE);
            client.assign(partitions);
            JsonNode begin = q.get("from");
            if (begin.has("timestamp")) {
                Map<TopicPartition, Long> times = new HashMap<>();
                partitions.forEach(p -> times.put(p, begin.get("timestamp").asLong()));
                Map<TopicPartition, OffsetAndTimestamp> found = client.offsetsForTimes(times, PATIENCE);
                partitions.forEach(p -> client.seek(p, found.get(p) == null ? ends.get(p) : found.get(p).offset()));
            } else if (begin.has("offset")) {
                partitions.forEach(p -> client.seek(p, begin.get("offset").asLong()));
            } else {
                client.seekToBeginning(partitions);
            }
            Instant deadline = Instant.now().plus(PATIENCE);
            while (partitions.stream().anyMatch(p -> client.position(p, PATIENCE) < ends.get(p))) {
                if (Instant.now().isAfter(deadline)) {
                    throw new IllegalStateException("time is up; read " + records.size() + " records");
                }
                client.poll(Duration.ofMillis(100)).forEach(r -> records.add(consumed(r)));
            }
        }
        return answer;
    }

    private static JsonNode consumed(ConsumerRecord<byte[], byte[]> r) {
        ObjectNode json = JSON.createObjectNode();
        json.put("partition", r.partition());
        json.put("offset", r.offset());
        json.put("timestamp", r.timestamp());
        json.put("key", text(r.key()));
        json.put("value", text(r.value()));
        ArrayNode headers = json.putArray("headers");
        for (Header header : r.headers()) {
            headers.addArray().add(header.key()).add(text(header.value()));
        }
        return json;
    }

    private static Admin admin(JsonNode q) {
        return Admin.create(Map.of("bootstrap.servers", q.get("bootstrap").asText(), "default.api.timeout.ms", 30000));
    }

    private static JsonNode topics(JsonNode q) throws Exception {
        ObjectNode answer = JSON.createObjectNode();
        ObjectNode topics = answer.putObject("topics");
        try (Admin client = admin(q)) {
            var names = client.listTopics().names().get();
            for (TopicDescription topic : client.describeTopics(names).allTopicNames().get().values()) {
                topics.put(topic.name(), topic.partitions().size());
            }
        }
        return answer;
    }

    private static JsonNode describe(JsonNode q) throws Exception {
        String name = q.get("topic").asText();
        try (Admin client = admin(q)) {
            TopicDescription topic = client.describeTopics(List.of(name)).allTopicNames().get().get(name);
            return JSON.createObjectNode().put("partitions", topic.partitions().size());
        }
    }

    private static JsonNode createTopic(JsonNode q) throws Exception {
        Map<String, String> configs = new HashMap<>();
        q.get("configs").properties().forEach(entry -> configs.put(entry.getKey(), entry.getValue().asText()));
        NewTopic topic = new NewTopic(q.get("topic").asText(), q.get("partitions").asInt(), (short) 1).configs(configs);
        try (Admin client = admin(q)) {
            client.createTopics(List.of(topic)).all().get();
        }
        return JSON.createObjectNode();
    }

    private static JsonNode deleteTopic(JsonNode q) throws Exception {
        try (Admin client = admin(q)) {
            client.deleteTopics(List.of(q.get("topic").asText())).all().get();
        }
        return JSON.createObjectNode();
    }

    private static JsonNode configs(JsonNode q) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, q.get("topic").asText());
        ObjectNode answer = JSON.createObjectNode();
        ObjectNode configs = answer.putObject("configs");
        try (Admin client = admin(q)) {
            for (ConfigEntry entry : client.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
                if (entry.value() != null) {
                    configs.put(entry.name(), entry.value());
                }
            }
        }
        return answer;
    }

    private static byte[] bytes(JsonNode text) {
        return text.isNull() ? null : Base64.getDecoder().decode(text.asText());
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }

    /** Reads partitions from their beginning until it is told to stop, and remembers what it read and when. */
    private static final class Follower extends Thread {
        private final JsonNode q;
        private final ObjectNode outcome = JSON.createObjectNode();
        private final ArrayNode read = outcome.putArray("read");
        private volatile boolean stopping;
        private volatile RuntimeException error;

        Follower(JsonNode q) {
            this.q = q;
        }

        @Override
        public void run() {
            Map<String, Object> settings = Map.of("bootstrap.servers", q.get("bootstrap").asText(),
                    "enable.auto.commit", "false", "auto.offset.reset", "none", "reconnect.backoff.max.ms", "200");
            List<TopicPartition> partitions = new ArrayList<>();
            for (int partition = 0; partition < q.get("partitions").asInt(); partition++) {
                partitions.add(new TopicPartition(q.get("topic").asText(), partition));
            }
            try (var client = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                client.assign(partitions);
                partitions.forEach(p -> client.seek(p, 0));
                while (!stopping) {
                    var records = client.poll(Duration.ofMillis(50));
                    long at = ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now());
                    records.forEach(r -> read.addArray().add(at).add(r.partition()).add(r.offset()).add(text(r.value())));
                }
            } catch (RuntimeException failed) {
                error = failed;
            }
        }

        JsonNode finish() throws InterruptedException {
            stopping = true;
            join();
            if (error != null) {
                throw error;
            }
            return outcome;
        }
    }

    /** Sends numbered messages at a pace until it is told to stop, and remembers what became of each. */
    private static final class Load extends Thread {
        private final JsonNode q;
        private final ObjectNode outcome = JSON.createObjectNode();
        private final ArrayNode history = outcome.putArray("history");
        private final ArrayNode failures = outcome.putArray("failures");
        private volatile boolean stopping;

        Load(JsonNode q) {
            this.q = q;
        }

        private ObjectNode note(String event) {
            return JSON.createObjectNode().put("at", ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now()))
                    .put("event", event);
        }

        private void keep(ObjectNode event) {
            synchronized (outcome) {
                history.add(event);
            }
        }

        @Override
        public void run() {
            // Long enough that no record is given up while the broker is away.
            Map<String, Object> settings = Map.of("acks", "all", "enable.idempotence", true, "delivery.timeout.ms",
                    "240000", "max.block.ms", "240000", "compression.type", "lz4", "reconnect.backoff.max.ms", "200");
            String topic = q.get("topic").asText();
            int producer = q.get("producer").asInt();
            int partitions = q.get("partitions").asInt();
            double perSecond = q.get("per_second").asDouble();
            long start = System.nanoTime();
            try (var client = producer(q, settings)) {
                for (int number = 0; !stopping; number++) {
                    long message = producer * 1_000_000_000L + number;
                    int partition = number % partitions;
                    keep(note("sent").put("producer", producer).put("message", message).put("topic", topic)
                            .put("partition", partition));
                    byte[] value = (message + ":" + "x".repeat((int) (message % 200))).getBytes(StandardCharsets.UTF_8);
                    client.send(new ProducerRecord<>(topic, partition, null, value), (told, error) -> {
                        if (error == null) {
                            keep(note("acked").put("message", message).put("offset", told.offset()));
                        } else {
                            synchronized (outcome) {
                                failures.add(message + ": " + error);
                            }
                        }
                    });
                    long next = start + (long) ((number + 1) / perSecond * 1e9);
                    TimeUnit.NANOSECONDS.sleep(Math.max(0, next - System.nanoTime()));
                }
                client.flush();
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
        }

        JsonNode finish() throws InterruptedException {
            stopping = true;
            join();
            return outcome;
        }
    }
}
