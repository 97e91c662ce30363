import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;

import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.internals.AbstractPartitionAssignor;
import org.apache.kafka.common.TopicPartition;

/**
 * How Kafka's own assignors divide partitions: the oracle for ours.
 *
 * One group a line on stdin: the topics, then each member with its id, its instance id (or nothing), the topics it
 * wants and the partitions it owns. Prints three lines a group: range, roundrobin, and cooperative-sticky after as many
 * rounds as it takes until nobody has to give anything up.
 *
 *     echo 't:3 u:2|m1,,t u,t-0 t-1|m2,i1,t,' | dev/kafka/kafka.sh tool dev/kafka/Assign.java
 */
public class Assign {
    public static void main(String[] args) throws IOException {
        BufferedReader groups = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintWriter out = new PrintWriter(System.out);
        for (String line; (line = groups.readLine()) != null; ) {
            String[] parts = line.split("\\|");
            Map<String, Integer> topics = new HashMap<>();
            for (String topic : words(parts[0])) {
                String[] count = topic.split(":");
                if (!count[1].equals("0")) topics.put(count[0], Integer.valueOf(count[1]));
            }
            Map<String, Subscription> members = new HashMap<>();
            for (int at = 1; at < parts.length; at++) {
                String[] fields = parts[at].split(",", -1);
                Subscription member = subscription(words(fields[2]), partitions(fields[3]), 1);
                if (!fields[1].isEmpty()) member.setGroupInstanceId(Optional.of(fields[1]));
                members.put(fields[0], member);
            }
            // As the leader does: the assignors take it that somebody wants each topic.
            topics.keySet().removeIf(topic -> members.values().stream().noneMatch(of -> of.topics().contains(topic)));
            out.println(shown(new RangeAssignor().assign(topics, members)));
            out.println(shown(new RoundRobinAssignor().assign(topics, members)));
            out.println(shown(settled(new CooperativeStickyAssignor(), topics, members)));
        }
        out.flush();
    }

    private static Map<String, List<TopicPartition>> settled(
            AbstractPartitionAssignor assignor, Map<String, Integer> topics, Map<String, Subscription> members) {
        for (int generation = 2; ; generation++) {
            Map<String, List<TopicPartition>> plan = assignor.assign(topics, members);
            boolean settled = true;
            for (Map.Entry<String, Subscription> member : members.entrySet()) {
                List<TopicPartition> assigned = plan.get(member.getKey());
                settled &= assigned.containsAll(member.getValue().ownedPartitions());
                member.setValue(subscription(member.getValue().topics(), assigned, generation));
            }
            if (settled) return plan;
            if (generation > 20) throw new IllegalStateException("no rest");
        }
    }

    private static Subscription subscription(List<String> topics, List<TopicPartition> owned, int generation) {
        return new Subscription(topics, null, owned, generation, Optional.empty());
    }

    private static List<String> words(String text) {
        return text.isEmpty() ? new ArrayList<>() : List.of(text.split(" "));
    }

    private static List<TopicPartition> partitions(String text) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (String word : words(text)) {
            int dash = word.lastIndexOf('-');
            partitions.add(new TopicPartition(word.substring(0, dash), Integer.parseInt(word.substring(dash + 1))));
        }
        return partitions;
    }

    private static String shown(Map<String, List<TopicPartition>> plan) {
        return new TreeMap<>(plan).entrySet().stream().map(member -> {
            String partitions = member.getValue().stream()
                .sorted((a, b) -> a.topic().equals(b.topic())
                    ? Integer.compare(a.partition(), b.partition()) : a.topic().compareTo(b.topic()))
                .map(partition -> " " + partition).collect(Collectors.joining());
            return member.getKey() + ":" + partitions;
        }).collect(Collectors.joining(" | "));
    }
}
