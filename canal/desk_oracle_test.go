package canal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"strata/canal"
	"strata/catalog"
)

// states lists what each row was, in order: a note, or "" for absent, with the transaction that made it so.
type rowState struct {
	note string
	at   int // transactions, counted from 1
}

func (o *office) states(d *catalog.Dataset) map[string][]rowState {
	out := map[string][]rowState{}
	for i, x := range o.src.Txns() {
		for _, a := range x.Alarms {
			for name, list := range out {
				if a.Effect == canal.Gone && strings.HasPrefix(name, a.Table+" ") && list[len(list)-1].note != "" {
					out[name] = append(list, rowState{at: i + 1})
				}
			}
		}
		for _, c := range x.Changes {
			if c.Dataset != d {
				continue
			}
			r, note := &c.After, c.After
			if c.Op == canal.Delete {
				r = &c.Before
			}
			name := c.Shard + " " + r.Text(0)
			s := rowState{at: i + 1}
			if c.Op != canal.Delete {
				s.note = note.Text(1)
			}
			if out[name] == nil {
				out[name] = []rowState{{}} // absent at first
			}
			out[name] = append(out[name], s)
		}
	}
	return out
}

// follow checks a dataset's topic record by record: per key no older image follows a newer one, and a mark claims nothing
// that the topic lacks. It returns the last state of every row that it met.
func (o *office) follow(d *catalog.Dataset, honest bool) (map[string]string, error) {
	states := o.states(d)
	txns := o.src.Txns()
	of := map[string]int{} // transaction by GTID, counted from 1
	for i := range txns {
		of[txns[i].GTID] = i + 1
	}
	last := map[string]string{}
	for p := range d.Partitions {
		rank := map[string]int{}
		gate := canal.Gate{}
		for _, r := range o.sink.Records(d.Name, p) {
			h := r.Header
			if !gate.Pass(&h) {
				continue
			}
			switch h.Kind {
			case canal.KindChange, canal.KindBackfill:
				name, note, err := stateOf(&r)
				if err != nil {
					return nil, err
				}
				at := rank[name]
				for at < len(states[name]) && (states[name][at].note != note || h.Kind == canal.KindChange && of[h.GTID] != states[name][at].at) {
					at++
				}
				if at == len(states[name]) && !(note == "" && at == 0) { // a row that never was may be said to be absent
					return nil, fmt.Errorf("%s partition %d offset %d: %s of row %q comes after state %d of %v", d.Name, p, r.Offset, note, name, rank[name], states[name])
				}
				if at < len(states[name]) {
					rank[name] = at
				}
				last[name] = note
			case canal.KindMark:
				var m canal.Mark
				if err := json.Unmarshal(r.Value, &m); err != nil {
					return nil, err
				}
				if !honest || m.GTID == "" {
					continue
				}
				for name, list := range states {
					if canal.PartitionOf(keyOf(name), d.Partitions) != p {
						continue
					}
					must := 0
					for must+1 < len(list) && list[must+1].at <= of[m.GTID] {
						must++
					}
					_, met := last[name]
					if !met && list[must].note != "" || met && rank[name] < must {
						return nil, fmt.Errorf("%s partition %d offset %d: mark %s claims state %d of row %q, the topic has state %d (met %v) of %v", d.Name, p, r.Offset, m.GTID, must, name, rank[name], met, list)
					}
				}
			}
		}
	}
	return last, nil
}

func keyOf(name string) []byte {
	var shard string
	var id int
	_, _ = fmt.Sscan(name, &shard, &id)
	return fmt.Appendf(nil, `{"id":%d}`, id)
}

// stateOf reads a record: its row, and the note or "" for absent.
func stateOf(r *canal.Record) (name, note string, err error) {
	var e canal.Envelope
	var key struct{ ID int }
	var row struct{ Note string }
	if err := errors.Join(json.Unmarshal(r.Value, &e), json.Unmarshal(r.Key, &key)); err != nil {
		return "", "", err
	}
	if e.Op != "d" {
		if err := json.Unmarshal(e.After, &row); err != nil {
			return "", "", err
		}
	}
	return fmt.Sprint(r.Header.Shard, " ", key.ID), row.Note, nil
}

// equal checks a dataset's topic, and that it ends as the tables are.
func (o *office) equal(d *catalog.Dataset, honest bool) {
	o.t.Helper()
	last, err := o.follow(d, honest)
	if err != nil {
		o.t.Fatal(err)
	}
	want := o.rows(d)
	maps.DeleteFunc(last, func(_, note string) bool { return note == "" })
	for name, note := range want {
		if last[name] != note {
			o.t.Fatalf("%s: row %s is %q in its table, %q in the topic", d.Name, name, note, last[name])
		}
	}
	for name, note := range last {
		if _, ok := want[name]; !ok {
			o.t.Fatalf("%s: row %s is absent, %q in the topic", d.Name, name, note)
		}
	}
}

// rows are those of a dataset's tables now, by shard and id.
func (o *office) rows(d *catalog.Dataset) map[string]string {
	out := map[string]string{}
	for shard, rows := range o.src.At(len(o.src.Txns())) {
		if (shard == "transfer") == (d.Name == "transfer") {
			for id, note := range rows {
				out[fmt.Sprint(shard, " ", id)] = note
			}
		}
	}
	return out
}

// endsEqual compares the end of a topic, whatever came before it, with the tables.
func (o *office) endsEqual(d *catalog.Dataset) {
	o.t.Helper()
	last := map[string]string{}
	for p := range d.Partitions {
		gate := canal.Gate{}
		for _, r := range o.sink.Records(d.Name, p) {
			if gate.Pass(&r.Header) && (r.Header.Kind == canal.KindChange || r.Header.Kind == canal.KindBackfill) {
				name, note, err := stateOf(&r)
				if err != nil {
					o.t.Fatal(err)
				}
				if last[name] = note; note == "" {
					delete(last, name)
				}
			}
		}
	}
	want := o.rows(d)
	if fmt.Sprint(last) != fmt.Sprint(want) {
		o.t.Fatalf("%s: the topic ends as\n%v, the tables as\n%v\ntasks %+v", d.Name, last, want, o.desk.AllTasks())
	}
}

func (o *office) must(d *catalog.Dataset) map[string]string {
	o.t.Helper()
	last, err := o.follow(d, false)
	if err != nil {
		o.t.Fatal(err)
	}
	return last
}

func idIn(name string) (id int) {
	var shard string
	_, _ = fmt.Sscan(name, &shard, &id)
	return id
}
