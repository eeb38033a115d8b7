package connect_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"strata/canal"
	"strata/local"
	"strata/local/localtest"
)

func TestKafkaConnect_with_Debeziums_transform_reads_every_change(t *testing.T) {
	r := newRig(t)
	want := map[string][]string{} // lines by id
	note := func(id int, op string, deleted bool, row []sql.NullString) {
		want[num(id)] = append(want[num(id)], structLine(row, op, deleted))
	}
	change := func(id int, op, q string, args ...any) {
		t.Helper()
		note(id, op, false, r.exec(id, q, args...))
	}
	for id := range 6 {
		change(id, "c", "INSERT INTO entry VALUES (?,-12345678.90,9007199254740993,0.25,'2026-11-22 10:00:00.123456','2026-11-22 10:00:00','2026-02-28',x'00ff7e','{\"a\": [1, \"ü\"]}','grün ☃')", id)
		change(id, "u", "UPDATE entry SET amount=amount+?, note=CONCAT('n', id) WHERE id=?", id+1, id)
	}
	change(1, "u", "UPDATE entry SET amount=NULL, big=NULL, ratio=NULL, at=NULL, stamp=NULL, day=NULL, raw=NULL, doc=NULL, note=NULL WHERE id=1")
	r.reign(canal.WithSchema)
	change(7, "c", "INSERT INTO entry (id, note) VALUES (7, 'a, b} \\n\"c\"')")
	for _, id := range []int{2, 3} {
		row := r.rows("WHERE id=" + num(id))[num(id)]
		r.exec(id, "DELETE FROM entry WHERE id=?", id)
		note(id, "d", true, row)
	}
	change(2, "c", "INSERT INTO entry (id, note) VALUES (2, 'again')")
	moved := r.rows("WHERE id=4")["4"]
	row := r.exec(40, "UPDATE entry SET id=40 WHERE id=4")
	note(4, "d", true, moved)
	note(40, "c", false, row)
	r.reign(canal.WithSchema)

	out := filepath.Join(t.TempDir(), "out")
	connector := pageProperties(t)
	connector["name"], connector["topics"], connector["file"] = localtest.Unique("sink"), canal.Topic(r.data.Name), out
	connector["connector.class"] = "org.apache.kafka.connect.file.FileStreamSinkConnector"
	connector["transforms.unwrap.add.fields"] = "op"
	patient := map[string]string{"consumer.session.timeout.ms": "600000", "consumer.max.poll.interval.ms": "600000"} // or it may read twice
	localtest.StartConnect(t, localtest.Home(t), local.ConnectConfig{Name: "connect1", Brokers: r.brokers, Worker: patient,
		Connectors: []map[string]string{connector}})
	count := 0
	for _, lines := range want {
		count += len(lines)
	}
	var got []string
	localtest.Eventually(t, 2*time.Minute, fmt.Sprintf("%d lines in the sink's file", count), func() (bool, error) {
		text, err := os.ReadFile(out)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		got = splitStructs(string(text))
		return len(got) >= count, err
	})
	have := map[string][]string{}
	for _, line := range got {
		id, _, _ := strings.Cut(strings.TrimPrefix(line, "Struct{id="), ",")
		have[id] = append(have[id], line)
	}
	for id, lines := range want {
		if !slices.Equal(have[id], lines) {
			t.Errorf("id %s:\n%s\nwant\n%s", id, strings.Join(have[id], "\n"), strings.Join(lines, "\n"))
		}
		delete(have, id)
	}
	if len(have) > 0 {
		t.Errorf("more than the table's changes: %q", have)
	}
}

func TestAPlainConsumer_that_follows_the_page_ends_with_the_tables_rows(t *testing.T) {
	java, err := local.FindJava(os.Getenv, "kafka")
	if err == nil {
		_, err = exec.LookPath(filepath.Join(filepath.Dir(java.Program), "javac"))
	}
	if err != nil {
		t.Skipf("no Java compiler with Kafka's jars: %v", err)
	}
	r := newRig(t)
	for id := range 40 {
		r.exec(id, "INSERT INTO entry VALUES (?,-1.50,18446744073709551615,0.25,'2026-11-22 10:00:00.123456','2026-11-22 10:00:00','2026-02-28',x'00ff7e','{\"a\": 1}','grün ☃')", id)
	}
	r.exec(0, "UPDATE entry SET note='older' WHERE id<20")
	r.exec(0, "DELETE FROM entry WHERE id%10=3")
	r.reign(canal.Plain)
	r.exec(0, "UPDATE entry SET note=CONCAT('newer \"', id, '\"\n'), amount=amount*id, doc=NULL WHERE id%3=0")
	r.exec(0, "UPDATE entry SET id=id+100 WHERE id BETWEEN 5 AND 8")
	r.exec(0, "INSERT INTO entry (id, note) VALUES (3, 'again')")
	r.reign(canal.WithSchema)
	afterDeath(t, r)
	r.exec(0, "DELETE FROM entry WHERE id IN (10, 11)")
	r.reign(canal.Plain)

	cmd := exec.Command(java.Program, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
		"-Dstdout.encoding=UTF-8", "-Dfile.encoding=UTF-8", "-cp", filepath.Join(java.Jars, "*"), "testdata/Replay.java",
		strings.Join(r.brokers, ","), canal.Topic(r.data.Name))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	want := r.rows("")
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if key == "dropped" {
			if value != "2" {
				t.Errorf("it dropped %s records, want the dead leader's 2", value)
			}
			continue
		}
		id := strings.TrimSuffix(strings.TrimPrefix(key, `{"id":`), "}")
		if row, ok := want[id]; !ok {
			t.Errorf("a row that the table hasn't: %s", line)
		} else if err := sameRow(value, row); err != nil {
			t.Errorf("id %s: %v\n%s", id, err, value)
		}
		delete(want, id)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// afterDeath writes what a leader of term 1, paused all the while, may still write after term 2 has begun: an old row and a
// delete, with the numbers that it would have given them.
func afterDeath(t *testing.T, r *rig) {
	t.Helper()
	p, err := r.sink.Producer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var records []canal.Record
	for i, value := range []string{`{"before":null,"after":{"id":6,"note":"from the dead"},"source":{},"op":"c","ts_ms":1,"transaction":null}`,
		`{"before":{"id":9},"after":null,"source":{},"op":"d","ts_ms":1,"transaction":null}`} {
		key := []string{`{"id":6}`, `{"id":9}`}[i]
		records = append(records, canal.Record{Dataset: r.data.Name, Partition: canal.PartitionOf([]byte(key), r.data.Partitions),
			Key: []byte(key), Value: []byte(value),
			Header: canal.Header{Term: 1, Seq: uint64(1000 + i), Kind: canal.KindChange, Number: uint64(100 + i), GTID: "0-1-9", Shard: "entry"}})
	}
	if err := errors.Join(p.Send(t.Context(), records), p.Flush(t.Context()), p.Close()); err != nil {
		t.Fatal(err)
	}
}

// sameRow compares a row in JSON with the cells that SELECT shows.
func sameRow(value string, cells []sql.NullString) error {
	dec := json.NewDecoder(strings.NewReader(value))
	dec.UseNumber()
	row := map[string]any{}
	if err := dec.Decode(&row); err != nil {
		return err
	}
	if len(row) != len(columns) {
		return fmt.Errorf("%d columns, want %d", len(row), len(columns))
	}
	for i, c := range columns {
		got, ok := row[c[0]]
		if !ok || (got == nil) == cells[i].Valid || got != nil && fmt.Sprint(got) != cells[i].String {
			return fmt.Errorf("%s is %v, want %v", c[0], got, cells[i])
		}
	}
	return nil
}

// structLine is a row as Kafka Connect's Struct prints itself: columns with a value, then what the transform adds.
func structLine(row []sql.NullString, op string, deleted bool) string {
	var b strings.Builder
	b.WriteString("Struct{")
	for i, c := range columns {
		if row[i].Valid {
			fmt.Fprintf(&b, "%s=%s,", c[0], row[i].String)
		}
	}
	fmt.Fprintf(&b, "__deleted=%v,__op=%s}", deleted, op)
	return b.String()
}

// splitStructs takes the sink's file apart; a cell may hold a line break.
func splitStructs(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, "\nStruct{") {
		if part = strings.TrimSuffix(part, "\n"); part != "" {
			out = append(out, "Struct{"+strings.TrimPrefix(part, "Struct{"))
		}
	}
	return out
}

// pageProperties are the properties that docs/wire.md gives for Kafka Connect.
func pageProperties(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(page), "\n## Kafka Connect\n")
	part, _, _ = strings.Cut(part, "\n## ")
	out := map[string]string{}
	for line := range strings.Lines(part) {
		if text, indented := strings.CutPrefix(line, "    "); indented {
			k, v, _ := strings.Cut(strings.TrimSpace(text), "=")
			out[k] = v
		}
	}
	if !found || len(out) < 10 {
		t.Fatalf("docs/wire.md gives no properties: %v", out)
	}
	return out
}

func num(id int) string { return strconv.Itoa(id) }
