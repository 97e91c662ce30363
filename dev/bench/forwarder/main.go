// Watermill's SQL forwarder, as dev/bench/outbox.py runs it beside kafkalab's relay: one run on an empty database of
// PostgreSQL, its figures as a line of JSON.
//
// relay: messages of 200 bytes that wait, counted by the end offsets of a topic of three partitions.
// latency: from the commit's answer to a consumer that has the message.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	forwarderTopic = "fwd"
	partitions     = 3
)

var (
	store    = flag.String("store", "", "URL of an empty database")
	batch    = flag.Int("batch", 0, "messages of a batch; 0: the library's default (100)")
	remove   = flag.Bool("delete", false, "delete what was sent (DeleteOnAck); otherwise mark it, as is the default")
	poll     = flag.Duration("poll", 0, "between two looks at an empty table; 0: the library's default (1 s)")
	messages = flag.Int("messages", 100_000, "messages that wait")
	latency  = flag.Duration("latency", 0, "measure the latency at 20 messages a second for so long, and not the rate")
)

func main() {
	flag.Parse()
	if err := run(context.Background(), strings.Split(os.Getenv("KAFKALAB_TEST_BROKERS"), ",")); err != nil {
		fmt.Fprintln(os.Stderr, "forwarder:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, brokers []string) error {
	config, err := pgxpool.ParseConfig(*store)
	if err != nil {
		return err
	}
	config.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	kafka, topic, err := makeTopic(brokers)
	if err != nil {
		return err
	}
	defer kafka.Close()
	if err := makeTables(ctx, pool); err != nil {
		return err
	}
	if *latency > 0 {
		return measureLatency(ctx, pool, kafka, brokers, topic)
	}
	return measureRate(ctx, pool, kafka, brokers, topic)
}

func measureRate(ctx context.Context, pool *pgxpool.Pool, kafka sarama.Client, brokers []string, topic string) error {
	out, err := publisher(pool)
	if err != nil {
		return err
	}
	for first := 0; first < *messages; first += 1000 {
		some := make([]*message.Message, min(1000, *messages-first))
		for i := range some {
			some[i] = message.NewMessage(watermill.NewUUID(), payload(first+i))
		}
		if err := out.Publish(topic, some...); err != nil {
			return err
		}
	}
	for _, statement := range []string{"VACUUM ANALYZE watermill_" + forwarderTopic, "CHECKPOINT"} {
		if _, err := pool.Exec(ctx, statement); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := start(ctx, pool, brokers); err != nil {
		return err
	}
	for {
		there, err := count(kafka, topic)
		if err != nil {
			return err
		}
		if there >= int64(*messages) {
			break
		}
		if time.Since(began) > 3*time.Minute {
			return fmt.Errorf("%d of %d messages after three minutes", there, *messages)
		}
		time.Sleep(10 * time.Millisecond)
	}
	rate := float64(*messages) / time.Since(began).Seconds()
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"row": "relay", "rate": rate})
}

func measureLatency(ctx context.Context, pool *pgxpool.Pool, kafka sarama.Client, brokers []string, topic string) error {
	consumer, err := sarama.NewConsumerFromClient(kafka)
	if err != nil {
		return err
	}
	type arrival struct {
		number int
		at     time.Time
	}
	arrivals := make(chan arrival, 1000)
	for partition := range int32(partitions) {
		records, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		if err != nil {
			return err
		}
		go func() {
			for record := range records.Messages() {
				at := time.Now()
				var event struct{ Number int }
				if json.Unmarshal(record.Value, &event) == nil {
					arrivals <- arrival{event.Number, at}
				}
			}
		}()
	}
	if err := start(ctx, pool, brokers); err != nil {
		return err
	}
	out, err := publisher(pool)
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	var committed []time.Time
	for began := time.Now(); time.Since(began) < *latency; time.Sleep(47 * time.Millisecond) {
		if err := out.Publish(topic, message.NewMessage(watermill.NewUUID(), payload(len(committed)))); err != nil {
			return err
		}
		committed = append(committed, time.Now())
	}
	var waits []float64
	for range committed {
		select {
		case arrival := <-arrivals:
			waits = append(waits, max(0, arrival.at.Sub(committed[arrival.number]).Seconds()*1000))
		case <-time.After(time.Minute):
			return fmt.Errorf("%d of %d messages came", len(waits), len(committed))
		}
	}
	slices.Sort(waits)
	part := func(part float64) float64 { return waits[int(float64(len(waits)-1)*part)] }
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"row": "latency", "p50": part(0.5), "p99": part(0.99)})
}

// start runs a forwarder until the process ends.
func start(ctx context.Context, pool *pgxpool.Pool, brokers []string) error {
	log := watermill.NopLogger{}
	rows, err := wsql.NewSubscriber(wsql.BeginnerFromPgx(pool), wsql.SubscriberConfig{
		SchemaAdapter:  wsql.PostgreSQLQueueSchema{SubscribeBatchSize: *batch},
		OffsetsAdapter: wsql.PostgreSQLQueueOffsetsAdapter{DeleteOnAck: *remove},
		PollInterval:   *poll,
	}, log)
	if err != nil {
		return err
	}
	topics, err := wkafka.NewPublisher(wkafka.PublisherConfig{Brokers: brokers, Marshaler: wkafka.DefaultMarshaler{}}, log)
	if err != nil {
		return err
	}
	forward, err := forwarder.NewForwarder(rows, topics, log, forwarder.Config{ForwarderTopic: forwarderTopic})
	if err != nil {
		return err
	}
	go func() {
		if err := forward.Run(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "forwarder:", err)
			os.Exit(1)
		}
	}()
	return nil
}

func publisher(pool *pgxpool.Pool) (*forwarder.Publisher, error) {
	rows, err := wsql.NewPublisher(wsql.BeginnerFromPgx(pool),
		wsql.PublisherConfig{SchemaAdapter: wsql.PostgreSQLQueueSchema{}}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	return forwarder.NewPublisher(rows, forwarder.PublisherConfig{ForwarderTopic: forwarderTopic}), nil
}

func makeTables(ctx context.Context, pool *pgxpool.Pool) error {
	schema, err := wsql.PostgreSQLQueueSchema{}.SchemaInitializingQueries(
		wsql.SchemaInitializingQueriesParams{Topic: forwarderTopic})
	if err != nil {
		return err
	}
	offsets, err := wsql.PostgreSQLQueueOffsetsAdapter{}.SchemaInitializingQueries(
		wsql.OffsetsSchemaInitializingQueriesParams{Topic: forwarderTopic})
	if err != nil {
		return err
	}
	for _, query := range append(schema, offsets...) {
		if _, err := pool.Exec(ctx, query.Query, query.Args...); err != nil {
			return err
		}
	}
	return nil
}

func makeTopic(brokers []string) (sarama.Client, string, error) {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	kafka, err := sarama.NewClient(brokers, config)
	if err != nil {
		return nil, "", err
	}
	admin, err := sarama.NewClusterAdminFromClient(kafka)
	if err != nil {
		return nil, "", err
	}
	topic := fmt.Sprintf("forwarder-%d", time.Now().UnixNano())
	detail := sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}
	if err := admin.CreateTopic(topic, &detail, false); err != nil {
		return nil, "", err
	}
	time.Sleep(500 * time.Millisecond)
	return kafka, topic, kafka.RefreshMetadata(topic)
}

func count(kafka sarama.Client, topic string) (int64, error) {
	var sum int64
	for partition := range int32(partitions) {
		end, err := kafka.GetOffset(topic, partition, sarama.OffsetNewest)
		if err != nil {
			return 0, err
		}
		sum += end
	}
	return sum, nil
}

func payload(number int) []byte {
	json := fmt.Sprintf(`{"number":%d,"note":"`, number)
	return []byte(json + strings.Repeat("x", 200-len(json)-2) + `"}`)
}
