package binlog

import (
	"slices"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/google/uuid"

	"strata/fault"
)

// position is a GTID set that grows by one group at a time.
type position interface {
	addMaria(domain, server uint32, seq uint64)
	addMySQL(id uuid.UUID, n int64)
	String() string
}

func newPosition(flavor, text string) (position, error) {
	if flavor != mysql.MariaDBFlavor {
		set, err := mysql.ParseMysqlGTIDSet(text)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "parse position "+text, err)
		}
		return &mysqlPosition{set.(*mysql.MysqlGTIDSet)}, nil
	}
	p := &mariaPosition{}
	for g := range strings.SplitSeq(text, ",") {
		if g = strings.TrimSpace(g); g == "" {
			continue
		}
		id, err := mysql.ParseMariadbGTID(g)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "parse position "+text, err)
		}
		p.addMaria(id.DomainID, id.ServerID, id.SequenceNumber)
	}
	return p, nil
}

// mariaPosition is one GTID per domain, by domain.
type mariaPosition struct{ last []mysql.MariadbGTID }

func (p *mariaPosition) addMaria(domain, server uint32, seq uint64) {
	i, ok := slices.BinarySearchFunc(p.last, domain, func(g mysql.MariadbGTID, d uint32) int { return int(int64(g.DomainID) - int64(d)) })
	if !ok {
		p.last = slices.Insert(p.last, i, mysql.MariadbGTID{})
	}
	p.last[i] = mysql.MariadbGTID{DomainID: domain, ServerID: server, SequenceNumber: seq}
}

func (p *mariaPosition) addMySQL(uuid.UUID, int64) {}

// String is domain-server-sequence, joined by commas.
func (p *mariaPosition) String() string {
	b := make([]byte, 0, 24*len(p.last))
	for i, g := range p.last {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendGTID(b, g)
	}
	return string(b)
}

func appendGTID(b []byte, g mysql.MariadbGTID) []byte {
	b = strconv.AppendUint(b, uint64(g.DomainID), 10)
	b = strconv.AppendUint(append(b, '-'), uint64(g.ServerID), 10)
	return strconv.AppendUint(append(b, '-'), g.SequenceNumber, 10)
}

type mysqlPosition struct{ set *mysql.MysqlGTIDSet }

func (p *mysqlPosition) addMaria(uint32, uint32, uint64) {}

func (p *mysqlPosition) addMySQL(id uuid.UUID, n int64) { p.set.AddGTID(id, n) }

// String is MySQL's form of a GTID set.
func (p *mysqlPosition) String() string { return p.set.String() }

// Reached is part of canal.Source.
func (s *Source) Reached(at, want string) (bool, error) {
	a, err := mysql.ParseGTIDSet(s.flavor, at)
	if err != nil {
		return false, fault.Wrap(fault.Invalid, "parse position "+at, err)
	}
	w, err := mysql.ParseGTIDSet(s.flavor, want)
	if err != nil {
		return false, fault.Wrap(fault.Invalid, "parse position "+want, err)
	}
	return a.Contain(w), nil
}
