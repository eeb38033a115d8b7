package local_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"

	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func TestJavaKafka(t *testing.T) {
	t.Parallel()
	proxy, err := local.NewProxy("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	k := localtest.StartKafka(t, localtest.Home(t), local.JavaKafkaConfig{Name: "kafka1", Secure: true, Advertise: proxy.Addr()})
	proxy.Retarget(k.Addr())
	createTopic(t, k.Brokers(), "kept")
	t.Run("serves its user by TLS and nobody else", func(t *testing.T) { servesItsUser(t, k) })
	t.Run("sends clients to the proxy that it advertises", func(t *testing.T) {
		// The client knows the broker's own address; that all later connections go by the proxy is the broker's word.
		if err := produce([]string{k.Addr()}, plain(), "kept"); err != nil {
			t.Fatal(err)
		}
		proxy.Refuse(true)
		if err := produce([]string{k.Addr()}, once(), "kept"); err == nil {
			t.Error("a message went past the proxy")
		}
		proxy.Refuse(false)
	})
	t.Run("keeps port, topics and messages over kill and stop", func(t *testing.T) { keepsMessages(t, k) })
}

// keepsMessages ends and restarts a broker whose topic kept has one partition.
func keepsMessages(t *testing.T, k *local.JavaKafka) {
	if err := produce(k.Brokers(), once(), "never_created"); err == nil {
		t.Error("a topic was created by writing to it")
	}
	addr := k.Addr()
	for i, end := range []func() error{k.Kill, func() error { return k.Stop(t.Context()) }} {
		if err := errorsOf(k.Pause(), k.Resume(), produce(k.Brokers(), plain(), "kept")); err != nil {
			t.Fatal(err)
		}
		before, err := messages(k.Brokers(), "kept")
		pid := k.PID()
		if err := errorsOf(err, end()); err != nil {
			t.Fatal(err)
		}
		if k.PID() != 0 || syscall.Kill(pid, 0) == nil {
			t.Fatalf("process %d is still there", pid)
		}
		if err := k.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		awaitMessages(t, k.Brokers(), "kept", before)
		if k.Addr() != addr {
			t.Errorf("moved from %s to %s with restart %d", addr, k.Addr(), i+1)
		}
	}
}

// servesItsUser tries a secure broker's listener with and without what it asks for.
func servesItsUser(t *testing.T, k *local.JavaKafka) {
	secure := func(cfg *sarama.Config, mechanism, password string, trust bool) *sarama.Config {
		cfg.Net.TLS.Enable, cfg.Net.SASL.Enable = true, true
		cfg.Net.SASL.Mechanism = sarama.SASLMechanism(mechanism)
		cfg.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{sha: scram.SHA512} }
		cfg.Net.TLS.Config = &tls.Config{MinVersion: tls.VersionTLS12}
		if trust {
			ca, err := os.ReadFile(k.TLS.CA)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Net.TLS.Config.RootCAs = x509.NewCertPool()
			cfg.Net.TLS.Config.RootCAs.AppendCertsFromPEM(ca)
		}
		cfg.Net.SASL.User, cfg.Net.SASL.Password = k.User, password
		return cfg
	}
	for _, mechanism := range []string{sarama.SASLTypePlaintext, sarama.SASLTypeSCRAMSHA512} {
		if err := newTopic(k.SecureBrokers(), secure(plain(), mechanism, k.Password, true), "by_"+mechanism); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
	}
	for name, cfg := range map[string]*sarama.Config{
		"a wrong password":            secure(once(), sarama.SASLTypeSCRAMSHA512, "wrong", true),
		"no trust in its certificate": secure(once(), sarama.SASLTypeSCRAMSHA512, k.Password, false),
		"plain text":                  once(),
	} {
		if err := newTopic(k.SecureBrokers(), cfg, "never"); err == nil {
			t.Errorf("%s got in", name)
		}
	}
}

// scramClient lets sarama log in by SCRAM.
type scramClient struct {
	sha scram.HashGeneratorFcn
	*scram.ClientConversation
}

// Begin implements sarama.SCRAMClient.
func (c *scramClient) Begin(user, password, authzID string) error {
	client, err := c.sha.NewClient(user, password, authzID)
	if err == nil {
		c.ClientConversation = client.NewConversation()
	}
	return err
}

func TestConnectRunsItsConnectorsAndSaysWhyOneFailed(t *testing.T) {
	t.Parallel()
	brokers, h := localtest.SharedKafka(t), localtest.Home(t)
	topic := localtest.Unique("lines")
	createTopic(t, brokers, topic)
	in := filepath.Join(t.TempDir(), "in")
	write(t, in, "one\ntwo\n")
	source := map[string]string{"name": "in", "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "topic": topic, "file": in}
	c := localtest.StartConnect(t, h, local.ConnectConfig{Name: "connect1", Brokers: brokers, Connectors: []map[string]string{source}})
	awaitMessages(t, brokers, topic, 2)
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	java, err := local.FindJava(os.Getenv, "connect")
	if err != nil {
		t.Fatal(err)
	}
	source["connector.class"] = "no.such.Connector"
	_, err = h.StartConnect(t.Context(), local.ConnectConfig{Name: "connect2", Java: java, Brokers: brokers, Connectors: []map[string]string{source}})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no.such.Connector") {
		t.Errorf("got %v", err)
	}
	if left := processesOf(t, filepath.Join(h.Dir(), "connect2")); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
}

func TestJavaThatIsNotThereIsNamedWithWhatToDo(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]map[string]string{
		"no jars": {"STRATA_CACHE": t.TempDir()}, "no java": {"STRATA_CACHE": t.TempDir(), "JAVA_HOME": t.TempDir()},
	} {
		_, err := local.FindJava(func(name string) string { return env[name] }, "kafka")
		if !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
	if _, err := local.FindJava(os.Getenv, "nothing"); !fault.Is(err, fault.Invalid) {
		t.Errorf("unknown jars: %v", err)
	}
}

// plain is the configuration of a client that waits for a partition's leader.
func plain() *sarama.Config {
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V2_8_0_0
	cfg.Producer.Return.Successes = true
	cfg.Metadata.Retry.Max, cfg.Producer.Retry.Max = 100, 100
	return cfg
}

// once is that of a client which gives up at the first error.
func once() *sarama.Config {
	cfg := plain()
	cfg.Metadata.Retry.Max, cfg.Producer.Retry.Max = 0, 0
	return cfg
}

// createTopic makes a topic of one partition and waits until it serves.
func createTopic(t *testing.T, brokers []string, topic string) {
	t.Helper()
	if err := newTopic(brokers, plain(), topic); err != nil {
		t.Fatal(err)
	}
	awaitMessages(t, brokers, topic, 0)
}

func newTopic(brokers []string, cfg *sarama.Config, topic string) error {
	admin, err := sarama.NewClusterAdmin(brokers, cfg)
	if err != nil {
		return err
	}
	return errors.Join(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false), admin.Close())
}

// produce sends one message.
func produce(brokers []string, cfg *sarama.Config, topic string) error {
	p, err := sarama.NewSyncProducer(brokers, cfg)
	if err != nil {
		return err
	}
	_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder("v")})
	return errors.Join(err, p.Close())
}

// messages is the number of messages in the topic's first partition.
func messages(brokers []string, topic string) (int64, error) {
	client, err := sarama.NewClient(brokers, once())
	if err != nil {
		return 0, err
	}
	n, err := client.GetOffset(topic, 0, sarama.OffsetNewest)
	return n, errors.Join(err, client.Close())
}

// awaitMessages waits until there are so many; a partition has no leader for a moment after its topic was made or its
// broker started.
func awaitMessages(t *testing.T, brokers []string, topic string, want int64) {
	t.Helper()
	localtest.Eventually(t, time.Minute, fmt.Sprintf("%d messages in %s", want, topic), func() (bool, error) {
		n, err := messages(brokers, topic)
		return err == nil && n == want, nil
	})
}
