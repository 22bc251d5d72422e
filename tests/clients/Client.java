// The Java client, driven by lines: a command as JSON on standard input, its answer as JSON on standard output.
//
//   {"do": "produce", "config": {…}, "topic": T, "partition": P, "records": [{"key": BASE64 | null, "value": …, "headers": [[NAME, BASE64], …]}]}
//     -> [offset of each record, -1 where the broker did not say]
//   {"do": "fetch", "config": {…}, "topic": T, "partition": P, "offset": O, "count": N, "patience_ms": M}
//     -> [{"offset": …, "timestamp": …, "key": …, "value": …, "headers": …}, …]
//
// Run in source launch mode: java -cp 'JARS/*' Client.java

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Client {
    static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws IOException {
        var commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = commands.readLine()) != null; ) {
            System.out.println(JSON.writeValueAsString(answer(JSON.readTree(line))));
        }
    }

    static Object answer(JsonNode command) {
        try {
            return command.get("do").asText().equals("produce") ? produce(command) : fetch(command);
        } catch (Exception error) {
            return Map.of("error", error.toString());
        }
    }

    static List<Long> produce(JsonNode command) throws Exception {
        var sent = new ArrayList<Future<RecordMetadata>>();
        var offsets = new ArrayList<Long>();
        try (var producer = new KafkaProducer<>(config(command), new ByteArraySerializer(), new ByteArraySerializer())) {
            for (JsonNode one : command.get("records")) {
                var record = new ProducerRecord<>(
                    command.get("topic").asText(), command.get("partition").asInt(), bytes(one.get("key")), bytes(one.get("value")));
                for (JsonNode header : one.get("headers")) {
                    record.headers().add(header.get(0).asText(), bytes(header.get(1)));
                }
                sent.add(producer.send(record));
            }
            for (var one : sent) {
                offsets.add(one.get().offset());
            }
        }
        return offsets;
    }

    static List<Object> fetch(JsonNode command) throws Exception {
        var here = new TopicPartition(command.get("topic").asText(), command.get("partition").asInt());
        var fetched = new ArrayList<Object>();
        long giveUp = System.currentTimeMillis() + command.get("patience_ms").asLong();
        try (var consumer = new KafkaConsumer<>(config(command), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(here));
            consumer.seek(here, command.get("offset").asLong());
            while (fetched.size() < command.get("count").asInt()) {
                if (System.currentTimeMillis() > giveUp) {
                    throw new TimeoutException(fetched.size() + " records came");
                }
                for (ConsumerRecord<byte[], byte[]> one : consumer.poll(Duration.ofMillis(100))) {
                    fetched.add(described(one));
                }
            }
        }
        return fetched;
    }

    static Map<String, Object> described(ConsumerRecord<byte[], byte[]> record) {
        var all = new HashMap<String, Object>(); // Map.of takes no nulls
        all.put("offset", record.offset());
        all.put("timestamp", record.timestamp());
        all.put("key", record.key());
        all.put("value", record.value());
        var headers = new ArrayList<Object>();
        for (Header header : record.headers()) {
            headers.add(List.of(header.key(), header.value()));
        }
        all.put("headers", headers);
        return all;
    }

    static Map<String, Object> config(JsonNode command) {
        var config = new HashMap<String, Object>();
        command.get("config").fields().forEachRemaining(entry -> config.put(entry.getKey(), entry.getValue().asText()));
        return config;
    }

    static byte[] bytes(JsonNode base64) throws IOException {
        return base64.binaryValue();
    }
}
