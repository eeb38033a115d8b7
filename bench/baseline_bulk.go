package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"
)

const bulkPrefix = "bare-" // of the loader's indices

// bulks are a loader's: made before, sent by goroutines of its own.
type bulks struct {
	url     string
	workers int
	indices map[string]json.RawMessage // settings and mappings, by name
	bodies  [][]byte
}

// load makes the indices, sends every bulk and refreshes.
func (b *bulks) load(ctx context.Context) error {
	for name, body := range b.indices {
		if err := b.call(ctx, http.MethodPut, "/"+name, body, nil); err != nil {
			return err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	for w := range b.workers {
		g.Go(func() error {
			for i := w; i < len(b.bodies); i += b.workers {
				var answer struct{ Errors bool }
				if err := b.call(gctx, http.MethodPost, "/_bulk?filter_path=errors,items.*.status", b.bodies[i], &answer); err != nil || answer.Errors {
					return fmt.Errorf("bulk %d: errors: %v %w", i, answer.Errors, err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return b.call(ctx, http.MethodPost, "/"+bulkPrefix+"*/_refresh", nil, nil)
}

func (b *bulks) call(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", map[bool]string{true: "application/x-ndjson", false: "application/json"}[strings.HasPrefix(path, "/_bulk")])
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s %.500s %w", method, path, res.Status, answer, err)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}
