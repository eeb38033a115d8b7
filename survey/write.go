package survey

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"strata/catalog"
)

// Server is a server's lines of the file.
type Server struct {
	DSN          string // without a password
	PasswordFile string
	Remark       string // on the line of the dsn
}

// File is what a strata.yaml needs beside the survey.
type File struct {
	Day     string // when it was made
	Data    string
	Live    Server
	Offline Server // without a DSN: live
	Archive Server
	Control Server // without a DSN: the archive's
	Brokers []string
	Remark  string // on the brokers
}

// Write writes the strata.yaml.
func (s *Survey) Write(w io.Writer, f File) error {
	var b bytes.Buffer
	comment(&b, "", "Made by `strata init` on "+f.Day+" from schema "+s.Schema+" ("+s.Server+"): "+
		fmt.Sprintf("%d datasets of %d tables, %d refused.", len(s.Found), s.Tables, len(s.Refused)))
	comment(&b, "", "Everything was guessed from names, keys and indexes; CHECK marks what wants a look. strata.example.yaml has every")
	comment(&b, "", "key, and `strata check-config` tells what is wrong.")
	fmt.Fprintf(&b, "\ndata: %s\n\n", scalar(f.Data))
	f.Live.write(&b, "live")
	if f.Offline.DSN != "" {
		f.Offline.write(&b, "offline")
	} else {
		comment(&b, "", "CHECK: without `offline` capture and verify read live itself; a replica with log_slave_updates spares it that.")
		comment(&b, "", "offline:")
		comment(&b, "", "  dsn: …")
	}
	f.Archive.write(&b, "archive")
	if f.Control.DSN != "" {
		f.Control.write(&b, "control")
	}
	brokers := make([]string, len(f.Brokers))
	for i, k := range f.Brokers {
		brokers[i] = scalar(k)
	}
	fmt.Fprintf(&b, "kafka:\n  brokers: [%s]%s\n\ndatasets:\n", strings.Join(brokers, ", "), remark(f.Remark))
	for i := range s.Found {
		if i > 0 {
			b.WriteByte('\n')
		}
		s.Found[i].write(&b)
	}
	s.policies(&b)
	if len(s.Refused) > 0 {
		b.WriteByte('\n')
		comment(&b, "", "Not declared:")
		for _, r := range s.Refused {
			comment(&b, "", "  "+r.Table+": "+r.Reason)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (s Server) write(b *bytes.Buffer, key string) {
	fmt.Fprintf(b, "%s:\n  dsn: %s%s\n", key, scalar(s.DSN), remark(s.Remark))
	if s.PasswordFile != "" {
		fmt.Fprintf(b, "  password_file: %s\n", scalar(s.PasswordFile))
	}
}

// policies suggests when shards leave live.
func (s *Survey) policies(b *bytes.Buffer) {
	first := true
	for _, f := range s.Found {
		if !f.Spec.Sharded() {
			continue
		}
		if first {
			b.WriteByte('\n')
			comment(b, "", "Which closed shards leave live; `strata archive plan` shows what would move, and what can't and why.")
			comment(b, "", "archive_policies:")
			first = false
		}
		comment(b, "", "  - {dataset: "+f.Spec.Name+", older_than_days: 90}")
	}
}

func (f *Found) write(b *bytes.Buffer) {
	for _, text := range f.About {
		comment(b, "  ", text)
	}
	for _, text := range f.Check {
		comment(b, "  ", "CHECK: "+text)
	}
	s := f.Spec
	line := func(key, value string) { fmt.Fprintf(b, "    %s: %s%s\n", key, value, remark(f.Why[key])) }
	fmt.Fprintf(b, "  - name: %s\n", scalar(s.Name))
	if s.Table != s.Name {
		line("table", scalar(s.Table))
	}
	keys := make([]string, len(s.Key))
	for i, k := range s.Key {
		keys[i] = scalar(k)
	}
	line("key", "["+strings.Join(keys, ", ")+"]")
	if s.Sharded() {
		line("time", scalar(s.Time))
		f.writeShards(b)
	}
	if s.Account != "" {
		line("account", scalar(s.Account))
	}
	if len(s.Money) > 0 {
		fmt.Fprintf(b, "    money:%s\n", remark(f.Why["money"]))
		for _, m := range s.Money {
			fmt.Fprintf(b, "      - {column: %s, unit_column: %s}\n", scalar(m.Column), scalar(m.UnitColumn))
		}
	}
	for _, l := range f.Open {
		comment(b, "    ", l.Text+remark(l.Remark))
	}
	line("partitions", fmt.Sprint(s.Partitions))
}

func (f *Found) writeShards(b *bytes.Buffer) {
	scheme := f.Spec.Shards
	if len(scheme) == 1 {
		fmt.Fprintf(b, "    shards: %s%s\n", scheme[0].Interval, remark(f.Why["shards"]))
		return
	}
	fmt.Fprintf(b, "    shards:%s\n", remark(f.Why["shards"]))
	for _, st := range scheme {
		from := ""
		if st.From != catalog.MinInstant {
			from = "from: " + st.From.String() + ", "
		}
		fmt.Fprintf(b, "      - {%sinterval: %s}\n", from, st.Interval)
	}
}

// comment writes a line that stays one whatever stands in it.
func comment(b *bytes.Buffer, indent, text string) {
	fmt.Fprintf(b, "%s# %s\n", indent, plain(text))
}

func remark(text string) string {
	if text == "" {
		return ""
	}
	return "  # " + plain(text)
}

// plain keeps names with line breaks in them within their line.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text)
}

// scalar is a string as YAML reads it back, quoted where it must be.
func scalar(s string) string {
	if matches(`^(\./|[A-Za-z_/])[A-Za-z0-9_./@():=&?%+-]*[A-Za-z0-9_./)]$|^[A-Za-z]$`, s) || matches(`^[0-9.]+:[0-9]+$`, s) {
		switch strings.ToLower(s) {
		case "y", "n", "yes", "no", "on", "off", "true", "false", "null", ".", "..":
		default:
			return s
		}
	}
	b, err := json.Marshal(s)
	if err != nil { // a string always can be
		return `""`
	}
	return string(b)
}
