package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// watch reads all balances again and again, each time at one moment, until stop is closed: they have to sum to nothing per
// unit, as what is reserved has. It returns how often it could.
func (b *bank) watch(stop <-chan struct{}) (reads int) {
	for {
		select {
		case <-stop:
			return reads
		default:
		}
		read, err := b.sums()
		if err == nil && reads%4 == 3 {
			read, err = b.listed()
		}
		if err != nil {
			b.t.Error(err)
			return reads
		}
		if read {
			reads++
		}
	}
}

// sums reads balances and buffers in one statement. A database that is away is no error.
func (b *bank) sums() (read bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	rows, err := b.db.QueryContext(ctx, `SELECT unit, SUM(balance), SUM(pending_credits)-SUM(pending_debits), SUM(known), SUM(balance>0) FROM (
		SELECT unit, balance, pending_debits, pending_credits, parent=0 AS known FROM account
		UNION ALL SELECT unit, amount, 0, 0, 0 FROM buffer) a GROUP BY unit`)
	if err != nil {
		return false, nil // it is killed now and then
	}
	defer rows.Close()
	known, rich := 0, 0
	var wrong []string
	for rows.Next() {
		var unit string
		var sum, pending int64
		var n, above int
		if err := rows.Scan(&unit, &sum, &pending, &n, &above); err != nil {
			return false, err
		}
		if known, rich = known+n, rich+above; sum != 0 || pending != 0 {
			wrong = append(wrong, fmt.Sprintf("%s sums to %d, what is reserved to %d", unit, sum, pending))
		}
	}
	if rows.Err() != nil {
		return false, nil // the same
	}
	if known != b.units || rich == 0 || len(wrong) > 0 {
		return false, fmt.Errorf("one read of all balances: %d accounts, %d above 0: %s", known, rich, strings.Join(wrong, "; "))
	}
	return true, nil
}

// listed asks the API for all accounts, which is one statement, too.
func (b *bank) listed() (read bool, err error) {
	status, answer := b.ask(b.tellers[0], http.MethodGet, "/v1/accounts?limit=1000", nil)
	if status != 200 {
		return false, nil
	}
	sums, balances, err := b.balances(answer)
	if err != nil {
		return false, err
	}
	for unit, sum := range sums {
		if sum != 0 || len(balances) != b.units {
			return false, fmt.Errorf("the list of %d accounts sums to %d in %s", len(balances), sum, unit)
		}
	}
	return true, nil
}

// balances reads a list of accounts: sums by unit, and balances by account. No account is beyond its minimum.
func (b *bank) balances(list []byte) (sums map[string]int64, balances map[int64]int64, err error) {
	var form struct {
		Accounts []struct {
			ID        int64 `json:",string"`
			Balance   int64 `json:",string"`
			Available int64 `json:",string"`
			Unit      string
			Min       *string `json:"min_balance"` // digits
		}
	}
	if err := json.Unmarshal(list, &form); err != nil {
		return nil, nil, err
	}
	sums, balances = map[string]int64{}, map[int64]int64{}
	for _, a := range form.Accounts {
		sums[a.Unit] += a.Balance
		balances[a.ID] = a.Balance
		if a.Min != nil {
			if low, err := strconv.ParseInt(*a.Min, 10, 64); err != nil || a.Available < low {
				return nil, nil, fmt.Errorf("account %d has %d available, and the minimum %s", a.ID, a.Available, *a.Min)
			}
		}
	}
	return sums, balances, nil
}
