package elastic

import (
	"context"
	"encoding/json"

	"strata/fault"
	"strata/index"
)

// HighestTerm fulfils index.Reader. It refreshes what it looks at.
func (x *Index) HighestTerm(ctx context.Context) (uint32, error) {
	const op = "find highest term"
	there, err := x.inventory(ctx, x.names.prefix+"-*,"+x.names.stateIndex())
	if err != nil {
		return 0, err
	}
	var high uint32
	look := func(names []string, fields ...string) error {
		if len(names) == 0 {
			return nil
		}
		t, err := x.highestIn(ctx, op, names, fields)
		high = max(high, t)
		return err
	}
	if there[x.names.stateIndex()] != nil {
		if err := look([]string{x.names.stateIndex()}, "version", "term"); err != nil {
			return 0, err
		}
		delete(there, x.names.stateIndex())
	}
	var group []string
	size := 0
	for name, is := range there {
		if is.made == nil {
			return 0, notOurs(op, name)
		}
		group, size = append(group, name), size+len(name)+1
		if size < maxPath {
			continue
		}
		if err := look(group, own+".version"); err != nil {
			return 0, err
		}
		group, size = nil, 0
	}
	err = look(group, own+".version")
	return high, err
}

// highestIn returns the highest term in fields of some indices: of the field term as it is, of others as versions.
func (x *Index) highestIn(ctx context.Context, op string, names, fields []string) (uint32, error) {
	if err := x.refresh(ctx, op, names); err != nil {
		return 0, err
	}
	subs := make([]sub, len(fields))
	for i, f := range fields {
		subs[i] = sub{names, obj{"size": 1, "track_total_hits": false, "_source": false, "query": obj{"exists": obj{"field": f}},
			"sort": []any{obj{f: "desc"}}}}
	}
	answers, err := x.msearch(ctx, op, subs...)
	if err != nil {
		return 0, err
	}
	var high uint32
	for i := range answers {
		for _, h := range answers[i].Hits.Hits {
			var sort []uint64
			if err := json.Unmarshal(h.Sort, &sort); err != nil || len(sort) != 1 {
				return 0, fault.New(fault.Unavailable, op, "%s is no sort value: %v", h.Sort, err)
			}
			if fields[i] == "term" {
				high = max(high, uint32(sort[0]))
			} else {
				high = max(high, index.Version(sort[0]).Term())
			}
		}
	}
	return high, nil
}
