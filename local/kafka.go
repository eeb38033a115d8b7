package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"

	"strata/fault"
)

const kafkaFolder = "kafka"

// Kafka is an in-process broker with its log in the Home's folder kafka, every batch synced. Topics must be created
// explicitly: automatic creation is off, because it loses data on a crash.
type Kafka struct {
	cluster *kfake.Cluster
	stop    sync.Once
	stopped chan struct{}
}

// StartKafka starts the broker on the port it had before, where that is free. Errors: Unavailable (the log can't be
// read, no port). One a Home: the folder has one writer.
func (h *Home) StartKafka(ctx context.Context) (*Kafka, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap(fault.KindOf(err), "start kafka", err)
	}
	dir, err := h.child(kafkaFolder)
	if err != nil {
		return nil, err
	}
	remember := filepath.Join(dir, portFile)
	port, err := rememberedPort(remember)
	if err != nil {
		return nil, err
	}
	for range portAttempts {
		var cluster *kfake.Cluster
		cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.ClusterID("strata-local"),
			kfake.DataDir(filepath.Join(dir, "data")), kfake.SyncWrites(), kfake.WithLogger(kafkaLog{h.log}))
		if err == nil {
			k := &Kafka{cluster: cluster, stopped: make(chan struct{})}
			h.log.Info("started kafka", "brokers", k.Brokers())
			return k, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break // not the port's fault
		}
		var chosen error
		if port, chosen = newPort(remember); chosen != nil {
			return nil, chosen
		}
	}
	return nil, fault.Wrap(fault.Unavailable, "start kafka", err)
}

// Brokers is the list of host:port.
func (k *Kafka) Brokers() []string { return k.cluster.ListenAddrs() }

// Cluster is the broker itself, for faults in tests.
func (k *Kafka) Cluster() *kfake.Cluster { return k.cluster }

// Stop closes the broker and its log. A second Stop waits for the first. When ctx ends first it returns that error and
// closing goes on.
func (k *Kafka) Stop(ctx context.Context) error {
	k.stop.Do(func() {
		go func() {
			k.cluster.Close()
			close(k.stopped)
		}()
	})
	select {
	case <-k.stopped:
		return nil
	case <-ctx.Done():
		return fault.Wrap(fault.KindOf(ctx.Err()), "stop kafka", ctx.Err())
	}
}

// kafkaLog hands the broker's warnings and errors to slog; the rest is its debugging.
type kafkaLog struct{ log *slog.Logger }

// Logf implements kfake.Logger.
func (l kafkaLog) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("kafka broker", "err", fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.log.Warn("kafka broker", "err", fmt.Sprintf(format, args...))
	default:
	}
}
