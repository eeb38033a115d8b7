package syncer

import (
	"bytes"
	"context"
	"encoding/json"

	"strata/canal"
	"strata/fault"
)

// When letters are no answer any more: a wrong declaration of a dataset, or a foreign envelope, must not send a million of them.
const (
	// fewLetters of a dataset are always sent; beyond them a tenth of its documents may be refused.
	fewLetters = 100
	// mostLetters are sent of a dataset in all. Both count since the process's start, or since somebody resumed the dataset.
	mostLetters = 10_000
	// letterBytes bounds a letter's value: what canal's topics take by default, less the letter's own.
	letterBytes = 8 << 20
	// reasonBytes bounds what an index says of a document.
	reasonBytes = 2 << 10
)

// Letters is where records go that no index takes: the datasets' dead-letter topics.
type Letters interface {
	// Send returns nil when all replicas have the records, which are of kind KindLetter, in DeadLetters(dataset). Sending one
	// twice is harmless: a letter is known by its name. fault.Unavailable: try again later.
	Send(ctx context.Context, dataset string, letters []canal.Record) error
}

// refusal is a record that no index takes, and why.
type refusal struct {
	record *canal.Record
	reason string
}

// letter is the record of a dead-letter topic for a refused one.
func letter(r *canal.Record, reason string, nowMs int64) canal.Record {
	h := r.Header
	if len(reason) > reasonBytes {
		reason = string(bytes.ToValidUTF8([]byte(reason[:reasonBytes]), []byte("?"))) + " …"
	}
	v := canal.Letter{Key: asJSON(canal.Payload(r.Key)), Shard: h.Shard, GTID: h.GTID, Row: h.Ordinal, Bytes: len(r.Value), Reason: reason, TsMs: nowMs,
		Record: &canal.LetterRecord{Partition: r.Partition, Offset: r.Offset, Hash: h.Hash.String()}}
	value := canal.Payload(r.Value)
	if c, err := parseEnvelope(value); err == nil {
		v.Op = string(c.op)
	}
	switch {
	case json.Valid(value) && len(value) <= letterBytes:
		v.Record.Value = value
	case len(value) <= letterBytes/2: // it is a third longer in base64
		v.Record.Raw = value
	}
	return canal.Record{Dataset: canal.DeadLetters(r.Dataset), Key: r.Key, Value: plainJSON(v),
		Header: canal.Header{Term: h.Term, Seq: h.Seq, Kind: canal.KindLetter, GTID: h.GTID, Ordinal: h.Ordinal}}
}

// asJSON is text as it is where it is JSON, else as a JSON string.
func asJSON(text []byte) json.RawMessage {
	if json.Valid(text) {
		return text
	}
	return plainJSON(string(bytes.ToValidUTF8(text, []byte("\ufffd"))))
}

// plainJSON is v's JSON with < and > as they are, so that a row in it is as it was.
func plainJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("marshal plain fields: " + err.Error()) // a broken type, not bad input
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// sendLetters hands over what was refused of the batch, or stops the dataset where that is no answer.
func (p *partition) sendLetters(ctx context.Context) error {
	n := int64(len(p.refused))
	if n == 0 {
		return nil
	}
	first := &p.refused[0]
	if p.s.cfg.Letters == nil {
		return p.where(first.record, fault.New(fault.Invalid, "apply change", "it is refused: %s", first.reason).
			WithHint("nothing after it in partition %d is committed; correct the row or the dataset's declaration", p.n))
	}
	letters, docs, ok := p.t.reserve(n, int64(len(p.docs)+p.unread))
	if !ok {
		return p.where(first.record, fault.New(fault.Invalid, "apply change",
			"%d of %d documents are refused since the dataset began or was resumed, this one because: %s", letters, docs, first.reason).
			WithHint("so many point to a wrong declaration of the dataset, or to somebody else's records in its topic, and no further letter is sent. "+
				"Correct it and restart; or, if they are to become letters, strata sync resume %s lets up to %d more pass, or %d and a tenth of the documents",
				p.t.d.Name, mostLetters, fewLetters))
	}
	now := p.s.cfg.Now().UnixMilli()
	out := make([]canal.Record, 0, n)
	for _, r := range p.refused {
		out = append(out, letter(r.record, r.reason, now))
	}
	err := p.s.step("sync.letter", "sync.lettered", func() error { return p.s.cfg.Letters.Send(ctx, p.t.d.Name, out) })
	if err != nil {
		p.t.reserve(-n, 0)
		return err
	}
	if letters == n {
		p.s.cfg.Log.Warn("documents are refused, in their place letters are sent; further ones of this dataset are only counted",
			"dataset", p.t.d.Name, "partition", p.n, "offset", first.record.Offset, "reason", first.reason)
	}
	return nil
}
