package elastic

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"strata/catalog"
)

// pile is a shard's documents by their sort values, in order, and looks into as Elasticsearch does.
type pile struct {
	fields []*field
	docs   [][]string // JSON
	looked int        // documents that all pages together had to choose from
	pages  int
}

func (p *pile) compare(column int, a, b string) int {
	if p.fields[column].form == asLong {
		x, _ := strconv.ParseInt(a, 10, 64)
		y, _ := strconv.ParseInt(b, 10, 64)
		return cmp.Compare(x, y)
	}
	x, _ := unquote([]byte(a))
	y, _ := unquote([]byte(b))
	return cmp.Compare(x, y)
}

func (p *pile) sort() {
	slices.SortFunc(p.docs, func(a, b []string) int {
		for i := range a {
			if c := p.compare(i, a[i], b[i]); c != 0 {
				return c
			}
		}
		return 0
	})
}

// page is the places of up to size documents of the window behind a place.
func (p *pile) page(n *window, after, size int) (out []int) {
	p.pages++
	for at, doc := range p.docs {
		in := at > after
		for i, v := range n.fixed {
			in = in && p.compare(i, doc[i], string(v)) == 0
		}
		i := len(n.fixed)
		in = in && (n.above == nil || p.compare(i, doc[i], string(n.above)) > 0) && (n.upTo == nil || p.compare(i, doc[i], string(n.upTo)) <= 0)
		if !in {
			continue
		}
		if p.looked++; len(out) < size {
			out = append(out, at)
		}
	}
	return out
}

// walk is what digests does, from the first document or from behind one.
func (p *pile) walk(t *testing.T, n *window, after, size int) (out []int) {
	t.Helper()
	for {
		page := p.page(n, after, size)
		out = append(out, page...)
		switch {
		case len(page) == size:
			n.full([]byte("["+strings.Join(p.docs[page[0]], ",")+"]"), []byte("["+strings.Join(p.docs[page[size-1]], ",")+"]"), size, size)
			after = page[size-1]
		case !n.spent(len(page), size):
			return out
		default:
			after = -1
		}
	}
}

// shapes are keys as people make them, by number.
func shapes() map[string]func(i int, dice *rand.Rand) string {
	quoted := func(s string) string { raw, _ := json.Marshal(s); return string(raw) }
	return map[string]func(i int, dice *rand.Rand) string{
		"counted":      func(i int, _ *rand.Rand) string { return quoted(fmt.Sprintf("t-%09d", i/2)) },
		"plain digits": func(i int, _ *rand.Rand) string { return quoted(strconv.Itoa(i)) },
		"random":       func(_ int, dice *rand.Rand) string { return quoted(fmt.Sprintf("%016x", dice.Uint64())) },
		"far apart": func(i int, _ *rand.Rand) string {
			return quoted([]string{"a", "zz", "付款", "\U0010ffff\U0010ffff", "\x00", "", "é"}[i%7] + strconv.Itoa(i))
		},
		"one value": func(int, *rand.Rand) string { return quoted("EUR") },
		"one begin": func(i int, _ *rand.Rand) string { return quoted(strings.Repeat("x", 2*placeBytes) + strconv.Itoa(i)) },
		"any bytes": func(_ int, dice *rand.Rand) string {
			b := make([]byte, dice.IntN(5))
			for i := range b {
				b[i] = byte(dice.IntN(256))
			}
			return quoted(string(b))
		},
	}
}

// TestL7_windows_leave_no_document_out walks over keys of every shape in pages that are far too small for them.
func TestL7_windows_leave_no_document_out(t *testing.T) {
	numbers := map[string]func(i int, dice *rand.Rand) string{
		"rising": func(i int, _ *rand.Rand) string { return strconv.Itoa(i) },
		"skewed": func(i int, dice *rand.Rand) string {
			if i%2 == 0 {
				return "1001"
			}
			return strconv.Itoa(dice.IntN(5000))
		},
		"anywhere": func(_ int, dice *rand.Rand) string { return strconv.FormatInt(int64(dice.Uint64()), 10) },
		"edges": func(i int, _ *rand.Rand) string {
			return strconv.FormatInt([]int64{math.MinInt64, math.MinInt64 + 1, 0, math.MaxInt64}[i%4], 10)
		},
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for first, one := range shapes() {
		for second, two := range numbers {
			dice := rand.New(rand.NewPCG(seed, 1))
			text := &field{name: "t", t: catalog.Type{Kind: catalog.Text}, form: asKeyword}
			number := &field{name: "n", t: catalog.Type{Kind: catalog.Int, Size: 8}, form: asLong}
			for _, p := range []*pile{{fields: []*field{text, number}}, {fields: []*field{number, text}}} {
				for i := range 150 {
					doc := []string{one(i, dice), two(i, dice)}
					if p.fields[0] == number {
						slices.Reverse(doc)
					}
					p.docs = append(p.docs, doc)
				}
				p.sort()
				for _, size := range []int{1, 7, 50, 149, 150, 1000} {
					s := &shard{}
					for range 2 { // the second time it is known how wide a page is
						if got := p.walk(t, &window{fields: p.fields, shard: s, wide: s.wide.Load()}, -1, size); !countsUp(got, 0, len(p.docs)) {
							t.Fatalf("%s, %s, pages of %d: %d documents of %d", first, second, size, len(got), len(p.docs))
						}
					}
				}
			}
		}
	}
}

// countsUp reports whether the list is from, from+1, … to-1.
func countsUp(list []int, from, to int) bool {
	for i, v := range list {
		if v != from+i {
			return false
		}
	}
	return len(list) == to-from
}

// TestWindow_bounds_what_a_page_is_chosen_from: without one, 10,000 documents in pages of 50 are a million to choose from.
func TestWindow_bounds_what_a_page_is_chosen_from(t *testing.T) {
	const n, size = 10_000, 50
	dice := rand.New(rand.NewPCG(7, 7))
	for _, name := range []string{"counted", "random"} {
		p := &pile{fields: []*field{{name: "t", t: catalog.Type{Kind: catalog.Text}, form: asKeyword}}}
		for i := range n {
			p.docs = append(p.docs, []string{shapes()[name](i, dice)})
		}
		p.sort()
		p.walk(t, &window{fields: p.fields, shard: &shard{}}, -1, size)
		if p.looked > 8*n || p.pages > 4*n/size {
			t.Errorf("%s: %d pages looked at %d documents of %d", name, p.pages, p.looked, n)
		}
	}
}
