package elastic

import (
	"strings"
	"time"
)

// Request is one request to Elasticsearch, over.
type Request struct {
	Operation string // bulk, search, get, put (of strata's own state), refresh, or admin, which is all else
	Status    int    // 0: there was no answer
	Bytes     int    // of a bulk's body
	Took      time.Duration
}

// operation is what a path is for.
func operation(path string) string {
	switch last := path[strings.LastIndexByte(path, '/')+1:]; {
	case last == "_bulk":
		return "bulk"
	case last == "_search", last == "_msearch", last == "_count", last == "_pit":
		return "search"
	case last == "_refresh":
		return "refresh"
	case last == "_mget":
		return "get"
	case strings.Contains(path, "/_doc/"):
		return "put"
	}
	return "admin"
}

// seen tells Config.Observe of a request.
func (c *client) seen(r request, began time.Time, code int) {
	size := 0
	if text, ok := r.body.(string); ok {
		size = len(text)
	}
	c.observe(Request{Operation: operation(r.path), Status: code, Bytes: size, Took: c.now().Sub(began)})
}
