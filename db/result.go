package db

import (
	"database/sql/driver"
	"io"
	"sync"
	"time"
)

const (
	drainRows  = 256                   // rows read on at an early Close: less work than a new connection
	drainLimit = 50 * time.Millisecond // for a server that is slow to send them
)

// driverRows is what a result of go-sql-driver can do.
type driverRows interface {
	driver.Rows
	driver.RowsNextResultSet
	driver.RowsColumnTypeDatabaseTypeName
	driver.RowsColumnTypeNullable
	driver.RowsColumnTypePrecisionScale
	driver.RowsColumnTypeScanType
}

// result is a running statement's result. Closed before its end, it is read on for a little, then the statement is killed.
type result struct {
	driverRows
	session *session
	done    func()
	close   sync.Once
	ended   bool // the server has said that there is no more, or the connection is gone
}

// Next is part of driver.Rows.
func (r *result) Next(dest []driver.Value) error {
	err := r.driverRows.Next(dest)
	if err != nil {
		r.ended = err != io.EOF || !r.HasNextResultSet()
	}
	return err
}

// Close is part of driver.Rows.
func (r *result) Close() error {
	var err error
	r.close.Do(func() {
		if !r.ended {
			r.drain()
		}
		err = r.driverRows.Close()
		r.done()
	})
	return err
}

// drain reads on to the end if that is near; else the connection is dropped and the statement killed.
func (r *result) drain() {
	timer := time.AfterFunc(drainLimit, r.session.abandon)
	defer timer.Stop()
	dest := make([]driver.Value, len(r.Columns()))
	for range drainRows {
		if err := r.Next(dest); err != nil {
			if r.ended {
				return
			}
			break
		}
	}
	r.session.abandon()
}
