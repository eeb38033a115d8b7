package soaktest

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"sync"

	"strata/local/localtest"
)

// Write runs a load beside f, and leaves nothing of it open.
func (r *Rig) Write(f func()) {
	ctx, cancel := context.WithCancel(r.T.Context())
	defer cancel()
	var writers sync.WaitGroup
	for range 4 {
		seed := r.Rnd.Uint64()
		writers.Go(func() { r.Load.run(ctx, rand.New(rand.NewPCG(seed, 1))) })
	}
	f()
	cancel()
	writers.Wait()
	localtest.Eventually(r.T, Limit, "the end of what was prepared", func() (bool, error) { return r.Load.Settle(r.T.Context()) })
}

// Commits waits until the load has committed so many transactions more.
func (r *Rig) Commits(n int64) {
	goal := r.Load.Commits.Load() + n
	localtest.Eventually(r.T, Limit, "commits", func() (bool, error) { return r.Load.Commits.Load() >= goal, r.Alive() })
}

// Committed is Commits while the processes are down.
func (r *Rig) Committed(n int64) {
	goal := r.Load.Commits.Load() + n
	localtest.Eventually(r.T, Limit, "commits", func() (bool, error) { return r.Load.Commits.Load() >= goal, nil })
}

// Table is rows by key, as text.
func (r *Rig) Table(query string) map[string][]string {
	rows, err := r.DB.QueryContext(r.T.Context(), query)
	r.Fatal(err)
	defer rows.Close()
	columns, err := rows.Columns()
	r.Fatal(err)
	out := map[string][]string{}
	for rows.Next() {
		cells := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		r.Fatal(rows.Scan(into...))
		var text []string
		for _, c := range cells[1:] {
			if !c.Valid {
				c.String = "<nil>"
			}
			text = append(text, c.String)
		}
		out[cells[0].String] = text
	}
	r.Fatal(rows.Err())
	return out
}
