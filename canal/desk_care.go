package canal

import (
	"strata/catalog"
)

// care is what a term does for one dataset beside sending its changes.
type care struct {
	keys    keyer
	lowered *Lowered
	tell    bool     // the lowered claim is to be sent as soon as it may be
	mark    Mark     // the last one claimed by this term
	mend    TaskKind // the task that a stop of its own accord needs; "": none
	fills   []*fill  // backfills that are running
	watched map[rowName]*watch
	alarms  uint64 // statements that changed its tables, in this term

	xa map[rowName]xaTouch
	// xaLost is the time of XA commits whose keys are not known, MaxInstant until a heartbeat comes; 0: all are known.
	xaLost catalog.Instant
}

// rowName is a row of a dataset.
type rowName struct {
	shard string
	key   catalog.Key
}

// watch says what the stream did to a key while a repair reads it.
type watch struct {
	readers int
	gtid    string // of the last transaction that changed it; "": none
}

// xaTouch says when an XA transaction changed a key.
type xaTouch struct {
	beat uint64          // the last heartbeat before its commit
	at   catalog.Instant // of the first heartbeat after it; MaxInstant: it hasn't come yet
}

const (
	// xaWindow: rows that an XA transaction changed so long before a snapshot may be in it as they were before, since its
	// commit is outside of the order in which others become visible.
	xaWindow = catalog.Instant(60_000_000)
	// maxTouched bounds the keys that are recorded of a dataset: about 100 bytes each.
	maxTouched = 200_000
)

func newCare(d *catalog.Dataset) *care {
	return &care{keys: keyer{own: d.KeyIndexes()}, watched: make(map[rowName]*watch), xa: make(map[rowName]xaTouch)}
}

// listens reports whether changed keys are to be recorded.
func (c *care) listens() bool { return len(c.fills) > 0 || len(c.watched) > 0 }

// touch records that a change is about to be sent; beat is the last heartbeat before it.
func (c *care) touch(ch *Change, x *Txn, beat uint64) {
	keys, n := c.keys.of(ch)
	for _, k := range keys[:n] {
		name := rowName{ch.Shard, k}
		if w := c.watched[name]; w != nil {
			w.gtid = x.GTID
		}
		for _, f := range c.fills {
			f.touched[name] = beat
		}
	}
	if x.XACommit {
		c.touchXA(ch, beat)
	}
}

// touchXA records a change of an XA transaction whose outcome was read.
func (c *care) touchXA(ch *Change, beat uint64) {
	keys, n := c.keys.of(ch)
	for _, k := range keys[:n] {
		if len(c.xa) >= maxTouched {
			clear(c.xa)
			c.xaLost = catalog.MaxInstant
		}
		c.xa[rowName{ch.Shard, k}] = xaTouch{beat, catalog.MaxInstant}
	}
}

// beat dates the XA transactions since the last heartbeat, and forgets those that no snapshot can miss any more: needed is
// the time of the oldest snapshot in hand.
func (c *care) beat(at, needed catalog.Instant) {
	c.xaLost = min(c.xaLost, at)
	for name, touch := range c.xa {
		if touch.at < needed-2*xaWindow {
			delete(c.xa, name)
		} else if touch.at > at { // it is new, or the clock was set back
			c.xa[name] = xaTouch{touch.beat, at}
		}
	}
}

// keyer takes the keys out of changes. One goroutine.
type keyer struct {
	own  []int
	form *Form
	at   []int
}

// place is where rows of a form have the key's columns.
func (k *keyer) place(form *Form) []int {
	if form == nil {
		return k.own
	}
	if k.form != form {
		k.form, k.at = form, make([]int, len(k.own))
		for i, own := range k.own {
			k.at[i] = form.At[own]
		}
	}
	return k.at
}

// of returns the keys that a change concerns.
func (k *keyer) of(c *Change) (keys [2]catalog.Key, n int) {
	at := k.place(c.Form)
	if c.Op != Insert {
		keys[n], n = catalog.KeyOf(&c.Before, at), n+1
	}
	if c.Op != Delete {
		keys[n], n = catalog.KeyOf(&c.After, at), n+1
		if n == 2 && keys[0] == keys[1] {
			n = 1
		}
	}
	return keys, n
}
