package local

import (
	"net"
	"sync"
	"time"

	"strata/fault"
)

// dialLimit bounds the connection to the target; a target on this machine answers at once or never.
const dialLimit = 5 * time.Second

// Proxy is a TCP wire to one target that tests can cut, stall and move. Methods are safe for concurrent use. After Cut
// has returned the proxy writes nothing on a connection that was there before; what it had written may still arrive.
type Proxy struct {
	listener net.Listener
	done     sync.WaitGroup // the accept loop and two pumps a connection

	mu      sync.Mutex
	target  string
	wires   map[*wire]struct{}
	refuse  bool
	closed  bool
	flowing chan struct{} // closed while bytes may pass
	budget  int64         // bytes from server to client until the one-shot cut; < 0: no cut is set
}

// wire is one client with its server; server is nil while it is dialled. dead is closed when it is cut.
type wire struct {
	client, server net.Conn
	dead           chan struct{}
}

// NewProxy listens on a free port of 127.0.0.1 and forwards to target (host:port), which need not listen yet.
func NewProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "listen for proxy", err)
	}
	p := &Proxy{listener: l, target: target, wires: make(map[*wire]struct{}), flowing: make(chan struct{}), budget: -1}
	close(p.flowing)
	p.done.Go(p.accept)
	return p, nil
}

// Addr is the host:port that clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut closes all current connections on both sides. New ones are accepted as before.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAll()
}

// Refuse says whether new connections are reset as soon as they come. Current ones stay.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Stall says whether bytes are held back, in both directions. Connections stay and new ones are accepted; nothing is
// lost: what was held back passes when the stall ends. A read that is being written as Stall returns may still pass.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flowing:
		if on {
			p.flowing = make(chan struct{})
		}
	default:
		if !on {
			close(p.flowing)
		}
	}
}

// CutAfter cuts all connections once n more bytes have passed from server to client, counted over all connections; those
// n bytes do pass. It happens once; a later call replaces it, n < 0 takes it back, 0 cuts at the next byte.
func (p *Proxy) CutAfter(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.budget = n
}

// Retarget forwards new connections to addr. Current ones stay where they are; Cut moves them.
func (p *Proxy) Retarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Conns is the number of current connections.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.wires)
}

// Close cuts everything, stops listening and waits until nothing of the proxy runs. A second Close does nothing.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.cutAll()
	err := p.listener.Close()
	p.mu.Unlock()
	p.done.Wait()
	return fault.Wrap(fault.Unavailable, "close proxy", err)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.mu.Lock()
		if p.refuse || p.closed {
			p.mu.Unlock()
			if tcp, ok := client.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // reset instead of end
			}
			_ = client.Close()
			continue
		}
		w, target := &wire{client: client, dead: make(chan struct{})}, p.target
		p.wires[w] = struct{}{}
		p.mu.Unlock()
		p.done.Go(func() { p.serve(w, target) })
	}
}

// serve joins one client with the target and copies until either side ends.
func (p *Proxy) serve(w *wire, target string) {
	server, err := net.DialTimeout("tcp", target, dialLimit)
	p.mu.Lock()
	if _, there := p.wires[w]; err != nil || !there { // no server, or cut while dialling
		p.cut(w)
		p.mu.Unlock()
		if err == nil {
			_ = server.Close()
		}
		return
	}
	w.server = server
	p.mu.Unlock()
	p.done.Go(func() { p.pump(w, w.client, server, false) })
	p.pump(w, server, w.client, true)
}

// pump copies one direction; down is server to client.
func (p *Proxy) pump(w *wire, from, to net.Conn, down bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.pass(w, to, buf[:n], down) {
			err = net.ErrClosed
		}
		if err != nil {
			p.mu.Lock()
			p.cut(w)
			p.mu.Unlock()
			return
		}
	}
}

// pass writes b when bytes may flow; false: the wire is cut. Writing isn't under the mutex, because a client that
// doesn't read would then block every call; the budget is taken from before it, so n bytes pass and no more.
func (p *Proxy) pass(w *wire, to net.Conn, b []byte, down bool) bool {
	for {
		p.mu.Lock()
		flowing := p.flowing
		select {
		case <-flowing:
		default:
			p.mu.Unlock()
			select {
			case <-flowing:
				continue
			case <-w.dead:
				return false
			}
		}
		last := false
		if down && p.budget >= 0 {
			last = int64(len(b)) >= p.budget
			b = b[:min(int64(len(b)), p.budget)]
			p.budget -= int64(len(b))
			if last {
				p.budget = -1
			}
		}
		p.mu.Unlock()
		_, err := to.Write(b)
		if last {
			p.Cut()
		}
		return err == nil && !last
	}
}

// cutAll cuts every wire. The caller holds mu.
func (p *Proxy) cutAll() {
	for w := range p.wires {
		p.cut(w)
	}
}

// cut closes both sides of a wire, once. The caller holds mu.
func (p *Proxy) cut(w *wire) {
	if _, there := p.wires[w]; !there {
		return
	}
	delete(p.wires, w)
	close(w.dead)
	_ = w.client.Close()
	if w.server != nil {
		_ = w.server.Close()
	}
}
