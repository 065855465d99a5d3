// Grpc offers gRPC's health service, whose every answer says who it is.
package main

import (
	"context"
	"flag"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"servers/program"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:"+os.Getenv("PORT"), "address to listen on")
	flag.Parse()
	listener, err := net.Listen("tcp", *addr)
	program.Fail(err)
	server := grpc.NewServer(grpc.UnaryInterceptor(signed))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	program.Fail(server.Serve(listener))
}

// signed adds who answers.
func signed(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := grpc.SetTrailer(ctx, metadata.Pairs("server-version", program.Answer())); err != nil {
		return nil, err
	}
	return handle(ctx, req)
}
