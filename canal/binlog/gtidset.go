package binlog

import (
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"

	"strata/db"
	"strata/fault"
)

// CheckGTIDSet refuses what a person wrote that is no GTID set of the flavor's servers, or names a domain of MariaDB's twice.
func CheckGTIDSet(flavor db.Flavor, text string) error {
	const op = "parse GTID set"
	if strings.TrimSpace(text) == "" {
		return fault.New(fault.Invalid, op, "it is empty")
	}
	if flavor == db.MySQL {
		_, err := mysql.ParseMysqlGTIDSet(text)
		return fault.Wrap(fault.Invalid, op, err)
	}
	list, err := parseMaria(text)
	if err != nil {
		return err
	}
	seen := map[uint32]bool{}
	for _, g := range list {
		if seen[g.DomainID] {
			return fault.New(fault.Invalid, op, "domain %d is there twice", g.DomainID)
		}
		seen[g.DomainID] = true
	}
	return nil
}
