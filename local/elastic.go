package local

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"strata/fault"
)

// defaultElasticHeap is enough for tests; loads want 1024.
const defaultElasticHeap = 512

// ElasticConfig says which node StartElastic starts.
type ElasticConfig struct {
	Name    string            // folder in the Home: letters a-z, digits, _ and -
	Java    Java              // FindJava's, of elastic
	Options map[string]string // more node settings; they win
	HeapMiB int               // 0: 512
	JVM     []string          // more flags of java; they win
}

// Elastic is a real Elasticsearch 7.17 of one node that keeps its data over Kill and Restart: what it has acknowledged is
// synced. It has no users and no TLS. The exported fields stay the same over Restart.
type Elastic struct {
	*Server
	cfg ElasticConfig
}

// StartElastic starts a node and waits until its primaries serve. Errors: Unavailable (it didn't come up), Busy (a server of
// that name runs), Invalid (the name). After an error nothing is left running.
func (h *Home) StartElastic(ctx context.Context, cfg ElasticConfig) (*Elastic, error) {
	if cfg.HeapMiB == 0 {
		cfg.HeapMiB = defaultElasticHeap
	}
	server, err := h.newServer("elastic", cfg.Name)
	if err != nil {
		return nil, err
	}
	e := &Elastic{Server: server, cfg: cfg}
	e.Server.argv = e.argv
	e.ready = e.serves
	e.op.Lock()
	defer e.op.Unlock()
	if err := e.begin(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// URL is the node's address.
func (e *Elastic) URL() string { return "http://" + e.Addr() }

// argv puts the program beside the data and is the node's command line: java compiles the one file itself.
func (e *Elastic) argv() ([]string, error) {
	for _, name := range []string{"Elastic.java", "elastic.properties"} {
		text, err := jvmFiles.ReadFile("jvm/" + name)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "read embedded file", err)
		}
		if err := writeFile(filepath.Join(e.dir, name), string(text)); err != nil {
			return nil, err
		}
	}
	tmp := filepath.Join(e.dir, "tmp")
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "make folder", err)
	}
	jvm := []string{"-Xss1m", "-Dfile.encoding=UTF-8", "-Djava.io.tmpdir=" + tmp, "-Djna.nosys=true", "-Dio.netty.noUnsafe=true",
		"-Dio.netty.noKeySetOptimization=true", "-Dio.netty.recycler.maxCapacityPerThread=0", "-Dio.netty.allocator.numDirectArenas=0",
		"-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.disable.jmx=true", "-Djava.locale.providers=SPI,COMPAT",
		"-Dlog4j.configurationFile=" + filepath.Join(e.dir, "elastic.properties"), "--add-opens=java.base/java.io=ALL-UNNAMED"}
	args := []string{filepath.Join(e.dir, "home"), fmt.Sprint(e.Port)}
	for _, k := range slices.Sorted(maps.Keys(e.cfg.Options)) {
		args = append(args, k+"="+e.cfg.Options[k])
	}
	return e.cfg.Java.argv(e.cfg.HeapMiB, append(jvm, e.cfg.JVM...), filepath.Join(e.dir, "Elastic.java"), args...), nil
}

// serves waits until every primary is there: after a kill they are recovered first.
func (e *Elastic) serves(ctx context.Context, p *process) error {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	return poll(ctx, startLimit, func(ctx context.Context) (bool, error) {
		if !p.running() {
			return false, errExited
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL()+"/_cluster/health?wait_for_status=yellow&timeout=1s", nil)
		if err != nil {
			return false, err
		}
		res, err := client.Do(req)
		if err != nil {
			return false, nil //nolint:nilerr // not there yet
		}
		return res.StatusCode == http.StatusOK, res.Body.Close()
	})
}
