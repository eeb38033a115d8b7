package binlog

import (
	"errors"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// MariaDB's columns with the attribute COMPRESSED.
const (
	typeBlobCompressed    = 140
	typeVarcharCompressed = 141
)

const binaryCollation = 63

// tableMap is the body of a TABLE_MAP, read here because the library takes what follows one of MariaDB's compressed columns, or a
// VECTOR of MySQL's, for something else.
type tableMap struct {
	types      []byte
	meta       []uint16
	names      []string
	nullable   []bool
	unsigned   []bool
	collations []uint64 // of character, ENUM and SET columns; 0: not told
	labels     [][]string
	primary    []int
}

var errTableMap = errors.New("the table's description is cut off")

// The kinds of optional metadata.
const (
	metaSignedness = 1 + iota
	metaDefaultCharset
	metaColumnCharset
	metaColumnName
	metaSetLabels
	metaEnumLabels
	metaGeometry
	metaSimplePrimaryKey
	metaPrefixPrimaryKey
	metaLabelsDefaultCharset
	metaLabelsCharset
)

// columnsAt is where the description of the columns begins: after table number, flags and the two names.
func columnsAt(body []byte) (int, bool) {
	at := 8
	for range 2 {
		if at >= len(body) {
			return 0, false
		}
		at += int(body[at]) + 2
	}
	return at, at < len(body)
}

// parseTableMap reads a body from columnsAt on.
func parseTableMap(columns []byte, mariadb bool) (*tableMap, error) {
	r := reader{rest: columns}
	n := int(r.number())
	if r.bad || n > 65535 || n > len(r.rest) {
		return nil, errTableMap
	}
	m := &tableMap{types: make([]byte, n), meta: make([]uint16, n), nullable: make([]bool, n), unsigned: make([]bool, n),
		collations: make([]uint64, n), labels: make([][]string, n)}
	copy(m.types, r.take(n))
	meta := reader{rest: r.take(int(r.number()))}
	for i, t := range m.types {
		m.meta[i] = columnMeta(t, &meta)
	}
	nulls := r.take((n + 7) / 8)
	if r.bad || meta.bad {
		return nil, errTableMap
	}
	for i := range n {
		m.nullable[i] = nulls[i>>3]>>(i&7)&1 == 1
	}
	for len(r.rest) > 0 && !r.bad {
		kind := r.take(1)
		v := reader{rest: r.take(int(r.number()))}
		if !r.bad {
			m.optional(kind[0], &v, mariadb)
			r.bad = v.bad
		}
	}
	if r.bad {
		return nil, errTableMap
	}
	return m, nil
}

// columnMeta reads the bytes of metadata that a column type has.
func columnMeta(t byte, r *reader) uint16 {
	switch t {
	case mysql.MYSQL_TYPE_STRING, mysql.MYSQL_TYPE_NEWDECIMAL:
		b := r.take(2)
		if r.bad {
			return 0
		}
		return uint16(b[0])<<8 | uint16(b[1])
	case mysql.MYSQL_TYPE_VAR_STRING, mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_BIT, typeVarcharCompressed, mysql.MYSQL_TYPE_ENUM, mysql.MYSQL_TYPE_SET:
		b := r.take(2)
		if r.bad {
			return 0
		}
		return uint16(b[1])<<8 | uint16(b[0])
	case mysql.MYSQL_TYPE_BLOB, mysql.MYSQL_TYPE_DOUBLE, mysql.MYSQL_TYPE_FLOAT, mysql.MYSQL_TYPE_GEOMETRY, mysql.MYSQL_TYPE_VECTOR, mysql.MYSQL_TYPE_JSON,
		mysql.MYSQL_TYPE_TIME2, mysql.MYSQL_TYPE_DATETIME2, mysql.MYSQL_TYPE_TIMESTAMP2, typeBlobCompressed:
		b := r.take(1)
		if r.bad {
			return 0
		}
		return uint16(b[0])
	}
	return 0
}

// optional reads one of the metadata that binlog_row_metadata=FULL adds.
func (m *tableMap) optional(kind byte, v *reader, mariadb bool) {
	switch kind {
	case metaSignedness:
		k := 0
		for i := range m.types {
			if m.numeric(i) {
				if k>>3 >= len(v.rest) {
					v.bad = true
					return
				}
				m.unsigned[i] = v.rest[k>>3]&(0x80>>(k&7)) != 0
				k++
			}
		}
	case metaDefaultCharset:
		m.defaultCollation(v, func(i int) bool { return m.character(i, mariadb) })
	case metaColumnCharset:
		m.eachCollation(v, func(i int) bool { return m.character(i, mariadb) })
	case metaLabelsDefaultCharset:
		m.defaultCollation(v, m.labelled)
	case metaLabelsCharset:
		m.eachCollation(v, m.labelled)
	case metaColumnName:
		for len(v.rest) > 0 && !v.bad {
			m.names = append(m.names, string(v.take(int(v.take1()))))
		}
	case metaSetLabels:
		m.strings(v, mysql.MYSQL_TYPE_SET)
	case metaEnumLabels:
		m.strings(v, mysql.MYSQL_TYPE_ENUM)
	case metaSimplePrimaryKey, metaPrefixPrimaryKey:
		for len(v.rest) > 0 && !v.bad {
			m.primary = append(m.primary, int(v.number()))
			if kind == metaPrefixPrimaryKey {
				v.number()
			}
		}
	}
}

// real is the type with ENUM, SET and STRING told apart.
func (m *tableMap) real(i int) byte {
	if m.types[i] == mysql.MYSQL_TYPE_STRING {
		if t := byte(m.meta[i] >> 8); t == mysql.MYSQL_TYPE_ENUM || t == mysql.MYSQL_TYPE_SET {
			return t
		}
	}
	return m.types[i]
}

func (m *tableMap) numeric(i int) bool {
	switch m.types[i] {
	case mysql.MYSQL_TYPE_TINY, mysql.MYSQL_TYPE_SHORT, mysql.MYSQL_TYPE_INT24, mysql.MYSQL_TYPE_LONG, mysql.MYSQL_TYPE_LONGLONG,
		mysql.MYSQL_TYPE_DECIMAL, mysql.MYSQL_TYPE_NEWDECIMAL, mysql.MYSQL_TYPE_FLOAT, mysql.MYSQL_TYPE_DOUBLE, mysql.MYSQL_TYPE_YEAR:
		return true
	}
	return false
}

func (m *tableMap) labelled(i int) bool {
	t := m.real(i)
	return t == mysql.MYSQL_TYPE_ENUM || t == mysql.MYSQL_TYPE_SET
}

func (m *tableMap) character(i int, mariadb bool) bool {
	switch m.real(i) {
	case mysql.MYSQL_TYPE_STRING, mysql.MYSQL_TYPE_VAR_STRING, mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_BLOB, mysql.MYSQL_TYPE_VECTOR,
		typeBlobCompressed, typeVarcharCompressed:
		return true
	case mysql.MYSQL_TYPE_GEOMETRY:
		return mariadb
	}
	return false
}

// defaultCollation reads the most frequent collation and the exceptions.
func (m *tableMap) defaultCollation(v *reader, in func(int) bool) {
	most, others := v.number(), map[uint64]uint64{}
	for len(v.rest) > 0 && !v.bad {
		k := v.number()
		others[k] = v.number()
	}
	k := uint64(0)
	for i := range m.types {
		if !in(i) {
			continue
		}
		m.collations[i] = most
		if c, ok := others[k]; ok {
			m.collations[i] = c
		}
		k++
	}
}

func (m *tableMap) eachCollation(v *reader, in func(int) bool) {
	for i := range m.types {
		if in(i) {
			m.collations[i] = v.number()
		}
	}
}

func (m *tableMap) strings(v *reader, typ byte) {
	for i := range m.types {
		if m.real(i) != typ {
			continue
		}
		for range v.number() {
			if v.bad {
				return
			}
			m.labels[i] = append(m.labels[i], string(v.take(int(v.number()))))
		}
	}
}

// reader reads from the front; bad is set, and stays, when there is too little.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) take1() byte {
	if b := r.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

// number reads a length-encoded integer.
func (r *reader) number() uint64 {
	b := r.take1()
	switch b {
	case 0xfb, 0xff:
		r.bad = true
		return 0
	case 0xfc:
		return little(r.take(2))
	case 0xfd:
		return little(r.take(3))
	case 0xfe:
		return little(r.take(8))
	}
	return uint64(b)
}
