package main

import (
	"encoding/json"
	"testing"
	"time"
)

// TestLedgerCommands posts to a ledger of its own folder, whose demo is over.
func TestLedgerCommands(t *testing.T) {
	t.Parallel()
	dir := demoFolder(t)
	prove(t, dir, "--transfers=60", "--accounts=80", "--today=0")
	ledger := func(args ...string) result { return strata(t, append([]string{"ledger", "--data", dir}, args...)...) }
	ledger("open", "900001", "--unit=EUR", "--name=till").want(t, 0, "account 900001", "till", "EUR  0.00 (0 minor units)  open  0 entries")
	ledger("open", "900001", "--unit=EUR", "--name=till").want(t, 0, "account 900001")
	ledger("open", "900001", "--unit=USD", "--name=till").want(t, 3, "900001")
	ledger("open", "900002", "--unit=EUR", "--minimum=0").want(t, 0)
	post := func(id, amount string, more ...string) result {
		return ledger(append([]string{"transfer", "--id=" + id, "--leg=900001:EUR:-" + amount, "--leg=900002:EUR:" + amount}, more...)...)
	}
	post("cli-1", "1250", "--memo=first").want(t, 0, "cli-1 applied, ordered ", "account 900001 entry 1 balance -1250", "account 900002 entry 1 balance 1250")
	post("cli-1", "1250", "--memo=first").want(t, 3, "hint: ", "--order") // ordered at another time: another body
	order := "--order=" + time.Now().UTC().Format(time.RFC3339)
	for _, outcome := range []string{"applied", "replayed"} {
		post("cli-4", "50", order).want(t, 0, "cli-4 "+outcome, "account 900001 entry 2 balance -1300", "account 900002 entry 2 balance 1300")
	}
	post("cli-4", "51", order).want(t, 3, "cli-4", "hint: ", "new id")
	post("cli-4", "50", order, "--memo=other").want(t, 3, "cli-4")
	j := post("cli-5", "50", order, "--json")
	j.want(t, 0)
	var answer struct {
		ID, Outcome string
		Balances    []struct{ Account, Seq, Balance int64 }
	}
	if err := json.Unmarshal([]byte(j.stdout), &answer); err != nil || answer.ID != "cli-5" || answer.Outcome != "applied" || len(answer.Balances) != 2 || answer.Balances[1].Balance != 1350 {
		t.Errorf("%v: %s", err, j)
	}
	ledger("balance", "900002").want(t, 0, "EUR  13.50 (1350 minor units)  open  3 entries")
	r := ledger("balance", "900002", "--json")
	r.want(t, 0)
	var a struct{ ID, Balance, Entries int64 }
	if err := json.Unmarshal([]byte(r.stdout), &a); err != nil || a.Balance != 1350 || a.Entries != 3 {
		t.Errorf("%v: %s", err, r)
	}
	ledger("transfer", "--id=cli-2", "--leg=900002:EUR:-99999", "--leg=900001:EUR:99999").want(t, 3, "cli-2", "900002", "minimum")
	ledger("transfer", "--id=cli-3", "--leg=900002:EUR:-5", "--leg=900001:EUR:4").want(t, 3, "cli-3")
	strata(t, "verify", "--data", dir).want(t, 0, "0 differences")
}
