package node

import (
	"context"
	"net/url"
	"os"

	"strata/index"
	"strata/index/elastic"
	"strata/index/sqlite"
)

// Index says where the search copy of the datasets is.
type Index struct {
	// Elastic is an Elasticsearch 7.17. Absent: the embedded index, in the data folder.
	Elastic *Elastic `yaml:"elastic,omitempty"`
}

// Elastic is an Elasticsearch.
type Elastic struct {
	// URL of a node, or of what stands before several; http or https.
	URL string `yaml:"url"`
	// Prefix begins the names of strata's indices. Default strata. Two pipelines in one Elasticsearch need two.
	Prefix string `yaml:"prefix,omitempty"`
	// Shards is how many parts an index has that is made from now on: a part of tens of millions of rows is large. Default 1.
	Shards int `yaml:"shards,omitempty"`
	// Replicas is how many copies an index has that is made from now on. Default: one where there is a second node.
	Replicas *int `yaml:"replicas,omitempty"`
	// User and Password for basic authentication. Default: none.
	User     string `yaml:"user,omitempty"`
	Password Secret `yaml:"password,omitempty"`
}

// SyncConfig says how records become documents.
type SyncConfig struct {
	// RepairGaps lets sync order the repair of records that a topic has lost. Default true; false: a person does, and the
	// dataset's watermark stands still until then.
	RepairGaps *bool `yaml:"repair_gaps,omitempty"`
}

func (x *Index) check(list *problems) {
	e := x.Elastic
	if e == nil {
		return
	}
	bad := func(at, format string, args ...any) { list.add("index.elastic."+at, "index.elastic: "+format, args...) }
	switch u, err := url.Parse(e.URL); {
	case err == nil && u.User != nil:
		bad("url", "a URL with a password is seen by others: user and password have keys of their own")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https": // without it: it may have a password all the same
		bad("url", "it is no URL such as http://127.0.0.1:9200")
	}
	if e.Shards < 0 || e.Shards > elastic.MaxParts {
		bad("shards", "shards are 1 to %d", elastic.MaxParts)
	}
	if e.Replicas != nil && (*e.Replicas < 0 || *e.Replicas > elastic.MaxParts) {
		bad("replicas", "replicas are 0 to %d", elastic.MaxParts)
	}
	if err := e.Password.check(); err != nil {
		bad("password", "%w", err)
	}
	if (e.User == "") != (e.Password == Secret{}) {
		bad("user", "user and password go together")
	}
}

// openIndex opens the search copy; what is asked of it is counted.
func (n *Node) openIndex(ctx context.Context) error {
	shelf, err := n.openShelf(ctx)
	if err != nil {
		return err
	}
	n.index, err = index.NewGenerations(index.GenerationsConfig{Shelf: &meteredShelf{shelf, n.metrics, n.now}, Now: n.now, At: n.at})
	return err
}

func (n *Node) openShelf(ctx context.Context) (index.Shelf, error) {
	e := n.cfg.Index.Elastic
	if e == nil {
		n.indexKind = "sqlite"
		return sqlite.Open(ctx, sqlite.Config{Dir: n.IndexDir(), At: n.at})
	}
	n.indexKind = "elastic"
	return e.open(ctx, os.Getenv, elastic.Config{Log: n.log, Now: n.now, Observe: n.metrics.sawElastic})
}

// open asks the server who it is.
func (e *Elastic) open(ctx context.Context, getenv func(string) string, cfg elastic.Config) (*elastic.Index, error) {
	password, err := e.Password.Read("the password of Elasticsearch", getenv)
	if err != nil {
		return nil, err
	}
	cfg.URL, cfg.Prefix, cfg.User, cfg.Password = e.URL, e.Prefix, e.User, string(password)
	cfg.Shards, cfg.Replicas = e.Shards, e.Replicas
	return elastic.Open(ctx, cfg)
}

// index asks the Elasticsearch of the configuration who it is.
func (k *checker) index(ctx context.Context) {
	e := k.cfg.Index.Elastic
	if e == nil {
		return
	}
	x, err := e.open(ctx, k.r.Getenv, elastic.Config{})
	if err == nil {
		err = x.Close()
	}
	if err != nil {
		k.list.addAll("index.elastic.url", err)
		return
	}
	k.servers = append(k.servers, "elastic: "+e.URL)
}
