package soak

import (
	"testing"

	"strata/local/localtest"
)

// TestL11_a_dataset_whose_table_went_away_while_nobody_led_is_left_out_alone: the others go on, and it is loaded anew when its
// table is there again.
func TestL11_a_dataset_whose_table_went_away_while_nobody_led_is_left_out_alone(t *testing.T) {
	m := localtest.Shared(t)
	r := newRig(t, 33, m, localtest.Schema(t, m), nil, "canal")
	r.Load.XA = false // a new leader reads nothing for a minute after an XA COMMIT whose keys it can't know
	r.Write(func() { r.Commits(between) })
	r.proof()
	r.Off(func() { localtest.Exec(t, r.DB, "RENAME TABLE orders TO orders_away") })
	r.CanalStatus(1, "MISSING   orders", "dataset orders is not captured", "hint: ")
	r.itemsGoOn()
	r.Off(func() {
		localtest.Exec(t, r.DB, "RENAME TABLE orders_away TO orders")
		localtest.Exec(t, r.DB, "DELETE FROM orders WHERE id%7=0")
	})
	r.whole()
}
