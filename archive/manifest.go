package archive

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"strata/catalog"
	"strata/fault"
)

// ManifestVersion is the form of Manifest that this package writes and reads.
const ManifestVersion = 1

// Sum is the exact sum of a money column's cells with one unit, minor units in decimal digits.
type Sum struct {
	Column string `json:"column"`
	Unit   string `json:"unit"`
	Amount string `json:"amount"`
}

// Chunk is a run of rows in key order: up to and with the key Last.
type Chunk struct {
	Last catalog.Key `json:"last"`
	Rows int64       `json:"rows"`
	Hash string      `json:"hash"` // SHA-256 over the images of its rows, first 16 bytes, hex
}

// Manifest is what a segment's rows are. It holds nothing that depends on who moved them or when, so it can be made again
// from the archive's table, and its Digest then is the one in strata_part.
type Manifest struct {
	Version int       `json:"version"`
	Segment SegmentID `json:"segment"`
	Dataset string    `json:"dataset"`
	Shard   string    `json:"shard"`
	From    int64     `json:"from_us"` // microseconds since 1970 UTC
	To      int64     `json:"to_us"`
	Epoch   uint64    `json:"epoch"`
	Columns []string  `json:"columns"`
	Key     []string  `json:"key"`
	Totals
}

// Totals are what a Tally counted.
type Totals struct {
	Rows   int64   `json:"rows"`
	Hash   string  `json:"hash"` // SHA-256 over the number of rows and the chunks' hashes, hex
	Sums   []Sum   `json:"sums"`
	Chunks []Chunk `json:"chunks"`
}

// NewManifest makes the manifest of a table's rows. ds has the table's own columns.
func NewManifest(ds *catalog.Dataset, shard catalog.Shard, epoch uint64, t Totals) *Manifest {
	return &Manifest{Version: ManifestVersion, Segment: IDOf(shard.Table, epoch), Dataset: ds.Name, Shard: shard.Table,
		From: int64(shard.Range.From), To: int64(shard.Range.To), Epoch: epoch, Columns: ds.Names(), Key: ds.Key, Totals: t}
}

// Body is the manifest's only written form.
func (m *Manifest) Body() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return b
}

// Digest is the SHA-256 of the body, 64 hex digits.
func (m *Manifest) Digest() string {
	sum := sha256.Sum256(m.Body())
	return hex.EncodeToString(sum[:])
}

// ParseManifest reads a body. Errors: Proof for what is no manifest of this version.
func ParseManifest(body []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, fault.Wrap(fault.Proof, "parse manifest", err)
	}
	if m.Version != ManifestVersion {
		return nil, fault.New(fault.Proof, "parse manifest", "version %d instead of %d", m.Version, ManifestVersion)
	}
	return &m, nil
}

// Sign is the HMAC-SHA256 of a manifest's body, hex.
func Sign(key, body []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// Signed reports whether the signature is the body's.
func Signed(key, body []byte, signature string) bool {
	return hmac.Equal([]byte(Sign(key, body)), []byte(signature))
}
