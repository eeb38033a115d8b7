package local

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"strata/fault"
)

const (
	formatLimit = time.Minute
	// kafkaCluster is 16 bytes in URL-safe base64; one name for all, as nothing joins them.
	kafkaCluster     = "c3RyYXRhLWxvY2FsLWNsdQ"
	defaultKafkaHeap = 320
)

// JavaKafkaConfig says which broker StartJavaKafka starts.
type JavaKafkaConfig struct {
	Name      string // folder in the Home: letters a-z, digits, _ and -
	Java      Java   // FindJava's, of kafka
	Advertise string // host:port that clients are sent to, a Proxy's for instance; "": its own address
	// Secure opens a second listener: SASL_SSL with SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN for User and Password.
	Secure  bool
	Options map[string]string // more server properties; they win
	HeapMiB int               // 0: 320
	JVM     []string          // more flags of java; they win
}

// JavaKafka is a real broker, alone in KRaft mode, that keeps its data over Kill and Restart (written, not synced: the
// process may be killed, the machine may not). Topics must be created explicitly. After a start, and after a topic was made,
// a partition may have no leader for a moment; clients must ask again. The exported fields stay the same over Restart.
type JavaKafka struct {
	*Server
	SecurePort int    // 0 unless Secure
	User       string // of the secure listener: strata
	Password   string
	TLS        TLSFiles // of the secure listener, for 127.0.0.1 and localhost; the zero value unless Secure

	cfg        JavaKafkaConfig
	controller int
}

// StartJavaKafka formats the broker's data once, starts it and waits until it serves. Errors: Unavailable (it didn't come
// up), Busy (a server of that name runs), Invalid (the name). After an error nothing is left running.
func (h *Home) StartJavaKafka(ctx context.Context, cfg JavaKafkaConfig) (*JavaKafka, error) {
	if cfg.HeapMiB == 0 {
		cfg.HeapMiB = defaultKafkaHeap
	}
	server, err := h.newServer("kafka", cfg.Name)
	if err != nil {
		return nil, err
	}
	k := &JavaKafka{Server: server, User: loginUser, Password: h.secret, cfg: cfg}
	k.more = map[string]*int{"port.controller": &k.controller}
	if cfg.Secure {
		k.more["port.secure"] = &k.SecurePort
		if k.TLS, err = makeTLS(filepath.Join(k.dir, "tls"), time.Now()); err != nil {
			return nil, err
		}
	}
	k.Server.argv = k.argv
	k.ready = func(ctx context.Context, p *process) error { return k.logged(ctx, p, "Kafka Server started") }
	k.op.Lock()
	defer k.op.Unlock()
	if err := k.choosePorts(rememberedPort); err != nil { // formatting checks them
		return nil, err
	}
	if err := k.build(func(part string) error { return k.format(ctx, part) }); err != nil {
		return nil, err
	}
	if err := k.begin(ctx); err != nil {
		return nil, err
	}
	return k, nil
}

// Brokers is the list of host:port.
func (k *JavaKafka) Brokers() []string {
	if k.cfg.Advertise != "" {
		return []string{k.cfg.Advertise}
	}
	return []string{k.Addr()}
}

// SecureBrokers is the same of the secure listener; nil unless Secure.
func (k *JavaKafka) SecureBrokers() []string {
	if k.SecurePort == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s:%d", k.Host, k.SecurePort)}
}

// format makes the data in part, with the credentials of User, which stand in the broker's own metadata.
func (k *JavaKafka) format(ctx context.Context, part string) error {
	file := filepath.Join(k.dir, "format.properties")
	if err := writeFile(file, k.properties(part)); err != nil {
		return err
	}
	args := []string{"format", "-t", kafkaCluster, "-c", file}
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, k.User, k.Password))
	}
	return k.run(ctx, "format", formatLimit, command{argv: k.cfg.Java.argv(k.cfg.HeapMiB, nil, "kafka.tools.StorageTool", args...)})
}

// argv writes the properties and is the broker's command line.
func (k *JavaKafka) argv() ([]string, error) {
	file := filepath.Join(k.dir, "server.properties")
	if err := writeFile(file, k.properties(filepath.Join(k.dir, "data"))); err != nil {
		return nil, err
	}
	return k.cfg.Java.argv(k.cfg.HeapMiB, k.cfg.JVM, "kafka.Kafka", file), nil
}

// properties is the content of server.properties for the data folder.
func (k *JavaKafka) properties(data string) string {
	address := func(port int) string { return fmt.Sprintf("%s:%d", k.Host, port) }
	advertised := address(k.Port)
	if k.cfg.Advertise != "" {
		advertised = k.cfg.Advertise
	}
	set := map[string]string{
		"log.dirs":                       data,
		"controller.quorum.voters":       "1@" + address(k.controller),
		"listeners":                      "PLAINTEXT://" + address(k.Port) + ",CONTROLLER://" + address(k.controller),
		"advertised.listeners":           "PLAINTEXT://" + advertised,
		"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL",
	}
	if k.cfg.Secure {
		set["listeners"] += ",SECURE://" + address(k.SecurePort)
		set["advertised.listeners"] += ",SECURE://" + address(k.SecurePort)
		maps.Copy(set, map[string]string{
			"sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN",
			"ssl.keystore.type":       "PEM",
			"ssl.keystore.location":   k.TLS.server,
			"ssl.truststore.type":     "PEM",
			"ssl.truststore.location": k.TLS.CA,
			"ssl.client.auth":         "none",
			"ssl.enabled.protocols":   "TLSv1.2,TLSv1.3",
			"listener.name.secure.plain.sasl.jaas.config": fmt.Sprintf(
				"org.apache.kafka.common.security.plain.PlainLoginModule required user_%s=%q;", k.User, k.Password),
		})
		for _, mechanism := range []string{"scram-sha-256", "scram-sha-512"} {
			set["listener.name.secure."+mechanism+".sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		}
	}
	maps.Copy(set, k.cfg.Options)
	fixed, err := jvmFiles.ReadFile("jvm/kafka.properties")
	if err != nil {
		panic(fault.Wrap(fault.Internal, "read embedded file", err)) // it is part of the program
	}
	return string(fixed) + properties(set)
}
