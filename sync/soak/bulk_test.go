package soak

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/local/localtest"
	"strata/local/soaktest"
)

// moods is an Elasticsearch that answers one request in a few as it should. What it answers instead is what real ones do: whole
// bulks and single documents put off, bulks that are too large, no answer although it was written, no answer as it wasn't.
type moods struct {
	front *localtest.Front
	mu    sync.Mutex
	rnd   *rand.Rand
	did   map[string]int
}

// roll is a number below n.
func (m *moods) roll(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rnd.IntN(n)
}

func (m *moods) note(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.did[what]++
}

// all reports whether there was every kind of answer.
func (m *moods) all() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, what := range []string{"429 of all", "503 of all", "written, no answer", "not written, no answer", "some put off", "down", "413"} {
		if m.did[what] == 0 {
			return false
		}
	}
	return true
}

const (
	tooLarge = `{"error":{"type":"content_too_long_exception","reason":"scripted"},"status":413}`
	away     = `{"error":{"type":"master_not_discovered_exception","reason":"scripted"},"status":503}`
)

// answer does something to a request, or leaves it alone.
func (m *moods) answer(w http.ResponseWriter, r *http.Request, body []byte) bool {
	if r.URL.Path != "/_bulk" {
		return m.other(w, r, body)
	}
	documents := strings.Count(string(body), "\n") / 2
	switch m.roll(9) {
	case 0:
		m.note("429 of all")
		localtest.Reply(w, http.StatusTooManyRequests, []byte(localtest.Rejected))
	case 1:
		m.note("503 of all")
		localtest.Reply(w, http.StatusServiceUnavailable, []byte(away))
	case 2:
		if documents < 2 {
			return false
		}
		m.note("413")
		localtest.Reply(w, http.StatusRequestEntityTooLarge, []byte(tooLarge))
	case 3:
		m.note("written, no answer")
		m.front.Forward(r, body)
		localtest.Cut(w)
	case 4:
		m.note("not written, no answer")
		localtest.Cut(w)
	case 5, 6:
		m.note("some put off")
		m.front.Partly(w, r, body, m.putOff)
	default:
		m.note("as it should")
		return false
	}
	return true
}

// partly puts some documents of every bulk off, and does nothing else.
func (m *moods) partly(w http.ResponseWriter, r *http.Request, body []byte) bool {
	if r.URL.Path != "/_bulk" {
		return false
	}
	m.front.Partly(w, r, body, m.putOff)
	return true
}

// putOff answers for one document of a bulk.
func (m *moods) putOff(int, string) (status int, kind string) {
	switch m.roll(16) {
	case 0:
		return http.StatusTooManyRequests, "es_rejected_execution_exception"
	case 1:
		return http.StatusServiceUnavailable, "unavailable_shards_exception"
	default:
		return 0, ""
	}
}

// other does something to watermarks, refreshes, and reads by id.
func (m *moods) other(w http.ResponseWriter, r *http.Request, body []byte) bool {
	switch m.roll(12) {
	case 0:
		m.note("other: 503")
		localtest.Reply(w, http.StatusServiceUnavailable, []byte(away))
	case 1:
		m.note("other: done, no answer")
		m.front.Forward(r, body)
		localtest.Cut(w)
	case 2:
		m.note("other: 429")
		localtest.Reply(w, http.StatusTooManyRequests, []byte(localtest.Rejected))
	default:
		return false
	}
	return true
}

// down answers everything with 503.
func (m *moods) down(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
	m.note("down")
	localtest.Reply(w, http.StatusServiceUnavailable, []byte(away))
	return true
}

// moody is a round in which a load goes on while Elasticsearch answers like that, is away for a while, and answers well again.
func moody(t *testing.T, seed uint64, long time.Duration) {
	r := newRig(t, parts{seed: seed, shared: true, front: true, roles: roles("canal sync sync")})
	m := &moods{front: r.front, rnd: rand.New(rand.NewPCG(seed, 3)), did: map[string]int{}}
	r.watched(func() {
		r.Write(func() {
			r.Commits(between)
			r.reached(r.beat())
			for range 3 {
				r.front.Then(m.answer)
				r.Commits(3 * between)
				r.front.Then(m.down)
				r.Commits(between)
				r.quiet(long)
			}
			r.front.Then(m.answer)
			r.Commits(3 * between)
			localtest.Eventually(t, limit, "bulks with each kind of answer", func() (bool, error) { return m.all(), r.Alive() })
		})
		r.front.Then(m.partly)
		r.last()
		r.front.Then(nil)
		r.proof()
	})
	t.Logf("answers: %v", m.did)
	r.sound()
}

// last changes every order for the last time, in some transactions, so that whatever is lost of them stays lost.
func (r *rig) last() {
	r.T.Helper()
	const shares = 8
	for i := range shares {
		localtest.Exec(r.T, r.DB, "UPDATE orders SET v=v+1 WHERE id%?=?", shares, i)
		r.reached(r.beat())
	}
}

// quiet lets so many heartbeats pass on live.
func (r *rig) quiet(long time.Duration) {
	r.T.Helper()
	goal := r.beat() + uint64(long/soaktest.Beat)
	localtest.Eventually(r.T, limit+long, fmt.Sprint("heartbeats of ", long), func() (bool, error) { return r.beat() >= goal, r.Alive() })
}

// TestL2_whatever_Elasticsearch_answers_nothing_is_lost_or_goes_back: one seed, and it is never away for long.
func TestL2_whatever_Elasticsearch_answers_nothing_is_lost_or_goes_back(t *testing.T) {
	moody(t, 21, time.Second)
}

// TestSoak_bulk: it is away for a minute each time.
func TestSoak_bulk(t *testing.T) {
	soaktest.SomeRounds(t, func(t *testing.T, seed uint64) { moody(t, seed, time.Minute) })
}
