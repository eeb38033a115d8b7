package local

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"

	"strata/fault"
)

const (
	portFile      = "port"
	lowestPort    = 10_000 // below are well-known services
	defaultMaxima = 32_768 // where Linux's ephemeral range starts unless configured
	portTries     = 200
)

// rememberedPort returns the port written in the file where it is there and free, else a free one, and writes it down.
func rememberedPort(path string) (int, error) {
	text, _ := os.ReadFile(path) // missing or broken: choose
	if port, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && port > 0 && portFree(port) {
		return port, nil
	}
	return newPort(path)
}

// newPort chooses a free port and writes it to the file. It lies below the ephemeral range: while the server is down no
// outgoing connection can take it.
func newPort(path string) (int, error) {
	top := defaultMaxima
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		var low int
		if _, err := fmt.Sscan(string(text), &low); err == nil && low > lowestPort+1000 {
			top = min(low, defaultMaxima)
		}
	}
	for range portTries {
		port := lowestPort + rand.IntN(top-lowestPort)
		if portFree(port) {
			return port, writeFile(path, strconv.Itoa(port)+"\n")
		}
	}
	return 0, fault.New(fault.Unavailable, "choose port", "none of %d tried on 127.0.0.1 was free", portTries)
}

// portFree reports whether a server could listen on 127.0.0.1:port now.
func portFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
