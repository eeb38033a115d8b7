package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"strata/core"
	rest "strata/core/http"
	"strata/fault"
)

// overREST is the core behind its HTTP API on loopback: each client has one keep-alive connection, written and read by hand,
// so that the client costs little of what is measured.
type overREST struct {
	addr string
	srv  *http.Server
	idle sync.Pool // of *restConn
}

type restConn struct {
	net.Conn
	in  *bufio.Reader
	out []byte
}

func (c *coreRun) serveREST(ctx context.Context, ledger core.Full) (*overREST, error) {
	api, err := rest.New(rest.Config{Ledger: ledger, Log: c.s.log, Now: time.Now})
	if err != nil {
		return nil, err
	}
	if err := api.Refresh(ctx); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "listen", err)
	}
	r := &overREST{addr: l.Addr().String(), srv: &http.Server{Handler: api, ReadHeaderTimeout: 5 * time.Second}}
	go func() {
		if err := r.srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.s.log.Error("serve", "err", err)
		}
	}()
	return r, nil
}

func (r *overREST) pay(ctx context.Context, ps []pay) error {
	conn, _ := r.idle.Get().(*restConn)
	if conn == nil {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.addr)
		if err != nil {
			return err
		}
		conn = &restConn{Conn: c, in: bufio.NewReader(c)}
	}
	for i := range ps {
		if err := conn.post(r.addr, &ps[i]); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	r.idle.Put(conn)
	return nil
}

func (c *restConn) post(host string, p *pay) error {
	t := p.transfer()
	body := t.AppendJSON(nil)
	c.out = append(c.out[:0], "POST /v1/transfers HTTP/1.1\r\nHost: "...)
	c.out = append(c.out, host...)
	c.out = append(c.out, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
	c.out = append(append(c.out, "\r\n\r\n"...), body...)
	if _, err := c.Write(c.out); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusCreated {
		err = fmt.Errorf("status %d: %.200s", resp.StatusCode, answer)
	}
	return err
}

// restCells measures the API beside the package, in turn.
func (c *coreRun) restCells(ctx context.Context) (err error) {
	lanes := &c.sides[0]
	r, err := c.serveREST(ctx, lanes.payer.(*inProcess).ledger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.srv.Close()) }()
	over := side{name: "lanes over REST", schema: lanes.schema, payer: r}
	err = c.s.InTurn(
		func(round int) error { return c.cellAs(ctx, round, lanes, "REST, 64 clients", "uniform", 64, 1) },
		func(round int) error { return c.cellAs(ctx, round, &over, "REST, 64 clients", "uniform", 64, 1) })
	lanes.done += over.done
	return err
}
