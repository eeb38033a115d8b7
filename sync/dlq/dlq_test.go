package dlq_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"strata/canal"
	"strata/fault"
	"strata/index"
	"strata/sync/dlq"
)

// TestL3_a_letter_is_listed_once_whatever_crashes_between_it_and_the_watermark
func TestL3_a_letter_is_listed_once_whatever_crashes_between_it_and_the_watermark(t *testing.T) {
	dead := errors.New("dead")
	for _, point := range []string{"sync.letter", "sync.lettered", "sync.refresh", "sync.watermark", "sync.watermarked", ""} {
		r := newRig(t)
		r.change(1, 10)
		id, version := r.change(2, 20)
		r.change(3, 30)
		r.x.say(id, "the index is picky")
		if point != "" {
			if err := r.sync(func(p string) error {
				if p == point {
					return dead
				}
				return nil
			}); !errors.Is(err, dead) {
				t.Fatalf("%s: %v", point, err)
			}
		}
		r.ok(r.sync(nil))
		list := r.letters(r.book())
		if len(list) != 1 {
			t.Fatalf("%s: %d letters", point, len(list))
		}
		l := list[0]
		if l.State != dlq.Open || l.Key != "2,1" || l.Shard != "entry_202611" || l.Version != version || !strings.Contains(l.Reason, "picky") || l.Offset != 3 || l.Partition != 0 {
			t.Errorf("%s: %+v", point, l)
		}
		n, low, err := r.book().OpenLetters(t.Context(), r.d.Name)
		if err != nil || n != 1 || low != version {
			t.Errorf("%s: %d open from %d, %v", point, n, low, err)
		}
		if v, _ := r.stored(id); v != 0 {
			t.Errorf("%s: it is in the index", point)
		}
	}
}

// TestL2_a_replay_keeps_its_version: refused again it stays open; where the index has something newer by then, that stays.
func TestL2_a_replay_keeps_its_version(t *testing.T) {
	r := newRig(t)
	id, version := r.change(2, 20)
	other, _ := r.change(4, 40)
	r.x.say(id, "the index is picky")
	r.x.say(other, "the index is picky")
	r.ok(r.sync(nil))
	b := r.book()
	replay := func() []dlq.Result {
		t.Helper()
		var open []dlq.Letter
		for _, l := range r.letters(b) {
			if l.State == dlq.Open {
				open = append(open, l)
			}
		}
		got, err := b.Replay(t.Context(), open, "me", "the mapping is mended")
		r.ok(err)
		return got
	}
	r.x.say(id, "it still is")
	if got := replay(); len(got) != 2 || got[0].State != dlq.Open || got[0].Detail != "it still is" {
		t.Errorf("refused again: %+v", got)
	}
	if list := r.letters(b); list[0].State != dlq.Open || list[0].Reason != "it still is" {
		t.Errorf("refused again: %+v", list)
	}
	r.x.say(other, "")
	_, newest := r.change(4, 41) // the row goes on, and its letter is of no interest any more
	r.ok(r.sync(nil))
	if list := r.letters(b); list[1].State != dlq.Outdated {
		t.Errorf("the index has a newer one: %+v", list[1])
	}
	list := r.letters(b)
	if got, err := b.Replay(t.Context(), list[1:], "me", "by mistake"); err != nil || got[0].State != dlq.Replayed {
		t.Errorf("%+v %v", got, err)
	}
	if v, amount := r.stored(other); v != newest || amount != "41" {
		t.Errorf("version %d with amount %s, not %d", v, amount, newest)
	}
	r.x.say(id, "")
	if got := replay(); len(got) != 1 || got[0].State != dlq.Replayed {
		t.Errorf("replayed: %+v", got)
	}
	if v, amount := r.stored(id); v != version || amount != "20" {
		t.Errorf("version %d with amount %s, not %d", v, amount, version)
	}
	if list := r.letters(b); list[0].State != dlq.Replayed || list[0].Who != "me" || list[0].Why != "the mapping is mended" {
		t.Errorf("%+v", list[0])
	}
	if n, low, err := b.OpenLetters(t.Context(), r.d.Name); err != nil || n != 0 || low != 0 {
		t.Errorf("%d open from %d, %v", n, low, err)
	}
	if e := r.desk.evidence; len(e) == 0 || e[0].What != "letter" || e[0].Who != "me" || !strings.Contains(e[0].Detail, `"key":"2,1"`) {
		t.Errorf("evidence %+v", e)
	}
}

// TestCrash dies at every point of closing, and does it again.
func TestCrash(t *testing.T) {
	dead := errors.New("dead")
	for _, drop := range []bool{false, true} {
		for _, point := range dlq.CrashPoints() {
			if drop && strings.HasPrefix(point, "dlq.appl") {
				continue
			}
			t.Run(fmt.Sprintf("%s drop %t", point, drop), func(t *testing.T) {
				r := newRig(t)
				id, version := r.change(2, 20)
				r.x.say(id, "picky")
				r.ok(r.sync(nil))
				r.x.say(id, "")
				end := func(b *dlq.Book) error {
					list := r.letters(b)
					var err error
					switch {
					case list[0].State != dlq.Open && list[0].State != dlq.Outdated:
					case drop:
						_, err = b.Drop(t.Context(), list, "me", "why not")
					default:
						_, err = b.Replay(t.Context(), list, "me", "why not")
					}
					return err
				}
				r.at = func(p string) error {
					if p == point {
						return dead
					}
					return nil
				}
				if err := end(r.book()); !errors.Is(err, dead) {
					t.Fatal(err)
				}
				r.at = nil
				r.ok(end(r.book()))
				list, want := r.letters(r.book()), dlq.Replayed
				if drop {
					want = dlq.Dropped
				}
				if len(list) != 1 || list[0].State != want {
					t.Errorf("%+v", list)
				}
				if v, _ := r.stored(id); (v == version) == drop {
					t.Errorf("version %d in the index", v)
				}
			})
		}
	}
}

func TestLetters_of_canal(t *testing.T) {
	r := newRig(t)
	r.ok(r.sync(nil))
	box := dlq.NewOutbox(r.sink)
	defer func() { r.ok(box.Close()) }()
	send := func(v canal.Letter) index.Version {
		r.seq++
		b, err := json.Marshal(v)
		r.ok(err)
		r.ok(box.Send(t.Context(), r.d.Name, []canal.Record{{Key: v.Key, Value: b, Header: canal.Header{Term: 1, Seq: r.seq, Kind: canal.KindLetter, GTID: v.GTID, Ordinal: v.Row}}}))
		return index.MakeVersion(1, r.seq)
	}
	large := canal.Letter{Key: json.RawMessage(`{"account_id":5,"seq":1}`), Shard: "entry_202611", Op: "u", GTID: "0-1-7", Row: 2, Bytes: 9 << 20, Reason: "too large", TsMs: 1}
	send(large)
	send(large) // again, by the next term
	read := large
	read.GTID, read.Row, read.Key = "", 0, json.RawMessage(`{"account_id":6,"seq":1}`)
	low := send(read)
	b := r.book()
	list := r.letters(b)
	if len(list) != 2 || list[0].Name != "0-1-7#2" || list[0].Sent != 2 || !list[0].FromCanal || list[0].Key != "5,1" || list[1].State != dlq.Open {
		t.Fatalf("%+v", list)
	}
	got, err := b.Replay(t.Context(), list[1:], "me", "smaller now")
	r.ok(err)
	if len(got) != 1 || got[0].State != dlq.Open || len(r.desk.keys) != 1 || r.desk.keys[0].Key != "6,1" || r.desk.keys[0].Shard != "entry_202611" {
		t.Errorf("%+v, keys %+v", got, r.desk.keys)
	}
	r.change(5, 50)
	r.ok(r.sync(nil))
	if list := r.letters(b); list[0].State != dlq.Outdated || list[1].State != dlq.Open {
		t.Errorf("after the row came: %+v", list)
	}
	if n, v, err := b.OpenLetters(t.Context(), r.d.Name); err != nil || n != 1 || v != low {
		t.Errorf("%d open from %d, %v", n, v, err)
	}
	_, err = b.Drop(t.Context(), list[1:], "me", "nobody wants it")
	r.ok(err)
	if list := r.letters(b); list[1].State != dlq.Dropped {
		t.Errorf("%+v", list[1])
	}
	send(read) // the row is read once more, and is too large once more
	if list := r.letters(b); len(list) != 2 || list[1].State != dlq.Open {
		t.Errorf("%+v", list[1])
	}
}

func TestBook_refuses(t *testing.T) {
	r := newRig(t)
	b := r.book()
	if _, err := b.List(t.Context(), "nothing"); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown dataset: %v", err)
	}
	if l, err := b.List(t.Context(), r.d.Name); err != nil || len(l.Letters) != 0 || l.Letters == nil {
		t.Errorf("without a topic: %+v %v", l, err)
	}
	id, _ := r.change(2, 20)
	r.x.say(id, "picky")
	r.ok(r.sync(nil))
	if list := r.letters(b); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	r.sink.Drop(canal.DeadLetters(r.d.Name)) // somebody deletes the topic
	if list := r.letters(b); len(list) != 0 {
		t.Errorf("of a topic that is gone: %+v", list)
	}
}
