package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"strata/fault"
)

const (
	versionFile = "version"
	lockFile    = "lock"
	secretFile  = "secret"
)

// Home is one data folder, owned by this process from Open to Close. Its methods are safe for concurrent use.
type Home struct {
	dir    string
	secret string
	log    *slog.Logger

	mu   sync.Mutex
	lock *os.File // nil after Close
}

// Open makes dir where it is missing, takes its lock, checks and migrates its version, and kills the servers that an
// earlier owner left running. Errors: Busy (another process holds it), Invalid (not a strata folder, or a newer one),
// Unavailable (the folder can't be written). A nil log discards.
func Open(dir string, log *slog.Logger) (*Home, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "resolve data folder", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "make data folder", err)
	}
	if err := checkForeign(dir); err != nil {
		return nil, err
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	h := &Home{dir: dir, log: log, lock: lock}
	if err := h.prepare(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// Dir is the absolute path of the folder.
func (h *Home) Dir() string { return h.dir }

// Close releases the lock. It stops no server; call it after they have ended. A second Close does nothing.
func (h *Home) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lock == nil {
		return nil
	}
	// Unlocked by name before it is closed: a child that is between fork and exec has a copy of the descriptor, and a lock
	// lives as long as any copy.
	err := errors.Join(h.lock.Truncate(0), syscall.Flock(int(h.lock.Fd()), syscall.LOCK_UN), h.lock.Close())
	h.lock = nil
	return fault.Wrap(fault.Unavailable, "release data folder", err)
}

// prepare does, under the lock, what Open promises beyond it.
func (h *Home) prepare() error {
	if err := bringToVersion(h.dir, migrations()); err != nil {
		return err
	}
	if err := clearLeftovers(context.Background(), h.dir, h.log); err != nil {
		return err
	}
	secret, err := readSecret(filepath.Join(h.dir, secretFile))
	h.secret = secret
	return err
}

// child returns the folder of the named server, made where it is missing, with mode 0700.
func (h *Home) child(name string) (string, error) {
	plain := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
	if name == "" || !plain || name == versionFile || name == lockFile || name == secretFile {
		return "", fault.New(fault.Invalid, "name server", "%q: letters a-z, digits, _ and - make a name", name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lock == nil {
		return "", fault.New(fault.Invalid, "use data folder", "%s is closed", h.dir)
	}
	dir := filepath.Join(h.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fault.Wrap(fault.Unavailable, "make server folder", err)
	}
	return dir, nil
}

// checkForeign refuses a folder that holds files but no version: it belongs to somebody else. A lock or a half-written
// version alone is a Home that is being made.
func checkForeign(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "list data folder", err)
	}
	foreign := ""
	for _, e := range entries {
		switch e.Name() {
		case versionFile:
			return nil
		case lockFile, versionFile + ".new":
		default:
			foreign = e.Name()
		}
	}
	if foreign == "" {
		return nil
	}
	return fault.New(fault.Invalid, "open data folder", "%s holds %s and no version file: not a strata folder", dir, foreign).
		WithHint("name an empty or a new folder")
}

// takeLock takes the folder's lock without waiting and writes this process's number into it.
func takeLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "open lock", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		owner, _ := os.ReadFile(path) // only for the hint
		return nil, errors.Join(fault.New(fault.Busy, "lock data folder", "%s is held by another process", dir).
			WithHint("process %s holds it: stop that one, or name another folder", strings.TrimSpace(string(owner))), f.Close())
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(fault.Wrap(fault.Unavailable, "lock data folder", err), f.Close())
	}
	return f, nil
}

// migrations lists what turns a folder of version i+1 into one of version i+2, in order. The current version is one
// more than their number.
func migrations() []func(dir string) error { return nil }

// bringToVersion runs the migrations that dir lacks, writing the version after each one, so each must be safe to run
// again after a crash in it. A folder without a version is new.
func bringToVersion(dir string, steps []func(dir string) error) error {
	path, current := filepath.Join(dir, versionFile), len(steps)+1
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeFile(path, fmt.Sprintf("%d\n", current))
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, "read version", err)
	}
	have, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || have < 1 || have > current {
		return fault.New(fault.Invalid, "open data folder", "%s has version %q, this program knows 1 to %d", dir,
			strings.TrimSpace(string(text)), current).WithHint("use the program that wrote it, or name another folder")
	}
	for v := have; v < current; v++ {
		if err := steps[v-1](dir); err != nil {
			return fault.New(fault.Internal, "migrate data folder", "version %d to %d: %w", v, v+1, err)
		}
		if err := writeFile(path, fmt.Sprintf("%d\n", v+1)); err != nil {
			return err
		}
	}
	return nil
}

// readSecret returns the password in the file, making a random one (128 bits, hexadecimal) where there is none.
func readSecret(path string) (string, error) {
	text, err := os.ReadFile(path)
	if secret := strings.TrimSpace(string(text)); err == nil && secret != "" {
		return secret, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fault.Wrap(fault.Unavailable, "read secret", err)
	}
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails, by its contract
	secret := hex.EncodeToString(raw)
	return secret, writeFile(path, secret+"\n")
}

// writeFile puts text at path in one step with mode 0600: a reader sees the old content or the new.
func writeFile(path, text string) error {
	part := path + ".new"
	if err := os.WriteFile(part, []byte(text), 0o600); err != nil {
		return fault.Wrap(fault.Unavailable, "write "+filepath.Base(path), err)
	}
	return fault.Wrap(fault.Unavailable, "write "+filepath.Base(path), os.Rename(part, path))
}
