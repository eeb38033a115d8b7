package voucher

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"strata/core"
	"strata/core/mysql"
	"strata/local"
	"strata/local/localtest"
)

// TestShopOrder pays orders from a balance: user debited, merchant credited, fee kept and points granted in one transfer, and
// its voucher after it. Whatever step the process dies at, the same order sent again leaves exactly one of everything.
func TestShopOrder(t *testing.T) {
	dsn, record := schema(t), local.Record()
	whole := openShop(t, dsn, record.At)
	if err := whole.buy(t.Context(), "order-0"); err != nil {
		t.Fatal(err)
	}
	whole.wantOrders(t, 1)
	whole.stop()
	for i, point := range record.Points() {
		t.Run("crash at "+point, func(t *testing.T) {
			id := fmt.Sprintf("order-%d", i+1)
			first := openShop(t, dsn, local.NewTrap(point, 1).At)
			if err := first.buy(t.Context(), id); err == nil && strings.HasPrefix(point, "voucher.") {
				t.Fatal("no crash")
			}
			first.stop()
			again := openShop(t, dsn, nil)
			if err := again.buy(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			again.wantOrders(t, int64(i+2))
			again.stop()
		})
	}
}

// TestShopOrderTheNaiveWay is the same order as five services that are called in a row inside one local transaction, each
// with a transaction of its own: a crash between two of them loses money, and the order with it; sent again it takes more.
func TestShopOrderTheNaiveWay(t *testing.T) {
	for calls := 1; calls <= 4; calls++ {
		t.Run(fmt.Sprintf("crash after call %d", calls), func(t *testing.T) {
			n := openNaive(t)
			if err := n.buy(t.Context(), calls); !errors.Is(err, local.ErrCrash) {
				t.Fatal(err)
			}
			orders, user, sum := n.state(t)
			if orders != 0 || user != -10_000 || calls < 3 && sum == 0 {
				t.Fatalf("%d orders, user %d, sum %d: the naive form should have lost consistency", orders, user, sum)
			}
			if err := n.buy(t.Context(), -1); err != nil {
				t.Fatal(err)
			}
			if _, user, _ := n.state(t); user != -20_000 {
				t.Fatalf("user %d: the naive form should have taken the money twice", user)
			}
		})
	}
}

// shopRun is a running shop: a ledger, a store and an engine on one database.
type shopRun struct {
	ledger *mysql.Ledger
	store  *Store
	engine *Engine
	stop   func()
	clock  *core.Clock
}

func openShop(t *testing.T, dsn string, at func(string) error) *shopRun {
	t.Helper()
	clock := &core.Clock{}
	clock.Set(noon())
	quiet := true // accounts and rules are there before the shop opens
	d := openDB(t, dsn)
	ledger, err := mysql.New(t.Context(), mysql.Config{DB: d, Now: clock.Now, Consumers: []string{core.ForVouchers}, At: func(point string) error {
		if quiet || at == nil {
			return nil
		}
		return at(point)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.EnsureShards(t.Context(), noon(), noon().AddDate(0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	accounts := []core.Account{{ID: 9000, Name: "bank", Unit: "CNY"}, {ID: 9001, Name: "fees", Unit: "CNY"}, {ID: 9002, Name: "points pool", Unit: "POINT"},
		{ID: 1001, Name: "user", Unit: "CNY"}, {ID: 3001, Name: "user's points", Unit: "POINT"}, {ID: 2001, Name: "merchant", Unit: "CNY"}}
	if err := ledger.Open(t.Context(), accounts); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, d, nil)
	if status, err := s.Status(t.Context()); err != nil {
		t.Fatal(err)
	} else if status.Newest == 0 {
		put(t, s, 0, shop(t), noon())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	r := &shopRun{ledger: ledger, store: openStore(t, d, at), clock: clock}
	r.engine = engine(t, r.store, ledger.Feed(core.ForVouchers))
	quiet = false
	go func() { done <- ledger.Run(ctx) }()
	stopped := false
	r.stop = func() {
		if cancel(); !stopped {
			stopped = true
			<-done
		}
	}
	t.Cleanup(r.stop)
	return r
}

// buy sends the order and makes the vouchers.
func (r *shopRun) buy(ctx context.Context, id string) error {
	_, doc, err := r.store.InForce(ctx, noon())
	if err != nil {
		return err
	}
	order, err := doc.Transfer("shop_order", core.Transfer{ID: id, OrderTime: noon()},
		map[string]string{"user": "1001", "points": "3001", "merchant": "2001", "price": "10000"})
	if err != nil {
		return err
	}
	answers, err := r.ledger.Post(ctx, []core.Transfer{order})
	if err != nil {
		return err
	}
	if o := answers[0].Outcome; o != core.Applied && o != core.Replayed {
		return fmt.Errorf("%+v", answers[0])
	}
	return drain(ctx, r.engine)
}

// wantOrders wants n orders in the ledger and in the books.
func (r *shopRun) wantOrders(t *testing.T, n int64) {
	t.Helper()
	for id, want := range map[int64]int64{1001: -10_000, 2001: 9750, 9001: 250, 9002: -100, 3001: 100} {
		if a, err := r.ledger.Balance(t.Context(), id); err != nil || a.Balance != n*want || a.Entries != n {
			t.Errorf("account %d: %d in %d entries instead of %d: %v", id, a.Balance, a.Entries, n*want, err)
		}
	}
	sums := map[string]string{}
	if err := r.store.Balances(t.Context(), noon(), func(s Sum) error {
		net := s.Credit
		net.AddSum(s.Debit.Neg())
		sums[s.Subject] = net.String()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for subject, want := range map[string]int64{"2001": -10_000, "2002": 9750, "6001": 236, "6001.tax": 14, "6701": -100, "2901": 100} {
		if sums[subject] != fmt.Sprint(n*want) {
			t.Errorf("subject %s: %s instead of %d", subject, sums[subject], n*want)
		}
	}
	wantClean(t, r.store, Checking{})
}

// naive is five services with a database each; here they are tables, and each call is a transaction.
type naive struct{ db *sql.DB }

func openNaive(t *testing.T) *naive {
	d := localtest.DB(t, schema(t))
	for _, q := range []string{"CREATE TABLE shop_order (id INT PRIMARY KEY)", "CREATE TABLE balance (name VARCHAR(20) PRIMARY KEY, amount BIGINT NOT NULL)",
		"CREATE TABLE voucher (id INT AUTO_INCREMENT PRIMARY KEY)", "INSERT INTO balance VALUES ('user',0),('merchant',0),('fee',0),('points',0)"} {
		localtest.Exec(t, d, q)
	}
	return &naive{d}
}

// buy dies after some calls; -1: it does not.
func (n *naive) buy(ctx context.Context, calls int) error {
	tx, err := n.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "INSERT INTO shop_order VALUES (1)"); err != nil {
		return err
	}
	for i, call := range []string{
		"UPDATE balance SET amount = amount - 10000 WHERE name = 'user'",
		"UPDATE balance SET amount = amount + 9750 WHERE name = 'merchant'",
		"UPDATE balance SET amount = amount + 250 WHERE name = 'fee'",
		"UPDATE balance SET amount = amount + 100 WHERE name = 'points'",
		"INSERT INTO voucher VALUES ()",
	} {
		if i == calls {
			return local.ErrCrash
		}
		if _, err := n.db.ExecContext(ctx, call); err != nil { // a service: it has committed when it answers
			return err
		}
	}
	return tx.Commit()
}

func (n *naive) state(t *testing.T) (orders, user, sum int64) {
	t.Helper()
	err := n.db.QueryRowContext(t.Context(), `SELECT (SELECT COUNT(*) FROM shop_order), (SELECT amount FROM balance WHERE name = 'user'),
 (SELECT SUM(amount) FROM balance WHERE name <> 'points')`).Scan(&orders, &user, &sum)
	if err != nil {
		t.Fatal(err)
	}
	return orders, user, sum
}
