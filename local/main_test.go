package local_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"strata/local"
)

// childMode makes the test binary play a part: see runChild.
const childMode = "STRATA_LOCAL_CHILD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		if err := runChild(mode, os.Getenv("STRATA_LOCAL_DIR")); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runChild is the process that tests kill: "server" starts live in dir, prints its pid and waits; "others" does so with what
// else there is; "crash" goes through crash points until one kills it.
func runChild(mode, dir string) error {
	switch mode {
	case "server":
		h, err := local.Open(dir, nil)
		if err != nil {
			return err
		}
		fmt.Println("open")
		m, err := h.StartMaria(context.Background(), local.MariaConfig{Name: "live", Domain: 1, Schemas: []string{"strata"}})
		if err != nil {
			return err
		}
		fmt.Println("ready", m.PID(), m.Port)
		<-m.Exited()
		return nil
	case "others":
		h, err := local.Open(dir, nil)
		if err != nil {
			return err
		}
		exited := make(chan struct{})
		if root, err := local.FindMySQL(os.Getenv); err == nil {
			m, err := h.StartMySQL(context.Background(), local.MySQLConfig{Name: "mysql", Root: root})
			if err != nil {
				return err
			}
			fmt.Println("started", m.PID())
		}
		if java, err := local.FindJava(os.Getenv, "kafka"); err == nil {
			k, err := h.StartJavaKafka(context.Background(), local.JavaKafkaConfig{Name: "kafka1", Java: java})
			if err != nil {
				return err
			}
			fmt.Println("started", k.PID())
		}
		fmt.Println("ready")
		<-exited // it is killed
		return nil
	case "crash":
		at := local.CrashFromEnv(os.Getenv)
		for i := 1; i <= 5; i++ {
			fmt.Println("before", i)
			if err := at("save"); err != nil {
				return err
			}
			if err := at("other"); err != nil {
				return err
			}
		}
		return nil
	default:
		return fmt.Errorf("unknown mode %s", mode)
	}
}

// processesOf lists the processes that have path in their command line.
func processesOf(t *testing.T, path string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && strings.Contains(string(line), path) {
			found = append(found, e.Name()+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
