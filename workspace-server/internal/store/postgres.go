package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/lib/pq"

	"workspace-server/internal/workspace"
)

// postgresConns leaves room in Postgres's default of 100 connections for a few
// replicas, each of which is two processes during a swap.
const postgresConns = 16

func openPostgres(raw string) (*DB, error) {
	dsn, err := postgresDSN(raw)
	if err != nil {
		return nil, err
	}
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, errors.New("DATABASE_URL cannot be used: " + hidePassword(err.Error(), raw))
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(postgresConns)
	// All may stay idle: a new connection costs milliseconds to authenticate,
	// which every burst would pay.
	pool.SetMaxIdleConns(postgresConns)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	return &DB{read: pool, write: pool, dialect: dialect{
		name:       "postgres",
		exclusive:  `SELECT pg_advisory_xact_lock(7238902214613751)`,
		now:        `CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)`, // a cast alone rounds
		skipLocked: ` FOR UPDATE SKIP LOCKED`,
		notify:     `NOTIFY ` + eventsChannel,
		listen: func(ctx context.Context, log *slog.Logger, hint func()) {
			postgresListen(ctx, dsn, log, hint)
		},
		kind:     postgresKind,
		comingUp: postgresComingUp,
	}}, nil
}

// eventsChannel is shared by all schemas of a database: a needless hint does no
// harm.
const eventsChannel = "workspace_server_events"

// postgresListen connects again whenever it loses the connection, and then calls
// hint, since it may have missed some.
func postgresListen(ctx context.Context, dsn string, log *slog.Logger, hint func()) {
	const soonest, latest = 100 * time.Millisecond, 10 * time.Second
	l := pq.NewListener(dsn, soonest, latest, func(what pq.ListenerEventType, err error) {
		if what == pq.ListenerEventDisconnected && err != nil {
			log.Warn("the events of other servers are late: the connection that listens for them is lost", "error", err)
		}
	})
	// Close fails if it is closed already or not connected, which does not matter.
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	if err := l.Listen(eventsChannel); err != nil {
		if ctx.Err() == nil {
			log.Error("the events of other servers are late: listening for them failed", "error", err)
		}
		return
	}
	for range l.NotificationChannel() {
		hint()
	}
}

// postgresDSN adds a limit where the driver has none, and the program's name.
func postgresDSN(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", errors.New("DATABASE_URL is not a URL")
	}
	q := u.Query()
	for name, value := range map[string]string{
		"connect_timeout":           "5",
		"fallback_application_name": "workspace-server",
	} {
		if !q.Has(name) {
			q.Set(name, value)
		}
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

func hidePassword(text, raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "it is not a URL"
	}
	secrets := u.Query()["password"]
	if password, ok := u.User.Password(); ok {
		secrets = append(secrets, password)
	}
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

func postgresKind(err error) workspace.Kind {
	e, ok := errors.AsType[*pq.Error](err)
	if !ok {
		return workspace.Internal
	}
	switch code := string(e.Code); {
	case code == "23505": // unique_violation
		return workspace.Conflict
	case strings.HasPrefix(code, "08"), // connection_exception
		strings.HasPrefix(code, "53"),  // insufficient_resources
		strings.HasPrefix(code, "57P"), // shutdown and start-up
		code == "57014",                // query_canceled
		code == "40001",                // serialization_failure
		code == "40P01",                // deadlock_detected
		code == "25006":                // read_only_sql_transaction, during a failover
		return workspace.Unavailable
	}
	return workspace.Internal
}

// postgresComingUp reports whether waiting may help, as it may for a refused
// connection, but not for a wrong password or database name.
func postgresComingUp(err error) bool {
	if errors.Is(err, pq.ErrSSLNotSupported) || errors.Is(err, context.Canceled) {
		return false
	}
	if _, ok := errors.AsType[*pq.Error](err); ok {
		return postgresKind(err) == workspace.Unavailable
	}
	return true
}
