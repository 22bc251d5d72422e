// A member of a group, with the Java client: what `member.py` says, and the same journal.
//
//   java -cp 'JARS/*' Member '{"bootstrap": …, "group": …, "topic": …, "strategy": "range", "instance": null, "session_ms": 3000, "heartbeat_ms": 300, "journal": FILE}'

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class Member implements ConsumerRebalanceListener {
    static final ObjectMapper JSON = new ObjectMapper();
    static final Duration POLL = Duration.ofMillis(100), COMMIT = Duration.ofMillis(200), PATIENCE = Duration.ofSeconds(5);
    static final int RECONNECT_MS = 200;
    static final Map<String, Class<?>> STRATEGIES = Map.of(
        "range", RangeAssignor.class,
        "roundrobin", RoundRobinAssignor.class,
        "sticky", StickyAssignor.class,
        "cooperative-sticky", CooperativeStickyAssignor.class);

    static volatile boolean isEnding;

    final String topic;
    final FileOutputStream journal;
    final KafkaConsumer<byte[], byte[]> consumer;
    final Set<Integer> owned = new HashSet<>();
    final Map<Integer, Long> pending = new TreeMap<>();
    int toldGeneration = -1;

    public static void main(String[] args) throws IOException {
        var waiting = new Thread(Member::waitForTheEnd);
        waiting.setDaemon(true);
        waiting.start();
        new Member(JSON.readTree(args[0])).live();
    }

    static void waitForTheEnd() {
        try {
            System.in.readAllBytes();
        } catch (IOException gone) {
            // as good as an end
        }
        isEnding = true;
    }

    Member(JsonNode settings) throws IOException {
        topic = settings.get("topic").asText();
        journal = new FileOutputStream(settings.get("journal").asText(), true);
        var config = new HashMap<String, Object>();
        config.put("bootstrap.servers", settings.get("bootstrap").asText());
        config.put("group.id", settings.get("group").asText());
        config.put("group.protocol", "classic");
        config.put("partition.assignment.strategy", List.of(STRATEGIES.get(settings.get("strategy").asText())));
        config.put("session.timeout.ms", settings.get("session_ms").asInt());
        config.put("heartbeat.interval.ms", settings.get("heartbeat_ms").asInt());
        config.put("reconnect.backoff.max.ms", RECONNECT_MS);
        config.put("metadata.recovery.strategy", "none"); // a leader that bootstraps anew forgets its topics, and has everybody join anew
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", false);
        if (!settings.get("instance").isNull()) {
            config.put("group.instance.id", settings.get("instance").asText());
        }
        consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(List.of(topic), this);
    }

    void write(String event, Object... what) {
        var line = new LinkedHashMap<String, Object>();
        line.put("at", System.nanoTime());
        line.put("event", event);
        for (int i = 0; i < what.length; i += 2) {
            line.put((String) what[i], what[i + 1]);
        }
        try {
            journal.write((JSON.writeValueAsString(line) + "\n").getBytes()); // one write, so that a process killed leaves whole lines
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    int generation() {
        return consumer.groupMetadata().generationId();
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        var added = numbers(partitions);
        pending.keySet().removeAll(added);
        owned.addAll(added);
        toldGeneration = generation();
        write("assigned", "generation", toldGeneration, "partitions", added);
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        giveUp("revoked", partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        giveUp("lost", partitions);
    }

    void giveUp(String how, Collection<TopicPartition> partitions) {
        var removed = numbers(partitions);
        write(how, "generation", generation(), "partitions", removed);
        pending.keySet().removeAll(removed);
        owned.removeAll(removed);
    }

    static List<Integer> numbers(Collection<TopicPartition> partitions) {
        return new ArrayList<>(partitions.stream().map(TopicPartition::partition).sorted().toList());
    }

    void live() {
        long commitAt = System.nanoTime();
        while (!isEnding) {
            for (ConsumerRecord<byte[], byte[]> one : consumer.poll(POLL)) {
                write("read", "generation", generation(), "partition", one.partition(), "offset", one.offset());
                if (owned.contains(one.partition())) {
                    pending.put(one.partition(), one.offset() + 1);
                }
            }
            tellGeneration();
            if (System.nanoTime() >= commitAt) {
                commitPending();
                commitAt = System.nanoTime() + COMMIT.toNanos();
            }
        }
        commitPending();
        consumer.close();
        write("closed");
    }

    void tellGeneration() {
        int generation = generation();
        if (generation != -1 && generation != toldGeneration) {
            toldGeneration = generation;
            write("generation", "generation", generation);
        }
    }

    void commitPending() {
        if (pending.isEmpty()) {
            return;
        }
        var offsets = new TreeMap<>(pending);
        int generation = generation();
        write("committing", "generation", generation, "offsets", offsets);
        var wanted = new HashMap<TopicPartition, OffsetAndMetadata>();
        offsets.forEach((partition, offset) -> wanted.put(new TopicPartition(topic, partition), new OffsetAndMetadata(offset)));
        try {
            consumer.commitSync(wanted, PATIENCE);
        } catch (RuntimeException why) {
            write("refused", "generation", generation, "offsets", offsets, "why", why.toString());
            return;
        }
        write("committed", "generation", generation, "offsets", offsets);
        offsets.forEach(pending::remove);
    }
}
