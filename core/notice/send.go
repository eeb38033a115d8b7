package notice

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"strata/core"
)

const (
	answerBytes = 4 << 10 // read of an answer, so that its connection can be used again
	shownRunes  = 160     // of a failure's answer
	errorRunes  = 255     // the column's width
	recordTime  = 10 * time.Second
)

// newClient calls what it is told to and nothing else: no proxy, no redirect, no unpacking.
func newClient(cfg *Config) *http.Client {
	var settings *tls.Config
	if cfg.TLS != nil {
		settings = cfg.TLS.Clone()
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: cfg.Timeout}).DialContext, TLSClientConfig: settings, TLSHandshakeTimeout: cfg.Timeout,
			ForceAttemptHTTP2: true, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10,
			MaxIdleConns: 256, MaxIdleConnsPerHost: cfg.Concurrency, IdleConnTimeout: 90 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// appendBody appends what the receiver gets.
func appendBody(dst []byte, e *core.Event, accounts []int64) []byte {
	t := e.Transfer
	if len(accounts) > 0 {
		t.Legs = slices.DeleteFunc(slices.Clone(t.Legs), func(l core.Leg) bool { return !slices.Contains(accounts, l.Account) })
	}
	id, _ := json.Marshal(t.ID) // strings always have a JSON form
	dst = append(append(dst, `{"id":`...), id...)
	dst = append(append(dst, `,"outcome":"`...), core.Applied.String()...)
	dst = e.AccountingDate.UTC().AppendFormat(append(dst, `","accounting_date":"`...), time.DateOnly)
	dst = e.PostedAt.UTC().AppendFormat(append(dst, `","posted_at":"`...), "2006-01-02T15:04:05.000000Z")
	dst = t.AppendJSON(append(dst, `","transfer":`...))
	return append(dst, '}')
}

// sendAll is one sender: it claims and sends the target's notices until none is due.
func (p *pass) sendAll(ctx context.Context, target string, d *desk) error {
	for ctx.Err() == nil {
		now, err := p.now(ctx)
		if err != nil {
			return err
		}
		until := p.until
		if until.IsZero() {
			until = now
		}
		if err := p.at("notice.before_claim"); err != nil {
			return err
		}
		d.claim.Lock()
		lease, batch, err := p.claim(ctx, target, until, now)
		d.claim.Unlock()
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := p.at("notice.after_claim"); err != nil {
			return err
		}
		if err := p.sendBatch(ctx, target, lease, batch, now.Add(p.cfg.Lease)); err != nil {
			return err
		}
	}
	return nil
}

// sendBatch sends what was claimed, one after the other. What it can't send within the lease it gives back.
func (p *pass) sendBatch(ctx context.Context, target, lease string, batch []claimed, end time.Time) error {
	record := context.WithoutCancel(ctx) // what was sent is recorded, stop or not
	for _, c := range batch {
		now, left, err := p.left(record, target, lease, end, ctx.Err() != nil)
		if err != nil || !left {
			return err
		}
		if err := p.at("notice.before_send"); err != nil {
			return err
		}
		status, why := p.send(record, target, c, now)
		p.stats.sent.Add(1)
		if err := p.at("notice.after_send"); err != nil {
			return err
		}
		if err := p.record(record, c, lease, status, why); err != nil {
			return err
		}
		if err := p.at("notice.after_record"); err != nil {
			return err
		}
	}
	return nil
}

// left reports whether the lease is long enough for one more attempt, and gives back what is left of it if it isn't, or
// on a stop.
func (p *pass) left(ctx context.Context, target, lease string, end time.Time, stopped bool) (now time.Time, left bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	if now, err = p.now(ctx); err != nil {
		return now, false, err
	}
	if stopped || now.Add(p.cfg.Timeout).After(end) {
		return now, false, p.release(ctx, target, lease, end, now)
	}
	return now, true, nil
}

// record writes what became of an attempt; why is "" where it was delivered.
func (p *pass) record(ctx context.Context, c claimed, lease string, status int, why string) error {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	now, err := p.now(ctx)
	if err != nil {
		return err
	}
	if why == "" {
		p.stats.delivered.Add(1)
		return p.delivered(ctx, c, status, now)
	}
	p.stats.failed.Add(1)
	gaveUp, err := p.failed(ctx, c, lease, status, why, now)
	if gaveUp {
		p.stats.givenUp.Add(1)
		p.cfg.Log.Warn("notice given up", "transfer", c.id, "status", status, "err", why)
	}
	return err
}

// send is one attempt: the status (0: no answer) and why it is not delivered, or "".
func (p *pass) send(ctx context.Context, target string, c claimed, now time.Time) (status int, why string) {
	t := p.targets[target]
	if t == nil {
		return 0, "the target is not configured any more"
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(c.body))
	if err != nil {
		return 0, "the target's URL can't be called"
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "strata-notice")
	Sign(req.Header, t.Keys, c.id, c.body, now)
	res, err := p.client.Do(req)
	if err != nil {
		return 0, show(withoutURL(err).Error(), errorRunes)
	}
	defer func() { _ = res.Body.Close() }()                        // read only
	answer, _ := io.ReadAll(io.LimitReader(res.Body, answerBytes)) // its status is what counts
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return res.StatusCode, ""
	}
	return res.StatusCode, strings.TrimSuffix(fmt.Sprintf("status %d: %s", res.StatusCode, show(string(answer), shownRunes)), ": ")
}

// withoutURL takes the URL off an error: its query may hold a secret.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// show makes foreign text fit to be shown and stored: one line, printable, at most limit characters.
func show(text string, limit int) string {
	out := make([]rune, 0, min(len(text), limit))
	for _, r := range strings.ToValidUTF8(text, "�") {
		if len(out) == limit {
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		out = append(out, r)
	}
	return strings.TrimSpace(string(out))
}
