package main

import (
	"context"
	"encoding/json"
	"os"
	"testing"

	"strata/local/localtest"
	"strata/sync/rebuild"
)

// TestSyncRebuild orders rebuilds of a pipeline that another process runs.
func TestSyncRebuild(t *testing.T) {
	t.Parallel()
	m := localtest.Maria(t)
	live, archive, ctl := localtest.Schema(t, m), localtest.Schema(t, m), localtest.Schema(t, m)
	raw := localtest.DB(t, live)
	localtest.Exec(t, raw, "CREATE TABLE bill (id INT PRIMARY KEY, memo VARCHAR(20))")
	localtest.Exec(t, raw, "INSERT INTO bill SELECT seq, 'seen' FROM seq_1_to_500")
	path := configWith(t, live, archive, localtest.Kafka(t).Brokers()[0], "control: {dsn: \""+ctl+"\"}\nheartbeat_ms: 200\ndatasets: [{name: bill}]\n")
	serve, err := begin(context.Background(), nil, "serve", "--roles=canal,sync", "-c", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serve.cmd.Process.Signal(os.Interrupt)
		if r := serve.end(); t.Failed() {
			t.Log(r)
		}
	})
	do := func(args ...string) result {
		return strata(t, append([]string{"sync", "rebuild", "-c", path}, args...)...)
	}
	localtest.Eventually(t, runLimit, "a rebuild is begun and followed to its end", func() (bool, error) {
		r := do("bill", "--why=to try it", "--who=ann")
		if r.code == 3 { // nothing was captured yet
			return false, nil
		}
		r.want(t, 0, "generation 2 of bill is built", "generation 2 of bill: done", "500 rows compared, none differs")
		return true, nil
	})
	do("--list").want(t, 0, "serving", "old", "ann", "to try it", "500")
	do("bill", "--drop=2", "--yes").want(t, 3, "answers")
	do("bill", "--drop=1").want(t, 2, "delete generation 1 of bill: old", "--yes")
	do("bill", "--drop=1", "--yes").want(t, 0, "generation 1 of bill is deleted")
	do("bill", "--abort", "--yes").want(t, 2, "no rebuild is under way")
	do("bill", "--pause").want(t, 2, "no rebuild is under way")
	do("bill", "--pause", "--resume").want(t, 2)
	do("nothing").want(t, 2, "nothing")
	do().want(t, 2, "no dataset is named")
	do("bill", "--why= ").want(t, 2, "blank")
	do("bill", "--detach", "--why=again").want(t, 0, "generation 3 of bill: filling")
	localtest.Eventually(t, runLimit, "the detached one is over", func() (bool, error) {
		var list []rebuild.Line
		r := do("--list", "--json")
		if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
			return false, err
		}
		last := list[len(list)-1]
		return last.Number == 3 && last.Rebuild != nil && last.Rebuild.Phase == rebuild.Done, nil
	})
	strata(t, "verify", "--part=index", "-c", path).want(t, 0, "500 rows compared, 0 differences")
	strata(t, "canal", "evidence", "-c", path).want(t, 0, "rebuild", "to try it", "ann")
}
