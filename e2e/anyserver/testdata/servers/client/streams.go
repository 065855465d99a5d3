package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"servers/program"
)

// websocketStep has a conversation over one WebSocket, which its client ends.
func websocketStep(_ int, addr string, _ bool) step {
	return func(ctx context.Context) (string, error) {
		conn, resp, err := websocket.Dial(ctx, "ws://"+addr+"/", nil)
		if err != nil {
			return "", fmt.Errorf("dial: %w", err)
		}
		defer conn.CloseNow()
		for i := range 10 {
			want := fmt.Sprint("message ", i)
			if err := conn.Write(ctx, websocket.MessageText, []byte(want)); err != nil {
				return "", fmt.Errorf("message %d: %w", i, err)
			}
			_, got, err := conn.Read(ctx)
			if err != nil {
				return "", fmt.Errorf("answer %d: %w", i, err)
			}
			if string(got) != want {
				return "", fmt.Errorf("answer %d is %q, want %q", i, got, want)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			return "", fmt.Errorf("close: %w", err)
		}
		return resp.Header.Get("Server-Version"), nil
	}
}

// grpcStep makes calls: half of the clients on one connection each, the others
// on a new one for each call. A quarter of them read a stream.
func grpcStep(n int, addr string, _ bool) step {
	dial := func() *grpc.ClientConn {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
		program.Fail(err)
		return conn
	}
	kept := dial()
	return func(ctx context.Context) (string, error) {
		conn := kept
		if n%2 == 1 {
			conn = dial()
			defer conn.Close()
		}
		client := grpc_health_v1.NewHealthClient(conn)
		if n/2%4 == 3 {
			return "", watch(ctx, client)
		}
		var trailer metadata.MD
		answer, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Trailer(&trailer))
		if err != nil {
			return "", err
		}
		if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING || len(trailer["server-version"]) != 1 {
			return "", fmt.Errorf("the answer is %v with the trailer %v", answer, trailer)
		}
		return trailer["server-version"][0], nil
	}
}

// watch reads the first message of a stream that does not end, and leaves.
func watch(ctx context.Context, client grpc_health_v1.HealthClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	message, err := stream.Recv()
	if err != nil {
		return fmt.Errorf("the first message: %w", err)
	}
	if message.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return errors.New("the first message is " + message.String())
	}
	return nil
}
