package indextest

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"strata/catalog"
	"strata/fault"
	"strata/index"
)

// matchable are values of a Match that find some of the samples, alone or with others.
func matchable() []string {
	return []string{"a", "A", "é", "付款", "款付", "付 款", `"x 付"`, "付款y", "order", "ORDER 17", `"order 17"`, `"17 order"`, "José", "jose", "École", "STRASSE",
		"ラーメン", "ﾗｰﾒﾝ", "メン", "결제", "한국어", "が", "か", "abc", "ab", "订单 for", "1 付", "c"}
}

// notes is a dataset with two text columns and one that is none.
func notes() *catalog.Dataset {
	d := &catalog.Dataset{Name: "note", Table: "note", Key: []string{"id"}, Partitions: 1, Text: []string{"memo", "say \"it\""}}
	for _, name := range []string{"id", "memo", "say \"it\"", "plain"} {
		d.Columns = append(d.Columns, catalog.Column{Name: name, Type: catalog.Type{Kind: catalog.Text}, Collation: "utf8mb4_bin", Nullable: name != "id"})
	}
	return d
}

func note(id string, cells ...*string) catalog.Row {
	return catalog.RowOf(append([]*string{&id}, cells...)...)
}

// ids are the keys that a filter finds, which are as many as Count says.
func (s *suite) ids(f catalog.Filter) string {
	s.t.Helper()
	q := index.Search{Dataset: s.d.Name, Shards: []string{s.d.Table}, Filter: f, Order: s.keyOrder(), Limit: index.MaxLimit}
	p, err := s.x.Search(s.ctx, q)
	s.ok(err)
	n, err := s.x.Count(s.ctx, q)
	s.ok(err)
	var out []string
	for i := range p.Rows {
		out = append(out, p.Rows[i].Text(0))
	}
	if n != int64(len(out)) {
		s.t.Errorf("%.80s: Count says %d, found %v", f, n, out)
	}
	return strings.Join(out, " ")
}

func match(column, value string) catalog.Filter { return catalog.Cmp(column, catalog.Match, value) }

func words(t *testing.T, open Open) {
	s := start(t, open, notes())
	rows := []catalog.Row{
		note("a", new("Refund of Order 17, José"), new("付款"), nil),
		note("b", new("order 17 of a REFUND; Jose"), nil, new("付款")),
		note("c", nil, new("今天付款了 PAY"), nil),
		note("d", new("17 orders"), new("付了三笔款"), nil),
		note("e", new("ﾗｰﾒﾝ 한국어 결제 が"), new(""), nil),
		note("f", new(" — "), new("order"), nil),
		note("g", new(strings.Repeat("x", 200)+" "+strings.Repeat("付款", 4000)+" end of it"), new("a\x00b \"c\" AND NOT order OR *"), nil),
	}
	var docs []index.Document
	for i, r := range rows {
		docs = append(docs, Doc(s.d, "note", r, index.Version(i+1), false))
	}
	for i, o := range s.apply(docs...) {
		if o.Status != index.Applied {
			t.Fatalf("row %d: %+v", i, o)
		}
	}
	say := s.d.Text[1]
	for _, c := range []struct{ column, value, want string }{
		{"memo", "refund order", "a b"},
		{"memo", `"refund of order"`, "a"},
		{"memo", `"order 17"`, "a b"},
		{"memo", "17", "a b d"},
		{"memo", "order", "a b"},
		{"memo", "JOSÉ", "a"},
		{"memo", "jose", "b"},
		{"memo", "ラーメン", "e"},
		{"memo", "국어 결제", "e"},
		{"memo", "か", ""},
		{"memo", "付款", "g"},
		{"memo", `"款付款 END"`, "g"},
		{"memo", `"款 end of it"`, "g"},
		{"memo", strings.Repeat("X", 200), "g"},
		{"memo", strings.Repeat("x", 199), ""},
		{say, "付款", "a c"},
		{say, "款 付", "a c d"},
		{say, "付款了 pay", "c"},
		{say, "order", "f g"},
		{say, `"a b c and not order or"`, "g"},
		{"memo", strings.Repeat("付款", 50), "g"}, // as many words as there may be
		{"memo", strings.Repeat("17 ", 100), "a b d"},
	} {
		f := match(c.column, c.value)
		if got := s.ids(f); got != c.want {
			t.Errorf("%.80s: found %q, want %q", f, got, c.want)
		}
		not, want := catalog.Filter{Op: catalog.Not, Args: []catalog.Filter{f}}, ""
		for i := range rows {
			if not.Accepts(s.d, &rows[i]) {
				want += " " + rows[i].Text(0)
			}
		}
		if got := s.ids(not); got != strings.TrimSpace(want) {
			t.Errorf("not %.80s: found %q, want %q", f, got, want)
		}
	}
	for name, f := range map[string]catalog.Filter{"not declared": match("plain", "付款"), "no word": match("memo", "!?"), "an open quote": match("memo", `"a`)} {
		q := index.Search{Dataset: "note", Shards: []string{"note"}, Filter: f, Order: s.keyOrder(), Limit: 1}
		_, err := s.x.Search(s.ctx, q)
		_, err2 := s.x.Count(s.ctx, q)
		if !fault.Is(err, fault.Invalid) || !fault.Is(err2, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, %v", name, err, err2)
		}
	}
	other := notes()
	other.Text = append(other.Text, "plain")
	if err := s.x.Ensure(s.ctx, other); !fault.Is(err, fault.Unsafe) || fault.HintOf(err) == "" || !strings.Contains(err.Error(), "plain") {
		t.Errorf("a text column that was added: %v", err)
	}
	other.Text = other.Text[:1]
	s.ok(s.x.Ensure(s.ctx, other))
	other.Name, other.Text = "other", []string{"nope"}
	if err := s.x.Ensure(s.ctx, other); !fault.Is(err, fault.Invalid) {
		t.Errorf("a text column that isn't there: %v", err)
	}
}

// wordsModel applies random batches with replays, old images and deletes; a Match must find exactly the newest images.
func wordsModel(t *testing.T, open Open) {
	all, n := start(t, open, notes()), 0
	memos := []*string{nil, new(""), new("alpha"), new("alpha beta"), new("付款"), new("款付 alpha")}
	rapid.Check(t, func(rt *rapid.T) {
		n++
		s := all.with(rt)
		type image struct {
			memo *string
			gone bool
		}
		newest, images := map[int]index.Version{}, map[index.Version]image{}
		key := func(k int) string { return fmt.Sprintf("%d-%d", n, k) }
		for range rapid.IntRange(1, 8).Draw(rt, "batches") {
			var docs []index.Document
			for range rapid.IntRange(1, 5).Draw(rt, "documents") {
				k := rapid.IntRange(1, 3).Draw(rt, "key")
				v := index.MakeVersion(uint32(rapid.IntRange(1, 2).Draw(rt, "term")), uint64(rapid.IntRange(1, 6).Draw(rt, "n"))*10+uint64(k))
				im, known := images[v]
				if !known {
					im = image{rapid.SampledFrom(memos).Draw(rt, "memo"), rapid.IntRange(0, 4).Draw(rt, "gone") == 0}
					images[v] = im
				}
				doc := Doc(s.d, "note", note(key(k), im.memo, nil, nil), v, im.gone)
				if im.gone && rapid.Bool().Draw(rt, "bare") {
					doc.After = nil
				}
				docs = append(docs, doc)
				newest[k] = max(newest[k], v)
			}
			_, err := s.x.Apply(s.ctx, s.d.Name, docs)
			s.ok(err)
		}
		s.ok(s.x.Refresh(s.ctx, s.d.Name))
		for _, value := range []string{"alpha", "beta", "付款"} {
			f, want := match("memo", value), ""
			for k := 1; k <= 3; k++ {
				im := images[newest[k]]
				row := note(key(k), im.memo, nil, nil)
				if newest[k] > 0 && !im.gone && f.Accepts(s.d, &row) {
					want += " " + key(k)
				}
			}
			mine := catalog.AndAll(f, catalog.Cmp("id", catalog.Prefix, fmt.Sprintf("%d-", n)))
			if got := s.ids(mine); got != strings.TrimSpace(want) {
				rt.Fatalf("%s: found %q, want %q", f, got, want)
			}
		}
	})
}
