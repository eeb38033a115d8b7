package local

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"strata/fault"
)

const (
	defaultConnectHeap = 384
	connectAskLimit    = 5 * time.Second
)

// ConnectConfig says which worker StartConnect starts.
type ConnectConfig struct {
	Name       string // folder in the Home: letters a-z, digits, _ and -
	Java       Java   // FindJava's, of connect
	Brokers    []string
	Worker     map[string]string   // more worker properties; they win
	Connectors []map[string]string // each one's properties; name and connector.class among them
	HeapMiB    int                 // 0: 384
	JVM        []string            // more flags of java; they win
}

// Connect is one standalone Kafka Connect worker; Port is its REST interface, plain HTTP. Source offsets are in its
// folder and stay over a restart.
type Connect struct {
	*Server
	cfg ConnectConfig
}

// StartConnect starts the worker and waits until every connector and all of their tasks run. Converters are JSON without
// schemas unless Worker says otherwise. Errors: Unavailable (it didn't come up, or a task failed: its trace is in the
// cause), Busy (a server of that name runs), Invalid (the name). After an error nothing is left running.
func (h *Home) StartConnect(ctx context.Context, cfg ConnectConfig) (*Connect, error) {
	if cfg.HeapMiB == 0 {
		cfg.HeapMiB = defaultConnectHeap
	}
	server, err := h.newServer("connect", cfg.Name)
	if err != nil {
		return nil, err
	}
	c := &Connect{Server: server, cfg: cfg}
	c.Server.argv, c.Server.ready = c.argv, c.ready
	c.op.Lock()
	defer c.op.Unlock()
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// argv writes the properties and is the worker's command line.
func (c *Connect) argv() ([]string, error) {
	worker := map[string]string{
		"bootstrap.servers":              strings.Join(c.cfg.Brokers, ","),
		"listeners":                      "http://" + c.Addr(),
		"key.converter":                  "org.apache.kafka.connect.json.JsonConverter",
		"key.converter.schemas.enable":   "false",
		"value.converter":                "org.apache.kafka.connect.json.JsonConverter",
		"value.converter.schemas.enable": "false",
		"offset.storage.file.filename":   filepath.Join(c.dir, "offsets"),
		"offset.flush.interval.ms":       "1000",
		"plugin.discovery":               "service_load",
	}
	maps.Copy(worker, c.cfg.Worker)
	files := []string{filepath.Join(c.dir, "worker.properties")}
	if err := writeFile(files[0], properties(worker)); err != nil {
		return nil, err
	}
	for i, connector := range c.cfg.Connectors {
		file := filepath.Join(c.dir, fmt.Sprintf("connector%d.properties", i))
		if err := writeFile(file, properties(connector)); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return c.cfg.Java.argv(c.cfg.HeapMiB, c.cfg.JVM, "org.apache.kafka.connect.cli.ConnectStandalone", files...), nil
}

// ready waits until every connector and task runs.
func (c *Connect) ready(ctx context.Context, p *process) error {
	for _, connector := range c.cfg.Connectors {
		err := poll(ctx, startLimit, func(ctx context.Context) (bool, error) {
			if !p.running() {
				return false, errExited
			}
			return c.Running(ctx, connector["name"])
		})
		if err != nil {
			return fmt.Errorf("connector %s: %w", connector["name"], err)
		}
	}
	return nil
}

// Running reports whether the named connector and all of its tasks run; before the worker serves it is false. A connector
// or a task that failed is an error with its trace.
func (c *Connect) Running(ctx context.Context, connector string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, connectAskLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Addr()+"/connectors/"+connector+"/status", nil)
	if err != nil {
		return false, fault.Wrap(fault.Invalid, "ask worker", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, nil // it isn't listening yet
	}
	defer resp.Body.Close()
	type state struct {
		State string `json:"state"`
		Trace string `json:"trace"`
	}
	var status struct {
		Connector state   `json:"connector"`
		Tasks     []state `json:"tasks"`
	}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&status) != nil {
		return false, nil // not known yet
	}
	running := len(status.Tasks) > 0
	for _, s := range append(status.Tasks, status.Connector) {
		if s.State == "FAILED" {
			return false, fault.New(fault.Unavailable, "run connector", "%s: %s", connector, s.Trace)
		}
		running = running && s.State == "RUNNING"
	}
	return running, nil
}
