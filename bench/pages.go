package main

import (
	"context"
	"fmt"
	"time"

	"strata/fault"
	"strata/router"
)

// deepPages walks over all rows by cursors, then asks the first pages and those around page 5000 in turn.
func (q *queryRun) deepPages(ctx context.Context) error {
	q.s.set("pages", fmt.Sprintf("%d rows each of all entries by accounting_date and key; first: pages 1 to %d, around %d: pages %d to %d, each %d times a round; on the way there %d page(s) at a time",
		q.sz.pageSize, nearby, deepPage, deepPage-nearby+1, deepPage, q.sz.deepAsks, q.sz.step))
	first, deep, err := q.walk(ctx)
	if err != nil {
		return err
	}
	q.s.say("page %d is reached", deepPage)
	if err := q.checkDeep(ctx, deep[nearby-1]); err != nil {
		return err
	}
	offset := func(round int) error {
		times := make([]float64, q.sz.offsets)
		for i := range times {
			began := time.Now()
			if _, err := q.plain.read(ctx, q.plain.page, q.sz.pageSize, (deepPage-1)*q.sz.pageSize); err != nil {
				return err
			}
			times[i] = ms(time.Since(began))
		}
		q.s.note(Run{"pages by cursor", "plain table, OFFSET", round, map[string]float64{"asks": float64(len(times)), "page_5000_p50_ms": percentile(times, 50)}})
		return nil
	}
	return q.s.InTurn(q.pagesSide(ctx, "strata, page 5000", deep), q.pagesSide(ctx, "strata, first", first), offset)
}

// walk follows the cursors to page 5000 and returns those of the first pages and of the pages around it.
func (q *queryRun) walk(ctx context.Context) (first, deep []string, err error) {
	cursor := ""
	var times []float64
	for page := 1; page <= deepPage; {
		n := 1
		if page > nearby && page+q.sz.step <= deepPage-nearby {
			n = q.sz.step
		}
		if page <= nearby {
			first = append(first, cursor)
		}
		if page > deepPage-nearby {
			deep = append(deep, cursor)
		}
		began := time.Now()
		keys, next, err := q.page(ctx, router.Query{Dataset: "entry", Limit: n * q.sz.pageSize, Cursor: cursor})
		if err != nil {
			return nil, nil, fmt.Errorf("page %d: %w", page, err)
		}
		if len(keys) != n*q.sz.pageSize {
			return nil, nil, fault.New(fault.TooLarge, "walk to page 5000", "page %d has %d rows of %d", page, len(keys), q.sz.pageSize)
		}
		if n == 1 {
			times = append(times, ms(time.Since(began)))
		}
		cursor, page = next, page+n
	}
	tenth := max(len(times)/10, 1)
	q.s.note(Run{"walk", "strata", 1, map[string]float64{"pages_asked": float64(len(times)), "p50_ms": percentile(times, 50), "p99_ms": percentile(times, 99),
		"first_tenth_p50_ms": percentile(times[:tenth], 50), "last_tenth_p50_ms": percentile(times[len(times)-tenth:], 50)}})
	return first, deep, nil
}

// checkDeep compares page 5000 with the plain table's.
func (q *queryRun) checkDeep(ctx context.Context, cursor string) error {
	ours := func(cursor string) ([]string, error) {
		keys, _, err := q.page(ctx, router.Query{Dataset: "entry", Limit: q.sz.pageSize, Cursor: cursor})
		return keys, err
	}
	plain := func(string) ([]string, error) {
		return q.plain.read(ctx, q.plain.page, q.sz.pageSize, (deepPage-1)*q.sz.pageSize)
	}
	return sameKeys("page 5000", ours, plain, cursor)
}

// pagesSide asks the pages behind the cursors, again and again.
func (q *queryRun) pagesSide(ctx context.Context, name string, cursors []string) func(round int) error {
	return func(round int) error {
		var times []float64
		for range q.sz.deepAsks {
			for _, c := range cursors {
				began := time.Now()
				if _, _, err := q.page(ctx, router.Query{Dataset: "entry", Limit: q.sz.pageSize, Cursor: c}); err != nil {
					return err
				}
				times = append(times, ms(time.Since(began)))
			}
		}
		q.s.note(Run{"pages by cursor", name, round, map[string]float64{"asks": float64(len(times)), "p50_ms": percentile(times, 50), "p99_ms": percentile(times, 99)}})
		return nil
	}
}
