package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"strata/canal"
	"strata/canal/control"
	"strata/catalog"
	"strata/fault"
	"strata/node"
	"strata/router"
)

// CanalRepairCmd is `canal repair`.
type CanalRepairCmd struct {
	Dataset string   `arg:"" help:"Dataset."`
	Shard   string   `arg:"" help:"Physical table."`
	Keys    []string `arg:"" name:"key" help:"Primary keys; the cells of a composite one joined by commas."`
	Why     string   `required:"" help:"Why, for the evidence."`
	Who     string   `help:"Who wants it. Default: user@host." placeholder:"NAME"`
	DryRun  bool     `help:"Print what would be repaired, and stop."`
}

// Run enqueues the keys for the leader.
func (c *CanalRepairCmd) Run(ctx context.Context, m *Main, cli *CLI) error {
	if err := checkWords(who(m, c.Who), c.Why); err != nil {
		return err
	}
	return withDesk(ctx, m, cli, attachOnly, func(ctx context.Context, n *node.Node, desk *control.Control) error {
		keys, err := repairKeys(ctx, n, c.Dataset, c.Shard, c.Keys, c.Why)
		if err != nil {
			return err
		}
		if !c.DryRun {
			err = desk.AddKeys(ctx, keys, who(m, c.Who), c.Why)
		}
		if err != nil || cli.JSON {
			return m.orJSON(map[string]any{"keys": keys, "enqueued": !c.DryRun}, err)
		}
		verb := "wait for repair"
		if c.DryRun {
			verb = "would be repaired"
		}
		fmt.Fprintf(m.Stdout, "%d keys of %s %s\n", len(keys), c.Shard, verb)
		return nil
	})
}

// repairKeys checks keys as they were typed.
func repairKeys(ctx context.Context, n *node.Node, dataset, shard string, typed []string, why string) ([]canal.RepairKey, error) {
	d, err := n.Dataset(dataset)
	if err != nil {
		return nil, err
	}
	if _, ok := d.ShardOf(shard); !ok {
		return nil, fault.New(fault.Invalid, "read shard", "%q is no table of dataset %s", shard, dataset).WithHint("strata catalog show lists them")
	}
	keys := make([]canal.RepairKey, 0, len(typed))
	for _, text := range typed {
		key, err := readKey(d, text)
		if err != nil {
			return nil, err
		}
		k := canal.RepairKey{Dataset: dataset, Shard: shard, Key: key, Why: why}
		if !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys, atHome(ctx, n, d, keys)
}

// atHome refuses a key whose row is in another shard: repaired as one of this, it would be told to be gone.
func atHome(ctx context.Context, n *node.Node, d *catalog.Dataset, keys []canal.RepairKey) error {
	if len(keys) == 0 || !d.Sharded() || slices.Contains(d.Key, d.Time) {
		return nil
	}
	named, _ := d.ShardOf(keys[0].Shard)
	for _, k := range keys {
		cells, err := k.Key.Cells()
		if err != nil {
			return fault.Wrap(fault.Invalid, "read key", err)
		}
		q := router.Query{Dataset: d.Name, Columns: []string{d.Time}, Freshness: router.Freshness{Strong: true}, Limit: 2}
		q.Filter.Op = catalog.And
		for i, name := range d.Key {
			q.Filter.Args = append(q.Filter.Args, catalog.Filter{Op: catalog.Eq, Column: name, Values: []string{cells[i]}})
		}
		at, ok, err := timeOf(ctx, n, d, q)
		if err != nil {
			return err
		}
		if home := d.ShardAt(at); ok && !named.Late && home.Table != named.Table {
			return fault.New(fault.Invalid, "repair "+string(k.Key), "its row is not in shard %s: it is of %s", named.Table, at).
				WithHint("strata canal repair %s %s %s", d.Name, home.Table, k.Key)
		}
	}
	return nil
}

// timeOf is the time of the row that a query finds; false: it finds none.
func timeOf(ctx context.Context, n *node.Node, d *catalog.Dataset, q router.Query) (at catalog.Instant, ok bool, err error) {
	res, err := n.Router().Query(ctx, q)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, res.Close()) }()
	row, err := res.Next(ctx)
	if errors.Is(err, io.EOF) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	c, _ := d.Column(d.Time)
	at, ok = catalog.InstantOf(c.Type, row.Cell(0))
	return at, ok, nil
}
