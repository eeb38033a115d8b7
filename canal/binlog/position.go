package binlog

import (
	"slices"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/google/uuid"

	"strata/canal"
	"strata/fault"
)

// position is a GTID set that grows by one group at a time.
type position interface {
	addMaria(domain, server uint32, seq uint64)
	addMySQL(id uuid.UUID, tag mysql.Tag, n int64)
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
	list, err := parseMaria(text)
	if err != nil {
		return nil, err
	}
	p := &mariaPosition{}
	for _, g := range list {
		p.addMaria(g.DomainID, g.ServerID, g.SequenceNumber)
	}
	return p, nil
}

// parseMaria reads a list of GTIDs.
func parseMaria(text string) ([]mysql.MariadbGTID, error) {
	var out []mysql.MariadbGTID
	for g := range strings.SplitSeq(text, ",") {
		if g = strings.TrimSpace(g); g == "" {
			continue
		}
		id, err := mysql.ParseMariadbGTID(g)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "parse position "+text, err)
		}
		out = append(out, *id)
	}
	return out, nil
}

// lastOf is the GTID with the highest number in a domain, of one server or of any; nil where there is none.
func lastOf(list []mysql.MariadbGTID, domain uint32, server *uint32) *mysql.MariadbGTID {
	var out *mysql.MariadbGTID
	for i := range list {
		if g := &list[i]; g.DomainID == domain && (server == nil || g.ServerID == *server) && (out == nil || g.SequenceNumber > out.SequenceNumber) {
			out = g
		}
	}
	return out
}

func without(list []mysql.MariadbGTID, domain uint32) []mysql.MariadbGTID {
	return slices.DeleteFunc(slices.Clone(list), func(g mysql.MariadbGTID) bool { return g.DomainID == domain })
}

// usesDomain reports whether captured changes of the domain were read, so that a server without it lacks something.
func usesDomain(at canal.Position, domain uint32) bool {
	last, err := parseMaria(at.Last.GTID)
	return slices.Contains(at.Domains, domain) || err == nil && lastOf(last, domain, nil) != nil
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

func (p *mariaPosition) addMySQL(uuid.UUID, mysql.Tag, int64) {}

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

// addMySQL adds one transaction.
func (p *mysqlPosition) addMySQL(id uuid.UUID, tag mysql.Tag, n int64) {
	tags := (*p.set)[id]
	if tags == nil {
		tags = map[mysql.Tag]mysql.IntervalSlice{}
		(*p.set)[id] = tags
	}
	in := tags[tag]
	if k := len(in); k > 0 && in[k-1].Stop == n { // mostly the next one
		in[k-1].Stop = n + 1
		return
	}
	tags[tag] = append(in, mysql.Interval{Start: n, Stop: n + 1}).Normalize()
}

// String is MySQL's form of a GTID set.
func (p *mysqlPosition) String() string { return p.set.String() }

// Reached is part of canal.Source. On MariaDB numbers are compared within their domain, where strict mode lets them only
// rise; the same number of another server is another history.
func (s *Source) Reached(at, want string) (bool, error) {
	if s.flavor != mysql.MariaDBFlavor {
		a, err := mysql.ParseMysqlGTIDSet(flat(at))
		if err != nil {
			return false, fault.Wrap(fault.Invalid, "parse position "+at, err)
		}
		w, err := mysql.ParseMysqlGTIDSet(flat(want))
		if err != nil {
			return false, fault.Wrap(fault.Invalid, "parse position "+want, err)
		}
		return a.Contain(w), nil
	}
	a, err := parseMaria(at)
	if err != nil {
		return false, err
	}
	w, err := parseMaria(want)
	if err != nil {
		return false, err
	}
	for _, g := range w {
		have := lastOf(a, g.DomainID, nil)
		if have == nil || have.SequenceNumber < g.SequenceNumber || have.SequenceNumber == g.SequenceNumber && have.ServerID != g.ServerID {
			return false, nil
		}
	}
	return true, nil
}
