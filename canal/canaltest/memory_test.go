package canaltest_test

import (
	"context"
	"fmt"
	"testing"

	"strata/canal"
	"strata/canal/canaltest"
)

func TestMemory_control_conforms(t *testing.T) {
	c := canaltest.NewControl()
	canaltest.ControlSuite(t, c, c)
}

func TestMemory_sink_conforms(t *testing.T) { canaltest.SinkSuite(t, canaltest.NewSink()) }

func TestMemory_source_conforms(t *testing.T) {
	s := canaltest.NewSource()
	d := canaltest.Dataset("entry", 1)
	canaltest.SourceSuite(t, s, canal.Position{}, func(i int) string {
		return s.Commit(canal.Txn{Changes: []canal.Change{{Dataset: d, Shard: "entry", Op: canal.Insert, After: canaltest.Row(i, fmt.Sprint(i))}}})
	})
}

func TestMemory_desk_conforms(t *testing.T) {
	c := canaltest.NewControl()
	d := canaltest.NewDesk(c)
	canaltest.DeskSuite(t, canaltest.DeskCase{Desk: d, Control: c, Wish: func(_ context.Context, id int64, w canal.Wish) error {
		d.Wish(id, w)
		return nil
	}})
}

func TestMemory_tables_conform(t *testing.T) {
	s := canaltest.NewSource()
	d := canaltest.Dataset("entry", 1)
	n := uint64(0)
	canaltest.TablesSuite(t, canaltest.TablesCase{Tables: canaltest.NewTables(s, 1), Dataset: d, Reached: s.Reached,
		Write: func(_ context.Context, id int, note string) error {
			c := canal.Change{Dataset: d, Shard: "entry", Op: canal.Insert, After: canaltest.Row(id, note)}
			if note == "" {
				c = canal.Change{Dataset: d, Shard: "entry", Op: canal.Delete, Before: canaltest.Row(id, note)}
			}
			s.Commit(canal.Txn{Changes: []canal.Change{c}})
			return nil
		},
		Beat: func(context.Context) (uint64, error) {
			n++
			s.Commit(canal.Txn{Beat: &canal.Beat{Seq: n}})
			return n, nil
		}})
}
