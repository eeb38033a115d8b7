package canaltest_test

import (
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
