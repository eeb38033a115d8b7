package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"strata/local"
)

// fastJVM is how a JVM of a benchmark runs: the flags of local are for short tests.
func fastJVM() []string {
	return []string{"-XX:TieredStopAtLevel=4", "-XX:-UseSerialGC", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"}
}

// kafkaServer is a real Kafka where a JVM is, else the one of the servers, which runs in this process.
func (s *Session) kafkaServer(ctx context.Context, v *servers) (brokers []string, stop func() error, err error) {
	none := func() error { return nil }
	java, err := local.FindJava(os.Getenv, "kafka")
	if err != nil {
		s.set("kafka", "in this process: its CPU counts as ours; there is no JVM for a real one: "+err.Error())
		return v.stack.Addresses.Kafka, none, nil //nolint:nilerr // said
	}
	home, err := local.Open(filepath.Join(s.dir, "kafka"), s.log)
	if err != nil {
		return nil, none, err
	}
	k, err := home.StartJavaKafka(ctx, local.JavaKafkaConfig{Name: "kafka", Java: java, HeapMiB: 512, JVM: fastJVM()})
	if err != nil {
		return nil, none, errors.Join(err, home.Close())
	}
	s.set("kafka", "Apache Kafka, one broker in a JVM of its own, heap 512 MiB, acks=all")
	return k.Brokers(), func() error { return errors.Join(k.Stop(context.WithoutCancel(ctx)), home.Close()) }, nil
}

// debezium is Debezium's MariaDB connector on a standalone Kafka Connect worker.
type debezium struct {
	home    *local.Home
	connect *local.Connect
	topic   string
}

// debezium starts it; nil where there is no JVM with it.
func (s *Session) debezium(ctx context.Context, v *servers, brokers []string, dir string) (*debezium, error) {
	java, err := local.FindJava(os.Getenv, "connect")
	if err != nil {
		s.say("without Debezium: %v", err)
		s.set("debezium", "not measured: "+err.Error())
		return nil, nil
	}
	home, err := local.Open(dir, s.log)
	if err != nil {
		return nil, err
	}
	live := v.stack.Addresses.Live
	connector := map[string]string{
		"name": "peer", "connector.class": "io.debezium.connector.mariadb.MariaDbConnector", "tasks.max": "1",
		"database.hostname": live.Host, "database.port": strconv.Itoa(live.Port), "database.user": live.User, "database.password": live.Password,
		"database.server.id": "5400", "topic.prefix": "dbz", "database.include.list": live.Schema, "table.include.list": live.Schema + "." + captureTable,
		"snapshot.mode": "no_data", "connect.keep.alive": "false",
		"schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory", "schema.history.internal.file.filename": filepath.Join(dir, "history"),
		"decimal.handling.mode": "string", "binary.handling.mode": "hex",
		"topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": strconv.Itoa(captureParts),
	}
	c, err := home.StartConnect(ctx, local.ConnectConfig{Name: "connect", Java: java, Brokers: brokers, Connectors: []map[string]string{connector}, HeapMiB: 512, JVM: fastJVM()})
	if err != nil {
		return nil, errors.Join(err, home.Close())
	}
	s.set("debezium", "MariaDB connector on Kafka Connect standalone, JSON without schemas, heap 512 MiB, its producer's defaults; its process is stopped by SIGSTOP while others are measured")
	return &debezium{home: home, connect: c, topic: "dbz." + live.Schema + "." + captureTable}, nil
}

func (d *debezium) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return errors.Join(d.connect.Resume(), d.connect.Stop(ctx), d.home.Close())
}

// cpu is what the worker's process has used, user and system.
func (d *debezium) cpu() (time.Duration, error) { return cpuOf(d.connect.PID()) }

// readDebezium lets the peer read the backlog.
func (c *captureRun) readDebezium(ctx context.Context, _ string, rows int) (reading, error) {
	base, err := c.ends(c.peer.topic)
	if err != nil {
		return reading{}, err
	}
	if err := c.peer.connect.Resume(); err != nil {
		return reading{}, err
	}
	r, err := c.follow(ctx, c.peer.topic, base, base+int64(rows), c.peer.cpu)
	return r, errors.Join(err, c.peer.connect.Pause())
}
