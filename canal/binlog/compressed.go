package binlog

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
)

// maxInflated is MariaDB's largest LONGBLOB that a packet can carry.
const maxInflated = 1 << 30

// inflate undoes MariaDB's COMPRESSED: a first byte with the method in its upper half (0: none, 8: zlib), the bytes of the
// length in its lowest three bits, and 8 where zlib's wrapper is left out.
func inflate(v []byte) ([]byte, error) {
	if len(v) == 0 {
		return v, nil
	}
	head := v[0]
	if head>>4 == 0 {
		return v[1:], nil
	}
	n := int(head & 7)
	if head>>4 != 8 || len(v) < 1+n || n > 4 {
		return nil, errors.New("a compressed value of an unknown method")
	}
	size := int(big(v[1 : 1+n]))
	if size > maxInflated {
		return nil, errors.New("a compressed value of more than 1 GiB")
	}
	var r io.ReadCloser
	if head&8 != 0 {
		r = flate.NewReader(bytes.NewReader(v[1+n:]))
	} else {
		var err error
		if r, err = zlib.NewReader(bytes.NewReader(v[1+n:])); err != nil {
			return nil, fmt.Errorf("read compressed value: %w", err)
		}
	}
	var out bytes.Buffer
	if _, err := io.Copy(&out, io.LimitReader(r, int64(size)+1)); err != nil {
		return nil, fmt.Errorf("read compressed value: %w", err)
	}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("read compressed value: %w", err)
	}
	if out.Len() != size {
		return nil, fmt.Errorf("a compressed value of %d bytes instead of %d", out.Len(), size)
	}
	return out.Bytes(), nil
}
