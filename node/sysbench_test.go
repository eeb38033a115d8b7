package node_test

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"strata/local/localtest"
	"strata/node"
)

const (
	sysbenchTables = 4
	sysbenchRows   = 2000
)

// sysbench runs Debian's oltp_read_write on live.
func (r *rig) sysbench(t *testing.T, command string, more ...string) string {
	t.Helper()
	a := r.stack.Addresses.Live
	args := append([]string{"oltp_read_write", "--db-driver=mysql", "--mysql-host=" + a.Host, "--mysql-port=" + strconv.Itoa(a.Port),
		"--mysql-user=" + a.User, "--mysql-password=" + a.Password, "--mysql-db=" + a.Schema, fmt.Sprintf("--tables=%d", sysbenchTables),
		fmt.Sprintf("--table-size=%d", sysbenchRows), "--threads=4"}, append(more, command)...)
	out, err := exec.CommandContext(t.Context(), "sysbench", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("sysbench %s: %v\n%s", command, err, out)
	}
	return string(out)
}

// TestSysbench has tables and writers that know nothing of strata.
func TestSysbench(t *testing.T) {
	r := newRig(t)
	r.sysbench(t, "prepare")
	var yaml strings.Builder
	yaml.WriteString("datasets:\n")
	for i := 1; i <= sysbenchTables; i++ {
		fmt.Fprintf(&yaml, "  - name: sbtest%d\n    partitions: %d\n", i, i)
	}
	n := r.open(t, r.config(t, yaml.String()))
	before := r.number(t, "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='HANDLER_UPDATE'")
	run(t, n, node.Roles{Canal: true, Sync: true})
	r.sysbench(t, "run", "--time=8")
	updates := r.number(t, "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME='HANDLER_UPDATE'") - before
	indexed(t, n)

	want := map[string]int64{}
	var rows int64
	for i := 1; i <= sysbenchTables; i++ {
		name := fmt.Sprintf("sbtest%d", i)
		want[name] = r.number(t, "SELECT count(*) FROM "+name)
		rows += want[name]
	}
	rep := proven(t, n, "index")
	t.Run("every row of every table was compared and is equal", func(t *testing.T) {
		if rows == 0 || rep.RowsCompared != rows {
			t.Errorf("%d rows compared of %d", rep.RowsCompared, rows)
		}
		for _, d := range rep.Index.Datasets {
			if d.Rows != want[d.Dataset] || d.Documents != want[d.Dataset] || d.Unsettled != 0 {
				t.Errorf("%s: %d rows and %d documents of %d", d.Dataset, d.Rows, d.Documents, want[d.Dataset])
			}
		}
	})
	t.Run("updates and deletes came through, not only the first rows", func(t *testing.T) {
		changes := int64(n.Captured().Records)
		if updates < rows/10 || changes < rows+updates {
			t.Errorf("%d records for %d rows and %d updates", changes, rows, updates)
		}
		t.Logf("%d records captured, %d updates on %d rows", changes, updates, rows)
	})
	t.Run("what never was a row is found by the proof", func(t *testing.T) {
		localtest.Exec(t, r.live, "SET STATEMENT sql_log_bin=0 FOR UPDATE sbtest1 SET k=k+1 ORDER BY id LIMIT 3")
		bad, err := n.Verify(t.Context(), node.VerifyRequest{Parts: []string{"index"}})
		if err != nil {
			t.Fatal(err)
		}
		if bad.OK || bad.Differences != 3 {
			t.Errorf("%d differences after 3 rows were changed past the binlog", bad.Differences)
		}
	})
}
