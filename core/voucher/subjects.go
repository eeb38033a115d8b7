package voucher

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// subjects is the declared chart: names, and which accounts stand behind which subject.
type subjects struct {
	names    map[string]string
	accounts []accountRange // sorted, apart
	mapped   map[string]bool
}

type accountRange struct {
	from, to int64
	subject  string
}

func newSubjects(forms []subjectForm, bad *problems) *subjects {
	s := &subjects{names: map[string]string{}, mapped: map[string]bool{}}
	for i, f := range forms {
		field := fmt.Sprintf("subjects[%d]", i)
		if !validSubject(f.Subject) {
			bad.add(&Problem{Code: BadDocument, Field: field + ".subject", Message: fmt.Sprintf("%q is not 1 to %d visible ASCII characters", f.Subject, maxSubjectBytes)})
			continue
		}
		if _, twice := s.names[f.Subject]; twice {
			bad.add(&Problem{Code: BadDocument, Rule: f.Subject, Field: field + ".subject", Message: "the subject is there twice"})
		}
		s.names[f.Subject] = f.Name
		for k, text := range f.Accounts {
			r, err := parseRange(text)
			if err != nil {
				bad.add(&Problem{Code: BadDocument, Rule: f.Subject, Field: fmt.Sprintf("%s.accounts[%d]", field, k), Message: err.Error()})
				continue
			}
			r.subject = f.Subject
			s.accounts = append(s.accounts, r)
			s.mapped[f.Subject] = true
		}
	}
	slices.SortFunc(s.accounts, func(a, b accountRange) int {
		if a.from < b.from {
			return -1
		}
		return 1
	})
	for i := 1; i < len(s.accounts); i++ {
		if a, b := s.accounts[i-1], s.accounts[i]; b.from <= a.to {
			bad.add(&Problem{Code: BadDocument, Rule: b.subject, Field: "accounts", Message: fmt.Sprintf("account %d is declared for %s already", b.from, a.subject)})
		}
	}
	return s
}

func parseRange(text string) (accountRange, error) {
	low, high, ranged := strings.Cut(text, "-")
	if !ranged {
		high = low
	}
	from, err := strconv.ParseInt(strings.TrimSpace(low), 10, 64)
	to, err2 := strconv.ParseInt(strings.TrimSpace(high), 10, 64)
	if err != nil || err2 != nil || from < 0 || to < from {
		return accountRange{}, fmt.Errorf("%q is not an account or a range such as 1000-1999", text)
	}
	return accountRange{from: from, to: to}, nil
}

// of is the subject that an account stands behind.
func (s *subjects) of(account int64) (string, bool) {
	i, found := slices.BinarySearchFunc(s.accounts, account, func(r accountRange, id int64) int {
		switch {
		case r.to < id:
			return -1
		case r.from > id:
			return 1
		}
		return 0
	})
	if !found {
		return "", false
	}
	return s.accounts[i].subject, true
}

// root is the declared subject that a line's subject belongs to: itself, or what stands before one of its points.
func (s *subjects) root(subject string) (string, bool) {
	for name := subject; ; {
		if _, ok := s.names[name]; ok {
			return name, true
		}
		point := strings.LastIndexByte(name, '.')
		if point < 0 {
			return "", false
		}
		name = name[:point]
	}
}

// validSubject is 1 to 64 visible ASCII characters.
func validSubject(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxSubjectBytes
}
