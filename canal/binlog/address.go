package binlog

import (
	"net/netip"
	"strconv"
)

// appendUUID prints sixteen bytes as the server does.
func appendUUID(b, v []byte) []byte {
	for i, n := range []int{4, 2, 2, 2, 6} {
		if i > 0 {
			b = append(b, '-')
		}
		b = appendHex(b, v[:n])
		v = v[n:]
	}
	return b
}

// appendINET prints an address as MariaDB does: the longest run of zero groups shortened, IPv4 inside where it is mapped
// or compatible.
func appendINET(b, v []byte) []byte {
	if len(v) == 4 {
		return netip.AddrFrom4([4]byte(v)).AppendTo(b)
	}
	var words [8]int
	for i := range words {
		words[i] = int(v[2*i])<<8 | int(v[2*i+1])
	}
	from, length := -1, 0
	for i := 0; i < 8; {
		n := 0
		for i+n < 8 && words[i+n] == 0 {
			n++
		}
		if n > length { // also one group alone
			from, length = i, n
		}
		i += max(n, 1)
	}
	for i := 0; i < 8; i++ {
		switch {
		case i == from:
			if i == 0 {
				b = append(b, ':')
			}
			b = append(b, ':')
			i += length - 1
		case i == 6 && from == 0 && (length == 6 || length == 5 && words[5] == 0xffff):
			return netip.AddrFrom4([4]byte(v[12:])).AppendTo(b)
		default:
			b = strconv.AppendInt(b, int64(words[i]), 16)
			if i < 7 {
				b = append(b, ':')
			}
		}
	}
	return b
}
