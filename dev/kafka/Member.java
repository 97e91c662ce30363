import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.stream.Collectors;

import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A member of a consumer group by Kafka's own consumer: the stranger among ours.
 *
 * Prints a line per event: `assigned GENERATION TOPIC[N] ...`, `revoked ...`, `lost ...`, and `record TOPIC[N] OFFSET
 * VALUE`. Commits what it has printed, after each poll and before partitions go. Leaves on SIGTERM and SIGINT.
 *
 *     dev/kafka/kafka.sh tool dev/kafka/Member.java BROKERS GROUP TOPIC[,TOPIC] [KEY=VALUE ...]
 */
public class Member implements ConsumerRebalanceListener {
    private final KafkaConsumer<String, String> consumer;

    private Member(Properties properties) {
        consumer = new KafkaConsumer<>(properties);
    }

    public static void main(String[] args) throws InterruptedException {
        if (args.length < 3) {
            System.err.println("usage: Member BROKERS GROUP TOPIC[,TOPIC] [KEY=VALUE ...]");
            System.exit(2);
        }
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("group.id", args[1]);
        properties.put("key.deserializer", StringDeserializer.class.getName());
        properties.put("value.deserializer", StringDeserializer.class.getName());
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        for (String setting : List.of(args).subList(3, args.length)) {
            String[] parts = setting.split("=", 2);
            properties.put(parts[0], parts[1]);
        }
        Member member = new Member(properties);
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            member.consumer.wakeup();
            try {
                main.join(10_000);
            } catch (InterruptedException ignored) {
                // the process ends anyway
            }
        }));
        member.run(List.of(args[2].split(",")));
    }

    private void run(List<String> topics) {
        try {
            consumer.subscribe(topics, this);
            while (true) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                for (ConsumerRecord<String, String> record : records) {
                    say("record " + name(new TopicPartition(record.topic(), record.partition())) + " " + record.offset()
                            + " " + record.value());
                }
                if (!records.isEmpty()) {
                    commit();
                }
            }
        } catch (WakeupException asked) {
            // SIGTERM or SIGINT
        } finally {
            consumer.close(); // gives its partitions up, by way of the listener
            say("closed");
        }
    }

    /** A commit that a rebalance forbids is made again by the next one, or by the listener. */
    private void commit() {
        try {
            consumer.commitSync();
        } catch (RebalanceInProgressException later) {
            say("commit later");
        } catch (CommitFailedException refused) {
            say("commit refused");
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        say("assigned " + consumer.groupMetadata().generationId() + names(partitions));
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        while (true) {
            try {
                commit();
                break;
            } catch (WakeupException once) {
                // it was meant for poll, and comes once
            }
        }
        say("revoked " + consumer.groupMetadata().generationId() + names(partitions));
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        say("lost " + consumer.groupMetadata().generationId() + names(partitions));
    }

    private static String names(Collection<TopicPartition> partitions) {
        return partitions.stream().map(partition -> " " + name(partition)).sorted().collect(Collectors.joining());
    }

    private static String name(TopicPartition partition) {
        return partition.topic() + "[" + partition.partition() + "]";
    }

    /** A line is one write: who reads it finds it whole, whenever this process is killed. */
    private static void say(String line) {
        byte[] bytes = (line + "\n").getBytes(StandardCharsets.UTF_8);
        System.out.write(bytes, 0, bytes.length);
        System.out.flush();
    }
}
