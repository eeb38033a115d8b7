package canaltest_test

import (
	"testing"

	"strata/canal/canaltest"
)

func TestMemory_control_conforms(t *testing.T) {
	c := canaltest.NewControl()
	canaltest.ControlSuite(t, c, c)
}

func TestMemory_sink_conforms(t *testing.T) { canaltest.SinkSuite(t, canaltest.NewSink()) }
