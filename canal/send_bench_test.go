package canal

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"strata/catalog"
)

// void takes everything at once.
type void struct {
	Source
	Sink
	Control
	Lease
}

func (void) Origin() Origin                                       { return Origin{Connector: "mariadb", Schema: "shop"} }
func (void) Producer(context.Context) (Producer, error)           { return void{}, nil }
func (void) Send(context.Context, []Record) error                 { return nil }
func (void) Flush(context.Context) error                          { return nil }
func (void) Acked(string, int32) int64                            { return 0 }
func (void) Close() error                                         { return nil }
func (void) Ensure(context.Context, *catalog.Dataset, bool) error { return nil }

// testTerm is a term without its rites.
func testTerm(tb testing.TB, cfg Config) *term {
	tb.Helper()
	v := void{}
	cfg.Name, cfg.Holder, cfg.Log, cfg.Now = "test", "a", slog.New(slog.DiscardHandler), func() time.Time { return time.UnixMilli(1_700_000_000_123) }
	if cfg.Source == nil {
		cfg.Source = v
	}
	if cfg.Sink == nil {
		cfg.Sink = v
	}
	cfg.Control, cfg.Lease = v, v
	l, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	t := newTerm(l, context.Background())
	t.number.Store(3)
	if t.producer, err = l.cfg.Sink.Producer(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return t
}

// payments is a dataset as they often are, with 12 columns.
func payments() *catalog.Dataset {
	text := catalog.Type{Kind: catalog.Text}
	return &catalog.Dataset{Name: "payment", Table: "payment", Key: []string{"account_id", "seq"}, Partitions: 8, Columns: []catalog.Column{
		{Name: "account_id", Type: catalog.Type{Kind: catalog.Int, Size: 8}}, {Name: "seq", Type: catalog.Type{Kind: catalog.Int, Size: 8}},
		{Name: "transfer_id", Type: text}, {Name: "amount", Type: catalog.Type{Kind: catalog.Int, Size: 8}},
		{Name: "fee", Type: catalog.Type{Kind: catalog.Decimal, Scale: 4}, Nullable: true}, {Name: "currency", Type: text},
		{Name: "status", Type: catalog.Type{Kind: catalog.Enum}}, {Name: "accounting_date", Type: catalog.Type{Kind: catalog.Date}},
		{Name: "order_time", Type: catalog.Type{Kind: catalog.DateTime, FSP: 6}}, {Name: "memo", Type: text, Nullable: true},
		{Name: "card", Type: text, Nullable: true}, {Name: "flags", Type: catalog.Type{Kind: catalog.Uint, Size: 4}}}}
}

func payment(i int) catalog.Row {
	var r catalog.Row
	for _, c := range []string{fmt.Sprint(1_000_000 + i%997), fmt.Sprint(i), fmt.Sprintf("tr-2026-11-%012d", i), fmt.Sprint(i*37 - 500), "12.3400", "EUR",
		"posted", "2026-11-22", "2026-11-22 09:47:48.657066", "an order of three things", "4111111111111111", "5"} {
		r.AppendString(c)
	}
	return r
}

// cpu is what this process has used, so that other load on the machine doesn't count.
func cpu() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkSend is the way from a transaction to its records, without a producer.
func BenchmarkSend(b *testing.B) {
	const rows = 1000
	bench := func(name string, cfg Config, form func(d *catalog.Dataset) *Form, op Op) {
		b.Run(name, func(b *testing.B) {
			d := payments()
			if cfg.MaskKey != nil {
				d.Masks = []catalog.Mask{{Column: "card", Kind: catalog.MaskLast4}, {Column: "memo", Kind: catalog.MaskHash}}
			}
			cfg.Datasets = []*catalog.Dataset{d}
			t := testTerm(b, cfg)
			x := &Txn{GTID: "0-1-123456", ServerID: 1, Time: 1_700_000_000}
			var f *Form
			if form != nil {
				f = form(d)
			}
			for i := range rows {
				c := Change{Dataset: d, Shard: "payment", Op: op, After: payment(i), Ordinal: uint32(i), Form: f}
				if f != nil {
					c.After = catalog.Row{}
					c.After.AppendString("new")
					for at := range 11 {
						p := payment(i)
						c.After.Append(p.Cell(at))
					}
				}
				if op != Insert {
					c.Before = payment(i)
				}
				x.Changes = append(x.Changes, c)
			}
			b.ReportAllocs()
			from := cpu()
			for b.Loop() {
				if err := t.changes(context.Background(), x); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu()-from)/float64(b.N)/rows, "cpu-ns/row")
		})
	}
	bench("insert", Config{}, nil, Insert)
	bench("update", Config{}, nil, Update)
	bench("insert_with_schema", Config{Envelope: WithSchema}, nil, Insert)
	bench("insert_masked", Config{MaskKey: make([]byte, 16)}, nil, Insert)
	bench("insert_of_another_form", Config{}, func(d *catalog.Dataset) *Form {
		f := &Form{Columns: append([]catalog.Column{{Name: "added", Type: catalog.Type{Kind: catalog.Text}}}, d.Columns[:11]...)}
		for i := range d.Columns {
			f.At = append(f.At, i+1)
		}
		f.At[11] = -1
		return f
	}, Insert)
}
