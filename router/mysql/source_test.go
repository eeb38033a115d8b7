package mysql_test

import (
	"testing"

	"strata/catalog"
	"strata/db"
	"strata/router"
	"strata/router/mysql"
	"strata/router/routertest"
)

func viewer(live *db.DB, archives ...*db.DB) router.Viewer { return mysql.NewViewer(live, archives...) }

func source(t testing.TB, d *db.DB) *mysql.Source {
	t.Helper()
	s, err := mysql.New(mysql.Config{DB: d, Now: routertest.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLiveFulfilsTheContract(t *testing.T) {
	routertest.Exercise(t, func(t *testing.T) routertest.Place {
		w := routertest.NewServers(t, nil, viewer)
		d := routertest.Event()
		return routertest.Place{
			Source: source(t, w.Live), Sums: true, Beat: w.Beat,
			Load: func(t testing.TB, shard catalog.Shard, rows []catalog.Row) catalog.Holding {
				w.Load(t, d, shard, rows)
				return catalog.Holding{Shard: shard, Store: catalog.Live}
			},
			Leave: func(t testing.TB, h catalog.Holding) { w.Archive(t, d, h.Shard.Table) },
		}
	})
}

func TestArchiveFulfilsTheContract(t *testing.T) {
	routertest.Exercise(t, func(t *testing.T) routertest.Place {
		w := routertest.NewServers(t, nil, viewer)
		d := routertest.Event()
		return routertest.Place{
			Source: source(t, w.Archived), Sums: true,
			Load: func(t testing.TB, shard catalog.Shard, rows []catalog.Row) catalog.Holding {
				w.Load(t, d, shard, rows)
				w.Archive(t, d, shard.Table)
				return catalog.Holding{Shard: shard, Store: catalog.Archive, Epoch: 1}
			},
			Leave: func(t testing.TB, h catalog.Holding) { w.Restore(t, d, h.Shard.Table) },
		}
	})
}
