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
	"strings"
	"syscall"
	"testing"
	"time"

	"strata/fault"
	"strata/local"
	"strata/node"
)

// childConfig makes the test binary a process of roles: it holds the node's configuration as JSON. childRoles names them,
// by commas; absent: canal.
const (
	childConfig = "STRATA_NODE_CHILD"
	childRoles  = "STRATA_NODE_ROLES"
)

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

// runChild runs its roles until its input ends, or dies at the crash point of its environment.
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
	roles := node.Roles{Canal: true}
	if names := os.Getenv(childRoles); names != "" {
		if roles, err = node.ParseRoles(strings.Split(names, ",")); err != nil {
			return err
		}
	}
	n, err := node.Open(ctx, node.Options{Config: cfg, Log: log, Now: time.Now, At: local.CrashFromEnv(os.Getenv)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	return n.Run(ctx, roles)
}
