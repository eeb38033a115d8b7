package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"strata/fault"
	"strata/node"
)

// childConfig makes the test binary a capture process: it holds the node's configuration as JSON.
const childConfig = "STRATA_NODE_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childConfig); text != "" {
		if err := runChild([]byte(text)); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err, fault.HintOf(err))
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runChild captures until its input ends.
func runChild(text []byte) (err error) {
	var cfg node.Config
	if err := json.Unmarshal(text, &cfg); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // ends with the process: its input ends with the test, or with the test binary
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	n, err := node.Open(ctx, node.Options{Config: cfg, Log: log, Now: time.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	return n.Run(ctx, node.Roles{Canal: true})
}
