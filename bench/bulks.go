package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// hit is a document as Elasticsearch has it.
type hit struct {
	Index   string          `json:"_index"`
	ID      string          `json:"_id"`
	Version int64           `json:"_version"`
	Source  json.RawMessage `json:"_source"`
}

// copy makes bulks of what stands behind an alias: the same documents, ids and versions, in the order of the versions, for
// indices of the same mappings and settings under names of the loader's own.
func (b *bulks) copy(ctx context.Context, alias string) error {
	if err := b.copyIndices(ctx, alias); err != nil {
		return err
	}
	hits, err := b.scroll(ctx, alias)
	if err != nil {
		return err
	}
	slices.SortFunc(hits, func(x, y hit) int { return cmp.Compare(x.Version, y.Version) })
	for some := range slices.Chunk(hits, bareBatch) {
		var body []byte
		for _, h := range some {
			id, err := json.Marshal(h.ID)
			if err != nil {
				return err
			}
			body = fmt.Appendf(body, `{"index":{"_index":%q,"_id":%s,"version_type":"external","version":%d}}`+"\n", bulkPrefix+h.Index, id, h.Version)
			body = append(append(body, h.Source...), '\n')
		}
		b.bodies = append(b.bodies, body)
	}
	return nil
}

// copyIndices takes over what the indices were made with.
func (b *bulks) copyIndices(ctx context.Context, alias string) error {
	var all map[string]struct {
		Mappings json.RawMessage `json:"mappings"`
		Settings struct {
			Index map[string]any `json:"index"`
		} `json:"settings"`
	}
	if err := b.call(ctx, http.MethodGet, "/"+alias, nil, &all); err != nil {
		return err
	}
	b.indices = map[string]json.RawMessage{}
	for name, x := range all {
		for _, own := range []string{"creation_date", "uuid", "version", "provided_name"} { // of the index alone
			delete(x.Settings.Index, own)
		}
		body, err := json.Marshal(map[string]any{"mappings": x.Mappings, "settings": map[string]any{"index": x.Settings.Index}})
		if err != nil {
			return err
		}
		b.indices[bulkPrefix+name] = body
	}
	return nil
}

// scroll reads all documents.
func (b *bulks) scroll(ctx context.Context, alias string) (all []hit, err error) {
	var page struct {
		Scroll string `json:"_scroll_id"`
		Hits   struct {
			Hits []hit `json:"hits"`
		} `json:"hits"`
	}
	err = b.call(ctx, http.MethodPost, "/"+alias+"/_search?scroll=1m&version=true&size=5000", []byte(`{"sort":["_doc"]}`), &page)
	for err == nil && len(page.Hits.Hits) > 0 {
		all = append(all, page.Hits.Hits...)
		page.Hits.Hits = nil
		err = b.call(ctx, http.MethodPost, "/_search/scroll", []byte(`{"scroll":"1m","scroll_id":`+strconv.Quote(page.Scroll)+`}`), &page)
	}
	return all, err
}

// count is how many documents the loader's indices have.
func (b *bulks) count(ctx context.Context) (int, error) {
	var answer struct {
		Count int `json:"count"`
	}
	err := b.call(ctx, http.MethodGet, "/"+bulkPrefix+"*/_count", nil, &answer)
	return answer.Count, err
}

// remove deletes the indices that match.
func (b *bulks) remove(ctx context.Context, patterns ...string) error {
	var list map[string]json.RawMessage
	if err := b.call(ctx, http.MethodGet, "/"+strings.Join(patterns, ",")+"/_settings?expand_wildcards=all", nil, &list); err != nil {
		return err
	}
	for name := range list {
		if err := b.call(ctx, http.MethodDelete, "/"+name, nil, nil); err != nil {
			return err
		}
	}
	return nil
}
