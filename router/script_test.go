package router_test

import (
	"path/filepath"
	"testing"

	"strata/catalog"
	"strata/db"
	"strata/router"
	"strata/router/mysql"
	"strata/router/routertest"
	sqltext "strata/router/sql"
)

func memoryRouter(t testing.TB, change ...func(*router.Config)) (*router.Router, *routertest.Memories) {
	t.Helper()
	w := routertest.NewMemories()
	cfg := routertest.Config(routertest.Event())
	cfg.Viewer, cfg.Sources = w, w.Sources()
	for _, f := range change {
		f(&cfg)
	}
	r, err := router.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

func serverRouter(t testing.TB, change ...func(*router.Config)) (*router.Router, *routertest.Servers) {
	t.Helper()
	w := routertest.NewServers(t, nil, func(live *db.DB, archives ...*db.DB) router.Viewer { return mysql.NewViewer(live, archives...) })
	cfg := routertest.Config(routertest.Event())
	cfg.Viewer, cfg.Sources = w, map[catalog.Store]router.Source{}
	for _, d := range []*db.DB{w.Live, w.Archived} {
		s, err := mysql.New(mysql.Config{DB: d, Now: routertest.Now})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Sources[d.Store()] = s
	}
	for _, f := range change {
		f(&cfg)
	}
	r, err := router.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.test")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file)+" in memory", func(t *testing.T) {
			r, w := memoryRouter(t)
			routertest.Script(t, file, r, w, routertest.Event(), sqltext.Parse)
		})
		t.Run(filepath.Base(file)+" on servers", func(t *testing.T) {
			r, w := serverRouter(t)
			routertest.Script(t, file, r, w, routertest.Event(), sqltext.Parse)
		})
	}
}

func TestMemoryFulfilsTheContract(t *testing.T) {
	routertest.Exercise(t, func(t *testing.T) routertest.Place {
		w := routertest.NewMemories()
		return routertest.Place{
			Source: w.Live, Sums: true, Beat: w.Beat,
			Load: func(t testing.TB, shard catalog.Shard, rows []catalog.Row) catalog.Holding {
				w.Load(t, nil, shard, rows)
				return catalog.Holding{Shard: shard, Store: catalog.Live}
			},
			Leave: func(t testing.TB, h catalog.Holding) { w.Archive(t, routertest.Event(), h.Shard.Table) },
		}
	})
}
