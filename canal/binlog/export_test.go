package binlog

import (
	"errors"
	"os"
)

// SpillTo makes the source spill to a device instead of new files; "" takes it back.
func (s *Source) SpillTo(device string) {
	s.newSpill = func() (spillFile, error) {
		f, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		return kept{f}, nil
	}
	if device == "" {
		s.newSpill = func() (spillFile, error) { return createSpill(s.cfg.SpillDir) }
	}
}

// kept has no name by which it could be removed.
type kept struct{ *os.File }

func (kept) Name() string { return os.DevNull + "/none" }

// Verdict is what Open says of what the endpoints said.
func Verdict(errs ...error) error { return verdict(errs) }

// The errors inside.
var (
	ErrPurged = errPurged
	ErrBehind = errors.Join(errBehind)
)
