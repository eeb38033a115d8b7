package statement

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
)

// file writes lines and hashes what it writes.
type file struct {
	csv  *csv.Writer
	hash hash.Hash
}

func newFile(to io.Writer) *file {
	f := &file{hash: sha256.New()}
	f.csv = csv.NewWriter(io.MultiWriter(to, f.hash))
	f.csv.UseCRLF = true
	return f
}

// line writes one line, filled up to ten fields.
func (f *file) line(fields ...string) error {
	for len(fields) < 10 {
		fields = append(fields, "")
	}
	if err := f.csv.Write(fields); err != nil {
		return fmt.Errorf("write statement: %w", err)
	}
	return nil
}

// balances writes one line per unit.
func (f *file) balances(p *pass, kind, date string, of balance) error {
	for _, u := range p.names() {
		s := of[u].sum
		if err := f.line(kind, date, "", "", "", string(u), "", p.infos[u].FormatSum(s), "", s.String()); err != nil {
			return err
		}
	}
	return nil
}

// header writes the column names and the opening balances.
func (f *file) header(p *pass) error {
	if err := f.line("line", "date", "seq", "reference", "order_time", "unit", "amount", "balance", "amount_minor", "balance_minor"); err != nil {
		return err
	}
	return f.balances(p, "opening", p.r.From, p.opening)
}

// finish writes closing balances, proofs and the hash, which it returns.
func (f *file) finish(p *pass) (string, error) {
	if err := f.balances(p, "closing", p.r.To, p.closing); err != nil {
		return "", err
	}
	for _, t := range p.sum.Units {
		if err := f.line("proof", "opening + entries = closing", "", guard(t.Opening+" + "+t.Entries+" = "+t.Closing), "", string(t.Unit)); err != nil {
			return "", err
		}
	}
	proofs := [][2]string{{"account", guard(p.r.Account)}, {"period", p.r.From + " to before " + p.r.To}, {"entries", strconv.FormatInt(p.sum.Rows, 10)},
		{"position", strconv.FormatUint(p.sum.Served.Position, 10)}}
	for _, s := range p.sum.Served.Sources {
		var shards []string
		for _, sh := range s.Shards {
			shards = append(shards, fmt.Sprintf("%s@%d", sh.Shard, sh.Epoch))
		}
		proofs = append(proofs, [2]string{"source " + s.Source, fmt.Sprintf("%d entries from %s", s.Rows, strings.Join(shards, " "))})
	}
	for _, l := range proofs {
		if err := f.line("proof", l[0], "", l[1]); err != nil {
			return "", err
		}
	}
	f.csv.Flush()
	if err := f.csv.Error(); err != nil {
		return "", fmt.Errorf("write statement: %w", err)
	}
	sum := hex.EncodeToString(f.hash.Sum(nil))
	if err := f.line("sha256", sum); err != nil {
		return "", err
	}
	f.csv.Flush()
	if err := f.csv.Error(); err != nil {
		return "", fmt.Errorf("write statement: %w", err)
	}
	return sum, nil
}

// guard keeps a spreadsheet from running a text as a formula.
func guard(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
