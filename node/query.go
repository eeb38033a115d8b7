package node

import (
	"strata/catalog"
	"strata/router"
	indexsource "strata/router/index"
	routermysql "strata/router/mysql"
	routersql "strata/router/sql"
)

// cursorKey is the file of the key that signs cursors.
const cursorKey = "cursor.key"

func (n *Node) newRouter() (*router.Router, error) {
	live, err := routermysql.New(routermysql.Config{DB: n.live, Now: n.now})
	if err != nil {
		return nil, err
	}
	arch, err := routermysql.New(routermysql.Config{DB: n.archive, Now: n.now})
	if err != nil {
		return nil, err
	}
	idx, err := indexsource.New(indexsource.Config{Index: n.index, Now: n.now})
	if err != nil {
		return nil, err
	}
	secret, err := n.key(cursorKey)
	if err != nil {
		return nil, err
	}
	return router.New(router.Config{
		Datasets: n.datasets, Viewer: n.viewer,
		Sources: map[catalog.Store]router.Source{catalog.Live: live, catalog.Archive: arch},
		Index:   idx, Secret: secret, Now: n.now, Log: n.log, ScanRows: n.cfg.ScanRows,
	})
}

// ParseSQL turns SQL text into a query over the node's datasets.
func (n *Node) ParseSQL(text string) (router.Query, error) {
	return routersql.Parse(text)
}
