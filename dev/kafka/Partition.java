import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;

import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

/**
 * Where Kafka's own producer puts a key: the oracle for our partitioner.
 *
 * One key a line on stdin, in hex (an empty line is the empty key); the number of partitions is the argument. Prints
 * one partition a line. A single source file, so that no build stands between a test and Kafka's class:
 *
 *     printf '6b6579\n' | dev/kafka/kafka.sh tool dev/kafka/Partition.java 12
 */
public class Partition {
    public static void main(String[] args) throws IOException {
        if (args.length != 1) {
            System.err.println("usage: Partition PARTITIONS < keys in hex, one a line");
            System.exit(2);
        }
        int partitions = Integer.parseInt(args[0]);
        // Both streams are buffered: ten thousand keys are one JVM start and a few writes.
        BufferedReader keys = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintWriter out = new PrintWriter(System.out);
        for (String line; (line = keys.readLine()) != null; ) {
            byte[] key = HexFormat.of().parseHex(line.strip());
            out.println(BuiltInPartitioner.partitionForKey(key, partitions));
        }
        out.flush();
    }
}
