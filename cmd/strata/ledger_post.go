package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"strata/core"
	"strata/fault"
	"strata/node"
)

// LedgerPostCmd is `ledger post`.
type LedgerPostCmd struct {
	File string `arg:"" help:"JSON lines, one transfer each, in the API's form; - for stdin."`
}

const (
	postBatch   = 500
	maxLineSize = 1 << 20
)

// Run posts them in order, 500 at a time, and prints an answer a line. What is not booked makes the exit code 3.
func (c *LedgerPostCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	in := io.Reader(os.Stdin)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fault.Wrap(fault.Invalid, "open transfers", err)
		}
		defer f.Close()
		in = f
	}
	return withCore(ctx, m, cli, func(ctx context.Context, l *node.Ledgers) error {
		return m.postLines(ctx, l, in, c.File)
	})
}

func (m *Main) postLines(ctx context.Context, l *node.Ledgers, in io.Reader, name string) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLineSize)
	var batch []core.Transfer
	number, posted, refused := 0, 0, 0
	again := func() string {
		return fmt.Sprintf("what follows line %d is not posted; post the file again when it is mended: what is booked stays booked once", posted)
	}
	flush := func() error {
		answers, err := l.Ledger.Post(ctx, batch)
		if err != nil {
			return err
		}
		for i, a := range answers {
			if a.Outcome != core.Applied && a.Outcome != core.Replayed {
				refused++
			}
			m.answered = true
			if err := jsonLine(m.Stdout, answerForm(batch[i].ID, a)); err != nil {
				return err
			}
		}
		batch, posted = batch[:0], number
		return nil
	}
	for lines.Scan() {
		number++
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		t, err := core.ParseTransfer(lines.Bytes())
		if err == nil {
			err = core.CheckCaller(&t)
		}
		if err != nil {
			return fault.New(fault.Invalid, fmt.Sprintf("read %s line %d", name, number), "%w", err).
				WithHint("%s", again())
		}
		batch = append(batch, t)
		if len(batch) >= postBatch && !t.Linked {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fault.New(fault.Invalid, fmt.Sprintf("read %s line %d", name, number+1), "it is longer than %d bytes", maxLineSize).WithHint("%s", again())
	} else if err != nil {
		return fault.New(fault.Invalid, fmt.Sprintf("read %s after line %d", name, number), "%w", err).WithHint("%s", again())
	}
	if err := flush(); err != nil {
		return err
	}
	if refused > 0 {
		return fault.New(fault.Conflict, "post "+name, "%d transfers are not booked; their lines say why", refused)
	}
	return nil
}
