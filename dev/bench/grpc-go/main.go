// A plain grpc-go server of orders.v1.OrdersService, as dev/bench/grpc.py runs it beside kafkalab's: CreateOrder commits an
// order and its message to PostgreSQL, each call for itself.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"

	pb "grpc-go/orderspb"
)

var (
	listen = flag.String("listen", "127.0.0.1:0", "address to listen on")
	store  = flag.String("store", "", "URL of an empty database")
	batch  = flag.Bool("batch", false, "both statements in one way to the database and back (pgx.Batch)")
)

const (
	tables = `
CREATE TABLE orders (id uuid PRIMARY KEY, user_id text NOT NULL, product_id text NOT NULL, currency text NOT NULL,
    amount numeric NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE outbox (seq bigserial PRIMARY KEY, id uuid NOT NULL, aggregate_id uuid NOT NULL, event_type text NOT NULL,
    payload jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now());`
	order   = `INSERT INTO orders (id, user_id, product_id, currency, amount) VALUES ($1, $2, $3, $4, $5::text::numeric)`
	message = `INSERT INTO outbox (id, aggregate_id, event_type, payload) VALUES ($1, $2, $3, $4)`
)

type server struct {
	pb.UnimplementedOrdersServiceServer
	pool *pgxpool.Pool
}

func (s *server) CreateOrder(ctx context.Context, request *pb.CreateOrderRequest) (*pb.CreateOrderResponse, error) {
	id, price := uuid.New(), request.GetPrice()
	amount := strconv.FormatFloat(price.GetAmount(), 'f', -1, 64)
	payload, err := json.Marshal(map[string]any{
		"order_id": id.String(), "user_id": request.GetUserId(), "product_id": request.GetProductId(),
		"price": map[string]string{"currency": price.GetCurrency(), "amount": amount},
	})
	if err != nil {
		return nil, err
	}
	first := []any{id, request.GetUserId(), request.GetProductId(), price.GetCurrency(), amount}
	second := []any{uuid.New(), id, "orders.v1.OrderCreated", payload}
	if err := s.commit(ctx, first, second); err != nil {
		return nil, err
	}
	return &pb.CreateOrderResponse{Order: &pb.Order{
		OrderId: id.String(), UserId: request.GetUserId(), ProductId: request.GetProductId(), Price: price,
		Status: pb.OrderStatus_ORDER_STATUS_CREATED, Version: 1,
	}}, nil
}

func (s *server) commit(ctx context.Context, first, second []any) error {
	if *batch { // one implicit transaction
		both := &pgx.Batch{}
		both.Queue(order, first...)
		both.Queue(message, second...)
		return s.pool.SendBatch(ctx, both).Close()
	}
	return pgx.BeginFunc(ctx, s.pool, func(transaction pgx.Tx) error {
		if _, err := transaction.Exec(ctx, order, first...); err != nil {
			return err
		}
		_, err := transaction.Exec(ctx, message, second...)
		return err
	})
}

func main() {
	flag.Parse()
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "grpc-go:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	config, err := pgxpool.ParseConfig(*store)
	if err != nil {
		return err
	}
	config.MinConns, config.MaxConns = 16, 16
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, tables); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	served := grpc.NewServer()
	pb.RegisterOrdersServiceServer(served, &server{pool: pool})
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-asked
		served.GracefulStop()
	}()
	fmt.Fprintf(os.Stderr, "orders.v1.OrdersService on %s (plaintext)\n", listener.Addr())
	return served.Serve(listener)
}
