package node

import (
	"context"
	"time"

	"strata/archive"
	archivemysql "strata/archive/mysql"
	"strata/catalog"
	"strata/db"
)

// manifestKey is the file of the key that signs manifests.
const manifestKey = "manifest.key"

// Mover opens the archive's mover. progress is told rows passed and rows to pass of the table in work, three passes a
// table; nil for none.
func (n *Node) Mover(ctx context.Context, progress func(done, total int64)) (*archive.Mover, error) {
	live, err := n.liveAdmin(ctx)
	if err != nil {
		return nil, err
	}
	arch, err := n.archiveAdmin(ctx)
	if err != nil {
		return nil, err
	}
	control, err := n.control(ctx)
	if err != nil {
		return nil, err
	}
	// A pool of its own, without the queries' time limit: a compare is one long statement.
	reader, err := n.pool(ctx, "live mover", n.cfg.Live.DSN, catalog.Live, db.Reader)
	if err != nil {
		return nil, err
	}
	site, err := archivemysql.New(ctx, archivemysql.Config{
		Live: live, LiveReader: reader, Archive: arch, Copies: []*db.DB{arch}, Log: n.log, At: n.at, Progress: progress,
	})
	if err != nil {
		return nil, err
	}
	segments, err := archivemysql.NewControl(control)
	if err != nil {
		return nil, err
	}
	key, err := n.key(manifestKey)
	if err != nil {
		return nil, err
	}
	return archive.New(archive.Config{
		Site: site, Control: segments, Datasets: n.datasets, Policies: n.policies(), Key: key, Now: n.now, Log: n.log, At: n.at,
	})
}

func (n *Node) policies() []archive.Policy {
	out := make([]archive.Policy, len(n.cfg.Policies))
	for i, p := range n.cfg.Policies {
		out[i] = archive.Policy{Dataset: p.Dataset, Age: time.Duration(p.OlderThanDays) * 24 * time.Hour}
	}
	return out
}
