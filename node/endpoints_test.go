package node_test

import (
	"fmt"
	"regexp"
	"testing"

	"strata/local"
	"strata/local/localtest"
	"strata/node"
)

// TestEndpoints_the_next_takes_over refuses connections of the first endpoint while transactions come.
func TestEndpoints_the_next_takes_over(t *testing.T) {
	r := newRig(t)
	wire, err := local.NewProxy(r.stack.Offline.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wire.Close() })
	one := regexp.MustCompile(`offline: \{dsn: "(.*?)"\}`)
	dsn := one.FindStringSubmatch(r.text)[1]
	there := regexp.MustCompile(`tcp\(.*?\)`).ReplaceAllString(dsn, "tcp("+wire.Addr()+")")
	r.text = one.ReplaceAllLiteralString(r.text, fmt.Sprintf("offline: {endpoints: [{name: replica, dsn: %q}, {name: primary, dsn: %q}]}", there, r.stack.Addresses.Live.DSN))
	localtest.Exec(t, r.live, "CREATE TABLE item (id INT AUTO_INCREMENT PRIMARY KEY, n BIGINT NOT NULL)")
	cfg := r.config(t, "datasets: [{name: item}]\n")
	n := r.open(t, cfg)
	run(t, n, node.Roles{Canal: true, Sync: true})
	localtest.Exec(t, r.live, "INSERT INTO item (n) SELECT seq FROM seq_1_to_100")
	indexed(t, n)
	if wire.Conns() == 0 {
		t.Fatal("the first endpoint is not read")
	}
	wire.Refuse(true)
	wire.Cut()
	localtest.Exec(t, r.live, "UPDATE item SET n=n+1 WHERE id%2=0")
	indexed(t, n) // by the primary, for nothing comes through the wire
	if rep := proven(t, n, "index"); rep.RowsCompared != 100 {
		t.Errorf("%d rows compared", rep.RowsCompared)
	}
	if s := n.Captured(); s.Term != 1 {
		t.Errorf("term %d: %s", s.Term, s.Err)
	}
	t.Run("a process that starts now takes what answers", func(t *testing.T) {
		if again := r.open(t, cfg); again.Config().Offline.Endpoints[0].Name != "replica" {
			t.Error("the order of the configuration was changed")
		}
	})
}
