package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func TestStackStartsEverythingStopsAndComesBackOnTheSamePorts(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	var before local.Addresses
	for round := range 2 {
		s, err := local.Start(t.Context(), local.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Stop(context.Background()) })
		if round > 0 && fmt.Sprint(before, before.Live.DSN) != fmt.Sprint(s.Addresses, s.Addresses.Live.DSN) {
			t.Errorf("moved from %v to %v", before, s.Addresses)
		}
		before = s.Addresses
		for schema, e := range map[string]local.Endpoint{"strata": s.Addresses.Live, "strata_archive": s.Addresses.Archive,
			"strata_control": s.Addresses.Control} {
			db := localtest.DB(t, e.DSN)
			localtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS moved (id INT PRIMARY KEY)")
			localtest.Exec(t, db, "INSERT INTO moved VALUES (?)", round)
			if got := count(t, db, "moved"); got != round+1 || e.Schema != schema {
				t.Errorf("%s: %d rows in %s", schema, got, e.Schema)
			}
		}
		follows(t, localtest.DB(t, s.Addresses.Live.DSN), localtest.DB(t, s.Addresses.Offline.DSN), round+1)
		pids := s.ChildPIDs()
		if len(pids) != 3 {
			t.Errorf("children %v", pids)
		}
		for range 2 {
			if err := s.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if left := processesOf(t, dir+"/"); len(left) > 0 || len(s.ChildPIDs()) > 0 {
			t.Errorf("left running: %v", left)
		}
	}
}

func TestAStartThatFailedLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	open(t, dir).Close()
	if err := os.Mkdir(filepath.Join(dir, "archive"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "archive", "data"), "not a folder")
	_, err := local.Start(t.Context(), local.Config{Dir: dir})
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
	if left := processesOf(t, dir+"/"); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
	open(t, dir) // the lock is free
}

func TestACancelledStartLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := local.Start(ctx, local.Config{Dir: dir}); !fault.Is(err, fault.Interrupted) {
		t.Errorf("got %v", err)
	}
	if left := processesOf(t, dir+"/"); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
}

func TestTheEnvironmentReplacesServers(t *testing.T) {
	const live, archive = "u:p@tcp(db1:3306)/pay?tls=true", "u:p@tcp(db2:3307)/"
	for name, c := range map[string]struct {
		env  map[string]string
		want []string // live, offline, archive, control as String
	}{
		"all from two": {map[string]string{"STRATA_LIVE_DSN": live, "STRATA_ARCHIVE_DSN": archive},
			[]string{"u@db1:3306/pay", "u@db1:3306/pay", "u@db2:3307/strata_archive", "u@db2:3307/strata_control"}},
		"each by itself": {map[string]string{"STRATA_LIVE_DSN": live, "STRATA_ARCHIVE_DSN": archive,
			"STRATA_OFFLINE_DSN": "r@tcp(db3:1)/pay", "STRATA_CONTROL_DSN": "c@tcp([::1]:2)/ctl"},
			[]string{"u@db1:3306/pay", "r@db3:1/pay", "u@db2:3307/strata_archive", "c@[::1]:2/ctl"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.env["STRATA_KAFKA"] = "k1:9092, k2:9092,"
			s, err := local.Start(t.Context(), local.Config{Dir: t.TempDir(), Getenv: func(n string) string { return c.env[n] }})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Stop(context.Background()) }()
			a := s.Addresses
			if got := []string{a.Live.String(), a.Offline.String(), a.Archive.String(), a.Control.String()}; !slices.Equal(got, c.want) {
				t.Errorf("got %q", got)
			}
			if a.Live.DSN != live || !slices.Equal(a.Kafka, []string{"k1:9092", "k2:9092"}) {
				t.Errorf("live %s, kafka %q", a.Live.DSN, a.Kafka)
			}
			if s.Live != nil || s.Offline != nil || s.Archive != nil || s.Kafka != nil || len(s.ChildPIDs()) > 0 {
				t.Error("a private server was started")
			}
			text, err := json.Marshal(a)
			if err != nil || !strings.Contains(string(text), `"live":{"host":"db1","port":3306,"user":"u","password":"p","schema":"pay","dsn":`) {
				t.Errorf("%s, %v", text, err)
			}
		})
	}
	for name, env := range map[string]map[string]string{
		"offline alone":    {"STRATA_OFFLINE_DSN": live},
		"unreadable":       {"STRATA_LIVE_DSN": "mysql://secret@host"},
		"a socket":         {"STRATA_ARCHIVE_DSN": "u:secret@unix(/run/s)/x"},
		"port not numeric": {"STRATA_CONTROL_DSN": "u:secret@tcp(host:mysql)/x"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := local.Start(t.Context(), local.Config{Dir: t.TempDir(), Getenv: func(n string) string { return env[n] }})
			if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error()+fault.HintOf(err), "secret") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestEndpointsKeepThePasswordOutOfLogs(t *testing.T) {
	var b strings.Builder
	e := local.Endpoint{Host: "h", Port: 1, User: "u", Password: "secret", Schema: "s", DSN: "u:secret@tcp(h:1)/s"}
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "endpoint", e)
	if strings.Contains(b.String()+fmt.Sprint(e), "secret") {
		t.Error(b.String())
	}
}

func TestKafkaKeepsTopicsAndMessagesOverARestart(t *testing.T) {
	h := localtest.Home(t)
	k, err := h.StartKafka(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	brokers := k.Brokers()
	cfg := sarama.NewConfig()
	cfg.Producer.Return.Successes = true
	cfg.Metadata.Retry.Max = 0
	admin, err := sarama.NewClusterAdmin(brokers, cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = admin.CreateTopic("kept", &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false)
	produce := func(topic string) error {
		p, err := sarama.NewSyncProducer(brokers, cfg)
		if err != nil {
			return err
		}
		_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: topic, Partition: 0, Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder("v")})
		return errorsOf(err, p.Close())
	}
	if err := errorsOf(err, admin.Close(), produce("kept")); err != nil {
		t.Fatal(err)
	}
	if err := produce("never_created"); err == nil {
		t.Error("a topic was created by writing to it")
	}
	for range 2 {
		if err := k.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	k, err = h.StartKafka(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Stop(context.Background()) })
	if !slices.Equal(k.Brokers(), brokers) {
		t.Errorf("moved from %v to %v", brokers, k.Brokers())
	}
	client, err := sarama.NewClient(brokers, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var messages int64
	partitions, err := client.Partitions("kept")
	for _, p := range partitions {
		next, offsetErr := client.GetOffset("kept", p, sarama.OffsetNewest)
		err = errorsOf(err, offsetErr)
		messages += next
	}
	if err != nil || len(partitions) != 2 || messages != 1 {
		t.Errorf("%d partitions, %d messages, %v", len(partitions), messages, err)
	}
}

func TestSharedServerComesBackAfterATestKilledIt(t *testing.T) {
	m := localtest.Shared(t)
	dsn := localtest.Schema(t, m)
	if other := localtest.Schema(t, m); other == dsn {
		t.Error("two schemas of one name")
	}
	localtest.Exec(t, localtest.DB(t, dsn), "CREATE TABLE moved (id INT PRIMARY KEY)")
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	again := localtest.Shared(t)
	if again != m || count(t, localtest.DB(t, dsn), "moved") != 0 {
		t.Error("it is another server")
	}
}
