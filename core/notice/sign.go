package notice

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"strata/fault"
)

// The headers of a notice.
const (
	HeaderID        = "Strata-Id"
	HeaderTimestamp = "Strata-Timestamp"
	HeaderSignature = "Strata-Signature"
)

// Sign sets the headers of a notice: its id, the time and one signature per key.
func Sign(h http.Header, keys []Key, id string, body []byte, at time.Time) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	parts := make([]string, 0, len(keys))
	for _, k := range keys {
		parts = append(parts, k.ID+"="+hex.EncodeToString(mac(k.Secret, stamp, body)))
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, stamp)
	h.Set(HeaderSignature, strings.Join(parts, ","))
}

// Verify is the receiver's side: it reports whether one of the keys signed this body, at a time not further from now than
// tolerance, and that the Strata-Id is the body's. fault.Denied says what is wrong. The caller then looks whether it knows
// the Strata-Id already.
func Verify(h http.Header, keys []Key, body []byte, now time.Time, tolerance time.Duration) error {
	const op = "verify notice"
	stamp := h.Get(HeaderTimestamp)
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return fault.New(fault.Denied, op, "%s is not a number of seconds", HeaderTimestamp)
	}
	if off := now.Sub(time.Unix(seconds, 0)); off > tolerance || off < -tolerance {
		return fault.New(fault.Denied, op, "it was signed at another time than now")
	}
	for part := range strings.SplitSeq(h.Get(HeaderSignature), ",") {
		id, signature, _ := strings.Cut(strings.TrimSpace(part), "=")
		have, err := hex.DecodeString(signature)
		if err != nil {
			continue
		}
		for _, k := range keys {
			if k.ID == id && hmac.Equal(have, mac(k.Secret, stamp, body)) {
				return sameID(h.Get(HeaderID), body)
			}
		}
	}
	return fault.New(fault.Denied, op, "no signature by a known key")
}

// sameID: the id in the header isn't signed, the one in the body is.
func sameID(id string, body []byte) error {
	var signed struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &signed); err != nil || signed.ID != id {
		return fault.New(fault.Denied, "verify notice", "%s is not the id in the body", HeaderID)
	}
	return nil
}

func mac(secret []byte, stamp string, body []byte) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(stamp)) // a hash never fails to write
	m.Write([]byte{'.'})
	m.Write(body)
	return m.Sum(nil)
}
