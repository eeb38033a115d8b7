package control_test

import (
	"testing"

	"strata/canal/canaltest"
	"strata/canal/control"
	"strata/catalog"
	"strata/db"
	"strata/local/localtest"
)

func TestControl_conforms(t *testing.T) {
	d, err := db.Open(t.Context(), db.Config{DSN: localtest.Schema(t, localtest.Shared(t)), Name: "control", Store: catalog.Live, Purpose: db.Writer})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	for _, pipeline := range []string{"live", "other"} { // rows don't touch each other
		c, err := control.Open(t.Context(), d, pipeline)
		if err != nil {
			t.Fatal(err)
		}
		canaltest.ControlSuite(t, c, c)
		if _, err := control.Open(t.Context(), d, pipeline); err != nil { // and a second opening changes nothing
			t.Fatal(err)
		}
		if s, err := c.Load(t.Context()); err != nil || s.Term != 4 || s.Checkpoint == nil {
			t.Fatalf("%+v, %v", s, err)
		}
	}
}
