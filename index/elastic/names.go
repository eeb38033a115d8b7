package elastic

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"strata/catalog"
)

// maxID is Elasticsearch's limit of an _id in bytes.
const maxID = 512

// names makes the names of indices and aliases.
type names struct{ prefix string }

// state is the alias of the state's index, which is stateIndex.
func (n names) state() string      { return n.prefix + ".state" }
func (n names) stateIndex() string { return n.prefix + ".state.1" }

// dataset is the alias of all indices of a dataset.
func (n names) dataset(dataset string) string { return n.prefix + "-" + dataset }

// shard is the index of a physical shard.
func (n names) shard(d *catalog.Dataset, shard string) string {
	return n.dataset(d.Name) + "-" + period(d.Table, shard)
}

// write is the alias that documents of an index are sent to.
func write(index string) string { return index + ".write" }

// period is a shard's part of an index's name: what follows the table's name, or all for the table itself. A name of another
// shape is taken whole, after ~~. What index names can't have is ~ and two hexadecimal digits.
func period(table, shard string) string {
	if shard == table {
		return "all"
	}
	if rest, ok := strings.CutPrefix(shard, table+"_"); ok && rest != "all" && rest != "" {
		return escape(rest)
	}
	return "~~" + escape(shard)
}

func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "~%02x", c)
		}
	}
	return b.String()
}

// docID is the _id of a document: its id, or the hash of one that is too long. No id has % and then an s: in a key two
// hexadecimal digits follow.
func docID(id string) string {
	if len(id) <= maxID {
		return id
	}
	shard, _, _ := strings.Cut(id, "/")
	sum := sha256.Sum256([]byte(id))
	return shard + "/%sha256-" + hex.EncodeToString(sum[:])
}

// Ids in the state's index.
func datasetID(dataset string) string      { return "dataset:" + dataset }
func shardID(dataset, shard string) string { return "shard:" + dataset + ":" + shard }
func markID(dataset string, partition int) string {
	return fmt.Sprintf("mark:%s:%d", dataset, partition)
}
