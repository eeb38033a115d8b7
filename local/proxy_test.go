package local_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"strata/local"
	"strata/local/localtest"
)

func TestProxyCutEndsCurrentConnectionsOnly(t *testing.T) {
	p := proxied(t)
	a, b := dial(t, p), dial(t, p)
	echo(t, a, "one")
	echo(t, b, "two")
	if p.Conns() != 2 {
		t.Errorf("%d connections", p.Conns())
	}
	p.Cut()
	ended(t, a)
	ended(t, b)
	if p.Conns() != 0 {
		t.Errorf("%d connections after the cut", p.Conns())
	}
	echo(t, dial(t, p), "three")
}

func TestProxyRefusesNewConnectionsAndKeepsOldOnes(t *testing.T) {
	p := proxied(t)
	old := dial(t, p)
	echo(t, old, "before")
	p.Refuse(true)
	if c, err := net.Dial("tcp", p.Addr()); err == nil { // it may be reset within the dial
		ended(t, c)
	}
	echo(t, old, "during")
	p.Refuse(false)
	echo(t, dial(t, p), "after")
}

func TestProxyStallHoldsBytesBackAndLosesNone(t *testing.T) {
	p := proxied(t)
	c := dial(t, p)
	echo(t, c, "before")
	p.Stall(true)
	p.Stall(true)
	send(t, c, "held")
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil { // silence can only be observed by waiting
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a stalled wire let %d bytes pass, %v", n, err)
	}
	p.Stall(false)
	receive(t, c, "held")
	p.Stall(true)
	send(t, c, "lost")
	p.Cut()
	ended(t, c)
}

func TestProxyCutAfterPassesExactlyThatManyBytesOnce(t *testing.T) {
	p := proxied(t)
	for _, n := range []int64{0, 5, 100_000} {
		c := dial(t, p)
		p.CutAfter(n)
		sent := bytes.Repeat([]byte("x"), 300_000)
		go func() { _, _ = c.Write(sent) }() // it ends with the cut
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		got, err := io.ReadAll(c)
		if int64(len(got)) > n || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes came, %v; want at most %d and an end", len(got), err, n)
		}
		echo(t, dial(t, p), "once only")
	}
	c := dial(t, p)
	p.CutAfter(6)
	send(t, c, "hello!")
	receive(t, c, "hello!")
	ended(t, c)
}

func TestProxyRetargetsNewConnections(t *testing.T) {
	p := proxied(t)
	c := dial(t, p)
	echo(t, c, "old target")
	other, connected := echoServer(t)
	p.Retarget(other)
	echo(t, c, "still the old target")
	echo(t, dial(t, p), "new target")
	<-connected
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	p.Retarget(l.Addr().String()) // nobody listens there
	ended(t, dial(t, p))
}

func TestProxyCloseEndsEverythingEvenAStalledWire(t *testing.T) {
	p := proxied(t)
	c := dial(t, p)
	echo(t, c, "x")
	p.Stall(true)
	send(t, c, "held")
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ended(t, c)
	if _, err := net.Dial("tcp", p.Addr()); err == nil {
		t.Error("it still listens")
	}
}

// proxied returns a Proxy in front of an echo server.
func proxied(t *testing.T) *local.Proxy {
	t.Helper()
	addr, _ := echoServer(t)
	p, err := local.NewProxy(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// echoServer sends back what it gets; connected is closed at its first connection.
func echoServer(t *testing.T) (addr string, connected <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan struct{})
	var once sync.Once
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			once.Do(func() { close(first) })
			all.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String(), first
}

func dial(t *testing.T, p *local.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func echo(t *testing.T, c net.Conn, text string) {
	t.Helper()
	send(t, c, text)
	receive(t, c, text)
}

// ended checks that no byte comes and the connection is over.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection lives: %d bytes, %v", n, err)
	}
}

func TestProxyStandsBetweenReplicaAndPrimary(t *testing.T) {
	t.Parallel()
	h := localtest.Home(t)
	live := localtest.Start(t, h, local.MariaConfig{Name: "live", Domain: 1, Schemas: []string{"strata"}})
	p, err := local.NewProxy(live.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	offline := localtest.Start(t, h, local.MariaConfig{Name: "offline", ServerID: 2, Domain: 1, ReplicaOf: live, ReplicaVia: p.Addr()})
	source := localtest.DB(t, live.DSN("strata"))
	localtest.Exec(t, source, "CREATE TABLE moved (id INT PRIMARY KEY)")
	p.Cut()
	localtest.Exec(t, source, "INSERT INTO moved VALUES (1)")
	localtest.Eventually(t, 10*time.Second, "the replica is connected again", func() (bool, error) { return p.Conns() > 0, nil })
	follows(t, source, localtest.DB(t, offline.DSN("strata")), 1)
}
