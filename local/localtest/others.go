package localtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"strata/fault"
	"strata/local"
)

// TestKafka is the environment's variable with the brokers of a real Kafka for a whole run of tests: host:port, by commas.
const TestKafka = "STRATA_TEST_KAFKA"

// TestElastic is the same with the URL of a real Elasticsearch.
const TestElastic = "STRATA_TEST_ELASTIC"

// SharedMySQL is the same with MySQL. Where there is none, the test is skipped and says what is missing.
func SharedMySQL(t testing.TB) *local.MySQL {
	t.Helper()
	root := mysqlRoot(t)
	return state.mysql.get(t, func(ctx context.Context, h *local.Home) (*local.MySQL, error) {
		return h.StartMySQL(ctx, local.MySQLConfig{Name: "shared", Root: root})
	})
}

// StartMySQL starts a MySQL in h and kills it at the end of the test; Root is found. Where there is no MySQL, the test is
// skipped and says what is missing.
func StartMySQL(t testing.TB, h *local.Home, cfg local.MySQLConfig) *local.MySQL {
	t.Helper()
	cfg.Root = mysqlRoot(t)
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	m, err := h.StartMySQL(ctx, cfg)
	if err != nil {
		fatal(t, err)
	}
	t.Cleanup(func() { kill(t, m) })
	return m
}

// mysqlRoot finds MySQL or skips the test.
func mysqlRoot(t testing.TB) string {
	t.Helper()
	root, err := local.FindMySQL(os.Getenv)
	if err != nil {
		t.Skipf("%v; %s", err, fault.HintOf(err))
	}
	return root
}

// SharedKafka is the brokers of a real Kafka: that of STRATA_TEST_KAFKA, which other packages' tests use at the same time,
// else one for the test binary. Where there is no JVM with Kafka, the test is skipped and says what is missing. A dataset
// with a name by Unique has topics of its own in it. A test that stops its broker starts it by StartKafka.
func SharedKafka(t testing.TB) (brokers []string) {
	t.Helper()
	if given := os.Getenv(TestKafka); given != "" {
		return strings.Split(given, ",")
	}
	java := findJava(t, "kafka")
	return state.kafka.get(t, func(ctx context.Context, h *local.Home) (*local.JavaKafka, error) {
		return h.StartJavaKafka(ctx, local.JavaKafkaConfig{Name: "shared", Java: java})
	}).Brokers()
}

// StartKafka starts a real Kafka in h and kills it at the end of the test; Java is found. Where there is no JVM with Kafka,
// the test is skipped and says what is missing.
func StartKafka(t testing.TB, h *local.Home, cfg local.JavaKafkaConfig) *local.JavaKafka {
	t.Helper()
	cfg.Java = findJava(t, "kafka")
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	k, err := h.StartJavaKafka(ctx, cfg)
	if err != nil {
		fatal(t, err)
	}
	t.Cleanup(func() { kill(t, k) })
	return k
}

// SharedElastic is the URL of a real Elasticsearch: that of STRATA_TEST_ELASTIC, which other packages' tests use at the same
// time, else one for the test binary. Where there is no JVM with Elasticsearch, the test is skipped and says what is missing.
// An index with a prefix by Unique is alone in it. A test that stops its node starts it by StartElastic.
func SharedElastic(t testing.TB) (url string) {
	t.Helper()
	if given := os.Getenv(TestElastic); given != "" {
		return given
	}
	java := findJava(t, "elastic")
	return state.elastic.get(t, func(ctx context.Context, h *local.Home) (*local.Elastic, error) {
		return h.StartElastic(ctx, local.ElasticConfig{Name: "shared", Java: java})
	}).URL()
}

// StartElastic starts an Elasticsearch in h and kills it at the end of the test; Java is found. Where there is no JVM with
// Elasticsearch, the test is skipped and says what is missing.
func StartElastic(t testing.TB, h *local.Home, cfg local.ElasticConfig) *local.Elastic {
	t.Helper()
	cfg.Java = findJava(t, "elastic")
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	e, err := h.StartElastic(ctx, cfg)
	if err != nil {
		fatal(t, err)
	}
	t.Cleanup(func() { kill(t, e) })
	return e
}

// StartConnect does so with a Kafka Connect worker.
func StartConnect(t testing.TB, h *local.Home, cfg local.ConnectConfig) *local.Connect {
	t.Helper()
	cfg.Java = findJava(t, "connect")
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	c, err := h.StartConnect(ctx, cfg)
	if err != nil {
		fatal(t, err)
	}
	t.Cleanup(func() { kill(t, c) })
	return c
}

// Unique is a name that no other test, run or package has: prefix_ and 8 hexadecimal digits.
func Unique(prefix string) string { return fmt.Sprintf("%s_%08x", prefix, rand.Uint32()) }

// findJava finds a JVM with the jars of name or skips the test.
func findJava(t testing.TB, name string) local.Java {
	t.Helper()
	java, err := local.FindJava(os.Getenv, name)
	if err != nil {
		t.Skipf("%v; %s", err, fault.HintOf(err))
	}
	return java
}
