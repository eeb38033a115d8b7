package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/local/localtest"
	"strata/local/soaktest"
)

// honest counts what readers found.
type honest struct {
	tries     atomic.Int64 // answered by the index
	elsewhere atomic.Int64 // answered by live, as the index was away
	refused   atomic.Int64
	mu        sync.Mutex
	wrong     []string
	why       string // of the last that was refused
}

// lied is an error where a reader did not see what it must.
func (h *honest) lied() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.wrong) > 0 {
		return errors.New(strings.Join(h.wrong, "\n"))
	}
	return nil
}

func (h *honest) fault(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.wrong) < 10 {
		h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
	}
}

// answer is what GraphQL says of orders.
type answer struct {
	Data struct {
		Orders *struct {
			Edges []struct {
				Node struct {
					ID string `json:"id"`
					V  string `json:"v"`
				} `json:"node"`
			} `json:"edges"`
			Served struct {
				Complete bool   `json:"complete"`
				Position string `json:"position"`
				Sources  []struct {
					Source string `json:"source"`
				} `json:"sources"`
			} `json:"served"`
		} `json:"orders"`
	} `json:"data"`
	Errors []struct {
		Message string `json:"message"`
	} `json:"errors"`
}

// door is the address of the first process with a role, as it said last; "" where it has said none.
func (r *rig) door(role string) string {
	said := r.Procs[r.with(role)[0]].Said()
	_, url, ok := strings.Cut(said[max(0, strings.LastIndex(said, "msg=serving")):], "url=")
	if !ok {
		return ""
	}
	return strings.Fields(url)[0]
}

// find asks for the orders with a note at a position or later.
func (r *rig) find(ctx context.Context, note string, position uint64) (answer, error) {
	var a answer
	text, err := json.Marshal(map[string]any{"query": fmt.Sprintf(
		`{orders(filter: {note: {eq: %q}}, freshness: {atLeast: "%d", waitMs: 20000}) {edges {node {id v}} served {complete position sources {source}}}}`, note, position)})
	if err != nil {
		return a, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.door("router")+"/graphql", bytes.NewReader(text))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	if err == nil && len(a.Errors) > 0 {
		err = fmt.Errorf("%s", a.Errors[0].Message)
	}
	if err == nil && a.Data.Orders == nil {
		err = fmt.Errorf("no answer in %s", raw)
	}
	return a, err
}

// reader commits rows of its own and looks for each until ctx ends.
func (r *rig) reader(ctx context.Context, h *honest, number int, rnd *rand.Rand) {
	alive := map[int]bool{}
	was := map[int]string{} // the note of a key
	for v := 1; ctx.Err() == nil; v++ {
		key := 1_000_000*(number+1) + rnd.IntN(50)
		note := fmt.Sprintf("reader %d, try %d", number, v)
		q, args := "INSERT INTO orders VALUES (?,?,?,0,'2026-11-22') ON DUPLICATE KEY UPDATE v=VALUES(v), note=VALUES(note)", []any{key, v, note}
		gone := alive[key] && rnd.IntN(4) == 0
		if gone {
			q, args, note = "DELETE FROM orders WHERE id=?", []any{key}, was[key]
		}
		if _, err := r.DB.ExecContext(ctx, q, args...); err != nil {
			continue // live is there, so this is the end
		}
		alive[key], was[key] = !gone, note
		var next uint64
		if err := r.DB.QueryRowContext(ctx, "SELECT seq+1 FROM strata_heartbeat WHERE id=1").Scan(&next); err != nil {
			continue
		}
		r.look(ctx, h, note, next, key, v, gone)
	}
}

// look asks until the index has answered, or live in its place, and judges that.
func (r *rig) look(ctx context.Context, h *honest, note string, position uint64, key, v int, gone bool) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil {
		a, err := r.find(ctx, note, position)
		if err != nil { // a part of the way is away: a reader asks again
			h.refused.Add(1)
			h.mu.Lock()
			h.why = err.Error()
			h.mu.Unlock()
			select {
			case <-again.C:
			case <-ctx.Done():
			}
			continue
		}
		o := a.Data.Orders
		if len(o.Served.Sources) != 1 || o.Served.Sources[0].Source != "index" {
			h.elsewhere.Add(1)
			return
		}
		h.tries.Add(1)
		found := len(o.Edges) == 1 && o.Edges[0].Node.ID == fmt.Sprint(key) && o.Edges[0].Node.V == fmt.Sprint(v)
		if !o.Served.Complete || gone && len(o.Edges) != 0 || !gone && !found {
			h.fault("%q (deleted: %v) at position %d: %+v", note, gone, position, *o)
		}
		return
	}
}

// readers lets some of them try until so many tries were answered by the index, with something happening after every share.
func (r *rig) readers(tries int64, happen []func() string) {
	r.T.Helper()
	h := &honest{}
	ctx, cancel := context.WithCancel(r.T.Context())
	var done sync.WaitGroup
	for n := range 6 {
		seed := r.Rnd.Uint64()
		done.Go(func() { r.reader(ctx, h, n, rand.New(rand.NewPCG(seed, 2))) })
	}
	share := max(tries/events, 1)
	r.Write(func() {
		for goal := share; goal <= tries; goal += share {
			localtest.Eventually(r.T, limit, "answers of the index", func() (bool, error) { return h.tries.Load() >= goal, errors.Join(h.lied(), r.Alive()) })
			r.T.Log(happen[r.Rnd.IntN(len(happen))]())
		}
	})
	cancel()
	done.Wait()
	if err := h.lied(); err != nil {
		r.T.Error(err)
	}
	r.T.Logf("%d tries answered by the index, %d by live; %d requests failed, the last one: %s", h.tries.Load(), h.elsewhere.Load(), h.refused.Load(), h.why)
}

// honesty is a round of so many tries.
func honesty(t *testing.T, p parts, tries int64) {
	p.more = "scan_rows: 1\n" // live is no way out, while the index answers
	r := newRig(t, p)
	r.reached(r.beat())
	r.readers(tries, append(r.happenings(), func() string { return r.killOne("router") }))
	r.proof()
	r.sound()
}

// TestL4_who_waits_for_a_position_sees_what_was_committed_before_it: with the embedded index.
func TestL4_who_waits_for_a_position_sees_what_was_committed_before_it(t *testing.T) {
	honesty(t, parts{seed: 1, roles: roles("canal sync sync router")}, 80)
}

// TestL4_who_waits_for_a_position_sees_it_in_Elasticsearch: the same there.
func TestL4_who_waits_for_a_position_sees_it_in_Elasticsearch(t *testing.T) {
	honesty(t, parts{seed: 2, elastic: true, roles: roles("canal sync sync router")}, 80)
}

// TestSoak_honesty: a thousand tries in each round.
func TestSoak_honesty(t *testing.T) {
	soaktest.Rounds(t, func(t *testing.T, seed uint64) {
		honesty(t, parts{seed: seed, kafka: true, elastic: seed%2 == 0, roles: roles("canal canal sync sync router")}, 1000)
	})
}
